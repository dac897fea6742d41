"""Which DKIM keys sign: what follows for each key of a domain from what DNS says of its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway import clock
from gateway.mail import dkim
from gateway.services import notices
from models.database import Transaction
from models.domain import DkimKey, SenderDomain
from models.vocabulary import KEY_ACTIVE, KEY_PENDING, KEY_RETIRED, KEY_RETIRING, KEY_STANDBY, NoticeKind

KEEP_MS = 7 * clock.DAY_MS
"""How long the record of a key stays after it signed last: mail is looked at days after it left."""


def settle(tx: Transaction, domain: SenderDomain, keys: Sequence[DkimKey], answers: Mapping[str, bool]) -> None:
    """Write what DNS said for certain of the selectors in `answers`, and let the right keys sign.

    Of each algorithm the newest key whose record is in DNS signs. Where no record is there, the RSA key that signs
    goes on, for a domain always has one, and Ed25519 stops. A key that is replaced is `retiring` and comes back
    should the record of its successor vanish. Ends the rotation that has nothing left to wait for; `domain` is
    changed, not saved.
    """
    now = clock.now_ms()
    for key in keys:
        seen = answers.get(key.selector)
        if seen is None:
            continue
        if seen and key.state == KEY_PENDING and not key.in_dns:
            _tell(tx, NoticeKind.DKIM_SEEN, domain, key)
        key.in_dns = seen
        if seen:
            key.seen_ms = now
    for algorithm in (dkim.RSA, dkim.ED25519):
        _switch(tx, domain, [key for key in keys if key.algorithm == algorithm and key.state != KEY_STANDBY], now)
    for key in keys:
        key.save()
    if domain.rotation_ms is not None and not waiting(domain, keys):
        domain.rotation_ms = None


def waiting(domain: SenderDomain, keys: Sequence[DkimKey]) -> list[DkimKey]:
    """The keys that the running rotation waits for: the RSA keys made by it, or all where it made none."""
    if domain.rotation_ms is None:
        return []
    made = [key for key in keys if key.created_ms >= domain.rotation_ms]
    deciding = [key for key in made if key.algorithm == dkim.RSA] or made
    return [key for key in deciding if key.state == KEY_PENDING]


def retire(tx: Transaction, domain: SenderDomain, key: DkimKey) -> None:
    """Nothing signs with it again: its private half is destroyed, its selector stays taken."""
    key.state, key.private = KEY_RETIRED, b""
    key.retire_ms, key.retired_ms = None, clock.now_ms()
    key.save()
    _tell(tx, NoticeKind.DKIM_RETIRED, domain, key, host=host(domain, key))


def host(domain: SenderDomain, key: DkimKey) -> str:
    """Where its record is (RFC 6376 §3.6.2.1)."""
    return f"{key.selector}._domainkey.{domain.name}"


def _switch(tx: Transaction, domain: SenderDomain, keys: Sequence[DkimKey], now: int) -> None:
    """`keys` are of one algorithm, the oldest first."""
    before = next((key for key in reversed(keys) if key.state == KEY_ACTIVE), None)
    signer = next((key for key in reversed(keys) if key.in_dns), None)
    if signer is None and before is not None and (before.algorithm == dkim.RSA or before.in_dns is None):
        signer = before
    for key in keys:
        if key is signer:
            key.state, key.replaced_ms, key.retire_ms = KEY_ACTIVE, None, None
        elif signer is None or key.id > signer.id:
            if key.state == KEY_ACTIVE:
                key.state = KEY_PENDING
        elif key.state == KEY_PENDING or (key.state == KEY_ACTIVE and key.in_dns is False and key.seen_ms is None):
            retire(tx, domain, key)  # nothing that it signed could be verified
        elif key.state == KEY_ACTIVE:
            key.state, key.replaced_ms, key.retire_ms = KEY_RETIRING, now, now + KEEP_MS
    if signer is not None and signer is not before:
        _tell(tx, NoticeKind.DKIM_SWITCHED, domain, signer, replaced=before.selector if before else None)


def _tell(tx: Transaction, kind: NoticeKind, domain: SenderDomain, key: DkimKey, **data: Any) -> None:
    notices.record(
        tx,
        kind,
        account_id=domain.account_id,
        domain_id=domain.id,
        data={"domain": domain.name, "selector": key.selector, "algorithm": key.algorithm, **data},
    )
