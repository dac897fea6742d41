"""Claims of webhook calls: which endpoints are ready, and who holds what."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway import clock, ids
from gateway.services import webhook_secrets
from models import database as db

LEASE_MS = 60_000
"""How long a claim holds. A call ends within 15 s, and none is begun in the last 20."""

_DUE = {"sqlite": "", "mysql": "FORCE INDEX (webhookdelivery_webhook_id_due_ms)"}
_ORDER = {"sqlite": "", "mysql": "FORCE INDEX (webhookdelivery_webhook_id_message_id_id)"}


@dataclass(frozen=True, slots=True)
class Ready:
    """An endpoint with something due; `strikes` calls in a row have not reached it."""

    id: int
    strikes: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the calls of one claim go."""

    id: int
    surface: str
    url: str
    secrets: tuple[str, ...]  # each signs; the newest first
    strikes: int
    test_events: bool  # whether it hears of messages of test keys
    workspace: str  # the slug of its account


@dataclass(frozen=True, slots=True)
class Call:
    """One event for one endpoint, held under `fence` until `lease_ms`."""

    id: int
    uuid: UUID
    message_id: int
    event_id: int
    fence: int
    attempts: int
    due_ms: int  # before the claim
    lease_ms: int


@dataclass(slots=True)
class Claim:
    endpoint: Endpoint
    calls: list[Call]  # by (due, id); within a message in order and without a gap


def ready(most: int, busy: Collection[int] = ()) -> list[Ready]:
    """Endpoints that have something due, are not paused and that nobody talks to; the longest overdue first."""
    now = clock.now_ms()
    first = (
        f"(SELECT d.due_ms FROM webhook_delivery d {_DUE[db.dialect()]}"
        " WHERE d.webhook_id = w.id AND d.due_ms IS NOT NULL ORDER BY d.due_ms LIMIT 1)"
    )
    rows = db.rows(
        f"SELECT w.id, w.strikes, {first} AS due FROM webhook w JOIN lane l ON l.id = w.lane_id"
        f" WHERE w.busy_until_ms <= ? AND l.paused_until_ms <= ? AND {first} <= ? ORDER BY due LIMIT ?",
        (now, now, now, most + len(busy)),
    )
    return [Ready(id_, strikes) for id_, strikes, _ in rows if id_ not in busy][:most]


def any_due(webhook_id: int) -> bool:
    return bool(
        db.rows(
            f"SELECT id FROM webhook_delivery {_DUE[db.dialect()]} WHERE webhook_id = ? AND due_ms <= ? LIMIT 1",
            (webhook_id, clock.now_ms()),
        )
    )


def claim(
    webhook_id: int, token: int | None, limit: int, held: Mapping[int, Collection[int]]
) -> tuple[Claim | None, int | None]:
    """Take up to `limit` due calls; `held` are the messages, with the calls, that the caller holds already.

    One worker at a time talks to an endpoint: the first claim takes that lease (`token` None), the next renew it.

    A call whose predecessor of the same message is neither here nor held gets the predecessor's time.
    Returns the claim (None when there is nothing) and the new token (None: somebody else has the lease).
    """

    def work(tx: db.Transaction) -> tuple[Claim | None, int | None]:
        now = clock.now_ms()
        lease = _token(now)
        mine, value = ("busy_until_ms <= ?", now) if token is None else ("busy_until_ms = ?", token)
        taken = tx.execute(
            f"UPDATE webhook SET busy_until_ms = ? WHERE id = ? AND {mine}", (lease, webhook_id, value)
        ).rowcount
        if not taken:
            return None, None
        endpoint = _endpoint(tx, webhook_id)
        if endpoint is None:
            bury(tx, webhook_id, "the webhook is disabled or deleted")
            return None, lease
        skip = " FOR UPDATE SKIP LOCKED" if tx.dialect == "mysql" else ""
        rows = tx.rows(
            "SELECT id, uuid, message_id, event_id, fence, attempts, due_ms FROM webhook_delivery"
            f" {_DUE[tx.dialect]} WHERE webhook_id = ? AND due_ms <= ? ORDER BY due_ms, id LIMIT ?{skip}",
            (webhook_id, now, limit),
        )
        free, blocked = _in_order(tx, webhook_id, rows, held)
        if blocked:
            tx.executemany("UPDATE webhook_delivery SET due_ms = ? WHERE id = ?", blocked)
        if not free:
            return None, lease
        until = now + LEASE_MS
        tx.execute(
            f"UPDATE webhook_delivery SET due_ms = ?, fence = fence + 1 WHERE id IN ({', '.join('?' * len(free))})",
            (until, *(row[0] for row in free)),
        )
        calls = [
            Call(id_, UUID(bytes=bytes(uuid)), message_id, event_id, fence + 1, attempts, due_ms, until)
            for id_, uuid, message_id, event_id, fence, attempts, due_ms in free
        ]
        return Claim(endpoint, calls), lease

    return db.in_transaction(work)


