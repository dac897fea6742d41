"""Sender domains: adding, finding and verifying them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

import peewee
import pymysql

from gateway import clock, errors, ids, vault
from gateway.dns import names
from gateway.dns import verify as dns_check
from gateway.mail import dkim as signing
from gateway.services import audit, domain_checks, domain_drift, domain_keys, domain_schedule
from gateway.services.domain_checks import Verification, verification_status
from gateway.services.domain_keys import NewKey, imported, made
from gateway.services.identity import Caller
from gateway.services.record_history import RecordState
from models.database import Transaction, in_transaction
from models.domain import DkimKey, SenderDomain
from models.vocabulary import (
    CHECK_PENDING,
    CHECK_VERIFIED,
    DOMAIN_PENDING,
    DOMAIN_SUSPENDED,
    KEY_ACTIVE,
    KEY_PENDING,
    KEY_RETIRED,
    KEY_STANDBY,
)

__all__ = [
    "RecordState",
    "Verification",
    "add",
    "dkim_keys",
    "find",
    "find_by_name",
    "find_by_uuid",
    "list_",
    "locked",
    "narrowed",
    "records",
    "records_of",
    "return_path_host",
    "signing_key",
    "verification_status",
    "verify",
]

T = TypeVar("T")

RETURN_PATH_LABEL = "bounce"
_ROW_MOST = 2**31 - 1


def add(
    *,
    caller: Caller,
    name: str,
    trusted: bool = False,
    id: int | None = None,
    signing_key: str | None = None,
    dkim: Sequence[tuple[str, str]] = (),
) -> SenderDomain:
    """Add a sender domain with its DKIM keys, ownership token and webhook signing key.

    A deleted domain comes back pending, as it was. `trusted` skips DNS and enables at once; `id`,
    `signing_key` and `dkim` (pairs of selector and PEM private key) are imports from elsewhere.
    Raises `InvalidDomainName`, `DomainExists`, `DomainLimitReached`, `Invalid`.
    """
    name = names.sender_name(name)
    if id is not None and not 0 < id <= _ROW_MOST:
        raise errors.Invalid(f"A domain's id is from 1 to {_ROW_MOST}", field="id")
    if signing_key is not None and not 0 < len(signing_key) <= 255:
        raise errors.Invalid("A signing key has 1 to 255 characters", field="signing_key")
    brought = imported(dkim)
    known = _named(caller.account_id, name)
    if known is not None and known.deleted_ms is None:
        raise errors.DomainExists
    _check_limit(caller)
    # An RSA key costs up to 0.1 s of one core: never inside the transaction, nor for a caller who is refused.
    keys = brought if known is not None else made(beside=brought)

    def work(tx: Transaction) -> SenderDomain:
        # One at a time for an account: the limit is counted and then used.
        tx.rows("SELECT id FROM account WHERE id = ?" + _lock(tx), (caller.account_id,))
        domain = _named(caller.account_id, name)
        if domain is not None and domain.deleted_ms is None:
            raise errors.DomainExists
        _check_limit(caller)
        if trusted and domain_checks.is_enabled_elsewhere(tx, name, domain.id if domain is not None else 0):
            raise errors.DomainExists(domain_checks.TAKEN)
        if id is not None and (domain.id != id if domain is not None else _is_taken(tx, id)):
            raise errors.Invalid(f"There is already a domain with the id {id}", field="id")
        if domain is None:
            domain = _insert(caller, name, id, signing_key or ids.token(64))
        else:
            _restore(domain, signing_key)
        _store_keys(domain, keys, trusted=trusted)
        if trusted:
            _trust(domain)
            domain_drift.tell_enabled(tx, domain, "the operator trusts it")
        domain.next_check_ms = domain_schedule.next_check_ms(domain)
        domain.save()
        told = {"name": name, "status": domain.status, "trusted": trusted, "selectors": [key.selector for key in keys]}
        audit.record(tx, caller=caller, action="domain.create", what=f"domain:{domain.id}", after=told)
        return domain

    return _despite_race(work)


def find(*, caller: Caller, domain_id: int, past: bool = False) -> SenderDomain:
    """The caller's domain; raises `NotFound` for an absent, deleted or foreign one alike.

    `past` finds a deleted one too, for an account that reads its history; a key of it stays refused.
    """
    domain = None
    if 0 < domain_id <= _ROW_MOST and caller.covers(domain_id):
        domain = SenderDomain.get_or_none(SenderDomain.account_id == caller.account_id, SenderDomain.id == domain_id)
        if domain is not None and domain.deleted_ms is not None and not (past and caller.domain_id is None):
            domain = None
    if domain is None:
        raise errors.NotFound("There is no such sender domain.", what="domain")
    return domain


def find_by_name(*, caller: Caller, name: str) -> SenderDomain:
    """The caller's domain of that name in any spelling; raises `NotFound`."""
    try:
        wanted_name = names.sender_name(name)
    except errors.InvalidDomainName:
        raise errors.NotFound("There is no such sender domain.", what="domain") from None
    domain: SenderDomain | None = _live(caller.account_id).where(SenderDomain.name == wanted_name).first()
    if domain is None or not caller.covers(domain.id):
        raise errors.NotFound("There is no such sender domain.", what="domain")
    return domain


