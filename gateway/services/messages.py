"""Accepting a message: the gates in order, then one transaction, then the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pymysql

from gateway import clock, config, errors, ids, jobs
from gateway.mail import address, container
from gateway.mail.draft import Draft, Mailbox
from gateway.services import contents, expansions, lanes, ledger, lists, personal, quotas, senders, suppressions
from gateway.services.identity import Caller
from gateway.services.ledger import Fact
from models import database as db
from models.group_commit import in_shared_transaction
from models.vocabulary import ACCOUNT_DISABLED, ACCOUNT_UNVERIFIED, DeliveryState, EventKind, Stream

KIND_PARTS, KIND_MIME = "parts", "mime"
IDEMPOTENCY_MS = 72 * 3_600_000

_INSERT_DELIVERY = (
    "INSERT INTO delivery (message_id, account_id, domain_id, rcpt, merge, state, fence, attempts, lane_id, due_ms,"
    " expires_ms) VALUES "
)
_DELIVERY_CHUNK = 500


@dataclass(slots=True)
class Accepted:
    """What the sender is told: the message is stored and promised."""

    message_id: str  # UUID
    replayed: bool = False  # an earlier request with the same idempotency key made it
    suppressed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Prepared:
    """Everything the transaction writes, worked out before it begins."""

    caller: Caller
    draft: Draft
    sender: senders.Sender
    recipients: list[str]
    lane_id: int
    content: contents.Prepared
    headers: str
    due_ms: int
    expires_ms: int
    now_ms: int
    verdicts: list[dict[str, Any]]


def accept(caller: Caller, draft: Draft) -> Accepted:
    """Check, route and store a draft; returns once it is durable.

    Raises `AccountDisabled`, `AccountUnverified`, `DomainGone`, `DomainNotActive`, `NotAllowed` (a From
    that is not the domain's), `TemplateNotFound`, `InvalidTemplate`, `ListUnusable`, `Invalid`, `TooLarge`,
    `QuotaReached`, `SuppressedRecipient` (nobody is left), `IdempotencyMismatch`, `IdempotencyRunning`; then
    nothing is stored. Of a message to a list, whoever must not be written to is told from the rest later.
    """
    prepared = _prepare(caller, draft)
    return in_shared_transaction(lambda tx: _store(tx, prepared))


def check_sender(caller: Caller) -> senders.Sender:
    """The gates that need no draft: the account may send and its key's domain is enabled."""
    if caller.status == ACCOUNT_DISABLED:
        raise errors.AccountDisabled()
    if caller.status == ACCOUNT_UNVERIFIED:
        raise errors.AccountUnverified()
    found = senders.sender(caller.domain_id) if caller.domain_id is not None else None
    if found is None or found.account_id != caller.account_id or found.deleted:
        raise errors.DomainGone()
    if not found.enabled:
        raise errors.DomainNotActive()
    return found


def _prepare(caller: Caller, draft: Draft) -> _Prepared:
    sender = check_sender(caller)
    if not address.same_or_subdomain(draft.sender.domain, sender.name):
        raise errors.NotAllowed("The From address does not belong to the sender domain.", field="From")
    draft = personal.prepare(caller, draft)
    if draft.list_id is not None:
        draft = replace(draft, stream=Stream.BULK)
    recipients = _recipients(draft)
    if not recipients and draft.list_id is None:
        raise errors.Invalid("There is no recipient set for the email.", field="To")
    settings = config.settings()
    now = clock.now_ms()
    body, kind = _body(draft)
    limit = min(caller.plan.max_size or settings.message_size, settings.message_size)
    if len(body) > limit:
        raise errors.TooLarge(f"The message has {len(body)} bytes; {limit} are allowed.")
    hours = settings.bulk_hours if draft.stream is Stream.BULK else settings.transactional_hours
    due = max(draft.send_at_ms or 0, now)
    route = lanes.ROUTE_DEFAULT if caller.live else lanes.ROUTE_TEST
    return _Prepared(
        caller=caller,
        draft=draft,
        sender=sender,
        recipients=recipients,
        lane_id=lanes.lane_id(account_id=caller.account_id, domain_id=sender.id, stream=draft.stream, route=route),
        content=contents.prepare(caller.account_id, kind, body),
        headers=orjson.dumps(_headers(draft)).decode(),
        due_ms=due,
        expires_ms=due + hours * 3_600_000,
        now_ms=now,
        verdicts=[
            {"gate": "auth", "by": "key" if caller.key_id else "login", "id": caller.key_id, "live": caller.live},
            {"gate": "sender_domain", "domain": sender.name, "status": sender.status},
            {"gate": "validation", "recipients": len(recipients), "bytes": len(body), "limit": limit},
            {"gate": "schedule", "due_ms": due, "until_ms": due + hours * 3_600_000},
            {"gate": "stream", "stream": draft.stream.name.lower()},
            {"gate": "route", "route": route or "default", "transport": _transport_name(settings.delivery, route)},
        ],
    )


def _transport_name(delivery: str, route: str) -> str:
    if route == lanes.ROUTE_TEST:
        return "capture"
    return "smarthost" if delivery.startswith("smtp://") else delivery


def _recipients(draft: Draft) -> list[str]:
    """Each address once, in the order To, Cc, Bcc; over SMTP the envelope decides."""
    if draft.envelope_to is not None:
        return list(dict.fromkeys(draft.envelope_to))
    return list(dict.fromkeys(box.email for box in (*draft.to, *draft.cc, *draft.bcc)))


def _body(draft: Draft) -> tuple[bytes, str]:
    if draft.raw is not None:
        return draft.raw, KIND_MIME
    return container.serialise(draft.html, draft.text, draft.attachments), KIND_PARTS


def _headers(draft: Draft) -> dict[str, Any]:
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
    return found


def _pair(box: Mailbox) -> list[str]:
    return [box.name, box.email]


def _store(tx: db.Transaction, prepared: _Prepared) -> Accepted:
    draft, caller, sender = prepared.draft, prepared.caller, prepared.sender
    earlier = _claim_idempotency(tx, prepared)
    if earlier is not None:
        return earlier
    count, last = len(prepared.recipients), 0
    if draft.list_id is not None:
        count, last = lists.audience(tx, account_id=caller.account_id, list_id=draft.list_id)
        if not count:
            raise errors.ListUnusable(what="list")
    quotas.spend(tx, account_id=caller.account_id, plan=caller.plan, emails=count)
    blocked = suppressions.check(tx, account_id=caller.account_id, domain_id=sender.id, addresses=prepared.recipients)
    suppressed = [rcpt for rcpt in prepared.recipients if rcpt in blocked]
    if suppressed and len(suppressed) == count:
        raise errors.SuppressedRecipient(addresses=suppressed)
    verdicts = [*prepared.verdicts, {"gate": "suppression", "blocked": len(suppressed)}]
    if draft.list_id is not None:  # suppression is decided for each, when its delivery is made
        verdicts[-1] = {"gate": "list", "list": draft.list_id, "recipients": count}
    uuid = ids.new_uuid()
    cursor = tx.execute(
        "INSERT INTO message (uuid, account_id, domain_id, api_key_id, smtp_login_id, stream, live, content_id,"
        " from_addr, subject, tags, headers, metadata, size, track_opens, track_links, send_at_ms, created_ms,"
        " verdicts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            uuid.bytes,
            caller.account_id,
            sender.id,
            caller.key_id,
            draft.smtp_login_id,
            int(draft.stream),
            caller.live,
            contents.store(tx, prepared.content),
            draft.sender.email,
            draft.subject,
            orjson.dumps(draft.tags).decode(),
            prepared.headers,
            orjson.dumps(draft.metadata).decode() if draft.metadata else None,
            prepared.content.size,
            sender.track_opens if draft.track_opens is None else draft.track_opens,
            sender.track_links if draft.track_links is None else draft.track_links,
            draft.send_at_ms,
            prepared.now_ms,
            orjson.dumps(verdicts).decode(),
        ),
    )
    message_id = int(cursor.lastrowid)
    if draft.list_id is None:
        _insert_deliveries(tx, message_id, prepared, set(suppressed))
    else:
        _expand(tx, message_id, prepared, draft.list_id, count, last)
    _finish_idempotency(tx, prepared, message_id, str(uuid))
    ledger.record(tx, _facts(tx, message_id, prepared, count, suppressed, blocked))
    if prepared.due_ms <= prepared.now_ms and draft.list_id is None:
        tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
    return Accepted(str(uuid), suppressed=suppressed)


