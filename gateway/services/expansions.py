"""A message to a list becomes deliveries: in batches that move `reached` in their own transaction.

Accepting stores one row here. Whoever is killed between two batches has done nothing by halves, so nobody
is left out and nobody gets the message twice; the sweep goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import clock, errors, jobs
from gateway.services import lanes, ledger, routes, routing_match, routing_tables, suppressions
from gateway.services.ledger import Fact
from models import database as db
from models.vocabulary import DeliveryState, EventKind, Stream, SubscriberStatus

BATCH = 1_000
"""Subscribers of one transaction."""

_GAP_S = 0.005
_CHUNK = 200
_COLUMNS = (
    "message_id, account_id, domain_id, list_id, lane_id, reached, upto, made, due_ms, expires_ms, accepted_ms,"
    " ends_as, end_reason"
)
_BY_ID = {"sqlite": "INDEXED BY subscriber_list_id_id", "mysql": "FORCE INDEX (subscriber_list_id_id)"}
_ENDINGS = {DeliveryState.FAILED: EventKind.FAILED, DeliveryState.CANCELED: EventKind.CANCELED}


@dataclass(frozen=True, slots=True)
class _Expansion:
    message_id: int
    account_id: int
    domain_id: int
    list_id: int
    lane_id: int
    reached: int
    upto: int
    made: int
    due_ms: int
    expires_ms: int
    accepted_ms: int
    ends_as: int | None
    end_reason: str


@dataclass(frozen=True, slots=True)
class _Row:
    """One delivery to be made; `why` goes with its event where it is not simply sent now."""

    rcpt: str
    merge: str
    state: DeliveryState
    kind: EventKind | None
    why: dict[str, Any]


def start(
    tx: db.Transaction,
    *,
    message_id: int,
    account_id: int,
    domain_id: int,
    list_id: int,
    lane_id: int,
    upto: int,
    total: int,
    due_ms: int,
    expires_ms: int,
    now_ms: int,
) -> None:
    """Part of the accepting transaction: from its commit on, everyone up to the subscriber `upto` gets a delivery."""
    tx.execute(
        "INSERT INTO expansion (message_id, account_id, domain_id, list_id, lane_id, reached, upto, total, made,"
        " due_ms, expires_ms, accepted_ms, end_reason) VALUES (?, ?, ?, ?, ?, 0, ?, ?, 0, ?, ?, ?, '')",
        (message_id, account_id, domain_id, list_id, lane_id, upto, total, due_ms, expires_ms, now_ms),
    )
    tx.after_commit(lambda: jobs.ring(jobs.EXPAND), key=jobs.EXPAND)


def drain(seconds: float) -> int:
    """Make deliveries for up to `seconds`, a batch of each message in turn; returns how many were made.

    Safe to run anywhere, at any time, twice at once.
    """
    end = time.monotonic() + seconds
    total = 0
    while time.monotonic() < end:
        waiting = db.rows("SELECT message_id FROM expansion WHERE done_ms IS NULL ORDER BY message_id LIMIT 100")
        if not waiting:
            break
        moved = 0
        for (message_id,) in waiting:
            taken, made = db.in_transaction(lambda tx, message_id=message_id: _batch(tx, message_id))  # type: ignore[misc]
            moved += taken
            total += made
            if time.monotonic() >= end:
                break
            time.sleep(_GAP_S)  # the write lock is not fair: leave others room
        if not moved:
            break  # others hold them all
    return total


def _batch(tx: db.Transaction, message_id: int) -> tuple[bool, int]:
    """One batch of one message: whether there was something to do, and how many deliveries were made."""
    lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "mysql" else ""
    found = tx.rows(f"SELECT {_COLUMNS} FROM expansion WHERE message_id = ? AND done_ms IS NULL{lock}", (message_id,))
    if not found:
        return False, 0
    job = _Expansion(*found[0])
    now = clock.now_ms()
    people = tx.rows(
        f"SELECT id, email, fields, status, status_ms FROM subscriber {_BY_ID[tx.dialect]}"
        " WHERE list_id = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?",
        (job.list_id, job.reached, job.upto, BATCH),
    )
    rows = _fates(tx, job, people, now)
    made = _insert(tx, job, rows, _lanes(tx, job, rows)) if rows else []
    over = len(people) < BATCH
    tx.execute(
        "UPDATE expansion SET reached = ?, made = made + ?, done_ms = ? WHERE message_id = ?",
        (people[-1][0] if people else job.upto, len(rows), now if over else None, message_id),
    )
    if any(row.state is DeliveryState.QUEUED for row in rows) and job.due_ms <= now:
        tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
    if rows:
        ledger.record(tx, _facts(tx, job, rows, made, now))
    return True, len(rows)


def _fates(tx: db.Transaction, job: _Expansion, people: Sequence[tuple[Any, ...]], now: int) -> list[_Row]:
    """What becomes of each: sent, suppressed, or ended because somebody changed their mind since it was accepted."""
    # Who had left the list before the message was accepted never was meant.
    meant = [one for one in people if one[3] == SubscriberStatus.ACTIVE or one[4] >= job.accepted_ms]
    blocked = suppressions.check(
        tx, account_id=job.account_id, domain_id=job.domain_id, addresses=[email for _, email, *_ in meant]
    )
    rows: list[_Row] = []
    for _, email, fields, status, _ in meant:
        why: dict[str, Any] = {}
        kind: EventKind | None = None
        if job.ends_as is not None:
            state = DeliveryState(job.ends_as)
            kind, why = _ENDINGS[state], {"reason": job.end_reason}
        elif status == SubscriberStatus.UNSUBSCRIBED:
            state, kind = DeliveryState.SUPPRESSED, EventKind.SUPPRESSED
            why = {"reason": suppressions.UNSUBSCRIBE, "detail": "unsubscribed from the list after it was accepted"}
        elif status == SubscriberStatus.REMOVED:
            state, kind = DeliveryState.CANCELED, EventKind.CANCELED
            why = {"reason": "removed from the list after the message was accepted"}
        elif email in blocked:
            state, kind = DeliveryState.SUPPRESSED, EventKind.SUPPRESSED
            why = {"reason": blocked[email].reason, "detail": blocked[email].detail}
        else:
            state = DeliveryState.QUEUED
            if job.due_ms > now:
                kind, why = EventKind.QUEUED, {"reason": "scheduled", "until_ms": job.due_ms}
        rows.append(_Row(email, fields, state, kind, why))
    return rows


def _lanes(tx: db.Transaction, job: _Expansion, rows: Sequence[_Row]) -> list[int]:
    """The lane of each row: that of the message, or where the account has sending servers that of its own route."""
    table = routing_tables.of(job.account_id)
    found = table and tx.rows(
        "SELECT uuid, live, stream, from_addr, tags, size, headers FROM message WHERE id = ?", (job.message_id,)
    )
    if table is None or not found or not found[0][1]:
        return [job.lane_id] * len(rows)
    uuid, _, stream, sender, tags, size, headers = found[0]
    purpose, wish = orjson.loads(headers).get("routing", ("", ""))
    mail = routing_match.Mail(
        job.domain_id, sender.rpartition("@")[2], routing_match.purpose_word(purpose, Stream(stream)),
        tuple(orjson.loads(tags)), size, job.list_id,
    )  # fmt: skip
    try:
        plan = routes.Plan(table, mail, bytes(uuid), wish)
    except errors.Invalid:  # the server that was asked for is gone by now
        plan = routes.Plan(table, mail, bytes(uuid))
    known: dict[str, int] = {}
    lanes_: list[int] = []
    for row in rows:
        choice = plan.choose(row.rcpt) if row.state is DeliveryState.QUEUED else None
        route = choice.route if choice is not None else lanes.ROUTE_DEFAULT
        if route not in known:
            key = (job.account_id, job.domain_id, int(stream), route)
            known[route] = lanes.find_or_make(tx, key)
        lanes_.append(known[route])
    return lanes_


def _insert(tx: db.Transaction, job: _Expansion, rows: Sequence[_Row], lanes_: Sequence[int]) -> list[int]:
    """Insert the deliveries and return their ids, in their order."""
    before = tx.rows("SELECT MAX(id) FROM delivery WHERE message_id = ?", (job.message_id,))[0][0] or 0
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        values: list[Any] = []
        for row, lane_id in zip(some, lanes_[start : start + _CHUNK], strict=True):
            live = row.state is DeliveryState.QUEUED
            values += (job.message_id, job.account_id, job.domain_id, row.rcpt, row.merge, int(row.state), 0, 0)
            values += (lane_id if live else None, job.due_ms if live else None, job.expires_ms)
        tx.execute(
            "INSERT INTO delivery (message_id, account_id, domain_id, rcpt, merge, state, fence, attempts, lane_id,"
            f" due_ms, expires_ms) VALUES {','.join(['(?,?,?,?,?,?,?,?,?,?,?)'] * len(some))}",
            values,
        )
    sql = "SELECT id FROM delivery WHERE message_id = ? AND id > ? ORDER BY id"
    return [int(row_id) for (row_id,) in tx.rows(sql, (job.message_id, before))]


def _facts(
    tx: db.Transaction, job: _Expansion, rows: Sequence[_Row], delivery_ids: Sequence[int], now: int
) -> list[Fact]:
    told = [(row, row.kind, made) for row, made in zip(rows, delivery_ids, strict=True) if row.kind is not None]
    if not told:
        return []
    tags = orjson.loads(tx.rows("SELECT tags FROM message WHERE id = ?", (job.message_id,))[0][0])
    return [
        Fact(
            job.account_id, job.domain_id, kind, now, job.message_id, made, row.rcpt, data=row.why, tags=tags,
            told=kind is not EventKind.FAILED,  # as where a queue is cleared
        )
        for row, kind, made in told
    ]  # fmt: skip


def end(
    tx: db.Transaction,
    *,
    state: DeliveryState,
    reason: str,
    message_id: int | None = None,
    domain_id: int | None = None,
) -> int:
    """Have what a message, or each of a domain, has not come to yet end in `state`; how many messages that are.

    The deliveries are still made, each with its event.
    """
    column, value = ("message_id", message_id) if message_id is not None else ("domain_id", domain_id)
    done = tx.execute(
        f"UPDATE expansion SET ends_as = ?, end_reason = ? WHERE {column} = ? AND done_ms IS NULL AND ends_as IS NULL",
        (int(state), reason[:255], value),
    )
    return int(done.rowcount)


def to_come(tx: db.Transaction, **of: int) -> int:
    """About how many deliveries are still to be made, of one `message_id` or `domain_id`, that are not ended yet."""
    ((column, value),) = of.items()
    found = tx.rows(
        f"SELECT SUM(total - made) FROM expansion WHERE {column} = ? AND done_ms IS NULL AND ends_as IS NULL", (value,)
    )
    return max(0, int(found[0][0] or 0))


def move(tx: db.Transaction, *, message_id: int, due_ms: int, expires_ms: int) -> None:
    """Give what a message has not come to yet another time."""
    tx.execute(
        "UPDATE expansion SET due_ms = ?, expires_ms = ? WHERE message_id = ? AND done_ms IS NULL",
        (due_ms, expires_ms, message_id),
    )
