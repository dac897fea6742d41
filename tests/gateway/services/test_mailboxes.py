"""Mailboxes: whose they are, what they are called, and that nothing is left of a deleted one."""

from __future__ import annotations

from dataclasses import replace

import pytest

import models
from gateway import errors
from gateway.services import arrivals, housekeeping, mailbox_mail, mailboxes
from gateway.services.mailbox_mail import Place
from models import database as db
from tests import cast
from tests.conftest import use_settings

LETTER = b"From: jane@friends.test\r\nTo: hello@shop.test\r\nSubject: Hi\r\n\r\nHello.\r\n"


def place(mailbox: mailboxes.Mailbox) -> Place:
    return Place(mailbox.id, mailbox.account_id, mailbox.domain_id, mailbox.address)


def receive(mailbox: mailboxes.Mailbox, content: bytes = LETTER) -> str:
    return arrivals.receive(places=[place(mailbox)], mail_from="jane@friends.test", content=content)


def test_a_mailbox_has_its_name_once(store: str) -> None:
    caller = cast.sender().caller
    made = mailboxes.add(caller=caller, address="Hello", display_name=" Hello   Team ")
    assert (made.local, made.address, made.display_name) == ("hello", "hello@shop.test", "Hello Team")
    for again in ("hello", "HELLO@shop.test"):
        with pytest.raises(errors.MailboxExists):
            mailboxes.add(caller=caller, address=again)
    mailboxes.add(caller=caller, address="sales@shop.test")
    assert [one.local for one in mailboxes.list_(caller=caller)] == ["hello", "sales"]
    assert mailboxes.find(caller=caller, address="hello@SHOP.test").id == made.id


@pytest.mark.parametrize("address", ["", "@shop.test", "hello@other.test", "a b", "x" * 65, "hello@shop.test@x", "ü\0"])
def test_what_is_no_address_of_the_domain_is_refused(store: str, address: str) -> None:
    with pytest.raises(errors.Invalid):
        mailboxes.add(caller=cast.sender().caller, address=address)
    assert models.Mailbox.select().count() == 0


def test_a_stranger_finds_nothing(store: str) -> None:
    mine, theirs = cast.sender(), cast.sender("stranger", "other.test")
    mailbox = mailboxes.add(caller=mine.caller, address="hello")
    receive(mailbox)
    (one,) = mailbox_mail.list_(account_id=mailbox.account_id, mailbox_id=mailbox.id)
    with pytest.raises(errors.NoSuchMailbox):
        mailboxes.find(caller=theirs.caller, address="hello@shop.test")
    for domain_id in (mine.domain.id, 987_654):
        with pytest.raises(errors.NotFound):
            mailboxes.list_(caller=theirs.owner, domain_id=domain_id)
    with pytest.raises(errors.InboundMailNotFound):
        mailbox_mail.find(account_id=theirs.owner.account_id, mailbox_id=mailbox.id, public_id=one.public_id)
    with pytest.raises(errors.MailboxNeeded):
        mailboxes.require(caller=replace(theirs.caller, account_id=theirs.owner.account_id), address="hello@shop.test")


def test_a_send_needs_its_mailbox(store: str) -> None:
    caller = cast.sender().caller
    with pytest.raises(errors.MailboxNeeded):
        mailboxes.require(caller=caller, address="hello@shop.test")
    mailbox = mailboxes.add(caller=caller, address="hello")
    assert mailboxes.require(caller=caller, address=" Hello@shop.test").id == mailbox.id
    mailboxes.delete(caller=caller, address="hello")
    with pytest.raises(errors.MailboxNeeded):
        mailboxes.require(caller=caller, address="hello@shop.test")


def test_nothing_is_left_of_a_deleted_one(store: str) -> None:
    caller = cast.sender().caller
    mailbox = mailboxes.add(caller=caller, address="hello")
    other = mailboxes.add(caller=caller, address="sales")
    for _ in range(3):
        receive(mailbox)
    receive(other, LETTER + b"x" * 700_000)
    mailboxes.delete(caller=caller, address="hello")
    assert [one.local for one in mailboxes.list_(caller=caller)] == ["sales"]
    assert {row.mailbox_id for row in models.MailboxMessage.select()} == {other.id}
    assert {row.mailbox_message_id for row in models.MailboxMessagePart.select()} == {
        row.id for row in models.MailboxMessage.select()
    }
    with pytest.raises(errors.NoSuchMailbox):
        mailboxes.delete(caller=caller, address="hello")
    with pytest.raises(errors.NoSuchMailbox):
        receive(mailbox)
    again = mailboxes.add(caller=caller, address="hello")
    assert (again.id != mailbox.id, again.messages) == (True, 0)


def test_what_a_killed_process_left_is_taken_out(store: str) -> None:
    caller = cast.sender().caller
    mailbox = mailboxes.add(caller=caller, address="hello")
    receive(mailbox)
    models.Mailbox.update(local=f"@{mailbox.id}", deleted_ms=1).where(models.Mailbox.id == mailbox.id).execute()
    assert mailboxes.list_(caller=caller) == []
    housekeeping.sweep(5)
    assert (models.Mailbox.select().count(), models.MailboxMessage.select().count()) == (0, 0)


def test_there_is_a_most_of_them(store: str, tmp_path: object) -> None:
    use_settings(tmp_path, MAILBOXES="1")  # type: ignore[arg-type]
    caller = cast.sender().caller
    mailboxes.add(caller=caller, address="hello")
    with pytest.raises(errors.MailboxLimitReached):
        mailboxes.add(caller=caller, address="sales")


def test_an_erased_person_leaves_the_mailboxes(store: str) -> None:
    mailbox = mailboxes.add(caller=cast.sender().caller, address="hello")
    receive(mailbox)
    receive(mailbox, LETTER.replace(b"jane@", b"bob@"))
    db.in_transaction(
        lambda tx: mailbox_mail.forget_person(tx, account_id=mailbox.account_id, address="jane@friends.test")
    )
    assert models.MailboxMessage.select().count() == 0  # both came from jane's envelope
    (row,) = models.Mailbox.select()
    assert (row.messages, row.bytes) == (0, 0)
