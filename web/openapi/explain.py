"""The explanation of a message below `/v1` and `/api/v1` in OpenAPI."""

from __future__ import annotations

from typing import Any

from apispec import APISpec

from web import explanations
from web.openapi import shapes
from web.openapi.shapes import Schema, ref

TAG = "v1"
_STATUS = {
    400: "A parameter is wrong, or the body is not a JSON object",
    401: "The key is missing, invalid or revoked",
    403: "The key's permissions do not include it",
    404: "There is no such message",
    413: "Too large",
    422: "A parameter cannot be read",
    429: "Too many requests",
    500: "An unforeseen failure",
    503: "The service is away for a moment",
}
ID: Schema = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The MessageID that the send answered",
    "schema": {"type": "string"},
}


def schema() -> Schema:
    """An explanation; more keys than those are answered."""
    found = shapes.of_example(explanations.EXAMPLE)
    found["properties"]["states"] = {"type": "object", "additionalProperties": {"type": "integer"}}
    return found


def query(start: str, count: str, recipient: str) -> list[Schema]:
    """The parameters under the names of a surface."""
    whole: Schema = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
    told = (
        (start, "The first of the deliveries to show", whole),
        (count, "How many deliveries to show, 100 at most", whole),
        (recipient, "Explain only the delivery to this address", {"type": "string", "maxLength": 320}),
    )
    return [{"name": name, "in": "query", "description": text, "schema": kind} for name, text, kind in told]


def add(spec: APISpec) -> None:
    """Enter the route below `/v1` and that surface's error body."""
    spec.components.schema("Explanation", schema())
    spec.components.schema("Error", shapes.of_example({"error": "", "message": "", "code": "", "request_id": ""}))
    responses: dict[str, Any] = {
        "200": shapes.answer(
            "What became of it, as a sentence and as data", ref("schemas", "Explanation"), example=explanations.EXAMPLE
        )
    }
    for status, text in _STATUS.items():
        retry = {"Retry-After": shapes.header("Seconds", "integer", required=status == 503)}
        responses[str(status)] = shapes.answer(
            text, ref("schemas", "Error"), headers=retry if status in (429, 503) else None
        )
    spec.path(
        "/v1/messages/{id}/explain",
        operations={
            "get": {
                "operationId": "explainMessageV1",
                "tags": [TAG],
                "summary": "Tell what became of a message, and why",
                "security": [{"Bearer": []}],
                "parameters": [ID, *query("offset", "limit", "recipient")],
                "responses": responses,
            }
        },
    )
