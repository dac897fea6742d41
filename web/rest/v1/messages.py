"""`GET /v1/messages/{id}/explain`: what became of a message, and why."""

from __future__ import annotations

from typing import Any

from gateway.services import explanations
from gateway.services.identity import Caller
from web.explanations import EXAMPLE, shown
from web.rest import fields
from web.rest.v1.operation import operation

_WHOLE = {"low": 0, "high": 999_999_999}


class _Explain(fields.Params):
    offset = fields.Whole(**_WHOLE, load_default=0, doc="The first of the deliveries to show")
    limit = fields.Whole(
        **_WHOLE, load_default=explanations.DELIVERIES_MOST, doc="How many deliveries to show, 100 at most"
    )
    recipient = fields.Text(max=320, load_default="", doc="Explain only the delivery to this address")


@operation(
    "GET",
    "/messages/<message_id>/explain",
    permission="read:messages",
    summary="Tell what became of a message, and why",
    params=_Explain,
    answer=EXAMPLE,
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
    return shown(found)
