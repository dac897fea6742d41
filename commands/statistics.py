"""Statistics: DomainStats, AggrEvents, and the later commands of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commands.registry import command
from commands.schema import Day, Id, Params, Text, Whole
from gateway import clock, errors
from gateway.services import event_buckets, statistics
from gateway.services.delivery_times import Times
from gateway.services.identity import Caller
from gateway.services.statistics import RECIPIENTS, Counts, Period, Verdicts
from models.vocabulary import EventKind

_ROWS = 100
_MOST = 1000
_WHEN = {
    "StartDate": "The start date for the statistics period (format: YYYY-MM-DD)",
    "EndDate": "The end date for the statistics period (format: YYYY-MM-DD)",
}
_MISSING = "Required parameter missing: DomainID"
_STATS = {
    "Sent": 120, "Accepted": 118, "Delivered": 110, "Bounced": 6, "Failed": 2, "Deferred": 9, "Suppressed": 3,
    "Opened": 54, "Clicked": 21, "Complained": 0, "Unsubscribed": 1, "Canceled": 0, "Queued": 4,
}  # fmt: skip


_MORE = {
    "DeliveryTimes": {
        "Count": 110, "P50Ms": 861, "P95Ms": 2435, "P99Ms": 9742, "Histogram": [{"UpToMs": 861, "Count": 70}],
    },
    "Engagement": {
        "Opened": {"All": 54, "Human": 40, "Machine": 12, "Unknown": 2},
        "Clicked": {"All": 21, "Human": 18, "Machine": 3, "Unknown": 0},
    },
}  # fmt: skip


class DaysParams(Params):
    StartDate = Day(required=False, doc=_WHEN["StartDate"])
    EndDate = Day(required=False, end=True, doc=_WHEN["EndDate"])


class DomainStatsParams(DaysParams):
    DomainID = Id(missing=1, doc="The unique identifier for the domain")


class AggrEventsParams(DomainStatsParams):
    AggregatedField = Text(required=False, max=64, doc="The field to aggregate the event data by")
    AggregateSize = Whole(
        required=False, low=1, high=_MOST, clamp=True, doc="The maximum number of aggregation buckets to return"
    )


class DailySeriesParams(DaysParams):
    DomainID = Id(required=False, doc="The unique identifier for the domain; without it the whole account")


class HourlySeriesParams(Params):
    DomainID = Id(required=False, doc="The unique identifier for the domain; without it the whole account")
    StartDate = Day(required=False, doc=f"{_WHEN['StartDate']}; by default two days before the end")
    EndDate = Day(required=False, end=True, doc=f"{_WHEN['EndDate']}; by default now")


class ListRecipientDomainsParams(DomainStatsParams):
    StartFrom = Whole(required=False, doc="The starting point for records retrieval")
    RetrieveCount = Whole(
        required=False, low=0, high=_MOST, clamp=True, doc="The number of records to retrieve (100, max 1000)"
    )


class RecipientDomainStatsParams(ListRecipientDomainsParams):
    RecipientDomain = Text(required=False, max=255, doc="One domain of recipients; without it all of them")


@command(
    "EmailGateway.DomainStats",
    summary="Statistics of a domain, of the period before, and by tag",
    params=DomainStatsParams,
    errors={1: _MISSING, 2: "Unable to retrieve domain information"},
    refusals={errors.NotFound: 2},
    answer={"Stats": _STATS, "ComparisonStats": {"PreviousPeriod": _STATS}, "TagStats": {"welcome": _STATS}, **_MORE},
    error_message=True,
)
def domain_stats(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    days = _period(params)
    found = statistics.of_domain(caller=caller, domain_id=params["DomainID"], days=days)
    return {
        "Stats": stats(found.counts),
        "ComparisonStats": {"PreviousPeriod": stats(found.previous)},
        "TagStats": {tag: stats(counts) for tag, counts in found.tags.items()},
        "DeliveryTimes": _times(found.times),
        "Engagement": _engagement(found.counts, found.verdicts),
        **_dates(days),
    }


@command(
    "EmailGateway.AggrEvents",
    summary="Count the events of a domain by one of their fields",
    params=AggrEventsParams,
    errors={1: _MISSING, 2: "Failed to retrieve sender domain"},
    refusals={errors.NotFound: 2},
    answer={"AggBuckets": [{"key": "delivery", "doc_count": 110}]},
    error_message=True,
)
def aggr_events(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found, partial = event_buckets.buckets(
        caller=caller,
        domain_id=params["DomainID"],
        field=params.get("AggregatedField", ""),
        size=params.get("AggregateSize", 10),
        days=_period(params),
    )
    answer: dict[str, Any] = {"AggBuckets": [{"key": key, "doc_count": n} for key, n in found]}
    if partial:
        answer["Partial"] = True
    return answer


@command(
    "EmailGateway.AccountStats",
    summary="Statistics of the whole account and of each of its domains",
    params=DaysParams,
    answer={
        "Stats": _STATS,
        "ComparisonStats": {"PreviousPeriod": _STATS},
        "DomainStats": [{"DomainID": 123, "Domain": "example.com", **_STATS}],
        **_MORE,
    },
)
def account_stats(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    days = _period(params)
    found = statistics.of_account(caller=caller, days=days)
    return {
        "Stats": stats(found.counts),
        "ComparisonStats": {"PreviousPeriod": stats(found.previous)},
        "DomainStats": [{"DomainID": id_, "Domain": name, **stats(counts)} for id_, name, counts in found.domains],
        "DeliveryTimes": _times(found.times),
        "Engagement": _engagement(found.counts, found.verdicts),
        **_dates(days),
    }


@command(
    "EmailGateway.DailySeries",
    summary="Statistics day by day, of a domain or of the whole account",
    params=DailySeriesParams,
    errors={2: "Unable to retrieve domain information"},
    refusals={errors.NotFound: 2},
    answer={"Series": [{"Date": "2023-01-01", **_STATS}]},
)
def daily_series(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = statistics.series(caller=caller, domain_id=params.get("DomainID"), days=_period(params))
    return {"Series": [{"Date": _day(day), **stats(counts)} for day, counts in found]}


@command(
    "EmailGateway.HourlySeries",
    summary="Statistics hour by hour (UTC), of a domain or of the whole account",
    params=HourlySeriesParams,
    errors={2: "Unable to retrieve domain information"},
    refusals={errors.NotFound: 2},
    answer={"Series": [{"Hour": "2023-01-01T12:00:00Z", **_STATS}]},
)
def hourly_series(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = statistics.hours(
        caller=caller,
        domain_id=params.get("DomainID"),
        from_ms=params.get("StartDate"),
        to_ms=params.get("EndDate"),
    )
    return {"Series": [{"Hour": clock.rfc3339(at_ms), **stats(counts)} for at_ms, counts in found]}


@command(
    "EmailGateway.RecipientDomainStats",
    summary="Statistics by the domains of the recipients, the busiest first",
    params=RecipientDomainStatsParams,
    errors={1: _MISSING, 2: "Unable to retrieve domain information"},
    refusals={errors.NotFound: 2},
    answer={
        "TotalRecords": 1,
        "RecipientDomainStats": [{"RecipientDomain": "example.net", "Sent": 118, "Delivered": 110}],
    },
)
def recipient_domain_stats(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    total, rows = _recipient_domains(caller, params, params.get("RecipientDomain", ""))
    return {
        "TotalRecords": total,
        "RecipientDomainStats": [{"RecipientDomain": name, **tried(counts)} for name, counts in rows],
    }


@command(
    "EmailGateway.ListRecipientDomains",
    summary="The domains that a domain wrote to, the busiest first",
    params=ListRecipientDomainsParams,
    errors={1: _MISSING, 2: "Unable to retrieve domain information"},
    refusals={errors.NotFound: 2},
    answer={"TotalRecords": 1, "RecipientDomains": ["example.net"]},
)
def list_recipient_domains(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    total, rows = _recipient_domains(caller, params, "")
    return {"TotalRecords": total, "RecipientDomains": [name for name, _ in rows]}


def _recipient_domains(caller: Caller, params: Mapping[str, Any], name: str) -> tuple[int, list[tuple[str, Counts]]]:
    return statistics.recipient_domains(
        caller=caller,
        domain_id=params["DomainID"],
        days=_period(params),
        name=name,
        start=params.get("StartFrom", 0),
        count=params.get("RetrieveCount", _ROWS),
    )


def stats(counts: Counts) -> dict[str, int]:
    """`Sent` are recipients, `Accepted` messages; `Bounced` are all bounces, `Failed` those after the last retry."""
    return {
        "Sent": counts.get(RECIPIENTS, 0),
        "Accepted": counts.get(EventKind.ACCEPTED, 0),
        **_fates(counts),
        "Queued": counts.get(EventKind.QUEUED, 0),
    }


def tried(counts: Counts) -> dict[str, int]:
    """By recipients there is no promise to count: `Sent` are the deliveries that came to an end."""
    fates = _fates(counts)
    return {"Sent": fates["Delivered"] + fates["Bounced"], **fates}


def _fates(counts: Counts) -> dict[str, int]:
    failed = counts.get(EventKind.FAILED, 0)
    return {
        "Delivered": counts.get(EventKind.DELIVERED, 0),
        "Bounced": counts.get(EventKind.BOUNCED, 0) + failed,
        "Failed": failed,
        "Deferred": counts.get(EventKind.DEFERRED, 0),
        "Suppressed": counts.get(EventKind.SUPPRESSED, 0),
        "Opened": counts.get(EventKind.OPENED, 0),
        "Clicked": counts.get(EventKind.CLICKED, 0),
        "Complained": counts.get(EventKind.COMPLAINED, 0),
        "Unsubscribed": counts.get(EventKind.UNSUBSCRIBED, 0),
        "Canceled": counts.get(EventKind.CANCELED, 0),
    }


def _times(found: Times) -> dict[str, Any]:
    """From acceptance (or the planned time) to the next hop's 250, at most a fifth too long; 0 without any."""
    return {
        "Count": found.count,
        "P50Ms": found.p50_ms or 0,
        "P95Ms": found.p95_ms or 0,
        "P99Ms": found.p99_ms or 0,
        "Histogram": [{"UpToMs": bound, "Count": n} for bound, n in found.histogram],
    }


def _engagement(counts: Counts, verdicts: Verdicts) -> dict[str, dict[str, int]]:
    """`Unknown` are all of which neither is known."""
    shown = {}
    for name, kind in (("Opened", EventKind.OPENED), ("Clicked", EventKind.CLICKED)):
        every, said = counts.get(kind, 0), verdicts.get(kind, {})
        human, machine = said.get("human", 0), said.get("machine", 0)
        shown[name] = {"All": every, "Human": human, "Machine": machine, "Unknown": max(0, every - human - machine)}
    return shown


def _period(params: Mapping[str, Any]) -> Period:
    return statistics.period(params.get("StartDate"), params.get("EndDate"))


def _dates(days: Period) -> dict[str, str]:
    return {"StartDate": _day(days.first), "EndDate": _day(days.last)}


def _day(number: int) -> str:
    return clock.rfc3339(number * clock.DAY_MS)[:10]
