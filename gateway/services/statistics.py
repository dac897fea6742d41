"""Statistics of a domain or an account over whole days, from the roll-ups that are written with the events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway import clock, errors
from gateway.services import delivery_times, domains, ledger
from gateway.services.delivery_times import Times
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import EventKind, FacetKind

DAYS = 28
"""The period where the request names none."""
HOUR_DAYS = 60
"""How long the counts of single hours are kept."""
TAGS_MOST = 1000
"""Tags of one answer, those with the most events."""
_SPAN_MOST = 3660  # days of one answer
_CHUNK = 400

_Key = tuple[int, int, int]  # domain, day, kind
RECIPIENTS = 0
"""Stands beside the kinds: accepted messages weighed by their recipients."""
Counts = dict[int, int]
"""Events by kind, and by `RECIPIENTS`."""

_PRIMARY = {"sqlite": "", "mysql": " FORCE INDEX (PRIMARY)"}


@dataclass(frozen=True, slots=True)
class Period:
    """Days since 1970-01-01 UTC, both inclusive."""

    first: int
    last: int

    @property
    def days(self) -> range:
        return range(self.first, self.last + 1)

    @property
    def previous(self) -> Period:
        """As many days right before."""
        return Period(2 * self.first - self.last - 1, self.first - 1)


def period(from_ms: int | None, to_ms: int | None) -> Period:
    """The days of a request, by default the 28 until today (or until its end); raises `Invalid`.

    An end before the start is a period without days.
    """
    last = clock.day_number(clock.now_ms() if to_ms is None else to_ms)
    first = clock.day_number(from_ms) if from_ms is not None else last - DAYS + 1
    if last - first >= _SPAN_MOST:
        raise errors.Invalid("StartDate and EndDate should be at most ten years apart", field="StartDate")
    return Period(first, max(last, first - 1))


Verdicts = dict[int, dict[str, int]]
"""Opens and clicks by who made them: human, machine, unknown."""


@dataclass(frozen=True, slots=True)
class DomainStatistics:
    counts: Counts
    previous: Counts
    tags: dict[str, Counts]
    times: Times
    verdicts: Verdicts


def of_domain(*, caller: Caller, domain_id: int, days: Period) -> DomainStatistics:
    """All counts, those of the previous period, and those by tag; raises `NotFound`."""
    domain = domains.find(caller=caller, domain_id=domain_id, past=True)
    found, before = _two_periods([domain.id], days)
    tags, times = by_tag(domain.id, days), delivery_times.of(delivery_times.count([domain.id], days.first, days.last))
    return DomainStatistics(_sum(found), _sum(before), tags, times, _verdicts([domain.id], days))


@dataclass(frozen=True, slots=True)
class AccountStatistics:
    counts: Counts
    previous: Counts
    domains: list[tuple[int, str, Counts]]  # id and name of each domain that is not deleted
    times: Times
    verdicts: Verdicts


def of_account(*, caller: Caller, days: Period) -> AccountStatistics:
    """The account's counts (deleted domains included) and those of each domain; of a domain's key only its own."""
    ids = domain_ids(caller)
    found, before = _two_periods(ids, days)
    by_domain: defaultdict[int, dict[_Key, int]] = defaultdict(dict)
    for key, n in found.items():
        by_domain[key[0]][key] = n
    each = [(domain.id, domain.name, _sum(by_domain[domain.id])) for domain in domains.list_(caller=caller)]
    times = delivery_times.of(delivery_times.count(ids, days.first, days.last))
    return AccountStatistics(_sum(found), _sum(before), each, times, _verdicts(ids, days))


def series(*, caller: Caller, domain_id: int | None, days: Period) -> list[tuple[int, Counts]]:
    """Day number and counts of every day, of a domain or of the whole account; raises `NotFound`."""
    ids = domain_ids(caller) if domain_id is None else [domains.find(caller=caller, domain_id=domain_id, past=True).id]
    each: dict[int, Counts] = {day: {} for day in days.days}
    for (_, day, kind), n in _by_day(ids, days.days).items():
        each[day][kind] = each[day].get(kind, 0) + n
    return sorted(each.items())


def domain_names(domain_ids: Sequence[int]) -> dict[int, str]:
    """The names of these domains, deleted ones too."""
    found: dict[int, str] = {}
    for start in range(0, len(domain_ids), _CHUNK):
        some = domain_ids[start : start + _CHUNK]
        found |= dict(db.rows(f"SELECT id, name FROM sender_domain WHERE id IN ({', '.join('?' * len(some))})", some))
    return found


def sums(domain_ids: Sequence[int], days: Period) -> dict[int, Counts]:
    """The period's counts by domain; domains without any are left out."""
    found: defaultdict[int, Counts] = defaultdict(dict)
    for (domain_id, _, kind), n in _by_day(domain_ids, days.days, summed=True).items():
        found[domain_id][kind] = found[domain_id].get(kind, 0) + n
    return dict(found)


