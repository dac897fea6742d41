"""The APIs of four mail providers on loopback, as strict as their descriptions: who may send, what must be there."""

from __future__ import annotations

import base64
import email
import email.policy
import io
import re
from dataclasses import dataclass, field
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import orjson
from werkzeug.formparser import parse_form_data

from tests.peers.http_sink import Answer, HttpSink, Request

KEY = "a-good-key"
SECRET = "a-good-secret"  # of the AWS key
_ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+")


@dataclass
class Taken:
    """A message as the provider understood it."""

    id: str
    rcpt: list[str]  # whom it would deliver to
    reference: str
    sender: str
    subject: str
    to: list[tuple[str, str]]
    text: str | None = None
    html: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reply_to: list[str] = field(default_factory=list)
    attachments: list[tuple[str, str, bytes, str]] = field(default_factory=list)  # name, type, content, inline cid
    raw: bytes = b""
    request: Request | None = None


class ProviderApi(HttpSink):
    """Answers requests as the API would; a script of the sink goes before. `refused` addresses it does not take."""

    path = ""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.refused: set[str] = set()
        self.number = 0
        super().__init__()

    def take(self, request: Request) -> Answer:
        path = request.path.partition("?")[0]
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
            script = self._scripts.get(path)
            if script:
                return script.popleft()
        return self._always.get(path) or self.answer(request)

    def answer(self, request: Request) -> Answer:
        """As the provider does; each says how."""
        raise NotImplementedError

    def keep(self, **words: Any) -> Taken:
        self.number += 1
        made = Taken(id=f"id-{self.number}", **words)
        self.taken.append(made)
        return made


def said(status: int, body: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, orjson.dumps(body), {"Content-Type": "application/json"} | named)


def decoded(value: str) -> str:
    """A field with its encoded words decoded (RFC 2047 §6.2)."""
    return str(make_header(decode_header(value))).replace("\n", "")


def of_mime(raw: bytes) -> dict[str, Any]:
    """What a reader sees of a message, by the standard library."""
    message = email.message_from_bytes(raw, policy=email.policy.SMTPUTF8)
    assert isinstance(message, EmailMessage)
    found: dict[str, Any] = {"text": None, "html": None, "attachments": []}
    for part in message.walk():
        if part.is_multipart():
            continue
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        kind = part.get_content_type()
        if part.get_filename():
            cid = str(part["Content-ID"] or "").strip("<>") if part.get_content_disposition() == "inline" else ""
            found["attachments"].append((part.get_filename(), kind, content, cid))
        elif kind in ("text/plain", "text/html"):
            text = content.decode(part.get_content_charset() or "ascii").replace("\r\n", "\n")
            found["text" if kind == "text/plain" else "html"] = text
    return found | {
        "sender": decoded(dict(email.message_from_bytes(raw).items())["From"]),
        "subject": str(message["Subject"]),
        "to": getaddresses([str(message["To"] or "")]),
        "reply_to": [str(message["Reply-To"])] if message["Reply-To"] else [],
        "headers": {name: str(value) for name, value in message.items()},
    }


class SesApi(ProviderApi):
    """Checks the signature with the vendor's own library."""

    path = "/v2/email/outbound-emails"

    def answer(self, request: Request) -> Answer:
        if not self._signed(request):
            return self._error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
        if request.path == "/v2/email/account" and request.method == "GET":
            return said(200, {"SendingEnabled": True, "ProductionAccessEnabled": True, "SendQuota": {}})
        if request.path != self.path or request.method != "POST":
            return self._error(404, "NotFoundException", "no such operation")
        body = orjson.loads(request.body)
        to = body["Destination"]["ToAddresses"]
        raw = base64.b64decode(body["Content"]["Raw"]["Data"], validate=True)
        if not raw.isascii():
            return self._error(400, "BadRequestException", "the message is not ASCII")
        for tag in body["EmailTags"]:
            for text in tag.values():
                if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", text):
                    return self._error(400, "BadRequestException", f"Invalid tag value <{text}>")
        for address in to:
            if address in self.refused or not address.isascii():
                return self._error(400, "BadRequestException", f"Local address contains control: {address}")
        tags = {tag["Name"]: tag["Value"] for tag in body["EmailTags"]}
        made = self.keep(rcpt=to, reference=tags["commandpost"], raw=raw, request=request, **of_mime(raw))
        return said(200, {"MessageId": made.id})

    @staticmethod
    def _error(status: int, word: str, text: str) -> Answer:
        return said(status, {"message": text}, x_amzn_ErrorType=word)

    def _signed(self, request: Request) -> bool:
        given = request.headers.get("authorization", "")
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([a-z0-9-]+)/ses/aws4_request, SignedHeaders=(\S+),"
            r" Signature=([0-9a-f]{64})",
            given,
        )
        if not found or found[1] != KEY:
            return False
        wanted = {name: request.headers[name] for name in found[3].split(";") if name != "x-amz-date"}
        again = botocore.awsrequest.AWSRequest(
            method=request.method, url=f"{self.url}{request.path}", headers=wanted, data=request.body or None
        )
        signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(KEY, SECRET), "ses", found[2])
        again.context["timestamp"] = request.headers["x-amz-date"]
        again.headers["X-Amz-Date"] = request.headers["x-amz-date"]
        canonical = signer.canonical_request(again)
        return signer.signature(signer.string_to_sign(again, canonical), again) == found[4]


