"""SIGKILL for every process while mail flows: nothing acknowledged is lost, little is sent twice, all of it comes back."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.installation import alive, descendants, wait_for
from tests.reliability.world import CONNECTIONS, PROCESSES, World, refusals

pytestmark = [pytest.mark.journey, pytest.mark.timeout(600)]


def test_every_process_may_be_killed(tmp_path: Path, rounds: int, report: Callable[[str], None]) -> None:
    with World(tmp_path / "var") as world, world.stream as stream:
        time.sleep(1)
        in_flight = 0  # messages that a killed process may have had on its connections
        slowest: dict[str, float] = {}
        for _ in range(rounds):
            for what in ("deliver child", "deliver", "aside", "web child", "web", "smtp", "beat", "broker"):
                part, _, child = what.partition(" ")
                if what == "broker":
                    shutil.rmtree(world.installation.data / "broker", ignore_errors=True)
                elif child:
                    os.kill(random.choice(world.children(part)), signal.SIGKILL)
                else:
                    os.kill(world.parts()[part], signal.SIGKILL)
                killed = time.monotonic()
                if part == "deliver":
                    in_flight += CONNECTIONS if child else CONNECTIONS * PROCESSES
                slowest[what] = max(slowest.get(what, 0.0), world.arrives_within(10, killed))
                time.sleep(random.uniform(0.3, 0.8))
        stream.stop()
        figures = world.settle()
        report(f"kills: {8 * rounds}, {figures}, at most {in_flight} in flight")
        report("until the next message arrived: " + ", ".join(f"{k} {v:.2f} s" for k, v in slowest.items()))
        report(f"not acknowledged: {dict(refusals(stream.answers))}")
        assert figures.acknowledged > 100
        assert figures.lost == []
        assert figures.live == 0
        assert figures.events == 0
        assert len(figures.duplicates) <= in_flight
        assert figures.other_ids == []
        assert set(code for _, code in refusals(stream.answers)) <= {0, 421, 451, 503}
        # A part is back within a second; a busy machine may need longer to show it.
        assert max(slowest.values()) < 6


def test_the_supervisor_may_be_killed(tmp_path: Path, rounds: int, report: Callable[[str], None]) -> None:
    with World(tmp_path / "var") as world, world.stream as stream:
        slowest_end = slowest_start = 0.0
        for _ in range(rounds):
            time.sleep(1)
            process = world.installation.process
            assert process is not None
            family = descendants(process.pid)
            assert len(family) >= 8
            process.kill()
            killed = time.monotonic()
            process.wait(10)
            wait_for(lambda family=family: not alive(family), "no orphans", seconds=5)  # type: ignore[misc]
            slowest_end = max(slowest_end, time.monotonic() - killed)
            begun = time.monotonic()
            world.installation.start()
            slowest_start = max(slowest_start, world.arrives_within(20, begun))
        stream.stop()
        figures = world.settle()
        report(f"supervisor kills: {rounds}, {figures}")
        report(f"no process left after {slowest_end:.2f} s, mail again {slowest_start:.2f} s after the start")
        assert figures.lost == []
        assert figures.live == 0
        assert len(figures.duplicates) <= rounds * CONNECTIONS * PROCESSES
        assert figures.other_ids == []


def test_an_orderly_stop_in_the_middle_sends_nothing_twice(tmp_path: Path) -> None:
    with World(tmp_path / "var") as world, world.stream as stream:
        time.sleep(1)
        assert world.installation.stop() == 0
        assert list((world.installation.data / "journal").glob("*.journal")) == []
        assert world.rows("SELECT COUNT(*) FROM delivery WHERE state = 2") == [(0,)]
        world.installation.start()
        stream.stop()
        figures = world.settle()
        assert (figures.lost, figures.live, figures.duplicates) == ([], 0, [])
        assert "journal_replayed" not in world.installation.log.read_text()
