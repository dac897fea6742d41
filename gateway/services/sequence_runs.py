"""Running sequences: what is due is sent, each step once, and the person moved on in the same transaction."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors, ids
from gateway.mail.draft import Mailbox
from gateway.services import enrolment_ends, enrolments, identity, messages, sequence_steps, sequences, suppressions
from gateway.services.identity import Caller
from gateway.services.sequences import Sequence
from models import database as db
from models.vocabulary import EnrolmentStatus

BATCH = 100
"""People of one sequence who are moved on before the next sequence has its turn."""
_SEQUENCES = 50
_LEASE_MS = 60_000
_LATER_MS = 60_000
_MUCH_LATER_MS = 900_000
_THREAD_MOST = 100
_REASONS = {
    suppressions.BOUNCE: EnrolmentStatus.BOUNCED,
    suppressions.COMPLAINT: EnrolmentStatus.COMPLAINED,
    suppressions.UNSUBSCRIBE: EnrolmentStatus.UNSUBSCRIBED,
}

_log = logging.getLogger("commandpost.sequences")


@dataclass(frozen=True, slots=True)
class _Due:
    """Somebody whose step is due."""

    id: int
    uuid: UUID
    email: str
    fields: dict[str, Any]
    step: int
    due_ms: int
    thread: list[UUID]
    subject: str


class _Passed(Exception):
    """Somebody else moved that person on, or ended or paused them, in the meantime; nothing was written."""


class _Stop(Exception):
    """The whole sequence cannot go on now; it is due again at `due_ms`."""

    def __init__(self, due_ms: int | None) -> None:
        super().__init__()
        self.due_ms = due_ms


def drain(seconds: float) -> int:
    """Send what is due for up to `seconds`, a batch of each sequence in turn; how many messages were accepted.

    Only sequences with something due are read, and of them only who is due. Safe to run anywhere, twice at once.
    """
    end = time.monotonic() + seconds
    sent = 0
    while time.monotonic() < end:
        due = db.rows(
            "SELECT id, next_due_ms FROM sequence WHERE next_due_ms <= ? ORDER BY next_due_ms LIMIT ?",
            (clock.now_ms(), _SEQUENCES),
        )
        taken = [number for number, due_ms in due if _take(number, due_ms)]
        if not taken:
            break
        for number in taken:
            try:
                sent += _run(number, end)
            except db.StoreUnavailable:
                raise
            except Exception:  # one sequence's trouble is not that of the others; it comes back with its lease
                _log.exception("sequence_failed", extra={"sequence": number})
    return sent


def _take(sequence_id: int, due_ms: int) -> bool:
    """Hold the sequence for a while; a killed holder's lease is a due time like any other."""

    def work(tx: db.Transaction) -> bool:
        done = tx.execute(
            "UPDATE sequence SET next_due_ms = ? WHERE id = ? AND next_due_ms = ?",
            (clock.now_ms() + _LEASE_MS, sequence_id, due_ms),
        )
        return bool(done.rowcount)

    return bool(db.in_transaction(work))


def _run(sequence_id: int, end: float) -> int:
    """A batch of one sequence, then its next due time."""
    found = sequences.load(sequence_id)
    if found is None:
        return 0
    if found.status == sequences.COMPLETED:
        sequences.cancel_rest(found.id)
        return 0
    if found.status == sequences.PAUSED:
        _settle(found.id)
        return 0
    if not found.address:
        sequences.pause(found.id, "its mailbox was deleted")
        return 0
    sent, caller = 0, _caller(found)
    try:
        for one in _due(found.id):
            sent += _advance(found, caller, one)
            if time.monotonic() >= end:
                break
    except _Stop as stop:
        _settle(found.id, stop.due_ms)
        return sent
    _settle(found.id)
    return sent


def _caller(found: Sequence) -> Caller:
    owner = identity.for_account(found.account_id)
    return replace(owner, domain_id=found.domain_id, surface="mailmark", live=found.live)


def _due(sequence_id: int) -> list[_Due]:
    rows = db.rows(
        "SELECT id, uuid, email, fields, step, due_ms, thread, subject FROM enrolment"
        " WHERE sequence_id = ? AND due_ms <= ? ORDER BY due_ms LIMIT ?",
        (sequence_id, clock.now_ms(), BATCH),
    )
    return [
        _Due(
            id_, UUID(bytes=bytes(uuid)), email, orjson.loads(fields), step, due_ms,
            [UUID(text) for text in orjson.loads(thread)], subject,
        )
        for id_, uuid, email, fields, step, due_ms, thread, subject in rows
    ]  # fmt: skip


