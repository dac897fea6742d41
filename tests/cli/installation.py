"""A whole installation in processes of its own: own data, own ports, nothing left behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 45.0


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(what: Callable[[], Any], why: str, seconds: float = PATIENCE) -> Any:
    """The first true value of `what()`; fails the test with `why` when none came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"in {seconds} s not: {why}")


def parents() -> dict[int, tuple[int, str]]:
    """Every process: pid -> parent's pid and state."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found[int(entry.name)] = (int(words[1]), words[0])
    return found


def descendants(pid: int) -> set[int]:
    """The living processes below `pid`."""
    table = parents()
    found: set[int] = set()
    queue = [pid]
    while queue:
        above = queue.pop()
        below = [child for child, (parent, state) in table.items() if parent == above and state != "Z"]
        queue += below
        found.update(below)
    return found


def alive(pids: Iterable[int]) -> set[int]:
    table = parents()
    return {pid for pid in pids if pid in table and table[pid][1] != "Z"}


class Installation:
    """Settings, the `commandpost` command and the processes that the test started with it."""

    def __init__(self, data: Path, **settings: str) -> None:
        http, smtp, mx = free_ports(3)
        self.data = data
        self.port, self.smtp_port = http, smtp
        own = {
            "DATA": str(data),
            "HTTP": f"127.0.0.1:{http}",
            "SMTP": f"127.0.0.1:{smtp}",
            "MX": f"127.0.0.1:{mx}",
            "HOSTNAME": "mx.gateway.test",
            "SECRET": "a-secret-for-tests",
            "WEB_WORKERS": "1",
            "DELIVER_PROCESSES": "1",
        } | settings
        clean = {name: value for name, value in os.environ.items() if not name.startswith("COMMANDPOST_")}
        self.environment = clean | {f"COMMANDPOST_{name}": value for name, value in own.items()}
        self.started: list[subprocess.Popen[str]] = []

    def run(self, *words: str, seconds: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """One command line, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *words],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, *words: str) -> Any:
        """The JSON answer of a verb that succeeds."""
        ended = self.run(*words, "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A part or the whole, until `stop`; what it says goes to `output(process)`."""
        log = (self.data.parent / f"log-{len(self.started)}.txt").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *words],
            cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        log.close()
        self.started.append(process)
        return process

    def output(self, process: subprocess.Popen[str]) -> str:
        return (self.data.parent / f"log-{self.started.index(process)}.txt").read_text()

    def serve(self, *words: str) -> subprocess.Popen[str]:
        """`commandpost serve`, every part serving."""
        process = self.start("serve", *words)
        self.wait_until_healthy(process)
        return process

    def wait_until_healthy(self, process: subprocess.Popen[str]) -> None:
        def healthy() -> bool:
            assert process.poll() is None, self.output(process)
            return self.get("/health")[0] == 200

        try:
            wait_for(healthy, "healthy")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output(process)}") from None

    def get(self, path: str) -> tuple[int, bytes]:
        return self._call("GET", path, None, {})

    def post(self, path: str, body: Any, key: str) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        status, answer = self._call("POST", path, json.dumps(body), headers)
        return status, json.loads(answer or b"null")

    def _call(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def close(self) -> None:
        """Kill what is left of what this test started."""
        for process in self.started:
            below = descendants(process.pid) if process.poll() is None else set()
            if process.poll() is None:
                process.kill()
                process.wait(10)
            for pid in alive(below):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
