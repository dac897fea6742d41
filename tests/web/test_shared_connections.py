"""Kept connections and the processes that serve them: a few busy clients use all of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.installation import ROOT, Installation

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="sockets of a process are told by /proc")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "web", WEB_WORKERS="3")
    installation.cli("migrate")
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "web"], env=installation.environment, cwd=ROOT)
    try:
        installation.wait_healthy()
        installation.process = process
        yield installation
        installation.process = None
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0


def _connect(installation: Installation) -> socket.socket:
    """A connection that has had an answer and is kept."""
    sock = socket.create_connection(("127.0.0.1", installation.http), timeout=20)
    sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    return sock


def _shares(installation: Installation) -> list[int]:
    """Connections to the port by the process that holds them, of the processes that wait for more."""
    port = f":{installation.http:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = {line[9] for line in lines if line[1].endswith(port) and line[3] == "01"}
    listening = {line[9] for line in lines if line[1].endswith(port) and line[3] == "0A"}
    assert installation.process is not None
    counts = []
    for pid in _children(installation.process.pid):
        held = _sockets(pid)
        if held & listening and not _children(pid):
            counts.append(len(held & established))
    return sorted(counts)


def _sockets(pid: int) -> set[str]:
    """Inodes of its sockets, but for those that it closes meanwhile; none where it has ended."""
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                kind, _, inode = os.readlink(entry).partition(":")
                if kind == "socket":
                    found.add(inode[1:-1])
    return found


def _children(pid: int) -> list[int]:
    """All below it; none where it has ended."""
    own: list[int] = []
    with suppress(OSError):
        own = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return own + [one for child in own for one in _children(child)]


def _wait_shares(installation: Installation, wanted: list[int]) -> None:
    end = time.monotonic() + 10
    while (found := _shares(installation)) != wanted:
        assert time.monotonic() < end, found
        time.sleep(0.1)


def _level(installation: Installation, stack: ExitStack) -> list[socket.socket]:
    """Connections until all processes have as many; one that was late to start has to catch up."""
    end = time.monotonic() + 20
    while len(_shares(installation)) < 3:
        assert time.monotonic() < end, "not all processes have begun to wait for connections"
        time.sleep(0.1)
    kept = []
    while len(kept) < 3 or len(set(_shares(installation))) > 1:
        kept.append(stack.enter_context(_connect(installation)))
        assert len(kept) < 60, _shares(installation)
    return kept


def test_each_new_connection_goes_where_the_fewest_are(web: Installation) -> None:
    with ExitStack() as stack:
        kept = _level(web, stack)
        each = len(kept) // 3
        for _ in range(3):
            stack.enter_context(_connect(web))
        _wait_shares(web, [each + 1] * 3)
        for sock in kept[: 2 * each]:
            sock.close()
        time.sleep(1.5)  # until the closing was seen
        for _ in range(2 * each):
            stack.enter_context(_connect(web))
        _wait_shares(web, [each + 1] * 3)


def test_a_process_that_died_is_not_waited_for(web: Installation) -> None:
    with ExitStack() as stack:
        each = len(_level(web, stack)) // 3
        assert web.process is not None
        victim = next(pid for pid in _children(web.process.pid) if not _children(pid))
        os.kill(victim, signal.SIGKILL)
        _wait_shares(web, [0, each, each])
        while _shares(web) != [each] * 3:
            stack.enter_context(_connect(web))
            assert sum(_shares(web)) <= 5 * each, _shares(web)
