"""`POST /v1/send/bulk`: up to a thousand messages, each accepted or refused by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response, request

from commands.sending.fields import parsed_key
from gateway import errors, ids
from gateway.services import bulk, idempotency
from gateway.services import messages as accepting
from gateway.services.bulk import Item
from gateway.services.identity import Caller
from gateway.services.messages import Accepted
from web.rest import fields, idempotent, refusals
from web.rest.v1.operation import Answer, operation
from web.rest.v1.send import PREFIX, REPLAYED
from web.rest.v1.sending.reader import SCOPE, Reader
from web.rest.v1.sending.shapes import OBJECT, SHAPES

ENDPOINT = "POST /v1/send/bulk"
_WARNINGS_MOST = 20
EXAMPLE = {
    "data": [
        {"index": 0, "status": "queued", "id": "msg_01KPZ3N8V4E0R2Y7T6W9Q5B1CD"},
        {
            "index": 1,
            "status": "failed",
            "error": {"code": "recipient_suppressed", "message": errors.SuppressedRecipient.message, "field": None},
        },
    ],
    "accepted": 1,
    "failed": 1,
}


class _Bulk(fields.Params):
    messages = fields.Anything(
        required=True,
        shape={"type": "array", "items": OBJECT, "maxItems": bulk.MOST, "minItems": 1},
        doc="Messages, each with the fields of a send; one that cannot be accepted fails alone",
    )
    defaults = fields.Anything(
        shape=OBJECT, load_default=None, doc="Fields that every message has unless it says otherwise"
    )


@operation(
    "POST",
    "/send/bulk",
    permission="send",
    summary="Send up to 1,000 emails",
    params=_Bulk,
    answer=EXAMPLE,
    status=202,
    dialects={"mailersio", "octeth"},
    several=True,
    most=500_000,
)
def send_bulk(caller: Caller, params: dict[str, Any]) -> Answer | Response:
    messages, defaults = params["messages"], params["defaults"] or {}
    if not isinstance(messages, list) or not messages:
        raise errors.Invalid("messages should be a list of at least one message.", field="messages")
    if not isinstance(defaults, Mapping):
        raise errors.Invalid("defaults should be an object.", field="defaults")
    if len(messages) > bulk.MOST:
        raise errors.TooLarge(f"A request has at most {bulk.MOST} messages; nothing was sent.", field="messages")
    asked = None
    key = idempotent.key(request.headers.get(idempotent.HEADER))
    if key is not None:
        said = orjson.dumps([messages, defaults], option=orjson.OPT_SORT_KEYS)
        asked = idempotency.Request(caller.account_id, ENDPOINT, key, hashlib.sha256(said).hexdigest())
    warnings = _Warnings()
    with bulk.turn():
        items = _items(caller, messages, defaults, warnings)

        def render(results: list[bulk.Result]) -> str:
            return orjson.dumps(_shown(results, items) | warnings.shown()).decode()

        done = bulk.accept(caller=caller, items=items, request=asked, render=render)
    if isinstance(done, bulk.Replayed):
        return Response(done.answer, 202, REPLAYED, mimetype="application/json")
    return Answer(_shown(done, items) | warnings.shown())


def _items(
    caller: Caller, messages: list[Any], defaults: Mapping[str, Any], warnings: _Warnings
) -> list[Item | bulk.Result]:
    reader = Reader(caller)
    items: list[Item | bulk.Result] = []
    unread = _unread(defaults)
    if unread and caller.strict:
        raise _unknown(unread, f"defaults.{unread[0]}")
    warnings.add("defaults", unread)
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            items.append(errors.Invalid("A message should be an object."))
            continue
        try:
            item = reader.quickly(defaults, message) or _thoroughly(reader, {**defaults, **message})
            unread = _unread(message)
            if unread:
                if caller.strict:
                    raise _unknown(unread, unread[0])
                warnings.add(f"messages.{index}", unread)
            items.append(item)
        except errors.Unavailable:
            raise
        except errors.GatewayError as refusal:
            items.append(_earlier(caller, reader, {**defaults, **message}) or refusal)
    return items


def _thoroughly(reader: Reader, message: Mapping[str, Any]) -> Item:
    read = reader.read(message)
    if read.campaign:
        raise errors.Invalid("A campaign is no item of a bulk request.", field="type")
    if read.dry_run:
        raise errors.Invalid("A bulk request has no dry run.", field="dry_run")
    return Item(read.caller, read.drafts[0])


def _unread(message: Mapping[str, Any]) -> list[str]:
    """The names in a message, and inside its objects, that nothing reads."""
    found: list[str] = []
    for name, value in message.items():
        if name not in SHAPES:
            found.append(name)
        elif isinstance(value, dict | list):
            found += fields.unread(SHAPES[name][0], value, name)
    return found


def _unknown(names: list[str], field: str) -> errors.UnknownFields:
    return errors.UnknownFields("Unknown fields: " + ", ".join(names[:20]), field=field)


def _earlier(caller: Caller, reader: Reader, message: Mapping[str, Any]) -> Accepted | None:
    """What an item was answered before: that the template is gone, say, must not refuse what was accepted."""
    value = message.get("idempotency_key")
    key = parsed_key(value) if isinstance(value, str) else None
    if key is None:
        return None
    return accepting.replay(caller=caller, endpoint=SCOPE, key=key, fingerprint=reader.fingerprint(message))


class _Warnings:
    """Names that nothing reads, the first of them."""

    def __init__(self) -> None:
        self.listed: list[dict[str, str]] = []

    def add(self, path: str, names: list[str]) -> None:
        for name in names:
            if len(self.listed) < _WARNINGS_MOST:
                self.listed.append({"field": f"{path}.{name}", "message": "This field is not known and was not read."})

    def shown(self) -> dict[str, Any]:
        return {"warnings": self.listed} if self.listed else {}


def _shown(results: list[bulk.Result], items: list[Item | bulk.Result]) -> dict[str, Any]:
    listed: list[dict[str, Any]] = []
    failed = 0
    for index, result in enumerate(results):
        if isinstance(result, errors.GatewayError):
            failed += 1
            listed.append({"index": index, "status": "failed", "error": refusals.of_item(result)})
            continue
        item = items[index]
        scheduled = isinstance(item, Item) and item.draft.send_at_ms is not None
        one: dict[str, Any] = {
            "index": index,
            "status": "scheduled" if scheduled else "queued",
            "id": ids.public_of(PREFIX, result.raw),
        }
        if result.replayed:
            one["replayed"] = True
        if result.suppressed:
            one["suppressed"] = result.suppressed
        listed.append(one)
    return {"data": listed, "accepted": len(listed) - failed, "failed": failed}
