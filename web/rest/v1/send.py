"""`POST /v1/send`: one message, answered once it is stored; of a campaign one for each recipient."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from flask import request

from gateway import clock, errors, ids
from gateway.services import bulk, dry_runs, messages
from gateway.services.bulk import Item
from gateway.services.identity import Caller
from gateway.services.messages import Accepted
from web.rest import idempotent
from web.rest.v1.operation import Answer, operation
from web.rest.v1.sending import forecasts
from web.rest.v1.sending.reader import SCOPE, Read, Reader, moment
from web.rest.v1.sending.shapes import Message

PREFIX = "msg"
EXAMPLE: dict[str, Any] = {
    "id": "msg_01KPZ3N8V4E0R2Y7T6W9Q5B1CD",
    "status": "queued",
    "created_at": "2026-04-19T10:24:11Z",
    "scheduled_at": None,
    "test": False,
    "suppressed": [],
}
REPLAYED = {"Idempotent-Replayed": "true"}


@operation(
    "POST",
    "/send",
    permission="send",
    summary="Send an email",
    params=Message,
    answer=EXAMPLE,
    status=202,
    dialects={"mailersio", "octeth"},
    several=True,
)
def send(caller: Caller, params: dict[str, Any]) -> Answer:
    """What was answered before is answered again, whatever became of what the request names."""
    reader = Reader(caller)
    key = idempotent.key(request.headers.get(idempotent.HEADER)) or _own_key(params)
    fingerprint = reader.fingerprint(params) if key is not None else ""
    if key is not None and not params.get("dry_run") and params.get("type") != "campaign":
        earlier = messages.replay(caller=caller, endpoint=SCOPE, key=key, fingerprint=fingerprint)
        if earlier is not None:
            return _answer(caller, earlier, moment(params.get("scheduled_at") or params.get("scheduledAt")))
    read = reader.read(params)
    if read.campaign and not read.dry_run:
        return _campaign(caller, read, key, fingerprint)
    draft = read.drafts[0]
    draft.idempotency_key, draft.idempotency_scope, draft.fingerprint = key, SCOPE, fingerprint
    if read.dry_run:
        return Answer(forecasts.shown(dry_runs.run(caller=read.caller, draft=draft)), status=200)
    return _answer(caller, messages.accept(read.caller, draft), draft.send_at_ms)


def _own_key(params: dict[str, Any]) -> str | None:
    value = params.get("idempotency_key")
    return idempotent.key(value) if isinstance(value, str) and value else None


def _answer(caller: Caller, accepted: Accepted, send_at_ms: int | None) -> Answer:
    body = shown(accepted, send_at_ms) | {"test": not caller.live, "suppressed": accepted.suppressed}
    return Answer(body, headers=REPLAYED if accepted.replayed else {})


def shown(accepted: Accepted, send_at_ms: int | None) -> dict[str, Any]:
    """What the sender is told of a message; a time that had passed when it was accepted is no schedule."""
    uuid = UUID(accepted.message_id)
    made_ms = ids.time_of(uuid)
    later = send_at_ms if send_at_ms is not None and send_at_ms > made_ms else None
    return {
        "id": ids.public_id(PREFIX, uuid),
        "status": "queued" if later is None else "scheduled",
        "created_at": clock.rfc3339(made_ms),
        "scheduled_at": None if later is None else clock.rfc3339(later),
    }


def _campaign(caller: Caller, read: Read, key: str | None, fingerprint: str) -> Answer:
    """One message for each recipient, in one transaction; refused where nobody is left."""
    if key is not None:
        digest = hashlib.sha256(key.encode()).hexdigest()
        for at, draft in enumerate(read.drafts):
            # One key for each, made of the request's, so that the request made again finds all of them.
            draft.idempotency_key = f"{digest}#{at}" if at else key
            draft.idempotency_scope, draft.fingerprint = SCOPE, fingerprint
    items = [Item(read.caller, draft) for draft in read.drafts]
    results = bulk.accept(caller=caller, items=items)
    if isinstance(results, bulk.Replayed):
        raise AssertionError("a campaign has no key as a whole")
    taken = [result for result in results if isinstance(result, Accepted)]
    if not taken:
        raise next(result for result in results if isinstance(result, errors.GatewayError))
    blocked = [
        read.drafts[at].to[0].email for at, one in enumerate(results) if isinstance(one, errors.SuppressedRecipient)
    ]
    told = [shown(one, read.drafts[0].send_at_ms) for one in taken]
    body = told[0] | {"ids": [one["id"] for one in told], "test": not caller.live, "suppressed": blocked}
    failed = [
        {"to": read.drafts[at].to[0].email, "code": one.slug, "message": one.message}
        for at, one in enumerate(results)
        if isinstance(one, errors.GatewayError) and not isinstance(one, errors.SuppressedRecipient)
    ]
    if failed:
        body["failed"] = failed
    return Answer(body, headers=REPLAYED if all(one.replayed for one in taken) else {})
