"""A disk that is full: the doors ask for patience, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.reliability.world import CONNECTIONS, PROCESSES, World, refusals

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB of the test's own; skips where it may not be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root may mount a small file system")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")
    yield folder
    with suppress(OSError):
        shutil.copy(folder / "var" / "serve.log", tmp_path)
    subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


def test_a_full_disk_costs_time_and_no_mail(small_disk: Path, report: Callable[[str], None]) -> None:
    ballast = small_disk / "ballast"
    with World(small_disk / "var") as world, world.stream as stream:
        time.sleep(0.7)
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                pass
            full = time.monotonic()
            try:
                while True:  # what is left of the last block
                    file.write(bytes(512))
            except OSError:
                pass
        time.sleep(3)
        refused = refusals(stream.since(full + 1))
        ballast.unlink()
        freed = time.monotonic()
        back = world.arrives_within(15, freed)
        stream.stop()
        figures = world.settle()
        report(f"full disk: {figures}; refused {dict(refused)}; first arrival {back:.2f} s after there was room")
        assert set(refused) <= {("http", 503), ("smtp", 451), ("smtp", 452)}, refused
        assert {("http", 503), ("smtp", 452)} <= set(refused)
        assert (figures.lost, figures.live, figures.events, figures.twice) == ([], 0, 0, 0)
        assert len(figures.duplicates) <= PROCESSES * CONNECTIONS
        assert figures.other_ids == []
