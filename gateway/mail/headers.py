"""Header fields as bytes: what a customer may set, RFC 2047 encoding and folding."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from gateway.errors import Invalid

NAME_SIZE = 76
"""Longest name: with its colon and a space it leaves a line of 78 (RFC 5322 §2.1.1)."""
VALUE_SIZE = 8192
"""Longest custom value in characters: receivers cap the whole header section, often at 64 kB."""
LINE = 78
WORD = 75
"""Longest encoded word (RFC 2047 §2)."""
UNBROKEN = 900
"""A longer run without white space cannot be folded under the hard limit of 998 octets."""

_FTEXT = re.compile(r"[!-9;-~]{1,76}\Z")
_FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BREAKS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]+")
_SAFE = re.compile(r"[ \t!-~]*\Z")
_CHUNK = re.compile(rb"[ \t]*[^ \t]+")

OWNED = frozenset(
    {"from", "to", "cc", "bcc", "sender", "reply-to", "subject", "date", "message-id", "mime-version"}
    | {"return-path", "received", "received-spf", "authentication-results", "dkim-signature", "domainkey-signature"}
    | {"delivered-to", "apparently-to", "x-original-to"}
)
"""Set by us or by the next hops, or with a field of its own in every request: refused as custom headers."""
OWNED_PREFIXES = ("content-", "resent-", "arc-")

_STRUCTURED = frozenset(
    {"in-reply-to", "references", "auto-submitted", "precedence", "importance", "priority", "x-priority"}
    | {"feedback-id", "disposition-notification-to", "return-receipt-to", "errors-to"}
)


def is_structured(name: str) -> bool:
    """Whether encoded words have no meaning in that field, so that it must be ASCII (RFC 2047 §5)."""
    lower = name.lower()
    return lower in _STRUCTURED or lower.startswith("list-")


def check_custom(name: str, value: str) -> tuple[str, str]:
    """The name and value of a customer's header, stripped; raises `Invalid`.

    Refused: names that are not RFC 5322 ftext of 1..76 characters, names we own (`OWNED`,
    `OWNED_PREFIXES`), values with control characters (tab excepted), line separators or lone
    surrogates, values over 8,192 characters, empty values, and for fields without encoded words
    (List-*, References …) what is not ASCII or cannot be folded.
    """
    if not isinstance(name, str) or not isinstance(value, str):
        raise Invalid("A header is a name and a text.", field="Headers")
    name, value = name.strip(" \t"), value.strip(" \t")
    shown = name[:NAME_SIZE]
    if not _FTEXT.match(name):
        raise Invalid("A header name has 1 to 76 printable ASCII characters without spaces or colons.", field="Headers")
    lower = name.lower()
    if lower in OWNED or lower.startswith(OWNED_PREFIXES):
        raise Invalid(f"The header {shown} is set by the gateway.", field="Headers")
    if not value or len(value) > VALUE_SIZE or _FORBIDDEN.search(value):
        raise Invalid(f"The header {shown} has an empty, too long or unsafe value.", field="Headers")
    if is_structured(lower) and (
        not value.isascii() or "=?" in value or max(map(len, value.replace("\t", " ").split(" "))) > UNBROKEN
    ):
        raise Invalid(f"The header {shown} must be ASCII and foldable.", field="Headers")
    return name, value


def one_line(text: str) -> str:
    """`text` as it will stand in a header: line breaks and control characters become one space, ends stripped."""
    return _BREAKS.sub(" ", text).encode("utf-8", "replace").decode().strip(" \t")


def encoded_words(text: str, first: int = WORD) -> list[str]:
    """RFC 2047 encoded words of at most 75 characters, the first of at most `first`; never splits a character.

    Q with the alphabet that is safe in phrases, or B where that is shorter. Joined by white space
    they decode to `text`.
    """
    data = text.encode("utf-8", "replace")
    as_q = len(data) + 2 * len(data.translate(None, _Q_SAFE)) <= len(data) * 4 // 3
    room = max(first, 24) - 12
    words: list[str] = []
    current: list[str] = []
    size = 0
    for character in text:
        octets = character.encode("utf-8", "replace")
        piece = "".join([_Q[octet] for octet in octets]) if as_q else character
        grown = size + (len(piece) if as_q else len(octets))
        if current and (grown if as_q else (grown + 2) // 3 * 4) > room:
            words.append(_word(current, as_q))
            current, grown, room = [], grown - size, WORD - 12
        current.append(piece)
        size = grown
    words.append(_word(current, as_q))
    return words


def _word(pieces: list[str], as_q: bool) -> str:
    joined = "".join(pieces)
    if as_q:
        return f"=?utf-8?q?{joined}?="
    return f"=?utf-8?b?{base64.b64encode(joined.encode('utf-8', 'replace')).decode('ascii')}?="


_Q_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/ "
_Q = ["_" if octet == 32 else chr(octet) if octet in _Q_SAFE else f"={octet:02X}" for octet in range(256)]


def fold(name: str, value: str) -> bytes:
    """One unstructured field with its CRLF: plain where it can be, else encoded words.

    Unfolded and decoded the value is `one_line(value)`. Lines are at most 78 octets where white
    space allows, never over 998 (RFC 5322 §2.1.1).
    """
    if len(name) + len(value) <= LINE - 2 and _plain(value):
        return f"{name}: {value}\r\n".encode("ascii")
    value = one_line(value)
    if _plain(value):
        chunks = _CHUNK.findall(value.encode("ascii"))
        if all(len(chunk) <= UNBROKEN for chunk in chunks):
            return _wrapped(name, chunks)
    words = encoded_words(value, LINE - 2 - len(name))
    # A name of 76 leaves no room for a word on the first line.
    start = f"{name}:\r\n " if len(name) + 2 + len(words[0]) > LINE else f"{name}: "
    return (start + "\r\n ".join(words) + "\r\n").encode("ascii")


def _plain(value: str) -> bool:
    return (
        "=?" not in value
        and _SAFE.match(value) is not None
        and value[:1] not in (" ", "\t")
        and value[-1:] not in (" ", "\t")
    )


def _wrapped(name: str, chunks: Iterable[bytes]) -> bytes:
    """Chunks are white space and a word: breaking before the white space keeps it and leaves no blank line."""
    lines: list[bytes] = []
    current = f"{name}: ".encode("ascii")
    start = len(current)
    for chunk in chunks:
        if len(current) > start and len(current) + len(chunk) > LINE:
            lines.append(current)
            current, start = chunk, 0
        else:
            current += chunk
    lines.append(current)
    return b"\r\n".join(lines) + b"\r\n"


def structured(name: str, value: str) -> bytes:
    """One field whose value is ASCII already and may fold at its white space; raises `Invalid` where it cannot."""
    value = one_line(value)
    if not value.isascii():
        raise Invalid(f"The header {name} must be ASCII.", field="Headers")
    if len(name) + len(value) <= LINE - 2:
        return f"{name}: {value}\r\n".encode("ascii")
    return _wrapped(name, _CHUNK.findall(value.encode("ascii")))


def listed(name: str, items: Iterable[str]) -> bytes:
    """A field of comma-separated items (mailboxes), folded between them and at their spaces.

    Items come from `address.format_mailbox`; an item with an internationalised address stays UTF-8 (RFC 6532).
    """
    text = ", ".join(items)
    if len(name) + len(text) <= LINE - 2:
        return f"{name}: {text}\r\n".encode()
    return _wrapped(name, _CHUNK.findall(text.encode("utf-8")))