def _settle(sequence_id: int, due_ms: int | None = None) -> None:
    """Write when the sequence is due next: not before `due_ms` where that is given."""

    def work(tx: db.Transaction) -> None:
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        rows = tx.rows(f"SELECT status FROM sequence WHERE id = ?{lock}", (sequence_id,))
        if not rows or rows[0][0] == sequences.COMPLETED:
            return
        first = sequences.first_due(tx, sequence_id) if rows[0][0] == sequences.ACTIVE else None
        if first is not None and due_ms is not None:
            first = max(first, due_ms)
        tx.execute("UPDATE sequence SET next_due_ms = ? WHERE id = ?", (first, sequence_id))

    db.in_transaction(work)


def _advance(found: Sequence, caller: Caller, one: _Due) -> int:
    """Send what one person is due and move them on; 1 where a message was accepted."""
    if one.step >= len(found.steps):
        db.in_transaction(lambda tx: enrolment_ends.end(tx, one.id, EnrolmentStatus.COMPLETED))
        return 0
    try:
        return _send(found, caller, one)
    except _Passed:
        return 0
    except errors.SuppressedRecipient:
        _end_suppressed(found, one)
    except errors.QuotaReached:
        raise _Stop(clock.now_ms() + _LATER_MS) from None
    except (errors.AccountDisabled, errors.AccountUnverified, errors.DomainNotActive):
        raise _Stop(clock.now_ms() + _MUCH_LATER_MS) from None
    except errors.DomainGone:
        sequences.pause(found.id, "its domain was deleted")
        raise _Stop(None) from None
    except errors.Unavailable:
        raise _Stop(clock.now_ms() + _LATER_MS) from None
    except errors.GatewayError as error:  # a template that these fields break, an address that nobody takes
        _end(one.id, EnrolmentStatus.CANCELLED, error.message)
    except db.StoreUnavailable:
        raise
    except Exception:
        _log.exception("sequence_step_failed", extra={"enrolment": one.id, "step": one.step})
        _postpone(one, _MUCH_LATER_MS)
    return 0


def _send(found: Sequence, caller: Caller, one: _Due) -> int:
    draft = sequence_steps.draft(
        found.steps[one.step],
        sequence_id=found.id,
        sequence=found.public_id,
        enrolment=ids.public_id(enrolments.PREFIX, one.uuid),
        number=one.step,
        sender=Mailbox(found.address, found.display_name),
        email=one.email,
        fields=one.fields,
        thread=one.thread,
        last_subject=one.subject,
    )
    ready = messages.make_ready(caller, draft)
    now = clock.now_ms()
    step, wait_ms = sequence_steps.after(found.steps, one.step)
    over = step >= len(found.steps) and not wait_ms
    thread = [*map(str, one.thread), ready.entry.message_id][-_THREAD_MOST:]
    status = EnrolmentStatus.COMPLETED if over else EnrolmentStatus.ACTIVE

    def work(tx: db.Transaction) -> None:
        # The message and the step go down together or not at all: there is no moment in which one is without
        # the other, so that an outage of any length repeats nothing.
        held = tx.execute(
            "UPDATE sequence SET sent = sent + 1 WHERE id = ? AND status = ?", (found.id, sequences.ACTIVE)
        )
        moved = tx.execute(
            "UPDATE enrolment SET step = ?, due_ms = ?, status = ?, active_address = ?, thread = ?, subject = ?,"
            " ended_ms = ? WHERE id = ? AND step = ? AND due_ms = ? AND status = ?",
            (
                step,
                None if over else now + wait_ms,
                int(status),
                None if over else suppressions.normalise(one.email),
                orjson.dumps(thread).decode(),
                ready.entry.draft.subject,
                now if over else None,
                one.id,
                one.step,
                one.due_ms,
                int(EnrolmentStatus.ACTIVE),
            ),
        )
        if not held.rowcount or not moved.rowcount:
            raise _Passed
        messages.store(tx, ready)

    db.in_transaction(work)
    return 1


def _end_suppressed(found: Sequence, one: _Due) -> None:
    why = suppressions.check(None, account_id=found.account_id, domain_id=found.domain_id, addresses=[one.email]).get(
        one.email
    )
    reason = why.reason if why is not None else suppressions.MANUAL
    _end(one.id, _REASONS.get(reason, EnrolmentStatus.CANCELLED), f"suppressed: {reason}")


def _end(enrolment_id: int, status: EnrolmentStatus, cause: str) -> None:
    db.in_transaction(lambda tx: enrolment_ends.end(tx, enrolment_id, status, cause))


def _postpone(one: _Due, ms: int) -> None:
    db.in_transaction(
        lambda tx: tx.execute(
            "UPDATE enrolment SET due_ms = ? WHERE id = ? AND due_ms = ?", (clock.now_ms() + ms, one.id, one.due_ms)
        )
    )
