"""Captured mail read back."""

from __future__ import annotations

import pytest

from gateway import errors
from gateway.services import deliveries, mailbox, messages
from tests import cast


def test_captured_mail_is_listed_newest_first_and_shown_whole(store: str) -> None:
    sender, stranger = cast.sender(), cast.account("stranger")
    first = messages.accept(sender.caller, cast.draft(to="jane@friends.test"))
    deliveries.drain(0.5)
    second = messages.accept(sender.caller, cast.draft(to="bob@friends.test"))
    deliveries.drain(0.5)
    deliveries.close()

    found = mailbox.list_()
    assert [(row.rcpt, row.message_id) for row in found] == [
        ("bob@friends.test", second.message_id),
        ("jane@friends.test", first.message_id),
    ]
    assert found[0].account == "owner@people.test"
    assert mailbox.list_(limit=1) == found[:1]
    assert mailbox.list_(account_id=sender.owner.account_id) == found
    assert mailbox.list_(account_id=stranger.account_id) == []

    shown = mailbox.show(found[0].id)
    assert shown.startswith(b"DKIM-Signature:")
    assert b"\r\nSubject: Your order\r\n" in shown
    assert len(shown) == found[0].size
    assert mailbox.show(found[0].id, account_id=sender.owner.account_id) == shown
    for number, account_id in ((found[0].id, stranger.account_id), (found[0].id + 1000, None)):
        with pytest.raises(errors.NotFound):
            mailbox.show(number, account_id=account_id)
