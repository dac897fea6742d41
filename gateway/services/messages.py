"""Accepting a message: the gates, then one transaction, then the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway import jobs
from gateway.mail.draft import Draft, Mailbox
from gateway.services import audit_calls, contents, expansions, gates, idempotency, lanes, ledger, retention, verdicts
from gateway.services.gates import Admitted, Prepared
from gateway.services.identity import Caller
from gateway.services.ledger import Fact
from gateway.services.retention import Retention
from models import database as db
from models.group_commit import in_shared_transaction
from models.vocabulary import DeliveryState, EventKind

_INSERT_DELIVERY = (
    "INSERT INTO delivery (message_id, account_id, domain_id, rcpt, merge, state, fence, attempts, lane_id, due_ms,"
    " expires_ms) VALUES "
)
_DELIVERY_CHUNK = 500


@dataclass(slots=True)
class Accepted:
    """What the sender is told: the message is stored and promised."""

    message_id: str  # UUID
    row_id: int | None = None  # None where it is replayed
    replayed: bool = False  # an earlier request with the same idempotency key made it
    suppressed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Placed:
    """What is made in transactions of its own before the accepting one."""

    lanes: dict[str, int]  # by route
    content: contents.Prepared
    headers: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A draft that was checked and routed, to be stored in somebody's transaction."""

    prepared: Prepared
    placed: _Placed


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
        return Accepted(earlier, replayed=True)
    ready = make_ready(caller, draft)
    accepted = in_shared_transaction(lambda tx: store(tx, ready))
    audit_calls.about(f"message:{accepted.message_id}")
    return accepted


def make_ready(caller: Caller, draft: Draft) -> Ready:
    """The first half of `accept`, outside a transaction; raises what the gates of `accept` raise."""
    prepared = gates.prepare(caller, draft, {})
    return Ready(prepared, _place(prepared))


def store(tx: db.Transaction, ready: Ready) -> Accepted:
    """The second half, in the transaction of whoever has more to write with the message.

    Its last statements are those of the ledger. Raises what `accept` does.
    """
    return _store(tx, ready.prepared, ready.placed)


def replay(*, caller: Caller, endpoint: str, key: str, fingerprint: str) -> Accepted | None:
    """What the same request was answered before; None where it is new, or another one under that key.

    For a door that reads more than the request says: a template that is gone must not refuse what was accepted.
    """
    found = idempotency.replay(idempotency.Request(caller.account_id, endpoint, key, fingerprint))
    return None if found is None else Accepted(found, replayed=True)


def _place(prepared: Prepared) -> _Placed:
    caller, draft = prepared.caller, prepared.draft
    wanted = {prepared.route} if not prepared.routes else {*prepared.routes.values()}
    if len(prepared.routes) < len(prepared.recipients):
        wanted.add(prepared.route)
    made = {
        route: lanes.lane_id(
            account_id=caller.account_id,
            domain_id=prepared.sender.id,
            stream=draft.in_stream,
            route=route,
            own=draft.own_lane,
        )
        for route in wanted
    }
    content = contents.prepare(caller.account_id, prepared.kind, prepared.body)
    return _Placed(made, content, orjson.dumps(headers(draft)).decode())


def headers(draft: Draft) -> dict[str, Any]:
    """What the rendered header needs; short keys because every message stores it. Never the Bcc."""
    found: dict[str, Any] = {"from": _pair(draft.sender), "to": [_pair(box) for box in draft.to]}
    if draft.cc:
        found["cc"] = [_pair(box) for box in draft.cc]
    if draft.reply_to:
        found["reply_to"] = [_pair(box) for box in draft.reply_to]
    if draft.headers:
        found["custom"] = [list(pair) for pair in draft.headers]
    if draft.defaults:
        found["defaults"] = draft.defaults
    if draft.list_id is not None:
        found["list"] = draft.list_id
        if draft.variables:
            found["variables"] = draft.variables
        if draft.purpose or draft.server:
            # Its subscribers' ways are chosen later.
            found["routing"] = [draft.purpose, draft.server]
    return found


def _pair(box: Mailbox) -> list[str]:
    return [box.name, box.email]


