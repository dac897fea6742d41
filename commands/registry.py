"""The command table: what a command is, said once, found by scanning this package."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import commands
from commands.schema import Params
from gateway.errors import GatewayError

Handler = Callable[[Any, dict[str, Any]], dict[str, Any]]


class DuplicateCommand(RuntimeError):
    """Two handlers claim one name, which names are told apart without regard to case."""


class Needs(StrEnum):
    """Who may call a command."""

    ANYONE = "anyone"  # the handler gets a `Visitor` instead of a caller
    SENDER = "sender"  # a sender key; the handler gets a `Visitor` and looks at it: its faults go with the others
    USER = "user"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who knocks, before any credential is looked at; `ip` is the client's address, `headers` are of HTTP."""

    ip: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """Leaves a handler with several of its record's numbers; an empty text stands for the record's words.

    `more` are fields that the answer has beside them.
    """

    def __init__(self, codes: Mapping[int, str], more: Mapping[str, Any] | None = None) -> None:
        super().__init__(str(dict(codes)))
        self.codes = dict(codes)
        self.more = dict(more or {})


@dataclass(frozen=True)
class Command:
    """Everything there is to say about a command; dispatch, envelope, pages and metrics come from it."""

    name: str
    summary: str
    handler: Handler
    params: Params
    errors: Mapping[int, str]
    refusals: Mapping[type[GatewayError], int]
    answer: Mapping[str, Any] = field(default_factory=dict)
    error_message: bool = False
    error_list: bool = False
    needs: Needs = Needs.USER
    permission: str = ""  # what a key with scopes must have, e.g. read:events

    def number(self, refusal: GatewayError) -> int | None:
        """The document's number of a refusal: that of its nearest class, None where it has none."""
        for kind in type(refusal).__mro__:
            if kind in self.refusals:
                return self.refusals[kind]
        return None


_table: dict[str, Command] = {}

_READS = ("Get", "List", "Export", "Explain", "Preview", "Aggr", "SMTPRelay")
_NOUNS = (
    ("Suppression", "suppressions"),
    ("Allow", "suppressions"),
    ("Recipient", "statistics"),
    ("Stats", "statistics"),
    ("Series", "statistics"),
    ("Aggr", "statistics"),
    ("Event", "events"),
    ("Webhook", "webhooks"),
    ("SigningKey", "webhooks"),
    ("Template", "templates"),
    ("Subscriber", "lists"),
    ("List", "lists"),
    ("SMTP", "smtp"),
    ("API", "keys"),
    ("Message", "messages"),
    ("Queue", "messages"),
    ("Domain", "domains"),
)
"""The first part of a name that fits says what the command is about."""


def _permission(name: str) -> str:
    group, _, words = name.partition(".")
    if group != "EmailGateway":
        return "account"
    if words.startswith("SendEmail"):
        return "send"
    verb = "read" if words.startswith(_READS) or words.endswith(("Stats", "Series")) else "write"
    return f"{verb}:{next((noun for part, noun in _NOUNS if part in words), 'account')}"


def command(
    name: str,
    *,
    summary: str,
    params: type[Params] = Params,
    errors: Mapping[int, str] | None = None,
    refusals: Mapping[type[GatewayError], int] | None = None,
    answer: Mapping[str, Any] | None = None,
    error_message: bool = False,
    error_list: bool = False,
    needs: Needs = Needs.USER,
    permission: str = "",
) -> Callable[[Handler], Handler]:
    """Enter a handler into the table; raises `DuplicateCommand` at import.

    `errors` has the document's numbers and words, `refusals` maps domain errors to those numbers,
    `answer` is the document's example. `error_message` adds `ErrorMessage` to failures, `error_list`
    makes `ErrorCode` and `ErrorText` lists. `permission` is read off the name where it is not given.
    """

    def enter(handler: Handler) -> Handler:
        key = name.lower()
        if key in _table:
            other = _table[key].handler
            raise DuplicateCommand(f"{name}: {handler.__module__} and {other.__module__} both define it")
        _table[key] = Command(
            name=name,
            summary=summary,
            handler=handler,
            params=params(),
            errors=MappingProxyType(dict(errors or {})),
            refusals=MappingProxyType(dict(refusals or {})),
            answer=MappingProxyType(dict(answer or {})),
            error_message=error_message,
            error_list=error_list,
            needs=needs,
            permission=permission or _permission(name),
        )
        return handler

    return enter


@functools.cache
def _scan() -> None:
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"{commands.__name__}.{module.name}")


def find(name: str) -> Command | None:
    """The command of that name, in any case."""
    _scan()
    return _table.get(name.lower())


def all_commands() -> list[Command]:
    """Every command, sorted by name."""
    _scan()
    return sorted(_table.values(), key=lambda item: item.name)
