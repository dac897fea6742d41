"""What accepting writes: messages, their deliveries and their events, for one message and for a thousand alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway import ids
from gateway.mail.draft import Draft, Mailbox
from gateway.services import lanes, ledger
from gateway.services.gates import Admitted, Prepared
from gateway.services.ledger import Fact
from models import database as db
from models import many_rows
from models.vocabulary import DeliveryState, EventKind

_MESSAGE = (
    "account_id", "domain_id", "api_key_id", "smtp_login_id", "stream", "live", "from_addr", "size", "send_at_ms",
    "created_ms",
    "uuid", "subject", "tags", "headers", "metadata", "track_opens", "track_links", "origin", "content_id", "verdicts",
)  # fmt: skip
_DELIVERY = (
    "message_id", "account_id", "domain_id", "rcpt", "merge", "state", "fence", "attempts", "lane_id", "due_ms",
    "expires_ms",
)  # fmt: skip
_CHUNK = 500
_NO_TAGS = "[]"
_NOBODY = Admitted()


class Entry:
    """A message that passed the gates which need no transaction, and what the accepting transaction adds to it.

    `gated` is what those gates made of it, or of one that is alike to them. The columns are made here, so that the
    transaction, which others wait for, is short.
    """

    __slots__ = (
        "_columns", "admitted", "content_id", "draft", "fact", "gated", "lanes", "raw", "recipients", "verdicts",
    )  # fmt: skip

    def __init__(
        self, raw: bytes, gated: Prepared, draft: Draft, recipients: list[str], lanes_: Mapping[str, int]
    ) -> None:
        """`raw` are the bytes of its UUID; `lanes_` are the lanes by route, as `lanes_of` tells them."""
        self.raw, self.gated, self.draft, self.recipients, self.lanes = raw, gated, draft, recipients, lanes_
        self.admitted = _NOBODY
        self.content_id = 0
        self.verdicts = "[]"
        self.fact = _accepted(gated, draft, recipients)
        if not gated.columns:
            gated.columns = _alike(gated)
        sender = gated.sender
        self._columns = (
            *gated.columns,
            raw,
            draft.subject,
            orjson.dumps(draft.tags).decode() if draft.tags else _NO_TAGS,
            orjson.dumps(headers(draft)).decode(),
            orjson.dumps(draft.metadata).decode() if draft.metadata else None,
            sender.track_opens if draft.track_opens is None else draft.track_opens,
            sender.track_links if draft.track_links is None else draft.track_links,
            draft.origin,
        )

    @property
    def message_id(self) -> str:
        """Its UUID."""
        return ids.text_of(self.raw)

    @property
    def row(self) -> tuple[Any, ...]:
        """Of the table of messages, in the order of its columns here."""
        return (*self._columns, self.content_id, self.verdicts)


def _alike(gated: Prepared) -> tuple[Any, ...]:
    """The first columns of `_MESSAGE`: what the gates looked at, and decided, is the same for all that are alike."""
    caller, draft = gated.caller, gated.draft
    return (
        caller.account_id, gated.sender.id, caller.key_id, draft.smtp_login_id, int(draft.in_stream), caller.live,
        draft.sender.email, len(gated.body), draft.send_at_ms, gated.now_ms,
    )  # fmt: skip


def lanes_of(gated: Prepared) -> dict[str, int]:
    """The lane of every route of a message; new ones are made in transactions of their own."""
    routes = {gated.route, *gated.routes.values()}
    if gated.routes and len(gated.routes) == len(gated.recipients):
        routes.discard(gated.route)
    sender, draft = gated.sender, gated.draft
    return {
        route: lanes.lane_id(
            account_id=sender.account_id, domain_id=sender.id, stream=draft.in_stream, route=route, own=draft.own_lane
        )
        for route in routes
    }


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


def write(tx: db.Transaction, entries: Sequence[Entry]) -> list[int]:
    """Insert the messages and the deliveries of those to no list; the ids of the messages, in order."""
    message_ids = many_rows.insert(tx, "message", _MESSAGE, [entry.row for entry in entries])
    deliveries: list[tuple[Any, ...]] = []
    last: Prepared | None = None
    waiting: tuple[Any, ...] = ()
    for message_id, entry in zip(message_ids, entries, strict=True):
        gated = entry.gated
        if entry.draft.list_id is not None:
            continue
        if entry.admitted.suppressed or gated.routes:
            deliveries += _deliveries(message_id, entry)
            continue
        if gated is not last:
            last, waiting = gated, _waiting(gated, entry.lanes[gated.route])
        sender = gated.sender
        deliveries += [(message_id, sender.account_id, sender.id, rcpt, *waiting) for rcpt in entry.recipients]
    many_rows.insert(tx, "delivery", _DELIVERY, deliveries)
    return message_ids


def _waiting(gated: Prepared, lane_id: int) -> tuple[Any, ...]:
    """The columns behind the recipient of a delivery that is to be made."""
    state = int(DeliveryState.HELD if gated.held else DeliveryState.QUEUED)
    return None, state, 0, 0, lane_id, gated.waits_ms, gated.expires_ms


def _deliveries(message_id: int, entry: Entry) -> list[tuple[Any, ...]]:
    """Where some are suppressed, or not all take the same way."""
    gated, lanes_ = entry.gated, entry.lanes
    blocked = set(entry.admitted.suppressed)
    head = (message_id, gated.sender.account_id, gated.sender.id)
    return [
        (*head, rcpt, None, int(DeliveryState.SUPPRESSED), 0, 0, None, None, gated.expires_ms)
        if rcpt in blocked
        else (*head, rcpt, *_waiting(gated, lanes_[gated.route_of(rcpt)]))
        for rcpt in entry.recipients
    ]


def record(tx: db.Transaction, message_ids: Sequence[int], entries: Sequence[Entry]) -> None:
    """The events: `accepted` once for each message, for each recipient `queued` until its time or `suppressed`."""
    facts = []
    telling = []
    for message_id, entry in zip(message_ids, entries, strict=True):
        fact = entry.fact
        fact.message_id = message_id
        if fact.data is not None and entry.draft.list_id is not None:
            fact.data["recipients"] = entry.admitted.count
        facts.append(fact)
        scheduled = entry.gated.due_ms > entry.gated.now_ms
        if entry.recipients and (scheduled or entry.gated.held or entry.admitted.suppressed):
            telling.append((message_id, entry))
    if telling:
        delivery_ids = _delivery_ids(tx, [message_id for message_id, _ in telling])
        for message_id, entry in telling:
            facts += _fates(message_id, entry, delivery_ids)
    ledger.record(tx, facts)


def _accepted(gated: Prepared, draft: Draft, recipients: list[str]) -> Fact:
    """That it was accepted, still without the message's number; of a list the transaction counts the recipients."""
    base: dict[str, Any] = {"recipients": len(recipients)}
    if draft.list_id is not None:
        base["list"] = draft.list_id
    if draft.mail_from is not None:
        base["mail_from"] = draft.mail_from
    if draft.metadata:
        base["metadata"] = draft.metadata
    rcpt = recipients[0] if len(recipients) == 1 else ""
    sender = gated.sender
    return Fact(
        sender.account_id, sender.id, EventKind.ACCEPTED, gated.now_ms, 0, None, rcpt,
        data=base, tags=draft.tags, origin=draft.origin,
    )  # fmt: skip


