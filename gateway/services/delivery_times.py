"""The scale of delivery times: from a message's acceptance to the 250 of the next hop, in steps of a fifth.

A step is a roll-up row, so that the times of any number of deliveries are a hundred numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway import clock
from models import database as db
from models.vocabulary import EventKind, FacetKind

_PER_DOUBLING = 4
_CHUNK = 400
_WORDS = {"sqlite": ("CROSS JOIN", ""), "mysql": ("STRAIGHT_JOIN", " FORCE INDEX (PRIMARY)")}

Steps = dict[int, int]
"""Deliveries by step."""


@dataclass(frozen=True, slots=True)
class Times:
    """`histogram` has upper bounds in milliseconds with the deliveries of that step, steps without any left out.

    The percentiles are upper bounds of their steps, at most a fifth above the truth; None where nothing was delivered.
    """

    count: int
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None
    histogram: list[tuple[int, int]]


def step(ms: int) -> int:
    """The step that a time falls into: the first whose bound it does not pass."""
    return math.ceil(math.log2(ms) * _PER_DOUBLING - 1e-9) if ms > 1 else 0


def bound_ms(number: int) -> int:
    """The longest time of a step, in whole milliseconds."""
    return math.floor(2 ** (number / _PER_DOUBLING) + 1e-6)


def of(steps: Mapping[int, int]) -> Times:
    ordered = sorted((number, n) for number, n in steps.items() if n)
    total = sum(n for _, n in ordered)
    p50_ms, p95_ms, p99_ms = (_percentile(ordered, total, part) for part in (0.5, 0.95, 0.99))
    return Times(total, p50_ms, p95_ms, p99_ms, [(bound_ms(number), n) for number, n in ordered])


def _percentile(ordered: list[tuple[int, int]], total: int, part: float) -> int | None:
    passed = 0
    for number, n in ordered:
        passed += n
        if passed >= part * total:
            return bound_ms(number)
    return None


def count(domain_ids: Iterable[int], first_day: int, last_day: int) -> Steps:
    """Deliveries of these domains and days (both inclusive), from the roll-ups."""
    found: Steps = {}
    ids = list(domain_ids)
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        for value, n in db.rows(
            f"SELECT value, SUM(n) FROM facet{_WORDS[db.dialect()][1]}"
            f" WHERE domain_id IN ({', '.join('?' * len(some))}) AND facet = ? AND day BETWEEN ? AND ? AND kind = ?"
            " GROUP BY value",
            (*some, int(FacetKind.DELIVERY_TIME), first_day, last_day, int(EventKind.DELIVERED)),
        ):
            found[int(value)] = found.get(int(value), 0) + int(n)
    return found


def of_all() -> Times:
    """Those of every account, yesterday's and today's."""
    join, primary = _WORDS[db.dialect()]
    rows = db.rows(
        f"SELECT f.value, SUM(f.n) FROM sender_domain s {join} facet f{primary}"
        " ON f.domain_id = s.id AND f.facet = ? AND f.day >= ? GROUP BY f.value",
        (int(FacetKind.DELIVERY_TIME), clock.day_number(clock.now_ms()) - 1),
    )
    return of({int(value): int(n) for value, n in rows})
