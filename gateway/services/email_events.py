"""Events as the Maillayer and MailerLogic webhooks tell them: flat bodies with `email.…` words."""

from __future__ import annotations

from typing import Any

from gateway import clock, ids
from gateway.mail import classify
from gateway.services.event_rows import EventRow
from models.vocabulary import EventKind, Stream

TYPES: dict[EventKind, str] = {
    EventKind.ACCEPTED: "email.sent",
    EventKind.DEFERRED: "email.deferred",
    EventKind.DELIVERED: "email.delivered",
    EventKind.BOUNCED: "email.bounced",
    EventKind.FAILED: "email.bounced",
    EventKind.OPENED: "email.opened",
    EventKind.CLICKED: "email.clicked",
    EventKind.COMPLAINED: "email.complained",
    EventKind.UNSUBSCRIBED: "email.unsubscribed",
}
"""Retries that are used up are a transient bounce."""

WORDS: dict[str, frozenset[EventKind]] = {
    word: frozenset(kind for kind, name in TYPES.items() if name == word) for word in dict.fromkeys(TYPES.values())
}
"""The event types with the kinds that each stands for."""

_BOUNCES = (EventKind.BOUNCED, EventKind.FAILED)
_SUBTYPES = {
    classify.RECIPIENT: "General",
    classify.MAILBOX_FULL: "MailboxFull",
    classify.CONTENT: "ContentRejected",
    classify.POLICY: "Policy",
    classify.REPUTATION: "Reputation",
    classify.NETWORK: "Network",
    classify.PROTOCOL: "Protocol",
}


def bounce_type(row: EventRow) -> tuple[str, str]:
    """`Permanent`, `Transient` or `Undetermined`, and why.

    Permanent is a refusal for good, but of a full mailbox; undetermined is one whose cause nobody said. What a
    provider says of its own refusal goes before that.
    """
    category = str(row.data.get("category") or "")
    subtype = _SUBTYPES.get(category, "General")
    if row.kind is EventKind.FAILED or category == classify.MAILBOX_FULL:
        return "Transient", subtype
    if row.data.get("class") in ("transient", "undetermined"):
        return row.data["class"].capitalize(), subtype
    if not category and not row.data.get("enhanced") and not row.data.get("code"):
        return "Undetermined", "Undetermined"
    return "Permanent", subtype


def maillayer(row: EventRow) -> dict[str, Any]:
    """The printed bodies: a bounce has its types in place of sender and subject."""
    told: dict[str, Any] = {"event": TYPES[row.kind], "emailId": ids.short_id(row.message_uuid), "to": row.recipient}
    if row.kind in _BOUNCES:
        told["bounceType"], told["bounceSubType"] = bounce_type(row)
        if row.reason:
            told["reason"] = row.reason
    else:
        told |= {"from": _sender(row), "subject": row.subject}
    told["timestamp"] = clock.rfc3339_ms(row.at_ms)
    if row.data.get("url"):
        told["url"] = row.data["url"]
    if row.tags:
        told["tags"] = row.tags
    return told if row.live else told | {"test": True}


def mailerlogic(row: EventRow) -> dict[str, Any]:
    """The documented fields first; leaving is about a person and names no email."""
    told: dict[str, Any] = {"event": word(row.kind), "timestamp": clock.rfc3339_ms(row.at_ms)}
    if row.kind is not EventKind.UNSUBSCRIBED:
        told["email_id"] = str(row.message_uuid)
    if row.tags:
        told["tag"] = row.tags[0]
    if row.data.get("metadata"):
        told["metadata"] = row.data["metadata"]
    told |= {"domain": row.domain, "recipient": row.recipient, "from": _sender(row), "subject": row.subject}
    told["stream"] = "broadcast" if row.stream is Stream.BULK else "transactional"
    if row.kind in _BOUNCES:
        kind, subtype = bounce_type(row)
        told |= {"bounce_type": kind.lower(), "bounce_subtype": subtype, "reason": row.reason}
        told |= {shown: row.data[name] for name, shown in _REFUSAL.items() if row.data.get(name)}
    elif row.kind in (EventKind.OPENED, EventKind.CLICKED):
        told |= _engagement(row)
    elif row.reason and (row.kind is EventKind.DEFERRED or row.kind not in TYPES):
        told["reason"] = row.reason
    return told if row.live else told | {"test": True}


def word(kind: EventKind) -> str:
    """Also of a kind that webhooks are not told of."""
    return TYPES.get(kind, f"email.{kind.word}")


_REFUSAL = {"code": "code", "enhanced": "enhanced_code", "category": "category"}
_HIT = ("url", "user_agent", "verdict", "reasons")
_DEVICE = {"device": "family", "device_kind": "kind", "client": "client"}


def _engagement(row: EventRow) -> dict[str, Any]:
    """Whether a person opened or clicked, and on what; what the user agent does not tell of the device is null."""
    told = {name: row.data[name] for name in _HIT if row.data.get(name)}
    told["is_human"] = row.data.get("verdict") == "human"
    device = {shown: row.data.get(name) or None for name, shown in _DEVICE.items()}
    if any(device.values()):
        told["device"] = device
    return told | ({"ip": row.ip} if row.ip else {})


def _sender(row: EventRow) -> str:
    return str((row.headers.get("from") or ["", ""])[1])