def _expand(tx: db.Transaction, message_id: int, prepared: _Prepared, list_id: int, total: int, upto: int) -> None:
    expansions.start(
        tx,
        message_id=message_id,
        account_id=prepared.caller.account_id,
        domain_id=prepared.sender.id,
        list_id=list_id,
        lane_id=prepared.lane_id,
        upto=upto,
        total=total,
        due_ms=prepared.due_ms,
        expires_ms=prepared.expires_ms,
        now_ms=prepared.now_ms,
    )


def _insert_deliveries(tx: db.Transaction, message_id: int, prepared: _Prepared, suppressed: set[str]) -> None:
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
            prepared.lane_id,
            prepared.due_ms,
            prepared.expires_ms,
        )
        for rcpt in prepared.recipients
    ]
    for start in range(0, len(rows), _DELIVERY_CHUNK):
        some = rows[start : start + _DELIVERY_CHUNK]
        marks = ",".join(["(?,?,?,?,?,?,?,?,?,?,?)"] * len(some))
        tx.execute(_INSERT_DELIVERY + marks, [value for row in some for value in row])


def _facts(
    tx: db.Transaction,
    message_id: int,
    prepared: _Prepared,
    count: int,
    suppressed: Sequence[str],
    blocked: dict[str, suppressions.Suppressed],
) -> list[Fact]:
    """`accepted` once for the message; for each recipient `queued` until its time has come, or `suppressed`."""
    sender, tags = prepared.sender, prepared.draft.tags
    base: dict[str, Any] = {"recipients": count}
    if prepared.draft.list_id is not None:
        base["list"] = prepared.draft.list_id
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
            why = blocked[rcpt]
            kind, data = EventKind.SUPPRESSED, {"reason": why.reason, "detail": why.detail}
        elif scheduled:
            kind, data = EventKind.QUEUED, {"reason": "scheduled", "until_ms": prepared.due_ms}  # type: ignore[dict-item]
        else:
            continue
        facts.append(
            Fact(
                sender.account_id, sender.id, kind, prepared.now_ms, message_id, deliveries[rcpt], rcpt,
                data=data, tags=tags,
            )
        )  # fmt: skip
    return facts


