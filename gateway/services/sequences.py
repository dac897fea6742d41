"""Sequences: made, listed with what became of whom, paused, resumed and cancelled."""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors, ids, jobs
from gateway.services import audit, domains, mailboxes, sequence_steps
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import EnrolmentStatus

PREFIX = "seq"
ACTIVE, PAUSED, COMPLETED = "active", "paused", "completed"
MOST = 1_000
"""Sequences of a domain that are not completed."""
CANCEL_BATCH = 1_000
_NAME_LENGTH = 255
_COLUMNS = (
    "s.id, s.uuid, s.account_id, s.domain_id, s.mailbox_id, s.name, s.steps, s.live, s.status, s.cause, s.sent,"
    " s.created_ms, s.updated_ms, b.local, b.display_name, d.name"
)
_FROM = (
    " FROM sequence s LEFT JOIN mailbox b ON b.id = s.mailbox_id AND b.deleted_ms IS NULL"
    " JOIN sender_domain d ON d.id = s.domain_id"
)


@dataclass(frozen=True, slots=True)
class Sequence:
    """One sequence; `address` is that of its mailbox, '' where that was deleted."""

    id: int
    uuid: UUID
    account_id: int
    domain_id: int
    mailbox_id: int
    name: str
    steps: list[dict[str, Any]]
    live: bool
    status: str
    cause: str
    sent: int
    created_ms: int
    updated_ms: int
    address: str
    display_name: str

    @property
    def public_id(self) -> str:
        return ids.public_id(PREFIX, self.uuid)


@dataclass(frozen=True, slots=True)
class Statistics:
    """How many people stand where; `total` is all of them."""

    total: int
    by_status: dict[EnrolmentStatus, int]

    def of(self, status: EnrolmentStatus) -> int:
        return self.by_status.get(status, 0)


def add(*, caller: Caller, name: str, from_: str, steps: Any) -> Sequence:
    """Make a sequence, active at once.

    Raises `NotFound` (the domain), `MailboxNeeded`, `Invalid` with the place of the fault, `NotAllowed` (too many).
    """
    domain_id = _domain_id(caller)
    name = " ".join(name.split())
    if not name or len(name) > _NAME_LENGTH:
        raise errors.Invalid(f"name has 1 to {_NAME_LENGTH} characters.", field="name")
    mailbox = mailboxes.require(caller=caller, address=from_)
    checked = sequence_steps.check(steps)
    uuid, now = ids.new_uuid(), clock.now_ms()

    def work(tx: db.Transaction) -> None:
        going = "SELECT COUNT(*) FROM sequence WHERE domain_id = ? AND status <> ?"
        if tx.rows(going, (domain_id, COMPLETED))[0][0] >= MOST:
            raise errors.NotAllowed(f"A domain has at most {MOST} sequences that are not completed.")
        made = tx.execute(
            "INSERT INTO sequence (uuid, account_id, domain_id, mailbox_id, name, steps, live, status, cause, sent,"
            " created_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', 0, ?, ?)",
            (
                uuid.bytes, caller.account_id, domain_id, mailbox.id, name, orjson.dumps(checked).decode(),
                caller.live, ACTIVE, now, now,
            ),
        )  # fmt: skip
        told = {"name": name, "from": mailbox.address, "steps": len(checked)}
        audit.record(tx, caller=caller, action="sequence.create", what=f"sequence:{made.lastrowid}", after=told)

    db.in_transaction(work)
    return find(caller=caller, sequence_id=str(uuid))


def list_(*, caller: Caller) -> list[Sequence]:
    """Those of the key's domain, the oldest first; raises `NotFound` (the domain)."""
    rows = db.rows(
        f"SELECT {_COLUMNS}{_FROM} WHERE s.domain_id = ? AND s.account_id = ? ORDER BY s.id",
        (_domain_id(caller), caller.account_id),
    )
    return [_sequence(row) for row in rows]


def find(*, caller: Caller, sequence_id: str) -> Sequence:
    """By public id; raises `NotFound`."""
    domain_id, uuid = _domain_id(caller), ids.uuid_of(PREFIX, sequence_id)
    rows = (
        db.rows(
            f"SELECT {_COLUMNS}{_FROM} WHERE s.uuid = ? AND s.domain_id = ? AND s.account_id = ?",
            (uuid.bytes, domain_id, caller.account_id),
        )
        if uuid is not None
        else []
    )
    if not rows:
        raise errors.NotFound("There is no such sequence.", what="sequence")
    return _sequence(rows[0])


def load(sequence_id: int) -> Sequence | None:
    """For those who run it: by number, whoever's it is."""
    rows = db.rows(f"SELECT {_COLUMNS}{_FROM} WHERE s.id = ?", (sequence_id,))
    return _sequence(rows[0]) if rows else None


def statistics(sequence_ids: Series[int]) -> dict[int, Statistics]:
    """How many people of each sequence stand where."""
    if not sequence_ids:
        return {}
    counts: dict[int, dict[EnrolmentStatus, int]] = {}
    for sequence_id, status, n in db.rows(
        "SELECT sequence_id, status, COUNT(*) FROM enrolment"
        f" WHERE sequence_id IN ({','.join('?' * len(sequence_ids))}) GROUP BY sequence_id, status",
        sequence_ids,
    ):
        counts.setdefault(sequence_id, {})[EnrolmentStatus(status)] = int(n)
    return {number: Statistics(sum(counts.get(number, {}).values()), counts.get(number, {})) for number in sequence_ids}


