"""`/v1/campaigns`: one message to a whole list or segment, from its draft to its report."""

from __future__ import annotations

from typing import Any

from gateway import clock
from gateway.services import campaign_launches, campaign_reports, campaigns, idempotency, letters, references
from gateway.services.campaign_reports import Report
from gateway.services.campaigns import Campaign
from gateway.services.identity import Caller
from gateway.services.tallies import Counts
from models.vocabulary import CAMPAIGN_STATES, EventKind
from web.rest import fields, idempotent, paging
from web.rest.v1.operation import Answer, operation
from web.rest.v1.sending.shapes import ROUTING, SHAPES

READ, WRITE = "read:campaigns", "write:campaigns"

_EXAMPLE = {
    "id": "cmp_01KAV3R9T7E4Q8N2M6P0S5W1XY",
    "name": "Spring news",
    "status": "sending",
    "list_id": "lst_01KAV3R9T7E4Q8N2M6P0S5W1XZ",
    "recipients": 48210,
    "scheduled_at": None,
    "created_at": "2026-04-19T10:24:11Z",
}


class _Letter(fields.Params):
    """What a campaign or an automation sends; the service reads each in detail."""

    sender = fields.Anything(
        data_key="from",
        allow_none=True,
        shape=SHAPES["from"][0],
        closed=True,
        doc="The sender's address, also with a name",
    )
    subject = fields.Anything(
        allow_none=True, shape={"type": "string"}, doc="May have merge fields: `Hi {{ first_name }}`"
    )
    html = fields.Anything(allow_none=True, shape={"type": "string"}, doc="HTML with Liquid merge fields")
    text = fields.Anything(allow_none=True, shape={"type": "string"}, doc="Plain text with Liquid merge fields")
    template = fields.Anything(allow_none=True, shape={"type": "string"}, doc="A template's id, read at the launch")
    variables = fields.Anything(
        allow_none=True, shape={"type": "object"}, doc="Merge fields of everybody; a subscriber's own go before them"
    )
    reply_to = fields.Anything(allow_none=True, shape={"type": ["string", "array"]}, doc="Where answers go")
    headers = fields.Anything(allow_none=True, shape={"type": "object"}, doc="Further header fields")
    tags = fields.Anything(allow_none=True, shape={"type": ["array", "string"]}, doc="Up to 20 tags")
    track_opens = fields.Anything(allow_none=True, shape={"type": "boolean"}, doc="Instead of what the domain says")
    track_clicks = fields.Anything(allow_none=True, shape={"type": "boolean"}, doc="Instead of what the domain says")
    routing = fields.Anything(allow_none=True, shape=ROUTING, closed=True, doc="What routing rules match, and whereby")
    template_id = fields.Anything(allow_none=True, shape={"type": "string"}, doc="As template")
    track_links = fields.Anything(allow_none=True, shape={"type": "boolean"}, doc="As track_clicks")


class _New(_Letter):
    name = fields.Text(required=True, min=1, max=campaigns.NAME_LENGTH, doc="A name for people")
    list_id = fields.Text(max=64, doc="The list it goes to")
    segment_id = fields.Text(max=64, doc="Or the segment")
    scheduled_at = fields.Moment(allow_none=True, doc="When it is launched by itself; none: when you launch it")


class _Change(_New):
    name = fields.Text(min=1, max=campaigns.NAME_LENGTH, doc="Another name")


class _Listing(fields.Listing):
    status = fields.Text(max=12, load_default="", doc="Only those: " + ", ".join(CAMPAIGN_STATES))
    name = fields.Text(max=255, load_default="", doc="Only those whose name has this in it, in any case")
    list_id = fields.Text(max=64, doc="Only those to this list")
    segment_id = fields.Text(max=64, doc="Only those to this segment")


class _Launch(fields.Params):
    scheduled_at = fields.Moment(allow_none=True, doc="Queue it for that time instead of sending it now")


def given_of(params: dict[str, Any]) -> dict[str, Any]:
    """What was read, under the names of the wire."""
    return {"from" if name == "sender" else name: value for name, value in params.items()}


@operation(
    "POST", "/campaigns", permission=WRITE, summary="Create or schedule a campaign", params=_New, answer=_EXAMPLE,
    status=201,
)  # fmt: skip
def create_campaign(caller: Caller, params: dict[str, Any]) -> Answer:
    asked = idempotent.asked(caller, "POST /v1/campaigns")
    earlier = idempotency.replay(asked) if asked is not None else None
    if earlier is not None:
        found = campaigns.find(caller=caller, campaign_id=earlier)
        return Answer(_shown(caller, [found], letter=True)[0], headers=idempotent.REPLAYED)
    made = campaigns.add(caller=caller, given=given_of(params), asked=asked)
    return Answer(_shown(caller, [made], letter=True)[0])


