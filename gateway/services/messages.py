"""Accepting a message: the gates, then one transaction, then the answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway import ids, jobs
from gateway.mail.draft import Draft
from gateway.services import (
    acceptance,
    audit_calls,
    contents,
    expansions,
    gates,
    idempotency,
    key_usage,
    retention,
    verdicts,
)
from gateway.services.acceptance import Entry
from gateway.services.gates import Admitted, Prepared
from gateway.services.identity import Caller
from gateway.services.retention import Retention
from models import database as db
from models.group_commit import in_shared_transaction


@dataclass(slots=True)
class Accepted:
    """What the sender is told: the message is stored and promised."""

    raw: bytes  # the 16 bytes of its UUID
    row_id: int | None = None  # None where it is replayed
    replayed: bool = False  # an earlier request with the same idempotency key made it
    suppressed: list[str] = field(default_factory=list)

    @classmethod
    def earlier(cls, message_id: str) -> Accepted:
        """What an earlier request with the same idempotency key was told."""
        return cls(ids.bytes_of(message_id), replayed=True)

    @property
    def message_id(self) -> str:
        """Its UUID."""
        return ids.text_of(self.raw)


@dataclass(frozen=True, slots=True)
class Ready:
    """A draft that was checked and routed, to be stored in somebody's transaction."""

    entry: Entry
    content: contents.Prepared


def accept(caller: Caller, draft: Draft) -> Accepted:
    """Check, route and store a draft; returns once it is durable.

    Raises `AccountDisabled`, `AccountUnverified`, `DomainGone`, `DomainNotActive`, `NotAllowed` (a From
    that is not the domain's), `TemplateNotFound`, `InvalidTemplate`, `ListUnusable`, `Invalid`, `TooLarge`,
    `QuotaReached`, `SuppressedRecipient` (nobody is left), `IdempotencyMismatch`, `IdempotencyRunning`; then
    nothing is stored. Of a message to a list, whoever must not be written to is told from the rest later.
    """
    earlier = gates.answered(caller, draft)
    if earlier is not None:
        audit_calls.about(f"message:{earlier}")
        return Accepted.earlier(earlier)
    ready = make_ready(caller, draft)
    accepted = in_shared_transaction(lambda tx: store(tx, ready))
    audit_calls.about(f"message:{accepted.message_id}")
    return accepted


def make_ready(caller: Caller, draft: Draft) -> Ready:
    """The first half of `accept`, outside a transaction; raises what the gates of `accept` raise."""
    prepared = gates.prepare(caller, draft, {})
    content = contents.prepare(caller.account_id, prepared.kind, prepared.body)
    lanes = acceptance.lanes_of(prepared)
    return Ready(Entry(prepared.uuid.bytes, prepared, prepared.draft, prepared.recipients, lanes), content)


def store(tx: db.Transaction, ready: Ready) -> Accepted:
    """The second half, in the transaction of whoever has more to write with the message.

    Its last statements are those of the ledger. Raises what `accept` does.
    """
    entry = ready.entry
    prepared, draft = entry.gated, entry.draft
    entry.admitted = admitted = gates.admit(tx, prepared)
    if admitted.earlier is not None:
        return Accepted.earlier(admitted.earlier)
    entry.content_id = contents.store(tx, ready.content)
    entry.verdicts = verdicts.pack(prepared.trail)
    (message_id,) = acceptance.write(tx, [entry])
    if draft.keep_body_days is not None or draft.keep_metadata_days is not None:
        kept = Retention(draft.keep_body_days, draft.keep_metadata_days)
        retention.ask(tx, message_id=message_id, wanted=kept, now_ms=prepared.now_ms)
    if draft.list_id is not None:
        _expand(tx, message_id, prepared, entry.lanes[prepared.route], draft.list_id, admitted)
    if prepared.request is not None:
        idempotency.finish(tx, prepared.request, message_id=message_id, answer=entry.message_id)
    acceptance.record(tx, [message_id], [entry])
    if prepared.due_ms <= prepared.now_ms and draft.list_id is None:
        tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
    tx.after_commit(lambda: key_usage.count_sends(prepared.caller.key_id, 1), key=("sent", entry.message_id))
    return Accepted(entry.raw, message_id, suppressed=admitted.suppressed)


def replay(*, caller: Caller, endpoint: str, key: str, fingerprint: str) -> Accepted | None:
    """What the same request was answered before; None where it is new, or another one under that key.

    For a door that reads more than the request says: a template that is gone must not refuse what was accepted.
    """
    found = idempotency.replay(idempotency.Request(caller.account_id, endpoint, key, fingerprint))
    return None if found is None else Accepted.earlier(found)


def _expand(
    tx: db.Transaction, message_id: int, prepared: Prepared, lane_id: int, list_id: int, admitted: Admitted
) -> None:
    expansions.start(
        tx,
        message_id=message_id,
        account_id=prepared.caller.account_id,
        domain_id=prepared.sender.id,
        list_id=list_id,
        lane_id=lane_id,
        upto=admitted.upto,
        total=admitted.count,
        due_ms=prepared.due_ms,
        expires_ms=prepared.expires_ms,
        now_ms=prepared.now_ms,
        metered=prepared.draft.metered,
        conditions=prepared.audience.conditions if prepared.audience is not None else None,
    )
    if prepared.held:
        expansions.pause(tx, message_id=message_id, paused=True)
