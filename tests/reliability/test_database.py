"""The database server is killed while mail flows: the doors ask for patience, and nothing acknowledged is lost."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.installation import wait_for
from tests.peers import mariadb
from tests.peers.mariadb import MariaDb
from tests.reliability.conftest import LONG, times
from tests.reliability.world import World, on_server, refusals

FULL = 0.8 if LONG else 0.5
"""The share of the rate before that is a full one again: beside other tests a machine is not the same from second to
second."""

pytestmark = [
    pytest.mark.journey,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(mariadb.why_not()), reason=mariadb.why_not()),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MariaDb]:
    with MariaDb(tmp_path / "mariadb") as started:
        yield started


@pytest.fixture
def world(server: MariaDb, tmp_path: Path) -> Iterator[World]:
    with on_server(server, tmp_path / "var") as made:
        yield made


def _rate(world: World, since: float, seconds: float) -> float:
    return world.stream.accepted_since(since) / seconds


def _by_second(world: World, since: float) -> list[dict[tuple[str, int], int]]:
    """How many answers of each door and code in each second."""
    answers = world.stream.since(since)
    last = int(max((one.at for one in answers), default=since) - since)
    return [
        dict(Counter((one.door, one.code) for one in answers if int(one.at - since) == second))
        for second in range(last + 1)
    ]


def test_a_killed_server_costs_time_and_no_mail(server: MariaDb, world: World, report: Callable[[str], None]) -> None:
    with world.stream as stream:
        time.sleep(1)
        rounds = times(1, 19)
        back: list[float] = []
        full: list[float] = []
        for _ in range(rounds):
            time.sleep(1.3)
            # Measured anew each time: the machine may have other work.
            before = _rate(world, time.monotonic() - 1, 1)
            server.kill()
            killed = time.monotonic()
            time.sleep(1.5)
            wait_for(lambda: len(refusals(stream.since(killed + 0.2))) > 1, "both doors have refused", seconds=20)  # noqa: B023
            refused = refusals(stream.since(killed + 0.2))
            assert stream.accepted_since(killed + 0.2) == 0
            # A connection may break with the process behind it, never with the database.
            assert set(refused) == {("http", 503), ("smtp", 451)}, refused
            assert all(one.retry_after for one in stream.since(killed + 0.2) if one.code == 503)
            server.start()
            started = time.monotonic()
            back.append(world.arrives_within(10, started))
            while _rate(world, time.monotonic() - 1, 1) < FULL * before and time.monotonic() < started + 10:
                time.sleep(0.1)
            full.append(time.monotonic() - started)
            assert full[-1] < 10, f"not back to {before:.0f} a second: {_by_second(world, started)}"
        # As if an outage had been longer than the leases: what was delivered just before is known only in memory.
        server.kill()
        time.sleep(0.5)
        server.start()
        world.write("UPDATE delivery SET due_ms = 1 WHERE state = 2")
        time.sleep(0.7)
        stream.stop()
        figures = world.settle()
        report(f"database kills: {rounds + 1}, {figures}; first arrival after {max(back):.2f} s")
        report("full rate after each: " + " ".join(f"{seconds:.1f}" for seconds in full))
        report(f"full rate after {statistics.median(full):.2f} s in the middle, {max(full):.2f} s at most")
        assert (figures.lost, figures.live, figures.events, figures.twice) == ([], 0, 0, 0)
        # No process of ours died: whatever was on a connection has been written once the database was back.
        assert len(figures.duplicates) == 0
        assert figures.other_ids == []
        assert world.metric("commandpost_queue_oldest_overdue_seconds") < 5
