"""Emails read back and taken back, keys, and domains of the Maillayer surface."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway import clock
from gateway.services import deliveries, keys
from models.database import in_transaction
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer
from tests.web.conftest import app, cheap_passwords, client

__all__ = ["app", "cheap_passwords", "client"]
EMAIL = {"from": "hello@shop.test", "to": "jane@friends.test", "subject": "Hi", "text": "Hello"}
Ask = Callable[..., Any]


def _asker(client: FlaskClient, key: str) -> Ask:
    def ask(method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = client.open("/api/v1" + path, method=method, json=body, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == status, answer.get_data(as_text=True)
        return answer.get_json()

    return ask


def _key(who: cast.Sender, **options: Any) -> str:
    options = {"surface": "maillayer"} | options
    return in_transaction(lambda tx: keys.create_key(tx, account_id=who.owner.account_id, **options))[1]


@pytest.fixture
def who(app: object) -> cast.Sender:
    return cast.sender()


@pytest.fixture
def ask(client: FlaskClient, who: cast.Sender) -> Ask:
    return _asker(client, _key(who))


def test_sent_shown_listed(ask: Ask) -> None:
    sent = ask("POST", "/emails", EMAIL | {"tags": ["order"]}, status=202)
    before = ask("GET", f"/emails/{sent['id']}")
    assert (before["status"], [one["event"] for one in before["events"]]) == ("queued", ["email.sent"])
    while deliveries.drain(0.2):
        pass
    assert deliveries.engine().wait_idle(20)
    deliveries.close()
    found = ask("GET", f"/emails/{sent['id']}")
    assert (found["status"], found["to"], found["tags"], found["createdAt"]) == (
        "delivered", "jane@friends.test", ["order"], sent["createdAt"],
    )  # fmt: skip
    assert [one["event"] for one in found["events"]] == ["email.sent", "email.delivered"]
    ask("POST", "/emails", EMAIL | {"subject": "Second"}, status=202)
    first = ask("GET", "/emails?limit=1")
    rest = ask("GET", f"/emails?limit=1&cursor={first['nextCursor']}")
    assert [one["subject"] for page in (first, rest) for one in page["data"]] == ["Second", "Hi"]
    assert [one["subject"] for one in ask("GET", "/emails?status=delivered")["data"]] == ["Hi"]


def test_taken_back(ask: Ask) -> None:
    at = clock.rfc3339(clock.now_ms() + 3_600_000)
    sent = ask("POST", "/emails", EMAIL | {"scheduledAt": at}, status=202)
    assert sent["status"] == "scheduled"
    assert ask("GET", f"/emails/{sent['id']}")["status"] == "scheduled"
    assert ask("POST", f"/emails/{sent['id']}/cancel")["canceled"] == 1
    assert ask("GET", f"/emails/{sent['id']}")["status"] == "canceled"
    ask("POST", f"/emails/{sent['id']}/cancel", status=409)


def test_keys(client: FlaskClient, ask: Ask) -> None:
    made = ask("POST", "/api-keys", {"name": "Staging", "environment": "test"}, status=201)
    assert made["key"].startswith("ml_test_")
    listed = ask("GET", "/api-keys")
    assert listed["data"][0]["name"] == "Staging"
    assert made["key"] not in json.dumps(listed)
    test = _asker(client, made["key"])
    assert test("POST", "/emails", EMAIL, status=202)["status"] == "queued"
    assert test("POST", "/api-keys", {"name": "x", "environment": "live"}, status=403)["code"] == "not_allowed"
    ask("DELETE", f"/api-keys/{made['id']}", status=204)
    test("GET", "/emails", status=401)
    ask("POST", "/api-keys", {}, status=400)
    ask("DELETE", "/api-keys/x", status=404)


def test_domains(ask: Ask, tmp_path: Path) -> None:
    with DnsServer() as dns:
        use_settings(tmp_path, DNS=dns.address)
        made = ask("POST", "/domains", {"name": "new.test"}, status=201)
        assert (made["status"], made["records"][0]["purpose"]) == ("pending", "dkim")
        refused = ask("POST", "/emails", EMAIL | {"from": "a@new.test"}, status=403)
        assert refused["code"] == "domain_not_active"
        for record in made["records"]:
            if record["type"] == "TXT":
                dns.add(record["name"], "TXT", record["value"])
        assert ask("POST", f"/domains/{made['id']}/verify")["status"] == "verified"
        ask("POST", "/emails", EMAIL | {"from": "a@new.test"}, status=202)
        ask("DELETE", f"/domains/{made['id']}", status=204)
        ask("GET", f"/domains/{made['id']}", status=404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/emails/{email}"),
        ("POST", "/emails/{email}/cancel"),
        ("DELETE", "/api-keys/{key}"),
        ("GET", "/domains/{domain}"),
        ("POST", "/domains/{domain}/verify"),
        ("DELETE", "/domains/{domain}"),
    ],
)
def test_a_stranger_finds_nothing(client: FlaskClient, ask: Ask, method: str, path: str) -> None:
    ours = {
        "email": ask("POST", "/emails", EMAIL, status=202)["id"],
        "key": ask("GET", "/api-keys")["data"][0]["id"],
        "domain": ask("GET", "/domains")["data"][0]["id"],
    }
    stranger = _asker(client, _key(cast.sender("stranger", "other.test")))
    assert stranger(method, path.format(**ours), status=404)["code"] == "not_found"
    assert stranger("GET", "/emails")["data"] == []
    assert ask("GET", f"/emails/{ours['email']}")["status"] == "queued"
