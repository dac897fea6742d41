"""When refusals are a surge, and how a destination is tried again."""

from __future__ import annotations

from gateway.services import breaker
from gateway.services.breaker import Breaker, Trip


def _feed(one: Breaker, pattern: str, *, start_ms: int = 0) -> Trip | None:
    """`.` is taken, `x` refused for good; the trip that came of it."""
    tripped = None
    for number, mark in enumerate(pattern):
        trip = one.note(refused=mark == "x", reply="550 5.7.1 no", host="mx.far.test", at_ms=start_ms + number)
        tripped = tripped or trip
    return tripped


def test_a_surge_after_a_good_past_trips_and_tells_its_figures() -> None:
    one = Breaker()
    assert _feed(one, "." * 100) is None
    assert not one.distrusts
    trip = _feed(one, "x" * 30, start_ms=1000)
    assert trip is not None
    assert (trip.seconds, trip.from_ms, trip.hosts) == (breaker.FIRST_S, 1000, {"mx.far.test"})
    assert "25 of the last 50" in trip.cause and "550 5.7.1 no" in trip.cause
    assert one.distrusts


def test_a_bad_list_from_the_beginning_is_no_surge() -> None:
    one = Breaker()
    assert _feed(one, "x" * 100) is None
    assert not one.distrusts


def test_a_past_that_was_bad_already_is_no_surge() -> None:
    one = Breaker()
    assert _feed(one, "..x" * 60 + "x" * 40) is None


def test_some_refusals_among_deliveries_are_no_surge() -> None:
    one = Breaker()
    assert _feed(one, "." * 50 + ".......x" * 20) is None


def test_refusals_are_distrusted_before_it_trips() -> None:
    one = Breaker()
    _feed(one, "." * 50 + "xxxx")
    assert not one.distrusts
    assert _feed(one, "x") is None
    assert one.distrusts


def test_after_the_pause_probes_decide() -> None:
    one = Breaker()
    _feed(one, "." * 60 + "x" * 30)
    one.resumed()
    assert one.probing and one.distrusts
    assert _feed(one, "...") is None
    assert not one.probing and not one.distrusts


def test_a_failed_probe_pauses_for_twice_as_long() -> None:
    one = Breaker()
    _feed(one, "." * 60 + "x" * 30)
    one.resumed()
    trip = _feed(one, "x.x")
    assert trip is not None
    assert trip.seconds == 2 * breaker.FIRST_S
    one.resumed()
    _feed(one, "xx")
    for _ in range(10):
        one.resumed()
        trip = _feed(one, "xx")
    assert trip is not None and trip.seconds == breaker.LONGEST_S


def test_what_was_on_its_way_when_it_opened_changes_nothing() -> None:
    one = Breaker()
    _feed(one, "." * 60 + "x" * 30)
    assert _feed(one, "x" * 50 + "." * 50) is None
    assert one.distrusts


def test_a_pause_that_another_process_made_ends_with_probes_too() -> None:
    one = Breaker()
    one.paused()
    one.resumed()
    assert one.probing
