"""Addresses of ours that name a delivery and cannot be forged: a prefix, the number and an HMAC over it."""

from __future__ import annotations

import base64
import binascii

from gateway import vault

_MAC = 10
"""80 bits: guessing one takes longer than any mail server would let you try."""


def encode(prefix: str, purpose: str, delivery_id: int, host: str) -> str:
    """`<prefix><token>@<host>`; the local part has at most 31 characters and survives case folding."""
    number = delivery_id.to_bytes((delivery_id.bit_length() + 7) // 8 or 1, "big")
    token = base64.b32encode(number + vault.sign(purpose, number, _MAC)).decode("ascii")
    return f"{prefix}{token.rstrip('=').lower()}@{host}"


def decode(prefix: str, purpose: str, address: str) -> int | None:
    """The delivery that an envelope recipient names, None unless we made that token for the purpose.

    Any host, any case.
    """
    local = address.strip("<> \t").rpartition("@")[0].lower()
    if not local.startswith(prefix) or len(local) > 64:
        return None
    token = local[len(prefix) :].upper()
    try:
        data = base64.b32decode(token + "=" * (-len(token) % 8))
    except (binascii.Error, ValueError):
        return None
    if base64.b32encode(data).decode("ascii").rstrip("=") != token:
        return None  # base32 leaves bits at the end that mean nothing: one delivery has one token
    number, mac = data[:-_MAC], data[-_MAC:]
    if not 1 <= len(number) <= 8 or not vault.check(purpose, number, mac):
        return None
    return int.from_bytes(number, "big")
