"""The one source of randomness: identifiers, keys, passwords and jitter."""

from __future__ import annotations

import functools
import random
import secrets
import uuid
from typing import TypeVar

import uuid_utils

T = TypeVar("T")

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
_PAIRS = [high + low for high in _BASE32 for low in _BASE32]
_VALUES = {char: value for value, char in enumerate(_BASE32)}
_ID_LENGTH = 26

_random = random.SystemRandom()
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"


def new_uuid() -> uuid.UUID:
    """A version 7 UUID (RFC 9562 §5.7): sorts by time."""
    return uuid.UUID(bytes=new_bytes())


def new_bytes() -> bytes:
    """The 16 bytes of a version 7 UUID, for who makes many."""
    return uuid_utils.uuid7().bytes


def text_of(raw: bytes) -> str:
    """The UUID with these 16 bytes in its own form (RFC 9562 §4)."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def bytes_of(text: str) -> bytes:
    """The 16 bytes of a UUID in its own form."""
    return bytes.fromhex(text.replace("-", ""))


def time_of(uuid_: uuid.UUID) -> int:
    """When a version 7 UUID was made, in milliseconds since 1970 (RFC 9562 §5.7)."""
    return uuid_.int >> 80


def public_id(prefix: str, uuid_: uuid.UUID) -> str:
    """`msg_` and 26 characters of Crockford's base 32: sorts by time as the UUID does."""
    return public_of(prefix, uuid_.bytes)


def public_of(prefix: str, raw: bytes) -> str:
    """`public_id` of the UUID with these 16 bytes."""
    high, low, two = int.from_bytes(raw[6:11]), int.from_bytes(raw[11:]), _PAIRS
    return (
        f"{prefix}_{_time_digits(raw[:6])}"
        f"{two[high >> 30]}{two[high >> 20 & 1023]}{two[high >> 10 & 1023]}{two[high & 1023]}"
        f"{two[low >> 30]}{two[low >> 20 & 1023]}{two[low >> 10 & 1023]}{two[low & 1023]}"
    )


@functools.lru_cache(maxsize=64)
def _time_digits(raw: bytes) -> str:
    """The first ten of the characters: the time of a version 7 UUID, the same for many that are made at once."""
    value = int.from_bytes(raw)
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(40, -10, -10)])


def uuid_of(prefix: str, text: str) -> uuid.UUID | None:
    """The UUID of a public id with that prefix, or of a UUID in its own form; None for anything else."""
    head, _, digits = text.partition("_")
    if head != prefix or len(digits) != _ID_LENGTH:
        try:
            return uuid.UUID(text)
        except ValueError:
            return None
    value = 0
    for char in digits.upper():
        if char not in _VALUES:
            return None
        value = value << 5 | _VALUES[char]
    return uuid.UUID(int=value) if value < 1 << 128 else None


def short_id(uuid_: uuid.UUID) -> str:
    """24 lower-case hex digits: the time of a version 7 UUID, and its last 48 random bits."""
    return uuid_.hex[:12] + uuid_.hex[-12:]


def range_of_short(text: str) -> tuple[bytes, bytes, bytes] | None:
    """The first and the last UUID that a short id may belong to, and its last six bytes; None for anything else."""
    if len(text) != 24 or any(char not in "0123456789abcdefABCDEF" for char in text):
        return None
    head, tail = bytes.fromhex(text[:12]), bytes.fromhex(text[12:])
    return head + bytes(10), head + b"\xff" * 10, tail


def numbered(prefix: str, created_ms: int, number: int) -> str:
    """The public id of a row that has no UUID: made of its number, and of when it was made so that it sorts by time."""
    return public_id(prefix, uuid.UUID(int=(created_ms & (1 << 48) - 1) << 80 | 7 << 76 | 2 << 62 | number))


def number_of(prefix: str, text: str) -> int | None:
    """The row's number in an id of `numbered`; None for anything else."""
    if not text.startswith(f"{prefix}_"):
        return None
    found = uuid_of(prefix, text)
    return None if found is None else found.int & (1 << 62) - 1


def session_token() -> str:
    """32 lower-case hex digits."""
    return secrets.token_hex(16)


def octeth_key() -> str:
    """4 × 8 upper-case hex digits, e.g. `4D196964-B909FDD7-134A4E29-6B0E923E`."""
    text = secrets.token_hex(16).upper()
    return "-".join(text[i : i + 8] for i in range(0, 32, 8))


def surface_key(prefix: str) -> str:
    """`prefix` and 40 characters of base 56 (232 bits)."""
    return prefix + password(40)


def password(length: int = 24) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def token(length: int = 32) -> str:
    """`length` lower-case hex digits."""
    return secrets.token_hex((length + 1) // 2)[:length]


def jitter(fraction: float) -> float:
    """A factor between 1 − fraction and 1 + fraction."""
    return _random.uniform(1 - fraction, 1 + fraction)


def shuffled(items: list[T]) -> list[T]:
    return _random.sample(items, len(items))
