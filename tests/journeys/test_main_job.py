"""The main job, from door to sink: a domain is added and verified, a message sent, signed, delivered and told."""

from __future__ import annotations

import base64
import contextlib
import email
import email.policy
import hashlib
import hmac
import json
import sqlite3
import time
from email.message import EmailMessage
from typing import Any

import dkim
import pytest
import requests
from standardwebhooks.webhooks import Webhook

from tests.installation import Installation
from tests.journeys.conftest import Start
from tests.peers.dns_server import DnsServer
from tests.peers.http_sink import HttpSink
from tests.peers.smtp_sink import SmtpSink

pytestmark = pytest.mark.journey

HTML = (
    '<html><body><p>Grüße, 世界! <a href="https://example.com/?a=1&b=2">here</a></p>\n'
    '<img src="cid:logo"></body></html>\n'
)
TEXT = "Grüße, 世界!\n\n.a line that starts with a dot\nFrom here on: " + "long " * 400 + "\n"
PICTURE = bytes(range(256)) * 3
PAPER = b"%PDF-1.4\r\n\x00\xff binary \n.\r\n.\r\n"


def _publish(dns: DnsServer, records: dict[str, list[str]]) -> None:
    for host, (type_, value) in records.items():
        dns.add(host, type_, value)


def _txt(dns: DnsServer) -> Any:
    """dkimpy's way to DNS, answered by the very server that the gateway asked."""
    import dns.resolver as resolver

    asker = resolver.Resolver(configure=False)
    host, port = dns.address.split(":")
    asker.nameservers, asker.port = [host], int(port)

    def answer(name: bytes, timeout: int = 5) -> bytes:
        found = asker.resolve(name.decode().rstrip("."), "TXT")
        return b"".join(next(iter(found)).strings)

    return answer


def _wait_for_events(installation: Installation, key: str, *words: str, timeout: float = 20.0) -> list[dict[str, Any]]:
    """The events of the key's domain once every word has come."""
    end = time.monotonic() + timeout
    while True:
        answer = requests.get(
            f"{installation.url}/api/v1/events",
            params={"RetrieveCount": "100"},
            headers={"Authorization": f"Bearer {key}"},
            timeout=10,
        ).json()
        seen = [event["EventType"] for event in answer["Events"]]
        if all(seen.count(word) >= words.count(word) for word in words):
            return list(answer["Events"])
        assert time.monotonic() < end, f"waited for {words}, saw {seen}"
        time.sleep(0.1)


def _enabled_domain(installation: Installation, dns: DnsServer, name: str = "shop.test") -> tuple[str, int, str]:
    """Log in as a client would, add a domain, publish its records, verify it; session, id and sender key."""
    installation.cli("user", "add", "--email", "jane@people.test", "--password", "a long password")
    login = installation.command("User.Login", Username="jane@people.test", Password="a long password")
    assert login["Success"] is True, login
    session = login["SessionID"]
    added = installation.command("EmailGateway.AddDomain", SessionID=session, DomainName=name)
    assert added["Success"] is True, added
    assert added["Domain"]["VerificationStatus"] == "Pending"
    domain_id = added["NewSenderDomainID"]
    early = installation.command("EmailGateway.VerifyDomain", SessionID=session, DomainID=domain_id)
    assert early["Domain"]["Status"] == "Approval Pending"
    assert not any(row["Verified"] for row in early["DNSVerificationResults"])
    _publish(dns, added["Domain"]["VerificationMeta"]["DNSRecords"])
    verified = installation.command("EmailGateway.VerifyDomain", SessionID=session, DomainID=domain_id)
    assert verified["Domain"]["Status"] == "Enabled", verified
    assert all(row["Verified"] for row in verified["DNSVerificationResults"]), verified
    key = installation.command("EmailGateway.AddAPI", SessionID=session, DomainID=domain_id, Description="journey")
    return session, domain_id, key["APIKey"]["Key"]