class MailgunApi(ProviderApi):
    path = "/v3/shop.test/messages.mime"

    def answer(self, request: Request) -> Answer:
        if request.headers.get("authorization") != "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode():
            return Answer(401, b"Forbidden", {"Content-Type": "text/plain"})
        if request.path != self.path:
            return said(404, {"message": f"Domain not found: {request.path.split('/')[2]}"})
        _, form, files = parse_form_data(
            {
                "wsgi.input": io.BytesIO(request.body),
                "CONTENT_TYPE": request.headers["content-type"],
                "CONTENT_LENGTH": str(len(request.body)),
                "REQUEST_METHOD": "POST",
            }
        )
        if not form.get("to"):
            return said(400, {"message": "to parameter is missing"})
        if form["to"] in self.refused or not _ADDRESS.fullmatch(form["to"]):
            return said(400, {"message": "'to' parameter is not a valid address. please check documentation"})
        if "message" not in files:
            return said(400, {"message": "message parameter is missing"})
        raw = files["message"].read()
        made = self.keep(rcpt=[form["to"]], reference=form["v:commandpost"], raw=raw, request=request, **of_mime(raw))
        assert form["o:tracking"] == "no"
        return said(200, {"id": f"<{made.id}>", "message": "Queued. Thank you."})


class SendgridApi(ProviderApi):
    path = "/v3/mail/send"
    FORBIDDEN = (
        "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding",
        "to", "from", "subject", "reply-to", "cc", "bcc",
    )  # fmt: skip

    def answer(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return self._error(401, None, "The provided authorization grant is invalid, expired, or revoked")
        if request.path == "/v3/scopes":
            return said(200, {"scopes": ["mail.send", "alerts.read"]})
        if request.path != self.path or request.method != "POST":
            return self._error(404, None, "not found")
        if request.headers["content-type"] != "application/json":
            return self._error(415, None, "Content-Type should be application/json.")
        body = orjson.loads(request.body)
        for at, one in enumerate(body["personalizations"]):
            for n, box in enumerate(one["to"]):
                if box["email"] in self.refused or not _ADDRESS.fullmatch(box["email"]):
                    return self._error(400, f"personalizations.{at}.to.{n}.email", "Does not contain a valid address.")
                name = box.get("name", "")
                if ("," in name or ";" in name) and not name.startswith('"'):
                    return self._error(400, f"personalizations.{at}.to", "the name would be taken apart")
        if not body.get("subject"):
            return self._error(400, "subject", "The subject is required.")
        kinds = [part["type"] for part in body["content"]]
        if kinds != sorted(kinds, reverse=True) or any(not part["value"] for part in body["content"]):
            return self._error(400, "content", "text/plain first; values must be at least one character in length")
        headers = body.get("headers", {})
        for name, value in headers.items():
            if name.lower() in self.FORBIDDEN or not isinstance(value, str):
                return self._error(400, "headers", f"The header {name} may not be set")
        for part in body.get("attachments", ()):
            if not part["filename"] or ";" in part.get("type", ""):
                return self._error(400, "attachments", "The type cannot contain ';', the filename is required")
        args = body.get("custom_args", {})
        if not all(isinstance(value, str) for value in args.values()) or len(orjson.dumps(args)) > 10_000:
            return self._error(400, "custom_args", "must be strings of less than 10000 bytes")
        assert not body["tracking_settings"]["click_tracking"]["enable"]
        sender = body["from"]
        reply = body.get("reply_to_list") or ([body["reply_to"]] if "reply_to" in body else [])
        texts = {part["type"]: part["value"] for part in body["content"]}
        made = self.keep(
            rcpt=[box["email"] for one in body["personalizations"] for box in one["to"]],
            reference=args["commandpost"],
            sender=_shown(sender),
            subject=body["subject"],
            to=[
                (_unquoted(box.get("name", "")), box["email"]) for one in body["personalizations"] for box in one["to"]
            ],
            text=texts.get("text/plain"),
            html=texts.get("text/html"),
            headers=headers,
            reply_to=[_shown(box) for box in reply],
            attachments=[
                (
                    part["filename"], part["type"], base64.b64decode(part["content"], validate=True),
                    part["content_id"] if part["disposition"] == "inline" else "",
                )
                for part in body.get("attachments", ())
            ],
            request=request,
        )  # fmt: skip
        return Answer(202, b"", {"X-Message-Id": made.id})

    @staticmethod
    def _error(status: int, where: str | None, text: str) -> Answer:
        return said(status, {"errors": [{"message": text, "field": where, "help": None}]})


def _unquoted(name: str) -> str:
    quoted = len(name) > 1 and name[0] == name[-1] == '"'
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if quoted else name


def _shown(box: dict[str, str]) -> str:
    return f"{box['name']} <{box['email']}>" if box.get("name") else box["email"]


class ResendApi(ProviderApi):
    """Keeps idempotency keys as the real one does: the same payload gets the first answer again."""

    path = "/emails"

    def __init__(self) -> None:
        self._keys: dict[str, tuple[bytes, Answer]] = {}
        super().__init__()

    def answer(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return self._error(401, "validation_error", "API key is invalid")
        if request.path == "/domains":
            return self._error(401, "restricted_api_key", "This API key is restricted to only send emails.")
        if request.path != self.path or request.method != "POST":
            return self._error(404, "not_found", "The requested endpoint does not exist.")
        key = request.headers["idempotency-key"]
        if not 1 <= len(key) <= 256:
            return self._error(400, "invalid_idempotency_key", "The key must be between 1-256 chars.")
        if key in self._keys:
            body, answer = self._keys[key]
            if body != request.body:
                return self._error(409, "invalid_idempotent_request", "Same idempotency key used with another payload.")
            return answer
        answer = self._send(request)
        if answer.status == 200:
            self._keys[key] = (request.body, answer)
        return answer

    def _send(self, request: Request) -> Answer:
        body = orjson.loads(request.body)
        if not 1 <= len(body["to"]) <= 50:
            return self._error(422, "validation_error", "Invalid `to` field.")
        if '"' in body["from"]:
            return self._error(422, "validation_error", "Invalid `from` field.")
        if "=?" in body["from"]:
            return self._error(451, "security_error", "The email payload contain invalid characters")
        if any('"' in text for text in [*body["to"], *body.get("reply_to", [])]):
            return self._error(422, "validation_error", "Invalid `to` field.")
        boxes = getaddresses(body["to"])
        for _, address in boxes:
            if address in self.refused or not _ADDRESS.fullmatch(address):
                return self._error(422, "validation_error", "Invalid `to` field. The email address needs to be valid.")
        for tag in body["tags"]:
            for text in tag.values():
                if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", text):
                    return self._error(422, "validation_error", "Tags should only contain ASCII letters, numbers, _, -")
        made = self.keep(
            rcpt=[address for _, address in boxes],
            reference={tag["name"]: tag["value"] for tag in body["tags"]}["commandpost"],
            sender=decoded(body["from"]),
            subject=body["subject"],
            to=[(decoded(name), address) for name, address in boxes],
            text=body["text"] or None,
            html=body.get("html"),
            headers=body.get("headers", {}),
            reply_to=[decoded(text) for text in body.get("reply_to", [])],
            attachments=[
                (
                    part["filename"], part["content_type"], base64.b64decode(part["content"], validate=True),
                    part.get("content_id", ""),
                )
                for part in body.get("attachments", ())
            ],
            request=request,
        )  # fmt: skip
        return said(200, {"id": made.id})

    @staticmethod
    def _error(status: int, name: str, text: str) -> Answer:
        return said(status, {"statusCode": status, "name": name, "message": text})
