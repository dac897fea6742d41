"""The explanation of a message below `/api/v1` in OpenAPI."""

from __future__ import annotations

from web import explanations
from web.openapi import shapes
from web.openapi.shapes import Schema

ID: Schema = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The MessageID that the send answered",
    "schema": {"type": "string"},
}


def schema() -> Schema:
    """An explanation; more keys than those are answered."""
    return shapes.of_example(explanations.EXAMPLE)


def query(start: str, count: str, recipient: str) -> list[Schema]:
    """The parameters under the names of a surface."""
    whole: Schema = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
    told = (
        (start, "The first of the deliveries to show", whole),
        (count, "How many deliveries to show, 100 at most", whole),
        (recipient, "Explain only the delivery to this address", {"type": "string", "maxLength": 320}),
    )
    return [{"name": name, "in": "query", "description": text, "schema": kind} for name, text, kind in told]
