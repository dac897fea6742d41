"""The notices about the DNS records of a sender domain: gone, back, and what that meant for sending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway import clock, config
from gateway.services import notices
from gateway.services.record_history import RecordState
from models.database import Transaction
from models.domain import SenderDomain
from models.vocabulary import NoticeKind

_HOUR_MS = 3_600_000


def tell(tx: Transaction, domain: SenderDomain, before: Sequence[RecordState], after: Sequence[RecordState]) -> None:
    """One notice of the records that went since the check before, one of those that came back."""
    pairs = list(zip(before, after, strict=True))
    gone = [now for then, now in pairs if then.missing_ms is None and now.missing_ms is not None]
    back = [now for then, now in pairs if then.missing_ms is not None and now.verified]
    if gone:
        grace_ms = clock.now_ms() + config.settings().drift_hours * _HOUR_MS
        records = [_shown(state) for state in gone]
        _record(tx, NoticeKind.DOMAIN_RECORDS_DRIFTED, domain, records=records, failed_ms=grace_ms)
    if back:
        _record(tx, NoticeKind.DOMAIN_RECORDS_RESTORED, domain, records=[_shown(state) for state in back])


def tell_enabled(tx: Transaction, domain: SenderDomain, cause: str) -> None:
    _record(tx, NoticeKind.DOMAIN_ENABLED, domain, cause=cause)


def tell_disabled(tx: Transaction, domain: SenderDomain, cause: str) -> None:
    _record(tx, NoticeKind.DOMAIN_DISABLED, domain, cause=cause)


def _shown(state: RecordState) -> dict[str, str]:
    return {"purpose": state.purpose.value, "host": state.host, "type": state.type, "note": state.note}


def _record(tx: Transaction, kind: NoticeKind, domain: SenderDomain, **data: Any) -> None:
    data = {"domain": domain.name, **data}
    notices.record(tx, kind, account_id=domain.account_id, domain_id=domain.id, data=data)
