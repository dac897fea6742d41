"""Resend: the message is taken apart into JSON, and put together again over there."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import requests

from gateway.mail.address import format_mailbox
from gateway.mail.draft import Attachment
from gateway.mail.structured import unsupported
from gateway.transports.http_line import Answer
from gateway.transports.provider import MEGABYTE, REFERENCE, Check, Means, Parcel, Provider, json_of, text_of
from gateway.transports.provider_fields import Fields
from gateway.transports.structured_send import opened

_BASE = "https://api.resend.com"
_QUOTA = frozenset({"rate_limit_exceeded", "daily_quota_exceeded", "monthly_quota_exceeded"})
_RESTRICTED = "restricted_api_key"


class Resend(Provider):
    """Each delivery has an idempotency key of its own, so that one sent again is one message for a day."""

    kind = "resend"
    largest = 40 * MEGABYTE * 3 // 4

    def __init__(self, fields: Fields, **common: Any) -> None:
        self._headers = {"Authorization": f"Bearer {fields.secret('api_key')}"}
        super().__init__(endpoint=fields.url("endpoint", _BASE), **common)

    def request(self, parcel: Parcel) -> requests.Request:
        found = opened(parcel)
        body: dict[str, Any] = {
            "from": format_mailbox(found.sender),
            "to": [format_mailbox(box) for box in found.to] or [parcel.rcpt],
            "subject": found.subject,
            "tags": [{"name": REFERENCE, "value": parcel.token}],
            # Left out, it would be made of the HTML.
            "text": found.text or "",
        }
        if "" in (found.text, found.html):
            unsupported("an empty text")
        if found.html is not None:
            body["html"] = found.html
        if found.reply_to:
            body["reply_to"] = [format_mailbox(box) for box in found.reply_to]
        if found.headers:
            body["headers"] = dict(found.headers)
        if found.attachments:
            body["attachments"] = [_attachment(part) for part in found.attachments]
        headers = self._headers | {
            "Content-Type": "application/json",
            "Idempotency-Key": f"{REFERENCE}/{parcel.token}",
        }
        return requests.Request("POST", "/emails", headers=headers, data=orjson.dumps(body))

    def taken(self, answer: Answer) -> str | None:
        found = json_of(answer)
        id_ = found.get("id") if isinstance(found, dict) else None
        return id_ if isinstance(id_, str) and id_ else None

    def refusal(self, answer: Answer, parcel: Parcel) -> Means | None:
        word, said = text_of(answer, "name"), self.said(answer)
        if word == "concurrent_idempotent_requests":
            return Means.RUNNING
        if word == "invalid_idempotent_request":  # something else was sent under the key, so something was taken
            return Means.DOUBT
        if word in _QUOTA:
            return Means.QUOTA
        if answer.status in (400, 422) and "`to`" in said:
            return Means.RECIPIENT
        if "api key" in said.lower() or word in ("invalid_from_address", "invalid_access") or "`from`" in said:
            return Means.OURS
        return None

    def said(self, answer: Answer) -> str:
        return text_of(answer, "message")

    def probe(self) -> requests.Request:
        return requests.Request("GET", "/domains", headers=self._headers)

    def checked(self, answer: Answer) -> Check:
        if answer.status == 200:
            return Check(True, "the key is good")
        if text_of(answer, "name") == _RESTRICTED:
            return Check(True, "the key is good and may only send")
        return Check(False, f"HTTP {answer.status}: {self.said(answer)}"[:500])


def _attachment(part: Attachment) -> dict[str, str]:
    """With a content id a part is inline there, without one it is attached."""
    if part.content_id and not part.inline:
        unsupported("an attachment with a Content-ID that is not shown inline")
    made = {
        "content": base64.b64encode(part.content).decode("ascii"),
        "filename": part.filename,
        "content_type": part.content_type,
    }
    return made | {"content_id": part.content_id} if part.inline else made
