"""A page for each command, and their index, made from the command records."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from commands import registry
from commands.registry import Command, Needs
from commands.schema import UNDOCUMENTED, Field
from web.openapi.commands import credentials_of
from web.openapi.shapes import Schema

HOST = "https://mail.example.com"
"""The host of the examples."""

_WHO = {
    Needs.ANYONE: "Anyone; no credentials are looked at.",
    Needs.SENDER: "The holder of a sender key, by `SenderAPIKey` or `Authorization: Bearer`.",
    Needs.USER: "The account that `APIKey` or `SessionID` belongs to.",
    Needs.OPERATOR: "Operators, by `AdminAPIKey`, or by `SessionID` of an operator.",
}
_SHOWN = {Needs.SENDER: "SenderAPIKey", Needs.USER: "APIKey", Needs.OPERATOR: "AdminAPIKey"}
_KEY = "your-api-key"


def index() -> str:
    """The list of all commands."""
    lines = [
        "# Commands",
        "",
        "`POST /api.php` with the name in `Command`, as a form or as JSON; names are matched without regard to case.",
        "A success has `Success` true and `ErrorCode` 0, a refusal `Success` false and a number: the command's own,",
        "or one of [those of all commands](../errors.md). `GET /openapi.json` of an installation says the same for "
        "programs.",
        "",
        "| command | what it does |",
        "|---|---|",
    ]
    lines += [f"| [{each.name}]({each.name}.md) | {_cell(each.summary)} |" for each in registry.all_commands()]
    return "\n".join(lines) + "\n"


def page(command: Command) -> str:
    """All there is to say about one command."""
    parts = [
        f"# {command.name}\n\n{command.summary.rstrip('.')}.\n\nWho may call it: {_WHO[command.needs]}\n",
        _parameters(command),
        _request(command),
        _answer(command),
        _errors(command),
    ]
    return "\n".join(parts)


def _fields(command: Command) -> dict[str, Field]:
    return {name: field for name, field in command.params.load_fields.items() if isinstance(field, Field)}


def _parameters(command: Command) -> str:
    fields = _fields(command)
    lines = ["## Parameters", "", "| parameter | type | required | limits | meaning |", "|---|---|---|---|---|"]
    credentials = credentials_of(command)
    for name, text in credentials.items():
        if name not in fields:
            lines.append(f"| `{name}` | text | {'one of them' if len(credentials) > 1 else 'yes'} | | {text} |")
    lines.append(f"| `Command` | text | yes | | `{command.name}` |")
    for name, field in fields.items():
        kind, limits = _words(field.describe())
        required = "yes" if field.obligatory else "no"
        lines.append(f"| `{name}` | {kind} | {required} | {limits} | {_cell(field.doc)} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


def _words(shape: Schema) -> tuple[str, str]:
    """A parameter's type and its limits, for people."""
    if shape.get("enum") and True in shape["enum"]:
        return "flag", "1 or 0, true or false"
    if "oneOf" in shape:
        many = shape["oneOf"][0]
        return "list of texts", f"at most {many['maxItems']}, of {many['items']['maxLength']} characters each"
    if "enum" in shape:
        return "text", "one of " + ", ".join(f"`{word}`" for word in shape["enum"])
    if "integer" in shape.get("type", ()):
        low, high = shape.get("minimum"), shape.get("maximum")
        if low is not None and high is not None:
            return "number", f"from {low} to {high}"
        return "number", f"at least {low}" if low is not None else ""
    if shape.get("type") == "string":
        return ("text", f"at most {shape['maxLength']} characters") if "maxLength" in shape else ("date, in UTC", "")
    return "any", ""


def _example(command: Command) -> dict[str, Any]:
    name = _SHOWN.get(command.needs)
    values: dict[str, Any] = {name: _KEY} if name else {}
    values["Command"] = command.name
    for name, field in _fields(command).items():
        if field.example is not None:
            values[name] = field.example
        elif field.obligatory:
            values[name] = field.sample
    return values


def _request(command: Command) -> str:
    values = _example(command)
    body = json.dumps(values, indent=2, ensure_ascii=False).replace("'", "'\\''")
    form = [f"curl -X POST {HOST}/api.php"]
    form += [f"  --data-urlencode {_quoted(name, value)}" for name, value in flat(values)]
    as_json = f"curl -X POST {HOST}/api.php \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"
    return f"## Request\n\nAs a form:\n\n```sh\n{_joined(form)}\n```\n\nAs JSON:\n\n```sh\n{as_json}\n```\n"


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """A structure as form fields with bracket names."""
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in flat(item, f"{name}[{key}]" if name else str(key))]
    if isinstance(value, list):
        return [pair for number, item in enumerate(value) for pair in flat(item, f"{name}[{number}]")]
    if isinstance(value, bool):
        return [(name, str(int(value)))]
    return [(name, str(value))]


def _quoted(name: str, value: str) -> str:
    text = f"{name}={value}"
    plain = urlencode({name: value}) == text
    return text if plain else "'" + text.replace("'", "'\\''") + "'"


def _joined(lines: list[str]) -> str:
    return " \\\n".join(lines)


def _answer(command: Command) -> str:
    body = json.dumps({"Success": True, "ErrorCode": 0, **command.answer}, indent=2, ensure_ascii=False)
    return f"## Answer\n\nAt least these keys, with these JSON types:\n\n```json\n{body}\n```\n"


def _errors(command: Command) -> str:
    lines = ["## Errors", ""]
    if command.errors:
        lines += ["| ErrorCode | meaning |", "|---|---|"]
        lines += [f"| {number} | {_cell(text)} |" for number, text in sorted(command.errors.items())]
        lines.append("")
    notes = []
    if command.error_list:
        notes.append("`ErrorCode` and `ErrorText` are lists: every fault found is in them.")
    if command.error_message:
        notes.append("`ErrorMessage` repeats the text.")
    own = "It has no numbers of its own. " if not command.errors else ""
    notes.append(
        f"{own}Whatever has no number here is {UNDOCUMENTED}; [the numbers of all commands](../errors.md) hold too."
    )
    return "\n".join([*lines, " ".join(notes)]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
