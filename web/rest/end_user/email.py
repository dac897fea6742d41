"""`POST /api/v1/email`: one message from the holder of a sender key."""

from __future__ import annotations

from flask import Response, request

from gateway import errors
from gateway.services import messages
from web import reading
from web.rest.end_user import blueprint, door, email_fields
from web.rest.end_user.email_faults import Faults

ENDPOINT = "POST /api/v1/email"


@blueprint.post("/email")
def send_email() -> Response:
    """Read, accept and answer with the `MessageID`; else with all errors found."""
    params = reading.read(request)
    faults = Faults()
    caller, sender_name = None, None
    try:
        caller = door.enter(request, params)
        sender_name = messages.check_sender(caller).name
    except door.Refused as refused:
        for code, text in refused.codes:
            faults.add(code, text)
    except errors.RateLimited:
        raise
    except errors.GatewayError as error:
        faults.refusal(error)
    idempotency_key = email_fields.idempotency_key(request.headers.get("Idempotency-Key"), faults)
    draft = email_fields.read(params, caller, sender_name, faults)
    if draft is None or caller is None:
        return door.refuse(faults.codes.items(), faults.status)
    if idempotency_key is not None:
        draft.idempotency_key = idempotency_key
        draft.idempotency_scope = ENDPOINT
        draft.fingerprint = email_fields.fingerprint(params)
    try:
        accepted = messages.accept(caller, draft)
    except errors.Unavailable:
        raise
    except errors.GatewayError as error:
        faults.refusal(error)
        wait = {"Retry-After": str(error.data["retry_after"])} if "retry_after" in error.data else None
        return door.refuse(faults.codes.items(), faults.status, wait)
    response = door.answer({"MessageID": accepted.message_id})
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response
