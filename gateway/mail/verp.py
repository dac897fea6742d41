"""Return paths that name their delivery and cannot be forged (VERP)."""

from __future__ import annotations

import base64
import binascii
import re
from itertools import islice

from gateway import vault

PREFIX = "b+"
_MAC = 10
"""80 bits: guessing one takes longer than any mail server would let you try."""

_PATH = re.compile(r"(?<![a-z0-9])b\+[a-z2-7]{18,29}@", re.IGNORECASE)
_TRIED = 20


def encode(delivery_id: int, host: str) -> str:
    """`b+<token>@<host>` for that delivery; the local part has at most 31 characters and survives case folding."""
    number = delivery_id.to_bytes((delivery_id.bit_length() + 7) // 8 or 1, "big")
    token = base64.b32encode(number + vault.sign("verp", number, _MAC)).decode("ascii")
    return f"{PREFIX}{token.rstrip('=').lower()}@{host}"


def decode(address: str) -> int | None:
    """The delivery that an envelope recipient names, None unless we made that token; any host, any case."""
    local = address.strip("<> \t").rpartition("@")[0].lower()
    if not local.startswith(PREFIX) or len(local) > 64:
        return None
    token = local[len(PREFIX) :].upper()
    try:
        data = base64.b32decode(token + "=" * (-len(token) % 8))
    except (binascii.Error, ValueError):
        return None
    if base64.b32encode(data).decode("ascii").rstrip("=") != token:
        return None  # base32 leaves bits at the end that mean nothing: one delivery has one token
    number, mac = data[:-_MAC], data[-_MAC:]
    if not 1 <= len(number) <= 8 or not vault.check("verp", number, mac):
        return None
    return int.from_bytes(number, "big")


def token(mail_from: str) -> str:
    """The token of a return path, letters and digits only, for providers that carry no envelope sender of ours.

    '' where the address is none of `encode`'s form.
    """
    local = mail_from.rpartition("@")[0]
    found = local[len(PREFIX) :]
    return found if local.startswith(PREFIX) and found.isalnum() and found.isascii() else ""


def decode_token(text: str) -> int | None:
    """The delivery that a token names, None unless we made it."""
    return decode(f"{PREFIX}{text}@-")


def find(text: str) -> int | None:
    """The delivery of the first genuine return path among the first of a text, None without one."""
    found = (decode(match[0]) for match in islice(_PATH.finditer(text), _TRIED))
    return next((number for number in found if number is not None), None)
