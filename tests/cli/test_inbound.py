"""`commandpost inbound`: its JSON, its text, its refusals."""

from __future__ import annotations

import pytest

import models
from gateway.services import inbound_mail, messages
from tests import cast
from tests.cli.test_verbs import Run, ask, refused, run, world

__all__ = ["ask", "run", "world"]


@pytest.fixture
def number(world: None) -> int:
    """A letter to the return path of a delivery to jane, and something to the complaint mailbox."""
    messages.accept(cast.sender().caller, cast.draft())
    delivery_id = models.Delivery.get().id
    numbers = [
        inbound_mail.keep(
            kind=kind, why="Because.", recipient="b+x@bounce.shop.test", mail_from="jane@friends.test",
            content=b"From: Jane <jane@friends.test>\r\nSubject: Hello\r\n\r\nHow are you?\r\n", delivery_id=about,
            refused=False,
        )
        for kind, about in ((inbound_mail.LETTER, delivery_id), (inbound_mail.UNRECOGNISED, None))
    ]  # fmt: skip
    return numbers[0]


def test_list_show_delete(number: int, ask: Run, run: Run) -> None:
    assert len(ask("inbound", "list")) == 2
    (row,) = ask("inbound", "list", "--user", "owner@people.test")
    assert (row["id"], row["kind"], row["about"], row["why"]) == (number, "letter", "jane@friends.test", "Because.")
    assert [row["account_id"] for row in ask("inbound", "list", "--kind", "unrecognised")] == [None]
    assert "1 more" in run("inbound", "list", "--limit", "1")[1]
    assert "How are you?" in ask("inbound", "show", str(number))["message"]
    status, out, _ = run("inbound", "show", str(number))
    assert status == 0 and "Because." in out and out.rstrip().endswith("How are you?")
    assert ask("inbound", "delete", str(number)) == {"id": number, "deleted": True}
    assert refused(run, "inbound", "show", str(number)) == (1, "inbound_mail_not_found")
    assert refused(run, "inbound", "delete", str(number)) == (1, "inbound_mail_not_found")
    assert run("inbound", "list", "--user", "owner@people.test")[1] == "no inbound mail\n"
    assert refused(run, "inbound", "list", "--kind", "spam") == (2, "usage")
    assert refused(run, "inbound", "list", "--user", "nobody@people.test") == (1, "not_found")
