"""The application on an empty store, as a test client and served on a socket, with a small cast."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from gateway.services import identity, keys, users
from models import database as db
from tests.application import application


@dataclass(frozen=True)
class Account:
    """One of the cast: account id, login and account key."""

    id: int
    email: str
    password: str
    api_key: str


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hashing with the least work: what is tested here is not the hash."""
    monkeypatch.setattr(users, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    users._dummy_hash.cache_clear()
    yield
    users._dummy_hash.cache_clear()


@pytest.fixture
def app(store: str, cheap_passwords: None) -> Flask:
    identity.forget()
    return application()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def _account(email: str, **more: Any) -> Account:
    made = users.add(email=email, password="correct horse battery", **more)
    return Account(made["id"], made["email"], "correct horse battery", made["api_key"])


@pytest.fixture
def owner(app: Flask) -> Account:
    return _account("owner@example.com", name="Jane Doe")


@pytest.fixture
def operator(app: Flask) -> Account:
    return _account("operator@example.com", role="operator")


def sender_key(account: Account, *, domain_id: int, **options: Any) -> str:
    """A sender key of a domain; the domain itself need not exist for authentication."""
    return db.in_transaction(lambda tx: keys.create_key(tx, account_id=account.id, domain_id=domain_id, **options))[1]


@dataclass(frozen=True)
class Served:
    host: str
    port: int

    def exchange(self, raw: bytes, timeout: float = 10) -> bytes:
        """Send raw bytes and read until the server closes."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer


@pytest.fixture
def served(app: Flask) -> Iterator[Served]:
    """The application behind a real socket."""
    server = make_server("127.0.0.1", 0, app, threaded=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield Served("127.0.0.1", server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()
