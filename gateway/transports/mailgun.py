"""Mailgun: the message goes out as it was rendered and signed, to the recipient that the form names."""

from __future__ import annotations

from typing import Any

import requests
from requests.auth import HTTPBasicAuth

from gateway.transports.http_line import Answer
from gateway.transports.provider import MEGABYTE, REFERENCE, Check, Means, Parcel, Provider, json_of, text_of
from gateway.transports.provider_fields import Fields

_ENDPOINTS = {"us": "https://api.mailgun.net", "eu": "https://api.eu.mailgun.net"}
_GREETING = b"Mailgun Magnificent API"
"""What it answers with 200 where there is no such path: a wrong domain or endpoint."""


class Mailgun(Provider):
    """Its own tracking stays off unless `tracking` is on: it would rewrite what is signed, and count twice."""

    kind = "mailgun"
    largest = 25 * MEGABYTE

    def __init__(self, fields: Fields, **common: Any) -> None:
        domain = fields.text("domain", default=None, like=r"[A-Za-z0-9.-]{1,253}", shape="the sending domain")
        self._path = f"/v3/{domain.lower()}/messages.mime"
        self._tracking = "yes" if fields.switch("tracking") else "no"
        self._auth = HTTPBasicAuth("api", fields.secret("api_key"))
        super().__init__(endpoint=fields.url("endpoint", _ENDPOINTS[fields.choice("region", ("us", "eu"))]), **common)

    def request(self, parcel: Parcel) -> requests.Request:
        form = {"to": parcel.rcpt, "o:tracking": self._tracking, f"v:{REFERENCE}": parcel.token}
        files = {"message": ("message.eml", parcel.message, "message/rfc822")}
        return requests.Request("POST", self._path, data=form, files=files, auth=self._auth)

    def taken(self, answer: Answer) -> str | None:
        found = json_of(answer)
        id_ = found.get("id") if isinstance(found, dict) else None
        return id_.strip("<>") if isinstance(id_, str) and id_ else None

    def refusal(self, answer: Answer, parcel: Parcel) -> Means | None:
        if _GREETING in answer.body:
            return Means.OURS
        said = self.said(answer).lower()
        if answer.status == 400 and ("'to' parameter is not a valid" in said or "to parameter is not a valid" in said):
            return Means.RECIPIENT
        if answer.status == 400 and "domain" in said and "not" in said and "verif" in said:
            return Means.OURS
        return None

    def said(self, answer: Answer) -> str:
        return text_of(answer, "message")

    def probe(self) -> requests.Request:
        # A key may be good for sending alone: what it cannot see, a request without a message proves.
        return requests.Request("POST", self._path, files={"o:testmode": (None, "yes")}, auth=self._auth)

    def checked(self, answer: Answer) -> Check:
        if answer.status == 400:
            return Check(True, "the credentials are good")
        return Check(False, f"HTTP {answer.status}: {self.said(answer)}"[:500])
