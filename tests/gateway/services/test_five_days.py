"""Five simulated days of one delivery that its receiver always puts off."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import time_machine

import models
from gateway import clock
from gateway.services import lanes, messages, outcomes, retries
from gateway.services.outcomes import Done
from gateway.transports.outcome import Outcome, Result
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import use_settings

pytestmark = pytest.mark.usefixtures("store")

LATER = Outcome(Result.DEFERRED, 451, "4.3.0", "451 4.3.0 try again later", "network", "mx.friends.test[192.0.2.1]:25")
HOURS = 120


def _attempts(start_ms: int, outcome: Outcome) -> list[int]:
    """Run it with the clock moved to each due time until it is over; when its attempts ended, in ms after the start."""
    ends: list[int] = []
    with time_machine.travel(start_ms / 1000, tick=False) as traveller:
        messages.accept(cast.sender().caller, cast.draft())
        while (row := models.Delivery.get()).due_ms is not None:
            traveller.move_to(row.due_ms / 1000 + 0.001)
            (claimed,) = lanes.claim(lanes.Rounds())
            assert lanes.claim(lanes.Rounds()) == []
            outcomes.apply([Done(claimed.id, claimed.fence, outcome, "mx", clock.now_ms(), 3)])
            ends.append(clock.now_ms() - start_ms)
            assert len(ends) < 200
    return ends


def test_it_follows_the_schedule_and_fails_once_at_its_time_limit(tmp_path: Path) -> None:
    use_settings(tmp_path, TRANSACTIONAL_HOURS=str(HOURS))
    start = clock.now_ms() // 1000 * 1000
    ends = _attempts(start, LATER)
    waits = [later - earlier for earlier, later in pairwise(ends)]
    steps = [*retries.SCHEDULE_S, *[retries.SCHEDULE_S[-1]] * len(waits)]
    for wait, step in zip(waits, steps, strict=False):
        # A millisecond or two go to the way between the clock and the columns.
        assert step * (1 - retries.JITTER) - 0.01 <= wait / 1000 <= step * (1 + retries.JITTER) + 0.01
    assert len({wait // 1000 for wait in waits[6:]}) > 10, "no jitter"
    limit = HOURS * 3_600_000
    assert limit - retries.SCHEDULE_S[-1] * 1200 <= ends[-1] <= limit
    assert 31 <= len(ends) <= 45
    row = models.Delivery.get()
    assert (row.state, row.attempts, row.lane_id) == (DeliveryState.FAILED, len(ends), None)
    kinds = [EventKind(event.kind) for event in models.Event.select().order_by(models.Event.id)]
    assert kinds == [EventKind.ACCEPTED, *[EventKind.DEFERRED] * (len(ends) - 1), EventKind.FAILED]
    assert [attempt.no for attempt in models.Attempt.select().order_by(models.Attempt.id)] == list(
        range(1, len(ends) + 1)
    )
    assert models.Suppression.select().count() == 0


def test_a_wish_to_wait_is_kept_and_the_limit_too(tmp_path: Path) -> None:
    use_settings(tmp_path, TRANSACTIONAL_HOURS="24")
    wish = Outcome(Result.DEFERRED, 451, "4.7.1", "451 4.7.1 try again in 2 hours", "policy", retry_after=7200)
    ends = _attempts(clock.now_ms() // 1000 * 1000, wish)
    waits = [later - earlier for earlier, later in pairwise(ends)]
    assert min(waits) >= 7_200_000
    assert ends[-1] <= 24 * 3_600_000
    assert models.Delivery.get().state == DeliveryState.FAILED
