"""Counting what servers are given: ahead, exactly, over windows, processes and clocks that differ."""

from __future__ import annotations

import threading

import pytest

from gateway import clock
from gateway.services import server_usage
from gateway.services.routing_tables import Server
from gateway.services.server_quotas import Quotas
from models import database as db

MINUTE = 60_000


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000 // (24 * 3_600_000) * 24 * 3_600_000 + 30 * MINUTE

    def now_ms(self) -> int:
        return self.ms


@pytest.fixture
def hands(store: str, monkeypatch: pytest.MonkeyPatch) -> Hands:
    made = Hands()
    monkeypatch.setattr(clock, "now_ms", made.now_ms)
    return made


def _server(**limits: int) -> Server:
    spans = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
    return Server(1, "srv_1", "one", "smtp", True, 10, 100, tuple((spans[k], n) for k, n in limits.items()), 1)


def _counted() -> dict[int, int]:
    return {span: int(n) for span, n in db.rows("SELECT span, n FROM server_usage WHERE server_id = 1")}


def test_a_server_without_limits_is_not_counted(hands: Hands) -> None:
    quotas = Quotas()
    assert [quotas.take(_server(), 5) for _ in range(9)] == [None] * 9
    assert _counted() == {}


def test_the_tightest_window_decides_until_it_is_over(hands: Hands) -> None:
    quotas, server = Quotas(), _server(minute=3, hour=5)
    assert [quotas.take(server, 1) for _ in range(3)] == [None] * 3
    minute = server_usage.start_ms(60, hands.ms)
    assert quotas.take(server, 1) == (minute + MINUTE, 60)
    hands.ms += MINUTE
    assert [quotas.take(server, 1) for _ in range(2)] == [None] * 2
    assert quotas.take(server, 1) == (server_usage.start_ms(3600, hands.ms) + 60 * MINUTE, 3600)
    assert _counted() == {60: 2, 3600: 5}
    hands.ms += 60 * MINUTE
    assert quotas.take(server, 1) is None


def test_what_was_counted_ahead_and_not_sent_goes_back(hands: Hands) -> None:
    quotas, server = Quotas(), _server(hour=40)
    assert quotas.take(server, 6) is None
    assert _counted() == {3600: 6}
    quotas.give_back(lambda _: True)
    assert _counted() == {3600: 6}
    quotas.refund(server)
    quotas.give_back()
    assert _counted() == {3600: 0}


def test_tokens_of_a_window_that_is_over_are_not_used(hands: Hands) -> None:
    quotas, server = Quotas(), _server(second=20, hour=100)
    assert quotas.take(server, 9) is None
    assert _counted() == {1: 5, 3600: 5}
    hands.ms += 1000
    assert quotas.take(server, 1) is None
    # Of the five that were counted ahead one was sent.
    assert _counted() == {1: 1, 3600: 2}


def test_a_clock_that_is_behind_counts_in_the_later_window(hands: Hands) -> None:
    mine, theirs, server = Quotas(), Quotas(), _server(minute=2)
    assert mine.take(server, 1) is None
    hands.ms -= MINUTE
    assert theirs.take(server, 1) is None
    assert theirs.take(server, 1) is not None
    hands.ms += MINUTE
    assert mine.take(server, 1) is not None
    assert _counted() == {60: 2}


def test_of_the_last_ones_none_is_counted_ahead(hands: Hands) -> None:
    quotas, server = Quotas(), _server(hour=20)
    counted = []
    while quotas.take(server, 100) is None:
        counted.append(_counted()[3600])
    assert len(counted) == 20
    assert counted == [5, 5, 5, 5, 5, 8, 8, 8, 11, 11, 11, 13, 13, 14, 15, 16, 17, 18, 19, 20]


def test_another_limit_holds_at_once(hands: Hands) -> None:
    quotas = Quotas()
    assert quotas.take(_server(hour=1), 1) is None
    assert quotas.take(_server(hour=1), 1) is not None
    assert quotas.take(_server(hour=2), 1) is None
    assert quotas.take(_server(hour=2), 1) is not None


def test_many_threads_of_many_processes_never_pass_it(hands: Hands) -> None:
    server, taken, lock = _server(hour=100, second=1000), [0], threading.Lock()

    def work(quotas: Quotas) -> None:
        while quotas.take(server, 7) is None:
            with lock:
                taken[0] += 1
        db.close()

    processes = [Quotas() for _ in range(3)]
    threads = [threading.Thread(target=work, args=(quotas,)) for quotas in processes for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken[0] == 100
    assert _counted()[3600] == 100
