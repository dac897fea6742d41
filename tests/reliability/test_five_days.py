"""Five days at a server that always says "later": the attempts follow the schedule to the end, through the engine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

import models
from gateway import clock, config
from gateway.mail.draft import Mailbox
from gateway.services import deliveries, health, messages, retries
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import use_settings
from tests.peers.smtp_sink import SmtpSink

HOURS = 120
NAMES = [f"r{number}" for number in range(5)]


@pytest.fixture
def sink(store: str, tmp_path: Path) -> Iterator[SmtpSink]:
    with SmtpSink() as peer:
        use_settings(tmp_path, DELIVERY=peer.url, DELIVER_CONNECTIONS="2", TRANSACTIONAL_HOURS=str(HOURS))
        yield peer
        deliveries.close()


def test_retries_follow_the_schedule_for_five_days(sink: SmtpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is set to the next due time again and again; nothing may be tried at any other."""
    real, offset = clock.now_ms, 0
    monkeypatch.setattr(clock, "now_ms", lambda: real() + offset)
    sink.always("rcpt", "451 4.3.0 later please")
    engine = deliveries.Engine(config.settings())
    try:
        who = cast.sender()
        began = clock.now_ms()
        for name in NAMES:
            messages.accept(who.caller, cast.draft(to=[Mailbox(f"{name}@friends.test")]))
        recovered = False
        for _ in range(len(NAMES) * 60):
            while engine.drain(0.02):
                pass
            assert engine.wait_idle(20)
            live = [row for row in models.Delivery.select() if row.due_ms is not None]
            if not live:
                break
            assert all(row.state == DeliveryState.DEFERRED for row in live)
            assert health.snapshot()["overdue_seconds"] < 60
            day = (clock.now_ms() - began) / clock.DAY_MS
            if day > 3 and not recovered:
                sink.refuse("r0@friends.test", "250 2.1.5 welcome")
                recovered = True
            # Those due in the next minute or so go together, as they do when a sweeper comes by.
            offset += max(0, min(row.due_ms for row in live) - clock.now_ms()) + 60_000
    finally:
        engine.close()
    rows = {row.rcpt.partition("@")[0]: row for row in models.Delivery.select()}
    assert {name: row.state for name, row in rows.items()} == {
        name: DeliveryState.DELIVERED if name == "r0" else DeliveryState.FAILED for name in NAMES
    }
    for name, row in rows.items():
        attempts = list(models.Attempt.select().where(models.Attempt.delivery_id == row.id).order_by(models.Attempt.id))
        assert [one.no for one in attempts] == list(range(1, len(attempts) + 1))
        assert row.attempts == len(attempts)
        gaps = [(later.started_ms - one.started_ms) / 1000 for one, later in itertools.pairwise(attempts)]
        for at, gap in enumerate(gaps):
            planned = retries.SCHEDULE_S[min(at, len(retries.SCHEDULE_S) - 1)]
            # The minute is how late this test comes by; a loaded machine adds a little.
            assert planned * (1 - retries.JITTER) - 1 <= gap <= planned * (1 + retries.JITTER) + 120, (name, at)
        lasted = (attempts[-1].started_ms - began) / clock.DAY_MS
        if name == "r0":
            assert 3 <= lasted < 3.3
        else:
            # The last attempt is the one after which the next would be too late.
            assert HOURS / 24 - 0.25 < lasted <= HOURS / 24
            assert 30 <= len(attempts) <= 48
    ended = [row.kind for row in models.Event.select() if row.kind in (EventKind.FAILED, EventKind.DELIVERED)]
    assert sorted(ended) == [EventKind.DELIVERED] + [EventKind.FAILED] * (len(NAMES) - 1)
    assert [one.rcpts for one in sink.messages] == [["r0@friends.test"]]
