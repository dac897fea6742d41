"""Reading events: pages of a domain's events, newest first, by time, kind, message or query."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import clock
from gateway.services import domains, event_query, event_rows, event_words
from gateway.services.event_query import Node
from gateway.services.event_rows import EventRow
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import EventKind

RETRIEVE_MOST = 100
"""Events of one page."""

COUNTED_MOST = 10_000
"""Up to here the total of a query is exact."""

_BUDGET_S = 2.0  # of one query
_BUDGET_ROWS = 400_000
_MESSAGES = 500
_EVENTS = 20_000
_SMALL = 20_000  # events of a domain that are filtered by time without looking for the ids first
_DISORDER_MS = 600_000  # events are appended in time order, give or take a transaction and a clock
_DAYS = 400
_INT64 = 2**63 - 1

_BY_ID = {"sqlite": "INDEXED BY event_domain_id_id", "mysql": "FORCE INDEX (event_domain_id_id)"}
_BY_KIND = {"sqlite": "INDEXED BY event_domain_id_kind_id", "mysql": "FORCE INDEX (event_domain_id_kind_id)"}
_BY_MESSAGE = {
    "sqlite": "INDEXED BY event_message_id_delivery_id",
    "mysql": "FORCE INDEX (event_message_id_delivery_id)",
}
_MESSAGES_BY_ID = {"sqlite": "INDEXED BY message_domain_id_id", "mysql": "FORCE INDEX (message_domain_id_id)"}


@dataclass(frozen=True, slots=True)
class Page:
    """`total` counts everything that matches; with `partial` the search ended at its budget before that."""

    total: int
    rows: list[EventRow]
    partial: bool = False


@dataclass(frozen=True, slots=True)
class _Wanted:
    domain_id: int
    start: int
    count: int
    kinds: tuple[int, ...]  # () is all
    from_ms: int | None
    to_ms: int | None  # inclusive

    def where(self, alias: str = "") -> tuple[str, list[Any]]:
        """Conditions on kind and time, each after an AND."""
        parts, values = "", list[Any]()
        if self.kinds:
            parts += f" AND {alias}kind IN ({', '.join('?' * len(self.kinds))})"
            values += self.kinds
        if self.from_ms is not None:
            parts += f" AND {alias}at_ms >= ?"
            values.append(self.from_ms)
        if self.to_ms is not None:
            parts += f" AND {alias}at_ms <= ?"
            values.append(self.to_ms)
        return parts, values


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
) -> Page:
    """A page of a domain's events, the newest first; with `query` the newest message first, its events in order.

    Times are milliseconds, both ends inclusive, a whole second to its end. `event` is a word of the
    surface, `message_id` a UUID. Raises `NotFound` (the domain), `InvalidEvent`, `InvalidQuery`.
    """
    kinds = tuple(sorted(event_words.for_filter(event))) if event.strip() else ()
    node = event_query.parse(query) if query.strip() else None
    domain = domains.find(caller=caller, domain_id=domain_id)
    if to_ms is not None and to_ms % 1000 == 0:
        to_ms += 999
    wanted = _Wanted(
        domain.id, min(max(start, 0), _INT64 // 2), min(max(count, 0), RETRIEVE_MOST), kinds, from_ms, to_ms
    )
    if message_id.strip():
        total, ids, partial = _of_message(wanted, caller, message_id.strip(), node)
    elif node is not None:
        total, ids, partial = _matching(wanted, node, _walk(wanted))
    else:
        total, ids, partial = *_newest(wanted), False
    found = event_rows.load(ids)
    return Page(total, [found[id_] for id_ in ids if id_ in found], partial)


def _newest(wanted: _Wanted) -> tuple[int, list[int]]:
    first_day, last_day = db.rows("SELECT MIN(day), MAX(day) FROM counter WHERE domain_id = ?", (wanted.domain_id,))[0]
    if first_day is None:
        return 0, []
    days = range(first_day, last_day + 1)
    low, high = _id_range(wanted, _counted(wanted.domain_id, (), days))
    total = _total(wanted, days, low, high)
    if not total or not wanted.count or wanted.start >= total:
        return total, []
    return total, _page_ids(wanted, low, high)


def _page_ids(wanted: _Wanted, low: int, high: int) -> list[int]:
    """Ids only: an offset over the index alone is cheap, and the rows are read for the page."""
    dialect = db.dialect()
    times, values = _Wanted(0, 0, 0, (), wanted.from_ms, wanted.to_ms).where()
    if not wanted.kinds:
        rows = db.rows(
            f"SELECT id FROM event {_BY_ID[dialect]} WHERE domain_id = ? AND id BETWEEN ? AND ?{times}"
            " ORDER BY id DESC LIMIT ? OFFSET ?",
            (wanted.domain_id, low, high, *values, wanted.count, wanted.start),
        )
        return [row[0] for row in rows]
    # Each kind by its own index range, then merged: `kind IN` would sort all of them.
    each = (
        f"SELECT id FROM (SELECT id FROM event {_BY_KIND[dialect]} WHERE domain_id = ? AND kind = ?"
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


def _total(wanted: _Wanted, days: range, low: int, high: int) -> int:
    """Exact: whole days from the roll-ups, the parts of days at both ends counted."""
    day = clock.DAY_MS
    begin = days.start * day if wanted.from_ms is None else max(wanted.from_ms, days.start * day)
    end = days.stop * day - 1 if wanted.to_ms is None else min(wanted.to_ms, days.stop * day - 1)
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
    """The roll-ups of these days, looked up one by one: a range would read the tags between them too."""
    wanted = list(kinds) or [int(kind) for kind in EventKind]
    total = 0
    for at in range(0, len(days), _DAYS):
        some = days[at : at + _DAYS]
        total += int(
            db.rows(
                "SELECT COALESCE(SUM(n), 0) FROM counter WHERE domain_id = ? AND tag = ''"
                f" AND day IN ({', '.join('?' * len(some))}) AND kind IN ({', '.join('?' * len(wanted))})",
                (domain_id, *some, *wanted),
            )[0][0]
        )
    return total


def _count_rows(wanted: _Wanted, from_ms: int, to_ms: int, low: int, high: int) -> int:
    if low > 1 or high < _INT64:
        low = max(low, _id_at(wanted.domain_id, from_ms - _DISORDER_MS))
        high = min(high, _id_at(wanted.domain_id, to_ms + _DISORDER_MS))
    where, values = _Wanted(0, 0, 0, wanted.kinds, from_ms, to_ms).where()
    rows = db.rows(
        f"SELECT COUNT(*) FROM event {_BY_ID[db.dialect()]} WHERE domain_id = ? AND id BETWEEN ? AND ?{where}",
        (wanted.domain_id, low, high, *values),
    )
    return int(rows[0][0])


def _id_range(wanted: _Wanted, total_of_domain: int) -> tuple[int, int]:
    """Ids between which everything of the wanted times lies."""
    low, high = 1, _INT64
    if total_of_domain > _SMALL:
        if wanted.from_ms is not None:
            low = _id_at(wanted.domain_id, wanted.from_ms - _DISORDER_MS)
        if wanted.to_ms is not None:
            high = _id_at(wanted.domain_id, wanted.to_ms + _DISORDER_MS)
    return low, high


def _edge(domain_id: int, direction: str) -> tuple[int, int] | None:
    """Id and time of the domain's first event, or of its last with `DESC`."""
    rows = db.rows(
        f"SELECT id, at_ms FROM event {_BY_ID[db.dialect()]} WHERE domain_id = ? ORDER BY id {direction} LIMIT 1",
        (domain_id,),
    )
    return rows[0] if rows else None


