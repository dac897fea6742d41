"""Whether the audit log is what was written: its chain is walked from its signed beginning to its signed end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway import ids
from gateway.services import audit_entries, audit_head
from gateway.services.audit_entries import COLUMNS, GENESIS, PREFIX, Entry
from gateway.services.audit_head import Head
from models import database as db

_WINDOW = 1000


@dataclass(frozen=True, slots=True)
class Broken:
    """The first place where the log is not what was written; `sequence` None: it is about its end."""

    sequence: int | None
    entry: str  # aud_…, where there is one
    why: str


@dataclass(slots=True)
class Report:
    """What was found; `unsealed` entries are whole, but bear the mark of a secret that is not in the settings."""

    entries: int = 0
    first: int = 0
    last: int = 0
    last_hash: str = GENESIS
    waiting: int = 0
    unsealed: int = 0
    broken: Broken | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.broken is None


def verify(*, expect: tuple[int, str] | None = None, progress: Callable[[int], None] | None = None) -> Report:
    """Walk the whole chain; it may grow meanwhile, and its old end may be taken out.

    `expect` are sequence and hash of an entry that was seen earlier and elsewhere (an export, an answer of the API);
    this host's own copy is looked at too.
    """
    report = Report()
    head = audit_head.read()
    if head is None:
        _without_head(report)
    elif not head.is_signed:
        report.broken = Broken(None, "", "the head of the log is not signed by a secret of the settings")
    else:
        _walk(report, head, progress)
    for kept, whose in ((audit_head.remembered(), "this host's copy"), (expect, "what was expected")):
        if report.ok and kept is not None and kept[0]:
            _compare(report, kept, whose)
    if report.ok:
        _look_at_waiting(report)
    report.waiting = int(db.rows("SELECT COUNT(*) FROM audit_entry WHERE seq IS NULL")[0][0])
    return report


def _look_at_waiting(report: Report) -> None:
    """What waits for its place bears a mark already."""
    rows = db.rows(f"SELECT {COLUMNS} FROM audit_entry WHERE seq IS NULL ORDER BY id LIMIT {_WINDOW}")
    for entry in map(Entry.of, rows):
        try:
            ours = entry.hash == "" and audit_entries.is_ours(entry)
        except ValueError:
            ours = False
        if not ours:
            why = "the entry waits for its place and was altered, or put in by somebody else"
            report.broken = Broken(None, _public(entry), why)
            return


def _without_head(report: Report) -> None:
    first = db.rows(f"SELECT {COLUMNS} FROM audit_entry WHERE seq IS NOT NULL ORDER BY seq LIMIT 1")
    if first:
        entry = Entry.of(first[0])
        report.broken = Broken(entry.seq, _public(entry), "there are entries, but the head of the log is gone")


def _walk(report: Report, head: Head, progress: Callable[[int], None] | None) -> None:
    seq, hash_ = head.first_seq, head.first_hash
    report.first, report.last, report.last_hash = seq + 1, head.last_seq, head.last_hash
    early = db.rows(f"SELECT {COLUMNS} FROM audit_entry WHERE seq <= ? ORDER BY seq LIMIT 1", (seq,))
    if early and _grown(head).first_seq == head.first_seq:
        entry = Entry.of(early[0])
        report.broken = Broken(entry.seq, _public(entry), "the entry stands before the beginning of the log")
        return
    while seq < head.last_seq:
        rows = db.rows(
            f"SELECT {COLUMNS} FROM audit_entry WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT {_WINDOW}",
            (seq, head.last_seq),
        )
        now = _grown(head)
        if now.first_seq > seq:  # taken out for its age meanwhile
            if not now.is_signed:
                report.broken = Broken(None, "", "the head of the log is not signed by a secret of the settings")
                return
            seq, hash_ = now.first_seq, now.first_hash
            report.first = seq + 1
            continue
        if not rows:
            report.broken = Broken(seq + 1, "", f"the log ends before its signed end at {head.last_seq}")
            return
        for row in rows:
            entry = Entry.of(row)
            report.broken = _judge(entry, seq, hash_)
            if report.broken is not None:
                return
            seq, hash_ = seq + 1, entry.hash
            report.entries += 1
            report.unsealed += not audit_entries.is_sealed(entry)
        if progress is not None:
            progress(report.entries)
    if hash_ != head.last_hash:
        report.broken = Broken(seq, "", "the log does not end with the entry that its head was signed for")
        return
    _look_behind(report, head)


def _judge(entry: Entry, seq: int, previous: str) -> Broken | None:
    """What is wrong with an entry that should follow `seq`."""
    if entry.seq != seq + 1:
        return Broken(seq + 1, "", "the entry is missing")
    try:
        same = audit_entries.digest(entry, previous) == entry.hash
    except ValueError:  # a kind or a time that no entry can have
        same = False
    if not same:
        return Broken(entry.seq, _public(entry), "the entry was altered, moved, or put in later")
    return None


def _look_behind(report: Report, head: Head) -> None:
    """Entries behind the end are ours only where the end has moved on by now."""
    behind = db.rows(f"SELECT {COLUMNS} FROM audit_entry WHERE seq > ? ORDER BY seq DESC LIMIT 1", (head.last_seq,))
    if not behind:
        return
    entry = Entry.of(behind[0])
    now = _grown(head)
    if not now.is_signed or (entry.seq or 0) > now.last_seq:
        report.broken = Broken(entry.seq, _public(entry), "the entry stands behind the signed end of the log")


def _grown(head: Head) -> Head:
    return audit_head.read() or head


def _compare(report: Report, kept: tuple[int, str], whose: str) -> None:
    head = audit_head.read()
    if audit_head.disagrees(kept, head if head is not None else Head()):
        why = f"{whose} knows entry {kept[0]} with the hash {kept[1][:16]}…, and the log does not have it"
        report.broken = Broken(kept[0], "", why)


def _public(entry: Entry) -> str:
    return ids.public_id(PREFIX, entry.uuid)