@operation(
    "GET", "/campaigns", permission=READ, summary="List campaigns, the newest first", params=_Listing,
    answer={"data": [_EXAMPLE], "has_more": False, "next_cursor": None},
)  # fmt: skip
def list_campaigns(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    limit = params["limit"]
    asked = {name: params[name] for name in ("list_id", "segment_id") if params.get(name)}
    found = campaigns.list_(
        caller=caller, state=params["status"], name=params["name"],
        list_id=references.audience(caller, asked) if asked else None,
        before=paging.last_id(params["cursor"]), count=limit + 1,
    )  # fmt: skip
    shown = {one.id: body for one, body in zip(found, _shown(caller, found), strict=True)}
    return paging.page(found, limit, lambda one: paging.cursor(one.id), lambda one: shown[one.id])


@operation("GET", "/campaigns/<campaign_id>", permission=READ, summary="Show a campaign", answer=_EXAMPLE)
def get_campaign(caller: Caller, params: dict[str, Any], campaign_id: str) -> dict[str, Any]:
    return _shown(caller, [campaigns.find(caller=caller, campaign_id=campaign_id)], letter=True)[0]


@operation(
    "PATCH", "/campaigns/<campaign_id>", permission=WRITE, summary="Change a campaign that was not launched",
    params=_Change, answer=_EXAMPLE,
)  # fmt: skip
def update_campaign(caller: Caller, params: dict[str, Any], campaign_id: str) -> dict[str, Any]:
    found = campaigns.find(caller=caller, campaign_id=campaign_id)
    return _shown(caller, [campaigns.update(caller=caller, campaign=found, given=given_of(params))], letter=True)[0]


@operation(
    "DELETE", "/campaigns/<campaign_id>", permission=WRITE, summary="Delete a campaign that does not send",
    answer={"id": _EXAMPLE["id"], "deleted": True},
)  # fmt: skip
def delete_campaign(caller: Caller, params: dict[str, Any], campaign_id: str) -> dict[str, Any]:
    found = campaigns.find(caller=caller, campaign_id=campaign_id)
    campaigns.delete(caller=caller, campaign=found)
    return {"id": found.public_id, "deleted": True}


@operation(
    "POST", "/campaigns/<campaign_id>/launch", permission=WRITE, summary="Launch a campaign, or queue it for a time",
    params=_Launch, answer=_EXAMPLE,
)  # fmt: skip
def launch_campaign(caller: Caller, params: dict[str, Any], campaign_id: str) -> dict[str, Any]:
    found = campaigns.find(caller=caller, campaign_id=campaign_id)
    at_ms = params.get("scheduled_at")
    if at_ms is not None:
        return _shown(caller, [campaigns.schedule(caller=caller, campaign=found, at_ms=at_ms)])[0]
    return _shown(caller, [campaign_launches.launch(caller=caller, campaign=found)])[0]


@operation(
    "POST", "/campaigns/<campaign_id>/pause", permission=WRITE, summary="Hold a campaign within a second",
    answer=_EXAMPLE,
)  # fmt: skip
def pause_campaign(caller: Caller, params: dict[str, Any], campaign_id: str) -> dict[str, Any]:
    found = campaigns.find(caller=caller, campaign_id=campaign_id)
    return _shown(caller, [campaigns.pause(caller=caller, campaign=found)])[0]


@operation(
    "POST", "/campaigns/<campaign_id>/resume", permission=WRITE, summary="Go on where a campaign was paused",
    answer=_EXAMPLE,
)  # fmt: skip
def resume_campaign(caller: Caller, params: dict[str, Any], campaign_id: str) -> dict[str, Any]:
    found = campaigns.find(caller=caller, campaign_id=campaign_id)
    return _shown(caller, [campaigns.resume(caller=caller, campaign=found)])[0]


@operation(
    "POST", "/campaigns/<campaign_id>/cancel", permission=WRITE, summary="Take back what has not left",
    answer=_EXAMPLE,
)  # fmt: skip
def cancel_campaign(caller: Caller, params: dict[str, Any], campaign_id: str) -> dict[str, Any]:
    found = campaigns.find(caller=caller, campaign_id=campaign_id)
    return _shown(caller, [campaigns.cancel(caller=caller, campaign=found)])[0]


@operation(
    "GET", "/campaigns/<campaign_id>/report", permission=READ, summary="Read the report of a campaign",
    answer={
        "campaign": _EXAMPLE["id"], "status": "sent", "recipients": 48210, "sent": 48101, "delivered": 47800,
        "bounced": 251, "opened": {"total": 21950, "unique": 18400, "human": 12100},
        "rates": {"delivered": 0.9937, "opened": 0.3849},
    },
)  # fmt: skip
def get_campaign_report(caller: Caller, params: dict[str, Any], campaign_id: str) -> dict[str, Any]:
    found = campaigns.find(caller=caller, campaign_id=campaign_id)
    return _report(found, campaign_reports.of(found))


def _shown(caller: Caller, found: list[Campaign], *, letter: bool = False) -> list[dict[str, Any]]:
    audience = references.audiences({one.list_id for one in found})
    return [_body(one, audience, letter=letter) for one in found]


def _body(one: Campaign, audience: dict[int, tuple[str, str]], *, letter: bool) -> dict[str, Any]:
    kind, public_id = audience.get(one.list_id, ("list_id", None))
    body: dict[str, Any] = {
        "id": one.public_id,
        "name": one.name,
        "status": one.state,
        kind: public_id,
        "recipients": one.recipients if one.message_id is not None else None,
        "scheduled_at": _time(one.scheduled_ms),
        "launched_at": _time(one.launched_ms),
        "paused_at": _time(one.paused_ms),
        "ended_at": _time(one.ended_ms),
        "created_at": _time(one.created_ms),
        "updated_at": _time(one.updated_ms),
        "reason": one.cause or None,
        "test": not one.live,
    }
    if letter:
        content = campaigns.letter_of(one)
        numbers = {content["template_id"]} if "template_id" in content else set()
        body |= letters.shown(content, references.template_ids(numbers))
    return body


def _time(ms: int | None) -> str | None:
    return None if ms is None else clock.rfc3339(ms)


def _report(campaign: Campaign, report: Report) -> dict[str, Any]:
    opened, clicked = int(EventKind.OPENED), int(EventKind.CLICKED)
    counts = {
        "sent": report.sent,
        "delivered": report.of(EventKind.DELIVERED),
        "bounced": report.of(EventKind.BOUNCED),
        "failed": report.of(EventKind.FAILED),
        "deferred": report.of(EventKind.DEFERRED),
        "suppressed": report.of(EventKind.SUPPRESSED),
        "canceled": report.of(EventKind.CANCELED),
        "complained": report.of(EventKind.COMPLAINED),
        "unsubscribed": report.of(EventKind.UNSUBSCRIBED),
        "replied": report.of(EventKind.REPLIED),
    }
    unique = {kind: report.unique.get(kind, 0) for kind in (opened, clicked)}
    human = {kind: report.human.get(kind, 0) for kind in (opened, clicked)}
    sent, delivered = report.sent, report.of(EventKind.DELIVERED)
    return {
        "campaign": campaign.public_id,
        "status": campaign.state,
        "recipients": report.recipients,
        "pending": report.pending,
        "waiting": {"reason": report.waiting, "until": _time(report.resume_ms)} if report.waiting else None,
        **counts,
        "opened": {"total": report.counts.get(opened, 0), "unique": unique[opened], "human": human[opened]},
        "clicked": {"total": report.counts.get(clicked, 0), "unique": unique[clicked], "human": human[clicked]},
        "rates": {
            "delivered": _rate(delivered, sent),
            "bounced": _rate(report.of(EventKind.BOUNCED), sent),
            "opened": _rate(unique[opened], delivered),
            "opened_human": _rate(human[opened], delivered),
            "clicked": _rate(unique[clicked], delivered),
            "clicked_human": _rate(human[clicked], delivered),
            "complained": _rate(report.of(EventKind.COMPLAINED), delivered),
            "unsubscribed": _rate(report.of(EventKind.UNSUBSCRIBED), delivered),
        },
        "links": [{"url": url, "clicks": some.get(clicked, 0)} for url, some in report.links],
        "by_recipient_domain": [{"domain": name, **_words(some)} for name, some in report.domains],
        "by_day": [{"day": clock.rfc3339(at_ms)[:10], **_words(some)} for at_ms, some in report.days],
        "by_hour": [{"hour": clock.rfc3339(at_ms), **_words(some)} for at_ms, some in report.hours],
    }


def _rate(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _words(counts: Counts) -> dict[str, int]:
    return {EventKind(kind).word: n for kind, n in sorted(counts.items())}
