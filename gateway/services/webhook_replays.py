"""Telling an endpoint once more: one delivery at once, many piece by piece behind the answer.

A delivery that is replayed keeps its webhook-id, gets the whole schedule of retries again, and is told in the order
of its message. Pieces wait while much is still to be told, so that new events are never far behind.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway import clock, errors, jobs
from gateway.services import webhook_words, webhooks
from gateway.services.identity import Caller
from models import database as db
from models.database import Transaction
from models.vocabulary import EventKind

PIECE = 500
SECONDS_AT_ONCE = 1.0
"""How long the caller waits; the rest comes behind the answer."""
WAITING_MOST = 1000
"""Deliveries that may wait for an endpoint before the next piece comes."""
STATES = ("dead", "told")

_FOREVER = 2**62
_AGAIN = (
    "UPDATE webhook_delivery SET state = 'live', due_ms = ?, fence = fence + 1, attempts = 0, last_error = ''"
    " WHERE id = ? AND due_ms IS NULL"
)


@dataclass(frozen=True, slots=True)
class Replay:
    """`done` is False while more is coming."""

    replayed: int
    done: bool


def begin(
    *,
    caller: Caller,
    webhook_id: int | None = None,
    delivery_id: int | None = None,
    state: str = "dead",
    from_ms: int | None = None,
    to_ms: int | None = None,
    event: str | Sequence[str] | None = None,
) -> Replay:
    """`one` where a delivery is given, else `many`; raises what they raise, and `MissingWebhook` without either."""
    if delivery_id is not None:
        return one(caller=caller, delivery_id=delivery_id, webhook_id=webhook_id)
    if webhook_id is None:
        raise errors.MissingWebhook()
    return many(caller=caller, webhook_id=webhook_id, state=state, from_ms=from_ms, to_ms=to_ms, event=event)


def one(*, caller: Caller, delivery_id: int, webhook_id: int | None = None) -> Replay:
    """Tell one webhook delivery (of that webhook) again; one that still waits for its turn is left to that.

    Raises `WebhookNotFound`, `WebhookDisabled`.
    """
    owner = db.rows("SELECT webhook_id, event_id FROM webhook_delivery WHERE id = ?", (delivery_id,))
    found_id, event_id = owner[0] if owner else (0, 0)
    _active(caller, found_id if webhook_id in (None, found_id) else 0)
    if event_id == 0:  # a sample: another is as good
        raise errors.WebhookNotFound("A test event cannot be replayed; send another.", what="webhook delivery")

    def work(tx: Transaction) -> int:
        tx.after_commit(lambda: jobs.ring(jobs.WEBHOOKS), key=jobs.WEBHOOKS)
        return int(tx.execute(_AGAIN, (clock.now_ms(), delivery_id)).rowcount)

    return Replay(db.in_transaction(work), True)


def many(
    *,
    caller: Caller,
    webhook_id: int,
    state: str = "dead",
    from_ms: int | None = None,
    to_ms: int | None = None,
    event: str | Sequence[str] | None = None,
) -> Replay:
    """Tell again what is dead (or told) at this moment, was made within these times, and is one of these events.

    Raises `WebhookNotFound`, `WebhookDisabled`, `InvalidEvent`, `Invalid`, `ReplayRunning`.
    """
    if state not in STATES:
        raise errors.Invalid("State should be one of " + ", ".join(STATES), field="State")
    hook = _active(caller, webhook_id)
    kinds = webhook_words.read(event, hook.surface).kinds if event is not None else 0
    if event is not None and not kinds:
        raise errors.InvalidEvent("A replay is limited by events of messages; without any, notices come too.")

    def work(tx: Transaction) -> int:
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        tx.rows(f"SELECT id FROM webhook WHERE id = ?{lock}", (webhook_id,))
        if tx.rows("SELECT id FROM webhook_replay WHERE webhook_id = ? AND ended_ms IS NULL", (webhook_id,)):
            raise errors.ReplayRunning()
        newest = tx.rows("SELECT MAX(id) FROM webhook_delivery")[0][0] or 0
        made = tx.execute(
            "INSERT INTO webhook_replay (webhook_id, state, from_ms, to_ms, kinds, after, upto, replayed, created_ms)"
            " VALUES (?, ?, ?, ?, ?, 0, ?, 0, ?)",
            (webhook_id, state, from_ms or 0, to_ms if to_ms is not None else _FOREVER, kinds, newest, clock.now_ms()),
        )
        return int(made.lastrowid)

    replay_id = db.in_transaction(work)
    _go_on(replay_id, time.monotonic() + SECONDS_AT_ONCE)
    replayed, ended_ms = db.rows("SELECT replayed, ended_ms FROM webhook_replay WHERE id = ?", (replay_id,))[0]
    if ended_ms is None:
        jobs.ring(jobs.REPLAY)
    return Replay(int(replayed), ended_ms is not None)


def drain(seconds: float) -> int:
    """Go on with the replays that are not at their end, for at most `seconds`; how many deliveries came back."""
    end = time.monotonic() + seconds
    total = 0
    for (replay_id,) in db.rows("SELECT id FROM webhook_replay WHERE ended_ms IS NULL ORDER BY id"):
        total += _go_on(replay_id, end)
    return total


def collect() -> tuple[int, bool]:
    """Forget replays that ended a day ago; part of housekeeping."""

    def work(tx: Transaction) -> int:
        sql = "DELETE FROM webhook_replay WHERE ended_ms < ?"
        return int(tx.execute(sql, (clock.now_ms() - clock.DAY_MS,)).rowcount)

    old = db.rows("SELECT id FROM webhook_replay WHERE ended_ms < ? LIMIT 1", (clock.now_ms() - clock.DAY_MS,))
    return (db.in_transaction(work) if old else 0), False


def _active(caller: Caller, webhook_id: int) -> Any:
    hook = webhooks.find(caller=caller, webhook_id=webhook_id)
    if hook.status != "active":
        raise errors.WebhookDisabled()
    return hook


def _go_on(replay_id: int, until: float) -> int:
    total, more = 0, True
    while more and time.monotonic() < until:
        found, more = db.in_transaction(lambda tx: _piece(tx, replay_id))
        total += found
    return total


def _piece(tx: Transaction, replay_id: int) -> tuple[int, bool]:
    """Bring one window back; how many came, and whether the next may follow at once."""
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    rows = tx.rows(
        "SELECT webhook_id, state, from_ms, to_ms, kinds, after, upto FROM webhook_replay"
        f" WHERE id = ? AND ended_ms IS NULL{lock}",
        (replay_id,),
    )
    if not rows:
        return 0, False
    webhook_id, state, from_ms, to_ms, kinds, after, upto = rows[0]
    if not tx.rows("SELECT id FROM webhook WHERE id = ? AND status = 'active' AND deleted_ms IS NULL", (webhook_id,)):
        tx.execute("UPDATE webhook_replay SET ended_ms = ? WHERE id = ?", (clock.now_ms(), replay_id))
        return 0, False
    waiting = tx.rows(
        "SELECT COUNT(*) FROM (SELECT 1 FROM webhook_delivery WHERE webhook_id = ? AND due_ms IS NOT NULL"
        f" LIMIT {WAITING_MOST}) AS some",
        (webhook_id,),
    )[0][0]
    if waiting >= WAITING_MOST:
        return 0, False
    index = "" if tx.dialect == "sqlite" else "FORCE INDEX (webhookdelivery_webhook_id_state)"
    window = tx.rows(
        "SELECT d.id, d.created_ms, d.event_id, e.kind FROM"
        f" (SELECT id, created_ms, event_id FROM webhook_delivery {index} WHERE webhook_id = ? AND state = ?"
        f" AND id > ? AND id <= ? ORDER BY id LIMIT {PIECE}) AS d LEFT JOIN event e ON e.id = d.event_id ORDER BY d.id",
        (webhook_id, state, after, upto),
    )
    now = clock.now_ms()
    again = [
        (now, id_)
        for id_, created_ms, event_id, kind in window
        if event_id and from_ms <= created_ms <= to_ms and (not kinds or (kind and kinds >> EventKind(kind) & 1))
    ]
    if again:
        tx.executemany(_AGAIN, again)
        tx.after_commit(lambda: jobs.ring(jobs.WEBHOOKS), key=jobs.WEBHOOKS)
    last = len(window) < PIECE
    tx.execute(
        "UPDATE webhook_replay SET after = ?, replayed = replayed + ?, ended_ms = ? WHERE id = ?",
        (window[-1][0] if window else after, len(again), now if last else None, replay_id),
    )
    return len(again), not last
