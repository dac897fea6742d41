"""Webhooks of the Maillayer surface: managed on the path that the end-user layer has too, told in the printed form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import standardwebhooks
from flask.testing import FlaskClient

from gateway import ids
from gateway.services import apis, keys, webhook_calls
from models.database import in_transaction
from models.vocabulary import EventKind
from tests import cast
from tests.gateway.services.webhook_world import happen, message
from tests.peers.http_sink import HttpSink
from tests.web.conftest import app, cheap_passwords, client

__all__ = ["app", "cheap_passwords", "client"]
ROUTE = "/api/v1/webhooks"
DELIVERED = {"event", "emailId", "to", "from", "subject", "timestamp"}
BOUNCED = {"event", "emailId", "to", "bounceType", "bounceSubType", "timestamp"}


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with HttpSink() as found:
        yield found


@pytest.fixture
def who(app: object) -> cast.Sender:
    webhook_calls.forget()
    return cast.sender()


def _bearer(who: cast.Sender, surface: str = "maillayer") -> dict[str, str]:
    made = in_transaction(lambda tx: keys.create_key(tx, account_id=who.owner.account_id, surface=surface))
    return {"Authorization": f"Bearer {made[1]}"}


def test_the_printed_events(client: FlaskClient, who: cast.Sender, sink: HttpSink) -> None:
    made = client.post(ROUTE, json={"url": sink.url + "/hook"}, headers=_bearer(who))
    assert made.status_code == 201
    hook = made.get_json()
    assert hook["events"] == ["email.delivered", "email.bounced", "email.complained"]
    number, uuid = message(who)
    happen(who, number, EventKind.DELIVERED)
    happen(who, number, EventKind.OPENED)
    happen(who, number, EventKind.BOUNCED, data={"category": "recipient", "enhanced": "5.1.1", "code": 550})
    happen(who, number, EventKind.BOUNCED, data={"category": "mailbox_full", "enhanced": "5.2.2", "code": 552})
    happen(who, number, EventKind.BOUNCED, data={})
    happen(who, number, EventKind.FAILED, data={"category": "network"})
    happen(who, number, EventKind.COMPLAINED)
    webhook_calls.drain(5)
    requests = sink.requests
    told = [json.loads(request.body) for request in requests]
    assert [(one["event"], one.get("bounceType"), one.get("bounceSubType")) for one in told] == [
        ("email.delivered", None, None),
        ("email.bounced", "Permanent", "General"),
        ("email.bounced", "Transient", "MailboxFull"),
        ("email.bounced", "Undetermined", "Undetermined"),
        ("email.bounced", "Transient", "Network"),
        ("email.complained", None, None),
    ]
    assert set(told[0]) == set(told[5]) == DELIVERED
    assert set(told[1]) >= BOUNCED
    assert {one["emailId"] for one in told} == {ids.short_id(UUID(uuid))}
    assert told[0]["from"] == "hello@shop.test"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told[0]["timestamp"])
    for request in requests:
        standardwebhooks.Webhook(hook["secret"]).verify(request.body, dict(request.headers))


def test_the_keys_surface_decides(client: FlaskClient, who: cast.Sender, sink: HttpSink) -> None:
    ours, theirs = _bearer(who), apis.add(caller=who.owner, domain_id=who.domain.id, description="x").key
    hook = client.post(ROUTE, json={"url": sink.url + "/a", "events": ["email.opened"]}, headers=ours).get_json()
    octeth = client.post(
        ROUTE, json={"Event": "opened", "WebhookURL": sink.url + "/b"}, headers={"Authorization": f"Bearer {theirs}"}
    )
    assert set(octeth.get_json()) == {"NewWebhookID"}
    listed = client.get(ROUTE, headers=ours).get_json()
    assert [one["id"] for one in listed["data"]] == [hook["id"]]
    assert "secret" not in listed["data"][0]
    assert len(client.get(ROUTE, headers={"Authorization": f"Bearer {theirs}"}).get_json()["Webhooks"]) == 1
    assert client.delete(f"{ROUTE}/{hook['id']}", headers={"Authorization": f"Bearer {theirs}"}).status_code >= 400
    assert client.delete(f"{ROUTE}/{hook['id']}", headers=ours).status_code == 204
    assert client.get(ROUTE, headers=ours).get_json() == {"data": []}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_parameter"),
        ({"url": "ftp://x.test/"}, "invalid_url"),
        ({"url": "https://10.0.0.1/"}, "private_url"),
        ({"url": "https://example.com/", "events": ["email.eaten"]}, "invalid_event"),
    ],
)
def test_refused(client: FlaskClient, who: cast.Sender, body: dict[str, Any], code: str) -> None:
    headers = _bearer(who)
    answer = client.post(ROUTE, json=body, headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (400, code)
    assert answer.get_json()["error"] == "Validation failed"
    assert client.delete(f"{ROUTE}/x", headers=headers).get_json()["code"] == "not_found"
    assert client.get(ROUTE, headers=headers).get_json() == {"data": []}
