"""What waits to be delivered: cleared or canceled for a domain, canceled or rescheduled for a message.

Everything goes in short transactions with a gap between them, so that a queue of any length neither holds
the writer nor keeps others from it. What a worker holds is in flight and is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import clock, config, errors, jobs
from gateway.services import domains, expansions, ledger, message_rows
from gateway.services.identity import Caller
from gateway.services.ledger import Fact
from gateway.services.message_rows import MessageRow
from models import database as db
from models.vocabulary import DeliveryState, EventKind, LaneKind, Stream

FURTHEST_DAYS = 366
"""How far ahead a message may be rescheduled."""

_BATCH = 500
_GAP_S = 0.002
_PARKED = (DeliveryState.QUEUED, DeliveryState.DEFERRED, DeliveryState.HELD)
_BY_LANE = {"sqlite": "INDEXED BY delivery_lane_id_due_ms", "mysql": "FORCE INDEX (delivery_lane_id_due_ms)"}


_FAILED = (DeliveryState.FAILED, EventKind.FAILED)
_CANCELED = (DeliveryState.CANCELED, EventKind.CANCELED)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A delivery that is to be ended; `was` is CLAIMED where the holder vanished."""

    id: int
    message_id: int
    account_id: int
    domain_id: int
    rcpt: str
    was: int


@dataclass(frozen=True, slots=True)
class Changed:
    """How many deliveries a change reached, and how many it left to the workers that hold them."""

    deliveries: int
    in_flight: int
    due_ms: int = 0  # the new time, where there is one


def clear_domain(*, caller: Caller, domain_id: int) -> int:
    """Fail what waits of the domain, with an event each that no webhook hears; returns how many.

    What is accepted meanwhile stays. Raises `NotFound`.
    """
    domain = domains.find(caller=caller, domain_id=domain_id)
    return _end_domain(caller.account_id, domain.id, _FAILED, "the queue of the domain was cleared")


def cancel_domain(*, account_id: int, domain_id: int, reason: str) -> int:
    """Cancel what waits of the domain, with an event each; returns how many."""
    return _end_domain(account_id, domain_id, _CANCELED, reason)


def cancel_message(*, caller: Caller, message_id: str) -> Changed:
    """Take back what waits of a message, with an event each; raises `NotFound`."""
    message = message_rows.find(caller=caller, message_id=message_id)
    reason = "the sender took it back"
    to_come = db.in_transaction(lambda tx: _end_expansions(tx, _CANCELED, reason, message_id=message.id))

    def batch(tx: db.Transaction, after: int) -> tuple[int, int]:
        found = _waiting(tx, "message_id = ? AND id > ?", (message.id, after), order="id")
        _end(tx, found, _CANCELED, {"reason": reason})
        return len(found), found[-1].id if len(found) == _BATCH else 0

    return Changed(to_come + _through(batch), _in_flight(message.id))


def reschedule_message(*, caller: Caller, message_id: str, at_ms: int) -> Changed:
    """Give what waits of a message a new time, with an event each; a time that has passed is now.

    The time to keep trying starts anew with it, and what was held for a person is let go. Raises `NotFound`
    and `Invalid` for a time further ahead than `FURTHEST_DAYS`.
    """
    message = message_rows.find(caller=caller, message_id=message_id)
    now = clock.now_ms()
    if at_ms > now + FURTHEST_DAYS * clock.DAY_MS:
        raise errors.Invalid(f"SendAt is more than {FURTHEST_DAYS} days ahead.", field="SendAt")
    due_ms = max(at_ms, now)
    settings = config.settings()
    hours = settings.bulk_hours if message.stream is Stream.BULK else settings.transactional_hours
    expires_ms = due_ms + hours * 3_600_000

    def to_come(tx: db.Transaction) -> int:
        expansions.move(tx, message_id=message.id, due_ms=due_ms, expires_ms=expires_ms)
        return _to_come(tx, message_id=message.id)

    def batch(tx: db.Transaction, after: int) -> tuple[int, int]:
        moved = _move(tx, message, after, due_ms, expires_ms)
        if moved and due_ms <= now:
            tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
        return len(moved), moved[-1] if len(moved) == _BATCH else 0

    coming = db.in_transaction(to_come)
    return Changed(coming + _through(batch), _in_flight(message.id), due_ms)


def _move(tx: db.Transaction, message: MessageRow, after: int, due_ms: int, expires_ms: int) -> list[int]:
    """The next waiting deliveries of the message, at their new time; their ids."""
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    found = tx.rows(
        "SELECT id, rcpt FROM delivery WHERE message_id = ? AND id > ? AND state IN (?, ?, ?) ORDER BY id"
        f" LIMIT ?{lock}",
        (message.id, after, *map(int, _PARKED), _BATCH),
    )
    if not found:
        return []
    ids = [row[0] for row in found]
    tx.execute(
        "UPDATE delivery SET state = CASE WHEN attempts = 0 THEN ? ELSE ? END, due_ms = ?, expires_ms = ?"
        f" WHERE id IN ({_marks(ids)})",
        (int(DeliveryState.QUEUED), int(DeliveryState.DEFERRED), due_ms, expires_ms, *ids),
    )
    if not after:
        tx.execute("UPDATE message SET send_at_ms = ? WHERE id = ?", (due_ms, message.id))
    data = {"reason": "rescheduled", "until_ms": due_ms}
    now = clock.now_ms()
    ledger.record(
        tx,
        [
            Fact(
                message.account_id, message.domain_id, EventKind.QUEUED, now, message.id, delivery_id, rcpt,
                data=data, tags=message.tags,
            )
            for delivery_id, rcpt in found
        ],
    )  # fmt: skip
    return ids


