"""New DKIM key pairs of a sender domain, ready to be stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway import errors, ids, vault
from gateway.mail import dkim

_SELECTOR = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class NewKey:
    """`sealed` is the private key as the table keeps it, under the row identity `uuid`."""

    uuid: UUID
    selector: str
    algorithm: str
    sealed: bytes
    public: str


def made(*, beside: Sequence[NewKey] = ()) -> list[NewKey]:
    """An RSA and an Ed25519 key under two selectors nobody else has; slow.

    `beside` imported keys only an RSA key is made, and only where they have none: whoever moves here
    has published the others already.
    """
    # Two accounts may hold one name pending, so the selectors tell their keys apart in DNS.
    stem = f"cp{ids.token(8)}"
    algorithms = [dkim.RSA] if beside else [dkim.RSA, dkim.ED25519]
    have = {key.algorithm for key in beside}
    fresh = [_new(f"{stem}-{algorithm}", dkim.generate(algorithm)) for algorithm in algorithms if algorithm not in have]
    return [*beside, *fresh]


def imported(pairs: Sequence[tuple[str, str]]) -> list[NewKey]:
    """Keys brought along as (selector, PEM); raises `Invalid`."""
    keys: list[NewKey] = []
    for selector, pem in pairs:
        selector = selector.strip().lower()
        if len(selector) > 63 or not _SELECTOR.fullmatch(selector):
            raise errors.Invalid(f"{selector!r} is no DKIM selector", field="dkim")
        if any(key.selector == selector for key in keys):
            raise errors.Invalid(f"The DKIM selector {selector} is given twice", field="dkim")
        keys.append(_new(selector, dkim.adopt(pem)))
    return keys


def _new(selector: str, pair: dkim.KeyPair) -> NewKey:
    uuid = ids.new_uuid()
    sealed = vault.seal(pair.private, uuid.hex).encode("ascii")
    return NewKey(uuid, selector, pair.algorithm, sealed, pair.public)
