"""The place of an event among those of its message, for a handful of events whatever their messages are."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.services.event_range import BY_MESSAGE
from gateway.services.event_rows import EventRow
from models import database as db

MOST = 1000
"""Events of a message that are counted: one to a long list has more, and its events no place here (the feed has it)."""

_CHUNK = 100


def assign(rows: Iterable[EventRow]) -> None:
    """Set `sequence`, from 1, of each; by the index alone, and never more than `MOST` entries of a message."""
    by_message: dict[int, list[EventRow]] = {}
    for row in rows:
        by_message.setdefault(row.message_id, []).append(row)
    wanted = sorted(by_message)
    one = (
        f"SELECT * FROM (SELECT message_id, id FROM event {BY_MESSAGE[db.dialect()]} WHERE message_id = ?"
        f" LIMIT {MOST + 1}) AS some"
    )
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        ids: dict[int, list[int]] = {}
        for message_id, id_ in db.rows(" UNION ALL ".join([one] * len(some)), some):
            ids.setdefault(message_id, []).append(id_)
        for message_id, found in ids.items():
            if len(found) > MOST:
                continue
            places = {id_: place for place, id_ in enumerate(sorted(found), 1)}
            for row in by_message[message_id]:
                row.sequence = places.get(row.id)
