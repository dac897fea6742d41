"""A submitted message on its whole way: to the next hop, signed, and its bounce back in."""

from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY

import dkim
import pytest

import models
from gateway.mail import verp
from gateway.services import deliveries
from models.vocabulary import EventKind
from tests.peers.smtp_sink import SmtpSink
from tests.smtp.conftest import Customer, Running
from tests.smtp.test_inbound import BOUNCE


@pytest.mark.journey
def test_submitted_delivered_and_bounced(start: Callable[..., Running], customer: Customer) -> None:
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"] = "The Shop <hello@shop.test>"
    message["To"] = "jane@friends.test"
    message["Bcc"] = "secret@friends.test"
    message["Subject"] = "Grüße"
    message["X-Tags"] = "welcome"
    message["X-Track-Opens"] = message["X-Track-Links"] = "0"  # then every byte of the body stays
    message.set_content("Thank you, Zoë!\n.\n..dots\nFrom here\n")
    message.add_alternative("<p>Thank you, <b>Zoë</b>!</p>", subtype="html")
    message.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="ü.bin")
    sent = message.as_bytes()
    with SmtpSink() as sink:
        part = start(DELIVERY=f"smtp://127.0.0.1:{sink.port}")
        with customer.log_in(part) as client:
            client.sendmail("app@shop.test", ["jane@friends.test", "secret@friends.test"], sent)
        assert deliveries.drain(0.2) == 2
        deliveries.close()
        arrived = sink.wait_for(2)
    by_id = {row.id: row.rcpt for row in models.Delivery.select()}
    assert {(one.rcpts[0], by_id[verp.decode(one.mail_from) or 0]) for one in arrived} == {
        ("jane@friends.test", "jane@friends.test"),
        ("secret@friends.test", "secret@friends.test"),
    }
    for one in arrived:
        assert one.data.endswith(sent.partition(b"\r\n\r\n")[2])
        assert b"secret@friends.test" not in one.data and b"X-Tags" not in one.data
        for index in range(2):
            assert dkim.DKIM(one.data).verify(index, dnsfunc=published)
    return_path = next(one.mail_from for one in arrived if one.rcpts == ["jane@friends.test"])
    with part.client("inbound") as client:
        client.sendmail("", [return_path], BOUNCE % return_path.encode())
    last = models.Event.select().order_by(models.Event.id.desc()).first()
    assert (last.kind, last.rcpt) == (EventKind.BOUNCED, "jane@friends.test")
    assert [row.address for row in models.Suppression.select()] == ["jane@friends.test"]


def published(name: bytes, timeout: int = 5) -> bytes:
    """The domain's DKIM records as DNS would have them."""
    selector = name.split(b"._domainkey.")[0].decode()
    key = models.DkimKey.get(models.DkimKey.selector == selector)
    return f"v=DKIM1; k={key.algorithm}; p={key.public}".encode()
