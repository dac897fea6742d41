"""`/v1/messages`: what was sent, what became of it and why, and taking back or moving what waits."""

from __future__ import annotations

from typing import Any

from gateway import clock, errors, ids
from gateway.services import explanations, message_events, message_list, message_status, queues
from gateway.services.explanations import Explanation, Fate
from gateway.services.identity import Caller
from gateway.services.message_list import Filters
from gateway.services.message_rows import MessageRow
from models.vocabulary import DeliveryState
from web.explanations import EXAMPLE
from web.explanations import shown as explained
from web.rest import fields, paging
from web.rest.v1.operation import operation
from web.rest.v1.send import PREFIX

_WHOLE = {"low": 0, "high": 999_999_999}
_ROW: dict[str, Any] = {
    "id": "msg_01KPZ3N8V4E0R2Y7T6W9Q5B1CD",
    "status": "delivered",
    "from": "hello@acme.com",
    "to": ["jane@example.org"],
    "subject": "Welcome to Acme",
    "tags": ["onboarding"],
    "domain": "acme.com",
    "stream": "transactional",
    "test": False,
    "size": 1234,
    "created_at": "2026-04-19T10:24:11Z",
    "scheduled_at": None,
}
_WHOLE_ROW: dict[str, Any] = _ROW | {
    "cc": [],
    "reply_to": [],
    "metadata": None,
    "counts": {"delivered": 1},
    "total_recipients": 1,
    "recipients": [
        {
            "email": "jane@example.org",
            "status": "delivered",
            "attempts": 1,
            "next_attempt_at": None,
            "updated_at": "2026-04-19T10:24:12Z",
            "provider": "amazon-ses",
            "remote": "mx.example.org[192.0.2.1]:25",
            "reply": "250 2.0.0 Ok",
            "reason": None,
        }
    ],
    "events": [
        {
            "id": "evt_01KPZ3N8V4E0R2Y7T6W9Q5B1CD",
            "type": "message.accepted",
            "created_at": "2026-04-19T10:24:11Z",
            "recipient": "jane@example.org",
            "reason": None,
        }
    ],
    "has_more_recipients": False,
}


class _Listing(fields.Listing):
    tag = fields.Text(max=190, load_default="", doc="Only messages with this tag")
    status = fields.Text(choices=tuple(message_list.STATES), doc="Only messages with a delivery of this status")
    sender = fields.Text(
        data_key="from", max=320, load_default="", doc="Only from this address, or `@example.com` for a whole domain"
    )
    to = fields.Text(max=320, load_default="", doc="Only messages with a delivery to this address")
    domain = fields.Text(max=1000, load_default="", doc="Only of this sending domain")
    since = fields.Moment(doc="Accepted at this time or later")
    until = fields.Moment(doc="Accepted at this time or earlier")


class _Show(fields.Params):
    offset = fields.Whole(**_WHOLE, load_default=0, doc="The first of the recipients to show")
    limit = fields.Whole(
        **_WHOLE, load_default=explanations.DELIVERIES_MOST, doc="How many recipients to show, 100 at most"
    )


class _Explain(_Show):
    recipient = fields.Text(max=320, load_default="", doc="Explain only the delivery to this address")


class _Reschedule(fields.Params):
    scheduled_at = fields.Moment(required=True, doc="The new time; the past means now")


