"""The dispatcher alone: who goes next, and what finds no room."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from gateway import clock
from gateway.services.destinations import Destination, Job
from gateway.services.dispatch import Dispatcher
from gateway.services.lanes import Claimed
from gateway.services.shaping import Limit
from gateway.services.turns import Worker
from gateway.transports.outcome import Outcome, Result
from models.vocabulary import DeliveryState

TAKEN = Outcome(Result.DELIVERED, 250, "2.0.0", "ok", remote="mx[192.0.2.1]:25")


class _Way:
    """A way out whose groups are the domains."""

    def __init__(self, *, single: bool = False) -> None:
        self.name, self.single = "direct", single
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.answers.set()

    def group(self, domain: str) -> str:
        self.asked.append(domain)
        self.answers.wait(10)
        return "relay" if self.single else domain

    def open(self) -> Any:
        raise NotImplementedError


class _World:
    def __init__(self, way: _Way, *, threads: int = 8, connections: int = 4) -> None:
        self.way = way
        self.started: list[Worker] = []
        self.dispatcher = Dispatcher(
            threads=threads, connections=connections, processes=2, transport=lambda route: way,
            start=self.started.append,
        )  # fmt: skip
        self._number = 0

    def row(self, domain: str, *, bulk: bool = False, was: DeliveryState = DeliveryState.QUEUED) -> Claimed:
        self._number += 1
        far = clock.now_ms() + 10_000_000
        rcpt = f"r{self._number}@{domain}"
        return Claimed(self._number, 1, 1, 1, rcpt, None, 0, 1, far, 1, "", far, was, bulk)

    def give(self, *domains: str, bulk: bool = False) -> list[str]:
        """Sift and add a row for each; the causes of those that found no room."""
        placed = [(row, self.dispatcher.place(row)) for row in (self.row(domain, bulk=bulk) for domain in domains)]
        gone = self.dispatcher.sift(placed)
        away = {one.row.id for one in gone}
        self.dispatcher.add([(Job(row, None, "", False), place) for row, place in placed if row.id not in away])
        return [one.cause for one in gone]

    def known(self, *domains: str) -> list[Destination]:
        """Have the groups of domains looked up; each has answered quickly before."""
        for domain in domains:
            self.give(domain)
        end = time.monotonic() + 5
        while self.dispatcher._pending:
            assert time.monotonic() < end
            time.sleep(0.005)
        worker = Worker(self.dispatcher._lock)
        for _ in domains:
            job = self.dispatcher.next(worker)
            assert job is not None
            self.dispatcher.end(worker, TAKEN, clock.now_ms())
        with self.dispatcher._lock:
            self.dispatcher._turns._leave(worker)
        return [self.dispatcher._table.known[(domain, "")] for domain in domains]

    def next(self) -> tuple[str, Worker]:
        """The domain that a new thread is given."""
        worker = Worker(self.dispatcher._lock)
        job = self.dispatcher.next(worker)
        assert job is not None
        return job.claimed.rcpt.partition("@")[2], worker


@pytest.fixture
def world() -> Iterator[_World]:
    made = _World(_Way())
    yield made
    made.dispatcher.close()


def test_destinations_are_served_in_turn(world: _World) -> None:
    for place in world.known("a.test", "b.test", "c.test"):
        place.window = 5.0
    world.give(*["a.test"] * 20, "b.test", "c.test", "b.test")
    assert {world.next()[0] for _ in range(3)} == {"a.test", "b.test", "c.test"}


def test_a_thread_stays_with_its_connection(world: _World) -> None:
    world.known("a.test", "b.test")
    world.give("a.test", "b.test", "a.test", "b.test", "a.test")
    domain, worker = world.next()
    worker.left = False
    for _ in range(2 if domain == "a.test" else 1):
        world.dispatcher.end(worker, TAKEN, 0)
        job = world.dispatcher.next(worker)
        assert job is not None and job.claimed.rcpt.endswith(domain)
        assert not worker.left
    world.dispatcher.end(worker, TAKEN, 0)
    job = world.dispatcher.next(worker)
    assert job is not None and not job.claimed.rcpt.endswith(domain)
    assert worker.left, "the connection to the other is closed first"


def test_transactional_goes_before_bulk_but_not_for_ever(world: _World) -> None:
    (place,) = world.known("a.test")
    world.give(*["a.test"] * 10, bulk=True)
    world.give(*["a.test"] * 10)
    order = "".join("b" if place.take().claimed.is_bulk else "t" for _ in range(10))
    assert order.count("b") in (1, 2) and "bb" not in order


def test_slow_destinations_share_half_of_the_threads_and_unknown_ones_three_quarters(world: _World) -> None:
    slow = world.known(*(f"slow{n}.test" for n in range(10)))
    (quick,) = world.known("quick.test")
    for place in slow:
        place.pace_s = 60.0
    world.give(*(f"slow{n}.test" for n in range(10)))
    for _ in range(4):
        assert world.next()[0].startswith("slow")
    world.give(*(f"new{n}.test" for n in range(10)))
    deadline = time.monotonic() + 5
    while world.dispatcher._pending and time.monotonic() < deadline:
        time.sleep(0.005)
    assert [world.next()[0][:3] for _ in range(2)] == ["new", "new"]
    # Nobody else but who is known to be quick finds a thread now.
    world.give("quick.test")
    assert world.next()[0] == "quick.test"
    assert quick.running
    worker = Worker(world.dispatcher._lock)
    with world.dispatcher._lock:
        assert world.dispatcher._turns._pick(worker, time.monotonic()) is None


def test_no_destination_fills_the_memory(world: _World) -> None:
    slow, quick = world.known("slow.test", "quick.test")
    slow.pace_s = 60.0
    quick.pace_s, quick.window = 0.001, 5.0
    causes = world.give(*["slow.test"] * 200, *["quick.test"] * 100)
    assert len(causes) == 199
    assert set(causes) == {"slow.test answers slowly, so that others go first"}


def test_many_unknown_domains_leave_room_to_claim(world: _World) -> None:
    causes = world.give(*(f"new{n % 300}.test" for n in range(3000)))
    kept = 3000 - len(causes)
    assert world.dispatcher.capacity // 2 <= kept <= world.dispatcher.capacity * 5 // 8


def test_a_domain_that_is_looked_up_holds_no_other_and_is_asked_once(world: _World) -> None:
    world.known("a.test")
    world.way.answers.clear()
    world.give(*["slow.test"] * 5)
    world.give("a.test")
    assert world.next()[0] == "a.test"
    world.way.answers.set()
    assert world.next()[0] == "slow.test"
    assert world.way.asked.count("slow.test") == 1


def test_what_a_vanished_holder_had_is_not_put_off(world: _World) -> None:
    (place,) = world.known("slow.test")
    place.pace_s = 60.0
    rows = [world.row("slow.test", was=DeliveryState.CLAIMED) for _ in range(20)]
    assert world.dispatcher.sift([(row, place) for row in rows]) == []


def test_a_pause_takes_back_what_waits_in_memory(world: _World) -> None:
    world.known("a.test")
    world.give(*["a.test"] * 5)
    until_ms = clock.now_ms() + 60_000
    limit = Limit(9, "mx", "a.test", "pause", 0, "they said so", "", "auto", 0, 0, until_ms, False, None)
    world.dispatcher.obey((limit,))
    gone = world.dispatcher.tick()
    assert len(gone) == 5 and all(one.paused for one in gone)
    verdict = orjson.loads(gone[0].verdict)
    assert verdict == {"gate": "shaping", "limit": 9, "until_ms": until_ms, "cause": "they said so"}
    assert all(until_ms <= one.due_ms <= until_ms + 5000 for one in gone)
    assert world.give("a.test") == ["they said so"]
    world.dispatcher.obey(())
    assert world.give("a.test") == []


def test_a_relay_starts_as_many_threads_as_it_may_have_connections() -> None:
    world = _World(_Way(single=True), threads=8, connections=3)
    assert world.give(*["a.test"] * 50, *["b.test"] * 50) == []
    assert len(world.started) == 3
    for worker in world.started:
        assert world.dispatcher.next(worker) is not None
    world.dispatcher.close()


def test_what_was_not_begun_is_returned_at_the_end(world: _World) -> None:
    world.known("a.test")
    world.way.answers.clear()
    world.give("a.test", "a.test", "slow.test")
    assert len(world.dispatcher.close()) == 3
    world.way.answers.set()
    row = world.row("a.test")
    place = world.dispatcher._table.known[("a.test", "")]
    assert world.dispatcher.add([(Job(row, None, "", False), place)]) == [row]
    assert world.dispatcher.next(Worker(world.dispatcher._lock)) is None
