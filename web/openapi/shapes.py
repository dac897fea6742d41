"""JSON Schemas made from examples and from parameters, and small words of OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

_NEW_ID = re.compile(r"New\w*ID$")
_MAPS = frozenset({"TagStats", "DNSRecords", "states"})
"""Objects whose keys are data (tags, hosts); their values are all like the example's first."""
_OPEN = frozenset({"facts"})
"""Objects that have other keys each time."""
_OR_NULL = frozenset(
    {
        "displayName", "emails_month", "healthScore", "hold_from", "inboxRate", "normalized", "rate", "requests",
        "suggestion", "tag", "warn_from",
    }
)  # fmt: skip
"""Texts and numbers that may be null although the example has one."""


def ref(kind: str, name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def of_example(value: Any, name: str = "") -> Schema:
    """The schema of all that has the example's keys and JSON types; more keys are allowed at every depth.

    A list's schema is that of its first entry; of further ones, where they are objects, come keys that not all have.
    An empty example says nothing of what is inside, and null allows all.
    """
    if isinstance(value, Mapping) and name in _MAPS:
        return {"type": "object", "additionalProperties": of_example(next(iter(value.values()), None))}
    if isinstance(value, Mapping):
        shape: Schema = {"type": "object"}
        if value and name not in _OPEN:
            shape["properties"] = {str(key): of_example(item, str(key)) for key, item in value.items()}
            shape["required"] = [str(key) for key in value]
        return shape
    if isinstance(value, (list, tuple)):
        if len(value) > 1 and all(isinstance(item, Mapping) for item in value):
            return {"type": "array", "items": _of_all(value)}
        return {"type": "array"} | ({"items": of_example(value[0])} if value else {})
    if name in _OR_NULL and isinstance(value, (str, int, float)):
        return {"type": [of_example(value)["type"], "null"]}
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer"}
    if isinstance(value, float):
        return {"type": "number"}
    if isinstance(value, str):
        # Accounts can have the ids of what they make as numbers.
        return {"type": ["string", "integer"]} if _NEW_ID.match(name) else {"type": "string"}
    return {}


def _of_all(items: Sequence[Mapping[str, Any]]) -> Schema:
    every = {name: item[name] for item in reversed(items) for name in item}
    required = [name for name in items[0] if all(name in item for item in items)]
    return of_example(every) | {"required": required}


def body(schema: Schema, *, example: Any = None, forms: bool = False) -> dict[str, Any]:
    """The `content` of a JSON body, with `forms` also as one."""
    media = {"schema": schema} | ({"example": example} if example is not None else {})
    content = {"application/json": media}
    if forms:
        content["application/x-www-form-urlencoded"] = {"schema": schema}
    return content


def answer(text: str, schema: Schema, *, headers: Mapping[str, Schema] | None = None, example: Any = None) -> Schema:
    """A response object with a JSON body."""
    found: Schema = {"description": text, "content": body(schema, example=example)}
    if headers:
        found["headers"] = dict(headers)
    return found


def header(text: str, type_: str = "string", *, required: bool = False) -> Schema:
    found: Schema = {"description": text, "schema": {"type": type_}}
    return found | ({"required": True} if required else {})
