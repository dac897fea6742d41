"""What is remembered of addresses that did not answer."""

from __future__ import annotations

import datetime
import errno

import time_machine

from gateway.transports.reach import Reach

FOUR, SIX = "192.0.2.1", "2001:db8::1"


def _later(seconds: float) -> time_machine.travel:
    return time_machine.travel(datetime.datetime.now() + datetime.timedelta(seconds=seconds), tick=True)


def test_only_what_cost_a_time_out_is_left_alone() -> None:
    reach = Reach()
    reach.failed(FOUR, "connection refused", timed_out=False, errno_=errno.ECONNREFUSED)
    assert reach.dead(FOUR) == ""
    reach.failed(FOUR, "timed out", timed_out=True)
    assert reach.dead(FOUR) == "timed out"
    with _later(46):
        assert reach.dead(FOUR) == ""


def test_an_answer_clears_it() -> None:
    reach = Reach()
    reach.failed(FOUR, "timed out", timed_out=True)
    reach.answered(FOUR)
    assert reach.dead(FOUR) == ""
    assert reach.ordered([FOUR, SIX]) == [FOUR, SIX]


def test_one_that_timed_out_comes_last_for_a_while() -> None:
    reach = Reach()
    reach.failed(FOUR, "timed out", timed_out=True)
    with _later(60):
        assert reach.ordered([FOUR, "192.0.2.2", SIX]) == ["192.0.2.2", SIX, FOUR]
    with _later(601):
        assert reach.ordered([FOUR, "192.0.2.2", SIX]) == [FOUR, "192.0.2.2", SIX]


def test_a_family_without_a_way_comes_last_until_it_works() -> None:
    reach = Reach()
    reach.failed(FOUR, "network is unreachable", timed_out=False, errno_=errno.ENETUNREACH)
    assert reach.ordered(["192.0.2.9", SIX]) == [SIX, "192.0.2.9"]
    reach.answered("192.0.2.8")
    assert reach.ordered(["192.0.2.9", SIX]) == ["192.0.2.9", SIX]


def test_a_family_that_times_out_everywhere_comes_last() -> None:
    reach = Reach()
    for n in range(3):
        assert reach.ordered(["2001:db8::9", FOUR]) == ["2001:db8::9", FOUR]
        reach.failed(f"2001:db8::{n}", "timed out", timed_out=True)
    assert reach.ordered(["2001:db8::9", FOUR]) == [FOUR, "2001:db8::9"]


def test_it_is_bounded() -> None:
    reach = Reach()
    for n in range(5000):
        reach.failed(f"10.0.{n // 250}.{n % 250}", "timed out", timed_out=True)
    assert reach.dead("10.0.0.0") == ""
    assert reach.dead("10.0.19.249") == "timed out"
