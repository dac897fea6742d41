"""`/api/v1/email`, `/api/v1/events` and `/api/v1/webhooks` in OpenAPI."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apispec import APISpec

from commands.sending import codes
from gateway.services import event_words
from web.openapi import explain, shapes
from web.openapi.send import SEND, SEND_EXAMPLE
from web.openapi.shapes import Schema, ref
from web.rest.end_user import events, messages, webhooks

TAG = "end user"
ACCOUNT, KEY_MISSING, KEY_INVALID = 2, 1, 13

_STATUS = {
    400: "The body is not a JSON object",
    401: "The sender key is missing or invalid",
    403: "The domain is not active, or the account is not verified",
    404: "The account or the domain is gone",
    409: "Every recipient is suppressed, or a request with this idempotency key is running",
    413: "Too large",
    422: "A field is missing or wrong",
    429: "Too many requests, or too many emails",
    500: "An unforeseen failure",
    503: "The service is away for a moment; nothing was stored",
}
_ALWAYS = (400, 401, 404, 413, 422, 429, 500, 503)
_MOMENT: Schema = {"type": ["integer", "string"], "examples": [1617235200, "2021-04-01 12:00:00"]}
_EVENT_ROW: dict[str, Any] = {
    "EventId": "evt_123",
    "EventType": "open",
    "EventTimestamp": "2021-04-01T12:00:00Z",
    "Recipient": "user@example.com",
    "MessageId": "0199a1b2-0000-7000-8000-000000000000",
    "CampaignId": None,
    "Details": {},
}
_HOOK = {"Event": "delivered", "URL": "https://example.com/webhook/delivery", "Status": "Active"}


def add(spec: APISpec) -> None:
    """Enter the paths, their errors and the two places of the sender key."""
    spec.components.security_scheme("Bearer", {"type": "http", "scheme": "bearer"})
    spec.components.security_scheme("SenderAPIKey", {"type": "apiKey", "in": "query", "name": "SenderAPIKey"})
    spec.components.schema("Errors", _errors())
    spec.components.schema("Send", SEND)
    spec.components.schema("Sent", shapes.of_example({"MessageID": ""}))
    spec.components.schema("DryRun", shapes.of_example({"DryRun": True, "Decision": "accepted", "Verdicts": []}))
    spec.components.schema("Explanation", explain.schema())
    feed = {"Events": [_EVENT_ROW | {"Sequence": 1}], "After": "MQAAAAAAAAAB", "HasMore": False}
    spec.components.schema("EventFeed", shapes.of_example(feed))
    spec.components.schema("Events", shapes.of_example({"TotalRecords": 25, "Events": [_EVENT_ROW]}))
    spec.components.schema("Webhooks", shapes.of_example({"Webhooks": [_HOOK | {"WebhookID": "1"}]}))
    spec.components.schema("WebhookMade", shapes.of_example({"NewWebhookID": "12345"}))
    spec.components.schema("WebhookDeleted", shapes.of_example({"Message": ""}))
    for path, operations in _paths().items():
        spec.path(path, operations=operations)


def _errors() -> Schema:
    shape = shapes.of_example({"Errors": [{"Code": 8, "Message": "Missing Subject"}]})
    shape["properties"]["Errors"]["minItems"] = 1
    return shape | {"examples": [{"Errors": [{"Code": 8, "Message": "Missing Subject"}]}]}


def _operation(
    name: str, summary: str, answer: Schema, *, numbers: Iterable[tuple[int, str]], more: Iterable[int] = (), **how: Any
) -> dict[str, Any]:
    told = "\n".join(f"- {number}: {text}" for number, text in sorted(numbers))
    responses = {"200": answer}
    for status in sorted({*_ALWAYS, *more}):
        retry = {"Retry-After": shapes.header("Seconds", "integer", required=status == 503)}
        headers = retry if status in (429, 503) else None
        responses[str(status)] = shapes.answer(_STATUS[status], ref("schemas", "Errors"), headers=headers)
    return {
        "operationId": name,
        "tags": [TAG],
        "summary": summary,
        "description": f"All errors found are listed, in the order of their numbers:\n\n{told}",
        "security": [{"Bearer": []}, {"SenderAPIKey": []}],
        "responses": responses,
        **how,
    }


def _query(name: str, text: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _body(shape: Schema, example: Any = None) -> Schema:
    return {"required": True, "content": shapes.body(shape, example=example, forms=True)}


def _paths() -> dict[str, dict[str, Any]]:
    invalid = (KEY_INVALID, codes.TEXTS[KEY_INVALID])
    rate = (codes.TOO_MANY_REQUESTS, "Too many requests")
    deleting = [webhooks.ID_MISSING, webhooks.ID_INVALID, webhooks.ACCOUNT, invalid, rate]
    deleted = shapes.answer("It is gone", ref("schemas", "WebhookDeleted"))
    number: Schema = {"type": ["string", "integer"], "description": "The webhook's number"}
    words = ", ".join(event_words.SHORT.values())
    return {
        "/api/v1/email": {"post": _send(rate)},
        "/api/v1/events": {
            "get": _operation(
                "listEvents",
                "Events of the key's domain, the newest first; with `After` as a feed, the oldest first",
                shapes.answer(
                    "A page of events, or a piece of the feed",
                    {"anyOf": [ref("schemas", "Events"), ref("schemas", "EventFeed")]},
                ),
                numbers=[
                    (KEY_MISSING, codes.TEXTS[KEY_MISSING]),
                    events.ACCOUNT,
                    events.START_FROM,
                    events.RETRIEVE_COUNT,
                    invalid,
                    rate,
                ],
                parameters=[
                    _query(
                        "After",
                        "The `After` of the answer before, empty at first: every event once",
                        {"type": "string", "maxLength": 64},
                    ),
                    _query("StartFrom", "How many events to pass over", {"type": "integer", "minimum": 0}),
                    _query(
                        "RetrieveCount",
                        "How many to answer, 5 unless told, at most 100",
                        {"type": "integer", "minimum": 0},
                    ),
                    _query("StartDate", "Unix seconds, or a date in UTC", _MOMENT),
                    _query("EndDate", "Unix seconds, or a date in UTC; a date alone includes its day", _MOMENT),
                    _query(
                        "Event",
                        f"Event words, separated by commas: {words} …",
                        {"type": "string", "enum": sorted(event_words.FILTER)},
                    ),
                    _query("MessageID", "The `MessageID` that the send answered", {"type": "string"}),
                    _query(
                        "Query", "A query such as `subject:welcome NOT tag:test`", {"type": "string", "maxLength": 1000}
                    ),
                    _query(
                        "Cursor",
                        "The `Cursor` of a partial answer to the same query: goes on behind it",
                        {"type": "string", "maxLength": 64, "pattern": "^([0-9]{1,18}-[0-9]{1,18})?$"},
                    ),
                ],
            )
        },
        "/api/v1/messages/{id}/explain": {
            "get": _operation(
                "explainMessage",
                "Tell what became of a message, and why",
                shapes.answer("What became of it, as a sentence and as data", ref("schemas", "Explanation")),
                numbers=[
                    (KEY_MISSING, codes.TEXTS[KEY_MISSING]),
                    messages.ACCOUNT,
                    invalid,
                    rate,
                    messages.NOT_FOUND,
                ],
                parameters=[explain.ID, *explain.query("StartFrom", "RetrieveCount", "Recipient")],
            )
        },
        "/api/v1/webhooks": {
            "get": _operation(
                "listWebhooks",
                "Webhooks of the key's domain",
                shapes.answer("The webhooks", ref("schemas", "Webhooks")),
                numbers=[webhooks.ACCOUNT, invalid, rate],
            ),
            "post": _operation(
                "addWebhook",
                "Register a webhook for an event, or for several",
                shapes.answer("It is registered", ref("schemas", "WebhookMade")),
                numbers=[
                    webhooks.EVENT_MISSING,
                    webhooks.EVENT_INVALID,
                    webhooks.URL_MISSING,
                    webhooks.URL_INVALID,
                    webhooks.URL_PRIVATE,
                    invalid,
                    rate,
                ],
                more=(403,),
                requestBody=_body(
                    {
                        "type": "object",
                        "properties": {
                            "Event": {
                                "description": "A word, several between commas, or a list of them",
                                "anyOf": [
                                    {"type": "string", "enum": list(event_words.WEBHOOK)},
                                    {"type": "string", "pattern": "^[a-z]+(,[a-z]+)+$"},
                                    {"type": "array", "items": {"type": "string", "enum": list(event_words.WEBHOOK)}},
                                ],
                            },
                            "WebhookURL": {"type": "string", "format": "uri", "maxLength": 2048},
                        },
                        "required": ["Event", "WebhookURL"],
                    },
                    {"Event": "delivered", "WebhookURL": "https://yourdomain.com/webhook"},
                ),
            ),
            "delete": _operation(
                "deleteWebhook",
                "Remove a webhook",
                deleted,
                numbers=deleting,
                requestBody=_body(
                    {"type": "object", "properties": {"WebhookID": number}, "required": ["WebhookID"]},
                    {"WebhookID": "123"},
                ),
            ),
        },
        "/api/v1/webhooks/{id}": {
            "delete": _operation(
                "deleteWebhookById",
                "Remove a webhook",
                deleted,
                numbers=deleting,
                parameters=[{"name": "id", "in": "path", "required": True, "schema": number}],
            )
        },
    }


def _send(rate: tuple[int, str]) -> dict[str, Any]:
    replayed = {"Idempotent-Replayed": shapes.header("`true` where this answers an earlier request again")}
    return _operation(
        "sendEmail",
        "Send an email",
        shapes.answer(
            "It is stored and will be sent; of a dry run, what would become of it",
            {"anyOf": [ref("schemas", "Sent"), ref("schemas", "DryRun")]},
            headers=replayed,
        ),
        numbers=[*codes.TEXTS.items(), rate],
        more=(403, 409),
        parameters=[
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The same key and request are answered as the first time, for 72 hours",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        ],
        requestBody=_body(ref("schemas", "Send"), SEND_EXAMPLE),
    )
