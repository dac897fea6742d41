"""`/v1/analytics`: raw events with filters, and totals and rates."""

from __future__ import annotations

from typing import Any

from gateway import clock
from gateway.services import analytics_events, analytics_summary
from gateway.services.analytics_events import Asked
from gateway.services.analytics_summary import GROUPS, Summary
from gateway.services.identity import Caller
from web.rest import fields, paging
from web.rest.v1.operation import operation

DIALECTS = {"mailersio", "octeth"}
_EVENT: dict[str, Any] = {
    "id": "evt_01K0Q4T2X80000000000000012",
    "type": "message.delivered",
    "created_at": "2026-04-19T10:24:11Z",
    "workspace": "acme",
    "message": {
        "id": "msg_01K0Q4T2X8Z3V5N7B9C1D3F5G7", "provider": "amazon-ses", "from": "hello@example.com",
        "to": "jane@example.org", "tags": ["onboarding"],
    },
}  # fmt: skip
_NUMBERS = {
    "messages": 90, "accepted": 100, "delivered": 95, "bounced": 3, "opened": 40, "clicked": 12, "complained": 0,
    "unsubscribed": 1, "suppressed": 2, "deferred": 4,
}  # fmt: skip
_RATES = {"delivery": 0.95, "bounce": 0.03, "open": 0.4211, "click": 0.1263, "complaint": 0.0, "unsubscribe": 0.0105}
_SUMMARY: dict[str, Any] = {
    "period": {"from": "2026-03-23", "to": "2026-04-19"},
    "totals": _NUMBERS,
    "rates": _RATES,
    "previous": {
        "period": {"from": "2026-02-23", "to": "2026-03-22"}, "totals": _NUMBERS, "rates": _RATES,
        "change": {"delivered": None},
    },
    "group_by": None,
    "groups": [{"tag": "onboarding", "totals": _NUMBERS, "rates": _RATES}],
}  # fmt: skip


class _Events(fields.Listing):
    type = fields.Words(max=64, most=32, load_default=[], doc="Only these types: " + ", ".join(analytics_events.TYPES))
    message = fields.Text(max=64, load_default="", doc="Only events of this message: `msg_…`")
    campaign = fields.Text(max=64, load_default="", doc="Only events of this campaign's messages: `cmp_…`")
    recipient = fields.Text(max=320, load_default="", doc="Only events of this address")
    tag = fields.Text(max=190, load_default="", doc="Only events of messages with this tag")
    domain = fields.Text(max=253, load_default="", doc="Only events of this sending domain")
    since = fields.Moment(doc="At or after this time")
    until = fields.Moment(doc="At or before this time")


class _Summary(fields.Params):
    since = fields.Moment(doc="The first day; by default there are 28")
    until = fields.Moment(doc="The last day; by default today")
    domain = fields.Text(max=253, load_default="", doc="Only of this sending domain")
    group_by = fields.Text(choices=GROUPS, doc="Numbers of each day, tag, domain or provider too")


@operation(
    "GET", "/analytics/events", permission="read:events", summary="List raw events, the newest first", params=_Events,
    answer={"data": [_EVENT], "has_more": False, "next_cursor": None}, dialects=DIALECTS,
)  # fmt: skip
def list_analytics_events(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """A page may be short, or empty, and still have a next one, where little of what was looked at fits."""
    place = paging.place(params["cursor"], str)[0] if params["cursor"] else ""
    asked = Asked(
        types=params["type"], message=params["message"].strip(), campaign=params["campaign"].strip(),
        recipient=params["recipient"].strip(), tag=params["tag"], domain=params["domain"].strip(),
        from_ms=params.get("since"), to_ms=params.get("until"),
    )  # fmt: skip
    page = analytics_events.read(caller=caller, asked=asked, cursor=place, count=params["limit"])
    return {
        "data": page.events,
        "has_more": bool(page.cursor),
        "next_cursor": paging.cursor(page.cursor) if page.cursor else None,
    }


@operation(
    "GET", "/analytics/summary", permission="read:analytics", summary="Totals and rates of a period", params=_Summary,
    answer=_SUMMARY, dialects=DIALECTS,
)  # fmt: skip
def get_analytics_summary(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """Whole days in UTC, compared with as many days before."""
    group_by = params.get("group_by", "")
    found = analytics_summary.of(
        caller=caller, from_ms=params.get("since"), to_ms=params.get("until"), domain=params["domain"].strip(),
        group_by=group_by,
    )  # fmt: skip
    return _shown(found, group_by)


def _shown(found: Summary, group_by: str) -> dict[str, Any]:
    before = found.days.previous
    return {
        "period": {"from": _day(found.days.first), "to": _day(found.days.last)},
        "totals": found.totals,
        "rates": found.rates,
        "previous": {
            "period": {"from": _day(before.first), "to": _day(before.last)},
            "totals": found.previous,
            "rates": found.previous_rates,
            "change": found.change,
        },
        "group_by": group_by or None,
        "groups": [{group_by: name, "totals": some, "rates": rates} for name, some, rates in found.groups],
    }


def _day(number: int) -> str:
    return clock.rfc3339(number * clock.DAY_MS)[:10]
