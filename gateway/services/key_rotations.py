"""The life of a domain's DKIM keys as people steer it: rotating, importing, canceling, retiring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway import clock, errors, jobs
from gateway.mail import dkim
from gateway.services import domain_keys, domain_schedule, domains, key_states, notices
from gateway.services.domain_keys import NewKey
from gateway.services.identity import Caller
from models.database import Transaction, in_transaction
from models.domain import DkimKey, SenderDomain
from models.vocabulary import KEY_PENDING, KEY_RETIRED, KEY_RETIRING, KEY_STANDBY, NoticeKind

GOOD_BITS = 2048
"""RFC 8301 §3.2: RSA keys should have so many at least."""


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key without its private half; `record` is what belongs at `host` in DNS, or may go from there."""

    selector: str
    algorithm: str
    bits: int
    state: str
    host: str
    record: str
    in_dns: bool | None
    created_ms: int
    seen_ms: int | None
    replaced_ms: int | None
    retire_ms: int | None
    retired_ms: int | None

    @property
    def may_be_removed(self) -> bool:
        """Whether its record may go from DNS."""
        return self.state == KEY_RETIRED

    @property
    def warning(self) -> str:
        """What is doubtful about the key, for people; mostly empty."""
        if self.algorithm == dkim.RSA and self.bits < GOOD_BITS:
            return f"The key has {self.bits} bits; {GOOD_BITS} are recommended (RFC 8301): rotate soon."
        return ""


def list_(*, caller: Caller, domain_id: int) -> list[KeyView]:
    """Every key of the domain, retired ones too, the oldest first; raises `NotFound`."""
    domain = domains.find(caller=caller, domain_id=domain_id)
    found = DkimKey.select().where(DkimKey.domain_id == domain.id).order_by(DkimKey.id)
    return [_view(domain, key) for key in found]


def rotate(*, caller: Caller, domain_id: int) -> list[KeyView]:
    """Make a new RSA and a new Ed25519 key that wait for their records; each signs once its own is in DNS.

    Until then, and wherever DNS does not show the new ones, the keys of now sign. Where a key stands by, that one is
    it: its record is there already, and another one stands by from now on. Raises `NotFound` and `RotationRunning`.
    """
    if domains.find(caller=caller, domain_id=domain_id).rotation_ms is not None:
        raise errors.RotationRunning
    if DkimKey.get_or_none(DkimKey.domain_id == domain_id, DkimKey.state == KEY_STANDBY) is not None:
        return _promote(caller, domain_id, domain_keys.standby())
    made = domain_keys.made()  # slow: never inside the transaction, nor for a caller who is refused
    return _begin(caller, domain_id, made, imported=False)


def import_key(*, caller: Caller, domain_id: int, selector: str, private_key: str) -> KeyView:
    """Take an existing key (PEM) that signs as soon as its record is seen in DNS, which is asked at once.

    Raises `NotFound`, `Invalid`, `SelectorInUse` and `RotationRunning`.
    """
    domain = domains.find(caller=caller, domain_id=domain_id)
    brought = domain_keys.imported([(selector, private_key)])
    if domain.rotation_ms is not None:
        raise errors.RotationRunning
    return _begin(caller, domain_id, brought, imported=True)[0]


def cancel(*, caller: Caller, domain_id: int) -> list[str]:
    """Take back the keys of the running rotation that do not sign yet; returns their selectors, [] when none runs."""

    def work(tx: Transaction) -> list[str]:
        domain = domains.locked(tx, caller, domain_id)
        if domain.rotation_ms is None:
            return []
        gone = [
            key
            for key in domain_keys.living([domain.id])
            if key.state == KEY_PENDING and key.created_ms >= domain.rotation_ms
        ]
        for key in gone:
            key.delete_instance()
        domain.rotation_ms = None
        domain.save()
        selectors = [key.selector for key in gone]
        _tell(tx, NoticeKind.DKIM_ROTATION_CANCELED, domain, selectors=selectors)
        return selectors

    canceled: list[str] = in_transaction(work)
    return canceled