def _id_at(domain_id: int, at_ms: int) -> int:
    """The id at which the domain's events pass `at_ms`, by halving: time follows the ids."""
    first, last = _edge(domain_id, ""), _edge(domain_id, "DESC")
    if first is None or last is None or first[1] >= at_ms:
        return 1
    if last[1] < at_ms:
        return _INT64
    low, high = first[0], last[0]  # low is before, high at or after
    while high - low > 1:
        middle = (low + high) // 2
        id_, found_ms = db.rows(
            f"SELECT id, at_ms FROM event {_BY_ID[db.dialect()]} WHERE domain_id = ? AND id >= ? ORDER BY id LIMIT 1",
            (domain_id, middle),
        )[0]
        if found_ms >= at_ms:
            high = middle
        else:
            low = id_
    return high


def _of_message(wanted: _Wanted, caller: Caller, message_id: str, node: Node | None) -> tuple[int, list[int], bool]:
    try:
        uuid = UUID(message_id)
    except ValueError:
        return 0, [], False
    messages = db.rows(
        "SELECT id, subject, from_addr, tags, headers FROM message WHERE uuid = ? AND account_id = ? AND domain_id = ?",
        (uuid.bytes, caller.account_id, wanted.domain_id),
    )
    if not messages:
        return 0, [], False
    if node is not None:
        return _matching(wanted, node, iter([messages]))
    where, values = wanted.where()
    source = f"FROM event {_BY_MESSAGE[db.dialect()]} WHERE message_id = ? AND domain_id = ?{where}"
    key = (messages[0][0], wanted.domain_id, *values)
    total = int(db.rows(f"SELECT COUNT(*) {source}", key)[0][0])
    ids = db.rows(f"SELECT id {source} ORDER BY id DESC LIMIT ? OFFSET ?", (*key, wanted.count, wanted.start))
    return total, [row[0] for row in ids], False


