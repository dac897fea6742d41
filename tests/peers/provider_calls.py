"""What providers call a hook with, signed with keys made here as each of them signs."""

from __future__ import annotations

import base64
import datetime
import hmac
import json
import secrets
import time
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook

from tests.peers.http_sink import Answer, HttpSink

Call = tuple[dict[str, str], bytes]
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"
PAST_S = 2
"""How long ago the events happened."""


class Peer(Protocol):
    """A provider with the configuration that its server needs."""

    kind: str
    config: dict[str, Any]
    credentials: dict[str, str]

    def call(self, word: str, token: str, **more: Any) -> Call:
        """A signed call with one event of ours: delivered, deferred, bounced, failed, complained, opened, clicked …"""

    def old(self, word: str, token: str) -> Call:
        """One that was signed too long ago."""

    def forged(self, call: Call) -> Call:
        """The same with its content changed."""


def iso(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class Sns:
    """SES over an SNS of one's own: `sink` has the certificate and hears of confirmations."""

    kind = "ses"
    topic = "arn:aws:sns:eu-west-1:123456789012:mail-events"

    def __init__(self, sink: HttpSink, version: str = "2") -> None:
        self.sink = sink
        self.version = version
        self.key = rsa.generate_private_key(65537, 2048)
        self.certificate_url = f"{sink.url}/SimpleNotificationService-{secrets.token_hex(16)}.pem"
        sink.always(self.certificate_url.removeprefix(sink.url), Answer(200, self._certificate()))
        self.config = {"region": "eu-west-1", "topic_arn": self.topic, "sns_endpoint": sink.url}
        self.credentials = {"access_key_id": "AKIA", "secret_access_key": "secret"}

    def _certificate(self) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .sign(self.key, hashes.SHA256())
            .public_bytes(Encoding.PEM)
        )

    def signed(self, fields: dict[str, str]) -> Call:
        found = {
            "MessageId": secrets.token_hex(16), "TopicArn": self.topic, "Timestamp": iso(time.time()),
            "SignatureVersion": self.version, "SigningCertURL": self.certificate_url,
        } | fields  # fmt: skip
        names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        text = "".join(f"{name}\n{found[name]}\n" for name in names if name in found)
        algorithm = hashes.SHA1() if self.version == "1" else hashes.SHA256()
        found["Signature"] = base64.b64encode(self.key.sign(text.encode(), padding.PKCS1v15(), algorithm)).decode()
        headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": found["Type"]}
        return headers, json.dumps(found).encode()

    def call(self, word: str, token: str, **more: Any) -> Call:
        fields = {"Type": "Notification", "Message": json.dumps(self._event(word, token, more))}
        return self.signed(fields | ({"MessageId": more["id"]} if "id" in more else {}))

    def _event(self, word: str, token: str, more: dict[str, Any]) -> dict[str, Any]:
        at = iso(time.time() - PAST_S)
        mail = {
            "timestamp": at, "messageId": "0102", "destination": ["jane@friends.test"],
            "tags": {"ses:configuration-set": ["all"], "commandpost": [token]},
        }  # fmt: skip
        recipient = {
            "emailAddress": "jane@friends.test", "action": "failed", "status": more.get("status", "5.1.1"),
            "diagnosticCode": f"smtp; {more.get('reply', '550 5.1.1 user unknown')}",
        }  # fmt: skip
        hit = {"ipAddress": "192.0.2.1", "timestamp": at, "userAgent": more.get("agent", AGENT)}
        name, part = {
            "delivered": ("Delivery", {"timestamp": at, "smtpResponse": "250 2.6.0 taken", "recipients": []}),
            "deferred": (
                "DeliveryDelay",
                {"timestamp": at, "delayType": "MailboxFull", "delayedRecipients": [recipient | {"status": "4.2.2"}]},
            ),
            "bounced": (
                "Bounce",
                {
                    "bounceType": more.get("type", "Permanent"), "bounceSubType": more.get("subtype", "General"),
                    "bouncedRecipients": [recipient], "timestamp": at, "reportingMTA": "dsn; mta.friends.test",
                },
            ),
            "failed": (
                "Bounce",
                {
                    "bounceType": "Transient", "bounceSubType": "MailboxFull", "timestamp": at,
                    "bouncedRecipients": [
                        recipient | {"status": "5.2.2", "diagnosticCode": "smtp; 552 5.2.2 mailbox full"}
                    ],
                },
            ),
            "complained": ("Complaint", {"complaintFeedbackType": "abuse", "timestamp": at, "userAgent": "FBL"}),
            "opened": ("Open", hit),
            "clicked": ("Click", hit | {"link": more.get("url", "https://shop.test/a")}),
            "unsubscribed": ("Subscription", {"timestamp": at, "source": "UnsubscribeHeader"}),
            "unknown": ("Teleported", {}),
        }[word]  # fmt: skip
        key = {"DeliveryDelay": "deliveryDelay"}.get(name, name.lower())
        return {"eventType": name, "mail": mail, key: part}

    def old(self, word: str, token: str) -> Call:
        message = json.dumps(self._event(word, token, {}))
        stamp = iso(time.time() - 2 * 86_400)
        return self.signed({"Type": "Notification", "Message": message, "Timestamp": stamp})

    def forged(self, call: Call) -> Call:
        return call[0], call[1].replace(b"jane@", b"joan@")


