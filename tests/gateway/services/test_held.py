"""Held deliveries: listed to their owner, sent again with the same Message-ID, or given up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

import models
from gateway import clock, errors, jobs
from gateway.mail.draft import Mailbox
from gateway.services import explanations, held, identity, messages
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import Bells

pytestmark = pytest.mark.usefixtures("store")
HOUR = 3_600_000
ABSENT = "0190163d-8694-739b-aea5-966c26f8ad91"


@pytest.fixture
def who(store: str) -> cast.Sender:
    return cast.sender()


def _hold(who: cast.Sender, *names: str, held_of: int | None = None, **changed: Any) -> str:
    """A message whose first `held_of` deliveries are held, as a crash in mid-attempt leaves them."""
    to = [Mailbox(f"{name}@friends.test") for name in names]
    sent = messages.accept(who.caller, cast.draft(to=to, domain=who.domain.name, **changed)).message_id
    ids = [row.id for row in models.Delivery.select().order_by(models.Delivery.id)][-len(names) :][:held_of]
    until = clock.now_ms() + HOUR
    models.Delivery.update(state=DeliveryState.HELD, attempts=1, due_ms=until, expires_ms=until).where(
        models.Delivery.id << ids
    ).execute()
    return sent


def _rows() -> dict[str, models.Delivery]:
    return {row.rcpt.partition("@")[0]: row for row in models.Delivery.select()}


def _data(kind: EventKind) -> list[dict[str, Any]]:
    return [orjson.loads(row.data) for row in models.Event.select().where(models.Event.kind == kind)]


def test_each_account_and_each_domain_sees_its_own(who: cast.Sender) -> None:
    stranger = cast.sender("stranger", "foreign.test")
    sent = _hold(who, "a", "b", "c", held_of=2, subject="Your order")
    _hold(stranger, "x")
    total, found = held.list_(caller=who.owner)
    assert total == 2
    assert [(row.message_id, row.recipient, row.subject, row.attempts) for row in found] == [
        (sent, "a@friends.test", "Your order", 1),
        (sent, "b@friends.test", "Your order", 1),
    ]
    assert [row.recipient for row in held.list_(caller=who.owner, start=1, count=5)[1]] == ["b@friends.test"]
    assert held.list_(caller=replace(who.owner, domain_id=stranger.domain.id)) == (0, [])
    assert held.list_(caller=None)[0] == 3


def test_what_is_released_is_due_at_once_and_has_its_whole_time(who: cast.Sender, bells: Bells) -> None:
    sent = _hold(who, "a", "b", "c", held_of=2)
    bells.clear()
    before = clock.now_ms()
    assert held.release(caller=who.owner, message_id=sent, recipient="a@friends.test") == 1
    row = _rows()["a"]
    assert (row.state, row.attempts) == (DeliveryState.DEFERRED, 1)
    assert before <= row.due_ms <= clock.now_ms()
    assert row.expires_ms > before + 24 * HOUR
    assert _rows()["b"].state == DeliveryState.HELD
    assert _rows()["c"].state == DeliveryState.QUEUED
    assert bells == [jobs.DELIVER]
    assert [event["reason"] for event in _data(EventKind.QUEUED)] == ["released to be sent again"]
    assert held.release(caller=who.owner, message_id=sent) == 1
    assert held.release(caller=who.owner, message_id=sent) == 0


def test_what_is_given_up_fails_with_an_event_that_says_why(who: cast.Sender) -> None:
    sent = _hold(who, "a", "b", held_of=1, metadata={"order": "7"})
    assert held.fail(caller=who.owner, message_id=sent) == 1
    row = _rows()["a"]
    assert (row.state, row.due_ms, row.lane_id) == (DeliveryState.FAILED, None, None)
    assert _rows()["b"].state == DeliveryState.QUEUED
    (event,) = _data(EventKind.FAILED)
    assert (event["in_doubt"], event["metadata"]) == (True, {"order": "7"})
    told = explanations.explain(caller=who.owner, message_id=sent, recipient="a@friends.test").text
    assert "whether it arrived is in doubt" in told
    assert held.fail(caller=who.owner, message_id=sent) == 0


def test_more_than_a_batch(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "_BATCH", 2)
    assert held.release(caller=who.owner, message_id=_hold(who, *"abcde")) == 5
    assert held.fail(caller=who.owner, message_id=_hold(who, *"fghi")) == 4


def test_nobody_decides_for_another(who: cast.Sender) -> None:
    sent = _hold(who, "a")
    stranger = cast.sender("stranger", "foreign.test").owner
    for decide in (held.release, held.fail):
        for message_id in (sent, ABSENT, "x"):
            with pytest.raises(errors.NotFound):
                decide(caller=stranger, message_id=message_id)
    assert _rows()["a"].state == DeliveryState.HELD


def test_the_shell_finds_the_account_by_the_message(who: cast.Sender) -> None:
    sent = _hold(who, "a")
    assert held.owner(message_id=f"<{sent}@shop.test>") == identity.for_account(who.owner.account_id)
    for message_id in (ABSENT, "x"):
        with pytest.raises(errors.NotFound):
            held.owner(message_id=message_id)
