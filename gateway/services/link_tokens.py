"""Signed tokens in links of delivered mail: they say themselves what they are for, so that no row has to."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import IntEnum

from gateway import vault

LENGTH_MOST = 3000
"""Characters of a token: with its host it stays below what servers and mail clients take as one URL."""

_VERSION = 1
_PURPOSE = "link"
_MAC = 12
"""96 bits: a token is guessed against a server, never at home."""


class Kind(IntEnum):
    """What a link does; a token of one kind is none of another. Numbers are never reused."""

    CLICK = 1  # the payload is the target URL
    OPEN = 2  # no payload
    UNSUBSCRIBE = 3
    CONFIRM = 4  # the number is that of a subscriber
    TRAP = 5  # no payload


@dataclass(frozen=True, slots=True)
class Link:
    """What a genuine token says."""

    kind: Kind
    delivery_id: int
    payload: bytes


def encode(kind: Kind, delivery_id: int, payload: bytes = b"") -> str:
    """The URL-safe token: version, kind, delivery, payload and an HMAC over all of it."""
    number = delivery_id.to_bytes((delivery_id.bit_length() + 7) // 8, "big")
    data = bytes((_VERSION, kind, len(number))) + number + payload
    return base64.urlsafe_b64encode(data + vault.sign(_PURPOSE, data, _MAC)).decode("ascii").rstrip("=")


def decode(kind: Kind, token: str) -> Link | None:
    """What the token says, None unless we made it, as it stands, for that kind; under any current secret."""
    if len(token) > LENGTH_MOST or not token.isascii():
        return None
    try:
        data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return None
    # Foreign characters are skipped and the last bits mean nothing: one link has one token.
    if base64.urlsafe_b64encode(data).decode("ascii").rstrip("=") != token:
        return None
    said, mac = data[:-_MAC], data[-_MAC:]
    if len(said) < 3 or said[0] != _VERSION or said[1] != kind or len(said) < 3 + said[2]:
        return None
    if not vault.check(_PURPOSE, said, mac):
        return None
    end = 3 + said[2]
    return Link(kind, int.from_bytes(said[3:end], "big"), said[end:])
