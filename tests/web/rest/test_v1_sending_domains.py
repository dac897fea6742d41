"""`/v1/sending-domains`: registered, shown with records to publish, verified, taken away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway.services import domains
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.test_v1_send import key_of, who

__all__ = ["app", "cheap_passwords", "client", "who"]


@pytest.fixture
def ask(client: FlaskClient, who: cast.Sender) -> Any:
    own = key_of(who)

    def call(method: str, path: str = "", key: str = "", **fields: Any) -> Any:
        body = {"json": fields} if method in ("POST", "PATCH") else {"query_string": fields}
        headers = {"Authorization": f"Bearer {key or own}"}
        return client.open(f"/v1/sending-domains{path}", method=method, headers=headers, **body)

    return call


def test_from_registration_to_removal(ask: Any, who: cast.Sender) -> None:
    answer = ask("POST", domain="Acme.test")
    made = answer.get_json()
    assert answer.status_code == 201 and made["id"].startswith("dom_")
    assert (made["domain"], made["status"], made["verified"]) == ("acme.test", "pending", False)
    assert {record["purpose"] for record in made["records"]} >= {"spf", "dkim"}
    assert all(record["host"] and record["value"] for record in made["records"])
    again = ask("POST", domain="acme.test")
    assert (again.status_code, again.get_json()["code"]) == (409, "domain_exists")
    for path in (f"/{made['id']}", "/acme.test"):
        assert ask("GET", path).get_json()["id"] == made["id"]
    listed = ask("GET").get_json()["data"]
    assert [(one["domain"], one["status"]) for one in listed] == [("shop.test", "verified"), ("acme.test", "pending")]
    assert ask("DELETE", f"/{made['id']}").status_code == 204
    assert ask("GET", f"/{made['id']}").status_code == 404
    assert len(ask("GET").get_json()["data"]) == 1


def test_options_are_changed_one_by_one(ask: Any, who: cast.Sender) -> None:
    before = ask("GET", "/shop.test").get_json()
    assert (before["track_opens"], before["require_tls"], before["tracking_host"]) == (True, False, None)
    changed = ask("PATCH", "/shop.test", track_opens=False, require_tls=True, tracking_host="Track.shop.test")
    told = before | {"track_opens": False, "require_tls": True, "tracking_host": "track.shop.test"}
    assert changed.status_code == 200 and changed.get_json() == told == ask("GET", "/shop.test").get_json()
    assert ask("PATCH", "/shop.test", tracking_host=None).get_json()["tracking_host"] is None
    assert ask("PATCH", "/shop.test").get_json()["require_tls"] is True
    moved = ask("PATCH", "/shop.test", return_path="mail.shop.test").get_json()
    assert (moved["return_path"], moved["status"]) == ("mail.shop.test", "pending")
    for field, value in (("tracking_host", "no host"), ("return_path", "a.b"), ("track_links", "maybe")):
        refused = ask("PATCH", "/shop.test", **{field: value})
        assert (refused.status_code, [one["field"] for one in refused.get_json()["errors"]]) == (400, [field])
        assert "TrackingDomain" not in refused.get_json()["message"]
    reading = key_of(who, scopes=["read:sending-domains"])
    assert ask("PATCH", "/shop.test", reading, track_opens=True).status_code == 403


def test_some_by_status_and_name(ask: Any) -> None:
    ask("POST", domain="acme.test")

    def listed(**query: str) -> list[str]:
        return [one["domain"] for one in ask("GET", **query).get_json()["data"]]

    assert listed(status="pending") == listed(name="ACME") == ["acme.test"]
    assert listed(status="verified") == ["shop.test"]
    assert listed(name=".test", limit="1") == ["shop.test"]
    assert ask("GET", status="enabled").status_code == 400


def test_verification_tells_what_is_there(ask: Any, tmp_path: Path) -> None:
    with DnsServer() as dns:
        use_settings(tmp_path, DNS=dns.address)
        made = ask("POST", domain="acme.test").get_json()
        missing = ask("POST", f"/{made['id']}/verify")
        assert (missing.status_code, missing.get_json()["status"]) == (200, "pending")
        assert not any(record["verified"] for record in missing.get_json()["records"])
        for record in made["records"]:
            dns.set(record["host"], record["type"], record["value"])
        found = ask("POST", f"/{made['id']}/verify").get_json()
        assert (found["status"], found["verified"], found["problem"]) == ("verified", True, None)
        assert all(record["verified"] for record in found["records"] if record["required"])
        assert found["verified_at"] and ask("GET", f"/{made['id']}").get_json()["verified"] is True


def test_bad_input_and_strangers(ask: Any, who: cast.Sender) -> None:
    for bad in ({}, {"domain": ""}, {"domain": "no domain"}, {"domain": 5}, {"domain": "com"}):
        refused = ask("POST", **bad)
        assert (refused.status_code, [one["field"] for one in refused.get_json()["errors"]]) == (400, ["domain"]), bad
    stranger = key_of(cast.sender("stranger", "other.test"))
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/verify")):
        for id_ in ("shop.test", "dom_01KPZ3N8V4E0R2Y7T6W9Q5B1CD"):
            answer = ask(method, f"/{id_}{path}", stranger)
            assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")
    assert [one["domain"] for one in ask("GET", key=stranger).get_json()["data"]] == ["other.test"]
    bound = key_of(who, domain=True)
    assert ask("POST", key=bound, domain="new.test").status_code == 403
    assert ask("POST", key=key_of(who, scopes=["read:sending-domains"]), domain="new.test").status_code == 403
    assert domains.find_by_name(caller=who.owner, name="shop.test")
