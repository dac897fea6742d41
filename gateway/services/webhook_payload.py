"""What a webhook's endpoint is sent: each surface's body, and the Standard Webhooks headers."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, ids
from gateway.services import email_events, event_words, message_events
from gateway.services.event_rows import EventRow
from gateway.services.identity import OCTETH
from gateway.services.notices import Notice
from gateway.services.webhook_words import MAILERLOGIC, MAILERSIO, MAILLAYER, MESSAGE, NATIVE, NOTICE
from models.vocabulary import EventKind, NoticeKind

_TOKEN_LENGTH = 50
_BOUNCES = (EventKind.BOUNCED, EventKind.FAILED)
_USER_AGENT = "Commandpost-Webhooks/1.0"
SIGNATURE_HEADER = "X-Webhook-Signature"
_SIGNATURE = b',"signature":"'
_FACTS = (
    "code",
    "enhanced",
    "category",
    "transport",
    "url",
    "user_agent",
    "device",
    "device_kind",
    "client",
    "verdict",
    "reasons",
    "repeat",
    "metadata",
    "method",
    "list",
    "scope",
    "mailbox",
    "from",
    "found_by",
    "message",
)
"""Of an event's data, what the native payload shows under the same name."""


@dataclass(frozen=True, slots=True)
class Telling:
    """What a body is made with beside its event: the domain's signing key ('' for a notice), the webhook's secrets
    (the newest first), the Unix time, the account's slug, and by event the provider where the surface asks for it."""

    signing_key: str
    secrets: Sequence[str]
    now_s: int
    workspace: str
    providers: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surface:
    """How a surface tells events, and notices where it can; `headers` are its own, made from the finished body."""

    event: Callable[[EventRow, Telling], bytes]
    notice: Callable[[Notice, Telling], bytes] | None = None
    headers: Callable[[bytes], dict[str, str]] | None = None
    wants_provider: bool = False
    wants_sequence: bool = False


