"""The inbound listener: only reports to our own return paths get in."""

from __future__ import annotations

import pytest

import models
from gateway import config
from gateway.mail import verp
from gateway.services import messages
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.smtp.conftest import Customer, Running

BOUNCE = (
    b"From: MAILER-DAEMON@mx.friends.test\r\nTo: %s\r\nSubject: Undelivered Mail Returned to Sender\r\n"
    b"Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
    b"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.friends.test\r\n\r\n"
    b"Final-Recipient: rfc822; jane@friends.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    b"Diagnostic-Code: smtp; 550 5.1.1 <jane@friends.test>: User unknown\r\n\r\n--b--\r\n"
)


@pytest.fixture
def return_path(customer: Customer) -> str:
    messages.accept(customer.sender.caller, cast.draft())
    (delivery,) = models.Delivery.select()
    return verp.encode(delivery.id, "bounces.shop.test")


def test_a_bounce_is_recorded_before_it_is_answered(part: Running, return_path: str) -> None:
    with part.client("inbound") as client:
        client.sendmail("", [return_path], BOUNCE % return_path.encode())
    kinds = [event.kind for event in models.Event.select().order_by(models.Event.id)]
    assert kinds == [EventKind.ACCEPTED, EventKind.BOUNCED]
    assert [row.address for row in models.Suppression.select()] == ["jane@friends.test"]


def test_strangers_get_nothing_in(part: Running, return_path: str) -> None:
    local, _, host = return_path.partition("@")
    forged = f"{local[:-1]}{'a' if local[-1] != 'a' else 'b'}@{host}"
    with part.client("inbound") as client:
        client.ehlo()
        assert "auth" not in client.esmtp_features
        assert client.docmd("AUTH", "PLAIN")[0] == 500
        client.mail("")
        for recipient in (forged, "b+@shop.test", "jane@friends.test", "postmaster@mx.gateway.test", "b+aaaa@x.test"):
            assert client.rcpt(recipient) == (
                550, b"5.1.1 Only reports about mail sent from here are taken at their return paths",
            )  # fmt: skip
        assert client.docmd("DATA")[0] == 503
        assert client.rcpt(return_path.upper())[0] == 250


def test_a_letter_is_refused_and_an_absence_note_is_not(part: Running, return_path: str) -> None:
    with part.client("inbound") as client:
        client.ehlo()
        for sender, extra, code in (("jane@friends.test", b"", 550), ("jane@friends.test", b"Auto-Submitted: auto-replied\r\n", 250), ("", b"", 250)):  # fmt: skip  # noqa: E501
            client.mail(sender)
            client.rcpt(return_path)
            content = b"From: jane@friends.test\r\nSubject: Hello\r\n" + extra + b"\r\nI am here.\r\n"
            assert client.data(content)[0] == code
    assert models.Event.select().count() == 1


def test_a_complaint_mailbox_wants_proof(part: Running, return_path: str) -> None:
    def complaint(quoted: str) -> bytes:
        return (
            "From: fbl@provider.test\r\nTo: complaints@mx.gateway.test\r\nSubject: FBL\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
            "--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: P/1\r\n"
            "Version: 1\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
            f"Return-Path: <{quoted}>\r\nFrom: hello@shop.test\r\nSubject: s\r\n\r\nx\r\n--b--\r\n"
        ).encode()

    with part.client("inbound") as client:
        client.ehlo()
        for quoted, code in (("b+forged@bounces.shop.test", 550), (return_path, 250)):
            client.mail("fbl@provider.test")
            assert client.rcpt("complaints@mx.gateway.test")[0] == 250
            assert client.data(complaint(quoted))[0] == code
    kinds = [event.kind for event in models.Event.select().order_by(models.Event.id)]
    assert kinds == [EventKind.ACCEPTED, EventKind.COMPLAINED]
    assert [row.reason for row in models.Suppression.select()] == ["complaint"]


def test_a_store_that_is_away_is_asked_again(part: Running, return_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise db.StoreUnavailable("gone")

    with part.client("inbound") as client:
        client.ehlo()
        for code in (451, 250):
            with monkeypatch.context() as patched:
                if code == 451:
                    patched.setattr(db.database.obj, "begin_write", away)
                client.mail("")
                client.rcpt(return_path)
                assert client.data(BOUNCE % return_path.encode())[0] == code
    assert config.settings().hostname == "mx.gateway.test"
    assert models.Event.select().where(models.Event.kind == EventKind.BOUNCED).count() == 1
