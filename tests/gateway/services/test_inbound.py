"""Bounces, delays and complaints that come back, on both databases."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass

import orjson
import pytest

import models
from gateway import errors
from gateway.mail import verp
from gateway.mail.draft import Mailbox
from gateway.services import inbound, inbound_mail, messages
from models import database as db
from models.vocabulary import DeliveryState, EventKind
from tests import cast


@dataclass
class Sent:
    """A delivered message to jane and its return path."""

    sender: cast.Sender
    delivery: models.Delivery
    return_path: str

    def receive(self, content: bytes, mail_from: str = "") -> str:
        return inbound.receive(recipient=self.return_path, mail_from=mail_from, content=content).word

    def events(self) -> list[models.Event]:
        return [
            event
            for event in models.Event.select().order_by(models.Event.id)
            if event.kind not in (EventKind.ACCEPTED, EventKind.DELIVERED)
        ]


@pytest.fixture
def sent(store: str) -> Sent:
    sender = cast.sender()
    messages.accept(sender.caller, cast.draft(tags=["welcome"], metadata={"order": 17}))
    models.Delivery.update(state=DeliveryState.DELIVERED, due_ms=None, lane_id=None, attempts=1).execute()
    (delivery,) = models.Delivery.select()
    return Sent(sender, delivery, verp.encode(delivery.id, "bounces.shop.test"))


def report(
    action: str = "failed",
    status: str = "5.1.1",
    diagnostic: str = "smtp; 550 5.1.1 <jane@friends.test>: Recipient address rejected: User unknown",
    recipient: str = "jane@friends.test",
) -> bytes:
    return (
        "From: MAILER-DAEMON@mx.friends.test\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n"
        'Auto-Submitted: auto-replied\r\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n'
        "\r\n--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        f"Reporting-MTA: dns; mx.friends.test\r\n\r\nFinal-Recipient: rfc822; {recipient}\r\nAction: {action}\r\n"
        f"Status: {status}\r\nRemote-MTA: dns; store.friends.test\r\nDiagnostic-Code: {diagnostic}\r\n\r\n--b--\r\n"
    ).encode()


def complaint(kind: str = "abuse") -> bytes:
    return (
        "From: fbl@provider.test\r\nSubject: Complaint\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        f"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {kind}\r\nUser-Agent: Provider/1\r\n"
        "Version: 1\r\n\r\n--b--\r\n"
    ).encode()


def counted(kind: EventKind, tag: str = "") -> int:
    return sum(row.n for row in models.Counter.select().where(models.Counter.kind == kind, models.Counter.tag == tag))


def suppressed() -> dict[str, str]:
    return {row.address: row.reason for row in models.Suppression.select()}


def test_a_hard_bounce_is_an_event_a_number_and_a_suppression(sent: Sent) -> None:
    assert sent.receive(report()) == "bounced"
    (event,) = sent.events()
    assert (event.kind, event.rcpt, event.delivery_id) == (EventKind.BOUNCED, "jane@friends.test", sent.delivery.id)
    assert event.account_id == sent.sender.owner.account_id
    data = orjson.loads(event.data)
    assert (data["code"], data["enhanced"], data["category"]) == (550, "5.1.1", "recipient")
    assert "User unknown" in data["reason"]
    assert data["metadata"] == {"order": 17}
    assert models.Mx.get_by_id(event.mx_id).name == "store.friends.test"
    assert counted(EventKind.BOUNCED) == counted(EventKind.BOUNCED, "welcome") == 1
    assert suppressed() == {"jane@friends.test": "bounce"}
    assert models.Delivery.get_by_id(sent.delivery.id).state == DeliveryState.DELIVERED


def test_the_same_report_counts_once(sent: Sent) -> None:
    assert [sent.receive(report()) for _ in range(3)] == ["bounced", "repeated", "repeated"]
    assert sent.receive(report(status="4.4.7")) == "repeated"
    assert counted(EventKind.BOUNCED) == 1


def test_two_reports_at_once_count_once(sent: Sent) -> None:
    words: list[str] = []

    def receive() -> None:
        words.append(sent.receive(report()))
        db.close()

    threads = [threading.Thread(target=receive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(words) == ["bounced", "repeated", "repeated", "repeated"]
    assert counted(EventKind.BOUNCED) == 1


@pytest.mark.parametrize(
    ("status", "diagnostic", "word"),
    [
        ("5.7.26", "smtp; 550 5.7.26 This mail has been blocked because the sender is unauthenticated", "bounced"),
        ("5.2.2", "smtp; 552 5.2.2 The email account that you tried to reach is over quota", "bounced"),
        ("5.4.4", "smtp; 550 5.4.4 Host not found", "bounced"),
        ("4.4.7", "smtp; 450 4.4.7 Delivery time expired", "failed"),
    ],
)
def test_only_dead_addresses_are_suppressed(sent: Sent, status: str, diagnostic: str, word: str) -> None:
    assert sent.receive(report(status=status, diagnostic=diagnostic)) == word
    assert suppressed() == {}
    assert [event.kind for event in sent.events()] == [EventKind[word.upper()]]


def test_a_delay_is_told_once_and_a_bounce_may_follow(sent: Sent) -> None:
    delay = report("delayed", "4.4.1", "smtp; 451 4.4.1 No answer from host")
    assert [sent.receive(delay), sent.receive(delay), sent.receive(report())] == ["deferred", "repeated", "bounced"]
    assert sent.receive(delay) == "repeated"


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded"])
def test_good_news_changes_nothing(sent: Sent, action: str) -> None:
    assert sent.receive(report(action, "2.0.0", "smtp; 250 ok")) == "notice"
    assert sent.events() == []


def test_a_report_about_a_forwarded_address_counts_for_ours(sent: Sent) -> None:
    assert sent.receive(report(recipient="jane.doe@elsewhere.test")) == "bounced"
    assert suppressed() == {"jane@friends.test": "bounce"}


@pytest.mark.parametrize("state", [DeliveryState.BOUNCED, DeliveryState.FAILED, DeliveryState.CANCELED])
def test_what_ended_badly_already_does_not_end_twice(sent: Sent, state: DeliveryState) -> None:
    models.Delivery.update(state=state).execute()
    assert sent.receive(report()) == "repeated"
    assert sent.events() == []


def test_a_complaint_is_an_event_and_a_suppression(sent: Sent) -> None:
    assert [sent.receive(complaint()), sent.receive(complaint())] == ["complained", "repeated"]
    (event,) = sent.events()
    assert (event.kind, orjson.loads(event.data)["feedback_type"]) == (EventKind.COMPLAINED, "abuse")
    assert suppressed() == {"jane@friends.test": "complaint"}
    assert counted(EventKind.COMPLAINED) == 1


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure"])
def test_other_feedback_is_no_complaint(sent: Sent, kind: str) -> None:
    assert sent.receive(complaint(kind)) == "notice"
    assert (sent.events(), suppressed()) == ([], {})


def test_auto_replies_and_letters_are_no_bounces(sent: Sent) -> None:
    note = b"From: jane@friends.test\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n"
    letter = b"From: jane@friends.test\r\nSubject: Hello\r\n\r\nUser unknown? 550 5.1.1\r\n"
    assert sent.receive(note, "jane@friends.test") == "auto_reply"
    assert sent.receive(note) == "auto_reply"
    assert sent.receive(letter) == "unrecognised"
    with pytest.raises(errors.NotAllowed):
        sent.receive(letter, "jane@friends.test")
    assert (sent.events(), suppressed()) == ([], {})


def test_a_return_path_whose_delivery_is_gone_is_no_fault(sent: Sent) -> None:
    models.Delivery.delete().execute()
    assert sent.receive(report()) == "unknown"
    assert sent.events() == []


@pytest.mark.parametrize("recipient", ["jane@shop.test", "b+aaaa@shop.test", "complaints@elsewhere.test", "", "<>"])
def test_nobody_elses_mail_is_taken(sent: Sent, recipient: str) -> None:
    assert not inbound.takes(recipient)
    with pytest.raises(errors.NotAllowed):
        inbound.receive(recipient=recipient, mail_from="", content=report())
    assert sent.events() == []


def test_the_mailboxes_that_are_taken(sent: Sent) -> None:
    assert inbound.takes(sent.return_path.upper())
    assert inbound.takes("<FBL@mx.gateway.test>")
    taken = inbound.receive(recipient="fbl@mx.gateway.test", mail_from="", content=report())
    assert taken == inbound.Received("unrecognised")
    assert [(row.kind, row.account_id) for row in models.InboundMail.select()] == [("unrecognised", 0)]
    assert sent.events() == []


def about_by_id(message_id: str, recipient: str = "") -> bytes:
    """A complaint that quotes no return path."""
    named = f"Original-Rcpt-To: <{recipient}>\r\n" if recipient else ""
    return complaint().replace(
        b"--b--",
        b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <%s>\r\nTo: redacted\r\n\r\n--b--"
        % message_id.encode(),
    ).replace(b"Version: 1\r\n", f"Version: 1\r\n{named}".encode())  # fmt: skip


def complain(content: bytes) -> str:
    return inbound.receive(recipient="fbl@mx.gateway.test", mail_from="fbl@provider.test", content=content).word


def test_a_complaint_without_a_return_path_is_known_by_our_message_id(sent: Sent) -> None:
    (message,) = models.Message.select()
    assert complain(about_by_id(f"{uuid.uuid4()}@shop.test")) == "unrecognised"
    assert complain(about_by_id("1@shop.test")) == "unrecognised"
    assert (sent.events(), suppressed()) == ([], {})
    assert complain(about_by_id(f"{message.uuid}@shop.test")) == "complained"
    (event,) = sent.events()
    assert event.delivery_id == sent.delivery.id
    assert orjson.loads(event.data)["found_by"] == "message id"
    assert suppressed() == {"jane@friends.test": "complaint"}


def test_a_complaint_about_a_message_to_several_must_name_one(store: str) -> None:
    to = [Mailbox("jane@friends.test"), Mailbox("bob@friends.test")]
    messages.accept(cast.sender().caller, cast.draft(to=to))
    (message,) = models.Message.select()
    name = f"{message.uuid}@shop.test"
    assert [complain(about_by_id(name)), complain(about_by_id(name, "eve@friends.test"))] == ["unrecognised"] * 2
    assert suppressed() == {}
    assert complain(about_by_id(name, "Bob@Friends.test")) == "complained"
    assert suppressed() == {"bob@friends.test": "complaint"}


def test_a_forged_return_path_in_a_complaint_counts_for_nothing(sent: Sent) -> None:
    local, _, host = sent.return_path.partition("@")
    quoted = b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nX-Sender: <%s>\r\n\r\n--b--"
    last = "a" if local[-3] != "a" else "b"
    for path, word in (
        (f"{local[:-3]}{last}{local[-2:]}@{host}", "unrecognised"),
        (verp.encode(sent.delivery.id, host).replace("b+", "b+a", 1), "unrecognised"),
        (sent.return_path, "complained"),
    ):
        assert complain(complaint().replace(b"--b--", quoted % path.encode())) == word
    assert [event.kind for event in sent.events()] == [EventKind.COMPLAINED]


def test_what_is_no_report_is_kept(sent: Sent) -> None:
    note = b"From: Jane <jane@friends.test>\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n\r\nAway.\r\n"
    letter = b"From: jane@friends.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello.\r\n"
    assert sent.receive(note) == "auto_reply"
    assert sent.receive(b"Subject: ?\r\n\r\n?\r\n") == "unrecognised"
    with pytest.raises(errors.NotAllowed):
        sent.receive(letter, "jane@friends.test")
    kept, total = inbound_mail.list_(caller=sent.sender.owner)
    assert total == 3
    assert [(one.kind, one.refused, one.about, one.delivery_id) for one in kept] == [
        ("letter", True, "jane@friends.test", sent.delivery.id),
        ("unrecognised", False, "jane@friends.test", sent.delivery.id),
        ("auto_reply", False, "jane@friends.test", sent.delivery.id),
    ]
    assert (kept[0].subject, kept[0].size, kept[0].rcpt) == ("Grüße", len(letter), sent.return_path)
    assert all(one.why for one in kept)
    assert inbound_mail.show(caller=sent.sender.owner, number=kept[0].id)[1] == letter
    assert (sent.events(), suppressed()) == ([], {})


def test_a_report_without_a_useful_status_takes_the_remotes_words(sent: Sent) -> None:
    assert sent.receive(report(status="5.0.0", diagnostic="smtp; 550 No such user here")) == "bounced"
    assert suppressed() == {"jane@friends.test": "bounce"}


def test_retries_of_a_next_hop_that_ran_out_are_no_bounce(sent: Sent) -> None:
    given_up = report(status="5.0.0", diagnostic="smtp; 452 4.2.2 over quota: retry timeout exceeded")
    assert sent.receive(given_up) == "failed"
    assert suppressed() == {}
