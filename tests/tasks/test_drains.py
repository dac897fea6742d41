"""Which bells are answered, and which were answered before they rang."""

from __future__ import annotations

import threading

import pytest

from gateway import clock, jobs
from models.database import StoreUnavailable
from tasks import drains
from tasks.drains import Drain
from tests.conftest import Bells


class Time:
    """A clock that the work moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ms = 1_000_000
        monkeypatch.setattr(clock, "now_ms", lambda: self.ms)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def work(time: Time, ms: int, calls: list[float]) -> object:
    def run(seconds: float) -> int:
        calls.append(seconds)
        time.ms += ms
        return 0

    return run


def test_bells_of_before_the_last_idle_look_are_not_answered(time: Time, bells: Bells) -> None:
    calls: list[float] = []
    drain = Drain(jobs.DELIVER, work(time, 1200, calls))  # type: ignore[arg-type]
    rung = time.ms
    assert drain.answer(rung)
    for later in (0, 10, 500):
        assert not drain.answer(rung + later)
    assert len(calls) == 1
    assert drain.answer(time.ms)
    assert calls == [drains.SECONDS, drains.SECONDS]
    assert bells == []


def test_a_drain_that_ran_out_of_time_rings_again_and_covers_nothing(time: Time, bells: Bells) -> None:
    calls: list[float] = []
    drain = Drain(jobs.DELIVER, work(time, 5000, calls))  # type: ignore[arg-type]
    rung = time.ms
    assert drain.answer(rung)
    assert bells == [jobs.DELIVER]
    assert drain.answer(rung + 1)


def test_a_database_that_is_away_covers_nothing(time: Time, bells: Bells) -> None:
    calls: list[float] = []

    def away(seconds: float) -> int:
        calls.append(seconds)
        raise StoreUnavailable("away")

    drain = Drain(jobs.DELIVER, away)
    assert drain.answer(time.ms)
    assert drain.answer(time.ms)
    assert len(calls) == 2


def test_a_bug_is_not_hidden_and_the_next_bell_is_answered(time: Time) -> None:
    def broken(seconds: float) -> int:
        raise ZeroDivisionError

    drain = Drain(jobs.DELIVER, broken)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            drain.answer(time.ms)


def test_a_clock_that_is_set_back_silences_no_bell(time: Time, bells: Bells) -> None:
    calls: list[float] = []
    drain = Drain(jobs.DELIVER, work(time, 1200, calls))  # type: ignore[arg-type]
    assert drain.answer(time.ms)
    time.ms -= 600_000
    assert drain.answer(time.ms)
    assert len(calls) == 2


def test_a_drain_during_which_the_clock_was_set_back_covers_nothing(time: Time, bells: Bells) -> None:
    drain = Drain(jobs.DELIVER, work(time, -600_000, []))  # type: ignore[arg-type]
    rung = time.ms
    assert drain.answer(rung)
    assert bells == [jobs.DELIVER]
    assert drain.answer(time.ms)


def test_no_more_than_so_many_run_at_once() -> None:
    inside, release = threading.Semaphore(0), threading.Event()

    def slow(seconds: float) -> int:
        inside.release()
        release.wait(10)
        return 0

    drain = Drain(jobs.WEBHOOKS, slow, lambda: 2)
    threads = [threading.Thread(target=drain.answer, args=(clock.now_ms(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert inside.acquire(timeout=5)
    assert not drain.answer(clock.now_ms())
    release.set()
    for thread in threads:
        thread.join(5)
    assert drain.answer(clock.now_ms() + 1000)
