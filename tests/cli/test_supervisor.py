"""The supervisor with parts of a few lines, in a process of its own."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.installation import ROOT, alive, descendants, wait_for

_HEAD = """
import logging, os, random, signal, sys, time
from cli.supervisor import Supervisor
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)

def say(*words):
    print(*words, flush=True)

def until_term(name):
    def main():
        ended = []
        signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
        say("up", name, os.getpid())
        while not ended:
            time.sleep(0.02)
        say("down", name)
        return 0
    return main

def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("up stubborn", os.getpid())
    time.sleep(60)
    return 0
"""


class Script:
    def __init__(self, body: str, log: Path) -> None:
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-c", _HEAD + textwrap.dedent(body)],
                cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip

    def said(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, times: int = 1) -> str:
        wait_for(lambda: self.said().count(text) >= times, f"{times} × {text!r} in {self._log}", seconds=20)
        return self.said()


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[[str], Script]]:
    made: list[Script] = []

    def start(body: str) -> Script:
        made.append(Script(body, tmp_path / f"log-{len(made)}.txt"))
        return made[-1]

    yield start
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait(10)


Start = Callable[[str], Script]


def test_parts_that_take_work_in_stop_first(script: Start) -> None:
    run = script('sys.exit(Supervisor({"work": until_term("work"), "door": until_term("door")}, first=["door"]).run())')
    run.wait_for("up", 2)
    run.process.terminate()
    assert run.process.wait(10) == 0
    assert re.findall(r"down (\w+)", run.said()) == ["door", "work"]


def test_the_pause_grows_only_for_parts_that_die_young(script: Start) -> None:
    run = script("""
        def dies():
            say("born", time.monotonic())
            time.sleep(AGE)
            return 3
        def of_age(age):
            def main():
                global AGE
                AGE = age
                return dies()
            return main
        sys.exit(Supervisor({"quick": of_age(0)}, young=1.0).run())
    """)
    run.wait_for("born", 5)
    born = [float(text) for text in re.findall(r"born ([\d.]+)", run.said())]
    gaps = [later - earlier for earlier, later in itertools.pairwise(born)]
    # 0.2, 0.4, 0.8 … seconds of pause: each longer than the one before.
    assert gaps == sorted(gaps)
    assert gaps[2] > 2 * gaps[0]


def test_a_part_that_lived_starts_again_at_once(script: Start) -> None:
    run = script("""
        def dies():
            say("born")
            time.sleep(0.3)
            return 3
        sys.exit(Supervisor({"old": dies}, young=0.1, longest_pause=60).run())
    """)
    # Were the pause to grow, the eighth birth would be 13 seconds away.
    run.wait_for("born", 8)


def test_a_second_signal_hurries(script: Start) -> None:
    run = script('sys.exit(Supervisor({"stubborn": stubborn}, grace=60).run())')
    run.wait_for("up stubborn")
    run.process.terminate()
    run.wait_for("stopping")
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(10) == 1


def test_a_part_that_does_not_stop_is_killed_and_the_others_end_well(script: Start) -> None:
    run = script("""
        mains = {"stubborn": stubborn, "work": until_term("work")}
        sys.exit(Supervisor(mains, first=["stubborn"], grace_first=0.2, grace=20).run())
    """)
    run.wait_for("up", 2)
    run.process.terminate()
    assert run.process.wait(10) == 1
    assert "down work" in run.said()


def test_no_part_outlives_a_killed_supervisor(script: Start) -> None:
    run = script('Supervisor({"stubborn": stubborn, "work": until_term("work")}).run()')
    run.wait_for("up", 2)
    family = descendants(run.process.pid)
    assert len(family) == 2
    run.process.kill()
    wait_for(lambda: not alive(family), "all gone", seconds=5)


def test_what_a_dead_part_leaves_behind_is_killed(script: Start) -> None:
    run = script("""
        def parent():
            if os.fork() == 0:
                say("child", os.getpid())
                time.sleep(60)
            time.sleep(0.3)
            os._exit(9)
        sys.exit(Supervisor({"parent": parent}, pause=30, longest_pause=60).run())
    """)
    child = re.search(r"child (\d+)", run.wait_for("part_died"))
    assert child
    wait_for(lambda: not alive([int(child[1])]), "the child gone", seconds=5)


def test_parts_do_not_share_randomness(script: Start) -> None:
    run = script("""
        import uuid
        from gateway import ids
        random.seed(1); ids.new_uuid()
        def draws():
            say("drew", random.random(), ids.new_uuid())
            return until_term("x")()
        sys.exit(Supervisor({"a": draws, "b": draws}).run())
    """)
    drawn = re.findall(r"drew (\S+) (\S+)", run.wait_for("up", 2))
    assert len(drawn) == 2
    assert not set(drawn[0]) & set(drawn[1])


def test_a_short_lived_child_gives_its_status(script: Start) -> None:
    run = script("""
        made = Supervisor({})
        sys.exit(made.in_child(lambda: 5) * 10 + made.in_child(lambda: 0))
    """)
    assert run.process.wait(10) == 50