def set_status(*, caller: Caller, sequence_id: str, status: str) -> Sequence:
    """Pause or resume; from the commit of a pause on no step is sent.

    Raises `NotFound`, `Invalid`, `SequenceEnded`, `NotAllowed` for a test key where it is live.
    """
    if status not in (ACTIVE, PAUSED):
        raise errors.Invalid("status should be paused or active.", field="status")
    found = find(caller=caller, sequence_id=sequence_id)
    caller.must_reach(live=found.live)
    if status == ACTIVE and not found.address:
        raise errors.MailboxNeeded("The mailbox of the sequence was deleted.", field="status")

    def work(tx: db.Transaction) -> None:
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        rows = tx.rows(f"SELECT status FROM sequence WHERE id = ?{lock}", (found.id,))
        if not rows or rows[0][0] == COMPLETED:
            raise errors.SequenceEnded
        if rows[0][0] == status:
            return
        due = None if status == PAUSED else first_due(tx, found.id)
        tx.execute(
            "UPDATE sequence SET status = ?, cause = '', next_due_ms = ?, updated_ms = ? WHERE id = ?",
            (status, due, clock.now_ms(), found.id),
        )
        before, after = {"status": rows[0][0]}, {"status": status}
        what = f"sequence:{found.id}"
        audit.record(tx, caller=caller, action="sequence.update", what=what, before=before, after=after)
        if due is not None:
            tx.after_commit(lambda: jobs.ring(jobs.SEQUENCES), key=jobs.SEQUENCES)

    db.in_transaction(work)
    return find(caller=caller, sequence_id=sequence_id)


def pause(sequence_id: int, cause: str) -> None:
    """Pause it because it cannot go on; its owner resumes it."""
    db.in_transaction(
        lambda tx: tx.execute(
            "UPDATE sequence SET status = ?, cause = ?, next_due_ms = NULL, updated_ms = ? WHERE id = ? AND status = ?",
            (PAUSED, cause[:255], clock.now_ms(), sequence_id, ACTIVE),
        )
    )


def cancel(*, caller: Caller, sequence_id: str) -> int:
    """End it for good with everybody who is active in it; how many those were. Raises `NotFound`, `NotAllowed`.

    Nothing is sent from the first commit on. Whoever is still active when the process is killed is ended by the
    scheduler, which its due time leads there.
    """
    found = find(caller=caller, sequence_id=sequence_id)
    caller.must_reach(live=found.live)
    now = clock.now_ms()

    def work(tx: db.Transaction) -> None:
        done = tx.execute(
            "UPDATE sequence SET status = ?, next_due_ms = ?, updated_ms = ? WHERE id = ? AND status <> ?",
            (COMPLETED, now, now, found.id, COMPLETED),
        )
        if done.rowcount:
            before, after = {"status": found.status}, {"status": COMPLETED}
            what = f"sequence:{found.id}"
            audit.record(tx, caller=caller, action="sequence.cancel", what=what, before=before, after=after)

    db.in_transaction(work)
    return cancel_rest(found.id)


def cancel_rest(sequence_id: int) -> int:
    """End everybody who is active in a cancelled sequence, in batches; how many."""
    gone = 0
    while True:
        rows = db.rows(
            "SELECT id FROM enrolment WHERE sequence_id = ? AND status = ? ORDER BY id LIMIT ?",
            (sequence_id, int(EnrolmentStatus.ACTIVE), CANCEL_BATCH),
        )
        if not rows:
            break
        gone += db.in_transaction(lambda tx, rows=rows: _cancel(tx, [id_ for (id_,) in rows]))  # type: ignore[misc]
    db.in_transaction(
        lambda tx: tx.execute(
            "UPDATE sequence SET next_due_ms = NULL WHERE id = ? AND status = ?", (sequence_id, COMPLETED)
        )
    )
    return gone


def _cancel(tx: db.Transaction, numbers: Series[int]) -> int:
    done = tx.execute(
        "UPDATE enrolment SET status = ?, cause = ?, due_ms = NULL, active_address = NULL, ended_ms = ?"
        f" WHERE id IN ({','.join('?' * len(numbers))}) AND status = ?",
        (
            int(EnrolmentStatus.CANCELLED), "the sequence was cancelled", clock.now_ms(), *numbers,
            int(EnrolmentStatus.ACTIVE),
        ),
    )  # fmt: skip
    return int(done.rowcount)


def first_due(tx: db.Transaction, sequence_id: int) -> int | None:
    """When the next step of anybody is due: one look at the index, whatever the number of people."""
    rows = tx.rows(
        "SELECT due_ms FROM enrolment WHERE sequence_id = ? AND due_ms IS NOT NULL ORDER BY due_ms LIMIT 1",
        (sequence_id,),
    )
    return int(rows[0][0]) if rows else None


def _domain_id(caller: Caller) -> int:
    if caller.domain_id is None:
        raise errors.NotFound("The key has no domain.", what="domain")
    return int(domains.find(caller=caller, domain_id=caller.domain_id).id)


def _sequence(row: tuple[Any, ...]) -> Sequence:
    id_, uuid, account_id, domain_id, mailbox_id, name, steps, live, status, cause, sent, made, changed = row[:13]
    local, display_name, domain = row[13:]
    return Sequence(
        id_, UUID(bytes=bytes(uuid)), account_id, domain_id, mailbox_id, name, orjson.loads(steps), bool(live), status,
        cause, int(sent), made, changed, f"{local}@{domain}" if local else "", display_name or "",
    )  # fmt: skip
