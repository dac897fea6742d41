"""`/v1/webhooks/{id}/deliveries`: what an endpoint was told, its dead letters, and telling it once more."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from gateway import errors, ids
from gateway.services import message_events, webhook_log, webhook_replays, webhooks
from gateway.services.identity import Caller
from gateway.services.webhook_log import DeadLetter, Told
from web.rest import fields, paging
from web.rest.v1.operation import operation
from web.rest.v1.webhooks import DIALECTS, find, moment

_EXAMPLE: dict[str, Any] = {
    "id": "0198c3a0-0000-7000-8000-000000000000",
    "type": "message.delivered",
    "message_id": None,
    "state": "dead",
    "attempts": 10,
    "next_attempt_at": None,
    "last_code": None,
    "last_error": "",
    "created_at": "2026-04-19T10:24:11Z",
}
_OF = {
    "webhook_id": "whk_01K0Q4T2X8Z3V5N7B9C1D3F5G7",
    "url": "https://example.com/hooks/mail",
    "webhook_status": "active",
}
_TRY = {"number": 1, "code": None, "error": "", "response": "", "started_at": "2026-04-19T10:24:11Z", "duration_ms": 12}
_LIST = {"data": [_EXAMPLE], "has_more": False, "next_cursor": None}


_TYPE = fields.Words(max=64, most=32, load_default=[], doc="Only these types of events, as webhooks ask for them")


class _Deliveries(fields.Listing):
    limit = fields.Whole(low=1, high=webhook_log.MOST_LISTED, load_default=50, doc="How many the page has at most")
    state = fields.Text(choices=webhook_log.STATES, doc="live: still to be told; dead: given up")
    type = _TYPE
    since = fields.Moment(doc="Made at or after this time")
    until = fields.Moment(doc="Made at or before this time")


class _OfOne(fields.Listing):
    limit = fields.Whole(low=1, high=webhook_log.MOST_LISTED, load_default=50, doc="How many the page has at most")
    type = _TYPE
    since = fields.Moment(doc="Made at or after this time")
    until = fields.Moment(doc="Made at or before this time")


class _DeadLetters(fields.Listing):
    limit = fields.Whole(low=1, high=webhook_log.MOST_LISTED, load_default=50, doc="How many the page has at most")
    since = fields.Moment(doc="Made at or after this time")
    until = fields.Moment(doc="Made at or before this time")


class _Replay(fields.Params):
    delivery_id = fields.Text(max=64, doc="This one; else all that fit what follows")
    state = fields.Text(choices=webhook_replays.STATES, load_default="dead", doc="What is told again")
    events = fields.Words(max=64, most=64, doc="Only these types of events")
    since = fields.Moment(doc="Made at or after this time")
    until = fields.Moment(doc="Made at or before this time")


@operation(
    "GET", "/webhooks/<webhook_id>/deliveries", permission="read:webhooks",
    summary="List what an endpoint was told, the newest first", params=_Deliveries, answer=_LIST, dialects=DIALECTS,
)  # fmt: skip
def list_webhook_deliveries(caller: Caller, params: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    return _page(caller, params, webhook_id, params.get("state"))


@operation(
    "GET", "/webhooks/<webhook_id>/dead-letters", permission="read:webhooks",
    summary="List what an endpoint could not be told, the newest first", params=_OfOne, answer=_LIST,
    dialects=DIALECTS,
)  # fmt: skip
def list_webhook_dead_letters(caller: Caller, params: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    return _page(caller, params, webhook_id, "dead")


@operation(
    "GET", "/webhooks/dead-letters", permission="read:webhooks",
    summary="List what no endpoint of the account could be told in the end, the newest first", params=_DeadLetters,
    answer=_LIST | {"data": [_EXAMPLE | _OF]}, dialects=DIALECTS,
)  # fmt: skip
def list_all_dead_letters(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """Webhooks of every payload, deleted ones too; a key of one domain sees those of its domain's."""
    found = webhook_log.dead_letters(
        caller=caller, from_ms=params.get("since"), to_ms=params.get("until"),
        before=paging.last_id(params["cursor"]), count=params["limit"] + 1,
    )  # fmt: skip

    def shown(letter: DeadLetter) -> dict[str, Any]:
        hook = ids.public_id(webhooks.PREFIX, UUID(letter.webhook_uuid))
        return _shown(letter.told) | {"webhook_id": hook, "url": letter.url, "webhook_status": letter.status}

    return paging.page(found, params["limit"], lambda letter: paging.cursor(letter.told.id), shown)


