"""Deliveries held for a person, because nobody knows whether they arrived: listed, released or given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, config, errors, jobs
from gateway.services import audit, expansions, identity, ledger, message_rows, outcomes
from gateway.services.identity import Caller
from gateway.services.ledger import Fact
from models import database as db
from models.vocabulary import DeliveryState, EventKind, LaneKind, Stream

LIST_MOST = 1000
"""Deliveries of one list."""

_BATCH = 500
_HELD = int(DeliveryState.HELD)


@dataclass(frozen=True, slots=True)
class Held:
    """One held delivery; at `until_ms` it fails unless somebody decided before."""

    account: str  # its email address
    message_id: str
    domain: str
    recipient: str
    subject: str
    attempts: int
    until_ms: int


def list_(*, caller: Caller | None, start: int = 0, count: int = 100) -> tuple[int, list[Held]]:
    """How many deliveries are held, and `count` of them from the oldest on; `caller` None is the operator's shell."""
    where, values = "l.kind = ? AND d.state = ?", [int(LaneKind.DELIVER), _HELD]
    if caller is not None:
        where, values = f"{where} AND l.account_id = ?", [*values, caller.account_id]
        if caller.domain_id is not None:
            where, values = f"{where} AND l.domain_id = ?", [*values, caller.domain_id]
    # By way of the lanes: their index has only live rows.
    live = "lane l JOIN delivery d ON d.lane_id = l.id"
    total = int(db.rows(f"SELECT COUNT(*) FROM {live} WHERE {where}", values)[0][0])
    rows = db.rows(
        "SELECT a.email, m.uuid, s.name, d.rcpt, m.subject, d.attempts, d.due_ms"
        f" FROM {live} JOIN message m ON m.id = d.message_id JOIN account a ON a.id = d.account_id"
        f" JOIN sender_domain s ON s.id = d.domain_id WHERE {where} ORDER BY d.id LIMIT ? OFFSET ?",
        (*values, min(max(count, 0), LIST_MOST), max(start, 0)),
    )
    return total, [Held(email, str(UUID(bytes=bytes(uuid))), *rest) for email, uuid, *rest in rows]


def release(*, caller: Caller, message_id: str, recipient: str = "") -> int:
    """Try what is held of a message again now, with the same Message-ID; returns how many. Raises `NotFound`.

    The time to keep trying starts anew. Of a message to a list that was held as a whole its deliveries are made now;
    a campaign is resumed instead.
    """
    message = message_rows.find(caller=caller, message_id=message_id)
    if not recipient and message.origin is None:
        to_come: int = db.in_transaction(lambda tx: expansions.release(tx, message_id=message.id))
        if to_come:
            return to_come
    settings = config.settings()
    hours = settings.bulk_hours if message.stream is Stream.BULK else settings.transactional_hours

    def work(tx: db.Transaction) -> int:
        found = _held(tx, message.id, recipient)
        if not found:
            return 0
        now = clock.now_ms()
        tx.execute(
            f"UPDATE delivery SET state = ?, due_ms = ?, expires_ms = ? WHERE id IN ({_marks(found)})",
            (int(DeliveryState.DEFERRED), now, now + hours * 3_600_000, *(row[0] for row in found)),
        )
        after = {"deliveries": len(found)}
        audit.record(tx, caller=caller, action="message.release", what=f"message:{message_id}", after=after)
        data = {"reason": "released to be sent again", "until_ms": now}
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
        tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
        return len(found)

    return _through(work)


def fail(*, caller: Caller, message_id: str, recipient: str = "") -> int:
    """Give up what is held of a message, with an event each; returns how many. Raises `NotFound`."""
    message = message_rows.find(caller=caller, message_id=message_id)
    data: dict[str, Any] = {"reason": "given up by a person: whether it arrived is in doubt", "in_doubt": True}
    if (metadata := _metadata(message.id)) is not None:
        data["metadata"] = metadata

    def work(tx: db.Transaction) -> int:
        found = _held(tx, message.id, recipient)
        if found:
            after = {"deliveries": len(found)}
            audit.record(tx, caller=caller, action="message.fail", what=f"message:{message_id}", after=after)
        return outcomes.settle_in(tx, [row[0] for row in found], DeliveryState.FAILED, EventKind.FAILED, data)

    return _through(work)


def owner(*, message_id: str) -> Caller:
    """For the operator's shell: the account of a message as a caller; raises `NotFound`."""
    try:
        uuid = UUID(message_id.strip().removeprefix("<").removesuffix(">").partition("@")[0])
    except ValueError:
        found = []
    else:
        found = db.rows("SELECT account_id FROM message WHERE uuid = ?", (uuid.bytes,))
    if not found:
        raise errors.NotFound("There is no such message.", what="message")
    return identity.for_account(found[0][0])


def _held(tx: db.Transaction, message_id: int, recipient: str) -> list[tuple[int, str]]:
    """The next held deliveries of the message, locked: their time may come in this moment."""
    where, values = "message_id = ? AND state = ?", [message_id, _HELD]
    if recipient:
        where, values = f"{where} AND rcpt = ?", [*values, recipient]  # type: ignore[list-item]
    lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "mysql" else ""
    found = tx.rows(f"SELECT id, rcpt FROM delivery WHERE {where} ORDER BY id LIMIT {_BATCH}{lock}", values)
    return [(row[0], row[1]) for row in found]


def _metadata(message_id: int) -> dict[str, Any] | None:
    found = db.rows("SELECT metadata FROM message WHERE id = ?", (message_id,))
    return dict(orjson.loads(found[0][0])) if found and found[0][0] else None


def _through(work: Callable[[db.Transaction], int]) -> int:
    """Run `work` until it finds less than a batch; the sum of what it did."""
    total = 0
    while True:
        count = db.in_transaction(work)
        total += count
        if count < _BATCH:
            return total


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
