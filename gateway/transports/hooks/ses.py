"""What Amazon SES publishes of messages, in notifications of SNS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.config import Settings
from gateway.mail import classify
from gateway.transports.hooks import sns
from gateway.transports.hooks.report import (
    PERMANENT,
    TRANSIENT,
    UNDETERMINED,
    Batch,
    Call,
    Report,
    Unreadable,
    at_ms,
    refusal,
    text,
    token,
)
from models.vocabulary import EventKind

_SUBTYPES = {
    "NoEmail": classify.RECIPIENT,
    "Suppressed": classify.RECIPIENT,
    "OnAccountSuppressionList": classify.RECIPIENT,
    "MailboxFull": classify.MAILBOX_FULL,
    "MessageTooLarge": classify.CONTENT,
    "ContentRejected": classify.CONTENT,
    "AttachmentRejected": classify.CONTENT,
}
_NO_COMPLAINTS = ("not-spam",)


def read(call: Call, config: Mapping[str, Any], credentials: Mapping[str, str], settings: Settings) -> Batch:
    """Raises `BadSignature`, `Unreadable` and `sns.Unfetched`."""
    found = call.json()
    if not isinstance(found, dict):
        raise Unreadable("it is no message of SNS")
    topic, endpoint = text(config, "topic_arn"), text(config, "sns_endpoint").rstrip("/")
    sns.verify(found, topic_arn=topic, endpoint=endpoint, allow=settings.delivery_allow if endpoint else ())
    if found["Type"] == sns.CONFIRMATION:
        url = text(found, "SubscribeURL")
        if not sns.is_of_sns(url, topic, endpoint):
            raise Unreadable("it is to be confirmed somewhere else")
        return Batch(confirm=url)
    if found["Type"] == sns.FAREWELL:
        return Batch()
    id_, said = text(found, "MessageId"), text(found, "Message")
    try:
        message = orjson.loads(said)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict):  # SNS greets new topics of SES in plain words
        return Batch((Report(id_, text(found, "Subject")[:64], None, "", None, said.encode()),))
    return Batch((_report(id_, message, said.encode()),))


def _report(id_: str, found: dict[str, Any], raw: bytes) -> Report:
    word = text(found, "eventType") or text(found, "notificationType")
    kind, fields = _KINDS.get(word, lambda _: (None, {}))(found)
    destination = found.get("mail", {}).get("destination") if isinstance(found.get("mail"), dict) else None
    rcpt = destination[0] if isinstance(destination, list) and destination else ""
    common = {"id": id_, "type": word[:64], "kind": kind, "raw": raw, "rcpt": str(rcpt), "at_ms": None}
    return Report(**{**common, "token": token(_mail_tags(found)), **fields})


def _mail_tags(found: dict[str, Any]) -> Any:
    mail = found.get("mail")
    return mail.get("tags") if isinstance(mail, dict) else None


Made = tuple[EventKind | None, dict[str, Any]]


def _part(found: dict[str, Any], name: str) -> dict[str, Any]:
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def _first(part: dict[str, Any], name: str) -> dict[str, Any]:
    items = part.get(name)
    return items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else {}


def _host(value: str) -> str:
    return value.rpartition(";")[2].strip()


def _delivery(found: dict[str, Any]) -> Made:
    part = _part(found, "delivery")
    said = {"reply": text(part, "smtpResponse"), "mx": text(part, "remoteMtaIp")}
    return EventKind.DELIVERED, said | {"at_ms": at_ms(part.get("timestamp"))}


def _delay(found: dict[str, Any]) -> Made:
    part = _part(found, "deliveryDelay")
    one = _first(part, "delayedRecipients")
    words = text(one, "diagnosticCode") or text(part, "delayType")
    fields = refusal(_host(words) if words.startswith("smtp;") else words, enhanced=one.get("status"))
    return EventKind.DEFERRED, fields | {"at_ms": at_ms(part.get("timestamp"))}


def _bounce(found: dict[str, Any]) -> Made:
    """A transient one is told only once SES has given up."""
    part = _part(found, "bounce")
    one = _first(part, "bouncedRecipients")
    subtype = text(part, "bounceSubType")
    words = text(one, "diagnosticCode").removeprefix("smtp;").strip()
    fields = refusal(words or subtype, enhanced=one.get("status"), fallback=_SUBTYPES.get(subtype, ""))
    class_ = {"Permanent": PERMANENT, "Transient": TRANSIENT}.get(text(part, "bounceType"), UNDETERMINED)
    fields |= {"class_": class_, "mx": _host(text(part, "reportingMTA")), "at_ms": at_ms(part.get("timestamp"))}
    if not words and subtype in _SUBTYPES:
        fields["category"] = _SUBTYPES[subtype]
    if one.get("emailAddress"):
        fields["rcpt"] = str(one["emailAddress"])
    return (EventKind.FAILED if class_ == TRANSIENT else EventKind.BOUNCED), fields


def _complaint(found: dict[str, Any]) -> Made:
    part = _part(found, "complaint")
    feedback = text(part, "complaintFeedbackType") or "abuse"
    fields = {"feedback": feedback, "agent": text(part, "userAgent"), "at_ms": at_ms(part.get("timestamp"))}
    return (None if feedback in _NO_COMPLAINTS else EventKind.COMPLAINED), fields


def _reject(found: dict[str, Any]) -> Made:
    words = text(_part(found, "reject"), "reason")
    return EventKind.BOUNCED, {"reply": words, "class_": PERMANENT, "category": classify.CONTENT}


def _rendering(found: dict[str, Any]) -> Made:
    words = text(_part(found, "failure"), "errorMessage")
    return EventKind.FAILED, {"reply": words, "class_": PERMANENT, "category": classify.OURS}


def _hit(name: str, kind: EventKind) -> Any:
    def read_hit(found: dict[str, Any]) -> Made:
        part = _part(found, name)
        fields = {"ip": text(part, "ipAddress"), "agent": text(part, "userAgent"), "url": text(part, "link")}
        return kind, fields | {"at_ms": at_ms(part.get("timestamp"))}

    return read_hit


def _subscription(found: dict[str, Any]) -> Made:
    part = _part(found, "subscription")
    return EventKind.UNSUBSCRIBED, {"at_ms": at_ms(part.get("timestamp"))}


_KINDS: dict[str, Any] = {
    "Delivery": _delivery,
    "DeliveryDelay": _delay,
    "Bounce": _bounce,
    "Complaint": _complaint,
    "Reject": _reject,
    "Rendering Failure": _rendering,
    "Open": _hit("open", EventKind.OPENED),
    "Click": _hit("click", EventKind.CLICKED),
    "Subscription": _subscription,
}