def _delivery_ids(tx: db.Transaction, message_ids: Sequence[int]) -> dict[tuple[int, str], int]:
    found: dict[tuple[int, str], int] = {}
    for start in range(0, len(message_ids), _CHUNK):
        some = message_ids[start : start + _CHUNK]
        marks = ",".join("?" * len(some))
        for id_, message_id, rcpt in tx.rows(
            f"SELECT id, message_id, rcpt FROM delivery WHERE message_id IN ({marks})", some
        ):
            found[message_id, rcpt] = id_
    return found


def _fates(message_id: int, entry: Entry, delivery_ids: dict[tuple[int, str], int]) -> list[Fact]:
    gated = entry.gated
    facts = []
    blocked = entry.admitted.blocked
    for rcpt in entry.recipients:
        data: dict[str, Any]
        if rcpt in blocked:
            kind, data = EventKind.SUPPRESSED, {"reason": blocked[rcpt].reason, "detail": blocked[rcpt].detail}
        elif gated.held:
            kind, data = EventKind.QUEUED, {"reason": f"held for a person: {gated.held}", "until_ms": gated.expires_ms}
        elif gated.due_ms > gated.now_ms:
            kind, data = EventKind.QUEUED, {"reason": "scheduled", "until_ms": gated.due_ms}
        else:
            continue
        facts.append(
            Fact(
                gated.sender.account_id, gated.sender.id, kind, gated.now_ms, message_id,
                delivery_ids[message_id, rcpt], rcpt, data=data, tags=entry.draft.tags, origin=entry.draft.origin,
            )
        )  # fmt: skip
    return facts
