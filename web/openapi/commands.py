"""`/api.php` in OpenAPI: a schema of request, answer and failure for each command of the table."""

from __future__ import annotations

from typing import Any

from apispec import APISpec
from marshmallow.fields import Field as MarshmallowField

from commands import envelope, registry
from commands.registry import Command, Needs
from commands.schema import UNDOCUMENTED, Field
from web.openapi import shapes
from web.openapi.shapes import Schema, ref

CREDENTIALS = {
    "APIKey": "The account's API key; either SessionID or APIKey must be there, and a valid one wins",
    "SessionID": "The session that User.Login began",
}
OPERATOR = {"AdminAPIKey": "An operator's API key, instead of APIKey"}
SENDER = {"SenderAPIKey": "The sender API key of a domain; `Authorization: Bearer` says it as well"}
GENERAL = {
    envelope.NOT_AUTHENTICATED: "The session or key is missing, unknown or expired",
    envelope.NOT_PRIVILEGED: "The credentials do not reach as far as this",
    envelope.NOT_JSON: "The body is not a JSON object",
    envelope.NO_METHOD: "The HTTP method is not served",
    envelope.NO_COMMAND: "There is no such command",
    envelope.FAILED: "An unforeseen failure (500, with a request id), or the service is away for a moment (503)",
    UNDOCUMENTED: "A fault without a number of its own: a wrong type, an oversized field",
}
"""The numbers that every command may answer with."""

_EVERYWHERE = [envelope.NOT_AUTHENTICATED, envelope.NOT_PRIVILEGED, UNDOCUMENTED]


def add(spec: APISpec, converter: Any) -> None:
    """Enter the path and the components of every command; `converter` is apispec's for marshmallow fields."""
    converter.add_attribute_function(_described)
    table = registry.all_commands()
    for command in table:
        spec.components.schema(command.name, _request(command, converter))
        spec.components.schema(f"{command.name}.Answer", _answer(command))
        spec.components.schema(f"{command.name}.Failure", _failure(command))
    spec.components.schema("GeneralFailure", _general())
    request: Schema = {
        "oneOf": [ref("schemas", command.name) for command in table],
        "discriminator": {
            "propertyName": "Command",
            "mapping": {command.name: f"#/components/schemas/{command.name}" for command in table},
        },
    }
    answers = [ref("schemas", f"{command.name}.{kind}") for command in table for kind in ("Answer", "Failure")]
    general = ref("schemas", "GeneralFailure")
    spec.path(
        "/api.php",
        operations={
            "post": {
                "operationId": "command",
                "tags": ["commands"],
                "summary": "Run a command",
                "description": (
                    "Parameters come in the query, a form or a JSON object, and may be mixed; the body wins. Names, "
                    "that of the command too, are matched without regard to case. A refusal is HTTP 200 with "
                    "`Success` false."
                ),
                "parameters": _FORMATS,
                "requestBody": {"required": True, "content": shapes.body(request, forms=True)},
                "responses": {
                    "200": _response("The command's answer or its refusal", {"anyOf": answers}),
                    "400": _response("Not JSON, no such method, or no such command", general),
                    "500": _response("An unforeseen failure", general),
                    "503": _response("The service is away for a moment; nothing was stored", general)
                    | {"headers": {"Retry-After": shapes.header("Seconds", "integer", required=True)}},
                },
            }
        },
    )


def _response(text: str, schema: Schema) -> Schema:
    """A response in each of the formats that a request may ask for."""
    other = {kind: {"schema": {"type": "string"}} for kind in ("text/xml", "application/javascript")}
    return {"description": text, "content": shapes.body(schema) | other}


_FORMATS = [
    {
        "name": "ResponseFormat",
        "in": "query",
        "description": "XML for an answer in XML; anything else means JSON",
        "schema": {"type": "string", "enum": ["JSON", "XML"]},
    },
    {
        "name": "JSONPCallBack",
        "in": "query",
        "description": "`true` wraps the answer in a call of `callback`",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
    {
        "name": "callback",
        "in": "query",
        "description": "The function that is called",
        "schema": {"type": "string", "pattern": r"^[A-Za-z_$][A-Za-z0-9_$.]*$", "maxLength": 128},
    },
]


def _described(self: Any, field: MarshmallowField[Any], **_: Any) -> Schema:
    """apispec's attribute function for our parameters: they know their own schema."""
    if not isinstance(field, Field):
        return {}
    return field.describe() | ({"description": field.doc} if field.doc else {})


def credentials_of(command: Command) -> dict[str, str]:
    """The parameters that say who calls, with what they mean."""
    if command.needs is Needs.ANYONE:
        return {}
    return SENDER if command.needs is Needs.SENDER else CREDENTIALS | OPERATOR


def _request(command: Command, converter: Any) -> Schema:
    text = {"type": "string"}
    named: dict[str, Schema] = {"Command": {"const": command.name}}
    credentials = credentials_of(command)
    named |= {name: text | {"description": doc} for name, doc in credentials.items()}
    fields = {name: field for name, field in command.params.load_fields.items() if isinstance(field, Field)}
    named |= {name: converter.field2property(field) for name, field in fields.items()}
    shape: Schema = {
        "type": "object",
        "description": command.summary,
        "properties": named,
        "required": ["Command", *(name for name, field in fields.items() if field.obligatory)],
    }
    if command.needs in (Needs.USER, Needs.OPERATOR):
        shape["anyOf"] = [{"required": [name]} for name in credentials]
    return shape


def _answer(command: Command) -> Schema:
    body = {"Success": True, "ErrorCode": 0, **command.answer}
    shape = shapes.of_example(body)
    shape["properties"] |= {"Success": {"const": True}, "ErrorCode": {"const": 0}}
    return shape | {"examples": [body]}


def _failure(command: Command) -> Schema:
    """The command's own numbers and those of every command, which are never in a list when they stand for all."""
    numbers: Schema = {"enum": sorted({*command.errors, *_EVERYWHERE})}
    texts: Schema = {"type": "string"}
    if command.error_list:
        numbers = {"oneOf": [numbers, {"type": "array", "items": numbers, "minItems": 1}]}
        texts = {"type": ["string", "array"], "items": texts}
    named = {"Success": {"const": False}, "ErrorCode": numbers, "ErrorText": texts}
    if command.error_message:
        named["ErrorMessage"] = {"type": "string"}
    told = "; ".join(f"{number}: {text.rstrip('.')}" for number, text in sorted(command.errors.items()))
    return {"type": "object", "properties": named, "required": ["Success", "ErrorCode", "ErrorText"]} | (
        {"description": told} if told else {}
    )


def _general() -> Schema:
    return {
        "type": "object",
        "description": "; ".join(f"{number}: {text}" for number, text in GENERAL.items()),
        "properties": {
            "Success": {"const": False},
            "ErrorCode": {"enum": sorted(GENERAL)},
            "ErrorText": {"type": "string"},
            "Errors": {"type": "array", "items": shapes.of_example({"Code": 1, "Message": ""})},
        },
        "required": ["Success", "ErrorCode", "ErrorText"],
    }
