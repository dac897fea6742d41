"""What the fate of a sequence's message does to the person it went to: they go no further."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway import clock
from gateway.services import suppressions
from models import database as db
from models.vocabulary import EnrolmentStatus, EventKind

if TYPE_CHECKING:
    from gateway.services.ledger import Fact

ORIGIN = "seq"
"""Of `tallies.name`: a sequence."""

ENDS = {
    EventKind.REPLIED: EnrolmentStatus.REPLIED,
    EventKind.BOUNCED: EnrolmentStatus.BOUNCED,
    EventKind.COMPLAINED: EnrolmentStatus.COMPLAINED,
    EventKind.UNSUBSCRIBED: EnrolmentStatus.UNSUBSCRIBED,
}


def note(tx: db.Transaction, facts: Sequence[Fact]) -> None:
    """Part of `ledger.record`: costs a statement only where a sequence's message met with one of these fates.

    The last message of a sequence may meet with it after everything was sent: that counts as well.
    """
    for fact in facts:
        status = ENDS.get(fact.kind)
        if status is None or fact.origin is None or not fact.origin.startswith(f"{ORIGIN}:") or not fact.rcpt:
            continue
        rows = tx.rows(
            "SELECT id FROM enrolment WHERE sequence_id = ? AND address = ? AND account_id = ?"
            " ORDER BY id DESC LIMIT 1",
            (int(fact.origin.partition(":")[2]), suppressions.normalise(fact.rcpt), fact.account_id),
        )
        for (enrolment_id,) in rows:
            end(tx, enrolment_id, status)


def end(tx: db.Transaction, enrolment_id: int, status: EnrolmentStatus, cause: str = "") -> bool:
    """End one that is active, or completed already; says whether that is news."""
    done = tx.execute(
        "UPDATE enrolment SET status = ?, cause = ?, due_ms = NULL, active_address = NULL, ended_ms = ?"
        " WHERE id = ? AND status IN (?, ?)",
        (
            int(status), cause[:255], clock.now_ms(), enrolment_id, int(EnrolmentStatus.ACTIVE),
            int(EnrolmentStatus.COMPLETED),
        ),
    )  # fmt: skip
    return bool(done.rowcount)