class Mailgun:
    kind = "mailgun"

    def __init__(self) -> None:
        self.config = {"domain": "shop.test"}
        self.credentials = {"api_key": "key", "signing_key": secrets.token_hex(16)}

    def signature(self, at: float) -> dict[str, str]:
        stamp, nonce = str(int(at)), secrets.token_hex(25)
        key = self.credentials["signing_key"].encode()
        mac = hmac.new(key, f"{stamp}{nonce}".encode(), "sha256").hexdigest()
        return {"timestamp": stamp, "token": nonce, "signature": mac}

    def call(self, word: str, token: str, *, at: float | None = None, **more: Any) -> Call:
        status = {"code": 550, "message": more.get("reply", "550 5.1.1 user unknown"), "mx-host": "mx.friends.test"}
        client = {"client-info": {"user-agent": more.get("agent", AGENT)}, "ip": "192.0.2.1"}
        event: dict[str, Any] = {
            "delivered": {"delivery-status": {"code": 250, "message": "OK", "mx-host": "mx.friends.test"}},
            "deferred": {
                "event": "failed", "severity": "temporary", "reason": "generic",
                "delivery-status": {"code": 450, "message": "450 4.2.1 try later", "mx-host": "mx.friends.test"},
            },
            "bounced": {"event": "failed", "severity": "permanent", "reason": "bounce", "delivery-status": status},
            "failed": {
                "event": "failed", "severity": "permanent", "reason": "old",
                "delivery-status": {"code": 452, "message": "452 4.2.2 mailbox full", "description": "Too old"},
            },
            "complained": {},
            "opened": client,
            "clicked": client | {"url": more.get("url", "https://shop.test/a")},
            "unsubscribed": client,
            "unknown": {"event": "teleported"},
        }[word]  # fmt: skip
        event = {
            "event": word, "id": more.get("id", secrets.token_urlsafe(16)), "timestamp": time.time() - PAST_S,
            "recipient": "jane@friends.test", "user-variables": {"commandpost": token},
        } | event  # fmt: skip
        body = {"signature": self.signature(at or time.time()), "event-data": event}
        return {"Content-Type": "application/json"}, json.dumps(body).encode()

    def old(self, word: str, token: str) -> Call:
        return self.call(word, token, at=time.time() - 86_400)

    def forged(self, call: Call) -> Call:
        found = json.loads(call[1])
        found["signature"]["token"] = "f" * 50
        return call[0], json.dumps(found).encode()


