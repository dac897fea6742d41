"""The database server is killed while mail flows: the doors ask for patience, and nothing acknowledged is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.installation import wait_for
from tests.peers import mariadb
from tests.peers.mariadb import MariaDb
from tests.reliability.world import World, refusals

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
    def rows(sql: str) -> list[tuple[Any, ...]]:
        connection = server.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def write(sql: str) -> None:
        rows(sql)

    with World(tmp_path / "var", rows, write, DATABASE_URL=server.url) as made:
        yield made


def _rate(world: World, since: float, seconds: float) -> float:
    return world.stream.accepted_since(since) / seconds


def test_a_killed_server_costs_time_and_no_mail(
    server: MariaDb, world: World, rounds: int, report: Callable[[str], None]
) -> None:
    with world.stream as stream:
        time.sleep(2.3)
        before = _rate(world, time.monotonic() - 1.5, 1.5)
        back: list[float] = []
        for _ in range(rounds):
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
            while _rate(world, time.monotonic() - 1, 1) < 0.8 * before and time.monotonic() < started + 10:
                time.sleep(0.1)
            assert time.monotonic() < started + 10, "not back to the full rate"
            time.sleep(0.5)
        # As if an outage had been longer than the leases: what was delivered just before is known only in memory.
        server.kill()
        time.sleep(0.5)
        server.start()
        world.write("UPDATE delivery SET due_ms = 1 WHERE state = 2")
        time.sleep(0.7)
        stream.stop()
        figures = world.settle()
        report(f"database kills: {rounds + 1}, {figures}; first arrival after {max(back):.2f} s")
        assert (figures.lost, figures.live, figures.events) == ([], 0, 0)
        # No process of ours died: whatever was on a connection has been written once the database was back.
        assert len(figures.duplicates) == 0
        assert figures.other_ids == []
