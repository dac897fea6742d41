"""The one writer of changes to the audit log: an entry goes down in the transaction of the change itself."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from gateway import clock, ids
from gateway.services import audit_calls, audit_entries, audit_redaction
from gateway.services.audit_entries import Entry
from gateway.services.audit_redaction import person
from gateway.services.identity import Caller
from models.database import Transaction
from models.vocabulary import AuditKind

__all__ = ["person", "print_of", "record"]

SYSTEM = "system"
"""Who acts where nobody asked: a job, a deadline, a provider's report."""


def record(
    tx: Transaction,
    *,
    caller: Caller | None,
    action: str,
    what: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    account_id: int | None = None,
    actor: str = "",
) -> None:
    """Write who changed what, with what was different before and after; committed with the change or not at all.

    `action` is a noun and a verb (`domain.update`), `what` the object (`domain:12`; `person(…)` for a recipient).
    Without `before` it was made, without `after` it is gone; of both only what differs is kept. Secrets are taken out
    here, whatever is handed in. `account_id` is the owner where that is not the caller; 0 is the installation. Without
    a caller it is whoever is known to call; `actor` is told where only the service knows.
    """
    call = audit_calls.current()
    owner = account_id if account_id is not None else caller.account_id if caller is not None else 0
    if caller is None and call is not None:
        caller = call.caller
    actor = (call.actor if call is not None else "") or actor or (caller.email if caller is not None else SYSTEM)
    entry = Entry(
        0, None, ids.new_uuid(), owner, clock.now_ms(), int(AuditKind.CHANGE), actor[:254],
        caller.key_id if caller is not None else None, "", call.door if call is not None else SYSTEM, action[:120],
        audit_redaction.text(what)[:190], call.ip[:45] if call is not None else "",
        call.request_id[:64] if call is not None else "", "ok", None, "", _data(before, after), "", "",
    )  # fmt: skip
    audit_entries.insert(tx, [dataclasses.replace(entry, mac=audit_entries.provisional(entry))])
    audit_calls.about(what)


def print_of(body: str | None) -> str | None:
    """Stands for a long text, or one that may name people: equal ones have equal prints."""
    return None if body is None else f"sha256:{hashlib.sha256(body.encode()).hexdigest()[:16]}"


def _data(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str | None:
    if before is None and after is None:
        return None
    if before is not None and after is not None:
        # Compared before anything is taken out: another secret is a change that is told without its value.
        differ = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        before = {name: before[name] for name in differ if name in before}
        after = {name: after[name] for name in differ if name in after}
    told = {"before": before, "after": after}
    return orjson.dumps(
        {name: audit_redaction.redacted(value) for name, value in told.items() if value is not None}
    ).decode()
