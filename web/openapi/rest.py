"""The operations of the REST surfaces in OpenAPI, made from their declarations."""

from __future__ import annotations

import re
from typing import Any

from apispec import APISpec
from marshmallow.fields import Field as MarshmallowField

from web import rest
from web.openapi import shapes
from web.openapi.shapes import Schema, ref
from web.rest.surface import Operation, Surface

_STATUS = {
    400: "A parameter is wrong, or the body is not a JSON object",
    401: "The key is missing, invalid or revoked",
    403: "The key's scopes or the state of the account do not allow it",
    404: "There is no such object",
    409: "The state of the object does not allow it now",
    413: "Too large",
    422: "An idempotency key was used with another payload, or nothing of it can be done",
    429: "Too many requests, or too many emails",
    500: "An unforeseen failure",
    503: "The service is away for a moment; nothing was stored",
}
_FIELD_OF = re.compile(r"<([a-z_]+)>")
_WITH_BODY = ("POST", "PUT", "PATCH")
_FILES = ("text/csv", "application/x-ndjson")
"""What a file may be; a form and a JSON document that hold one are told in the documentation."""


def add(spec: APISpec, converter: Any) -> None:
    """Enter every operation of every surface; `converter` is apispec's for marshmallow fields."""
    converter.add_attribute_function(_described)
    error = shapes.of_example({"error": "", "message": "", "code": "", "request_id": ""})
    fault = shapes.of_example({"field": "", "message": ""})
    error["properties"]["errors"] = {"type": "array", "items": fault}
    spec.components.schema("Error", error)
    spec.components.security_scheme("ApiKeyAuth", {"type": "apiKey", "in": "header", "name": "X-API-Key"})
    rest.blueprints()  # declares them
    for surface in Surface.all:
        paths: dict[str, dict[str, Any]] = {}
        for (method, path), siblings in surface.table.items():
            if (method, path) in surface.shared:
                continue  # it stands under the surface that has the route
            full = f"{surface.blueprint.url_prefix}" + _FIELD_OF.sub(r"{\1}", path)
            paths.setdefault(full, {})[method.lower()] = _operation(surface, siblings, converter)
        for full, operations in sorted(paths.items()):
            spec.path(full, operations=operations)


def _described(_: Any, field: MarshmallowField, **__: Any) -> dict[str, Any]:
    describe = getattr(field, "describe", None)
    return dict(describe()) if describe is not None else {}


def _operation(surface: Surface, siblings: list[Operation], converter: Any) -> dict[str, Any]:
    first = siblings[0]
    found: dict[str, Any] = {
        "operationId": first.name + surface.blueprint.name.title(),
        "tags": [surface.blueprint.name],
        "summary": first.summary,
        "security": [{surface.security: []}],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _FIELD_OF.findall(first.path)
        ],
        "responses": _responses(siblings),
    }
    told = [f"- keys of {', '.join(sorted(one.dialects))}: {one.summary}" for one in siblings]
    found["description"] = "\n".join(told) if len(siblings) > 1 else f"Needs the scope `{first.permission}`."
    shown = [_schema(one, converter) for one in siblings]
    if first.takes_file:
        found["parameters"] += _queries(shown)
        found["requestBody"] = {"content": {kind: {"schema": {"type": "string"}} for kind in _FILES}}
    elif first.method in _WITH_BODY:
        some = [shape for shape in shown if shape.get("properties")]
        if some:
            shape = some[0] if len(some) == 1 else {"anyOf": some}
            found["requestBody"] = {"content": shapes.body(shape)}
    else:
        found["parameters"] += _queries(shown)
    return found


def _schema(one: Operation, converter: Any) -> Schema:
    """The parameters; a default of null only says that there is none."""
    shape: Schema = converter.fields2jsonschema(one.params.fields, partial=None)
    for inner in shape.get("properties", {}).values():
        if inner.get("default", ...) is None:
            del inner["default"]
    return shape


def _queries(shown: list[Schema]) -> list[Schema]:
    found: dict[str, Schema] = {}
    for shape in shown:
        for name, schema in shape.get("properties", {}).items():
            inner = dict(schema)
            text = inner.pop("description", "")
            one: Schema = {"name": name, "in": "query", "schema": inner}
            if text:
                one["description"] = text
            if name in shape.get("required", ()) and len(shown) == 1:
                one["required"] = True
            found.setdefault(name, one)
    return list(found.values())


def _responses(siblings: list[Operation]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in siblings:
        status = str(one.status)
        if one.status == 204:
            found[status] = {"description": "Done"}
        elif one.answer is None:
            found[status] = {"description": one.summary}
        elif status in found:
            media = found[status]["content"]["application/json"]
            media["schema"] = {"anyOf": [media["schema"], shapes.of_example(one.answer)]}
        else:
            found[status] = shapes.answer(one.summary, shapes.of_example(one.answer), example=one.answer)
        if one.other_answer is not None:
            media = found[status]["content"]["application/json"]
            media["schema"] = {"anyOf": [media["schema"], shapes.of_example(one.other_answer)]}
    for number, text in _STATUS.items():
        retry = {"Retry-After": shapes.header("Seconds", "integer", required=number == 503)}
        headers = retry if number in (429, 503) else None
        found[str(number)] = shapes.answer(text, ref("schemas", "Error"), headers=headers)
    return found
