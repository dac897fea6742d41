"""How far each reader of the event log has come that works behind the hot path: one at a time, in the order of ids."""

from __future__ import annotations

from dataclasses import dataclass

from gateway import clock
from models import database as db

SEARCH, ENGAGEMENT = 1, 2
"""The readers, each with the id of its row."""

LEASE_MS = 30_000
_HORIZON_MS = 3000
"""On a server ids do not follow the commit order; after this long everything below a seen id is committed."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A reader's turn: it has read up to `at` and may read up to `limit`."""

    at: int
    limit: int


def reached(reader: int) -> int:
    """The id of the last event that a reader has dealt with."""
    found = db.rows("SELECT event_id FROM search_mark WHERE id = ?", (reader,))
    return int(found[0][0]) if found else 0


def begin(reader: int) -> Turn | None:
    """Take the reader's lease; None where another holds it, or where nothing is new, or on a server old enough."""
    newest = int(db.rows("SELECT COALESCE(MAX(id), 0) FROM event")[0][0])
    if newest <= reached(reader):
        return None
    return db.in_transaction(lambda tx: _claim(tx, reader, newest))


def _claim(tx: db.Transaction, reader: int, newest: int) -> Turn | None:
    now = clock.now_ms()
    ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
    tx.execute(
        f"{ignore} INTO search_mark (id, event_id, seen_id, seen_ms, lease_ms) VALUES (?, 0, ?, ?, 0)",
        (reader, newest, now),
    )
    if not tx.execute(
        "UPDATE search_mark SET lease_ms = ? WHERE id = ? AND lease_ms <= ?", (now + LEASE_MS, reader, now)
    ).rowcount:
        return None
    event_id, seen_id, seen_ms = tx.rows("SELECT event_id, seen_id, seen_ms FROM search_mark WHERE id = ?", (reader,))[
        0
    ]
    if tx.dialect == "sqlite":
        return Turn(event_id, newest)
    if seen_ms > now - _HORIZON_MS:
        tx.execute("UPDATE search_mark SET lease_ms = 0 WHERE id = ?", (reader,))
        return None
    tx.execute("UPDATE search_mark SET seen_id = ?, seen_ms = ? WHERE id = ?", (newest, now, reader))
    return Turn(event_id, seen_id)


def move(tx: db.Transaction, reader: int, event_id: int) -> None:
    """Note, with what was made of them, that the events up to this one are dealt with; renews the lease."""
    tx.execute(
        "UPDATE search_mark SET event_id = ?, lease_ms = ? WHERE id = ? AND event_id < ?",
        (event_id, clock.now_ms() + LEASE_MS, reader, event_id),
    )


def end(reader: int) -> None:
    """Give the lease back."""
    db.in_transaction(lambda tx: tx.execute("UPDATE search_mark SET lease_ms = 0 WHERE id = ?", (reader,)))
