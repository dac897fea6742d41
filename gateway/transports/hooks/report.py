"""One thing that a provider says of one message, in our words, with its own beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import clock
from gateway.mail import classify
from gateway.transports.provider import REFERENCE
from models.vocabulary import EventKind

PERMANENT, TRANSIENT, UNDETERMINED = "permanent", "transient", "undetermined"
"""Classes of a refusal: it would come again tomorrow, it might not, nobody knows."""

DAY_MS = clock.DAY_MS

_CODE = re.compile(r"(?<![\d.])([245]\d\d)(?![\d.])")


class BadSignature(Exception):
    """The call is not the provider's, or is a repetition of one that was; the text is for the log."""


class Unreadable(Exception):
    """The call is the provider's, and its body is not what the provider describes."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a hook; header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body; raises `Unreadable`."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise Unreadable("the body is no JSON") from None


@dataclass(frozen=True, slots=True)
class Report:
    """`kind` None: a word that means nothing here, kept as it came. `id` is the same when it is told again.

    `token` is what we gave the provider with the message. `class_`, `category`, `code` and `enhanced` are of
    refusals, `ip`, `agent`, `url` and `machine` of opens and clicks.
    """

    id: str
    type: str  # the provider's word
    kind: EventKind | None
    token: str
    at_ms: int | None
    raw: bytes
    rcpt: str = ""
    reply: str = ""
    mx: str = ""
    class_: str = ""
    category: str = ""
    code: int | None = None
    enhanced: str = ""
    feedback: str = ""
    ip: str = ""
    agent: str = ""
    url: str = ""
    machine: bool = False  # the provider holds it for a machine's


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call says. A `nonce` may come once; `confirm` is to be fetched before the call is answered."""

    reports: tuple[Report, ...] = ()
    nonce: str = ""
    confirm: str = ""


def refusal(text: str, *, code: Any = None, enhanced: Any = "", fallback: str = "") -> dict[str, Any]:
    """The fields of a `Report` that a refusal's words give; `fallback` is the category where those say nothing."""
    text = text[:4096]
    number = code if isinstance(code, int) and 200 <= code < 600 else None
    if number is None:
        found = _CODE.search(text)
        number = int(found[1]) if found else None
    status = classify.enhanced_code(str(enhanced or "")) or classify.enhanced_code(text)
    known = bool(text or status)
    category = classify.category(number or 0, status, text) if known else ""
    return {"reply": text, "code": number, "enhanced": status, "category": category or fallback}


def text(found: Any, *path: str) -> str:
    """The text at a path of keys, '' where there is none."""
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


def token(found: Any) -> str:
    """The reference among what a provider gives back: an object of texts or of lists, or a list of name and value."""
    if isinstance(found, Mapping):
        value = found.get(REFERENCE)
        if isinstance(value, list):
            value = value[0] if value else ""
        return value if isinstance(value, str) else ""
    if isinstance(found, list):
        return next((text(one, "value") for one in found if text(one, "name") == REFERENCE), "")
    return ""


def at_ms(value: Any) -> int | None:
    """Milliseconds of Unix seconds or an RFC 3339 time."""
    return clock.moment_ms(value)


def fresh(ms: int | None, *, past_ms: int, ahead_ms: int = 5 * 60 * 1000) -> None:
    """Raise `BadSignature` for a call that was signed too long ago, or in the future."""
    if ms is None or not clock.now_ms() - past_ms <= ms <= clock.now_ms() + ahead_ms:
        raise BadSignature("it was signed at another time")
