"""Reading events: pages of a domain's events, newest first, by time, kind, message or query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway import clock
from gateway.services import domains, event_places, event_query, event_range, event_rows, event_search, event_words
from gateway.services.event_query import Node
from gateway.services.event_range import BY_ID, BY_KIND, BY_MESSAGE, INT64, Wanted, inclusive
from gateway.services.event_rows import EventRow
from gateway.services.event_search import Matches
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import EventKind, FacetKind

RETRIEVE_MOST = 100
"""Events of one page."""
EXPORTED_MOST = 1000
"""Events of one piece of an export."""

_SMALL = 20_000  # events of a domain that are filtered by time without looking for the ids first
_DAYS = 400


@dataclass(frozen=True, slots=True)
class Page:
    """`total` counts everything that matches; with `partial` the search ended at its budget before that.

    `cursor` then is where to go on.
    """

    total: int
    rows: list[EventRow]
    partial: bool = False
    cursor: str = ""


def search(
    *,
    caller: Caller,
    domain_id: int,
    start: int = 0,
    count: int = RETRIEVE_MOST,
    from_ms: int | None = None,
    to_ms: int | None = None,
    event: str = "",
    query: str = "",
    message_id: str = "",
    cursor: str = "",
) -> Page:
    """A page of a domain's events, the newest first; with `query` the newest message first, its events in order.

    Times are milliseconds, both ends inclusive, a whole second to its end. `event` is a word of the
    surface, `message_id` a UUID, `cursor` that of an earlier partial page of the same query, behind which
    `start` and the total begin anew. Raises `NotFound` (the domain), `InvalidEvent`, `InvalidQuery`, `Invalid`.
    """
    kinds = tuple(sorted(event_words.for_filter(event))) if event.strip() else ()
    node = event_query.parse(query) if query.strip() else None
    domain = domains.find(caller=caller, domain_id=domain_id, past=True)
    wanted = Wanted(
        domain.id, min(max(start, 0), INT64 // 2), min(max(count, 0), RETRIEVE_MOST), kinds, from_ms, inclusive(to_ms)
    )
    if message_id.strip():
        found = _of_message(wanted, caller, message_id.strip(), node, domain.name, cursor)
    elif node is not None:
        found = event_search.matching(wanted, node, domain_name=domain.name, cursor=cursor)
    else:
        found = Matches(*_newest(wanted))
    loaded = event_rows.load(found.ids)
    rows = [loaded[id_] for id_ in found.ids if id_ in loaded]
    event_places.assign(rows)
    return Page(found.total, rows, found.partial, found.cursor if found.partial else "")


def export(
    *,
    caller: Caller,
    domain_id: int,
    count: int,
    from_ms: int | None = None,
    to_ms: int | None = None,
    event: str = "",
    query: str = "",
    cursor: str = "",
) -> tuple[list[EventRow], str]:
    """Up to `count` (at most 1,000) events in the order of `search`, and the cursor behind them: '' at the end.

    Raises like `search`.
    """
    kinds = tuple(sorted(event_words.for_filter(event))) if event.strip() else ()
    node = event_query.parse(query) if query.strip() else None
    domain = domains.find(caller=caller, domain_id=domain_id, past=True)
    wanted = Wanted(domain.id, 0, min(max(count, 1), EXPORTED_MOST), kinds, from_ms, inclusive(to_ms))
    after = event_search.read_cursor(cursor) if cursor else (INT64, 0)
    if node is not None:
        found = event_search.matching(wanted, node, domain_name=domain.name, cursor=cursor, counted_most=0)
        ids, behind = found.ids, found.cursor
    else:
        low, high = _id_range(wanted, _SMALL + 1)
        ids = _page_ids(wanted, low, min(high, after[0] - 1))
        behind = f"{ids[-1]}-0" if len(ids) == wanted.count else ""
    loaded = event_rows.load(ids)
    rows = [loaded[id_] for id_ in ids if id_ in loaded]
    event_places.assign(rows)
    return rows, behind


def _newest(wanted: Wanted) -> tuple[int, list[int]]:
    first_day, last_day = db.rows("SELECT MIN(day), MAX(day) FROM counter WHERE domain_id = ?", (wanted.domain_id,))[0]
    if first_day is None:
        return 0, []
    days = range(first_day, last_day + 1)
    low, high = _id_range(wanted, _counted(wanted.domain_id, (), days))
    total = _total(wanted, days, low, high)
    if not total or not wanted.count or wanted.start >= total:
        return total, []
    return total, _page_ids(wanted, low, high)


def _page_ids(wanted: Wanted, low: int, high: int) -> list[int]:
    """Ids only: an offset over the index alone is cheap, and the rows are read for the page."""
    dialect = db.dialect()
    times, values = Wanted(0, 0, 0, (), wanted.from_ms, wanted.to_ms).where()
    if not wanted.kinds:
        rows = db.rows(
            f"SELECT id FROM event {BY_ID[dialect]} WHERE domain_id = ? AND id BETWEEN ? AND ?{times}"
            " ORDER BY id DESC LIMIT ? OFFSET ?",
            (wanted.domain_id, low, high, *values, wanted.count, wanted.start),
        )
        return [row[0] for row in rows]
    # Each kind by its own index range, then merged: `kind IN` would sort all of them.
    each = (
        f"SELECT id FROM (SELECT id FROM event {BY_KIND[dialect]} WHERE domain_id = ? AND kind = ?"
        f" AND id BETWEEN ? AND ?{times} ORDER BY id DESC LIMIT ?) AS some"
    )
    parameters: list[Any] = []
    for kind in wanted.kinds:
        parameters += [wanted.domain_id, kind, low, high, *values, wanted.start + wanted.count]
    union = " UNION ALL ".join([each] * len(wanted.kinds))
    rows = db.rows(
        f"SELECT id FROM ({union}) AS merged ORDER BY id DESC LIMIT ? OFFSET ?",
        (*parameters, wanted.count, wanted.start),
    )
    return [row[0] for row in rows]


def _total(wanted: Wanted, days: range, low: int, high: int) -> int:
    """Exact: whole days from the roll-ups, the parts of days at both ends counted."""
    day = clock.DAY_MS
    begin, end = event_range.day_span(wanted.from_ms, wanted.to_ms, days)
    if end < begin:
        return 0
    first, last = clock.day_number(begin), clock.day_number(end)
    total = 0
    if begin % day:
        total += _count_rows(wanted, begin, min(end, first * day + day - 1), low, high)
        first += 1
    if (end + 1) % day and last >= first:
        total += _count_rows(wanted, last * day, end, low, high)
        last -= 1
    return total + _counted(wanted.domain_id, wanted.kinds, range(first, last + 1))


def _counted(domain_id: int, kinds: Sequence[int], days: range) -> int:
    """The roll-ups of these days without what is gone, looked up one by one: a range would read the tags too."""
    wanted = list(kinds) or [int(kind) for kind in EventKind]
    primary = " FORCE INDEX (PRIMARY)" if db.dialect() == "mysql" else ""
    total = 0
    for at in range(0, len(days), _DAYS):
        some = days[at : at + _DAYS]
        total += int(
            db.rows(
                f"SELECT COALESCE(SUM(n), 0) FROM counter{primary} WHERE domain_id = ? AND tag = ''"
                f" AND day IN ({', '.join('?' * len(some))}) AND kind IN ({', '.join('?' * len(wanted))})",
                (domain_id, *some, *wanted),
            )[0][0]
        )
        total -= int(
            db.rows(
                f"SELECT COALESCE(SUM(n), 0) FROM facet{primary} WHERE domain_id = ? AND facet = ? AND value = ''"
                f" AND day IN ({', '.join('?' * len(some))}) AND kind IN ({', '.join('?' * len(wanted))})",
                (domain_id, int(FacetKind.GONE), *some, *wanted),
            )[0][0]
        )
    return total


def _count_rows(wanted: Wanted, from_ms: int, to_ms: int, low: int, high: int) -> int:
    """Counted by the index alone where every id is of the wanted time, by the rows near both ends."""
    if low <= 1 and high == INT64:
        return _count_between(wanted, low, high, from_ms, to_ms)
    near, at, before = event_range.DISORDER_MS, event_range.id_at, event_range.id_before
    low, high = max(low, before(wanted.domain_id, from_ms - near)), min(high, at(wanted.domain_id, to_ms + near))
    first, last = at(wanted.domain_id, from_ms + near), before(wanted.domain_id, to_ms - near)
    if not low <= first < last <= high:
        return _count_between(wanted, low, high, from_ms, to_ms)
    return (
        _count_between(wanted, low, first - 1, from_ms, to_ms)
        + _count_between(wanted, first, last - 1, None, None)
        + _count_between(wanted, last, high, from_ms, to_ms)
    )


def _count_between(wanted: Wanted, low: int, high: int, from_ms: int | None, to_ms: int | None) -> int:
    where, values = Wanted(0, 0, 0, wanted.kinds, from_ms, to_ms).where()
    index = (BY_KIND if wanted.kinds and from_ms is None else BY_ID)[db.dialect()]
    rows = db.rows(
        f"SELECT COUNT(*) FROM event {index} WHERE domain_id = ? AND id BETWEEN ? AND ?{where}",
        (wanted.domain_id, low, high, *values),
    )
    return int(rows[0][0])


def _id_range(wanted: Wanted, total_of_domain: int) -> tuple[int, int]:
    """Ids between which everything of the wanted times lies."""
    low, high = 1, INT64
    if total_of_domain > _SMALL:
        if wanted.from_ms is not None:
            low = event_range.id_before(wanted.domain_id, wanted.from_ms - event_range.DISORDER_MS)
        if wanted.to_ms is not None:
            high = event_range.id_at(wanted.domain_id, wanted.to_ms + event_range.DISORDER_MS)
    return low, high


def _of_message(
    wanted: Wanted, caller: Caller, message_id: str, query: Node | None, domain_name: str, cursor: str
) -> Matches:
    try:
        uuid = UUID(message_id)
    except ValueError:
        return Matches()
    messages = db.rows(
        "SELECT id FROM message WHERE uuid = ? AND account_id = ? AND domain_id = ?",
        (uuid.bytes, caller.account_id, wanted.domain_id),
    )
    if not messages:
        return Matches()
    if query is not None:
        return event_search.matching(wanted, query, domain_name=domain_name, message_id=messages[0][0], cursor=cursor)
    where, values = wanted.where()
    source = f"FROM event {BY_MESSAGE[db.dialect()]} WHERE message_id = ? AND domain_id = ?{where}"
    key = (messages[0][0], wanted.domain_id, *values)
    total = int(db.rows(f"SELECT COUNT(*) {source}", key)[0][0])
    ids = db.rows(f"SELECT id {source} ORDER BY id DESC LIMIT ? OFFSET ?", (*key, wanted.count, wanted.start))
    return Matches(total, [row[0] for row in ids])
