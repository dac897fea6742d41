"""`/statistics` and `/events`: what became of the account's mail, in numbers and one by one."""

from __future__ import annotations

from typing import Any

from gateway import clock
from gateway.services import analytics_events, analytics_summary, email_events
from gateway.services.analytics_events import Asked
from gateway.services.identity import Caller
from web.rest import fields
from web.rest.customer.domains import find
from web.rest.customer.operation import check_plan, operation

_NUMBERS = {"sent": 100, "delivered": 98, "bounced": 2, "opened": 40, "clicked": 9, "complained": 0, "unsubscribed": 1}
_RATES = {"delivery": 0.98, "bounce": 0.02, "open": 0.41, "click": 0.09, "complaint": 0.0, "unsubscribe": 0.01}
STATISTICS: dict[str, Any] = {
    "period": {"from": "2026-01-01", "to": "2026-01-28"}, "totals": _NUMBERS, "rates": _RATES,
    "previous": {"totals": _NUMBERS, "rates": _RATES}, "groups": [],
}  # fmt: skip
EVENTS: dict[str, Any] = {
    "events": [{
        "event": "email.opened", "timestamp": "2026-01-23T10:00:00.000Z",
        "email_id": "550e8400-e29b-41d4-a716-446655440000", "tag": "welcome", "metadata": {"order": 7},
        "domain": "yourdomain.com", "recipient": "jane@example.org", "from": "hello@yourdomain.com",
        "subject": "Welcome", "stream": "transactional", "user_agent": "…", "verdict": "human", "is_human": True,
        "device": {"family": "iPhone", "kind": "mobile", "client": "Apple Mail"}, "ip": "192.0.2.1",
    }],
    "has_more": False, "next_cursor": None,
}  # fmt: skip
_WORDS = {f"email.{word.partition('.')[2]}": word for word in analytics_events.TYPES if word.startswith("message.")} | {
    "email.unsubscribed": "subscriber.unsubscribed"
}
"""What events are called here, and what they are called behind it."""


class Period(fields.Params):
    from_ = fields.Moment(data_key="from", load_default=None, doc="The first day, UTC; 28 days otherwise")
    to = fields.Moment(load_default=None, doc="The last day; today otherwise")
    domain_id = fields.Text(max=64, load_default="", doc="Of one domain")
    group_by = fields.Text(choices=("", *analytics_summary.GROUPS), load_default="")


class Events(fields.Listing):
    event = fields.Words(max=64, choices=tuple(_WORDS), load_default=list, doc=f"Of {', '.join(_WORDS)}")
    email_id = fields.Text(max=64, load_default="")
    recipient = fields.Text(max=320, load_default="")
    tag = fields.Text(max=190, load_default="")
    domain_id = fields.Text(max=64, load_default="")
    from_ = fields.Moment(data_key="from", load_default=None)
    to = fields.Moment(load_default=None)


@operation(
    "GET", "/statistics", permission="read:statistics", summary="Numbers and rates of a period", params=Period,
    answer=STATISTICS,
)  # fmt: skip
def get_statistics(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """From roll-ups: as quick for a million messages as for ten."""
    domain = find(caller, params["domain_id"]).name if params["domain_id"] else ""
    found = analytics_summary.of(
        caller=caller, from_ms=params["from_"], to_ms=params["to"], domain=domain, group_by=params["group_by"]
    )
    return {
        "period": {"from": _date(found.days.first), "to": _date(found.days.last)},
        "totals": _numbers(found.totals),
        "rates": found.rates,
        "previous": {"totals": _numbers(found.previous), "rates": found.previous_rates},
        "groups": [{"name": name, "totals": _numbers(some), "rates": rates} for name, some, rates in found.groups],
    }


@operation(
    "GET", "/events", permission="read:events", summary="Events, with who was human and on which device",
    params=Events,
    answer=EVENTS,
)  # fmt: skip
def list_events(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """A plan may leave events out."""
    check_plan(caller.plan.events)
    asked = Asked(
        types=[_WORDS[word] for word in params["event"]],
        message=params["email_id"],
        recipient=params["recipient"],
        tag=params["tag"],
        domain=find(caller, params["domain_id"]).name if params["domain_id"] else "",
        from_ms=params["from_"],
        to_ms=params["to"],
    )
    rows, behind = analytics_events.find(caller=caller, asked=asked, cursor=params["cursor"], count=params["limit"])
    return {
        "events": [email_events.mailerlogic(row) for row in rows],
        "has_more": bool(behind),
        "next_cursor": behind or None,
    }


def _numbers(found: dict[str, int]) -> dict[str, int]:
    """`accepted` counts recipients: what others call sent."""
    return {("sent" if name == "accepted" else name): n for name, n in found.items()}


def _date(day: int) -> str:
    return clock.rfc3339(day * clock.DAY_MS)[:10]