def hours(*, caller: Caller, domain_id: int | None, from_ms: int | None, to_ms: int | None) -> list[tuple[int, Counts]]:
    """Begin of every hour (milliseconds) with its counts, by default those of the last two days.

    Raises `NotFound`, and `Invalid` for more than the days that hours are kept for.
    """
    last = (clock.now_ms() if to_ms is None else to_ms) // clock.HOUR_MS
    first = last - 2 * 24 + 1 if from_ms is None else from_ms // clock.HOUR_MS
    if last - first >= HOUR_DAYS * 24:
        raise errors.Invalid(f"StartDate and EndDate should be at most {HOUR_DAYS} days apart", field="StartDate")
    ids = domain_ids(caller) if domain_id is None else [domains.find(caller=caller, domain_id=domain_id, past=True).id]
    each: dict[int, Counts] = {hour: {} for hour in range(first, last + 1)}
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        for day, value, kind, n in db.rows(
            f"SELECT day, value, kind, SUM(n) FROM facet{_PRIMARY[db.dialect()]}"
            f" WHERE domain_id IN ({', '.join('?' * len(some))}) AND facet = ? AND day BETWEEN ? AND ?"
            " GROUP BY day, value, kind",
            (*some, int(FacetKind.HOUR), first // 24, last // 24),
        ):
            counts = each.get(day * 24 + int(value))
            if counts is None:
                continue
            if kind in (EventKind.ACCEPTED, ledger.BEYOND):
                counts[RECIPIENTS] = counts.get(RECIPIENTS, 0) + int(n)
            if kind != ledger.BEYOND:
                counts[kind] = counts.get(kind, 0) + int(n)
    return [(hour * clock.HOUR_MS, counts) for hour, counts in sorted(each.items())]


def _verdicts(ids: Sequence[int], days: Period) -> Verdicts:
    found: Verdicts = {int(EventKind.OPENED): {}, int(EventKind.CLICKED): {}}
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        for value, kind, n in db.rows(
            f"SELECT value, kind, SUM(n) FROM facet{_PRIMARY[db.dialect()]}"
            f" WHERE domain_id IN ({', '.join('?' * len(some))}) AND facet = ? AND day BETWEEN ? AND ?"
            " GROUP BY value, kind",
            (*some, int(FacetKind.VERDICT), days.first, days.last),
        ):
            if kind in found:
                found[kind][value] = found[kind].get(value, 0) + int(n)
    return found


def recipient_domains(
    *, caller: Caller, domain_id: int, days: Period, name: str = "", start: int = 0, count: int = 100
) -> tuple[int, list[tuple[str, Counts]]]:
    """How many domains were written to, and a page of them with their counts, the busiest first; raises `NotFound`."""
    domain = domains.find(caller=caller, domain_id=domain_id, past=True)
    value = name.strip().lower().rpartition("@")[2]
    found: defaultdict[str, Counts] = defaultdict(dict)
    for text, kind, n in facet_rows(domain.id, FacetKind.RECIPIENT_DOMAIN, days, value):
        found[text][kind] = n
    ordered = sorted(found.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    return len(ordered), ordered[start : start + count]


def by_tag(domain_id: int, days: Period, kinds: Sequence[int] = ()) -> dict[str, Counts]:
    """Counts by tag, the busiest tags first."""
    if not days.days:
        return {}
    found: defaultdict[str, Counts] = defaultdict(dict)
    for tag, kind, n in db.rows(
        f"SELECT tag, kind, SUM(n) FROM counter{_PRIMARY[db.dialect()]} WHERE domain_id = ? AND day BETWEEN ? AND ?"
        " AND tag <> '' GROUP BY tag, kind",
        (domain_id, days.first, days.last),
    ):
        if not kinds or kind in kinds:
            found[tag][kind] = int(n)
        if kind == EventKind.ACCEPTED and not kinds:
            found[tag][RECIPIENTS] = int(n)
    if not kinds:
        for tag, _, n in facet_rows(domain_id, FacetKind.RECIPIENTS, days):
            if tag in found:
                found[tag][RECIPIENTS] = found[tag].get(RECIPIENTS, 0) + n
    ordered = sorted(found.items(), key=lambda item: (-_events(item[1]), item[0]))
    return dict(ordered[:TAGS_MOST])


def by_day(domain_id: int, days: Period) -> dict[tuple[int, int], int]:
    """Events of the domain by day and kind."""
    return {(day, kind): n for (_, day, kind), n in _by_day([domain_id], days.days).items() if kind != RECIPIENTS}


def facet_rows(domain_id: int, facet: FacetKind, days: Period, value: str = "") -> list[tuple[str, int, int]]:
    """Value, kind and number; with `value` only that one."""
    if not days.days:
        return []
    where, values = (" AND value = ?", [value]) if value else ("", [])
    return [
        (text, kind, int(n))
        for text, kind, n in db.rows(
            f"SELECT value, kind, SUM(n) FROM facet{_PRIMARY[db.dialect()]} WHERE domain_id = ? AND facet = ?"
            f" AND day BETWEEN ? AND ?{where} GROUP BY value, kind",
            (domain_id, int(facet), days.first, days.last, *values),
        )
    ]


def _events(counts: Counts) -> int:
    return sum(n for kind, n in counts.items() if kind != RECIPIENTS)


def domain_ids(caller: Caller) -> list[int]:
    """The account's domains, deleted ones too; of a key of some domains only those."""
    if caller.domain_ids:
        return [domains.find(caller=caller, domain_id=id_).id for id_ in caller.domain_ids]
    if caller.domain_id is not None:
        return [domains.find(caller=caller, domain_id=caller.domain_id).id]
    rows = db.rows("SELECT id FROM sender_domain WHERE account_id = ?", (caller.account_id,))
    return [row[0] for row in rows]


def _two_periods(domain_ids: Sequence[int], days: Period) -> tuple[dict[_Key, int], dict[_Key, int]]:
    """The period's sums and the previous one's; the day of a key stands for its period."""
    return _by_day(domain_ids, days.days, summed=True), _by_day(domain_ids, days.previous.days, summed=True)


def _by_day(domain_ids: Sequence[int], days: range, *, summed: bool = False) -> dict[_Key, int]:
    """Looked up one by one, because a range would read the tags between them too; `summed` under their first day."""
    found: defaultdict[_Key, int] = defaultdict(int)
    columns, group = ("MIN(day)", " GROUP BY domain_id, kind") if summed else ("day", "")
    number = "SUM(n)" if summed else "n"
    kinds = [int(kind) for kind in EventKind]
    for start in range(0, len(domain_ids), _CHUNK):
        ids = domain_ids[start : start + _CHUNK]
        for at in range(0, len(days), _CHUNK):
            some = days[at : at + _CHUNK]
            rows: list[tuple[Any, ...]] = db.rows(
                f"SELECT domain_id, {columns}, kind, {number} FROM counter{_PRIMARY[db.dialect()]}"
                f" WHERE domain_id IN ({', '.join('?' * len(ids))}) AND day IN ({', '.join('?' * len(some))})"
                f" AND kind IN ({', '.join('?' * len(kinds))}) AND tag = ''{group}",
                (*ids, *some, *kinds),
            )
            for domain_id, day, kind, n in rows:
                found[(domain_id, day, kind)] += int(n)
                if kind == EventKind.ACCEPTED:
                    found[(domain_id, day, RECIPIENTS)] += int(n)
            for domain_id, day, _, n in db.rows(
                f"SELECT domain_id, {columns}, kind, {number} FROM facet{_PRIMARY[db.dialect()]}"
                f" WHERE domain_id IN ({', '.join('?' * len(ids))}) AND facet = ? AND day IN"
                f" ({', '.join('?' * len(some))}) AND value = '' AND kind = ?{group}",
                (*ids, int(FacetKind.RECIPIENTS), *some, int(EventKind.ACCEPTED)),
            ):
                found[(domain_id, day, RECIPIENTS)] += int(n)
    return found


def _sum(found: dict[_Key, int]) -> Counts:
    return add((kind, n) for (_, _, kind), n in found.items())


def add(pairs: Iterable[tuple[int, int]]) -> Counts:
    counts: defaultdict[int, int] = defaultdict(int)
    for kind, n in pairs:
        counts[kind] += n
    return dict(counts)
