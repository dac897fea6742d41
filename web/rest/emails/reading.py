"""`/api/v1/emails`: what was sent, what became of it, and taking back what waits."""

from __future__ import annotations

from typing import Any

from gateway import clock, errors, ids
from gateway.services import email_events, explanations, message_list, message_status, queues
from gateway.services.explanations import Explanation
from gateway.services.identity import Caller
from gateway.services.message_list import Filters
from gateway.services.message_rows import MessageRow
from web.rest import fields, paging
from web.rest.emails.emails import EXAMPLE
from web.rest.emails.operation import operation

_ROW = EXAMPLE | {"tags": ["order"], "scheduledAt": None, "test": False}
_EVENT = {"event": "email.delivered", "to": "jane@example.org", "timestamp": "2025-01-15T10:30:05.000Z"}


class _Listing(fields.Listing):
    status = fields.Text(choices=tuple(message_list.STATES), doc="Only emails with a recipient of this status")
    tag = fields.Text(max=190, load_default="")
    to = fields.Text(max=320, load_default="")
    since = fields.Moment()
    until = fields.Moment()


@operation(
    "GET", "/emails", permission="read:messages", summary="List emails, the newest first", params=_Listing,
    answer={"data": [_ROW], "hasMore": False, "nextCursor": None},
)  # fmt: skip
def list_emails(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = message_list.list_(
        caller=caller,
        filters=Filters(
            tag=params["tag"].strip(), status=params.get("status", ""), recipient=params["to"].strip(),
            since_ms=params.get("since"), until_ms=params.get("until"),
        ),
        after_id=paging.last_id(params["cursor"]),
        count=params["limit"],
    )  # fmt: skip
    return {
        "data": [_row(row, found.status[row.id]) for row in found.rows],
        "hasMore": found.last_id is not None,
        "nextCursor": None if found.last_id is None else paging.cursor(found.last_id),
    }


@operation(
    "GET", "/emails/<email_id>", permission="read:messages", summary="Show an email and what became of it",
    answer=_ROW | {"events": [_EVENT]},
)  # fmt: skip
def get_email(caller: Caller, params: dict[str, Any], email_id: str) -> dict[str, Any]:
    """A foreign email is an absent one."""
    found = explanations.explain(caller=caller, message_id=email_id)
    message = found.message
    status = message_status.word(
        message_status.of([message.id])[message.id], scheduled=(message.send_at_ms or 0) > clock.now_ms()
    )
    return _row(message, status) | {"events": _events(found)}


@operation(
    "GET", "/emails/<email_id>/events", permission="read:messages", summary="The events of an email",
    answer={"data": [_EVENT]},
)  # fmt: skip
def get_email_events(caller: Caller, params: dict[str, Any], email_id: str) -> dict[str, Any]:
    return {"data": _events(explanations.explain(caller=caller, message_id=email_id))}


@operation(
    "POST", "/emails/<email_id>/cancel", permission="send", summary="Take back an email that waits",
    answer={"id": EXAMPLE["id"], "status": "canceled", "canceled": 1},
)  # fmt: skip
def cancel_email(caller: Caller, params: dict[str, Any], email_id: str) -> dict[str, Any]:
    """Refused where nothing waits; what is being sent at this moment goes out."""
    changed = queues.cancel_message(caller=caller, message_id=email_id)
    if not changed.deliveries:
        raise errors.NothingWaits
    return {"id": email_id, "status": "canceled", "canceled": changed.deliveries}


def _row(message: MessageRow, status: str) -> dict[str, Any]:
    to = [str(email) for _, email in message.headers.get("to") or ()]
    return {
        "id": ids.short_id(message.uuid),
        "status": status,
        "from": message.from_addr,
        "to": to[0] if len(to) == 1 else to,
        "subject": message.subject,
        "tags": message.tags,
        "scheduledAt": clock.rfc3339_ms(message.send_at_ms) if message.send_at_ms is not None else None,
        "test": not message.live,
        "createdAt": clock.rfc3339_ms(message.created_ms),
    }


def _events(found: Explanation) -> list[dict[str, Any]]:
    """In the order in which they happened."""
    rows = sorted([*found.events, *(event for fate in found.fates for event in fate.events)], key=lambda row: row.id)
    events = []
    for event in rows:
        told = {
            "event": email_events.word(event.kind),
            "to": event.recipient,
            "timestamp": clock.rfc3339_ms(event.at_ms),
        }
        events.append(told | ({"reason": event.reason} if event.reason else {}))
    return events
