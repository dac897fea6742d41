"""Header injection through everything that a client says: nothing of it becomes a header of its own."""

from __future__ import annotations

import base64
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import default

import orjson
import pytest

import models
from gateway.services import deliveries
from tests.peers.smtp_sink import SmtpSink
from tests.smtp.conftest import Customer, Running
from tests.smtp.test_protocol import Wire

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

EVIL = "Bcc: evil@example.org"
BREAKS = ["\r\n", "\n", "\r", "\n\r", "\r\r\n", "\0", "\x0b", "\x0c", "\x85", "\u2028", "\r\n ", "%0d%0a", "\\r\\n"]
EXPECTED = {
    "received", "from", "to", "cc", "reply-to", "subject", "x-other", "comments", "date", "message-id",
    "dkim-signature", "list-unsubscribe", "list-unsubscribe-post", "feedback-id",
}  # fmt: skip

FIELDS = ["From", "To", "Cc", "Reply-To", "Subject", "X-Other", "Comments", "X-Tags", "X-Metadata", "X-Idempotency-Key"]
VALUES = {
    "From": "{} <hello@shop.test>",
    "To": "{} <jane@friends.test>",
    "Cc": "{} <john@friends.test>",
    "Reply-To": "{} <desk@shop.test>",
    "X-Metadata": '{{"a": "{}"}}',
}


def encoded(text: str) -> list[str]:
    """The text as encoded words, in both encodings: what is decoded somewhere must not break out there."""
    octets = text.encode()
    q = "".join(f"={byte:02X}" for byte in octets)
    return [f"=?utf-8?b?{base64.b64encode(octets).decode()}?=", f"=?utf-8?q?{q}?="]


def corpus() -> list[tuple[str, bytes]]:
    """(field, whole message); raw line breaks of the wire's own kind make honest fields, so only encoded ones here."""
    found = []
    for field in FIELDS:
        for line_break in BREAKS:
            attack = f"x{line_break}{EVIL}"
            forms = encoded(attack)
            if line_break not in ("\r\n", "\n"):
                forms.append(attack)
            if field == "X-Metadata":
                forms.append(orjson.dumps(attack).decode()[1:-1])
            for form in forms:
                values = {"From": "hello@shop.test", "To": "jane@friends.test", "Subject": "s"}
                values[field] = VALUES.get(field, "{}").format(form)
                header = "".join(f"{name}: {value}\r\n" for name, value in values.items())
                found.append((field, header.encode() + b"\r\nHi\r\n"))
    return found


def names_of(data: bytes) -> set[str]:
    return {name.lower() for name in BytesParser(policy=default).parsebytes(data, headersonly=True)}


def test_no_field_of_the_header_breaks_out(start: Callable[..., Running], customer: Customer) -> None:
    messages = corpus()
    assert len(messages) > 300
    with SmtpSink() as sink:
        part = start(DELIVERY=f"smtp://127.0.0.1:{sink.port}")
        client = Wire(customer.log_in(part))
        accepted = 0
        for field, message in messages:
            client.send(b"MAIL FROM:<a@shop.test>\r\nRCPT TO:<jane@friends.test>\r\nDATA\r\n" + message + b".\r\n")
            codes = client.replies(4)
            assert codes[:3] == ["250", "250", "354"] and codes[3] in ("250", "550"), (field, message)
            accepted += codes[3] == "250"
        # Some line breaks become the same blank, and so the same idempotency key.
        stored_once = models.Message.select().count()
        assert len(messages) / 2 < stored_once <= accepted
        while deliveries.drain(0.2):
            pass
        assert deliveries.engine().wait_idle(60)
        deliveries.close()
        arrived = sink.wait_for(stored_once, 60)
    assert len(arrived) == stored_once
    for one in arrived:
        assert names_of(one.data) <= EXPECTED, one.data
        assert one.rcpts == ["jane@friends.test"]
        head = one.data.partition(b"\r\n\r\n")[0]
        assert b"\r\n.\r\n" not in head and b"\0" not in head
        assert not [line for line in head.split(b"\r\n") if b"\r" in line or b"\n" in line]
    for message in models.Message.select():
        for text in (message.subject, *orjson.loads(message.tags)):
            assert text.isprintable()


@pytest.mark.parametrize("line_break", ["\r", "\0", "\x0b", "\x85", "\t"])
def test_nothing_of_the_conversation_breaks_out(part: Running, customer: Customer, line_break: str) -> None:
    attack = f"x{line_break}{EVIL}".encode("latin-1")
    connection = customer.log_in(part)
    client = Wire(connection)
    codes = []
    for line in (
        b"EHLO " + attack,
        b"MAIL FROM:<" + attack + b"@shop.test>",
        b"RSET",
        b"MAIL FROM:<a@shop.test> BODY=" + attack,
        b"RSET",
        b"MAIL FROM:<a@shop.test>",
        b"RCPT TO:<" + attack + b">",
        b"RCPT TO:<jane@friends.test" + attack + b">",
        b'RCPT TO:<"' + attack + b'"@friends.test>',
    ):
        client.send(line + b"\r\n")
        codes.append(client.reply()[:3])
    client.send(b"RCPT TO:<jane@friends.test>\r\nDATA\r\nFrom: a@shop.test\r\n\r\nHi\r\n.\r\n")
    assert client.replies(3) == ["250", "354", "250"], codes
    assert codes[-3] >= "500" and codes[-2] >= "500"
    from tests.smtp.test_submission import only_message, stored

    assert names_of(stored(only_message())) == {"received", "from", "date", "message-id"}
    assert all(row.rcpt.isprintable() and " " not in row.rcpt for row in models.Delivery.select())
