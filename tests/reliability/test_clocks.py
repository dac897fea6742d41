"""A clock that jumps by an hour while mail is on its way loses nothing and sends nothing twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

import models
from gateway import clock, config
from gateway.mail.draft import Mailbox
from gateway.services import claiming, deliveries, lanes, messages, outcome_flusher
from models import database as db
from models.vocabulary import DeliveryState
from tests import cast
from tests.cli.installation import wait_for
from tests.conftest import use_settings
from tests.peers.smtp_sink import SmtpSink, say

HOUR = 3_600_000


class Clock:
    """The wall clock of this process, to be set forward and back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = 0
        real = clock.now_ms
        monkeypatch.setattr(clock, "now_ms", lambda: real() + self.offset)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as peer:
        yield peer


@pytest.fixture
def two(store: str, sink: SmtpSink, wall: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    use_settings(tmp_path, DELIVERY=sink.url, DELIVER_CONNECTIONS="4")
    monkeypatch.setattr(claiming, "TAKE_OVER_AFTER_S", 0.0)
    made = Two()
    yield made
    made.close()


class Two:
    """Two engines on one store, as two processes have them."""

    def __init__(self) -> None:
        self.engines = [deliveries.Engine(config.settings()) for _ in range(2)]
        for engine in self.engines:
            engine.drain(0.05)  # each has seen the clock before it jumps

    def drain(self, seconds: float) -> None:
        """Both look for work at the same time."""
        threads = [threading.Thread(target=self._drain, args=(engine, seconds)) for engine in self.engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @staticmethod
    def _drain(engine: deliveries.Engine, seconds: float) -> None:
        try:
            engine.drain(seconds)
        finally:
            db.close()

    def settle(self) -> None:
        for engine in self.engines:
            assert engine.wait_idle(20)

    def close(self) -> None:
        for engine in self.engines:
            engine.close()
        self.engines = []


def _accept(who: cast.Sender, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        messages.accept(who.caller, cast.draft(to=[Mailbox(f"r{number}@friends.test")]))


def _states() -> dict[int, int]:
    found: dict[int, int] = {}
    for row in models.Delivery.select():
        found[row.state] = found.get(row.state, 0) + 1
    return found


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
def test_what_is_on_a_connection_while_the_clock_jumps_arrives_once(
    two: Two, sink: SmtpSink, wall: Clock, jump: int
) -> None:
    who = cast.sender()
    sink.always("end", say("250 2.0.0 taken", pause=0.6))
    _accept(who, 8)
    two.engines[0].drain(0.3)
    wait_for(lambda: len(sink.transactions) >= 4, "four are on their connections")
    wall.offset = jump
    # Their leases look as if they had run out an hour ago; whoever holds them lives.
    two.drain(0.8)
    _accept(who, 4, start=8)
    two.drain(0.5)
    two.settle()
    two.drain(0.5)  # what its holder gave back, for want of a lease
    two.settle()
    wall.offset = 0
    two.drain(0.5)
    two.settle()
    assert sorted(one.rcpts[0] for one in sink.messages) == sorted(f"r{number}@friends.test" for number in range(12))
    assert _states() == {DeliveryState.DELIVERED: 12}


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
def test_what_waits_for_its_time_is_tried_once_more_and_not_lost(
    two: Two, sink: SmtpSink, wall: Clock, jump: int
) -> None:
    who = cast.sender()
    sink.script("rcpt", *["451 4.3.0 later please"] * 4)
    _accept(who, 4)
    two.drain(0.3)
    two.settle()
    assert _states() == {DeliveryState.DEFERRED: 4}
    for offset in (jump, 0, HOUR):
        wall.offset = offset
        two.drain(0.3)
        two.settle()
    assert sorted(one.rcpts[0] for one in sink.messages) == sorted(f"r{number}@friends.test" for number in range(4))
    assert _states() == {DeliveryState.DELIVERED: 4}


def test_a_dead_holders_mail_is_taken_over_although_the_clock_had_jumped(
    two: Two, sink: SmtpSink, wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _accept(cast.sender(), 3)
    assert len(lanes.claim(lanes.Rounds())) == 3  # by a host that then vanished, its journal with it
    wall.offset = HOUR
    two.drain(0.3)
    assert sink.messages == []
    monkeypatch.setattr(outcome_flusher, "RENEW_EVERY_S", 0.01)
    two.drain(0.5)
    two.settle()
    assert len(sink.messages) == 3
    assert _states() == {DeliveryState.DELIVERED: 3}


def test_a_process_that_has_just_begun_leaves_leases_to_their_holders(store: str, wall: Clock) -> None:
    """It cannot know whether the database was away; those who hold them write first what they know."""
    _accept(cast.sender(), 1)
    (held,) = lanes.claim(lanes.Rounds())
    wall.offset = HOUR
    assert lanes.claim(lanes.Rounds(), calm_s=inf) == []
    (taken,) = lanes.claim(lanes.Rounds())
    assert (taken.id, taken.fence) == (held.id, held.fence + 1)