def find_by_uuid(*, caller: Caller, uuid: UUID) -> SenderDomain:
    """The caller's domain; raises `NotFound`."""
    domain: SenderDomain | None = _live(caller.account_id).where(SenderDomain.uuid == uuid).first()
    if domain is None or not caller.covers(domain.id):
        raise errors.NotFound("There is no such sender domain.", what="domain")
    return domain


def find_public(*, caller: Caller, domain_id: str) -> SenderDomain:
    """The caller's domain by its UUID or as `dom_…`; raises `NotFound`."""
    uuid = ids.uuid_of("dom", domain_id)
    if uuid is None:
        raise errors.NotFound("There is no such sender domain.", what="domain")
    return find_by_uuid(caller=caller, uuid=uuid)


def narrowed(*, caller: Caller, name: str) -> Caller:
    """A caller of several domains as one of that domain alone; raises `NotFound`."""
    return replace(caller, domain_id=find_by_name(caller=caller, name=name).id, domain_ids=())


def list_(*, caller: Caller) -> list[SenderDomain]:
    """The caller's domains, the oldest first."""
    query = _live(caller.account_id)
    if caller.domain_id is not None:
        query = query.where(SenderDomain.id.in_([caller.domain_id, *caller.domain_ids]))
    return list(query.order_by(SenderDomain.id))


def verify(*, caller: Caller, domain_id: int, timeout: float = dns_check.TIMEOUT) -> Verification:
    """Ask DNS for every wanted record, within `timeout` seconds, and note the results; raises `NotFound`.

    Ownership and the RSA key enable a pending domain, and a new DKIM key whose record is there signs. Where DNS
    gave no usable answer, what was known stays as it was. A record that is missing is a result, not an error.
    """
    domain = find(caller=caller, domain_id=domain_id)
    checked = dns_check.check(domain_checks.wanted_of(domain), timeout=timeout)

    def work(tx: Transaction) -> Verification:
        return domain_checks.note(tx, locked(tx, caller, domain_id), checked)

    return _despite_race(work)


def locked(tx: Transaction, caller: Caller, domain_id: int) -> SenderDomain:
    """The caller's domain, whose row nobody else changes before the commit; raises `NotFound`."""
    tx.rows(f"SELECT id FROM sender_domain WHERE id = ? AND account_id = ?{_lock(tx)}", (domain_id, caller.account_id))
    return find(caller=caller, domain_id=domain_id)


def records(domain: SenderDomain) -> list[RecordState]:
    """Every record that the domain should have, with what the last check said of it."""
    return records_of([domain])[domain.id]


def records_of(domains: Sequence[SenderDomain]) -> dict[int, list[RecordState]]:
    """`records` of many domains by their id, with one query for hundreds of them."""
    keys: dict[int, list[DkimKey]] = {domain.id: [] for domain in domains}
    found = list(keys)
    for at in range(0, len(found), 500):
        for key in domain_keys.living(found[at : at + 500]):
            keys[key.domain_id].append(key)
    return {domain.id: domain_checks.states(domain, keys[domain.id]) for domain in domains}


def signing_key(domain: SenderDomain) -> str:
    """The key that signs the domain's webhooks."""
    return vault.unseal(domain.signing_key, domain.uuid.hex)