def retire(*, caller: Caller, domain_id: int, selector: str, now: bool = False) -> KeyView:
    """Retire a key that signs no more, with `now` before its time (a key that leaked).

    Raises `NotFound`, and `KeyNeeded` for the key that signs, one that waits for its record, and one whose
    time has not come.
    """

    def work(tx: Transaction) -> KeyView:
        domain = domains.locked(tx, caller, domain_id)
        key = DkimKey.get_or_none(DkimKey.domain_id == domain.id, DkimKey.selector == selector.strip().lower())
        if key is None:
            raise errors.NotFound("There is no such DKIM key.", what="key")
        if key.state == KEY_RETIRED:
            return _view(domain, key)
        if key.state != KEY_RETIRING:
            word = "waits for its record: cancel the rotation" if key.state == KEY_PENDING else "signs: rotate first"
            raise errors.KeyNeeded(f"The DKIM key {key.selector} {word}.")
        if not now and key.retire_ms is not None and key.retire_ms > clock.now_ms():
            when = clock.rfc3339(key.retire_ms)
            raise errors.KeyNeeded(f"Mail under way may bear a signature of {key.selector} until {when}.")
        key_states.retire(tx, domain, key)
        return _view(domain, key)

    view: KeyView = in_transaction(work)
    return view


def _promote(caller: Caller, domain_id: int, next_one: NewKey) -> list[KeyView]:
    def work(tx: Transaction) -> list[KeyView]:
        domain = domains.locked(tx, caller, domain_id)
        key = DkimKey.get_or_none(DkimKey.domain_id == domain.id, DkimKey.state == KEY_STANDBY)
        if domain.rotation_ms is not None or key is None:
            raise errors.RotationRunning
        now = clock.now_ms()
        key.state, key.created_ms = KEY_PENDING, now
        key.save()
        domain_keys.insert(domain.id, next_one, state=KEY_STANDBY, now_ms=now)
        domain.rotation_ms = domain.next_check_ms = now
        domain.save()
        _tell(tx, NoticeKind.DKIM_ROTATION_STARTED, domain, selectors=[key.selector], imported=False)
        tx.after_commit(lambda: jobs.ring(jobs.DOMAINS), key=jobs.DOMAINS)
        return [_view(domain, key)]

    views: list[KeyView] = in_transaction(work)
    return views


def _begin(caller: Caller, domain_id: int, made: Sequence[NewKey], *, imported: bool) -> list[KeyView]:
    def work(tx: Transaction) -> list[KeyView]:
        domain = domains.locked(tx, caller, domain_id)
        if domain.rotation_ms is not None:
            raise errors.RotationRunning
        now = clock.now_ms()
        keys = []
        for new in made:
            if DkimKey.get_or_none(DkimKey.domain_id == domain.id, DkimKey.selector == new.selector) is not None:
                raise errors.SelectorInUse(f"The selector {new.selector} is in use, or was.")
            keys.append(domain_keys.insert(domain.id, new, state=KEY_PENDING, now_ms=now))
        domain.rotation_ms = now
        # An imported key is in DNS already, most likely; a made one is published by a person.
        domain.next_check_ms = now if imported else domain_schedule.next_check_ms(domain)
        domain.save()
        selectors = [key.selector for key in keys]
        _tell(tx, NoticeKind.DKIM_ROTATION_STARTED, domain, selectors=selectors, imported=imported)
        if imported:
            tx.after_commit(lambda: jobs.ring(jobs.DOMAINS), key=jobs.DOMAINS)
        return [_view(domain, key) for key in keys]

    views: list[KeyView] = in_transaction(work)
    return views


def _view(domain: SenderDomain, key: DkimKey) -> KeyView:
    return KeyView(
        selector=key.selector,
        algorithm=key.algorithm,
        bits=dkim.bits(key.algorithm, key.public),
        state=key.state,
        host=key_states.host(domain, key),
        record=dkim.dns_value(key.algorithm, key.public),
        in_dns=None if key.in_dns is None else bool(key.in_dns),
        created_ms=key.created_ms,
        seen_ms=key.seen_ms,
        replaced_ms=key.replaced_ms,
        retire_ms=key.retire_ms,
        retired_ms=key.retired_ms,
    )


def _tell(tx: Transaction, kind: NoticeKind, domain: SenderDomain, **data: Any) -> None:
    data = {"domain": domain.name, **data}
    notices.record(tx, kind, account_id=domain.account_id, domain_id=domain.id, data=data)
