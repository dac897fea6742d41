"""SIGKILL for every process while mail flows: nothing acknowledged is lost and little is sent twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import smtplib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.cli.installation import alive, descendants, wait_for
from tests.peers import mariadb
from tests.reliability.conftest import LONG, times
from tests.reliability.world import CONNECTIONS, PROCESSES, World, on_server, refusals

pytestmark = [pytest.mark.journey, pytest.mark.timeout(1800)]

KILLS = ("deliver child", "deliver", "webhooks", "aside", "web child", "web", "smtp", "beat", "supervisor")
LEASE_S = 62
RESTART_S = 1.0
"""Until a killed part serves again."""


@pytest.fixture(params=["sqlite", "mariadb"] if LONG else ["sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "sqlite":
        with World(tmp_path / "var") as made:
            yield made
        return
    if mariadb.why_not():
        pytest.skip(mariadb.why_not())
    with mariadb.MariaDb(tmp_path / "mariadb") as server, on_server(server, tmp_path / "var") as made:
        yield made


def test_every_process_may_be_killed(
    world: World, request: pytest.FixtureRequest, report: Callable[[str], None]
) -> None:
    # Which database it is makes little difference to who is killed, so the second one is shorter.
    server = "mariadb" in request.node.name
    turns, enough = (times(1, 2), times(300, 1000)) if server else (times(1, 13), times(300, 10_000))
    with world.stream as stream:
        time.sleep(0.7)
        in_flight = 0  # messages that a killed process may have had on its connections
        overdue = 0.0
        back: dict[str, list[float]] = defaultdict(list)
        arrival: dict[str, list[float]] = defaultdict(list)
        for turn in range(turns):
            for what in (*KILLS, "broker"):
                died, ready, took = _kill(world, what)
                in_flight += died
                killed = time.monotonic()
                if ready is not None:
                    back[what].append(took + _until(ready, what, killed))
                arrival[what].append(world.arrives_within(20, killed))
                overdue = max(overdue, world.overdue())
                time.sleep(random.uniform(0.2, 0.6))
            if not turn:
                # An orderly stop in the middle leaves nothing behind: what was sent is written, the rest given back.
                _stops_in_order(world)
        wait_for(lambda: len(stream.acknowledged()) >= enough, "enough messages", seconds=times(60, 300))
        stream.stop()
        figures = world.settle()
        refused = refusals(stream.answers)
        replayed = world.installation.log.read_text(errors="replace").count("journal_replayed")
        killed_parts = sum(map(len, arrival.values())) - len(arrival["broker"])
        report(f"kills: {killed_parts}, {figures}; at most {in_flight} were in flight, {replayed} journals replayed")
        report("serving again: " + _told(back))
        report("next arrival: " + _told(arrival))
        every = [seconds for what, found in back.items() if what != "supervisor" for seconds in found]
        report(f"restart of a part: {statistics.median(every):.2f} s in the middle, {max(every):.2f} s at most")
        report(f"not acknowledged at once: {dict(refused)}; the oldest was overdue by {overdue:.1f} s at most")
        assert (figures.lost, figures.live, figures.events, figures.twice) == ([], 0, 0, 0)
        assert len(figures.duplicates) <= in_flight
        assert figures.other_ids == []
        assert {code for _, code in refused} <= {0, 409, 421, 451, 503}
        # Nothing was ever without somebody who would come for it: a lease is the longest that anything waits.
        assert overdue < LEASE_S
        assert world.metric("commandpost_queue_oldest_overdue_seconds") == 0
        assert all(world.doctor().values()), world.doctor()
        # The middle one: how long each takes hangs on what else the machine has to do.
        assert statistics.median(every) <= RESTART_S, _told(back)
        assert world.installation.stop() == 0
        assert world.survivors() == set()


def _stops_in_order(world: World) -> None:
    replayed = world.installation.log.read_text(errors="replace").count("journal_replayed")
    assert world.installation.stop() == 0
    assert list((world.installation.data / "journal").iterdir()) == []
    assert world.rows("SELECT COUNT(*) FROM delivery WHERE state = 2") == [(0,)]
    assert world.survivors() == set()
    world.installation.start()
    assert world.installation.log.read_text(errors="replace").count("journal_replayed") == replayed


Ready = Callable[[], bool]


def _kill(world: World, what: str) -> tuple[int, Ready | None, float]:
    """Kill it; how many messages may have been on the connections of what died, and what tells that it is back.

    The last are the seconds that this has taken already: the supervisor has nobody else who starts it again.
    """
    part, _, child = what.partition(" ")
    if what == "broker":
        shutil.rmtree(world.installation.data / "broker", ignore_errors=True)
        return 0, None, 0.0
    if what == "supervisor":
        process = world.installation.process
        assert process is not None
        family = descendants(process.pid)
        assert len(family) >= 8
        process.kill()
        process.wait(10)
        wait_for(lambda: not alive(family), "no orphans", seconds=5)
        again = time.monotonic()
        world.installation.start()
        return CONNECTIONS * PROCESSES, lambda: True, time.monotonic() - again
    main = world.parts()[part]
    children = world.children(part)
    if child:
        victim = random.choice(children)
        os.kill(victim, signal.SIGKILL)
        died = CONNECTIONS if part == "deliver" else 0
        return died, lambda: len(set(world.children(part)) - {victim}) >= len(children), 0.0
    before = world.signs().get(part)
    os.kill(main, signal.SIGKILL)
    if part == "web":
        return 0, lambda: world.parts()[part] != main and _answers(world), 0.0
    if part == "smtp":
        return 0, lambda: world.parts()[part] != main and _greets(world), 0.0
    return CONNECTIONS * PROCESSES if part == "deliver" else 0, lambda: world.signs().get(part) != before, 0.0


def _until(ready: Ready, what: str, since: float) -> float:
    """Seconds until it is back; polled often, so no `wait_for`."""
    while not ready():
        assert time.monotonic() < since + 20, f"{what} did not come back"
        time.sleep(0.005)
    return time.monotonic() - since


def _answers(world: World) -> bool:
    try:
        return requests.get(f"{world.installation.url}/ready", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def _greets(world: World) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", world.installation.smtp, timeout=5) as client:
            return client.noop()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False


def _told(seconds: dict[str, list[float]]) -> str:
    return ", ".join(f"{what} {statistics.median(found):.2f}/{max(found):.2f} s" for what, found in seconds.items())
