"""Notices: facts about what an account has (its domains, its keys) that are not about one delivery."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway import clock, errors
from gateway.services import audit, webhook_outbox
from gateway.services.identity import Caller
from models import database as db
from models.database import Transaction
from models.vocabulary import NoticeKind

MOST_LISTED = 100

_NO_CHANGES = frozenset(
    {
        NoticeKind.AUTOMATION_TRIGGERED,
        NoticeKind.AUTOMATION_NOTICE,
        NoticeKind.MESSAGE_RECEIVED,
        NoticeKind.SUBSCRIBER_UNSUBSCRIBED,
        NoticeKind.SUBSCRIBER_CONFIRMED,
    }
)
"""Notices of what people do all the time: no changes for the audit log, and they name recipients."""

_log = logging.getLogger("commandpost.notices")


@dataclass(frozen=True, slots=True)
class Notice:
    """One fact; `data` has what belongs to its kind and nothing secret."""

    id: int
    domain_id: int | None
    kind: str
    at_ms: int
    data: dict[str, Any]


def record(
    tx: Transaction, kind: NoticeKind, *, account_id: int, domain_id: int | None = None, data: Mapping[str, Any]
) -> None:
    """Write the fact with the change that makes it true, for the webhooks that ask for it too.

    It is logged once that is committed.
    """
    made = tx.execute(
        "INSERT INTO notice (account_id, domain_id, kind, at_ms, data) VALUES (?, ?, ?, ?, ?)",
        (account_id, domain_id, kind.value, clock.now_ms(), json.dumps(data)),
    )
    if kind not in _NO_CHANGES:
        what = f"domain:{domain_id}" if domain_id is not None else f"account:{account_id}"
        audit.record(tx, caller=None, account_id=account_id, action=kind.value, what=what, after=data)
    webhook_outbox.put_notice(tx, kind, notice_id=made.lastrowid, account_id=account_id, domain_id=domain_id)
    extra = {"kind": kind.value, "account_id": account_id, "domain_id": domain_id, "facts": dict(data)}
    tx.after_commit(lambda: _log.info("notice", extra=extra))


def list_(
    *,
    caller: Caller,
    domain_id: int | None = None,
    kind: str | None = None,
    before: int | None = None,
    count: int = MOST_LISTED,
) -> list[Notice]:
    """The account's notices, the newest first; those with ids below `before`, of one domain, of one kind.

    A deleted domain's stay readable. Raises `NotFound` for a domain that is not the caller's.
    """
    conditions = ["account_id = ?"]
    wanted = domain_id if domain_id is not None else caller.domain_id
    params: list[Any] = [caller.account_id]
    if wanted is not None:
        own = "SELECT id FROM sender_domain WHERE id = ? AND account_id = ?"
        if caller.domain_id not in (None, wanted) or not db.rows(own, (wanted, caller.account_id)):
            raise errors.NotFound("There is no such sender domain.", what="domain")
        conditions.append("domain_id = ?")
        params.append(wanted)
    if kind is not None:
        conditions.append("kind = ?")
        params.append(kind)
    if before is not None:
        conditions.append("id < ?")
        params.append(before)
    found = db.rows(
        f"SELECT id, domain_id, kind, at_ms, data FROM notice WHERE {' AND '.join(conditions)}"
        " ORDER BY id DESC LIMIT ?",
        [*params, min(count, MOST_LISTED)],
    )
    return [Notice(row[0], row[1], row[2], row[3], json.loads(row[4])) for row in found]


def load(notice_ids: Sequence[int]) -> dict[int, Notice]:
    """The notices with those ids; one that is gone is left out."""
    if not notice_ids:
        return {}
    found = db.rows(
        f"SELECT id, domain_id, kind, at_ms, data FROM notice WHERE id IN ({', '.join('?' * len(notice_ids))})",
        notice_ids,
    )
    return {row[0]: Notice(row[0], row[1], row[2], row[3], json.loads(row[4])) for row in found}
