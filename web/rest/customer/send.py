"""`/send`: one email, or up to 500 at once, each accepted or refused by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import request

from gateway import clock, errors, ids
from gateway.services import bulk, messages
from gateway.services.bulk import Item
from gateway.services.identity import Caller
from gateway.services.messages import Accepted
from web.rest import fields, idempotent
from web.rest.customer.operation import Answer, operation
from web.rest.v1.sending.reader import Read, Reader
from web.rest.v1.sending.shapes import OBJECT, SHAPES, anything

MOST = 500
SCOPE = "POST /api/v1/customer/send"
SENT = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "status": "queued",
    "from": "hello@yourdomain.com",
    "to": ["jane@example.org"],
    "subject": "Welcome",
    "tag": "welcome",
    "created_at": "2026-01-23T10:00:00.000Z",
    "suppressed": [],
}
_SENT_SOME = {"results": [{"index": 0, "status": "queued"}], "accepted": 1, "failed": 0}
_OWN = {"tag": fields.Text(max=190, allow_none=True, doc="Comes back with events and in statistics")}
_BATCH = {
    "emails": fields.Anything(
        shape={"type": "array", "items": OBJECT, "maxItems": MOST},
        doc="Up to 500 emails, each with the fields of one; `messages` says the same",
    ),
    "messages": fields.Anything(shape={"type": "array", "items": OBJECT, "maxItems": MOST}),
}

Email: type[fields.Params] = type("Email", (fields.Params,), {name: anything(name) for name in SHAPES} | _OWN | _BATCH)
"""The fields of one email, or a list of them."""


@operation(
    "POST", "/send", permission="send", summary="Send one email, or up to 500", params=Email, answer=SENT, status=202,
    several=True, most=500_000, other_answer=_SENT_SOME,
)  # fmt: skip
def send_emails(caller: Caller, params: dict[str, Any]) -> Answer:
    batch = params.get("emails", params.get("messages"))
    return _batch(caller, batch) if batch is not None else _one(caller, params)


def _one(caller: Caller, params: dict[str, Any]) -> Answer:
    reader = Reader(caller)
    read = _read(reader, params)
    draft = read.drafts[0]
    key = idempotent.key(request.headers.get(idempotent.HEADER))
    if key is not None:
        draft.idempotency_key, draft.idempotency_scope, draft.fingerprint = key, SCOPE, reader.fingerprint(params)
    accepted = messages.accept(read.caller, draft)
    return Answer(_shown(accepted, read), headers={"Idempotent-Replayed": "true"} if accepted.replayed else {})


def _batch(caller: Caller, batch: Any) -> Answer:
    if not isinstance(batch, list) or not batch:
        raise errors.Invalid("emails should be a list of at least one email.", field="emails")
    if len(batch) > MOST:
        raise errors.TooLarge(f"A request has at most {MOST} emails; nothing was sent.", field="emails")
    reader = Reader(caller)
    reads: list[Read | None] = []
    items: list[Item | errors.GatewayError] = []
    for one in batch:
        read: Read | None = None
        try:
            if not isinstance(one, Mapping):
                raise errors.Invalid("An email should be an object.")
            read = _read(reader, one)
            items.append(Item(read.caller, read.drafts[0]))
        except errors.Unavailable:
            raise
        except errors.GatewayError as refusal:
            items.append(refusal)
        reads.append(read)
    results = bulk.accept(caller=caller, items=items)
    if isinstance(results, bulk.Replayed):
        raise AssertionError("a batch has no key as a whole")
    listed = [_result(at, result, reads[at]) for at, result in enumerate(results)]
    failed = sum("error" in one for one in listed)
    return Answer({"results": listed, "accepted": len(listed) - failed, "failed": failed})


def _result(at: int, result: Accepted | errors.GatewayError, read: Read | None) -> dict[str, Any]:
    if isinstance(result, errors.GatewayError) or read is None:
        error = result if isinstance(result, errors.GatewayError) else errors.Invalid()
        return {"index": at, "status": "failed", "error": {"code": error.slug, "message": error.message}}
    return {"index": at, **_shown(result, read)}


def _read(reader: Reader, params: Mapping[str, Any]) -> Read:
    """`tag` is the first of the tags."""
    said = {name: value for name, value in params.items() if name in SHAPES}
    tag = params.get("tag")
    if tag is not None and tag != "":
        if not isinstance(tag, str):
            raise errors.InvalidFields(
                "tag: Should be a text.", fields=[{"field": "tag", "message": "Should be a text."}]
            )
        tags = said.get("tags")
        said["tags"] = [tag, *(one for one in (tags if isinstance(tags, list) else []) if one != tag)]
    read = reader.read(said)
    if read.campaign or read.dry_run:
        raise errors.Invalid("An email of this surface is neither a campaign nor a dry run.", field="type")
    return read


def _shown(accepted: Accepted, read: Read) -> dict[str, Any]:
    draft, uuid = read.drafts[0], UUID(accepted.message_id)
    made_ms = ids.time_of(uuid)
    return {
        "id": accepted.message_id,
        "status": "scheduled" if (draft.send_at_ms or 0) > made_ms else "queued",
        "from": draft.sender.email,
        "to": [box.email for box in draft.to],
        "subject": draft.subject,
        "tag": draft.tags[0] if draft.tags else None,
        "created_at": clock.rfc3339_ms(made_ms),
        "suppressed": accepted.suppressed,
    }
