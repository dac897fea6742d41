"""What DNS says of a sender domain: the records wanted, the last check of each, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway import clock, config
from gateway.dns.records import PublicKey, Purpose, WantedRecord, wanted
from gateway.dns.verify import Checked
from models.database import Transaction
from models.domain import DkimKey, SenderDomain
from models.vocabulary import CHECK_FAILED, CHECK_PENDING, CHECK_VERIFIED, DOMAIN_ENABLED, DOMAIN_PENDING

TAKEN = "The domain name is enabled in another account: ask the operator to release it there."


@dataclass(frozen=True, slots=True)
class RecordState:
    """A wanted record and what the last check said; `value` is what to publish, or what is there when verified."""

    purpose: Purpose
    host: str
    type: str
    value: str
    required: bool
    verified: bool = False
    note: str = ""  # why it is not verified, for people


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of one check; `problem` says why the domain is not enabled or what could not be asked."""

    domain: SenderDomain
    records: list[RecordState]
    problem: str = ""


def wanted_records(domain: SenderDomain, keys: Sequence[DkimKey]) -> list[WantedRecord]:
    """Every record that the domain with those DKIM keys should have under the current host name."""
    return wanted(
        domain=domain.name,
        token=domain.ownership_token,
        keys=[PublicKey(key.selector, key.algorithm, key.public) for key in keys],
        return_path=f"{domain.subdomain}.{domain.name}",
        hostname=config.settings().hostname,
    )


def states(domain: SenderDomain, keys: Sequence[DkimKey]) -> list[RecordState]:
    """The wanted records, each with what the last check said of it."""
    known = _last_check(domain)
    return [_state(record, known) for record in wanted_records(domain, keys)]


def verification_status(domain: SenderDomain) -> str:
    """`Verified` when ownership and DKIM passed at the last check, `Failed` when one did not, else `Pending`."""
    statuses = {domain.ownership_status, domain.dkim_status}
    if statuses == {CHECK_VERIFIED}:
        return CHECK_VERIFIED
    return CHECK_FAILED if CHECK_FAILED in statuses else CHECK_PENDING


def is_enabled_elsewhere(tx: Transaction, name: str, domain_id: int) -> bool:
    """Whether a domain other than `domain_id` holds the name enabled."""
    return bool(tx.rows("SELECT id FROM sender_domain WHERE enabled_name = ? AND id <> ?", (name, domain_id)))


def enable(domain: SenderDomain) -> None:
    """Set, not saved; the unique `enabled_name` refuses a second owner."""
    domain.status = DOMAIN_ENABLED
    domain.enabled_name = domain.name


def note(tx: Transaction, domain: SenderDomain, checked: Sequence[Checked]) -> Verification:
    """Write what DNS said into the row, and enable a pending domain when that is enough.

    Where DNS gave no usable answer, what was known stays as it was.
    """
    known = _last_check(domain)
    now_known = [_after(item, _state(item.record, known)) for item in checked]
    ownership, problem = _verdict(checked, Purpose.OWNERSHIP), ""
    if domain.status == DOMAIN_PENDING and ownership is not False and is_enabled_elsewhere(tx, domain.name, domain.id):
        ownership, problem = False, TAKEN
        now_known = [
            replace(state, verified=False, note=TAKEN) if state.purpose is Purpose.OWNERSHIP else state
            for state in now_known
        ]
    domain.ownership_status = _status(ownership, domain.ownership_status)
    domain.dkim_status = _status(_verdict(checked, Purpose.DKIM), domain.dkim_status)
    domain.spf_status = _status(_verdict(checked, Purpose.SPF), domain.spf_status)
    domain.checks = _packed(checked, now_known)
    domain.checked_ms = clock.now_ms()
    if verification_status(domain) == CHECK_VERIFIED:
        domain.verified_ms = domain.verified_ms or domain.checked_ms
        if domain.status == DOMAIN_PENDING:
            enable(domain)
    domain.save()
    _note_keys(domain, checked)
    return Verification(domain, now_known, problem or _unanswered(checked))


def _packed(checked: Sequence[Checked], now_known: Sequence[RecordState]) -> str:
    return json.dumps(
        [
            {
                "host": item.record.host,
                "wanted": item.record.value,
                "value": state.value,
                "verified": state.verified,
                "note": state.note,
            }
            for item, state in zip(checked, now_known, strict=True)
        ]
    )


def _last_check(domain: SenderDomain) -> dict[tuple[str, str], dict[str, Any]]:
    """By host and wanted value: a record that has changed since counts as unchecked."""
    return {(item["host"], item["wanted"]): item for item in json.loads(domain.checks)}


def _state(record: WantedRecord, known: dict[tuple[str, str], dict[str, Any]]) -> RecordState:
    state = RecordState(record.purpose, record.host, record.type, record.value, record.required)
    last = known.get((record.host, record.value))
    return replace(state, value=last["value"], verified=last["verified"], note=last["note"]) if last else state


def _after(item: Checked, before: RecordState) -> RecordState:
    if item.verified is None:
        return replace(before, note=item.note)
    return replace(before, value=item.value, verified=item.verified, note=item.note)


def _verdict(checked: Sequence[Checked], purpose: Purpose) -> bool | None:
    """Of DKIM the required (RSA) keys decide, and one published key is enough."""
    found = [item for item in checked if item.record.purpose is purpose]
    deciding = [item.verified for item in found if item.record.required] or [item.verified for item in found]
    if True in deciding:
        return True
    return None if None in deciding or not deciding else False


def _status(verdict: bool | None, before: str) -> str:
    if verdict is None:
        return before
    return CHECK_VERIFIED if verdict else CHECK_FAILED


def _note_keys(domain: SenderDomain, checked: Sequence[Checked]) -> None:
    """A published key signs; an Ed25519 key that is gone from DNS stops, the RSA key goes on."""
    for item in checked:
        if item.record.purpose is not Purpose.DKIM or item.verified is None:
            continue
        if not item.verified and item.record.required:
            continue
        DkimKey.update(state="active" if item.verified else "pending").where(
            DkimKey.domain_id == domain.id, DkimKey.selector == item.record.selector, DkimKey.state != "retired"
        ).execute()


def _unanswered(checked: Sequence[Checked]) -> str:
    hosts = [item.record.host for item in checked if item.verified is None]
    if not hosts:
        return ""
    return f"DNS gave no usable answer for {', '.join(hosts)}; what was known of them stays as it was. Try again."