def octeth(row: EventRow, telling: Telling) -> bytes:
    """The body of the Octeth surface.

    `Signature` is the hex HMAC-SHA256 of Timestamp + Token (two texts) under the domain's signing key.
    """
    timestamp, token = str(telling.now_s), ids.token(_TOKEN_LENGTH)
    signature = hmac.new(telling.signing_key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
    return orjson.dumps(
        {
            "Signature": {"Timestamp": timestamp, "Token": token, "Signature": signature},
            "EventData": _event_data(row),
        }
    )


def native(row: EventRow, _: Telling) -> bytes:
    """`type`, `timestamp` and `data` of Standard Webhooks 1.0; the timestamp is that of the event."""
    data: dict[str, Any] = {
        "event_id": row.id,
        "message_id": str(row.message_uuid),
        "domain": row.domain,
        "recipient": row.recipient,
        "subject": row.subject,
        "tags": row.tags,
    }
    optional = {
        "reason": row.reason, "mx": row.mx, "ip": row.ip, "context": row.defaults, "sequence": row.sequence,
    }  # fmt: skip
    data |= {name: value for name, value in optional.items() if value}
    data |= {name: row.data[name] for name in _FACTS if row.data.get(name)}
    if not row.live:
        data["test"] = True
    return _native(f"{MESSAGE}{row.kind.word}", row.at_ms, data)


def native_notice(notice: Notice, _: Telling) -> bytes:
    """A notice in the form of `native`: `type` is `notice.` and its kind, but mail that came is a `message.` too."""
    data = {"notice_id": notice.id, "domain_id": notice.domain_id, **notice.data}
    received = notice.kind == NoticeKind.MESSAGE_RECEIVED
    return _native(notice.kind if received else f"{NOTICE}{notice.kind}", notice.at_ms, data)


def mailersio(row: EventRow, telling: Telling) -> bytes:
    """The form of `/v1`, with its signature as the last member."""
    provider = telling.providers.get(row.id, "")
    return _signed(message_events.shown(row, workspace=telling.workspace, provider=provider), telling)


def mailersio_notice(notice: Notice, telling: Telling) -> bytes:
    return _signed(message_events.shown_notice(notice, workspace=telling.workspace), telling)


def maillayer(row: EventRow, _: Telling) -> bytes:
    return orjson.dumps(email_events.maillayer(row))


def mailerlogic(row: EventRow, _: Telling) -> bytes:
    return orjson.dumps(email_events.mailerlogic(row))


def signature_header(body: bytes) -> dict[str, str]:
    """The value of the body's last member once more."""
    return {SIGNATURE_HEADER: body[body.rindex(_SIGNATURE) + len(_SIGNATURE) : -2].decode()}


SURFACES: Mapping[str, Surface] = {
    OCTETH: Surface(octeth),
    NATIVE: Surface(native, native_notice, wants_sequence=True),
    MAILERSIO: Surface(mailersio, mailersio_notice, signature_header, wants_provider=True),
    MAILLAYER: Surface(maillayer),
    MAILERLOGIC: Surface(mailerlogic),
}
"""Every payload that a webhook may have; another surface's is one more line here."""


def headers(surface: Surface, body: bytes, *, uuid: UUID, telling: Telling) -> dict[str, str]:
    """Those of Standard Webhooks, and the surface's own."""
    found = standard_headers(body, uuid=uuid, secrets=telling.secrets, now_s=telling.now_s)
    return found | surface.headers(body) if surface.headers is not None else found


def standard_headers(body: bytes, *, uuid: UUID, secrets: Sequence[str], now_s: int) -> dict[str, str]:
    """The headers of Standard Webhooks 1.0 over exactly these bytes, with a signature for each secret.

    `uuid` is the same on every retry and replay.
    """
    signed = b"%s.%d.%s" % (str(uuid).encode(), now_s, body)
    return {
        "Content-Type": "application/json",
        "User-Agent": _USER_AGENT,
        "webhook-id": str(uuid),
        "webhook-timestamp": str(now_s),
        "webhook-signature": " ".join(_signature(signed, secret) for secret in secrets),
    }


def _signature(signed: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")


def _signed(told: dict[str, Any], telling: Telling) -> bytes:
    """HMAC-SHA256 of time, point and the body without the signature, under the text of each secret as it was shown."""
    body = orjson.dumps(told)
    signed = b"%d.%s" % (telling.now_s, body)
    macs = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in telling.secrets]
    signature = ",".join((f"t={telling.now_s}", *(f"v1={mac}" for mac in macs)))
    return body[:-1] + _SIGNATURE + signature.encode() + b'"}'


def _native(type_: str, at_ms: int, data: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": type_, "timestamp": clock.rfc3339(at_ms), "data": data})


def _event_data(row: EventRow) -> dict[str, Any]:
    data: dict[str, Any] = {
        "Event": event_words.long(row.kind),
        "Domain": row.domain,
        "MessageID": str(row.message_uuid),
        "To": row.recipient,
    }
    if row.ip:
        data["IPAddress"] = row.ip
    facts = row.data
    if row.kind in _BOUNCES:
        data["EventType"] = "failed"
        data["BouncedEmailAddress"] = {
            "EmailAddress": row.recipient,
            "Status": str(facts.get("enhanced") or ""),
            "DiagnosticCode": row.reason,
        }
        data["Reason"] = row.reason
        data["Code"] = facts.get("code")
    elif row.kind in (EventKind.OPENED, EventKind.CLICKED):
        for ours, theirs in (
            ("url", "URL"),
            ("user_agent", "UserAgent"),
            ("verdict", "Verdict"),
            ("reasons", "VerdictReasons"),
        ):
            if facts.get(ours):
                data[theirs] = facts[ours]
    data |= row.defaults
    if not row.live:
        data["Test"] = True
    return data