@operation(
    "GET",
    "/messages",
    permission="read:messages",
    summary="List messages, the newest first",
    params=_Listing,
    answer={"data": [_ROW], "has_more": False, "next_cursor": None},
    several=True,
)
def list_messages(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """With a filter that few messages pass a page may be short, or empty, and have a next one."""
    found = message_list.list_(
        caller=caller,
        filters=Filters(
            params["tag"].strip(), params.get("status", ""), params["sender"].strip(), params["to"].strip(),
            params["domain"].strip(), params.get("since"), params.get("until"),
        ),
        after_id=paging.last_id(params["cursor"]),
        count=params["limit"],
    )  # fmt: skip
    return {
        "data": [_row(row, found.status[row.id]) for row in found.rows],
        "has_more": found.last_id is not None,
        "next_cursor": None if found.last_id is None else paging.cursor(found.last_id),
    }


@operation(
    "GET",
    "/messages/<message_id>",
    permission="read:messages",
    summary="Show a message, the state of each recipient and its events",
    params=_Show,
    answer=_WHOLE_ROW,
    several=True,
)
def show_message(caller: Caller, params: dict[str, Any], message_id: str) -> dict[str, Any]:
    """A foreign message is an absent one."""
    found = explanations.explain(caller=caller, message_id=message_id, start=params["offset"], count=params["limit"])
    message = found.message
    counts = message_status.of([message.id])[message.id]
    scheduled = (message.send_at_ms or 0) > clock.now_ms()
    status = message_status.word(counts, scheduled=scheduled)
    return _row(message, status) | {
        "cc": _addresses(message, "cc"),
        "reply_to": _addresses(message, "reply_to"),
        "metadata": message.metadata,
        "counts": {state.name.lower(): n for state, n in found.states.items()},
        "total_recipients": found.total,
        "recipients": [_recipient(fate, scheduled) for fate in found.fates],
        "events": _events(found),
        "has_more_recipients": found.total > params["offset"] + len(found.fates),
    }


@operation(
    "GET",
    "/messages/<message_id>/explain",
    permission="read:messages",
    summary="Tell what became of a message, and why",
    params=_Explain,
    answer=EXAMPLE,
    several=True,
)
def explain_message(caller: Caller, params: dict[str, Any], message_id: str) -> dict[str, Any]:
    """A foreign message is an absent one."""
    found = explanations.explain(
        caller=caller,
        message_id=message_id,
        recipient=params["recipient"].strip(),
        start=params["offset"],
        count=params["limit"],
    )
    return explained(found)


@operation(
    "POST",
    "/messages/<message_id>/cancel",
    permission="write:messages",
    summary="Take back what waits of a message",
    answer={"id": _ROW["id"], "canceled": 1, "in_flight": 0},
    several=True,
)
def cancel_message(caller: Caller, params: dict[str, Any], message_id: str) -> dict[str, Any]:
    """Refused where nothing waits; what is being sent at this moment goes out."""
    changed = queues.cancel_message(caller=caller, message_id=message_id)
    if not changed.deliveries:
        raise errors.NothingWaits
    return {"id": _id(message_id), "canceled": changed.deliveries, "in_flight": changed.in_flight}


@operation(
    "POST",
    "/messages/<message_id>/reschedule",
    permission="write:messages",
    summary="Give what waits of a message a new time",
    params=_Reschedule,
    answer={"id": _ROW["id"], "rescheduled": 1, "in_flight": 0, "scheduled_at": "2026-04-20T08:00:00Z"},
    several=True,
)
def reschedule_message(caller: Caller, params: dict[str, Any], message_id: str) -> dict[str, Any]:
    try:
        changed = queues.reschedule_message(caller=caller, message_id=message_id, at_ms=params["scheduled_at"])
    except errors.Invalid as error:
        raise errors.Invalid(error.message.replace("SendAt", "scheduled_at"), field="scheduled_at") from None
    if not changed.deliveries:
        raise errors.NothingWaits
    return {
        "id": _id(message_id),
        "rescheduled": changed.deliveries,
        "in_flight": changed.in_flight,
        "scheduled_at": clock.rfc3339(changed.due_ms),
    }


def _id(text: str) -> str:
    uuid = ids.uuid_of(PREFIX, text.strip().removeprefix("<").removesuffix(">").partition("@")[0])
    return text if uuid is None else ids.public_id(PREFIX, uuid)


def _row(message: MessageRow, status: str) -> dict[str, Any]:
    later = message.send_at_ms is not None and message.send_at_ms > message.created_ms
    return {
        "id": ids.public_id(PREFIX, message.uuid),
        "status": status,
        "from": message.from_addr,
        "to": _addresses(message, "to"),
        "subject": message.subject,
        "tags": message.tags,
        "domain": message.domain,
        "stream": message.stream.name.lower(),
        "test": not message.live,
        "size": message.size,
        "created_at": clock.rfc3339(message.created_ms),
        "scheduled_at": _time(message.send_at_ms) if later else None,
    }


def _addresses(message: MessageRow, name: str) -> list[str]:
    return [str(email) for _, email in message.headers.get(name) or ()]


def _recipient(fate: Fate, scheduled: bool) -> dict[str, Any]:
    last = fate.attempts[-1] if fate.attempts else None
    later = scheduled and fate.state is DeliveryState.QUEUED and not fate.attempt_count
    return {
        "email": fate.recipient,
        "status": message_status.SCHEDULED if later else fate.state.name.lower(),
        "attempts": fate.attempt_count,
        "next_attempt_at": _time(fate.due_ms),
        "updated_at": _time(fate.events[-1].at_ms) if fate.events else None,
        "provider": message_events.provider_word(last.transport) if last is not None else None,
        "remote": (last.remote or None) if last is not None else None,
        "reply": (last.reply or None) if last is not None else None,
        "reason": fate.reason or None,
    }


def _events(found: Explanation) -> list[dict[str, Any]]:
    """Of the whole message and of the recipients shown, in their order."""
    rows = sorted([*found.events, *(event for fate in found.fates for event in fate.events)], key=lambda row: row.id)
    return [
        {
            "id": message_events.event_id(row),
            "type": message_events.TYPES.get(row.kind, f"message.{row.kind.word}"),
            "created_at": clock.rfc3339(row.at_ms),
            "recipient": row.recipient,
            "reason": row.reason or None,
        }
        for row in rows
    ]


def _time(ms: int | None) -> str | None:
    return None if ms is None else clock.rfc3339(ms)
