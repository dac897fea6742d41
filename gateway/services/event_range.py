"""Which events of a domain are wanted: kinds, times, and the ids between which those times lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway import clock
from models import database as db

INT64 = 2**63 - 1
DISORDER_MS = 600_000
"""Events are appended in time order, give or take a transaction and a clock."""

BY_ID = {"sqlite": "INDEXED BY event_domain_id_id", "mysql": "FORCE INDEX (event_domain_id_id)"}
BY_KIND = {"sqlite": "INDEXED BY event_domain_id_kind_id", "mysql": "FORCE INDEX (event_domain_id_kind_id)"}
BY_MESSAGE = {
    "sqlite": "INDEXED BY event_message_id_delivery_id",
    "mysql": "FORCE INDEX (event_message_id_delivery_id)",
}
MESSAGES_BY_ID = {"sqlite": "INDEXED BY message_domain_id_id", "mysql": "FORCE INDEX (message_domain_id_id)"}
_TIMES = {"event": ("at_ms", BY_ID), "message": ("created_ms", MESSAGES_BY_ID)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page of the events of a domain."""

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


def inclusive(to_ms: int | None) -> int | None:
    """The end of a period: a whole second lasts to its end."""
    return to_ms + 999 if to_ms is not None and to_ms % 1000 == 0 else to_ms


_NEAR = 2000
"""Ids: whoever looks at the times too needs no exact place, and each halving is a query."""


def id_before(domain_id: int, at_ms: int, table: str = "event") -> int:
    """An id at which the domain's events (or messages) are not past `at_ms` yet, at most some 2,000 ids early."""
    return _around(domain_id, at_ms, table)[0]


def id_at(domain_id: int, at_ms: int, table: str = "event", *, near: int | None = None) -> int:
    """An id at which the domain's events (or messages) are past `at_ms`, at most `near` or some 2,000 ids late."""
    return _around(domain_id, at_ms, table, near)[1]


def _around(domain_id: int, at_ms: int, table: str, near: int | None = None) -> tuple[int, int]:
    """By halving, for time follows the ids."""
    first, last = _edge(domain_id, table, ""), _edge(domain_id, table, "DESC")
    if first is None or last is None or first[1] >= at_ms:
        return 1, 1
    if last[1] < at_ms:
        return INT64, INT64
    column, by_id = _TIMES[table]
    low, high = first[0], last[0]  # low is before, high at or after
    while high - low > (near or _NEAR):
        middle = (low + high) // 2
        id_, found_ms = db.rows(
            f"SELECT id, {column} FROM {table} {by_id[db.dialect()]} WHERE domain_id = ? AND id >= ?"
            " ORDER BY id LIMIT 1",
            (domain_id, middle),
        )[0]
        if found_ms >= at_ms:
            high = middle
        else:
            low = id_
    return low, high


def _edge(domain_id: int, table: str, direction: str) -> tuple[int, int] | None:
    """Id and time of the domain's first row, or of its last with `DESC`."""
    column, by_id = _TIMES[table]
    rows = db.rows(
        f"SELECT id, {column} FROM {table} {by_id[db.dialect()]} WHERE domain_id = ? ORDER BY id {direction} LIMIT 1",
        (domain_id,),
    )
    return rows[0] if rows else None


def day_span(from_ms: int | None, to_ms: int | None, days: range) -> tuple[int, int]:
    """First and last millisecond of the period inside those days."""
    begin = days.start * clock.DAY_MS if from_ms is None else max(from_ms, days.start * clock.DAY_MS)
    end = days.stop * clock.DAY_MS - 1 if to_ms is None else min(to_ms, days.stop * clock.DAY_MS - 1)
    return begin, end