def _scope(prepared: _Prepared) -> str:
    return f"{prepared.caller.account_id}:{prepared.draft.idempotency_scope}"


def _claim_idempotency(tx: db.Transaction, prepared: _Prepared) -> Accepted | None:
    """Write the key's row first: a parallel twin waits on it until this transaction ends.

    Returns the earlier answer for the same payload (draft-ietf-httpapi-idempotency-key-header-07).
    """
    draft = prepared.draft
    if draft.idempotency_key is None:
        return None
    ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
    key = (_scope(prepared), draft.idempotency_key)
    try:
        made = tx.execute(
            f"{ignore} INTO idempotency_key (scope, {_KEY[tx.dialect]}, fingerprint, created_ms) VALUES (?, ?, ?, ?)",
            (*key, draft.fingerprint, prepared.now_ms),
        ).rowcount
    except pymysql.err.OperationalError as error:
        if error.args and error.args[0] == 1205:  # the twin held its row for longer than the lock time-out
            raise errors.IdempotencyRunning() from None
        raise
    if made:
        return None
    fingerprint, answer = tx.rows(
        f"SELECT fingerprint, answer FROM idempotency_key WHERE scope = ? AND {_KEY[tx.dialect]} = ?", key
    )[0]
    if fingerprint != draft.fingerprint:
        raise errors.IdempotencyMismatch()
    return Accepted(str(answer), replayed=True)


_KEY = {"sqlite": '"key"', "mysql": "`key`"}


def _finish_idempotency(tx: db.Transaction, prepared: _Prepared, message_id: int, uuid: str) -> None:
    if prepared.draft.idempotency_key is None:
        return
    tx.execute(
        "UPDATE idempotency_key SET message_id = ?, status = 200, answer = ?"
        f" WHERE scope = ? AND {_KEY[tx.dialect]} = ?",
        (message_id, uuid, _scope(prepared), prepared.draft.idempotency_key),
    )
