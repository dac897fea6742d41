"""The event log in the order it was written, for readers that come back for what is new."""

from __future__ import annotations

import base64
import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from gateway import errors
from gateway.services import domains, event_range, event_rows, event_words, statistics
from gateway.services.event_range import BY_ID, BY_KIND, BY_MESSAGE
from gateway.services.event_rows import EventRow
from gateway.services.identity import Caller
from gateway.services.ledger import LOGGED
from models import database as db

MOST = 1000
"""Events of one answer."""
HORIZON_MS = 3000
"""On a server ids do not follow the commits. A transaction commits its events within a second or not at all
(`Transaction.hasten`), so everything below an event of this age is there; SQLite has one writer."""

_CHUNK = 400  # ranges of one statement: SQLite joins no more than 500 SELECTs
_VERSION = b"1"


@dataclass(frozen=True, slots=True)
class Piece:
    """`rows` with the place of each among the events of its message, from 1; `cursor` stands behind them."""

    rows: list[tuple[EventRow, int]]
    cursor: str
    more: bool


def read(
    *,
    caller: Caller,
    after: str = "",
    domain_id: int | None = None,
    event: str = "",
    count: int = MOST,
    since_ms: int | None = None,
) -> Piece:
    """Up to `count` events behind the cursor `after`, the oldest first: each once, none left out.

    Of the account, or of one domain; `event` are words of the surface, separated by commas. Without a cursor it
    begins with the oldest event, or about at `since_ms`: never later. Raises `NotFound` (the domain),
    `InvalidEvent`, `Invalid` (the cursor).
    """
    kinds = sorted(event_words.for_filter(event)) if event.strip() else []
    count = min(max(count, 1), MOST)
    ids = statistics.domain_ids(caller) if domain_id is None else [_domain(caller, domain_id)]
    behind = _read_cursor(after) if after else _start(ids, since_ms)
    # Asked before anything is read: what commits from now on is younger than this.
    settled_ms = _server_ms() - HORIZON_MS if db.dialect() == "mysql" else None
    found = _ids(ids, kinds, behind, count)
    settled: list[int] = []
    for id_, logged_ms in found:
        if settled_ms is not None and logged_ms is not None and logged_ms > settled_ms:
            break
        settled.append(id_)
    loaded = event_rows.load(settled)
    rows = [loaded[id_] for id_ in settled if id_ in loaded]
    places = _places(rows)
    return Piece(
        [(row, places[row.id]) for row in rows],
        _cursor(settled[-1] if settled else behind),
        len(settled) == count,
    )


def _domain(caller: Caller, domain_id: int) -> int:
    return domains.find(caller=caller, domain_id=domain_id, past=True).id


def _start(domain_ids: Sequence[int], since_ms: int | None) -> int:
    if since_ms is None or not domain_ids:
        return 0
    return min(event_range.id_at(id_, since_ms - event_range.DISORDER_MS, near=1) for id_ in domain_ids) - 1


def _server_ms() -> int:
    return int(db.rows(f"SELECT {LOGGED['mysql']}")[0][0])


def _ids(domain_ids: Sequence[int], kinds: Sequence[int], behind: int, count: int) -> list[tuple[int, int | None]]:
    """The first events of each domain (and kind) by its index, merged: nobody sorts what an index has in order."""
    index = (BY_KIND if kinds else BY_ID)[db.dialect()]
    one = (
        f"SELECT id, logged_ms FROM (SELECT id, logged_ms FROM event {index} WHERE domain_id = ?"
        f"{' AND kind = ?' if kinds else ''} AND id > ? ORDER BY id LIMIT ?) AS some"
    )
    ranges = [[id_, kind] for id_ in domain_ids for kind in kinds] if kinds else [[id_] for id_ in domain_ids]
    found: list[tuple[int, int | None]] = []
    for start in range(0, len(ranges), _CHUNK):
        some = ranges[start : start + _CHUNK]
        union = " UNION ALL ".join([one] * len(some))
        values = [value for key in some for value in (*key, behind, count)]
        rows = db.rows(f"SELECT id, logged_ms FROM ({union}) AS merged ORDER BY id LIMIT ?", (*values, count))
        found = list(heapq.merge(found, rows, key=lambda row: row[0]))[:count]
    return found


def _places(rows: Sequence[EventRow]) -> dict[int, int]:
    """By the index alone: how many events the messages had before, and their events in between."""
    messages = sorted({row.message_id for row in rows})
    places: dict[int, int] = {}
    for start in range(0, len(messages), _CHUNK):
        some = messages[start : start + _CHUNK]
        source = (
            f"FROM event {BY_MESSAGE[db.dialect()]} WHERE message_id IN ({', '.join('?' * len(some))})"
            " AND id"  # of the index too
        )
        seen: dict[int, int] = dict(
            db.rows(f"SELECT message_id, COUNT(*) {source} < ? GROUP BY message_id", (*some, rows[0].id))
        )
        for id_, message_id in sorted(
            db.rows(f"SELECT id, message_id {source} BETWEEN ? AND ?", (*some, rows[0].id, rows[-1].id))
        ):
            places[id_] = seen[message_id] = seen.get(message_id, 0) + 1
    return places


def _cursor(event_id: int) -> str:
    return base64.urlsafe_b64encode(_VERSION + event_id.to_bytes(8, "big")).decode().rstrip("=")


def _read_cursor(text: str) -> int:
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        packed = b""
    if len(packed) != 9 or packed[:1] != _VERSION or packed[1] > 127:
        raise errors.Invalid("'After' should be the cursor of an earlier answer", field="After")
    return int.from_bytes(packed[1:], "big")
