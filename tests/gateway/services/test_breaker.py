"""When refusals are a surge, and how a destination is tried again."""

from __future__ import annotations

from gateway.services import breaker
from gateway.services.breaker import Breaker, Minute, Trip


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


class TestShared:
    """What all processes saw, by the minute."""

    _NOW = 100
    _AT = _NOW * 60_000

    def _past(self, *minutes: tuple[int, int, int]) -> list[Minute]:
        return [Minute(self._NOW - age, taken, refused) for age, taken, refused in minutes]

    def test_it_is_the_past_of_a_process_that_has_none(self) -> None:
        one = Breaker()
        one.share(self._past((9, 30, 0), (5, 20, 1)))
        assert _feed(one, "xxxx", start_ms=self._AT) is None
        assert not one.distrusts
        _feed(one, "x", start_ms=self._AT)
        assert one.distrusts
        trip = _feed(one, "x" * 20, start_ms=self._AT)
        assert trip is not None and trip.seconds == breaker.FIRST_S

    def test_what_was_refused_before_the_past_was_told_belongs_to_the_surge(self) -> None:
        one = Breaker()
        assert _feed(one, "x" * 60, start_ms=self._AT) is None
        one.share(self._past((9, 30, 0), (5, 20, 1)))
        trip = _feed(one, "x", start_ms=self._AT + 60)
        assert trip is not None
        assert trip.from_ms == self._AT  # the window holds the last 50 only

    def test_a_bad_list_from_the_beginning_is_no_surge_either(self) -> None:
        one = Breaker()
        one.share(self._past((3, 2, 40), (2, 1, 40), (1, 0, 50), (0, 0, 30)))
        assert _feed(one, "x" * 100, start_ms=self._AT) is None
        assert not one.distrusts

    def test_a_short_past_is_none(self) -> None:
        one = Breaker()
        one.share(self._past((9, breaker.PAST - 1, 0), (0, 0, 60)))
        assert _feed(one, "x" * 60, start_ms=self._AT) is None

    def test_one_refusal_here_among_many_elsewhere_trips(self) -> None:
        one = Breaker()
        one.share(self._past((9, 100, 0), (2, 10, 15), (1, 2, 30), (0, 0, 25)))
        trip = _feed(one, "x", start_ms=self._AT)
        assert trip is not None
        assert trip.from_ms == (self._NOW - 2) * 60_000  # the minute in which it began
        assert "55 of the last 57 messages of all processes" in trip.cause

    def test_refusals_among_as_many_deliveries_do_not(self) -> None:
        one = Breaker()
        one.share(self._past((9, 100, 0), (0, 200, 60)))
        assert _feed(one, "x", start_ms=self._AT) is None

    def test_its_own_long_past_goes_first(self) -> None:
        one = Breaker()
        one.share(self._past((9, 1000, 0)))
        assert _feed(one, "..x" * 60 + "x" * 18, start_ms=self._AT) is None
