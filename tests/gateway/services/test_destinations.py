"""One destination as a process sees it: slow start, pace, limits shared out."""

from __future__ import annotations

import pytest

from gateway import clock
from gateway.mail import reply_rules
from gateway.services.destinations import Destination, Learned
from gateway.services.shaping import Limit
from gateway.transports.outcome import Outcome, Result

TAKEN = Outcome(Result.DELIVERED, 250, "2.0.0", "ok", remote="mx.far.test[192.0.2.1]:25")


def _destination(*, cap: int = 5, single: bool = False) -> Destination:
    return Destination("far.test", "", single, cap, 2)


def _limit(kind: str, value: int = 0, rule: str = "") -> Limit:
    return Limit(7, "mx", "far.test", kind, value, "they said so", rule, "auto", 0, 0, None, False, None)


def _attempt(one: Destination, outcome: Outcome, *, at_s: float = 1000.0, took_s: float = 0.1) -> Learned:
    one.begin("worker", at_s)
    return one.end("worker", outcome, at_s + took_s, clock.now_ms())


def test_it_begins_with_one_connection_and_earns_more() -> None:
    one = _destination()
    assert one.connections() == 1
    _attempt(one, TAKEN)
    assert one.connections() == 2
    for n in range(20):
        _attempt(one, TAKEN, at_s=1001.0 + n)
    assert one.connections() == 5  # and no more than its cap


@pytest.mark.parametrize(
    "trouble",
    [
        Outcome(Result.DEFERRED, 421, "4.7.0", "busy", "policy"),
        Outcome(Result.DEFERRED, 451, "4.7.1", "your address has a poor reputation", "reputation"),
        Outcome(Result.DEFERRED, None, "", "timed out", "network"),
        Outcome(Result.IN_DOUBT, None, "", "lost", "network"),
    ],
)
def test_trouble_halves_what_it_has_earned_once_for_all_that_were_on_their_way(trouble: Outcome) -> None:
    one = _destination(cap=8)
    one.window = 8.0
    for worker in ("a", "b", "c"):
        one.begin(worker, 1000.0)
    for worker in ("a", "b", "c"):
        one.end(worker, trouble, 1000.5, clock.now_ms())
    assert one.connections() == 4
    _attempt(one, trouble, at_s=1002.0)
    assert one.connections() == 2


def test_greylisting_and_refusals_are_no_trouble() -> None:
    one = _destination(cap=8)
    one.window = 8.0
    _attempt(one, Outcome(Result.DEFERRED, 450, "4.2.0", "Greylisted, come back", "policy"))
    _attempt(one, Outcome(Result.BOUNCED, 550, "5.1.1", "no such user", "recipient"), at_s=1001.0)
    assert one.connections() == 8


def test_a_relay_has_all_its_connections_at_once() -> None:
    assert _destination(cap=4, single=True).connections() == 4


def test_it_is_slow_by_its_average_or_by_what_it_does_not_answer() -> None:
    one = _destination()
    assert not one.is_slow(1000.0)
    one.begin("worker", 1000.0)
    assert not one.is_slow(1004.0)
    assert one.is_slow(1006.0)
    one.end("worker", Outcome(Result.DEFERRED, None, "", "timed out", "network"), 1060.0, clock.now_ms())
    assert one.is_slow(1061.0) and not one.proven
    for n in range(10):
        _attempt(one, TAKEN, at_s=1070.0 + n)
    assert not one.is_slow(1090.0) and one.proven


def test_limits_are_shared_out_between_processes() -> None:
    one = _destination(cap=5)
    one.window = 5.0
    one.obey([_limit(reply_rules.CONNECTIONS, 4)])
    assert one.connections() == 2
    one.obey([_limit(reply_rules.CONNECTIONS, 1)])
    assert one.connections() == 1  # never none
    one.obey([])
    assert one.connections() == 5


def test_a_rate_spaces_messages_and_makes_up_for_a_second() -> None:
    one = _destination(cap=5)
    one.window = 5.0
    one.obey([_limit(reply_rules.RATE, 240)])  # of two processes: one every half second here
    sent = []
    for tick in range(100):
        now = 1000.0 + tick / 10
        while one.may_start(now):
            one.begin(f"{tick}", now)
            one.end(f"{tick}", TAKEN, now, clock.now_ms())
            sent.append(now)
    assert 20 <= len(sent) <= 23
    assert sum(at < 1000.05 for at in sent) <= 3


def test_the_longest_pause_holds() -> None:
    one = _destination()
    one.obey([_limit(reply_rules.PAUSE)])
    assert one.pause is not None and one.pause.id == 7
    one.obey([])
    assert one.pause is None


def test_a_reply_teaches_a_limit_with_its_words() -> None:
    one = _destination()
    said = "[TSS04] Messages from 192.0.2.1 temporarily deferred"
    learned = _attempt(one, Outcome(Result.DEFERRED, 421, "4.7.0", said, "reputation"))
    assert learned.lesson is not None
    assert (learned.lesson.target, learned.lesson.rule, learned.lesson.kind) == ("far.test", "yahoo.tss04", "pause")
    assert said in learned.lesson.cause and learned.lesson.cause.startswith("421 4.7.0 ")
    assert abs(learned.lesson.until_ms - clock.now_ms() - 7_200_000) < 60_000
    assert not one.may_start(1001.0)  # until the row of the limit comes round


def test_addresses_of_others_are_not_told() -> None:
    one = _destination()
    said = "Error: too many messages from 192.0.2.1 to <jane@friends.test> in 60 seconds"
    learned = _attempt(one, Outcome(Result.DEFERRED, 450, "4.7.1", said, "policy"))
    assert learned.lesson is not None
    assert "jane" not in learned.lesson.cause and "192.0.2.1" in learned.lesson.cause


def test_what_was_put_off_fills_the_time_to_come() -> None:
    one = _destination()
    _attempt(one, TAKEN, took_s=1.0)
    now_ms = clock.now_ms()
    times = [one.put_off_ms(bulk=True, now_s=1010.0, now_ms=now_ms) - now_ms for _ in range(50)]
    assert times == sorted(times)
    assert times[0] >= 1000
    assert 150 <= (times[-1] - times[0]) / 49 <= 250  # five connections of a second each
    assert one.put_off_ms(bulk=False, now_s=1010.0, now_ms=now_ms) - now_ms < times[5]
