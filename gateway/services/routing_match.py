"""What mail a routing rule is for: conditions, all of which have to hold."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.dns import names
from gateway.mail.draft import PURPOSES
from models.vocabulary import Stream

CONDITIONS = ("domain", "purpose", "tag", "recipient_domain", "list", "min_size", "max_size")
"""Names of the conditions; of one with several values any value is enough."""

_SYNONYMS = {
    "from_domain": "domain", "sender_domain": "domain", "domains": "domain", "from": "domain",
    "to_domain": "recipient_domain", "recipient_domains": "recipient_domain", "to": "recipient_domain",
    "tags": "tag", "purposes": "purpose", "lists": "list", "list_id": "list", "stream": "purpose",
}  # fmt: skip
_VALUES_MOST = 200
_LENGTH_MOST = 255
_SIZE_MOST = 2**40
_PATTERN = re.compile(r"[^\s@]+")


@dataclass(frozen=True, slots=True)
class Mail:
    """What a rule may look at in a message; the recipient's domain comes apart, for it differs within one."""

    domain_id: int
    from_domain: str
    purpose: str
    tags: tuple[str, ...]
    size: int
    list_id: int | None


@dataclass(frozen=True, slots=True)
class Match:
    """Empty conditions hold for all mail."""

    domain: tuple[str, ...] = ()
    purpose: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    recipient_domain: tuple[str, ...] = ()
    list: tuple[int, ...] = ()
    min_size: int | None = None
    max_size: int | None = None

    def fits(self, mail: Mail) -> bool:
        """Whether all conditions hold but that on the recipient's domain."""
        if self.domain and not _any(self.domain, mail.from_domain):
            return False
        if self.purpose and not _any(self.purpose, mail.purpose):
            return False
        if self.tag and not any(_any(self.tag, tag.lower()) for tag in mail.tags):
            return False
        if self.list and mail.list_id not in self.list:
            return False
        if self.min_size is not None and mail.size < self.min_size:
            return False
        return self.max_size is None or mail.size <= self.max_size

    def fits_recipient(self, domain: str) -> bool:
        return not self.recipient_domain or _any(self.recipient_domain, domain)

    def dump(self) -> dict[str, Any]:
        """The conditions that there are."""
        found: dict[str, Any] = {}
        for name in CONDITIONS:
            value = getattr(self, name)
            if value not in ((), None):
                found[name] = [*value] if isinstance(value, tuple) else value
        return found


def load(stored: Mapping[str, Any]) -> Match:
    """What `dump` gave."""
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    return Match(**found)


def purpose_word(text: str, stream: Stream) -> str:
    """The purpose that rules see: as asked for, else that of the stream; marketing and broadcast are bulk."""
    word = text.strip().lower()
    if not word:
        return stream.name.lower()
    return PURPOSES[word].name.lower() if word in PURPOSES else word


def read(given: Mapping[str, Any], faults: list[dict[str, str]]) -> Match:
    """Conditions as a client writes them; what is wrong goes to `faults`."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = _SYNONYMS.get(key, key)
        if name == "size" and isinstance(value, Mapping) and set(value) <= {"min", "max"}:
            for end, size in value.items():
                found[f"{end}_size"] = _size(size, f"match.size.{end}", faults)
        elif name not in CONDITIONS:
            text = f"{str(key)[:50]} is no condition; there are {', '.join(CONDITIONS)}"
            faults.append({"field": f"match.{str(key)[:50]}", "message": text})
        elif value is None:
            continue
        elif name in ("min_size", "max_size"):
            found[name] = _size(value, f"match.{name}", faults)
        else:
            found[name] = _values(name, value, faults)
    low, high = found.get("min_size"), found.get("max_size")
    if low is not None and high is not None and low > high:
        faults.append({"field": "match.max_size", "message": "max_size should not be below min_size"})
    return Match(**found)


def _values(name: str, value: Any, faults: list[dict[str, str]]) -> tuple[Any, ...]:
    some = value if isinstance(value, list) else [value]
    field = f"match.{name}"
    if not 0 < len(some) <= _VALUES_MOST:
        faults.append({"field": field, "message": f"{name} should have 1 to {_VALUES_MOST} values"})
        return ()
    read_one = {"list": _number, "purpose": _word, "tag": _tag}.get(name, _domain)
    found = []
    for one in some:
        try:
            found.append(read_one(one))
        except ValueError as error:
            faults.append({"field": field, "message": f"{name} {error}"})
            return ()
    return tuple(dict.fromkeys(found))


def _text(value: Any) -> str:
    text = value.strip().lower() if isinstance(value, str) else ""
    if not text or len(text) > _LENGTH_MOST or not text.isprintable():
        raise ValueError(f"should be a text of 1 to {_LENGTH_MOST} characters")
    return text


def _word(value: Any) -> str:
    text = _text(value)
    return PURPOSES[text].name.lower() if text in PURPOSES else text


def _tag(value: Any) -> str:
    return _text(value)


def _domain(value: Any) -> str:
    text = _text(value).removeprefix("@").rstrip(".")
    if not _PATTERN.fullmatch(text):
        raise ValueError("should be a domain, in which * stands for anything")
    try:
        return names.a_labels(text)
    except UnicodeError:
        raise ValueError("should be a domain, in which * stands for anything") from None


def _number(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        raise ValueError("should be the number of a list")
    return value


def _size(value: Any, field: str, faults: list[dict[str, str]]) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _SIZE_MOST:
        faults.append({"field": field, "message": f"{field} should be a number of bytes"})
        return None
    return value


def _any(patterns: tuple[str, ...], text: str) -> bool:
    return any(_pattern(one)(text) for one in patterns)


@functools.lru_cache(maxsize=4096)
def _pattern(text: str) -> Any:
    """Whether a text is what the pattern says; only `*` has a meaning."""
    if "*" not in text:
        return text.__eq__
    escaped = "".join(f"[{char}]" if char in "?[" else char for char in text)
    return re.compile(fnmatch.translate(escaped)).match
