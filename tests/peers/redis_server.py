"""A Redis server of the test's own that keeps nothing on disk: killed and started again, it has forgotten all."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Self

import redis

from tests.installation import free_port

SERVER = shutil.which("redis-server")


def why_not() -> str:
    """Empty when a server can be started here, else why not."""
    return "" if SERVER else "redis-server is not installed"


class RedisServer:
    """`kill` is SIGKILL; `start` begins on the same port, empty."""

    def __init__(self, folder: Path) -> None:
        assert SERVER
        folder.mkdir(parents=True)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "log"
        self._run = [
            SERVER, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", str(folder),
        ]  # fmt: skip
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, timeout: float = 20.0) -> None:
        """Start and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._run, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + timeout
        client = redis.Redis.from_url(self.url)
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise RuntimeError(self._log.read_text(errors="replace")[-3000:]) from None
                time.sleep(0.02)
        client.close()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
