"""Which words of messages and events the search index holds, as numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from functools import lru_cache

from gateway.services.event_query import words
from models.vocabulary import EventKind

_TOP_LEVEL = frozenset({"com", "de", "co", "io", "net", "org", "uk"})
_FREQUENT = {
    "subject": frozenset(
        {"a", "an", "and", "are", "at", "for", "from", "in", "is", "it", "of", "on", "or", "our", "re", "the", "to"}
        | {"with", "you", "your"}
    ),
    "from": _TOP_LEVEL,
    "to": _TOP_LEVEL,
    "mx": _TOP_LEVEL,
    "response": frozenset("0123456789") | {"250"},
}
"""Words that nearly everything says: their postings would cost much and narrow nothing."""

_ORDINARY = frozenset({EventKind.ACCEPTED, EventKind.DELIVERED})


@lru_cache(maxsize=65536)
def number(field: str, word: str) -> int:
    """The term of a word in a field: 63 bits."""
    digest = hashlib.blake2b(f"{field}:{word}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def held(field: str, word: str, own: Collection[str]) -> bool:
    """Whether the index holds that word of that field. `own` are the words of the sender domain's name,
    which every From says.
    """
    return word not in _FREQUENT[field] and not (field == "from" and word in own)


def of_text(field: str, text: str, own: Collection[str] = ()) -> set[int]:
    return {number(field, word) for word in words(text) if held(field, word, own)}


def of_name(field: str, text: str) -> int | None:
    """The one term of a tag or an address: these are compared as a whole. None where it has no words."""
    found = words(text)
    return number(field, " ".join(found)) if found else None


def of_mx(mx_id: int) -> int:
    """The term of a row of the dictionary of hosts."""
    return number("mx_id", str(mx_id))


def of_kind(kind: int) -> int | None:
    """None for the kinds that nearly every message has."""
    return None if kind in _ORDINARY else number("kind", str(int(kind)))


def of_message(own: Collection[str], subject: str, sender: Iterable[str], tags: Iterable[str]) -> set[int]:
    """The terms that hold for all events of a message."""
    found = of_text("subject", subject)
    for text in sender:
        found |= of_text("from", text, own)
    return found | {term for tag in tags if (term := of_name("tag", tag)) is not None}
