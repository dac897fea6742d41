"""SMTP servers and connections to them, with time-outs fit for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.transports.base import Connection
from gateway.transports.outcome import Outcome
from gateway.transports.smarthost import Smarthost
from gateway.transports.smtp_options import Timeouts
from tests.peers.certificate import Certificate, self_signed
from tests.peers.smtp_sink import SmtpSink

MESSAGE = b"From: Jane <jane@example.com>\r\nTo: john@example.net\r\nSubject: Hello\r\n\r\nHello.\r\n"
IMPATIENT = Timeouts(connect=2, greeting=0.3, command=0.3, data=0.3, block=2, end=0.3, quit=0.3)
PATIENT = Timeouts(connect=5, greeting=5, command=5, data=5, block=5, end=5, quit=1)


class Sender:
    """A connection under test and how often it announced data."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.announced = 0

    def send(
        self,
        rcpt: str = "john@example.net",
        message: bytes = MESSAGE,
        mail_from: str = "jane@example.com",
        tls_required: bool = False,
    ) -> Outcome:
        return self.connection.send(
            mail_from=mail_from, rcpt=rcpt, message=message, on_data=self._announce, tls_required=tls_required
        )

    def close(self) -> None:
        self.connection.close()

    def _announce(self) -> None:
        self.announced += 1


def wait_until_dead(sink: SmtpSink) -> None:
    """Until the sink's connections have ended, so that the client's next look finds the end."""
    deadline = time.monotonic() + 5
    while sink.open_connections:
        assert time.monotonic() < deadline, "the sink keeps its connections"
        time.sleep(0.005)


@pytest.fixture
def sinks() -> Iterator[Callable[..., SmtpSink]]:
    """Starts sinks that end with the test."""
    made: list[SmtpSink] = []

    def start(**options: Any) -> SmtpSink:
        made.append(SmtpSink(**options))
        return made[-1]

    yield start
    for sink in made:
        sink.close()


@pytest.fixture
def sink(sinks: Callable[..., SmtpSink]) -> SmtpSink:
    return sinks()


@pytest.fixture
def through(settings: object) -> Iterator[Callable[..., Sender]]:
    """Opens senders through a sink as a smarthost; `login` is `user:password`."""
    opened: list[Sender] = []

    def open_(sink: SmtpSink, *, login: str = "", **options: Any) -> Sender:
        url = sink.url.replace("://", f"://{login}@") if login else sink.url
        options.setdefault("timeouts", PATIENT)
        opened.append(Sender(Smarthost(url, hostname="mx.gateway.test", **options).open()))
        return opened[-1]

    yield open_
    for sender in opened:
        sender.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder: Path = tmp_path_factory.mktemp("certificate")
    return self_signed(folder, "mx.example.net", "127.0.0.1")