def _end_domain(account_id: int, domain_id: int, end: tuple[DeliveryState, EventKind], reason: str) -> int:
    lanes = db.rows(
        "SELECT id FROM lane WHERE kind = ? AND account_id = ? AND domain_id = ? ORDER BY id",
        (int(LaneKind.DELIVER), account_id, domain_id),
    )
    total = db.in_transaction(lambda tx: _end_expansions(tx, end, reason, domain_id=domain_id))
    # Mail that keeps coming in must not keep this from ending.
    newest = db.rows("SELECT MAX(id) FROM delivery")[0][0] or 0
    for (lane_id,) in lanes:

        def batch(tx: db.Transaction, after: int, lane_id: int = lane_id) -> tuple[int, int]:
            # What is ended has left the lane, so each batch begins at its front.
            values = (lane_id, newest)
            found = _waiting(tx, "lane_id = ? AND id <= ?", values, order="due_ms", index=_BY_LANE[tx.dialect])
            _end(tx, found, end, {"reason": reason})
            return len(found), 1 if len(found) == _BATCH else 0

        total += _through(batch)
    return total


def _end_expansions(tx: db.Transaction, end: tuple[DeliveryState, EventKind], reason: str, **of: int) -> int:
    """Have what lists have not come to yet end too; about how many deliveries that are."""
    count = _to_come(tx, **of)
    expansions.end(tx, state=end[0], reason=reason, **of)
    return count


def _to_come(tx: db.Transaction, **of: int) -> int:
    """About how many deliveries are still to be made for lists, of one `message_id` or `domain_id`."""
    ((column, value),) = of.items()
    found = tx.rows(
        f"SELECT SUM(total - made) FROM expansion WHERE {column} = ? AND done_ms IS NULL AND ends_as IS NULL", (value,)
    )
    return max(0, int(found[0][0] or 0))


def _waiting(tx: db.Transaction, where: str, values: Sequence[int], *, order: str, index: str = "") -> list[_Waiting]:
    """Up to a batch of deliveries that nobody holds now, locked; what is being claimed in this moment is left out."""
    lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "mysql" else ""
    return [
        _Waiting(*row)
        for row in tx.rows(
            f"SELECT id, message_id, account_id, domain_id, rcpt, state FROM delivery {index} WHERE {where}"
            f" AND due_ms IS NOT NULL AND (state <> ? OR due_ms <= ?) ORDER BY {order} LIMIT ?{lock}",
            (*values, int(DeliveryState.CLAIMED), clock.now_ms(), _BATCH),
        )
    ]


def _end(
    tx: db.Transaction, found: Sequence[_Waiting], end: tuple[DeliveryState, EventKind], data: dict[str, Any]
) -> None:
    """End the deliveries with an event each; that a queue was cleared no webhook hears.

    The lease of a claim that is among them ran out: whether that attempt arrived is in doubt, as its event says.
    """
    if not found:
        return
    state, kind = end
    now = clock.now_ms()
    messages = sorted({row.message_id for row in found})
    tags = dict(tx.rows(f"SELECT id, tags FROM message WHERE id IN ({_marks(messages)})", messages))
    tx.execute(
        f"UPDATE delivery SET state = ?, due_ms = NULL, lane_id = NULL WHERE id IN ({_marks(found)})",
        (int(state), *(row.id for row in found)),
    )
    doubtful = data | {"in_doubt": True}
    ledger.record(
        tx,
        [
            Fact(
                row.account_id, row.domain_id, kind, now, row.message_id, row.id, row.rcpt,
                data=doubtful if row.was == DeliveryState.CLAIMED else data,
                tags=orjson.loads(tags.get(row.message_id) or "[]"),
                told=kind is not EventKind.FAILED,  # clearing a queue is nobody's refusal
            )
            for row in found
        ],
    )  # fmt: skip


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _through(batch: Callable[[db.Transaction, int], tuple[int, int]]) -> int:
    """Run `batch(tx, after)` until it names no place to go on after; the sum of what it did."""
    total, after = 0, 0
    while True:
        here = after
        count, after = db.in_transaction(lambda tx, here=here: batch(tx, here))  # type: ignore[misc]
        total += count
        if not after:
            return total
        time.sleep(_GAP_S)


def _in_flight(message_id: int) -> int:
    found = db.rows(
        "SELECT COUNT(*) FROM delivery WHERE message_id = ? AND state = ?", (message_id, int(DeliveryState.CLAIMED))
    )
    return int(found[0][0])
