"""The DKIM key pairs of a sender domain: new ones ready to be stored, and those it has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from gateway import config, errors, ids, vault
from gateway.mail import dkim
from models.domain import DkimKey
from models.vocabulary import KEY_RETIRED

_SELECTOR = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class NewKey:
    """`sealed` is the private key as the table keeps it, under the row identity `uuid`."""

    uuid: UUID
    selector: str
    algorithm: str
    sealed: bytes
    public: str
    standby: bool = False


def made(*, beside: Sequence[NewKey] = ()) -> list[NewKey]:
    """An RSA and an Ed25519 key under two selectors nobody else has, with a key zone one on standby too; slow.

    `beside` imported keys only an RSA key is made, and only where they have none: whoever moves here
    has published the others already.
    """
    # Two accounts may hold one name pending, so the selectors tell their keys apart in DNS.
    stem = f"cp{ids.token(8)}"
    algorithms = [dkim.RSA] if beside else [dkim.RSA, dkim.ED25519]
    have = {key.algorithm for key in beside}
    fresh = [_new(f"{stem}-{algorithm}", dkim.generate(algorithm)) for algorithm in algorithms if algorithm not in have]
    return [*beside, *fresh, *([standby()] if config.settings().dkim_zone and not beside else [])]


def standby() -> NewKey:
    """An RSA key for the next rotation, whose record is published with the others; slow."""
    return replace(_new(f"cp{ids.token(8)}-next", dkim.generate(dkim.RSA)), standby=True)


def imported(pairs: Sequence[tuple[str, str]]) -> list[NewKey]:
    """Keys brought along as (selector, PEM); raises `Invalid`."""
    keys: list[NewKey] = []
    for selector, pem in pairs:
        selector = selector.strip().lower()
        if len(selector) > 63 or not _SELECTOR.fullmatch(selector):
            raise errors.InvalidSelector(f"{selector!r} is no DKIM selector", field="dkim")
        if any(key.selector == selector for key in keys):
            raise errors.InvalidSelector(f"The DKIM selector {selector} is given twice", field="dkim")
        keys.append(_new(selector, dkim.adopt(pem)))
    return keys


def living(domain_ids: Iterable[int]) -> list[DkimKey]:
    """The keys of those domains that are not retired: RSA before Ed25519, the oldest first."""
    query = DkimKey.select().where(DkimKey.domain_id.in_(list(domain_ids)), DkimKey.state != KEY_RETIRED)
    return list(query.order_by(DkimKey.algorithm.desc(), DkimKey.id))


def insert(domain_id: int, key: NewKey, *, state: str, now_ms: int) -> DkimKey:
    """The stored row of a new key."""
    return DkimKey.create(
        uuid=key.uuid,
        domain_id=domain_id,
        selector=key.selector,
        algorithm=key.algorithm,
        private=key.sealed,
        public=key.public,
        state=state,
        created_ms=now_ms,
    )


def _new(selector: str, pair: dkim.KeyPair) -> NewKey:
    uuid = ids.new_uuid()
    sealed = vault.seal(pair.private, uuid.hex).encode("ascii")
    return NewKey(uuid, selector, pair.algorithm, sealed, pair.public)
