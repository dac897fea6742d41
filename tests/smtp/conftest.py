"""A running SMTP part on ports of its own, and a customer who may use it."""

from __future__ import annotations

import asyncio
import smtplib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import config
from gateway.services import identity, senders, smtps
from smtp.server import Server
from tests import cast
from tests.conftest import use_settings


@dataclass
class Running:
    """The SMTP part inside this process; ports by the listener's name."""

    server: Server
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread

    @property
    def ports(self) -> dict[str, int]:
        return {door.name: door.port for door in self.server.doors}

    def client(self, listener: str = "submission") -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.ports[listener], local_hostname="client.test", timeout=10)

    def begin_stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self.loop)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self.loop).result(15)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)


@contextmanager
def running(settings: config.Settings) -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = Server(settings)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(5)
    part = Running(server, loop, thread)
    try:
        yield part
    finally:
        part.stop()


@pytest.fixture
def start(store: str, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start the part with changed settings; it is stopped at the end."""
    opened = []

    def run(**changed: str) -> Running:
        listeners = {"SMTP": "127.0.0.1:0", "MX": "127.0.0.1:0"}
        settings = use_settings(tmp_path, **(listeners | changed))
        context = running(settings)
        opened.append(context)
        return context.__enter__()

    for cached in (smtps, senders, identity):
        cached.forget()
    yield run
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def part(start: Callable[..., Running]) -> Running:
    return start()


@dataclass(frozen=True)
class Customer:
    """Somebody with an enabled domain `shop.test` and an SMTP login."""

    sender: cast.Sender
    login: smtps.SmtpLogin
    password: str

    def log_in(self, part: Running, listener: str = "submission") -> smtplib.SMTP:
        client = part.client(listener)
        client.login(self.login.username, self.password)
        return client


@pytest.fixture
def customer(store: str) -> Customer:
    sender = cast.sender()
    login, password = smtps.add(caller=sender.owner, domain_id=sender.domain.id)
    return Customer(sender, login, password)
