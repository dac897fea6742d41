"""The ringer: never in the way, never twice within its gap, never silent for good."""

from __future__ import annotations

import os
import threading
import time

from gateway import jobs
from tasks.ringer import Ringer
from tests.cli.installation import wait_for


class Bell:
    """Notes what is rung; fails while `broken`."""

    def __init__(self) -> None:
        self.rung: list[tuple[str, float]] = []
        self.broken = False
        self.failed = threading.Event()

    def __call__(self, job: str) -> None:
        if self.broken:
            self.failed.set()
            raise ConnectionRefusedError
        self.rung.append((job, time.monotonic()))

    def count(self, job: str) -> int:
        return sum(1 for name, _ in self.rung if name == job)


def test_the_first_bell_rings_at_once_and_a_crowd_rings_once_more() -> None:
    bell = Bell()
    ringer = Ringer(bell, gap=0.3)
    ringer.ring(jobs.DELIVER)
    wait_for(lambda: bell.count(jobs.DELIVER) == 1, "rung")
    for _ in range(500):
        ringer.ring(jobs.DELIVER)
    assert ringer.flush(5)
    assert bell.count(jobs.DELIVER) == 2
    first, second = (at for _, at in bell.rung)
    assert second - first >= 0.29


def test_jobs_do_not_wait_for_each_other() -> None:
    bell = Bell()
    ringer = Ringer(bell, gap=60)
    ringer.ring(jobs.DELIVER)
    ringer.ring(jobs.DELIVER)
    ringer.ring(jobs.WEBHOOKS)
    wait_for(lambda: bell.count(jobs.WEBHOOKS) == 1, "rung")
    assert bell.count(jobs.DELIVER) == 1


def test_a_bell_that_failed_rings_when_the_broker_is_back() -> None:
    bell = Bell()
    bell.broken = True
    ringer = Ringer(bell, gap=0.01, pause=0.02)
    ringer.ring(jobs.DELIVER)
    assert bell.failed.wait(5)
    assert not ringer.flush(0.1)
    bell.broken = False
    assert ringer.flush(5)
    assert bell.count(jobs.DELIVER) == 1


def test_ringing_does_not_wait_for_a_broker_that_hangs() -> None:
    release = threading.Event()
    ringer = Ringer(lambda job: release.wait(30) and None, gap=0.01)
    ringer.ring(jobs.DELIVER)
    done = threading.Thread(target=lambda: [ringer.ring(jobs.DELIVER) for _ in range(100)])
    done.start()
    done.join(5)
    assert not done.is_alive()
    release.set()
    assert ringer.flush(5)


def test_a_forked_process_rings_with_a_thread_of_its_own() -> None:
    read, write = os.pipe()
    ringer = Ringer(lambda job: os.write(write, f"{job}:{os.getpid()}\n".encode()) and None, gap=0.01)
    ringer.ring(jobs.DELIVER)
    assert ringer.flush(5)
    pid = os.fork()
    if pid == 0:
        try:
            ringer.ring(jobs.WEBHOOKS)
            ringer.flush(5)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read) as lines:
        assert lines.read().split() == [f"{jobs.DELIVER}:{os.getpid()}", f"{jobs.WEBHOOKS}:{pid}"]
