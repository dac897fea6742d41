"""What Resend tells of messages: one event in a call that is signed after Standard Webhooks 1.0."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Any

from gateway.config import Settings
from gateway.mail import classify
from gateway.transports.hooks.report import (
    PERMANENT,
    TRANSIENT,
    UNDETERMINED,
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

FRESH_MS = 5 * 60 * 1000
"""How old a signature may be: each call has its own, the repeated ones as well."""

_WORDS = {
    "email.delivered": EventKind.DELIVERED,
    "email.delivery_delayed": EventKind.DEFERRED,
    "email.bounced": EventKind.BOUNCED,
    "email.suppressed": EventKind.BOUNCED,
    "email.failed": EventKind.FAILED,
    "email.complained": EventKind.COMPLAINED,
    "email.opened": EventKind.OPENED,
    "email.clicked": EventKind.CLICKED,
}
_SUBTYPES = {
    "NoEmail": classify.RECIPIENT,
    "Suppressed": classify.RECIPIENT,
    "OnAccountSuppressionList": classify.RECIPIENT,
    "MailboxFull": classify.MAILBOX_FULL,
    "MessageTooLarge": classify.CONTENT,
    "ContentRejected": classify.CONTENT,
    "AttachmentRejected": classify.CONTENT,
}


def read(call: Call, config: Mapping[str, Any], credentials: Mapping[str, str], settings: Settings) -> Batch:
    """Raises `BadSignature` and `Unreadable`."""
    id_ = call.headers.get("svix-id") or call.headers.get("webhook-id") or ""
    _verify(call, id_, credentials.get("signing_secret", ""))
    found = call.json()
    if not isinstance(found, dict):
        raise Unreadable("it is no event")
    return Batch((_report(id_, found, call.body),))


def _verify(call: Call, id_: str, secret: str) -> None:
    stamp = call.headers.get("svix-timestamp") or call.headers.get("webhook-timestamp") or ""
    given = call.headers.get("svix-signature") or call.headers.get("webhook-signature") or ""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise BadSignature("the signing secret cannot be read") from None
    if not key or not id_:
        raise BadSignature("no signing secret is set, or the call has no id")
    mac = base64.b64encode(hmac.digest(key, f"{id_}.{stamp}.".encode() + call.body, "sha256"))
    good = [hmac.compare_digest(mac, one[3:].encode()) for one in given.split(" ") if one.startswith("v1,")]
    if not any(good):
        raise BadSignature("its signature does not fit")
    fresh(at_ms(stamp), past_ms=FRESH_MS)


def _report(id_: str, found: dict[str, Any], raw: bytes) -> Report:
    word = text(found, "type")
    kind = _WORDS.get(word)
    data = found.get("data")
    data = data if isinstance(data, dict) else {}
    fields: dict[str, Any] = {}
    if kind is EventKind.BOUNCED:
        kind, fields = _bounced(word, data)
    elif kind is EventKind.FAILED:
        fields = {"reply": text(data, "failed", "reason"), "category": classify.OURS, "class_": PERMANENT}
    elif kind is EventKind.DEFERRED:
        fields = refusal(text(data, "delivery_delayed", "message"))
    elif kind is EventKind.COMPLAINED:
        fields = {"feedback": text(data, "complaint", "type") or "abuse"}
    elif kind in (EventKind.OPENED, EventKind.CLICKED):
        hit = data.get("open" if kind is EventKind.OPENED else "click")
        fields = {"ip": text(hit, "ipAddress"), "agent": text(hit, "userAgent"), "url": text(hit, "link")}
    to = data.get("to")
    return Report(
        id=id_,
        type=word[:64],
        kind=kind,
        token=token(data.get("tags")),
        at_ms=at_ms(found.get("created_at")),
        raw=raw,
        rcpt=str(to[0]) if isinstance(to, list) and to else "",
        **fields,
    )


def _bounced(word: str, data: dict[str, Any]) -> tuple[EventKind, dict[str, Any]]:
    """A transient one is told only once Resend has given up."""
    if word == "email.suppressed":
        words = text(data, "suppressed", "message") or "on the provider's suppression list"
        return EventKind.BOUNCED, {"reply": words, "category": classify.RECIPIENT, "class_": PERMANENT}
    subtype = text(data, "bounce", "subType")
    bounce = data.get("bounce")
    codes = bounce.get("diagnosticCode") if isinstance(bounce, dict) else None
    said = str(codes[0]).removeprefix("smtp;").strip() if isinstance(codes, list) and codes else ""
    words = said or text(data, "bounce", "message") or subtype
    fields = refusal(words, fallback=_SUBTYPES.get(subtype, ""))
    if not said and subtype in _SUBTYPES:
        fields["category"] = _SUBTYPES[subtype]
    class_ = {"Permanent": PERMANENT, "Transient": TRANSIENT}.get(text(data, "bounce", "type"), UNDETERMINED)
    return (EventKind.FAILED if class_ == TRANSIENT else EventKind.BOUNCED), fields | {"class_": class_}
