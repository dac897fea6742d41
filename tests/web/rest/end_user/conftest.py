"""A served application and a sender: account, plan, enabled domain and its key."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from werkzeug.serving import make_server

import models
from gateway import clock, ids, vault
from gateway.services import contents, identity, lanes, ledger, senders
from models import database as db
from tests.application import application


def pairs(value: Any, name: str = "") -> list[tuple[str, str]]:
    """A JSON structure as form fields with bracket names."""
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in pairs(item, f"{name}[{key}]" if name else key)]
    if isinstance(value, list):
        return [pair for i, item in enumerate(value) for pair in pairs(item, f"{name}[{i}]")]
    if isinstance(value, bool):
        return [(name, "1" if value else "0")]
    return [(name, "" if value is None else str(value))]


@dataclass
class Sender:
    """One account with one domain and its key, and the address of the served application."""

    url: str
    account: Any
    plan: Any
    domain: Any
    key: str
    session: requests.Session = field(default_factory=requests.Session)
    pairs = staticmethod(pairs)

    def payload(self, **changed: Any) -> dict[str, Any]:
        """The document's own example with this key and domain; None takes a field out."""
        body = {
            "SenderAPIKey": self.key,
            "Subject": "Hello World",
            "ContentType": "html",
            "HtmlContent": "<p>Hello, World!</p>",
            "From": {"email": f"sender@{self.domain.name}", "name": "John Doe"},
            "To": [{"email": "recipient@example.org", "name": "Jane Doe"}],
        } | changed
        return {name: value for name, value in body.items() if value is not None}

    def post(self, payload: Any, *, form: bool = False, headers: dict[str, str] | None = None) -> requests.Response:
        if form:
            return self.session.post(self.url, data=pairs(payload), headers=headers, timeout=20)
        data = payload if isinstance(payload, (bytes, str)) else json.dumps(payload)
        return self.session.post(
            self.url, data=data, headers={"Content-Type": "application/json"} | (headers or {}), timeout=20
        )

    def send(self, *, form: bool = False, headers: dict[str, str] | None = None, **changed: Any) -> requests.Response:
        return self.post(self.payload(**changed), form=form, headers=headers)

    def add_domain(self, name: str, *, account_id: int | None = None) -> tuple[Any, str]:
        """Another enabled domain and its key."""
        return add_domain(self.account.id if account_id is None else account_id, name)

    @staticmethod
    def add_account(email: str) -> Any:
        """A stranger's account."""
        return add_account(email)[0]

    @staticmethod
    def count(table: str) -> int:
        return int(db.rows(f"SELECT COUNT(*) FROM {table}")[0][0])

    def stored(self) -> list[str]:
        """Tables that hold something of a message; empty after every refusal."""
        tables = ("message", "delivery", "event", "content", "content_part", "idempotency_key", "counter")
        return [table for table in tables if self.count(table)]

    def add_key(self, **columns: Any) -> str:
        return add_key(self.account.id, self.domain.id, **columns)

    @staticmethod
    def forget() -> None:
        forget()

    def change(self, row: Any, **values: Any) -> None:
        """Change a stored row and forget what the process knew."""
        for name, value in values.items():
            setattr(row, name, value)
        row.save()
        forget()


def forget() -> None:
    for cache in (identity.forget, senders.forget, lanes.forget, contents.forget_recent, ledger.forget_words):
        cache()


def add_account(email: str, **plan_columns: Any) -> tuple[Any, Any]:
    plan = models.Plan.create(name=f"plan-{uuid.uuid4()}", **plan_columns)
    account = models.Account.create(
        uuid=ids.new_uuid(), email=email, slug=uuid.uuid4().hex, plan_id=plan.id, created_ms=clock.now_ms()
    )
    return account, plan


def add_domain(account_id: int, name: str) -> tuple[Any, str]:
    domain = models.SenderDomain.create(
        uuid=ids.new_uuid(),
        account_id=account_id,
        name=name,
        enabled_name=name,
        status="enabled",
        subdomain="bounce",
        ownership_token=ids.token(),
        signing_key="",
        created_ms=clock.now_ms(),
    )
    return domain, add_key(account_id, domain.id)


def add_key(account_id: int, domain_id: int | None, **columns: Any) -> str:
    key = ids.octeth_key()
    models.ApiKey.create(
        uuid=ids.new_uuid(),
        account_id=account_id,
        domain_id=domain_id,
        surface="octeth",
        fingerprint=vault.fingerprint(key),
        prefix=key[:8],
        created_ms=clock.now_ms(),
        **columns,
    )
    return key


@pytest.fixture
def served(store: str) -> Iterator[str]:
    """The application on a real socket; the base URL."""
    forget()
    server = make_server("127.0.0.1", 0, application(), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sender(served: str) -> Iterator[Sender]:
    account, plan = add_account("owner@example.com")
    domain, key = add_domain(account.id, "example.com")
    made = Sender(f"{served}/api/v1/email", account, plan, domain, key)
    yield made
    made.session.close()