def _walk(wanted: _Wanted) -> Iterator[list[tuple[Any, ...]]]:
    """The domain's messages, newest first, in batches."""
    before, until = _INT64, _INT64 if wanted.to_ms is None else wanted.to_ms + _DISORDER_MS
    while True:
        batch = db.rows(
            f"SELECT id, subject, from_addr, tags, headers, created_ms FROM message {_MESSAGES_BY_ID[db.dialect()]}"
            " WHERE domain_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
            (wanted.domain_id, before, _MESSAGES),
        )
        if not batch:
            return
        before = batch[-1][0]
        yield [row[:5] for row in batch if row[5] <= until]


def _matching(wanted: _Wanted, node: Node, batches: Iterator[list[tuple[Any, ...]]]) -> tuple[int, list[int], bool]:
    """Total, the page's event ids and whether the budget ended the search."""
    deadline = time.monotonic() + _BUDGET_S
    total, read, ids = 0, 0, list[int]()
    for batch in batches:
        messages: dict[int, tuple[dict[str, list[str]], dict[str, Any], bool | None]] = {}
        for id_, subject, from_addr, tags, headers_json in batch:
            headers = orjson.loads(headers_json) if headers_json else {}
            texts = {"subject": [subject], "from": _sender(from_addr, headers), "tag": orjson.loads(tags or "[]")}
            verdict = node.judge(texts)
            if verdict is not False:
                messages[id_] = (texts, headers, verdict)
        read += len(batch)
        for event in _events_of(wanted, list(messages)):
            read += 1
            texts, headers, verdict = messages[event[1]]
            if verdict or node.judge(texts | _texts(event, headers)):
                if wanted.start <= total < wanted.start + wanted.count:
                    ids.append(event[0])
                total += 1
                if total >= COUNTED_MOST and total >= wanted.start + wanted.count:
                    return total, ids, False
            if read % 1000 == 0 and (time.monotonic() > deadline or read > _BUDGET_ROWS):
                return total, ids, True
        if time.monotonic() > deadline or read > _BUDGET_ROWS:
            return total, ids, True
    return total, ids, False


def _events_of(wanted: _Wanted, message_ids: list[int]) -> Iterator[tuple[Any, ...]]:
    """Events of these messages in the order of the messages, each message's in their own order."""
    dialect = db.dialect()
    straight = "STRAIGHT_JOIN " if dialect == "mysql" else ""
    where, values = wanted.where("e.")
    after = (0, 0)
    while message_ids:
        rows = db.rows(
            f"SELECT {straight}e.id, e.message_id, e.rcpt, e.ip, r.text, x.name, e.data FROM event e"
            f" {_BY_MESSAGE[dialect]} LEFT JOIN reply r ON r.id = e.reply_id LEFT JOIN mx x ON x.id = e.mx_id"
            f" WHERE e.message_id IN ({', '.join('?' * len(message_ids))}) AND e.domain_id = ?"
            f" AND NOT (e.message_id = ? AND e.id <= ?){where} ORDER BY e.message_id DESC, e.id LIMIT ?",
            (*message_ids, wanted.domain_id, *after, *values, _EVENTS),
        )
        yield from rows
        if len(rows) < _EVENTS:
            return
        after = (rows[-1][1], rows[-1][0])
        message_ids = [id_ for id_ in message_ids if id_ <= after[0]]


def _texts(event: tuple[Any, ...], headers: dict[str, Any]) -> dict[str, list[str]]:
    """What the fields of one event say; of an event about the whole message `to` are all its recipients."""
    _, _, rcpt, ip, reply, mx, data_json = event
    data = orjson.loads(data_json) if data_json else {}
    response = [reply or "", str(data.get("reason") or "")]
    response.append(" ".join(str(data[key]) for key in ("code", "enhanced") if data.get(key)))
    boxes = [*headers.get("to", ()), *headers.get("cc", ())]
    return {
        "to": [rcpt] if rcpt else [str(email) for _, email in boxes],
        "ip": [ip] if ip else [],
        "mx": [mx] if mx else [],
        "response": response,
    }


def _sender(from_addr: str, headers: dict[str, Any]) -> list[str]:
    box = headers.get("from") or ["", ""]
    return [from_addr, str(box[0])]
