"""Amazon SES, API v2: the message goes out as it was rendered, to the recipient that Destination names."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import requests

from gateway.mail.sevenbit import sevenbit
from gateway.transports.http_line import Answer
from gateway.transports.provider import MEGABYTE, REFERENCE, Check, Means, Parcel, Provider, json_of, text_of
from gateway.transports.provider_fields import Fields
from gateway.transports.sigv4 import SigV4

_OURS = frozenset(
    {
        "AccountSuspendedException",
        "MailFromDomainNotVerifiedException",
        "MessageRejected",  # an identity that is not verified, a sandbox
        "NotFoundException",  # the configuration set
        "SendingPausedException",
    }
)
_QUOTA = frozenset({"LimitExceededException", "Throttling", "ThrottlingException", "TooManyRequestsException"})
_OURS_TO_SIGN = b"DKIM-Signature:"


class Ses(Provider):
    """Our own DKIM signature stays behind: SES writes Date and Message-ID anew, and signs for the identity itself.

    It takes ASCII only, so 8-bit parts are encoded.
    """

    kind = "ses"
    largest = 40 * MEGABYTE * 3 // 4

    def __init__(self, fields: Fields, **common: Any) -> None:
        region = fields.text("region", default=None, like=r"[a-z]{2}(-[a-z]+)+-\d", shape="an AWS region, eu-west-1")
        suffix = ".cn" if region.startswith("cn-") else ""
        self._configuration_set = fields.text(
            "configuration_set", like=r"[A-Za-z0-9_-]{1,64}", shape="1 to 64 letters, digits, _ and -"
        )
        self._auth = SigV4(
            access_key_id=fields.secret("access_key_id"),
            secret_access_key=fields.secret("secret_access_key"),
            session_token=fields.secret("session_token", default=""),
            region=region,
            service="ses",
        )
        super().__init__(endpoint=fields.url("endpoint", f"https://email.{region}.amazonaws.com{suffix}"), **common)

    def request(self, parcel: Parcel) -> requests.Request:
        body: dict[str, Any] = {
            "Content": {"Raw": {"Data": base64.b64encode(sevenbit(unsigned(parcel.message))).decode("ascii")}},
            "Destination": {"ToAddresses": [parcel.rcpt]},
            "EmailTags": [{"Name": REFERENCE, "Value": parcel.token}],
        }
        if self._configuration_set:
            body["ConfigurationSetName"] = self._configuration_set
        return self._call("POST", "/v2/email/outbound-emails", orjson.dumps(body))

    def _call(self, method: str, path: str, body: bytes = b"") -> requests.Request:
        headers = {"Content-Type": "application/json"} if body else {}
        return requests.Request(method, path, headers=headers, data=body or None, auth=self._auth)

    def taken(self, answer: Answer) -> str | None:
        found = json_of(answer)
        id_ = found.get("MessageId") if isinstance(found, dict) else None
        return id_ if isinstance(id_, str) and id_ else None

    def refusal(self, answer: Answer, parcel: Parcel) -> Means | None:
        word = _word(answer)
        if word in _QUOTA:
            return Means.QUOTA
        said = self.said(answer)
        if "blacklisted" in said or (word == "BadRequestException" and parcel.rcpt.lower() in said.lower()):
            return Means.RECIPIENT
        return Means.OURS if word in _OURS else None

    def said(self, answer: Answer) -> str:
        text = text_of(answer, "Message" if b'"Message"' in answer.body else "message")
        return " ".join(part for part in (_word(answer), text) if part)

    def probe(self) -> requests.Request:
        return self._call("GET", "/v2/email/account")

    def checked(self, answer: Answer) -> Check:
        found = json_of(answer)
        if _word(answer) == "AccessDeniedException":
            return Check(False, "the key is good, but lacks ses:GetAccount: whether it may send is not known")
        if answer.status != 200 or not isinstance(found, dict):
            return Check(False, f"HTTP {answer.status}: {self.said(answer)}"[:500])
        if found.get("SendingEnabled") is False:
            return Check(False, "the credentials are good, but sending is switched off for the account")
        if found.get("ProductionAccessEnabled") is False:
            return Check(True, "the credentials are good; the account is in the sandbox: verified recipients only")
        return Check(True, "the credentials are good")


def _word(answer: Answer) -> str:
    """The name of the error, without its namespace and what follows it."""
    found = json_of(answer)
    word = answer.headers.get("x-amzn-errortype") or (found.get("__type") if isinstance(found, dict) else "") or ""
    return str(word).partition(":")[0].rpartition("#")[2]


def unsigned(message: bytes) -> bytes:
    """Without the DKIM signatures on top, which are ours."""
    while message.startswith(_OURS_TO_SIGN):
        end = message.find(b"\r\n")
        while message[end + 2 : end + 3] in (b" ", b"\t"):
            end = message.find(b"\r\n", end + 2)
        message = message[end + 2 :]
    return message