def _store(tx: db.Transaction, prepared: Prepared, placed: _Placed) -> Accepted:
    draft, caller, sender = prepared.draft, prepared.caller, prepared.sender
    admitted = gates.admit(tx, prepared)
    if admitted.earlier is not None:
        return Accepted(admitted.earlier, replayed=True)
    uuid = prepared.uuid
    cursor = tx.execute(
        "INSERT INTO message (uuid, account_id, domain_id, api_key_id, smtp_login_id, stream, live, content_id,"
        " from_addr, subject, tags, headers, metadata, size, track_opens, track_links, send_at_ms, created_ms,"
        " verdicts, origin) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            uuid.bytes,
            caller.account_id,
            sender.id,
            caller.key_id,
            draft.smtp_login_id,
            int(draft.in_stream),
            caller.live,
            contents.store(tx, placed.content),
            draft.sender.email,
            draft.subject,
            orjson.dumps(draft.tags).decode(),
            placed.headers,
            orjson.dumps(draft.metadata).decode() if draft.metadata else None,
            len(prepared.body),
            sender.track_opens if draft.track_opens is None else draft.track_opens,
            sender.track_links if draft.track_links is None else draft.track_links,
            draft.send_at_ms,
            prepared.now_ms,
            orjson.dumps(verdicts.ordered(prepared.trail)).decode(),
            draft.origin,
        ),
    )
    message_id = int(cursor.lastrowid)
    if draft.keep_body_days is not None or draft.keep_metadata_days is not None:
        kept = Retention(draft.keep_body_days, draft.keep_metadata_days)
        retention.ask(tx, message_id=message_id, wanted=kept, now_ms=prepared.now_ms)
    if draft.list_id is None:
        _insert_deliveries(tx, message_id, prepared, placed.lanes, set(admitted.suppressed))
    else:
        _expand(tx, message_id, prepared, placed.lanes[prepared.route], draft.list_id, admitted)
    if prepared.request is not None:
        idempotency.finish(tx, prepared.request, message_id=message_id, answer=str(uuid))
    ledger.record(tx, _facts(tx, message_id, prepared, admitted))
    if prepared.due_ms <= prepared.now_ms and draft.list_id is None:
        tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
    return Accepted(str(uuid), message_id, suppressed=admitted.suppressed)


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
    )


def _insert_deliveries(
    tx: db.Transaction, message_id: int, prepared: Prepared, lanes_: dict[str, int], suppressed: set[str]
) -> None:
    sender = prepared.sender
    live = (message_id, sender.account_id, sender.id)
    rows = [
        (*live, rcpt, None, int(DeliveryState.SUPPRESSED), 0, 0, None, None, prepared.expires_ms)
        if rcpt in suppressed
        else (
            *live,
            rcpt,
            None,
            int(DeliveryState.QUEUED),
            0,
            0,
            lanes_[prepared.route_of(rcpt)],
            prepared.due_ms,
            prepared.expires_ms,
        )
        for rcpt in prepared.recipients
    ]
    for start in range(0, len(rows), _DELIVERY_CHUNK):
        some = rows[start : start + _DELIVERY_CHUNK]
        marks = ",".join(["(?,?,?,?,?,?,?,?,?,?,?)"] * len(some))
        tx.execute(_INSERT_DELIVERY + marks, [value for row in some for value in row])


def _facts(tx: db.Transaction, message_id: int, prepared: Prepared, admitted: Admitted) -> list[Fact]:
    """`accepted` once for the message; for each recipient `queued` until its time has come, or `suppressed`."""
    sender, tags, suppressed = prepared.sender, prepared.draft.tags, set(admitted.suppressed)
    base: dict[str, Any] = {"recipients": admitted.count}
    if prepared.draft.list_id is not None:
        base["list"] = prepared.draft.list_id
    if prepared.draft.mail_from is not None:
        base["mail_from"] = prepared.draft.mail_from
    if prepared.draft.metadata:
        base["metadata"] = prepared.draft.metadata
    facts = [
        Fact(
            sender.account_id,
            sender.id,
            EventKind.ACCEPTED,
            prepared.now_ms,
            message_id,
            rcpt=prepared.recipients[0] if len(prepared.recipients) == 1 else "",
            data=base,
            tags=tags,
            origin=prepared.draft.origin,
        )
    ]
    scheduled = prepared.due_ms > prepared.now_ms
    if not prepared.recipients or (not scheduled and not suppressed):
        return facts
    deliveries = {
        rcpt: delivery_id
        for delivery_id, rcpt in tx.rows("SELECT id, rcpt FROM delivery WHERE message_id = ?", (message_id,))
    }
    for rcpt in prepared.recipients:
        if rcpt in suppressed:
            why = admitted.blocked[rcpt]
            kind, data = EventKind.SUPPRESSED, {"reason": why.reason, "detail": why.detail}
        elif scheduled:
            kind, data = EventKind.QUEUED, {"reason": "scheduled", "until_ms": prepared.due_ms}  # type: ignore[dict-item]
        else:
            continue
        facts.append(
            Fact(
                sender.account_id, sender.id, kind, prepared.now_ms, message_id, deliveries[rcpt], rcpt,
                data=data, tags=tags, origin=prepared.draft.origin,
            )
        )  # fmt: skip
    return facts