def dkim_keys(domain_id: int) -> list[tuple[str, str, str]]:
    """(selector, algorithm, PEM private key) of every key that signs now; reading is slow, so cache it."""
    return [
        (key.selector, key.algorithm, vault.unseal(bytes(key.private).decode("ascii"), key.uuid.hex))
        for key in domain_keys.living([domain_id])
        if key.state == KEY_ACTIVE
    ]


def return_path_host(domain: SenderDomain) -> str:
    """The host of the envelope sender's address."""
    return f"{domain.subdomain}.{domain.name}"


def _live(account_id: int) -> Any:
    return SenderDomain.select().where(SenderDomain.account_id == account_id, SenderDomain.deleted_ms.is_null())


def _named(account_id: int, name: str) -> SenderDomain | None:
    """Deleted ones too."""
    return SenderDomain.get_or_none(SenderDomain.account_id == account_id, SenderDomain.name == name)


def _lock(tx: Transaction) -> str:
    return " FOR UPDATE" if tx.dialect == "mysql" else ""


def _despite_race(work: Callable[[Transaction], T]) -> T:
    """Two servers may take one unique name in the same moment: the loser looks again and is refused in words."""
    try:
        return in_transaction(work)
    except (peewee.IntegrityError, pymysql.err.IntegrityError):
        return in_transaction(work)


def _check_limit(caller: Caller) -> None:
    most = caller.plan.max_domains
    if most is not None and _live(caller.account_id).count() >= most:
        raise errors.DomainLimitReached


def _is_taken(tx: Transaction, domain_id: int) -> bool:
    return bool(tx.rows("SELECT id FROM sender_domain WHERE id = ?", (domain_id,)))


def _insert(caller: Caller, name: str, domain_id: int | None, key: str) -> SenderDomain:
    uuid = ids.new_uuid()
    return SenderDomain.create(
        **({"id": domain_id} if domain_id is not None else {}),
        uuid=uuid,
        account_id=caller.account_id,
        name=name,
        status=DOMAIN_PENDING,
        subdomain=RETURN_PATH_LABEL,
        ownership_token=ids.token(32),
        signing_key=vault.seal(key, uuid.hex),
        created_ms=clock.now_ms(),
        pending_ms=clock.now_ms(),
    )


def _restore(domain: SenderDomain, key: str | None) -> None:
    """Pending again, its keys and token kept: what the owner published before still counts, once it is seen."""
    domain.deleted_ms = None
    if domain.status != DOMAIN_SUSPENDED:  # deleting is no way out of a suspension
        domain.status = DOMAIN_PENDING
    domain.enabled_name = None
    domain.pending_ms, domain.rotation_ms = clock.now_ms(), None
    domain.ownership_status = domain.dkim_status = domain.spf_status = CHECK_PENDING
    domain.checks, domain.checked_ms, domain.verified_ms = "[]", None, None
    if key is not None:
        domain.signing_key = vault.seal(key, domain.uuid.hex)
    domain.save()


def _store_keys(domain: SenderDomain, keys: Sequence[NewKey], *, trusted: bool) -> None:
    for key in keys:
        DkimKey.delete().where(DkimKey.domain_id == domain.id, DkimKey.selector == key.selector).execute()
        DkimKey.update(state=KEY_RETIRED, retire_ms=None, retired_ms=clock.now_ms()).where(
            DkimKey.domain_id == domain.id, DkimKey.algorithm == key.algorithm
        ).execute()
    for key in keys:
        # A signature whose key is not in DNS reads as broken, so Ed25519 waits until it is seen there.
        state = KEY_ACTIVE if trusted or key.algorithm == signing.RSA else KEY_PENDING
        if key.standby:
            state = KEY_STANDBY
        domain_keys.insert(domain.id, key, state=state, now_ms=clock.now_ms())


def _trust(domain: SenderDomain) -> None:
    """The operator's word stands for ownership and DKIM."""
    domain_checks.enable(domain)
    domain.ownership_status = domain.dkim_status = CHECK_VERIFIED
    domain.verified_ms = clock.now_ms()
    domain.save()
    keys = domain_keys.living([domain.id])
    signing_already = {key.algorithm for key in keys if key.state == KEY_ACTIVE}
    for key in keys:
        # The keys of a rotation that was under way wait for their records all the same.
        if key.state == KEY_PENDING and key.algorithm not in signing_already:
            key.state = KEY_ACTIVE
            key.save()
