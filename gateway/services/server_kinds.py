"""The kinds of sending servers: what each is configured with, and which secrets it has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.dns import names

SMTP, MX, SES, MAILGUN, SENDGRID, RESEND, CAPTURE = "smtp", "mx", "ses", "mailgun", "sendgrid", "resend", "capture"
PROVIDERS = (SES, MAILGUN, SENDGRID, RESEND)
"""Kinds with an HTTP interface, whose events come home to a hook."""

TLS_WORDS = ("opportunistic", "required", "implicit", "off")
_ALIASES = {
    "amazon-ses": SES, "amazon_ses": SES, "aws-ses": SES, "aws_ses": SES, "aws": SES, "amazon": SES, "direct": MX,
}  # fmt: skip
_SECRET_LENGTH = 4000
_HOSTS = ("host", "endpoint")
_SENT = ("password", "api_key", "session_token")  # as they are; other secrets only sign

Read = Callable[[Any], Any]


class Unfit(ValueError):
    """A value that an option does not take, in words for the one who gave it."""


@dataclass(frozen=True, slots=True)
class Option:
    """`read` gives the value as it is kept, or raises `Unfit`; one without a `default` is left out where not given."""

    read: Read
    required: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Kind:
    """`secrets` are the names of its credentials, by whether it cannot do without."""

    name: str
    options: Mapping[str, Option]
    secrets: Mapping[str, bool]


def _text(pattern: str, what: str, most: int = 255) -> Read:
    form = re.compile(pattern)

    def read(value: Any) -> str:
        text = value.strip() if isinstance(value, str) else ""
        if not text or len(text) > most or not form.fullmatch(text):
            raise Unfit(f"should be {what}")
        return text

    return read


def _choice(*words: str) -> Read:
    def read(value: Any) -> str:
        text = str(value).strip().lower()
        if text not in words:
            raise Unfit("should be one of " + ", ".join(words))
        return text

    return read


def _number(low: int, high: int) -> Read:
    def read(value: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Unfit(f"should be a number from {low} to {high}")
        return value

    return read


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit("should be true or false")
    return value


def _host(value: Any) -> str:
    text = value.strip().rstrip(".") if isinstance(value, str) else ""
    literal = re.fullmatch(r"\[?([0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)\]?", text)
    if literal:
        return literal[1]
    try:
        name = names.a_labels(text)
    except UnicodeError:
        name = ""
    if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9])?", name) or ".." in name:
        raise Unfit("should be the name or the address of a host")
    return name


_ENDPOINT = Option(_text(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", "an http or https address without a query"))
_CONNECTIONS = Option(_number(1, 500))
_SECONDS = Option(_number(1, 300))
_TRACKING = Option(_switch)

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            SMTP,
            {
                "host": Option(_host, required=True),
                "port": Option(_number(1, 65_535)),
                "tls": Option(_choice(*TLS_WORDS), default="opportunistic"),
                "connections": _CONNECTIONS,
                "timeout": _SECONDS,
            },
            {"username": False, "password": False},
        ),
        Kind(MX, {}, {}),
        Kind(
            SES,
            {
                "region": Option(_text(r"[a-z0-9-]{1,40}", "a region such as eu-west-1"), required=True),
                "endpoint": _ENDPOINT,
                "configuration_set": Option(_text(r"[A-Za-z0-9_-]{1,64}", "the name of a configuration set")),
                "topic_arn": Option(
                    _text(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]{1,256}", "an SNS topic")
                ),
                "sns_endpoint": _ENDPOINT,
                "connections": _CONNECTIONS,
                "timeout": _SECONDS,
            },
            {"access_key_id": True, "secret_access_key": True, "session_token": False},
        ),
        Kind(
            MAILGUN,
            {
                "domain": Option(_host, required=True),
                "region": Option(_choice("us", "eu"), default="us"),
                "endpoint": _ENDPOINT,
                "connections": _CONNECTIONS,
                "timeout": _SECONDS,
                "tracking": _TRACKING,
            },
            {"api_key": True, "signing_key": False},
        ),
        Kind(
            SENDGRID,
            {
                "region": Option(_choice("global", "eu"), default="global"),
                "endpoint": _ENDPOINT,
                "connections": _CONNECTIONS,
                "timeout": _SECONDS,
                "tracking": _TRACKING,
            },
            {"api_key": True, "verification_key": False},
        ),
        Kind(
            RESEND,
            {"endpoint": _ENDPOINT, "connections": _CONNECTIONS, "timeout": _SECONDS},
            {"api_key": True, "signing_secret": False},
        ),
        Kind(CAPTURE, {}, {}),
    )
}


def kind_of(word: str) -> str | None:
    """The kind that a word names, by its own name or another that is in use (`amazon-ses`); None for any other."""
    text = word.strip().lower()
    return text if text in KINDS else _ALIASES.get(text)


def fault_of(kind: str, error: ValueError) -> dict[str, str]:
    """The fault in a transport's own words for what it cannot use, which begin with the field."""
    name, _, why = str(error).partition(": ")
    part = "credentials" if name in KINDS[kind].secrets else "config"
    return _fault(part, name, why) if why else {"field": "config", "message": str(error)[:300]}


