"""The operations of `/api/v1/customer` once more, two of them on routes that other surfaces have."""

from __future__ import annotations

from typing import Any

from gateway.services.identity import Caller
from web.rest import emails, end_user, refusals
from web.rest.customer.figures import EVENTS, STATISTICS, Events, Period, get_statistics, list_events
from web.rest.customer.operation import SURFACE as CUSTOMER
from web.rest.customer.send import SENT, Email, send_emails
from web.rest.outbound import blueprint
from web.rest.shared_paths import serve_on
from web.rest.surface import Surface

refusals.register(blueprint)
SURFACE = Surface(blueprint, surfaces=CUSTOMER.surfaces, token=CUSTOMER.token, security=CUSTOMER.security)
operation = SURFACE.operation
serve_on(SURFACE, end_user.blueprint, emails.blueprint)


@operation(
    "POST", "/send", permission="send", summary="Send one email, or up to 500", params=Email, answer=SENT, status=202,
    several=True, most=500_000,
)  # fmt: skip
def send_outbound(caller: Caller, params: dict[str, Any]) -> Any:
    return send_emails(caller, params)


@operation(
    "GET", "/stats/outbound/sends", permission="read:statistics", summary="Numbers and rates of a period, day by day",
    params=Period, answer=STATISTICS,
)  # fmt: skip
def get_outbound_sends(caller: Caller, params: dict[str, Any]) -> Any:
    return get_statistics(caller, params | {"group_by": params["group_by"] or "day"})


@operation("GET", "/events", permission="read:events", summary="Events", params=Events, answer=EVENTS, shared=True)
def list_outbound_events(caller: Caller, params: dict[str, Any]) -> Any:
    return list_events(caller, params)


@operation(
    "GET", "/emails/<email_id>/events", permission="read:events", summary="The events of an email", params=Events,
    answer=EVENTS, shared=True,
)  # fmt: skip
def list_events_of_email(caller: Caller, params: dict[str, Any], email_id: str) -> Any:
    return list_events(caller, params | {"email_id": email_id})
