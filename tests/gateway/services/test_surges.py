"""Refusals of a surge that are written after somebody noticed it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import models
from gateway import clock
from gateway.services import breaker, lanes, messages, outcomes, shaping, suppression_rules, surges
from gateway.services.breaker import Trip
from gateway.services.outcomes import Done
from gateway.services.shaping import Lesson
from gateway.transports.outcome import Outcome, Result
from models import database as db
from models.vocabulary import DeliveryState
from tests import cast

pytestmark = pytest.mark.usefixtures("store")

HOST = "mx1.far.test"
REFUSED = Outcome(
    Result.BOUNCED, 550, "5.1.1", reply="no such user", category="recipient", remote=f"{HOST}[192.0.2.1]:25"
)


def _doubted(*refusals: tuple[str, int]) -> set[tuple[str, int]]:
    return db.in_transaction(lambda tx: surges.doubted(tx, refusals))


def _pause(target: str = "far.test", *, rule: str = breaker.RULE, seconds: int = 300) -> shaping.Limit:
    now = clock.now_ms()
    made = shaping.learn(Lesson(target, rule, "pause", 0, now + 1000 * seconds, "it refuses", now))
    assert made is not None
    return made


def _claim() -> lanes.Claimed:
    messages.accept(cast.sender().caller, cast.draft(to="a@far.test"))
    (row,) = lanes.claim(lanes.Rounds(), lambda pairs, lease: None, 10)
    return row


def _refuse(row: lanes.Claimed, **changed: Any) -> None:
    outcomes.apply([Done(row.id, row.fence, REFUSED, "mx", clock.now_ms() - 50, 40, **changed)])
    assert models.Delivery.get_by_id(row.id).state == DeliveryState.BOUNCED


def _suppressed() -> list[str]:
    return [row.address for row in models.Suppression.select()]


def test_a_pause_covers_what_ended_from_a_while_before_it_until_its_end() -> None:
    pause = _pause()
    made, end = pause.created_ms, pause.until_ms or 0
    times = [made - surges.BEFORE_MS - 1, made - surges.BEFORE_MS, made - 1, made + 1, end, end + 1]
    assert _doubted(*(("far.test", at) for at in times)) == {("far.test", at) for at in times[1:5]}
    assert _doubted(("near.test", made), ("", made)) == set()
    shaping.pin(caller=None, limit_id=pause.id)
    assert _doubted(("far.test", end + 1))
    shaping.cancel(caller=None, limit_id=pause.id)
    assert _doubted(("far.test", made), ("far.test", clock.now_ms() + 1)) == {("far.test", made)}


def test_a_pause_that_no_surge_led_to_covers_nothing() -> None:
    _pause(rule="yahoo.tss04")
    assert _doubted(("far.test", clock.now_ms())) == set()


def test_a_refusal_is_believed_without_a_surge_of_its_destination() -> None:
    _pause("near.test")
    _refuse(_claim(), target="far.test")
    assert _suppressed() == ["a@far.test"]


def test_a_refusal_that_comes_late_is_not_believed_but_told() -> None:
    row = _claim()
    _pause()
    _refuse(row, target="far.test")
    assert _suppressed() == []
    assert models.Attempt.get().code == 550


def test_the_journal_keeps_the_destination() -> None:
    done = Done(7, 1, REFUSED, "mx", 1000, 40, target="far.test")
    assert Done.parse(done.pair, done.dump()) == done


def test_what_began_to_be_written_before_the_pause_is_found_by_the_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    row = _claim()
    inside, go_on = threading.Event(), threading.Event()
    refused = suppression_rules.refused

    def slow(tx: db.Transaction, what: suppression_rules.Refused) -> str:
        inside.set()
        go_on.wait(0.5)
        return refused(tx, what)

    def write() -> None:
        try:
            _refuse(row, target="far.test")
        finally:
            db.close()

    monkeypatch.setattr(suppression_rules, "refused", slow)
    trip = Trip(300, "it refuses", clock.now_ms() - 1000, frozenset({HOST}))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert inside.wait(10)
        _pause()  # on SQLite it waits for the other
        surges.take_back(trip, "far.test")
    finally:
        go_on.set()
        writer.join()
    assert _suppressed() == (["a@far.test"] if db.dialect() == "mysql" else [])
    surges.take_back(trip, "far.test")
    assert _suppressed() == []
