"""`GET /v1/messages/{id}/provider-events`: what providers told of a message, in their own words."""

from __future__ import annotations

from typing import Any

import orjson

from gateway import clock
from gateway.services import provider_events
from gateway.services.identity import Caller
from gateway.services.provider_events import Told
from web.rest import fields, paging
from web.rest.v1.operation import operation

EXAMPLE: dict[str, Any] = {
    "provider": "amazon-ses",
    "server": "srv_01K0Q4T2X8Z3V5N7B9C1D3F5G7",
    "type": "Delivery",
    "event": "delivered",
    "became": "recorded",
    "recipient": "jane@example.com",
    "occurred_at": "2026-04-19T10:24:11Z",
    "received_at": "2026-04-19T10:24:12Z",
    "raw": {"eventType": "Delivery", "delivery": {"smtpResponse": "250 2.0.0 OK"}},
}


@operation(
    "GET", "/messages/<message_id>/provider-events", permission="read:messages",
    summary="List what providers told of a message, in their own words", params=fields.Listing,
    answer={"data": [EXAMPLE], "has_more": False, "next_cursor": None},
)  # fmt: skip
def list_provider_events(caller: Caller, params: dict[str, Any], message_id: str) -> dict[str, Any]:
    """The oldest first. A foreign message is an absent one."""
    limit = params["limit"]
    rows = provider_events.of_message(
        caller=caller, message_id=message_id, after=paging.last_id(params["cursor"]), count=limit + 1
    )
    return paging.page(rows, limit, lambda row: paging.cursor(row.id), _shown)


def _shown(told: Told) -> dict[str, Any]:
    return {
        "provider": told.provider,
        "server": told.server_id,
        "type": told.type,
        "event": told.event or None,
        "became": told.what,
        "recipient": told.recipient,
        "occurred_at": clock.rfc3339(told.at_ms),
        "received_at": clock.rfc3339(told.received_ms),
        "raw": _raw(told.raw),
    }


def _raw(text: str) -> Any:
    """As an object where it is whole; as a text where it was cut; null once its recipient was erased."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text or None
