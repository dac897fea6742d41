"""A whole installation in processes of its own: `commandpost serve` on free ports with its own data."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import requests

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Installation:
    """Starts on entry and stops on exit; `cli` runs the command line against the same settings."""

    def __init__(self, data: Path, *, serve: tuple[str, ...] = (), **settings: str) -> None:
        self.data = data
        self._serve = serve
        self.http, self.smtp, self.mx = (free_port() for _ in range(3))
        own = {
            "DATA": str(data),
            "HTTP": f"127.0.0.1:{self.http}",
            "SMTP": f"127.0.0.1:{self.smtp}",
            "MX": f"127.0.0.1:{self.mx}",
            "HOSTNAME": "mx.gateway.test",
            "WEBHOOK_ALLOW": "127.0.0.0/8",
            "DELIVERY_ALLOW": "127.0.0.0/8",
        } | settings
        kept = {k: v for k, v in os.environ.items() if not k.startswith("COMMANDPOST_")}
        self.environment = kept | {f"COMMANDPOST_{name}": value for name, value in own.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = data / "serve.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def cli(self, *arguments: str) -> Any:
        """Run a verb with `--json` and return its answer."""
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments, "--json"],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return json.loads(done.stdout)

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "serve", *self._serve],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.wait_healthy()

    def wait_healthy(self, timeout: float = 40.0) -> None:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process is not None and self.process.poll() is not None:
                break
            try:
                if requests.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"not healthy:\n{self.log.read_text(errors='replace')[-4000:]}")

    def stop(self) -> int:
        """SIGTERM, then the exit status; SIGKILL after 40 s is a failure of its own."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def command(self, name: str, **parameters: Any) -> Any:
        """POST a command as a form and return the answer."""
        return requests.post(f"{self.url}/api.php", data={"Command": name, **parameters}, timeout=30).json()
