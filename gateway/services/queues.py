"""What waits to be delivered: cleared for a domain, canceled or rescheduled for a message.

Everything goes in short transactions with a gap between them, so that a queue of any length neither holds
the writer nor keeps others from it. What a worker holds is in flight and is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway import clock, config, errors, jobs
from gateway.services import clearances, domains, expansions, ledger, message_rows, waiting
from gateway.services.clearances import Begun
from gateway.services.identity import Caller
from gateway.services.ledger import Fact
from gateway.services.message_rows import MessageRow
from gateway.services.waiting import marks
from models import database as db
from models.vocabulary import DeliveryState, EventKind, Stream

FURTHEST_DAYS = 366
"""How far ahead a message may be rescheduled."""

_PARKED = (DeliveryState.QUEUED, DeliveryState.DEFERRED, DeliveryState.HELD)


@dataclass(frozen=True, slots=True)
class Changed:
    """How many deliveries a change reached, and how many it left to the workers that hold them."""

    deliveries: int
    in_flight: int
    due_ms: int = 0  # the new time, where there is one


def clear_domain(*, caller: Caller, domain_id: int) -> int:
    """Fail what waits of the domain, with an event each that no webhook hears; returns about how many.

    A long queue is ended behind the answer, and nothing of it leaves meanwhile. What is accepted afterwards
    stays. Raises `NotFound`.
    """
    domain = domains.find(caller=caller, domain_id=domain_id)
    begun: Begun = db.in_transaction(
        lambda tx: clearances.begin(
            tx,
            account_id=caller.account_id,
            domain_id=domain.id,
            state=DeliveryState.FAILED,
            reason="the queue of the domain was cleared",
        )
    )
    return clearances.finish_some(begun)


def cancel_message(*, caller: Caller, message_id: str) -> Changed:
    """Take back what waits of a message, with an event each; raises `NotFound`."""
    message = message_rows.find(caller=caller, message_id=message_id)
    reason = "the sender took it back"
    to_come = db.in_transaction(lambda tx: _end_expansions(tx, reason, message_id=message.id))

    def batch(tx: db.Transaction, after: int) -> tuple[int, int]:
        found = waiting.find(tx, "message_id = ? AND id > ?", (message.id, after), order="id")
        waiting.end(tx, found, DeliveryState.CANCELED, reason)
        return len(found), found[-1].id if len(found) == waiting.BATCH else 0

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
        return expansions.to_come(tx, message_id=message.id)

    def batch(tx: db.Transaction, after: int) -> tuple[int, int]:
        moved = _move(tx, message, after, due_ms, expires_ms)
        if moved and due_ms <= now:
            tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
        return len(moved), moved[-1] if len(moved) == waiting.BATCH else 0

    coming = db.in_transaction(to_come)
    return Changed(coming + _through(batch), _in_flight(message.id), due_ms)


def _move(tx: db.Transaction, message: MessageRow, after: int, due_ms: int, expires_ms: int) -> list[int]:
    """The next waiting deliveries of the message, at their new time; their ids."""
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    found = tx.rows(
        "SELECT id, rcpt FROM delivery WHERE message_id = ? AND id > ? AND state IN (?, ?, ?) ORDER BY id"
        f" LIMIT ?{lock}",
        (message.id, after, *map(int, _PARKED), waiting.BATCH),
    )
    if not found:
        return []
    ids = [row[0] for row in found]
    tx.execute(
        "UPDATE delivery SET state = CASE WHEN attempts = 0 THEN ? ELSE ? END, due_ms = ?, expires_ms = ?,"
        f" waiting = NULL WHERE id IN ({marks(ids)})",
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
                data=data, tags=message.tags, origin=message.origin,
            )
            for delivery_id, rcpt in found
        ],
    )  # fmt: skip
    return ids


def _end_expansions(tx: db.Transaction, reason: str, *, message_id: int) -> int:
    """Have what lists have not come to yet end too; about how many deliveries that are."""
    count = expansions.to_come(tx, message_id=message_id)
    expansions.end(tx, state=DeliveryState.CANCELED, reason=reason, message_id=message_id)
    return count


def _through(batch: Callable[[db.Transaction, int], tuple[int, int]]) -> int:
    """Run `batch(tx, after)` until it names no place to go on after; the sum of what it did."""
    total, after = 0, 0
    while True:
        here = after
        count, after = db.in_transaction(lambda tx, here=here: batch(tx, here))  # type: ignore[misc]
        total += count
        if not after:
            return total
        time.sleep(waiting.GAP_S)


def _in_flight(message_id: int) -> int:
    found = db.rows(
        "SELECT COUNT(*) FROM delivery WHERE message_id = ? AND state = ?", (message_id, int(DeliveryState.CLAIMED))
    )
    return int(found[0][0])
