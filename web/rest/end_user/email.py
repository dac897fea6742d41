"""`POST /api/v1/email`: one message from the holder of a sender key."""

from __future__ import annotations

from flask import Response, request

from commands.sending import forecasts
from commands.sending.faults import Faults
from commands.sending.send import send
from gateway.services.dry_runs import DryRun
from web import reading
from web.rest.end_user import blueprint, door

ENDPOINT = "POST /api/v1/email"


@blueprint.post("/email")
def send_email() -> Response:
    """Read, accept and answer with the `MessageID`; else with all errors found. A dry run answers its forecast."""
    params = reading.read(request)
    faults = Faults()
    caller = None
    try:
        caller = door.enter(request, params, "send")
    except door.Refused as refused:
        for code, text in refused.codes:
            faults.add(code, text)
    accepted = send(params, caller, faults, idempotency_key=request.headers.get("Idempotency-Key"), scope=ENDPOINT)
    if accepted is None:
        wait = {} if faults.retry_after is None else {"Retry-After": str(faults.retry_after)}
        more = None if faults.verdicts is None else forecasts.refused(faults.verdicts)
        return door.refuse(faults.codes.items(), faults.status, wait, more)
    if isinstance(accepted, DryRun):
        return door.answer(forecasts.shown(accepted))
    response = door.answer({"MessageID": accepted.message_id})
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response
