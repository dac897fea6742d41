"""An installation under measurement: its account, its messages, its single parts and their memory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.installation import ROOT, Installation

LINE = "<p>Thank you for your order, it is on its way to you.</p>\n"
HTML = "<html><body>" + LINE * 75 + "</body></html>"
DOMAIN = "shop.test"
EMAIL = "bench@shop.test"


def request(key: str, n: int) -> bytes:
    """One `POST /api/v1/email`; no two have the same body."""
    message = {
        "Subject": f"Order {n}",
        "ContentType": "html",
        "HtmlContent": HTML.replace("order", f"order {n}", 1),
        "From": {"email": f"hello@{DOMAIN}", "name": "The Shop"},
        "To": [{"email": f"r{n}@friends.test", "name": "Jane Doe"}],
    }
    body = json.dumps(message).encode()
    head = (
        f"POST /api/v1/email HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def mime(n: int, recipients: int = 1) -> tuple[list[str], bytes]:
    """Recipients and content of one message over SMTP, as large as those over HTTP."""
    rcpt = f"r{n}@friends.test"
    html = HTML.replace("order", f"order {n}", 1).replace("\n", "\r\n")
    head = (
        f"From: The Shop <hello@{DOMAIN}>\r\nTo: Jane Doe <{rcpt}>\r\nSubject: Order {n}\r\n"
        f"Date: Sat, 01 Jan 2028 12:00:00 +0000\r\nMessage-ID: <{n}.bench@{DOMAIN}>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/html; charset=us-ascii\r\n\r\n"
    )
    others = [f"r{n}.{number}@friends.test" for number in range(1, recipients)]
    return [rcpt, *others], f"{head}{html}\r\n".encode("ascii")


@dataclass(frozen=True)
class Credentials:
    key: str
    username: str
    password: str


def prepare(installation: Installation) -> Credentials:
    """The account that sends, without limits, its trusted domain, a sender key and an SMTP login."""
    installation.cli("user", "add", "--email", EMAIL, "--password", "benchmark password")
    installation.cli("plan", "set", "--user", EMAIL, "--unlimited")
    installation.cli("domain", "add", DOMAIN, "--user", EMAIL, "--trusted")
    key = installation.cli("key", "add", "--user", EMAIL, "--domain", DOMAIN)["key"]
    login = installation.cli("smtp", "add", "--user", EMAIL, "--domain", DOMAIN)
    return Credentials(key, login["username"], login["password"])


def add_webhook(installation: Installation, url: str) -> None:
    installation.cli("webhook", "add", "--user", EMAIL, "--domain", DOMAIN, "--event", "delivered", "--url", url)


@contextmanager
def part(installation: Installation, *arguments: str, port: int = 0) -> Iterator[int]:
    """Run one part of an installation, for example `web`; gives its process id once `port` is listened on."""
    with open(installation.log, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            env=installation.environment, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        if port:
            wait_for(port)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for(port: int) -> None:
    """Until somebody listens on `port`; raises `TimeoutError`."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def memory(pid: int) -> float:
    """PSS of a process and all below it, in MB."""
    total = 0.0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            waiting += [
                int(child)
                for task in Path(f"/proc/{one}/task").iterdir()
                for child in (task / "children").read_text().split()
            ]
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
    return total


def processor(pid: int) -> float:
    """Seconds of processor time that a process and all below it have used."""
    total = 0.0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            waiting += [
                int(child)
                for task in Path(f"/proc/{one}/task").iterdir()
                for child in (task / "children").read_text().split()
            ]
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


class Peak:
    """The largest memory of a process tree while the context lasts."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.mb = 0.0

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            self.mb = max(self.mb, memory(self._pid))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mb = max(self.mb, memory(self._pid))
        self._over.set()
        self._thread.join()