def provider_word(kind: str) -> str:
    """What answers and events call a kind."""
    return "amazon-ses" if kind == SES else kind


def read_config(kind: str, given: Mapping[str, Any], faults: list[dict[str, str]]) -> dict[str, Any]:
    """The options as they are kept; what is wrong goes to `faults`."""
    options = KINDS[kind].options
    found = {name: option.default for name, option in options.items() if option.default is not None}
    for name, value in given.items():
        if name not in options:
            faults.append(_fault("config", name, f"is no option of {kind}"))
        elif value is None:
            found.pop(name, None)
        else:
            try:
                found[name] = options[name].read(value)
            except Unfit as error:
                faults.append(_fault("config", name, str(error)))
    named = {fault["field"] for fault in faults}
    faults += (
        _fault("config", name, f"is needed for {kind}")
        for name, option in options.items()
        if option.required and name not in found and f"config.{name}" not in named
    )
    return found


def read_credentials(
    kind: str, given: Mapping[str, Any], faults: list[dict[str, str]], known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What is `known` with what is given over it; None takes a secret back. What is wrong goes to `faults`."""
    secrets = KINDS[kind].secrets
    found = dict(known or {})
    for name, value in given.items():
        if name not in secrets:
            faults.append(_fault("credentials", name, f"is no credential of {kind}"))
        elif value is None or value == "":
            found.pop(name, None)
        elif not isinstance(value, str) or len(value) > _SECRET_LENGTH or "\0" in value:
            faults.append(_fault("credentials", name, f"should be a text of at most {_SECRET_LENGTH} characters"))
        else:
            found[name] = value
    named = {fault["field"] for fault in faults}
    faults += (
        _fault("credentials", name, f"is needed for {kind}")
        for name, needed in secrets.items()
        if needed and name not in found and f"credentials.{name}" not in named
    )
    if kind == SMTP and ("username" in found) != ("password" in found) and not faults:
        faults.append({"field": "credentials", "message": "username and password go together"})
    return found


def withheld(
    old: Mapping[str, Any], new: Mapping[str, Any], known: Mapping[str, str], given: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Faults for the `known` secrets that options would take to another host, where they are not given again.

    Whoever may change a server may not see its secrets, and could otherwise have them sent to a host of their own.
    """
    if all(old.get(name) == new.get(name) for name in _HOSTS):
        return []
    return [
        _fault("credentials", name, "has to be given again, for it would go to another host")
        for name in _SENT
        if name in known and name not in given
    ]


def _fault(part: str, name: str, why: str) -> dict[str, str]:
    return {"field": f"{part}.{name}"[:200], "message": f"{name[:100]} {why}"}
