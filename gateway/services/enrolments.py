"""People in sequences: enrolled, and listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors, ids, jobs
from gateway.mail import address as addresses
from gateway.services import sequences, suppressions
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import EnrolmentStatus

PREFIX = "enr"
MOST = 100
"""Contacts of one request."""
FIELDS_MOST = 16_384
"""Bytes of one contact's merge fields as JSON."""
ALREADY, SUPPRESSED = "already enrolled", "suppressed"
_COLUMNS = "id, uuid, email, status, step, due_ms, thread, cause, created_ms, ended_ms"


@dataclass(frozen=True, slots=True)
class Contact:
    email: str
    address: str
    fields: str  # JSON


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What became of a request: public ids in its order, and who was left out with the reason."""

    ids: list[str]
    skipped: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Where one person stands; `sent` messages so far."""

    id: int
    public_id: str
    email: str
    status: EnrolmentStatus
    step: int
    due_ms: int | None
    sent: int
    cause: str
    created_ms: int
    ended_ms: int | None


def check(contacts: Any) -> list[Contact]:
    """Raises `Invalid` with the place of the fault; nobody is enrolled then."""
    if not isinstance(contacts, list) or not 1 <= len(contacts) <= MOST:
        raise errors.Invalid(f"contacts should be a list of 1 to {MOST} contacts.", field="contacts")
    return [_contact(contact, f"contacts.{at}") for at, contact in enumerate(contacts)]


def _contact(contact: Any, where: str) -> Contact:
    email = contact.get("email") if isinstance(contact, dict) else contact
    if not isinstance(email, str):
        raise errors.Invalid("A contact has an email.", field=f"{where}.email")
    try:
        email = addresses.check(email)
    except errors.Invalid as error:
        raise errors.Invalid(error.message, field=f"{where}.email") from None
    fields = (contact.get("mergeFields") if isinstance(contact, dict) else None) or {}
    if not isinstance(fields, dict):
        raise errors.Invalid("mergeFields should be an object.", field=f"{where}.mergeFields")
    try:
        text = orjson.dumps(fields)
    except TypeError:
        text = b""
    if not text or len(text) > FIELDS_MOST:
        raise errors.Invalid(f"mergeFields have at most {FIELDS_MOST} bytes.", field=f"{where}.mergeFields")
    return Contact(email, suppressions.normalise(email), text.decode())


def enrol(*, caller: Caller, sequence_id: str, contacts: Any) -> Enrolled:
    """Enrol people at the first step, which is due at once; whoever is active in it already is left out.

    So is whoever must not be written to. Raises `NotFound`, `SequencePaused`, `Invalid`, `NotAllowed` for a test key
    where the sequence is live; nobody is enrolled then.
    """
    sequence = sequences.find(caller=caller, sequence_id=sequence_id)
    caller.must_reach(live=sequence.live)
    wanted = check(contacts)

    def work(tx: db.Transaction) -> Enrolled:
        # Locked, so that two requests with the same person enrol them once.
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        rows = tx.rows(f"SELECT status FROM sequence WHERE id = ?{lock}", (sequence.id,))
        if not rows or rows[0][0] != sequences.ACTIVE:
            raise errors.SequencePaused
        there = _active(tx, sequence.id, [one.address for one in wanted])
        blocked = suppressions.check(
            tx, account_id=sequence.account_id, domain_id=sequence.domain_id, addresses=[one.email for one in wanted]
        )
        now, made, skipped = clock.now_ms(), [], []
        for one in wanted:
            if one.address in there or one.email in blocked:
                skipped.append((one.email, ALREADY if one.address in there else SUPPRESSED))
                continue
            there.add(one.address)
            uuid = ids.new_uuid()
            made.append(uuid)
            tx.execute(
                "INSERT INTO enrolment (uuid, sequence_id, account_id, email, address, active_address, fields, status,"
                " step, due_ms, thread, subject, cause, created_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, '[]', '', '', ?)",
                (
                    uuid.bytes, sequence.id, sequence.account_id, one.email, one.address, one.address, one.fields,
                    int(EnrolmentStatus.ACTIVE), now, now,
                ),
            )  # fmt: skip
        if made:
            tx.execute(
                "UPDATE sequence SET next_due_ms = ? WHERE id = ? AND (next_due_ms IS NULL OR next_due_ms > ?)",
                (now, sequence.id, now),
            )
            tx.after_commit(lambda: jobs.ring(jobs.SEQUENCES), key=jobs.SEQUENCES)
        return Enrolled([ids.public_id(PREFIX, uuid) for uuid in made], skipped)

    result: Enrolled = db.in_transaction(work)
    return result


def _active(tx: db.Transaction, sequence_id: int, wanted: Sequence[str]) -> set[str]:
    marks = ",".join("?" * len(wanted))
    rows = tx.rows(
        f"SELECT active_address FROM enrolment WHERE sequence_id = ? AND active_address IN ({marks})",
        (sequence_id, *wanted),
    )
    return {address for (address,) in rows}


def list_(
    *, caller: Caller, sequence_id: str, status: EnrolmentStatus | None = None, before: int | None, count: int
) -> list[Enrolment]:
    """The newest first, those below the number `before`; raises `NotFound`."""
    sequence = sequences.find(caller=caller, sequence_id=sequence_id)
    where, params = "sequence_id = ?", [sequence.id]
    if status is not None:
        where, params = f"{where} AND status = ?", [*params, int(status)]
    if before is not None:
        where, params = f"{where} AND id < ?", [*params, before]
    rows = db.rows(f"SELECT {_COLUMNS} FROM enrolment WHERE {where} ORDER BY id DESC LIMIT ?", (*params, count))
    return [_enrolment(row) for row in rows]


def _enrolment(row: tuple[Any, ...]) -> Enrolment:
    id_, uuid, email, status, step, due_ms, thread, cause, created_ms, ended_ms = row
    return Enrolment(
        id_, ids.public_id(PREFIX, UUID(bytes=bytes(uuid))), email, EnrolmentStatus(status), step, due_ms,
        len(orjson.loads(thread)), cause, created_ms, ended_ms,
    )  # fmt: skip