def bury(tx: db.Transaction, webhook_id: int, why: str) -> int:
    """Move everything that waits for a webhook to the dead letters; a call under way loses its claim."""
    return int(
        tx.execute(
            "UPDATE webhook_delivery SET state = 'dead', due_ms = NULL, fence = fence + 1, last_error = ?"
            " WHERE webhook_id = ? AND due_ms IS NOT NULL",
            (why, webhook_id),
        ).rowcount
    )


def _token(now: int) -> int:
    """The lease's end, spread over a second: its value also tells one holder from the next."""
    return now + LEASE_MS + round(1000 * ids.jitter(1.0))


def _endpoint(tx: db.Transaction, webhook_id: int) -> Endpoint | None:
    rows = tx.rows(
        "SELECT w.uuid, w.surface, w.url, w.strikes, w.test_events, a.slug, w.secret, w.old_secret,"
        " w.old_secret_until_ms FROM webhook w JOIN account a ON a.id = w.account_id"
        " WHERE w.id = ? AND w.status = 'active' AND w.deleted_ms IS NULL",
        (webhook_id,),
    )
    for uuid, surface, url, strikes, test_events, workspace, *sealed in rows:
        secrets = webhook_secrets.opened(UUID(bytes=bytes(uuid)), *sealed)
        return Endpoint(webhook_id, surface, url, secrets, strikes, bool(test_events), workspace)
    return None


def _in_order(
    tx: db.Transaction, webhook_id: int, rows: list[tuple[Any, ...]], held: Mapping[int, Collection[int]]
) -> tuple[list[tuple[Any, ...]], list[tuple[int, int]]]:
    """The rows that may go, in order within their message, and (due, id) for those that have to wait."""
    chains: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows:
        chains.setdefault(row[2], []).append(row)
    for chain in chains.values():
        chain.sort(key=lambda row: row[0])
    unknown = [chain[0][0] for message_id, chain in chains.items() if message_id not in held]
    first = _first_live(tx, unknown)
    free: list[tuple[Any, ...]] = []
    blocked: list[tuple[int, int]] = []
    for message_id, chain in chains.items():
        before, due = first.get(message_id, (chain[0][0], 0))
        if before != chain[0][0]:
            blocked.extend((due, row[0]) for row in chain)
            continue
        mine = [*held.get(message_id, ()), *(row[0] for row in chain)]
        waits = _gap(tx, webhook_id, message_id, mine) if len(mine) > 1 else None
        for row in chain:
            if waits is not None and row[0] > waits[0]:
                blocked.append((waits[1], row[0]))
            else:
                free.append(row)
    return free, blocked


def _first_live(tx: db.Transaction, row_ids: list[int]) -> dict[int, tuple[int, int]]:
    """By message: id and time of the endpoint's first row that is still to be told."""
    if not row_ids:
        return {}
    found = tx.rows(
        "SELECT d.message_id, (SELECT p.id FROM webhook_delivery p"
        f" {_ORDER[tx.dialect]} WHERE p.webhook_id = d.webhook_id AND p.message_id = d.message_id"
        " AND p.due_ms IS NOT NULL ORDER BY p.id LIMIT 1) FROM webhook_delivery d"
        f" WHERE d.id IN ({', '.join('?' * len(row_ids))})",
        row_ids,
    )
    others = [first for _, first in found if first not in set(row_ids)]
    times: dict[int, int] = {}
    if others:
        times = dict(
            tx.rows(f"SELECT id, due_ms FROM webhook_delivery WHERE id IN ({', '.join('?' * len(others))})", others)
        )
    return {message_id: (first, times.get(first, 0)) for message_id, first in found}


def _gap(tx: db.Transaction, webhook_id: int, message_id: int, mine: list[int]) -> tuple[int, int] | None:
    """Id and time of the message's first row that is to be told between `mine` and is none of them."""
    rows = tx.rows(
        f"SELECT id, due_ms FROM webhook_delivery {_ORDER[tx.dialect]} WHERE webhook_id = ? AND message_id = ?"
        f" AND id > ? AND id < ? AND due_ms IS NOT NULL AND id NOT IN ({', '.join('?' * len(mine))})"
        " ORDER BY id LIMIT 1",
        (webhook_id, message_id, min(mine), max(mine), *mine),
    )
    return rows[0] if rows else None
