"""Return paths that name their delivery and cannot be forged (VERP)."""

from __future__ import annotations

import re
from itertools import islice

from gateway.mail import signed_address

PREFIX = "b+"
_PURPOSE = "verp"
_PATH = re.compile(r"(?<![a-z0-9])b\+[a-z2-7]{18,29}@", re.IGNORECASE)
_TRIED = 20


def encode(delivery_id: int, host: str) -> str:
    """`b+<token>@<host>` for that delivery."""
    return signed_address.encode(PREFIX, _PURPOSE, delivery_id, host)


def decode(address: str) -> int | None:
    """The delivery that an envelope recipient names, None unless we made that token; any host, any case."""
    return signed_address.decode(PREFIX, _PURPOSE, address)


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
