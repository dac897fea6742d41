"""`GET /v1/messages/{id}/explain`: what became of a message, and why."""

from __future__ import annotations

import orjson
from flask import Response, request

from gateway import errors
from gateway.services import explanations
from web import reading
from web.explanations import shown
from web.rest.v1 import blueprint, door


@blueprint.get("/messages/<message_id>/explain")
def explain_message(message_id: str) -> Response:
    """A foreign message is an absent one."""
    params = reading.read(request, fold=False)
    caller = door.enter(request, "read:messages")
    recipient = params.get("recipient", "")
    if not isinstance(recipient, str) or len(recipient) > 320:
        raise errors.Invalid("recipient should be an address.", field="recipient")
    found = explanations.explain(
        caller=caller,
        message_id=message_id,
        recipient=recipient.strip(),
        start=_number(params.get("offset"), "offset", 0),
        count=_number(params.get("limit"), "limit", explanations.DELIVERIES_MOST),
    )
    return Response(orjson.dumps(shown(found)), mimetype="application/json")


def _number(value: object, name: str, default: int) -> int:
    if value is None or value == "":
        return default
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise errors.Invalid(f"{name} should be a whole number.", field=name)
    return int(text)
