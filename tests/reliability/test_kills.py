"""SIGKILL for every process while mail flows: nothing acknowledged is lost and little is sent twice."""

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

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

KILLS = ("deliver child", "deliver", "aside", "web child", "web", "smtp", "beat", "broker", "supervisor")


def test_every_process_may_be_killed(tmp_path: Path, rounds: int, report: Callable[[str], None]) -> None:
    with World(tmp_path / "var") as world, world.stream as stream:
        time.sleep(0.7)
        in_flight = 0  # messages that a killed process may have had on its connections
        slowest: dict[str, float] = {}
        for what in KILLS * rounds:
            in_flight += _kill(world, what)
            killed = time.monotonic()
            slowest[what] = max(slowest.get(what, 0.0), world.arrives_within(20, killed))
            time.sleep(random.uniform(0.2, 0.6))
        # An orderly stop in the middle leaves nothing behind: what was sent is written, the rest is given back.
        replayed = world.installation.log.read_text(errors="replace").count("journal_replayed")
        assert world.installation.stop() == 0
        assert list((world.installation.data / "journal").iterdir()) == []
        assert world.rows("SELECT COUNT(*) FROM delivery WHERE state = 2") == [(0,)]
        world.installation.start()
        stream.stop()
        figures = world.settle()
        refused = refusals(stream.answers)
        report(f"kills: {len(KILLS) * rounds}, {figures}; at most {in_flight} were in flight")
        report("next arrival after: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in slowest.items()))
        report(f"not acknowledged: {dict(refused)}")
        assert figures.acknowledged > 100
        assert (figures.lost, figures.live, figures.events) == ([], 0, 0)
        assert len(figures.duplicates) <= in_flight
        assert figures.other_ids == []
        assert {code for _, code in refused} <= {0, 421, 451, 503}
        assert world.installation.log.read_text(errors="replace").count("journal_replayed") == replayed
        # A part is back within a second; a machine with other work may need longer to show it.
        assert max(seconds for name, seconds in slowest.items() if name != "supervisor") < 15


def _kill(world: World, what: str) -> int:
    """Kill it; returns how many messages may have been on the connections of what died."""
    part, _, child = what.partition(" ")
    if what == "broker":
        shutil.rmtree(world.installation.data / "broker", ignore_errors=True)
        return 0
    if what == "supervisor":
        process = world.installation.process
        assert process is not None
        family = descendants(process.pid)
        assert len(family) >= 8
        process.kill()
        process.wait(10)
        wait_for(lambda: not alive(family), "no orphans", seconds=5)
        world.installation.start()
        return CONNECTIONS * PROCESSES
    victim = random.choice(world.children(part)) if child else world.parts()[part]
    os.kill(victim, signal.SIGKILL)
    if part != "deliver":
        return 0
    return CONNECTIONS if child else CONNECTIONS * PROCESSES
