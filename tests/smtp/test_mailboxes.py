"""Mailboxes receive: letters of real clients through the inbound listener, matched with what they answer."""

from __future__ import annotations

import email
import email.policy
import smtplib
from collections.abc import Callable
from dataclasses import replace
from email.message import EmailMessage
from email.utils import make_msgid

import orjson
import pytest

import models
from gateway.mail import verp
from gateway.services import (
    deliveries,
    enrolments,
    mailbox_mail,
    mailboxes,
    messages,
    reach,
    sequence_runs,
    sequences,
    webhook_calls,
    webhooks,
)
from gateway.services import mailbox as capture_box
from models.vocabulary import EnrolmentStatus, EventKind, TallyFacet
from tests import cast
from tests.peers.http_sink import HttpSink
from tests.smtp.conftest import Customer, Running


@pytest.fixture
def mailbox(customer: Customer) -> mailboxes.Mailbox:
    return mailboxes.add(caller=customer.sender.caller, address="hello", display_name="Hello Team")


def letter(to: str = "hello@shop.test", answers: str = "", **fields: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Jane Doe <jane@friends.test>"
    message["To"] = to
    message["Subject"] = "Re: Your order"
    message["Message-ID"] = make_msgid(domain="friends.test")
    if answers:
        message["In-Reply-To"] = message["References"] = answers
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    message.set_content("Yes, please.\n\nOn Monday, The Shop <hello@shop.test> wrote:\n> Would you like some?\n")
    return message


def sent(customer: Customer, to: str = "jane@friends.test") -> tuple[str, int]:
    """The Message-ID and the delivery of a message from the mailbox."""
    accepted = messages.accept(
        customer.sender.caller, cast.draft(to=to, tags=["welcome"], metadata={"order": 17}, origin="cmp:7")
    )
    delivery = models.Delivery.select().order_by(models.Delivery.id.desc()).first()
    return f"<{accepted.message_id}@shop.test>", delivery.id


def kept(mailbox: mailboxes.Mailbox) -> list[mailbox_mail.Received]:
    return mailbox_mail.list_(account_id=mailbox.account_id, mailbox_id=mailbox.id)


def replies() -> list[models.Event]:
    return list(models.Event.select().where(models.Event.kind == EventKind.REPLIED))


def test_a_reply_is_stored_matched_and_shown(part: Running, customer: Customer, mailbox: mailboxes.Mailbox) -> None:
    answered, delivery_id = sent(customer)
    message = letter(answers=answered)
    message.add_attachment(b"\x89PNG\r\n\n", maintype="image", subtype="png", filename="photo.png")
    with part.client("inbound") as client:
        assert client.send_message(message, from_addr="jane@friends.test") == {}
    (one,) = kept(mailbox)
    assert (one.kind, one.found_by, one.header_from, one.answers_rcpt) == (
        "reply", "in_reply_to", "jane@friends.test", "jane@friends.test",
    )  # fmt: skip
    full = mailbox_mail.show(account_id=mailbox.account_id, mailbox_id=mailbox.id, public_id=one.public_id)
    assert full.reply.text == "Yes, please."
    assert full.reply.quoted.endswith("> Would you like some?")
    assert [(a.filename, a.content) for a in full.letter.enclosures] == [("photo.png", b"\x89PNG\r\n\n")]
    (event,) = replies()
    assert (event.delivery_id, event.rcpt) == (delivery_id, "jane@friends.test")
    assert orjson.loads(event.data)["metadata"] == {"order": 17}
    counted = {row.tag: row.n for row in models.Counter.select().where(models.Counter.kind == EventKind.REPLIED)}
    assert counted == {"": 1, "welcome": 1}
    (box,) = mailboxes.list_(caller=customer.sender.caller)
    assert (box.messages, box.bytes) == (1, one.size)


def test_a_thread_is_told_to_a_webhook(start: Callable[..., Running], customer: Customer) -> None:
    mailbox = mailboxes.add(caller=customer.sender.caller, address="hello")
    answered, _ = sent(customer)
    with HttpSink() as sink:
        part = start(WEBHOOK_ALLOW="127.0.0.0/8")
        webhooks.add(
            caller=customer.sender.owner,
            domain_id=None,
            event=["message.received", "message.replied"],
            url=sink.url,
            surface="native",
        )
        with part.client("inbound") as client:
            client.send_message(letter(answers=answered), from_addr="jane@friends.test")
            client.send_message(letter(), from_addr="jane@friends.test")
        webhook_calls.drain(2)
        bodies = [orjson.loads(request.body) for request in sink.requests]
    told = sorted((body["type"], body["data"]["message"]["kind"]) for body in bodies)
    assert told == [("message.received", "message"), ("message.received", "reply"), ("message.replied", "reply")]
    replied = next(body["data"] for body in bodies if body["type"] == "message.replied")
    assert replied["message"]["reply_text"] == "Yes, please."
    assert replied["message"]["from"] == {"email": "jane@friends.test", "name": "Jane Doe"}
    assert (replied["recipient"], replied["mailbox"]) == ("jane@friends.test", "hello@shop.test")
    assert len(kept(mailbox)) == 2


def test_references_and_the_return_path_match_too(
    part: Running, customer: Customer, mailbox: mailboxes.Mailbox
) -> None:
    answered, delivery_id = sent(customer)
    path = verp.encode(delivery_id, "bounce.shop.test")
    with part.client("inbound") as client:
        ids = f"<other@elsewhere.test> {answered} <later@friends.test>"
        threaded = letter(References=ids, In_Reply_To="<x@y.test>")
        client.send_message(threaded, from_addr="jane@friends.test")
        client.send_message(letter(), from_addr="jane@friends.test", to_addrs=[path])
    assert [one.found_by for one in kept(mailbox)] == ["return_path", "references"]
    assert [event.delivery_id for event in replies()] == [delivery_id, delivery_id]
    # A second answer of the same person is an event, but no second person.
    firsts = models.Tally.select().where(models.Tally.facet == TallyFacet.FIRST)
    assert [(row.origin, row.kind, row.n) for row in firsts] == [("cmp:7", EventKind.REPLIED, 1)]


def test_what_is_no_answer_of_a_person_is_none(part: Running, customer: Customer, mailbox: mailboxes.Mailbox) -> None:
    answered, _ = sent(customer)
    stranger = cast.sender("stranger", "other.test")
    theirs = messages.accept(stranger.caller, cast.draft(domain="other.test"))
    with part.client("inbound") as client:
        client.send_message(letter(answers=answered, Auto_Submitted="auto-replied"), from_addr="jane@friends.test")
        client.send_message(letter(answers=f"<{theirs.message_id}@other.test>"), from_addr="jane@friends.test")
        client.send_message(letter(answers="<00000000-0000-7000-8000-000000000000@shop.test>"), from_addr="")
    assert [one.kind for one in kept(mailbox)] == ["message", "message", "auto_reply"]
    assert replies() == []


def test_a_report_that_comes_to_the_mailbox_counts_where_it_proves_itself(
    part: Running, customer: Customer, mailbox: mailboxes.Mailbox
) -> None:
    _, delivery_id = sent(customer)
    with part.client("inbound") as client:
        for quoted in ("b+forged@bounce.shop.test", verp.encode(delivery_id, "bounce.shop.test")):
            report = (
                b"From: MAILER-DAEMON@mx.friends.test\r\nTo: hello@shop.test\r\nSubject: Undelivered\r\n"
                b"MIME-Version: 1.0\r\n"
                b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
                b"--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
                b"Reporting-MTA: dns; mx.friends.test\r\n\r\nFinal-Recipient: rfc822; jane@friends.test\r\n"
                b"Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 unknown user\r\n\r\n"
                b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nReturn-Path: <%s>\r\n\r\n--b--\r\n"
            ) % quoted.encode()
            client.sendmail("", ["hello@shop.test"], report)
    assert [one.kind for one in kept(mailbox)] == ["report", "report"]
    bounced = models.Event.select().where(models.Event.kind == EventKind.BOUNCED)
    assert [event.delivery_id for event in bounced] == [delivery_id]


def test_of_several_recipients_the_writer_is_found(
    part: Running, customer: Customer, mailbox: mailboxes.Mailbox
) -> None:
    boxes = [cast.Mailbox(f"{name}@friends.test") for name in ("bob", "jane")]
    accepted = messages.accept(customer.sender.caller, cast.draft(to=boxes))
    with part.client("inbound") as client:
        client.send_message(letter(answers=f"<{accepted.message_id}@shop.test>"), from_addr="jane@friends.test")
        message = letter(answers=f"<{accepted.message_id}@shop.test>")
        del message["From"]
        message["From"] = "someone@else.test"
        client.send_message(message, from_addr="someone@else.test")
    assert [event.rcpt for event in replies()] == ["jane@friends.test", ""]


def test_who_is_not_there_is_refused(part: Running, customer: Customer, mailbox: mailboxes.Mailbox) -> None:
    with part.client("inbound") as client:
        client.ehlo()
        client.mail("jane@friends.test")
        assert client.rcpt("nobody@shop.test") == (550, b"5.1.1 There is no such mailbox.")
        assert client.rcpt("HELLO@Shop.Test")[0] == 250
        assert client.rcpt("hello@nowhere.test")[0] == 550
        client.rset()
        models.SenderDomain.update(enabled_name=None, status="disabled").execute()
        client.mail("jane@friends.test")
        assert client.rcpt("hello@shop.test")[0] == 450
    assert kept(mailbox) == []


def test_a_full_mailbox_says_so(start: Callable[..., Running], customer: Customer) -> None:
    part = start(MAILBOX_MESSAGES="2", MAILBOX_BYTES="65536")
    mailbox = mailboxes.add(caller=customer.sender.caller, address="hello")
    big, fits = letter(), letter()
    big.add_attachment(b"x" * 70_000, maintype="text", subtype="x", filename="a.txt")
    fits.add_attachment(b"x" * 30_000, maintype="text", subtype="x", filename="a.txt")
    with part.client("inbound") as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.send_message(big, from_addr="jane@friends.test")
        assert refused.value.smtp_code == 552
        client.send_message(fits, from_addr="jane@friends.test")
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.send_message(fits, from_addr="jane@friends.test")
        assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (452, b"4.2.2")
        client.send_message(letter(), from_addr="jane@friends.test")
        with pytest.raises(smtplib.SMTPRecipientsRefused) as nobody:
            client.send_message(letter(), from_addr="jane@friends.test")
        assert nobody.value.recipients["hello@shop.test"][0] == 452
        (gone, _) = kept(mailbox)
        mailbox_mail.delete(account_id=mailbox.account_id, mailbox_id=mailbox.id, public_id=gone.public_id)
        client.send_message(letter(), from_addr="jane@friends.test")
    assert len(kept(mailbox)) == 2


def test_one_letter_to_two_mailboxes_is_in_both_or_in_none(start: Callable[..., Running], customer: Customer) -> None:
    part = start(MAILBOX_MESSAGES="1")
    both = [mailboxes.add(caller=customer.sender.caller, address=name) for name in ("hello", "sales")]
    names = [one.address for one in both]
    with part.client("inbound") as client:
        client.send_message(letter(), from_addr="jane@friends.test", to_addrs=names)
    assert [len(kept(one)) for one in both] == [1, 1]
    _, delivery_id = sent(customer)
    with part.client("inbound") as client:
        client.ehlo()
        client.mail("jane@friends.test")
        assert client.rcpt(verp.encode(delivery_id, "bounce.shop.test"))[0] == 250
        assert client.rcpt("hello@shop.test")[0] == 452


def test_a_reader_answers_what_really_went_out(part: Running, customer: Customer, mailbox: mailboxes.Mailbox) -> None:
    """From a sequence's email on the wire, read and answered with the library that mail programs use, to its end."""
    steps = [
        {"type": "send_email", "subject": "Welcome {{firstName}}", "html": "<p>Hello {{firstName}}!</p>"},
        {"type": "delay", "delayMs": 86_400_000},
        {"type": "send_email", "html": "<p>Still there?</p>"},
    ]
    caller = replace(customer.sender.caller, surface="mailmark")
    sequence = sequences.add(caller=caller, name="Welcome", from_="hello@shop.test", steps=steps)
    contacts = [{"email": "jane@friends.test", "mergeFields": {"firstName": "Jane"}}]
    enrolments.enrol(caller=caller, sequence_id=sequence.public_id, contacts=contacts)
    sequence_runs.drain(5)
    deliveries.drain(3)
    deliveries.close()
    (captured,) = models.CapturedMail.select()
    read = email.message_from_bytes(capture_box.show(captured.id), policy=email.policy.default)
    assert (read["Subject"], read["From"]) == ("Welcome Jane", "Hello Team <hello@shop.test>")
    answer = EmailMessage()
    answer["From"], answer["To"], answer["Subject"] = "jane@friends.test", read["From"], f"Re: {read['Subject']}"
    answer["In-Reply-To"] = answer["References"] = read["Message-ID"]
    answer.set_content("Hello to you too.\n\n> Hello Jane!\n")
    with part.client("inbound") as client:
        client.send_message(answer)
    assert [(one.kind, one.preview) for one in kept(mailbox)] == [("reply", "Hello to you too.")]
    (enrolment,) = models.Enrolment.select()
    assert (enrolment.status, enrolment.due_ms) == (EnrolmentStatus.REPLIED, None)
    (stats,) = reach.campaigns(caller=caller, sequence_id=sequence.public_id)
    assert (stats.sent, stats.firsts[EventKind.REPLIED]) == (1, 1)