@operation(
    "GET", "/webhooks/<webhook_id>/deliveries/<delivery_id>/attempts", permission="read:webhooks",
    summary="List the calls of one delivery", answer={"data": [_TRY], "has_more": False, "next_cursor": None},
    dialects=DIALECTS,
)  # fmt: skip
def list_webhook_attempts(caller: Caller, params: dict[str, Any], webhook_id: str, delivery_id: str) -> dict[str, Any]:
    """After a replay they are numbered from 1 again."""
    number = webhook_log.find(caller=caller, webhook_id=find(caller, webhook_id).id, uuid=delivery_id)
    found = webhook_log.attempts(caller=caller, delivery_id=number)
    data = [
        {
            "number": one.no, "code": one.code, "error": one.error, "response": one.answer,
            "started_at": moment(one.started_ms), "duration_ms": one.ms,
        }
        for one in found
    ]  # fmt: skip
    return {"data": data, "has_more": False, "next_cursor": None}


@operation(
    "POST", "/webhooks/<webhook_id>/replay", permission="write:webhooks",
    summary="Tell one delivery again, or all dead letters of a time range", params=_Replay,
    answer={"replayed": 12, "done": True}, status=202, dialects=DIALECTS,
)  # fmt: skip
def replay_webhook(caller: Caller, params: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    """Each keeps its `webhook-id`. Where `done` is false, the rest follows behind the answer."""
    hook = find(caller, webhook_id)
    events = params.get("events")
    if events == []:
        raise errors.Invalid("events should name at least one type of event.", field="events")
    number = None
    if params.get("delivery_id") is not None:
        number = webhook_log.find(caller=caller, webhook_id=hook.id, uuid=params["delivery_id"])
    made = webhook_replays.begin(
        caller=caller, webhook_id=hook.id, delivery_id=number, state=params["state"], from_ms=params.get("since"),
        to_ms=params.get("until"), event=events,
    )  # fmt: skip
    return {"replayed": made.replayed, "done": made.done}


def _page(caller: Caller, params: dict[str, Any], webhook_id: str, state: str | None) -> dict[str, Any]:
    """Where few are of the types asked for a page may be short: `has_more` alone says whether there are others."""
    try:
        found, behind = webhook_log.page(
            caller=caller, webhook_id=find(caller, webhook_id).id, types=params["type"], state=state,
            from_ms=params.get("since"), to_ms=params.get("until"), before=paging.last_id(params["cursor"]),
            count=params["limit"],
        )  # fmt: skip
    except errors.InvalidEvent as refusal:
        raise errors.InvalidEvent(refusal.message.replace("events should", "type should"), field="type") from None
    return {
        "data": [_shown(told) for told in found],
        "has_more": behind is not None,
        "next_cursor": None if behind is None else paging.cursor(behind),
    }


def _shown(told: Told) -> dict[str, Any]:
    return {
        "id": told.uuid,
        "type": message_events.type_of(told.type),
        "message_id": ids.public_id("msg", UUID(told.message_id)) if told.message_id else None,
        "state": told.state,
        "attempts": told.attempts,
        "next_attempt_at": moment(told.due_ms),
        "last_code": told.last_code,
        "last_error": told.last_error,
        "created_at": moment(told.created_ms),
    }