def _send(installation: Installation, key: str, **fields: Any) -> requests.Response:
    body = {
        "Subject": "Grüße from the shop",
        "ContentType": "html",
        "HtmlContent": HTML,
        "PlainContent": TEXT,
        "From": {"email": "hello@shop.test", "name": "The Shöp"},
        "To": [{"email": "carl@friends.test", "name": "Carl, the first"}],
        "TrackLinks": False,
        "TrackOpens": False,
    } | fields
    return requests.post(
        f"{installation.url}/api/v1/email", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30
    )


def _part(message: EmailMessage, content_type: str) -> EmailMessage:
    return next(part for part in message.walk() if part.get_content_type() == content_type)  # type: ignore[return-value]


def test_from_a_new_domain_to_a_signed_webhook(
    start: Start, stores: dict[str, str], sink: SmtpSink, dns: DnsServer, listener: HttpSink
) -> None:
    installation = start(DELIVERY=sink.url, DNS=dns.address, **stores)
    session, domain_id, key = _enabled_domain(installation, dns)
    hook = installation.command(
        "EmailGateway.AddWebhook", SessionID=session, DomainID=domain_id, Event="delivery",
        WebhookURL=f"{listener.url}/told",
    )  # fmt: skip
    assert hook["Success"] is True, hook

    answer = _send(
        installation,
        key,
        CC=[{"email": "dora@friends.test", "name": "Dora"}],
        BCC=[{"email": "hidden@friends.test", "name": "Nobody"}],
        ReplyTo=[{"email": "answers@shop.test", "name": "Answers"}],
        Headers={"X-Order": "4711 – Grüße"},
        Tags=["orders", "first"],
        Attachments=[
            {"Content": base64.b64encode(PICTURE).decode(), "Filename": "logo.png", "Type": "image/png",
             "Disposition": "inline", "ContentId": "logo"},
            {"Content": base64.b64encode(PAPER).decode(), "Filename": "Rechnung für Zoë.pdf",
             "Type": "application/pdf", "Disposition": "attachment"},
        ],
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    message_id = answer.json()["MessageID"]

    received = sink.wait_for(3)
    assert sorted(rcpt for one in received for rcpt in one.rcpts) == [
        "carl@friends.test",
        "dora@friends.test",
        "hidden@friends.test",
    ]
    for one in received:
        assert one.mail_from.endswith("@bounce.shop.test")
        assert b"hidden@" not in one.data
        assert b"\n" not in one.data.replace(b"\r\n", b"")
        signatures = email.message_from_bytes(one.data).get_all("DKIM-Signature") or []
        assert {("ed25519" in text) for text in signatures} == {True, False}
        for index in range(2):
            assert dkim.DKIM(one.data).verify(idx=index, dnsfunc=_txt(dns)), signatures[index]

    parsed: EmailMessage = email.message_from_bytes(received[0].data, policy=email.policy.default)  # type: ignore[assignment]
    assert parsed["Message-ID"] == f"<{message_id}@shop.test>"
    assert parsed["Subject"] == "Grüße from the shop"
    assert parsed["From"].addresses[0].display_name == "The Shöp"
    assert parsed["To"].addresses[0].display_name == "Carl, the first"
    assert parsed["Reply-To"].addresses[0].addr_spec == "answers@shop.test"
    assert parsed["X-Order"] == "4711 – Grüße"
    assert parsed["Bcc"] is None
    for content_type, sent in (("text/html", HTML), ("text/plain", TEXT)):
        assert _part(parsed, content_type).get_payload(decode=True).replace(b"\r\n", b"\n") == sent.encode()
    assert _part(parsed, "image/png").get_payload(decode=True) == PICTURE
    assert _part(parsed, "image/png")["Content-ID"] == "<logo>"
    paper = _part(parsed, "application/pdf")
    assert (paper.get_payload(decode=True), paper.get_filename()) == (PAPER, "Rechnung für Zoë.pdf")

    events = _wait_for_events(installation, key, "delivery", "delivery", "delivery")
    assert {event["MessageId"] for event in events} == {message_id}
    rows = installation.command(
        "EmailGateway.GetEvents", SessionID=session, DomainID=domain_id, StartFrom=0, RetrieveCount=50,
        Event="delivered", Query="subject:shop tag:orders",
    )  # fmt: skip
    assert rows["TotalRecords"] == 3, rows
    assert rows["Events"][0]["message"]["headers"]["subject"] == "Grüße from the shop"

    told = listener.wait_for(3, path="/told")
    signing_key = installation.command("EmailGateway.GetWebhooks", SessionID=session, DomainID=domain_id)["SigningKey"]
    for request in told:
        payload = json.loads(request.body)
        signature = payload["Signature"]
        signed = f"{signature['Timestamp']}{signature['Token']}".encode()
        assert signature["Signature"] == hmac.new(signing_key.encode(), signed, hashlib.sha256).hexdigest()
        assert (payload["EventData"]["Event"], payload["EventData"]["MessageID"]) == ("delivered", message_id)
    assert {json.loads(request.body)["EventData"]["To"] for request in told} == set(sink_rcpts(sink))
    assert len({request.headers["webhook-id"] for request in told}) == 3


def sink_rcpts(sink: SmtpSink) -> list[str]:
    return [rcpt for one in sink.messages for rcpt in one.rcpts]


def test_a_refused_recipient_bounces_is_told_and_not_written_to_again(
    start: Start, sink: SmtpSink, dns: DnsServer, listener: HttpSink
) -> None:
    installation = start(DELIVERY=sink.url, DNS=dns.address)
    session, domain_id, key = _enabled_domain(installation, dns)
    installation.command(
        "EmailGateway.AddWebhook", SessionID=session, DomainID=domain_id, Event="bounce", WebhookURL=f"{listener.url}/b"
    )
    listener.script("/b", 500)  # the first call fails and is repeated
    sink.refuse("carl@friends.test", "550 5.1.1 no such user here")
    assert _send(installation, key).status_code == 200
    _wait_for_events(installation, key, "bounce")
    first, second = listener.wait_for(2, timeout=30, path="/b")
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    data = json.loads(second.body)["EventData"]
    assert (data["EventType"], data["BouncedEmailAddress"]["EmailAddress"]) == ("failed", "carl@friends.test")
    again = _send(installation, key)
    assert (again.status_code, again.json()["Errors"][0]["Code"]) == (409, 14)


def test_the_standard_webhook_signature_verifies(
    start: Start, sink: SmtpSink, dns: DnsServer, listener: HttpSink
) -> None:
    installation = start(DELIVERY=sink.url)
    installation.cli("user", "add", "--email", "jane@people.test", "--password", "a long password")
    domain = installation.cli("domain", "add", "shop.test", "--user", "jane@people.test", "--trusted")
    key = installation.cli("key", "add", "--user", "jane@people.test", "--domain", "shop.test")["key"]
    hook = installation.cli(
        "webhook", "add", "--user", "jane@people.test", "--domain", "shop.test", "--event", "delivered",
        "--url", f"{listener.url}/std",
    )  # fmt: skip
    assert domain["status"] == "Enabled"
    _send(installation, key)
    (request,) = listener.wait_for(1, path="/std")
    Webhook(hook["secret"]).verify(request.body, {k.lower(): v for k, v in request.headers.items()})


def test_a_second_start_finds_everything_as_it_was(start: Start, sink: SmtpSink, dns: DnsServer) -> None:
    installation = start(DELIVERY=sink.url, DNS=dns.address)
    session, domain_id, key = _enabled_domain(installation, dns)
    sink.stop()
    assert _send(installation, key).status_code == 200
    _wait_for_events(installation, key, "deferred")
    assert installation.stop() == 0
    sink.start()
    with contextlib.closing(sqlite3.connect(installation.data / "commandpost.db")) as connection, connection:
        assert connection.execute("UPDATE delivery SET due_ms = 0 WHERE due_ms IS NOT NULL").rowcount == 1
    installation.start()
    domain = installation.command("EmailGateway.GetDomain", SessionID=session, DomainID=domain_id)["Domain"]
    assert (domain["Status"], domain["DomainID"]) == ("Enabled", domain_id)
    (received,) = sink.wait_for(1)
    assert received.rcpts == ["carl@friends.test"]
