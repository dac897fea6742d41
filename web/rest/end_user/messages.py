"""`GET /api/v1/messages/{id}/explain`: what became of a message of the sender key's domain, and why."""

from __future__ import annotations

from flask import Response, request

from gateway import errors
from gateway.services import explanations
from models.vocabulary import ACCOUNT_DISABLED
from web import reading
from web.explanations import shown
from web.rest.end_user import blueprint, door

ACCOUNT = (2, "Invalid user account")
NOT_FOUND = (door.UNDOCUMENTED, "There is no such message.")


@blueprint.get("/messages/<message_id>/explain")
def explain_message(message_id: str) -> Response:
    """A foreign message is an absent one."""
    params = reading.read(request)
    caller = door.enter(request, params, "read:messages")
    if caller.status == ACCOUNT_DISABLED or caller.domain_id is None:
        raise door.Refused([ACCOUNT], 404)
    try:
        found = explanations.explain(
            caller=caller,
            message_id=message_id,
            recipient=_text(params.get("recipient")),
            start=_number(params.get("startfrom"), "StartFrom", 0),
            count=_number(params.get("retrievecount"), "RetrieveCount", explanations.DELIVERIES_MOST),
        )
    except errors.NotFound:
        raise door.Refused([NOT_FOUND], 404) from None
    return door.answer(shown(found))


def _number(value: object, name: str, default: int) -> int:
    if value is None or value == "":
        return default
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise errors.Invalid(f"'{name}' should be a whole number", field=name)
    return int(text)


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 320:
        raise errors.Invalid("'Recipient' should be an address", field="Recipient")
    return value.strip()
