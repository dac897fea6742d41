"""What DNS says of a sender domain: the records wanted, the last check of each, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway import clock, config
from gateway.dns.records import PublicKey, Purpose, WantedRecord, wanted
from gateway.dns.verify import Checked
from gateway.services import domain_drift, domain_keys, domain_schedule, key_states, record_history
from gateway.services.record_history import RecordState
from models.database import Transaction
from models.domain import DkimKey, SenderDomain
from models.vocabulary import (
    CHECK_FAILED,
    CHECK_PENDING,
    CHECK_VERIFIED,
    DOMAIN_ENABLED,
    DOMAIN_PENDING,
    KEY_ACTIVE,
    KEY_RETIRED,
)

TAKEN = "The domain name is enabled in another account: ask the operator to release it there."

_ENABLING = (Purpose.OWNERSHIP, Purpose.DKIM)
_STATUSES = {Purpose.OWNERSHIP: "ownership_status", Purpose.DKIM: "dkim_status", Purpose.SPF: "spf_status"}


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
        keys=[PublicKey(key.selector, key.algorithm, key.public, key.state == KEY_ACTIVE) for key in keys],
        return_path=f"{domain.subdomain}.{domain.name}",
        hostname=config.settings().hostname,
        tracking=domain.tracking_host or "",
        zone=config.settings().dkim_zone,
    )


def wanted_of(domain: SenderDomain) -> list[WantedRecord]:
    """`wanted_records` with the keys that the domain has now."""
    return wanted_records(domain, domain_keys.living([domain.id]))


def states(domain: SenderDomain, keys: Sequence[DkimKey]) -> list[RecordState]:
    """The wanted records, each with what the last check said of it."""
    known = _last_check(domain)
    return [_state(domain, record, known) for record in wanted_records(domain, keys)]


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


def note(tx: Transaction, domain: SenderDomain, checked: Sequence[Checked], *, scheduled: bool = False) -> Verification:
    """Write what DNS said into the row and its keys, and enable a pending domain when that is enough.

    Where DNS gave no usable answer, what was known stays as it was. Who asks is told what DNS says now; a
    `scheduled` check lets a record be missing for a while before a status is `Failed` (DRIFT_HOURS) and before
    the domain stops sending for want of its ownership or DKIM record (DISABLE_HOURS).
    """
    now, known = clock.now_ms(), _last_check(domain)
    before = [_state(domain, item.record, known) for item in checked]
    now_known = [
        record_history.after(state, item, scheduled=scheduled, now_ms=now)
        for state, item in zip(before, checked, strict=True)
    ]
    problem = ""
    if domain.status == DOMAIN_PENDING and _is_there(now_known, Purpose.OWNERSHIP):
        problem = TAKEN if is_enabled_elsewhere(tx, domain.name, domain.id) else ""
    if problem:
        now_known = [
            replace(state, verified=False, note=TAKEN) if state.purpose is Purpose.OWNERSHIP else state
            for state in now_known
        ]
    domain.checks = json.dumps(
        [record_history.packed(item.record, state) for item, state in zip(checked, now_known, strict=True)]
    )
    domain.checked_ms = now
    keys = domain_keys.living([domain.id])
    answers = {item.record.selector: item.verified for item in checked if item.verified is not None}
    key_states.settle(tx, domain, keys, answers)
    records = states(domain, [key for key in keys if key.state != KEY_RETIRED])
    answered = {item.record.host for item in checked if item.verified is not None}
    for purpose, column in _STATUSES.items():
        status = _status(_deciding(records, purpose), answered, getattr(domain, column), scheduled=scheduled)
        setattr(domain, column, status)
    domain_drift.tell(tx, domain, before, now_known)
    if all(_is_there(records, purpose) for purpose in _ENABLING):
        domain.verified_ms = domain.verified_ms or now
        if domain.status == DOMAIN_PENDING:
            enable(domain)
            domain_drift.tell_enabled(tx, domain, "its records are in DNS")
    elif scheduled and domain.status == DOMAIN_ENABLED:
        _disable_when_lost(tx, domain, records)
    drifting = any(state.missing_ms is not None for state in records)
    unanswered = len(answered) < len({item.record.host for item in checked})
    due_ms = domain_schedule.next_check_ms(domain, drifting=drifting, unanswered=unanswered)
    # Who asks often must not hold up the scheduled checks, which alone count what is missing.
    domain.next_check_ms = due_ms if scheduled else min(due_ms, domain.next_check_ms or due_ms)
    domain.save()
    return Verification(domain, records, problem or _unanswered(checked))


def disable(domain: SenderDomain) -> None:
    """Set, not saved: an enabled domain waits for its records again, and its name is free for who proves it."""
    domain.status, domain.enabled_name, domain.pending_ms = DOMAIN_PENDING, None, clock.now_ms()


def _disable_when_lost(tx: Transaction, domain: SenderDomain, records: Sequence[RecordState]) -> None:
    hours = config.settings().disable_hours
    for purpose in _ENABLING:
        deciding = _deciding(records, purpose)
        if deciding and all(state.is_lost(hours) for state in deciding):
            disable(domain)
            hosts = ", ".join(state.host for state in deciding)
            domain_drift.tell_disabled(tx, domain, f"{hosts} has been missing in DNS for {hours} hours")
            return


def _last_check(domain: SenderDomain) -> dict[tuple[str, str], dict[str, Any]]:
    """By host and wanted value: a record that has changed since counts as unchecked."""
    return {(item["host"], item["wanted"]): item for item in json.loads(domain.checks)}


def _state(domain: SenderDomain, record: WantedRecord, known: Mapping[tuple[str, str], dict[str, Any]]) -> RecordState:
    kept = known.get((record.host, record.value))
    if kept is None:
        return record_history.first(record)
    return record_history.unpacked(record, kept, checked_ms=domain.checked_ms)


def _deciding(records: Sequence[RecordState], purpose: Purpose) -> list[RecordState]:
    """Of DKIM the required (RSA) key that signs decides."""
    found = [state for state in records if state.purpose is purpose]
    return [state for state in found if state.required] or found


def _is_there(records: Sequence[RecordState], purpose: Purpose) -> bool:
    return any(state.verified for state in _deciding(records, purpose))


def _status(deciding: Sequence[RecordState], answered: Container[str], before: str, *, scheduled: bool) -> str:
    if any(state.verified and state.host in answered for state in deciding):
        return CHECK_VERIFIED
    if not deciding or any(state.host not in answered for state in deciding):
        return before
    if scheduled and not all(state.is_lost(config.settings().drift_hours) for state in deciding):
        return before
    return CHECK_FAILED


def _unanswered(checked: Sequence[Checked]) -> str:
    hosts = [item.record.host for item in checked if item.verified is None]
    if not hosts:
        return ""
    return f"DNS gave no usable answer for {', '.join(hosts)}; what was known of them stays as it was. Try again."
