"""Totals and rates of an account over whole days, from the roll-ups alone, however many events there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway import clock, errors
from gateway.services import domains, message_events, statistics
from gateway.services.identity import Caller
from gateway.services.statistics import RECIPIENTS, Counts, Period
from models.vocabulary import EventKind, FacetKind

GROUPS = ("day", "tag", "domain", "provider")

_METRICS: dict[str, tuple[int, ...]] = {
    "messages": (EventKind.ACCEPTED,),
    "accepted": (RECIPIENTS,),
    "delivered": (EventKind.DELIVERED,),
    "bounced": (EventKind.BOUNCED, EventKind.FAILED),
    "opened": (EventKind.OPENED,),
    "clicked": (EventKind.CLICKED,),
    "complained": (EventKind.COMPLAINED,),
    "unsubscribed": (EventKind.UNSUBSCRIBED,),
    "suppressed": (EventKind.SUPPRESSED,),
    "deferred": (EventKind.DEFERRED,),
}
"""`accepted` counts recipients, the others events."""

_RATES = {
    "delivery": ("delivered", "accepted"),
    "bounce": ("bounced", "accepted"),
    "open": ("opened", "delivered"),
    "click": ("clicked", "delivered"),
    "complaint": ("complained", "delivered"),
    "unsubscribe": ("unsubscribed", "delivered"),
}
_OF_PROVIDER = ("delivered", "bounced", "deferred")
"""What is counted by the way it went; the rest happens afterwards."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers by metric; a rate is 0 where there is nothing to divide by. `groups` are (name, numbers, rates)."""

    days: Period
    totals: dict[str, int]
    rates: dict[str, float]
    previous: dict[str, int]
    previous_rates: dict[str, float]
    groups: list[tuple[str, dict[str, int], dict[str, float]]] = field(default_factory=list)

    @property
    def change(self) -> dict[str, float | None]:
        """By metric: the part by which it grew since the period before; None where that had none."""
        return {
            name: _part(n - self.previous[name], self.previous[name]) if self.previous[name] else None
            for name, n in self.totals.items()
        }


def of(
    *,
    caller: Caller,
    from_ms: int | None = None,
    to_ms: int | None = None,
    domain: str = "",
    group_by: str = "",
) -> Summary:
    """The numbers of whole days (UTC), by default of the last 28, and of as many days before.

    Raises `NotFound` (the domain), `Invalid` (a period that ends before it begins, or has more than ten years).
    """
    if from_ms is not None and clock.day_number(from_ms) > clock.day_number(to_ms or clock.now_ms()):
        raise errors.Invalid("until should not be before since.", field="until" if to_ms else "since")
    if from_ms is not None and (to_ms or clock.now_ms()) - from_ms > 3650 * clock.DAY_MS:
        raise errors.Invalid("since and until should be at most ten years apart.", field="since")
    days = statistics.period(from_ms, to_ms)
    domain_id = domains.find_by_name(caller=caller, name=domain).id if domain else None
    own = [domain_id] if domain_id is not None else statistics.domain_ids(caller)
    by_domain, before = statistics.sums(own, days), statistics.sums(own, days.previous)
    totals, previous = _numbers(_merged(by_domain.values())), _numbers(_merged(before.values()))
    groups: Iterable[tuple[str, Counts]] = ()
    names = tuple(_METRICS)
    if group_by == "day":
        found = statistics.series(caller=caller, domain_id=domain_id, days=days)
        groups = ((clock.rfc3339(day * clock.DAY_MS)[:10], counts) for day, counts in found)
    elif group_by == "domain":
        called = statistics.domain_names(own)
        groups = _busiest((called[id_], counts) for id_, counts in by_domain.items())
    elif group_by == "tag":
        groups = _busiest(pair for id_ in own for pair in statistics.by_tag(id_, days).items())
    elif group_by == "provider":
        names = _OF_PROVIDER
        groups = _busiest(pair for id_ in own for pair in _providers(id_, days))
    told = [(name, _numbers(counts, names)) for name, counts in groups]
    return Summary(
        days, totals, _rates(totals), previous, _rates(previous), [(name, some, _rates(some)) for name, some in told]
    )


def _providers(domain_id: int, days: Period) -> Iterable[tuple[str, Counts]]:
    for transport, kind, n in statistics.facet_rows(domain_id, FacetKind.TRANSPORT, days):
        yield message_events.provider_word(transport), {kind: n}


def _busiest(pairs: Iterable[tuple[str, Counts]]) -> list[tuple[str, Counts]]:
    """Numbers of one name together, those with the most events first, no more than tags are shown of a domain."""
    found: defaultdict[str, list[Counts]] = defaultdict(list)
    for name, counts in pairs:
        found[name].append(counts)
    merged = [(name, _merged(some)) for name, some in found.items()]
    return sorted(merged, key=lambda item: (-sum(item[1].values()), item[0]))[: statistics.TAGS_MOST]


def _merged(several: Iterable[Counts]) -> Counts:
    return statistics.add(pair for counts in several for pair in counts.items())


def _numbers(counts: Counts, names: Iterable[str] = tuple(_METRICS)) -> dict[str, int]:
    return {name: sum(counts.get(kind, 0) for kind in _METRICS[name]) for name in names}


def _rates(numbers: dict[str, int]) -> dict[str, float]:
    """Of what is there; of a provider the share of what it was tried for."""
    if "accepted" not in numbers:
        tried = numbers["delivered"] + numbers["bounced"]
        return {"delivery": _part(numbers["delivered"], tried), "bounce": _part(numbers["bounced"], tried)}
    return {name: _part(numbers[part], numbers[whole]) for name, (part, whole) in _RATES.items()}


def _part(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
