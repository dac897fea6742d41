"""`/v1/bounces`, `/v1/suppressions` and `/v1/campaign-stats`: what keys of one domain and of all domains may read."""

# ruff: noqa: N815 - the document's names

from __future__ import annotations

from typing import Any

from gateway.services import reach
from gateway.services.identity import Caller
from gateway.services.reach import Campaign, Page, Totals
from models.vocabulary import EventKind
from web.rest import fields
from web.rest.v1.operation import operation

_DOMAIN = "Only that domain, for a key of all"
_BOUNCES = {
    "domain": "example.com", "days": 30, "sent": 1_200, "delivered": 1_150, "bounced": 20, "failed": 4,
    "opened": 610, "clicked": 130, "replied": 42, "complained": 1, "unsubscribed": 7, "bounceRate": 0.0171,
    "deliveryRate": 0.9795,
}  # fmt: skip
_SUPPRESSIONS = {
    "domain": "example.com",
    "total": 2_310,
    "hasMore": True,
    "items": [{"email": "jane@example.org", "unsubscribedAt": 1_790_000_000_000, "source": "unsubscribe"}],
}
_CAMPAIGN = {
    "type": "batch", "id": "bat_01KH8N3QZJ6W2M4YV0T9R5X7BC", "sequenceId": None,
    "batchId": "bat_01KH8N3QZJ6W2M4YV0T9R5X7BC", "name": "Big announcement", "domain": "example.com",
    "status": "sent", "sent": 200, "delivered": 195, "bounced": 3, "failed": 2, "opened": 90, "clicked": 31,
    "replied": 12, "complained": 0, "unsubscribed": 2, "openRate": 0.4615, "clickRate": 0.159, "replyRate": 0.0615,
    "bounceRate": 0.0152, "createdAt": 1_790_000_000_000,
}  # fmt: skip


class _Bounces(fields.Params):
    days = fields.Whole(low=1, high=90, load_default=30, doc="How many days until now")
    domain = fields.Text(max=253, load_default="", doc=_DOMAIN)


class _Suppressions(fields.Params):
    limit = fields.Whole(low=1, high=500, load_default=100, doc="How many entries each domain has at most")
    after = fields.Whole(load_default=0, doc="`unsubscribedAt` of the last entry of the page before")
    domain = fields.Text(max=253, load_default="", doc=_DOMAIN)


class _Campaigns(fields.Params):
    type = fields.Text(choices=(reach.SEQUENCE, reach.BATCH, reach.ALL), load_default=reach.ALL, doc="Only those")
    sequenceId = fields.Text(max=64, load_default="", doc="Only that sequence")
    batchId = fields.Text(max=64, load_default="", doc="Only that batch")
    domain = fields.Text(max=253, load_default="", doc=_DOMAIN)


@operation(
    "GET",
    "/bounces",
    permission="read:analytics",
    summary="What became of a domain's mail in the last days",
    params=_Bounces,
    answer=_BOUNCES,
    dialects=("mailmark",),
    org_wide=True,
)
def list_bounces(caller: Caller, params: dict[str, Any]) -> Any:
    """A list of these for a key of all domains."""
    found = reach.totals(caller=caller, name=params["domain"], days=params["days"])
    return one_or_all(caller, [_bounces(one, params["days"]) for one in found])


@operation(
    "GET",
    "/suppressions",
    permission="read:suppressions",
    summary="Who must not be written to, in the order in which they came",
    params=_Suppressions,
    answer=_SUPPRESSIONS,
    dialects=("mailmark",),
    org_wide=True,
)
def list_unsubscribed(caller: Caller, params: dict[str, Any]) -> Any:
    """A list of these for a key of all domains."""
    found = reach.left(caller=caller, name=params["domain"], after_ms=params["after"], count=params["limit"])
    return one_or_all(caller, [_left(page) for page in found])


@operation(
    "GET",
    "/campaign-stats",
    permission="read:analytics",
    summary="What became of sequences and batches",
    params=_Campaigns,
    answer=[_CAMPAIGN],
    dialects=("mailmark",),
    org_wide=True,
)
def list_campaign_stats(caller: Caller, params: dict[str, Any]) -> list[Any]:
    """The newest first; rates are parts of 1, and count each recipient once."""
    found = reach.campaigns(
        caller=caller,
        type_=params["type"],
        sequence_id=params["sequenceId"],
        batch_id=params["batchId"],
        name=params["domain"],
    )
    return [_campaign(one) for one in found]


def one_or_all(caller: Caller, found: list[dict[str, Any]]) -> Any:
    return found if caller.domain_id is None or len(found) > 1 else found[0]


def _bounces(one: Totals, days: int) -> dict[str, Any]:
    counts = one.counts
    delivered, bounced = counts.get(EventKind.DELIVERED, 0), counts.get(EventKind.BOUNCED, 0)
    failed = counts.get(EventKind.FAILED, 0)
    ended = delivered + bounced + failed
    return {
        "domain": one.domain.name,
        "days": days,
        "sent": one.sent,
        "delivered": delivered,
        "bounced": bounced,
        "failed": failed,
        "opened": counts.get(EventKind.OPENED, 0),
        "clicked": counts.get(EventKind.CLICKED, 0),
        "replied": counts.get(EventKind.REPLIED, 0),
        "complained": counts.get(EventKind.COMPLAINED, 0),
        "unsubscribed": counts.get(EventKind.UNSUBSCRIBED, 0),
        "bounceRate": _rate(bounced, ended),
        "deliveryRate": _rate(delivered, ended),
    }


def _left(page: Page) -> dict[str, Any]:
    return {
        "domain": page.domain.name,
        "total": page.total,
        "hasMore": page.has_more,
        "items": [{"email": one.email, "unsubscribedAt": one.listed_ms, "source": one.reason} for one in page.items],
    }


def _campaign(one: Campaign) -> dict[str, Any]:
    counts, firsts = one.counts, one.firsts
    delivered, bounced = counts.get(EventKind.DELIVERED, 0), counts.get(EventKind.BOUNCED, 0)
    opened, clicked, replied = (
        firsts.get(kind, 0) for kind in (EventKind.OPENED, EventKind.CLICKED, EventKind.REPLIED)
    )
    return {
        "type": one.type,
        "id": one.public_id,
        "sequenceId": one.public_id if one.type == reach.SEQUENCE else None,
        "batchId": one.public_id if one.type == reach.BATCH else None,
        "name": one.name,
        "domain": one.domain.name,
        "status": one.status,
        "sent": one.sent,
        "delivered": delivered,
        "bounced": bounced,
        "failed": counts.get(EventKind.FAILED, 0),
        "opened": opened,
        "clicked": clicked,
        "replied": replied,
        "complained": counts.get(EventKind.COMPLAINED, 0),
        "unsubscribed": counts.get(EventKind.UNSUBSCRIBED, 0),
        "openRate": _rate(opened, delivered),
        "clickRate": _rate(clicked, delivered),
        "replyRate": _rate(replied, delivered),
        "bounceRate": _rate(bounced, one.sent),
        "createdAt": one.created_ms,
    }


def _rate(some: int, of: int) -> float:
    """A part of 1; a bounce may be told after a delivery, so that both count."""
    return round(min(1.0, some / of), 4) if of else 0.0
