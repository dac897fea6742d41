"""Resend: the message is taken apart into JSON, and put together again over there."""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson
import requests

from gateway.mail import headers
from gateway.mail.address import format_mailbox
from gateway.mail.draft import Attachment, Mailbox
from gateway.mail.structured import unsupported
from gateway.transports.http_line import Answer
from gateway.transports.provider import MEGABYTE, REFERENCE, Check, Means, Parcel, Provider, json_of, text_of
from gateway.transports.provider_fields import Fields
from gateway.transports.structured_send import opened

_BASE = "https://api.resend.com"
_QUOTA = frozenset({"rate_limit_exceeded", "daily_quota_exceeded", "monthly_quota_exceeded"})
_SPECIALS = re.compile(r"[,;:<>()\[\]@\\\"]")  # of RFC 5322, but for the dot
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
            "from": _sender(found.sender),
            "to": [_box(box) for box in found.to] or [parcel.rcpt],
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
            body["reply_to"] = [_box(box) for box in found.reply_to]
        if found.headers:
            body["headers"] = dict(found.headers)
        if found.attachments:
            body["attachments"] = [_attachment(part) for part in found.attachments]
        said = {"Content-Type": "application/json", "Idempotency-Key": f"{REFERENCE}/{parcel.token}"}
        return requests.Request("POST", "/emails", headers=self._headers | said, data=orjson.dumps(body))

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
        if word == "security_error":  # characters that it does not take in a field
            return Means.UNFIT
        return Means.OURS if "api key" in said.lower() or word == "invalid_access" else None

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


def _sender(box: Mailbox) -> str:
    """In From it takes neither encoded words nor quotes: the name stands as it is, unless that needs quotes."""
    if not box.name:
        return box.email
    if _SPECIALS.search(box.name):
        unsupported(f"a sender whose name has {_SPECIALS.findall(box.name)[0]}")
    return f"{box.name} <{box.email}>"


def _box(box: Mailbox) -> str:
    """Elsewhere encoded words are taken, and quotes are not."""
    if _SPECIALS.search(box.name) or "." in box.name:
        return f"{' '.join(headers.encoded_words(box.name))} <{box.email}>"
    return format_mailbox(box)


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
