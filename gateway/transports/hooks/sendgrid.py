"""What SendGrid tells of messages, many events in a call that is signed with ECDSA."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from gateway.config import Settings
from gateway.mail import classify
from gateway.transports.hooks.report import (
    PERMANENT,
    TRANSIENT,
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

FRESH_MS = 25 * 3_600_000
"""How old a signature may be: a call is repeated for a day."""

SIGNATURE, TIMESTAMP = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"

_WORDS = {
    "delivered": EventKind.DELIVERED,
    "deferred": EventKind.DEFERRED,
    "bounce": EventKind.BOUNCED,
    "dropped": EventKind.FAILED,
    "open": EventKind.OPENED,
    "click": EventKind.CLICKED,
    "spamreport": EventKind.COMPLAINED,
    "unsubscribe": EventKind.UNSUBSCRIBED,
    "group_unsubscribe": EventKind.UNSUBSCRIBED,
}
_CLASSES = {
    "Invalid Address": classify.RECIPIENT,
    "Mailbox Unavailable": classify.MAILBOX_FULL,
    "Content": classify.CONTENT,
    "Reputation": classify.REPUTATION,
    "Frequency/Volume": classify.POLICY,
    "Technical": classify.NETWORK,
}
_DEAD = ("bounced address", "invalid", "invalid address")
"""Reasons to drop a message that say the address is dead."""


def read(call: Call, config: Mapping[str, Any], credentials: Mapping[str, str], settings: Settings) -> Batch:
    """Raises `BadSignature` and `Unreadable`."""
    key = _key(credentials.get("verification_key", ""))
    stamp = call.headers.get(TIMESTAMP, "")
    try:
        signature = base64.b64decode(call.headers.get(SIGNATURE, ""), validate=True)
        if key is None:
            raise BadSignature("no verification key is set, or none that can be read")
        key.verify(signature, stamp.encode() + call.body, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature):
        raise BadSignature("its signature does not fit") from None
    fresh(at_ms(stamp), past_ms=FRESH_MS)
    found = call.json()
    if not isinstance(found, list):
        raise Unreadable("it is no list of events")
    return Batch(tuple(_report(event) for event in found if isinstance(event, dict)))


@functools.lru_cache(maxsize=64)
def _key(configured: str) -> ec.EllipticCurvePublicKey | None:
    """A public key in PEM, or as its base64 alone, which is how SendGrid shows it."""
    try:
        if "BEGIN" in configured:
            found = load_pem_public_key(configured.encode())
        else:
            found = load_der_public_key(base64.b64decode(configured, validate=True))
    except ValueError:
        return None
    return found if isinstance(found, ec.EllipticCurvePublicKey) else None


def _report(event: dict[str, Any]) -> Report:
    word, raw = text(event, "event"), orjson.dumps(event)
    kind, fields = _WORDS.get(word), dict[str, Any]()
    words = text(event, "reason") or text(event, "response")
    if word in ("bounce", "deferred", "dropped"):
        fallback = _CLASSES.get(text(event, "bounce_classification"), "")
        fields = refusal(words, enhanced=event.get("status"), fallback=fallback)
    if word == "bounce":
        fields["class_"] = TRANSIENT if text(event, "type") in ("blocked", "expired") else PERMANENT
        if text(event, "type") == "expired":
            kind = EventKind.FAILED
    elif word == "dropped":
        fields |= {"code": None, "enhanced": "", "category": classify.OURS, "class_": PERMANENT}
        if words.strip().lower() in _DEAD:
            kind = EventKind.BOUNCED
            fields["category"] = classify.RECIPIENT
    elif word == "delivered":
        fields = {"reply": words}
    elif kind in (EventKind.OPENED, EventKind.CLICKED, EventKind.UNSUBSCRIBED):
        fields = {"ip": text(event, "ip"), "agent": text(event, "useragent"), "url": text(event, "url")}
        fields["machine"] = event.get("sg_machine_open") is True
    elif kind is EventKind.COMPLAINED:
        fields = {"feedback": "abuse"}
    return Report(
        id=text(event, "sg_event_id") or hashlib.sha256(raw).hexdigest(),
        type=word[:64],
        kind=kind,
        token=token(event),
        at_ms=at_ms(event.get("timestamp")),
        raw=raw,
        rcpt=text(event, "email"),
        **fields,
    )
