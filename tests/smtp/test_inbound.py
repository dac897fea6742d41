"""The inbound listener: only reports to our own return paths get in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import models
from gateway import config
from gateway.mail import verp
from gateway.services import messages, unsubscribe_links, webhook_calls, webhooks
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.peers.http_sink import HttpSink
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
COMPLAINT = (
    b"From: fbl@provider.test\r\nTo: complaints@mx.gateway.test\r\nSubject: FBL\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: P/1\r\nVersion: 1\r\n\r\n"
    b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nReturn-Path: <%s>\r\nSubject: s\r\n\r\n--b--\r\n"
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


def counted(kind: EventKind) -> int:
    return sum(row.n for row in models.Counter.select().where(models.Counter.kind == kind, models.Counter.tag == ""))


@pytest.mark.journey
def test_a_report_is_everywhere_once_it_is_answered(start: Callable[..., Running], customer: Customer) -> None:
    messages.accept(customer.sender.caller, cast.draft())
    messages.accept(customer.sender.caller, cast.draft(to="bob@friends.test"))
    paths = {row.rcpt: verp.encode(row.id, "bounces.shop.test") for row in models.Delivery.select()}
    with HttpSink() as sink:
        part = start(WEBHOOK_ALLOW="127.0.0.0/8")
        for event in ("bounced", "complained"):
            webhooks.add(
                caller=customer.sender.owner,
                domain_id=customer.sender.domain.id,
                event=event,
                url=f"{sink.url}/{event}",
            )
        with part.client("inbound") as client:
            bounced, complained = paths["jane@friends.test"], paths["bob@friends.test"]
            client.sendmail("", [bounced], BOUNCE % bounced.encode())
            client.sendmail("fbl@provider.test", ["complaints@mx.gateway.test"], COMPLAINT % complained.encode())
        # Everything is written in the transaction before the answer; the webhook only has to be called.
        kinds = (EventKind.BOUNCED, EventKind.COMPLAINED)
        assert {e.rcpt: e.kind for e in models.Event.select().where(models.Event.kind.in_(kinds))} == {
            "jane@friends.test": EventKind.BOUNCED,
            "bob@friends.test": EventKind.COMPLAINED,
        }
        assert [counted(kind) for kind in kinds] == [1, 1]
        assert {row.address: row.reason for row in models.Suppression.select()} == {
            "jane@friends.test": "bounce",
            "bob@friends.test": "complaint",
        }
        webhook_calls.drain(0.5)
        told = sink.wait_for(2)
    assert {request.path for request in told} == {"/bounced", "/complained"}
    for request in told:
        wanted = b"jane@friends.test" if request.path == "/bounced" else b"bob@friends.test"
        assert wanted in request.body


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
    kept = [(row.kind, row.refused) for row in models.InboundMail.select().order_by(models.InboundMail.id)]
    assert kept == [("letter", True), ("auto_reply", False), ("unrecognised", False)]


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
        for quoted, code in (("b+forged@bounces.shop.test", 250), (return_path, 250)):
            client.mail("fbl@provider.test")
            assert client.rcpt("complaints@mx.gateway.test")[0] == 250
            assert client.data(complaint(quoted))[0] == code
    kinds = [event.kind for event in models.Event.select().order_by(models.Event.id)]
    assert kinds == [EventKind.ACCEPTED, EventKind.COMPLAINED]
    assert [row.reason for row in models.Suppression.select()] == ["complaint"]
    (kept,) = models.InboundMail.select()  # the forged one counts for nothing, and its loop is not told off
    assert (kept.kind, kept.account_id, kept.delivery_id, kept.refused) == ("complaint", 0, None, False)


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


class TestUnsubscribe:
    """Mail to the address in List-Unsubscribe."""

    LETTER = b"From: Jane <jane@friends.test>\r\nTo: %s\r\nSubject: unsubscribe\r\n\r\n"

    @pytest.fixture
    def address(self, customer: Customer) -> str:
        messages.accept(customer.sender.caller, cast.draft())
        return unsubscribe_links.address(models.Delivery.get().id, "bounce.shop.test")

    def test_it_unsubscribes_once_whatever_it_says(self, part: Running, address: str) -> None:
        with part.client("inbound") as client:
            for recipient in (address, address.upper(), address.replace("bounce.shop.test", "elsewhere.test")):
                assert client.sendmail("jane@friends.test", [recipient], self.LETTER % address.encode()) == {}
        assert [(row.address, row.reason, row.rule) for row in models.Suppression.select()] == [
            ("jane@friends.test", "unsubscribe", "unsubscribe:link")
        ]
        (event,) = models.Event.select().where(models.Event.kind == EventKind.UNSUBSCRIBED)
        assert '"method":"mail"' in event.data

    def test_an_address_that_we_did_not_make_is_refused(self, part: Running, address: str) -> None:
        local, _, host = address.partition("@")
        altered = local[:-1] + ("a" if local[-1] != "a" else "b")
        # A return path and an address to unsubscribe have tokens of their own.
        swapped = verp.encode(models.Delivery.get().id, host).replace("b+", "u+")
        with part.client("inbound") as client:
            client.ehlo()
            for wrong in (f"{altered}@{host}", swapped, f"u+@{host}", f"u+{'a' * 60}@{host}"):
                client.mail("jane@friends.test")
                assert client.rcpt(wrong)[0] == 550, wrong
                client.rset()
        assert models.Suppression.select().count() == 0

    @pytest.mark.parametrize("mail_from", ["", "fbl@provider.test"])
    def test_reports_are_no_wish(self, part: Running, address: str, mail_from: str) -> None:
        content = BOUNCE % address.encode() if not mail_from else COMPLAINT % address.encode()
        with part.client("inbound") as client:
            client.sendmail(mail_from, [address], content)
        assert models.Suppression.select().count() == 0
        assert models.InboundMail.select().count() == 1

    def test_of_a_message_long_gone_the_writer_hears(self, part: Running, address: str) -> None:
        models.Message.delete().execute()
        with part.client("inbound") as client:
            client.ehlo()
            client.mail("jane@friends.test")
            client.rcpt(address)
            code, text = client.data(self.LETTER % address.encode())
        assert (code, b"use the link" in text) == (550, True)
