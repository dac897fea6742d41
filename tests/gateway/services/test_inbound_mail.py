"""Inbound mail that is kept: bounds, scope and content, on both databases."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

import models
from gateway import errors
from gateway.services import housekeeping, inbound_mail, messages
from tests import cast
from tests.conftest import use_settings


def keep(content: bytes, *, kind: str = inbound_mail.LETTER, delivery_id: int | None = None) -> int:
    return inbound_mail.keep(
        kind=kind, why="why", recipient="b+x@shop.test", mail_from="jane@friends.test", content=content,
        delivery_id=delivery_id, refused=False,
    )  # fmt: skip


def numbers(kind: str = "") -> list[int]:
    return [one.id for one in inbound_mail.list_(caller=None, kind=kind)[0]]


@pytest.mark.parametrize("size", [0, 100, 20_000, 1_800_000])
def test_content_comes_back_as_it_came(store: str, size: int) -> None:
    content = b"Subject: x\r\n\r\n" + os.urandom(size)
    kept, found = inbound_mail.show(caller=None, number=keep(content))
    assert (found, kept.size) == (content, len(content))


def test_the_oldest_of_a_kind_go_first(store: str, tmp_path: Path) -> None:
    use_settings(tmp_path, INBOUND_KEEP="3")
    note = keep(b"\r\n", kind=inbound_mail.AUTO_REPLY)
    made = [keep(b"\r\n%d" % n) for n in range(5)]
    assert numbers(inbound_mail.LETTER) == made[:1:-1]
    assert numbers(inbound_mail.AUTO_REPLY) == [note]
    assert models.InboundMailPart.select().count() == 4


def test_bytes_are_bounded_and_the_newest_stays(store: str, tmp_path: Path) -> None:
    use_settings(tmp_path, INBOUND_KEEP_BYTES="65536")
    made = [keep(b"x" * 30_000) for _ in range(4)]
    assert numbers() == made[:1:-1]
    large = keep(b"x" * 70_000)
    assert numbers() == [large]


def test_a_smaller_bound_is_reached_at_once(store: str, tmp_path: Path) -> None:
    for n in range(130):
        keep(b"%d" % n)
    use_settings(tmp_path, INBOUND_KEEP="2")
    keep(b"last")
    assert len(numbers()) == 2 and models.InboundMailPart.select().count() == 2


def test_age_is_bounded(store: str) -> None:
    with time_machine.travel(datetime.now(UTC) - timedelta(days=31), tick=True):
        keep(b"old")
    young = keep(b"young")
    housekeeping.sweep(5)
    assert numbers() == [young]
    assert models.InboundMailPart.select().count() == 1


def test_an_account_sees_its_own(store: str) -> None:
    owner, stranger = cast.sender("owner"), cast.sender("stranger", "stranger.test")
    accepted = messages.accept(owner.caller, cast.draft())
    (delivery,) = models.Delivery.select()
    mine, nobodys = keep(b"mine", delivery_id=delivery.id), keep(b"nobody's")
    for caller in (owner.owner, owner.caller):
        assert [one.id for one in inbound_mail.list_(caller=caller)[0]] == [mine]
        about = inbound_mail.list_(caller=caller, message_id=accepted.message_id)
        assert ([one.message_id for one in about[0]], about[1]) == ([accepted.message_id], 1)
    assert inbound_mail.list_(caller=stranger.owner) == ([], 0)
    assert numbers() == [nobodys, mine]
    for caller, number in ((stranger.owner, mine), (owner.owner, nobodys)):
        with pytest.raises(errors.InboundMailNotFound):
            inbound_mail.show(caller=caller, number=number)
        with pytest.raises(errors.InboundMailNotFound):
            inbound_mail.delete(caller=caller, number=number)
    with pytest.raises(errors.NotFound):
        inbound_mail.list_(caller=stranger.owner, message_id=accepted.message_id)
    inbound_mail.delete(caller=owner.owner, number=mine)
    assert numbers() == [nobodys] and models.InboundMailPart.select().count() == 1


def test_octets_that_are_no_text_can_be_kept(store: str) -> None:
    content = b"From: \xff\xfe\r\nSubject: =?utf-7?q?+2AA-?= =?utf-8?b?8J+YgA==?=\r\n\r\n\xff"
    number = inbound_mail.keep(
        kind=inbound_mail.UNRECOGNISED, why="", recipient="b+\udcff@shop.test", mail_from="\udcfe@x.test",
        content=content, delivery_id=None, refused=False,
    )  # fmt: skip
    kept, found = inbound_mail.show(caller=None, number=number)
    assert found == content and "😀" in kept.subject
