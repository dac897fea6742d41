"""SendGrid, API v3: the message is taken apart into JSON, and put together again over there."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import requests

from gateway.mail.draft import Attachment, Mailbox
from gateway.mail.structured import unsupported
from gateway.transports.http_line import Answer
from gateway.transports.provider import MEGABYTE, REFERENCE, Check, Means, Parcel, Provider, json_of
from gateway.transports.provider_fields import Fields
from gateway.transports.structured_send import opened

FORBIDDEN = frozenset({"x-sg-id", "x-sg-eid", "received", "dkim-signature", "to", "from", "subject", "cc", "bcc"})

_ENDPOINTS = {"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"}


class Sendgrid(Provider):
    """Its own tracking stays off unless `tracking` is on: it would count twice what we count."""

    kind = "sendgrid"
    largest = 30 * MEGABYTE

    def __init__(self, fields: Fields, **common: Any) -> None:
        self._tracking = fields.switch("tracking")
        self._headers = {"Authorization": f"Bearer {fields.secret('api_key')}"}
        super().__init__(
            endpoint=fields.url("endpoint", _ENDPOINTS[fields.choice("region", ("global", "eu"))]), **common
        )

    def request(self, parcel: Parcel) -> requests.Request:
        found = opened(parcel, forbidden=FORBIDDEN)
        contents = [("text/plain", found.text), ("text/html", found.html)]
        if any(text == "" for _, text in contents):
            unsupported("an empty text")
        body: dict[str, Any] = {
            "personalizations": [{"to": [_recipient(found.to[0] if found.to else Mailbox(parcel.rcpt))]}],
            "from": _box(found.sender),
            "subject": found.subject,
            "content": [{"type": kind, "value": text} for kind, text in contents if text is not None],
            "custom_args": {REFERENCE: parcel.token},
        }
        if len(found.reply_to) == 1:
            body["reply_to"] = _box(found.reply_to[0])
        elif found.reply_to:
            body["reply_to_list"] = [_box(box) for box in found.reply_to]
        if found.headers:
            body["headers"] = dict(found.headers)
        if found.attachments:
            body["attachments"] = [_attachment(part) for part in found.attachments]
        if not self._tracking:
            off = {"enable": False}
            body["tracking_settings"] = {
                "click_tracking": off | {"enable_text": False},
                "open_tracking": off,
                "subscription_tracking": off,
            }
        headers = self._headers | {"Content-Type": "application/json"}
        return requests.Request("POST", "/v3/mail/send", headers=headers, data=orjson.dumps(body))

    def taken(self, answer: Answer) -> str | None:
        return answer.headers.get("x-message-id", "") if answer.status == 202 else None

    def refusal(self, answer: Answer, parcel: Parcel) -> Means | None:
        fields = [field for field, _ in _errors(answer)]
        if any(field.startswith("personalizations.0.to") for field in fields):
            return Means.RECIPIENT
        if answer.status in (400, 403) and any(field.startswith("from") for field in fields):
            return Means.OURS
        said = self.said(answer).lower()
        return Means.QUOTA if answer.status in (401, 403) and "maximum credits exceeded" in said else None

    def said(self, answer: Answer) -> str:
        found = _errors(answer)
        if not found:
            return answer.body.decode("utf-8", "replace")
        return "; ".join(f"{field}: {text}" if field else text for field, text in found)

    def probe(self) -> requests.Request:
        return requests.Request("GET", "/v3/scopes", headers=self._headers)

    def checked(self, answer: Answer) -> Check:
        found = json_of(answer)
        if answer.status != 200 or not isinstance(found, dict):
            return Check(False, f"HTTP {answer.status}: {self.said(answer)}"[:500])
        if "mail.send" not in (found.get("scopes") or ()):
            return Check(False, "the key is good, but may not send: it needs the permission mail.send")
        return Check(True, "the key is good and may send")


def _box(box: Mailbox) -> dict[str, str]:
    return {"email": box.email, "name": box.name} if box.name else {"email": box.email}


def _recipient(box: Mailbox) -> dict[str, str]:
    """Of recipients, and of nobody else, names with a comma or semicolon are taken apart unless they are quoted."""
    made = _box(box)
    if "," in box.name or ";" in box.name:
        escaped = box.name.replace("\\", "\\\\").replace('"', '\\"')
        made["name"] = f'"{escaped}"'
    return made


def _attachment(part: Attachment) -> dict[str, str]:
    if ";" in part.content_type:
        unsupported(f"an attachment of the type {part.content_type}")
    made = {
        "content": base64.b64encode(part.content).decode("ascii"),
        "type": part.content_type,
        "filename": part.filename,
        "disposition": "inline" if part.inline else "attachment",
    }
    return made | {"content_id": part.content_id} if part.content_id else made


def _errors(answer: Answer) -> list[tuple[str, str]]:
    """Field and words of each error."""
    found = json_of(answer)
    errors = found.get("errors") if isinstance(found, dict) else None
    if not isinstance(errors, list):
        return []
    return [(str(one.get("field") or ""), str(one.get("message") or "")) for one in errors if isinstance(one, dict)]
