"""The parts as separate processes on a database server and a broker, two of each that may be many."""

from __future__ import annotations

import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import pytest
import requests

from tests.installation import ROOT, Installation, free_port
from tests.peers.smtp_sink import SmtpSink

pytestmark = pytest.mark.journey


@contextmanager
def _parts(*commands: tuple[Installation, tuple[str, ...]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """`commandpost` processes that all end cleanly on SIGTERM."""
    running = [
        subprocess.Popen([sys.executable, "-m", "cli.main", *words], env=host.environment, cwd=ROOT)
        for host, words in commands
    ]
    try:
        yield running
        assert [process.poll() for process in running] == [None] * len(running)
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        statuses = [process.wait(40) for process in running]
    assert statuses == [0] * len(running)


def _wait_ready(*hosts: Installation) -> None:
    end = time.monotonic() + 40
    for host in hosts:
        while True:
            try:
                if requests.get(f"{host.url}/ready", timeout=5).status_code == 200:
                    break
            except requests.RequestException:
                pass
            assert time.monotonic() < end, f"{host.url} is not ready"
            time.sleep(0.1)


def test_two_hosts_share_a_database_and_a_broker(tmp_path: Path, mariadb: str, rabbitmq: str, sink: SmtpSink) -> None:
    shared = {"DATABASE_URL": mariadb, "BROKER_URL": rabbitmq, "DELIVERY": sink.url, "SECRET": "the same on every host"}
    one = Installation(tmp_path / "one", **shared)
    two = Installation(tmp_path / "two", **shared, DELIVER_PROCESSES="1")
    one.cli("migrate")
    one.cli("user", "add", "--email", "jane@people.test", "--password", "a long password")
    one.cli("domain", "add", "shop.test", "--user", "jane@people.test", "--trusted")
    key = two.cli("key", "add", "--user", "jane@people.test", "--domain", "shop.test")["key"]
    login = {"username": "shop@shop.test", "password": "another long password"}
    two.cli(
        "smtp", "add", "--user", "jane@people.test", "--domain", "shop.test",
        "--username", login["username"], "--password", login["password"],
    )  # fmt: skip
    with _parts(
        (one, ("web",)), (two, ("web",)), (one, ("worker",)), (two, ("worker", "--queue", "deliver")),
        (one, ("beat",)), (two, ("smtp",)),
    ):  # fmt: skip
        _wait_ready(one, two)
        for number in range(20):
            host = (one, two)[number % 2]
            answer = requests.post(
                f"{host.url}/api/v1/email",
                json={
                    "Subject": f"Order {number}",
                    "ContentType": "plain",
                    "PlainContent": "Thank you.",
                    "From": {"email": "hello@shop.test", "name": "The Shop"},
                    "To": [{"email": f"r{number}@friends.test", "name": "Jane"}],
                },
                headers={"Authorization": f"Bearer {key}"},
                timeout=20,
            )
            assert answer.status_code == 200, answer.text
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "hello@shop.test", "smtp@friends.test", "By SMTP"
        message.set_content("Thank you.")
        deadline = time.monotonic() + 20
        while True:
            try:
                client = smtplib.SMTP("127.0.0.1", two.smtp, timeout=20)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with client:
            client.login(login["username"], login["password"])
            assert client.send_message(message) == {}
        received = sink.wait_for(21, timeout=30)
        assert sorted(one.rcpts[0] for one in received) == sorted(
            [f"r{number}@friends.test" for number in range(20)] + ["smtp@friends.test"]
        )


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        host = Installation(tmp_path, HTTP=f"127.0.0.1:{taken.getsockname()[1]}")
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "serve"],
            env=host.environment, cwd=ROOT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode != 0
    assert "COMMANDPOST_HTTP" in done.stderr
    assert "Traceback" not in done.stderr
