"""The page of errors: general numbers, numbers of the end-user layer, and every refusal with its three renderings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from commands.sending import codes
from commands.sending.faults import Faults
from gateway import errors
from web.openapi.commands import GENERAL
from web.rest import refusals

_INTRODUCTION = """\
# Errors

A refusal is one thing in the engine and is told in three ways: commands show a number, REST a status and a
slug, SMTP a reply code. All of them are here; the numbers of a command are on [its page](commands/README.md).

## Numbers of all commands

HTTP 200, but 400 for {bad}, 500 or 503 for {failed}.

| ErrorCode | meaning |
|---|---|
"""
_SEND = """
## Numbers of a send

`POST /api/v1/email` answers `{"Errors": [{"Code", "Message"}]}` with every error found, in the order of the numbers;
of several HTTP statuses the gravest is taken.

| Code | status | Message |
|---|---|---|
"""
_REFUSALS = """
## Refusals

Below `/v1`, `/api/v1/customer` and `/api/v1/emails` every refusal is `{"error", "message", "code", "request_id"}`, with
`errors: [{"field", "message"}]` where fields are at fault; `code` is the slug, and the status is that of the column
`/v1`: 400 for what is wrong with a request, 404 for what is not there, 422 only for an idempotency key that was used
with another payload, and for a Mailmark send of which every recipient is refused. An item of a bulk request fails with
the same `code`. With 429 and 503 comes `Retry-After`.

| slug | HTTP | `/v1` | SMTP | meaning |
|---|---|---|---|---|
"""
_OF_HTTP = """
## What HTTP itself refuses below `/v1`

| code | status | meaning |
|---|---|---|
"""
HTTP_CODES = {
    "not_found": (404, "There is no such path"),
    "method_not_allowed": (405, "The path has no such method; `Allow` names those that it has"),
    "internal_error": (500, "An unforeseen failure; `request_id` is what the log has it under"),
}
"""Codes below `/v1` that are no refusals of the engine."""
_BAD, _FAILED = (100000, 100001, 100003), (100005,)


def page() -> str:
    """The page as Markdown."""
    bad = ", ".join(map(str, _BAD))
    lines = [_INTRODUCTION.format(bad=bad, failed=_FAILED[0])]
    lines += [f"| {number} | {text} |\n" for number, text in sorted(GENERAL.items())]
    lines.append(_SEND)
    sent: Mapping[int, str] = codes.TEXTS | {codes.TOO_MANY_REQUESTS: "Too many requests. Wait for … seconds …"}
    for number, text in sorted(sent.items()):
        faults = Faults()
        faults.add(number, text)
        lines.append(f"| {number} | {faults.status} | {text} |\n")
    lines.append(_REFUSALS)
    for kind in sorted(set(_kinds(errors.GatewayError)), key=lambda one: (one.slug, one.__name__)):
        below = refusals.status_of(kind)
        lines.append(f"| `{kind.slug}` | {kind.status} | {below} | `{kind.smtp}` | {kind.message} |\n")
    lines.append(_OF_HTTP)
    lines += [f"| `{code}` | {status} | {text} |\n" for code, (status, text) in HTTP_CODES.items()]
    return "".join(lines)


def _kinds(kind: type[errors.GatewayError]) -> Iterator[type[errors.GatewayError]]:
    """The class and all below it that live in the engine's vocabulary."""
    if kind.__module__ == errors.__name__:
        yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)
