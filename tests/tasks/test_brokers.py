"""Each broker end to end, and what happens to mail when it is stopped or wiped."""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from kombu import Connection

from tasks.app import QUEUES
from tests.cli.installation import Installation, wait_for
from tests.peers.forwarder import Forwarder

URLS = {
    "embedded": "",
    "rabbitmq": os.environ.get("COMMANDPOST_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//"),
    "redis": os.environ.get("COMMANDPOST_TEST_REDIS_URL", "redis://127.0.0.1:6379/0"),
}


def why_not(url: str) -> str:
    """Empty when the broker can be used, else why not."""
    if not url:
        return ""
    try:
        with Connection(url, connect_timeout=2) as connection:
            connection.connect()
            connection.default_channel.close()
    except Exception as error:
        return f"no broker answers at {url}: {type(error).__name__}: {error}"
    return ""


class Broker:
    """A broker that this test alone uses: behind a forwarder, under a prefix of its own."""

    def __init__(self, name: str, data: Path) -> None:
        self.name = name
        self.prefix = f"commandpost_test_{uuid.uuid4().hex[:12]}"
        self._real = URLS[name]
        self._data = data
        self.url = ""
        self._forwarder: Forwarder | None = None
        if self._real:
            parts = urlsplit(self._real)
            host, port = parts.hostname or "127.0.0.1", parts.port or (5672 if name == "rabbitmq" else 6379)
            self._forwarder = Forwarder(host, port)
            login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
            self.url = f"{parts.scheme}://{login}127.0.0.1:{self._forwarder.port}{parts.path}?prefix={self.prefix}"

    def stop(self) -> None:
        if self._forwarder is not None:
            self._forwarder.cut()

    def start(self) -> None:
        if self._forwarder is not None:
            self._forwarder.mend()

    def wipe(self) -> None:
        """Take away every queue and bell of this test."""
        if self.name == "embedded":
            shutil.rmtree(self._data / "broker", ignore_errors=True)
        elif self.name == "redis":
            client = redis.Redis.from_url(self._real)
            for key in client.scan_iter(f"{self.prefix}*"):
                client.delete(key)
            client.close()
        else:
            with Connection(self._real) as connection:
                for queue in QUEUES:
                    with suppress(connection.channel_errors):
                        connection.channel().queue_delete(f"{self.prefix}.{queue}")
                    with suppress(connection.channel_errors):
                        connection.channel().exchange_delete(f"{self.prefix}.{queue}")

    def close(self) -> None:
        self.stop()
        self.wipe()


@pytest.fixture(params=list(URLS))
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    reason = why_not(URLS[request.param])
    if reason:
        pytest.skip(reason)
    made = Broker(request.param, tmp_path / "var")
    yield made
    made.close()


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The data of an installation with somebody who sends, for every test to copy, and the key of their domain."""
    data = tmp_path_factory.mktemp("furnished") / "var"
    ask = Installation(data).ask
    ask("migrate")
    ask("user", "add", "--email", "jane@example.com")
    ask("domain", "add", "example.com", "--user", "jane@example.com", "--trusted")
    return data, ask("key", "add", "--user", "jane@example.com", "--domain", "example.com")["key"]


@pytest.fixture
def sending(broker: Broker, furnished: tuple[Path, str], tmp_path: Path) -> Iterator[Sending]:
    data, key = furnished
    shutil.copytree(data, tmp_path / "var")
    installation = Installation(tmp_path / "var", BROKER_URL=broker.url)
    yield Sending(installation, key)
    installation.close()


class Sending:
    """An account that sends, in an installation whose parts the test starts."""

    def __init__(self, installation: Installation, key: str) -> None:
        self.installation = installation
        self.key = key
        self._sent = 0

    def start(self, *parts: tuple[str, ...]) -> None:
        for part in parts:
            process = self.installation.start(*part)
            if part == ("web",):
                self.installation.wait_until_healthy(process)
            elif "deliver" in part:
                wait_for(lambda: "deliver" in self.beating(), "a worker ready")

    def beating(self) -> set[str]:
        """The parts that have shown a sign of life."""
        with closing(sqlite3.connect(self.installation.data / "scratch.db")) as scratch:
            return {name for (name,) in scratch.execute("SELECT part FROM heartbeat")}

    def send(self) -> str:
        """Send one message and return its subject; the answer must come whatever the broker does."""
        self._sent += 1
        subject = f"message {self._sent}"
        message = {
            "From": {"Name": "Jane Doe", "Email": "jane@example.com"},
            "To": [{"Name": "Bob", "Email": "bob@example.net"}],
            "Subject": subject,
            "ContentType": "plain",
            "PlainContent": "hello",
        }
        status, answer = self.installation.post("/api/v1/email", message, self.key)
        assert status == 200, answer
        return subject

    def wait_for(self, subject: str) -> None:
        def delivered() -> bool:
            with closing(sqlite3.connect(self.installation.data / "commandpost.db")) as store:
                return bool(store.execute("SELECT 1 FROM captured_mail WHERE subject = ?", (subject,)).fetchone())

        try:
            wait_for(delivered, f"delivered: {subject}", seconds=40)
        except AssertionError as error:
            logs = "\n".join(self.installation.output(process) for process in self.installation.started)
            raise AssertionError(f"{error}\n{logs}") from None


def test_the_bell_alone_brings_the_mail(sending: Sending) -> None:
    # Without beat nothing but the bell of the request wakes the worker.
    sending.start(("web",), ("worker", "--queue", "deliver"))
    for _ in range(2):
        sending.wait_for(sending.send())


def test_mail_is_accepted_while_the_broker_is_stopped_and_goes_when_it_is_back(
    sending: Sending, broker: Broker
) -> None:
    sending.start(("web",), ("worker", "--queue", "deliver"))
    sending.wait_for(sending.send())
    broker.stop()
    during = sending.send()
    broker.start()
    sending.wait_for(during)
    # The worker's own connection is back too, not only the ringer's.
    sending.wait_for(sending.send())


def test_a_wiped_broker_loses_no_mail(sending: Sending, broker: Broker) -> None:
    sending.start(("web",), ("worker", "--queue", "all"), ("beat",))
    sending.wait_for(sending.send())
    broker.wipe()
    sending.wait_for(sending.send())
    broker.wipe()
    sending.wait_for(sending.send())


def test_mail_waits_for_a_worker_that_starts_later(sending: Sending) -> None:
    sending.start(("web",))
    subject = sending.send()
    # Its bell is lost; a worker that starts looks without one.
    sending.installation.start("worker", "--queue", "deliver")
    sending.wait_for(subject)


def test_a_broker_that_is_away_at_the_start_is_waited_for(broker: Broker, sending: Sending) -> None:
    if broker.name == "embedded":
        pytest.skip("the embedded broker is a folder: it is never away")
    broker.stop()
    sending.start(("web",))
    sending.installation.start("worker", "--queue", "deliver")
    subject = sending.send()
    broker.start()
    sending.wait_for(subject)
