"""What a webhook's endpoint is sent: the surface's body and signature, and the Standard Webhooks headers."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any
from uuid import UUID

import orjson

from gateway import ids
from gateway.services import event_words
from gateway.services.event_rows import EventRow
from models.vocabulary import EventKind

_TOKEN_LENGTH = 50
_BOUNCES = (EventKind.BOUNCED, EventKind.FAILED)
_USER_AGENT = "Commandpost-Webhooks/1.0"


def octeth(row: EventRow, *, signing_key: str, now_s: int) -> bytes:
    """The body of the Octeth surface.

    `Signature` is the hex HMAC-SHA256 of Timestamp + Token (two texts) under the domain's signing key.
    """
    timestamp, token = str(now_s), ids.token(_TOKEN_LENGTH)
    signature = hmac.new(signing_key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
    return orjson.dumps(
        {
            "Signature": {"Timestamp": timestamp, "Token": token, "Signature": signature},
            "EventData": _event_data(row),
        }
    )


def standard_headers(body: bytes, *, uuid: UUID, secret: str, now_s: int) -> dict[str, str]:
    """The headers of Standard Webhooks 1.0 over exactly these bytes; `uuid` is the same on every retry."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b"%s.%d.%s" % (str(uuid).encode(), now_s, body)
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")
    return {
        "Content-Type": "application/json",
        "User-Agent": _USER_AGENT,
        "webhook-id": str(uuid),
        "webhook-timestamp": str(now_s),
        "webhook-signature": f"v1,{signature}",
    }


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
        for ours, theirs in (("url", "URL"), ("user_agent", "UserAgent"), ("verdict", "Verdict")):
            if facts.get(ours):
                data[theirs] = facts[ours]
    data |= row.defaults
    if not row.live:
        data["Test"] = True
    return data
