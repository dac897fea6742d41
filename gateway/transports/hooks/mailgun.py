"""What Mailgun tells of messages: its signature covers a time and a token, each good once, and not the event."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from gateway.config import Settings
from gateway.mail import classify
from gateway.transports.hooks.report import (
    PERMANENT,
    BadSignature,
    Batch,
    Call,
    Report,
    Unreadable,
    at_ms,
    fresh,
    refusal,
    text,
    token,
)
from models.vocabulary import EventKind

FRESH_MS = 12 * 3_600_000
"""How old a signature may be: a call is repeated for eight hours, perhaps with the first one's."""

_WORDS = {
    "delivered": EventKind.DELIVERED,
    "opened": EventKind.OPENED,
    "clicked": EventKind.CLICKED,
    "complained": EventKind.COMPLAINED,
    "unsubscribed": EventKind.UNSUBSCRIBED,
}
_SUPPRESSED = {605: classify.RECIPIENT, 606: classify.POLICY, 607: classify.POLICY}
"""Its own codes: the address bounced, unsubscribed or complained there before."""


def read(call: Call, config: Mapping[str, Any], credentials: Mapping[str, str], settings: Settings) -> Batch:
    """Raises `BadSignature` and `Unreadable`."""
    found = call.json()
    signature = found.get("signature") if isinstance(found, dict) else None
    key = credentials.get("signing_key", "")
    stamp, nonce, mac = (text(signature, name) for name in ("timestamp", "token", "signature"))
    good = hmac.new(key.encode(), (stamp + nonce).encode(), "sha256").hexdigest()
    if not key or not nonce or len(nonce) > 100 or not hmac.compare_digest(good.encode(), mac.encode()):
        raise BadSignature("its signature does not fit")
    fresh(at_ms(stamp), past_ms=FRESH_MS)
    event = found.get("event-data")
    if not isinstance(event, dict):
        raise Unreadable("it has no event-data")
    return Batch((_report(event, call.body),), nonce=nonce)


def _report(event: dict[str, Any], raw: bytes) -> Report:
    word = text(event, "event")
    kind, fields = _WORDS.get(word), dict[str, Any]()
    status = event.get("delivery-status")
    status = status if isinstance(status, dict) else {}
    if word == "failed":
        kind, fields = _failed(event, status)
    elif word == "rejected":
        kind, fields = EventKind.FAILED, {"reply": text(event, "reject", "reason"), "class_": PERMANENT}
        fields["category"] = classify.OURS
    elif kind is EventKind.DELIVERED:
        fields = {"reply": text(status, "message"), "mx": text(status, "mx-host")}
    else:
        client = event.get("client-info")
        fields = {
            "ip": text(event, "ip"),
            "url": text(event, "url") if word == "clicked" else "",
            "agent": text(client, "user-agent"),
            "machine": bool(text(client, "bot")),
        }
        if word == "complained":
            fields = {"feedback": "abuse"}
    return Report(
        # Alone it is unique within a day only.
        id=f"{text(event, 'id')}@{event.get('timestamp')}",
        type=word[:64],
        kind=kind,
        token=token(event.get("user-variables")),
        at_ms=at_ms(event.get("timestamp")),
        raw=raw,
        rcpt=text(event, "recipient"),
        **fields,
    )


def _failed(event: dict[str, Any], status: dict[str, Any]) -> tuple[EventKind, dict[str, Any]]:
    """A temporary one is tried again over there; a permanent one without a refusal is one whose time ran out."""
    code, words = status.get("code"), text(status, "message") or text(status, "description") or text(event, "reason")
    fields = refusal(words, code=code, enhanced=status.get("enhanced-code"))
    fields["mx"] = text(status, "mx-host")
    if text(event, "severity") != PERMANENT:
        return EventKind.DEFERRED, fields
    fields["class_"] = PERMANENT
    if isinstance(code, int) and code in _SUPPRESSED:
        fields |= {"category": _SUPPRESSED[code], "code": None, "enhanced": ""}
        return EventKind.BOUNCED, fields
    if text(event, "reason") in ("old", "generic") and not (isinstance(code, int) and 500 <= code < 600):
        return EventKind.FAILED, fields | {"class_": "transient"}
    return EventKind.BOUNCED, fields