class Sendgrid:
    kind = "sendgrid"

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.config: dict[str, Any] = {}
        self.credentials = {"api_key": "key", "verification_key": base64.b64encode(public).decode()}

    def event(self, word: str, token: str, **more: Any) -> dict[str, Any]:
        hit = {"ip": "192.0.2.1", "useragent": more.get("agent", AGENT)}
        found: dict[str, Any] = {
            "delivered": {"response": "250 2.0.0 OK"},
            "deferred": {"response": "450 4.2.1 try later", "attempt": "3"},
            "bounced": {
                "event": "bounce", "type": "bounce", "status": "5.1.1",
                "reason": more.get("reply", "550 5.1.1 user unknown"), "bounce_classification": "Invalid Address",
            },
            "failed": {"event": "dropped", "reason": "Unsubscribed Address"},
            "complained": {"event": "spamreport"},
            "opened": hit | {"event": "open", "sg_machine_open": more.get("machine", False)},
            "clicked": hit | {"event": "click", "url": more.get("url", "https://shop.test/a")},
            "unsubscribed": {"event": "unsubscribe"},
            "unknown": {"event": "teleported"},
        }[word]  # fmt: skip
        return {
            "event": word, "sg_event_id": more.get("id", secrets.token_urlsafe(16)), "email": "jane@friends.test",
            "timestamp": int(time.time() - PAST_S), "commandpost": token, "sg_message_id": "x.y.z",
        } | found  # fmt: skip

    def signed(self, events: list[dict[str, Any]], at: float | None = None) -> Call:
        body = json.dumps(events).encode()
        stamp = str(int(at or time.time()))
        signature = self.key.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        headers = {
            "Content-Type": "application/json",
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
        }
        return headers, body

    def call(self, word: str, token: str, **more: Any) -> Call:
        return self.signed([self.event(word, token, **more)])

    def old(self, word: str, token: str) -> Call:
        return self.signed([self.event(word, token)], at=time.time() - 2 * 86_400)

    def forged(self, call: Call) -> Call:
        return call[0], call[1].replace(b"jane@", b"joan@")


class Resend:
    """Signs with the library of the specification."""

    kind = "resend"

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        self.credentials = {"api_key": "key", "signing_secret": secret}

    def call(self, word: str, token: str, *, at: float | None = None, **more: Any) -> Call:
        hit = {"ipAddress": "192.0.2.1", "userAgent": more.get("agent", AGENT), "timestamp": iso(time.time())}
        name, part = {
            "delivered": ("delivered", {}),
            "deferred": ("delivery_delayed", {}),
            "bounced": (
                "bounced",
                {
                    "bounce": {
                        "type": more.get("type", "Permanent"), "subType": more.get("subtype", "General"),
                        "message": more.get("reply", "550 5.1.1 user unknown"), "diagnosticCode": more.get("codes", []),
                    }
                },
            ),
            "failed": ("failed", {"failed": {"reason": "reached_daily_quota"}}),
            "complained": ("complained", {}),
            "opened": ("opened", {"open": hit}),
            "clicked": ("clicked", {"click": hit | {"link": more.get("url", "https://shop.test/a")}}),
            "unknown": ("teleported", {}),
        }[word]  # fmt: skip
        data = {"email_id": "e1", "to": ["jane@friends.test"], "subject": "Your order", "tags": {"commandpost": token}}
        event = {"type": f"email.{name}", "created_at": iso(time.time() - PAST_S), "data": data | part}
        return self.signed(event, at=at, id_=more.get("id", ""))

    def signed(self, event: Any, *, at: float | None = None, id_: str = "") -> Call:
        body = json.dumps(event)
        id_, moment = id_ or f"msg_{secrets.token_hex(12)}", at or time.time()
        signature = Webhook(self.credentials["signing_secret"]).sign(
            id_, datetime.datetime.fromtimestamp(moment, datetime.UTC), body
        )
        headers = {
            "Content-Type": "application/json", "svix-id": id_, "svix-timestamp": str(int(moment)),
            "svix-signature": f"v1,{base64.b64encode(b'x' * 32).decode()} {signature}",
        }  # fmt: skip
        return headers, body.encode()

    def old(self, word: str, token: str) -> Call:
        return self.call(word, token, at=time.time() - 3600)

    def forged(self, call: Call) -> Call:
        return call[0], call[1].replace(b"jane@", b"joan@")
