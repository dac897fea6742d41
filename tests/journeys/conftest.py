"""Installations on every store and broker that answers, with their peers on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.conftest import mariadb_answers, mysql_admin, mysql_url
from tests.installation import Installation
from tests.peers.dns_server import DnsServer
from tests.peers.http_sink import HttpSink
from tests.peers.smtp_sink import SmtpSink

Start = Callable[..., Installation]


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as peer:
        yield peer


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as peer:
        yield peer


@pytest.fixture
def listener() -> Iterator[HttpSink]:
    with HttpSink() as peer:
        yield peer


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def mariadb() -> Iterator[str]:
    """An own, empty database on the server, dropped afterwards."""
    why_not = mariadb_answers()
    if why_not:
        pytest.skip(why_not)
    name = f"commandpost_test_j{os.getpid():x}_{os.urandom(3).hex()}"
    mysql_admin(f"CREATE DATABASE `{name}`")
    yield mysql_url(name)
    mysql_admin(f"DROP DATABASE `{name}`")


@pytest.fixture
def rabbitmq() -> Iterator[str]:
    """An own vhost where rabbitmqctl can make one."""
    if not _listens(5672):
        pytest.skip("RabbitMQ does not answer at 127.0.0.1:5672")
    if shutil.which("rabbitmqctl") is None:
        pytest.skip("rabbitmqctl is needed to make a vhost for the test, and is not here")
    vhost = f"commandpost_test_{os.getpid():x}_{os.urandom(3).hex()}"
    for arguments in (("add_vhost", vhost), ("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")):
        done = subprocess.run(["rabbitmqctl", *arguments], capture_output=True, text=True, timeout=60)
        if done.returncode:
            pytest.skip(f"rabbitmqctl {arguments[0]} failed: {done.stderr.strip()[-200:]}")
    yield f"amqp://guest:guest@127.0.0.1:5672/{vhost}"
    subprocess.run(["rabbitmqctl", "delete_vhost", vhost], capture_output=True, timeout=60, check=True)


@pytest.fixture
def redis_broker() -> Iterator[str]:
    """An own database of the server, the highest that is empty; its keys are deleted afterwards."""
    if not _listens(6379):
        pytest.skip("Redis does not answer at 127.0.0.1:6379")
    for number in range(15, 0, -1):
        client = redis.Redis(port=6379, db=number)
        if client.dbsize() == 0 and client.set("commandpost_test_taken", os.getpid(), nx=True, ex=300):
            break
    else:
        pytest.skip("Redis has no empty database to test in")
    yield f"redis://127.0.0.1:6379/{number}"
    for key in client.keys("*"):
        client.delete(key)
    client.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start installations that end with the test."""
    running: list[Installation] = []

    def begin(**settings: str) -> Installation:
        installation = Installation(tmp_path / f"var{len(running)}", **settings)
        running.append(installation)
        installation.start()
        return installation

    yield begin
    for installation in running:
        installation.stop()


@pytest.fixture(params=["sqlite-embedded", "mariadb-rabbitmq", "mariadb-redis", "sqlite-redis"])
def stores(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of one pair of store and broker."""
    store, broker = request.param.split("-")
    settings = {}
    if store == "mariadb":
        settings["DATABASE_URL"] = request.getfixturevalue("mariadb")
    if broker == "rabbitmq":
        settings["BROKER_URL"] = request.getfixturevalue("rabbitmq")
    elif broker == "redis":
        settings["BROKER_URL"] = request.getfixturevalue("redis_broker")
    return settings
