"""Webhooks of `/v1`: managed over the API, told in the printed form, signed, retried, dead, replayed."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import standardwebhooks
from flask.testing import FlaskClient

import models
from gateway import clock, ids
from gateway.services import (
    automation_runs,
    automations,
    deliveries,
    lists,
    messages,
    subscribers,
    webhook_calls,
    webhooks,
)
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.gateway.services.webhook_world import Hands, happen, message
from tests.peers.http_sink import Answer, HttpSink, Request
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.v1_api import Api

__all__ = ["app", "cheap_passwords", "client"]

EIGHT = [
    "message.accepted", "message.delivered", "message.opened", "message.clicked", "message.bounced",
    "message.complained", "subscriber.unsubscribed", "automation.triggered",
]  # fmt: skip


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with HttpSink() as found:
        yield found


@pytest.fixture
def who(app: object) -> cast.Sender:
    webhook_calls.forget()
    return cast.sender()


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    made = Hands()
    monkeypatch.setattr(clock, "now_ms", made.now_ms)
    return made


@pytest.fixture
def api(client: FlaskClient, who: cast.Sender) -> Api:
    return Api(client, who)


def checked(request: Request, secret: str) -> dict[str, Any]:
    """The event, its signature checked as a receiver would: by cutting the last member out of the bytes."""
    told: dict[str, Any] = json.loads(request.body)
    assert list(told)[-1] == "signature"
    cut = request.body.replace(b',"signature":"' + told["signature"].encode() + b'"', b"")
    stamp, mac = told["signature"].split(",")
    assert stamp.startswith("t=") and mac.startswith("v1=")
    wanted = hmac.new(secret.encode(), stamp[2:].encode() + b"." + cut, hashlib.sha256).hexdigest()
    assert mac[3:] == wanted
    assert re.sub(rb',"signature":"[^"]*"}$', b"}", request.body) == cut  # as docs/webhooks.md has it
    assert request.headers["x-webhook-signature"] == told["signature"]
    at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    by_standard = standardwebhooks.Webhook(secret).sign(request.headers["webhook-id"], at, request.body.decode())
    assert request.headers["webhook-signature"] == by_standard
    return told


def test_each_of_the_eight_types_is_told_in_the_printed_form(api: Api, who: cast.Sender, sink: HttpSink) -> None:
    made = api("POST", "/v1/webhooks", {"url": sink.url + "/hook", "events": EIGHT}, status=201)
    sent = messages.accept(who.caller, cast.draft(tags=["onboarding"])).message_id
    message_id = int(db.rows("SELECT MAX(id) FROM message")[0][0])
    deliveries.drain(2)
    ((delivery_id,),) = db.rows("SELECT id FROM delivery")
    browser = {"user_agent": "Mozilla/5.0", "verdict": "human"}
    happen(who, message_id, EventKind.OPENED, delivery_id=delivery_id, ip="192.0.2.1", data=browser)
    happen(who, message_id, EventKind.CLICKED, delivery_id=delivery_id, data=browser | {"url": "https://a.test/"})
    happen(who, message_id, EventKind.BOUNCED, delivery_id=delivery_id, data={"code": 550, "enhanced": "5.1.1"})
    happen(who, message_id, EventKind.COMPLAINED, EventKind.UNSUBSCRIBED, delivery_id=delivery_id)
    friends = lists.add(caller=who.owner, name="Friends")
    subscribers.add(caller=who.owner, list_id=friends.id, email="jane@friends.test")
    given = {"name": "Hello", "trigger": {"type": "event", "event": "go"}, "actions": [{"type": "exit"}]}
    hello = automations.add(caller=who.owner, given=given)
    run = automation_runs.trigger(caller=who.owner, automation=hello, subscriber="jane@friends.test")
    webhook_calls.drain(5)
    told = [checked(request, made["secret"]) for request in sink.requests]
    by_type = {one["type"]: one for one in told}
    assert sorted(by_type) == sorted(EIGHT) and len(told) == 8
    of_message = [one["type"] for one in told if "message" in one]
    assert of_message == EIGHT[:-1]

    delivered = by_type["message.delivered"]
    assert list(delivered) == ["id", "type", "created_at", "workspace", "message", "signature"]
    assert delivered["workspace"] == "owner"
    assert delivered["message"] == {
        "id": ids.public_id("msg", UUID(sent)), "provider": "capture", "from": "hello@shop.test",
        "to": "jane@friends.test", "tags": ["onboarding"],
    }  # fmt: skip
    assert delivered["id"].startswith("evt_") and delivered["created_at"].endswith("Z")
    assert by_type["message.accepted"]["message"]["provider"] == "capture"
    assert by_type["message.clicked"]["data"]["url"] == "https://a.test/"
    assert by_type["message.bounced"]["data"]["bounce_type"] == "permanent"
    assert by_type["subscriber.unsubscribed"]["subscriber"] == {"email": "jane@friends.test"}
    automation = by_type["automation.triggered"]
    assert automation["automation"] == {
        "id": hello.public_id, "name": "Hello", "run_id": run.public_id, "trigger": "event", "event": "go",
    }  # fmt: skip
    assert automation["subscriber"] == {"email": "jane@friends.test"}
    assert len({one["id"] for one in told}) == 8


def test_a_webhook_from_its_making_to_its_end(api: Api, who: cast.Sender, sink: HttpSink) -> None:
    body = {"url": sink.url + "/a", "events": ["message.delivered"], "colour": "red"}
    made = api("POST", "/v1/webhooks", body, status=201)
    assert made["id"].startswith("whk_") and made["secret"].startswith("whsec_")
    assert [one["field"] for one in made["warnings"]] == ["colour"]
    path = f"/v1/webhooks/{made['id']}"
    shown = api("GET", path)
    assert "secret" not in shown and shown["events"] == ["message.delivered"] and shown["status"] == "active"
    assert api("GET", "/v1/webhooks")["data"] == [shown]
    changed = api("PATCH", path, {"url": sink.url + "/b", "events": "message.opened,message.clicked"})
    assert (changed["url"], changed["events"]) == (sink.url + "/b", ["message.opened", "message.clicked"])
    assert api("PATCH", path, {}) == changed
    off = api("PATCH", path, {"status": "disabled"})
    assert off["status"] == "disabled" and off["disabled_reason"]
    assert api("PATCH", path, {"status": "active"})["disabled_reason"] is None
    api("DELETE", path, status=204)
    for method, where in (("GET", path), ("DELETE", path), ("PATCH", path), ("POST", path + "/test")):
        assert api(method, where, {} if method != "GET" else None, status=404)["code"] == "not_found"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"events": ["message.opened"]}, "url"),
        ({"url": "ftp://example.com/x"}, "url"),
        ({"url": "http://10.0.0.1/x"}, "url"),
        ({"url": "https://example.com/" + "x" * 2040}, "url"),
        ({"url": "https://example.com/x", "events": ["message.eaten"]}, "events"),
        ({"url": "https://example.com/x", "events": []}, "events"),
        ({"url": "https://example.com/x", "domains": ["foreign.test"]}, None),
    ],
)
def test_what_cannot_be_a_webhook_is_refused(api: Api, body: dict[str, Any], field: str | None) -> None:
    told = api("POST", "/v1/webhooks", body, status=404 if "domains" in body else 400)
    assert told["code"] and told["request_id"] and "WebhookURL" not in str(told)
    if field is not None:
        assert field in [one["field"] for one in told["errors"]]
    assert api("GET", "/v1/webhooks")["data"] == []


def test_the_pages_of_webhooks(api: Api) -> None:
    made = [api("POST", "/v1/webhooks", {"url": f"https://example.com/{n}"}, status=201)["id"] for n in range(5)]
    seen: list[str] = []
    page = api("GET", "/v1/webhooks?limit=2")
    while True:
        seen += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        page = api("GET", f"/v1/webhooks?limit=2&cursor={page['next_cursor']}")
    assert seen == made
    api("PATCH", f"/v1/webhooks/{made[0]}", {"status": "disabled", "events": ["message.bounced"]})
    api("PATCH", f"/v1/webhooks/{made[1]}", {"events": ["message.opened"]})
    by = {query: [one["id"] for one in api("GET", f"/v1/webhooks?{query}")["data"]] for query in (
        "status=disabled", "status=active", "event=message.bounced", "event=message.opened&limit=1",
    )}  # fmt: skip
    assert list(by.values()) == [made[:1], made[1:], [made[0], *made[2:]], [made[1]]]
    for query in ("status=gone", "event=message.teleported"):
        api("GET", f"/v1/webhooks?{query}", status=400)


def test_both_secrets_sign_while_one_takes_over(api: Api, who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    made = api("POST", "/v1/webhooks", {"url": sink.url + "/hook", "events": ["message.delivered"]}, status=201)
    turned = api("POST", f"/v1/webhooks/{made['id']}/rotate-secret", {"overlap_hours": 1})
    assert turned["secret"] != made["secret"] and turned["old_secret_expires_at"]
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED)
    webhook_calls.drain(5)
    (request,) = sink.requests
    told = json.loads(request.body)
    stamp, *macs = told["signature"].split(",")
    cut = request.body.replace(b',"signature":"' + told["signature"].encode() + b'"', b"")
    for secret, mac in zip((turned["secret"], made["secret"]), macs, strict=True):
        signed = stamp[2:].encode() + b"." + cut
        assert mac == "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    hands.pass_s(3700)
    happen(who, number, EventKind.DELIVERED)
    webhook_calls.drain(5)
    checked(sink.requests[-1], turned["secret"])


def test_in_order_of_the_message_retried_dead_and_replayed(
    api: Api, who: cast.Sender, sink: HttpSink, hands: Hands
) -> None:
    made = api("POST", "/v1/webhooks", {"url": sink.url + "/hook", "events": ["*"]}, status=201)
    path = f"/v1/webhooks/{made['id']}"
    sink.script("/hook", 503)
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED, EventKind.OPENED)
    webhook_calls.drain(5)
    # The later events of the message wait for the one that failed; another message's does not.
    other, _ = message(who)
    webhook_calls.drain(5)
    assert [json.loads(request.body)["type"] for request in sink.requests] == ["message.accepted"] * 2
    hands.pass_s(6)
    webhook_calls.drain(5)
    types = [json.loads(request.body)["type"] for request in sink.requests]
    assert types[2:] == ["message.accepted", "message.delivered", "message.opened"]
    assert sink.requests[0].headers["webhook-id"] == sink.requests[2].headers["webhook-id"]
    assert json.loads(sink.requests[0].body)["id"] == json.loads(sink.requests[2].body)["id"]

    sink.always("/hook", Answer(500))
    happen(who, other, EventKind.BOUNCED, data={"code": 550})
    webhook_calls.drain(5)
    for seconds in webhook_calls.RETRIES_S:
        hands.pass_s(seconds * 1.2)
        webhook_calls.drain(5)
    (dead,) = api("GET", f"{path}/dead-letters")["data"]
    assert (dead["type"], dead["state"], dead["last_code"]) == ("message.bounced", "dead", 500)
    assert api("GET", f"{path}/deliveries?state=dead")["data"] == [dead]
    assert len(api("GET", f"{path}/deliveries")["data"]) == 5
    for asked, types in (
        ("message.opened", ["message.opened"]),
        ("message.bounced,message.opened", ["message.bounced", "message.opened"]),
        ("automation.triggered", []), ("test", []), ("message.accepted&state=dead", []),
    ):  # fmt: skip
        page = api("GET", f"{path}/deliveries?type={asked}")
        assert ([one["type"] for one in page["data"]], page["has_more"]) == (types, False)
    first = api("GET", f"{path}/deliveries?type=message.accepted&limit=1")
    rest = api("GET", f"{path}/deliveries?type=message.accepted&limit=1&cursor={first['next_cursor']}")
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert first["data"][0]["id"] != rest["data"][0]["id"] and rest["data"][0]["type"] == "message.accepted"
    assert api("GET", f"{path}/dead-letters?type=message.opened")["data"] == []
    refused = api("GET", f"{path}/deliveries?type=moon", status=400)
    assert (refused["code"], refused["errors"][0]["field"]) == ("invalid_event", "type")
    attempts = api("GET", f"{path}/deliveries/{dead['id']}/attempts")["data"]
    assert len(attempts) == len(webhook_calls.RETRIES_S) + 1

    sink.clear()
    api("PATCH", path, {"status": "active"})
    assert api("POST", f"{path}/replay", {"delivery_id": dead["id"]}, status=202) == {"replayed": 1, "done": True}
    webhook_calls.drain(5)
    (again,) = sink.requests
    assert again.headers["webhook-id"] == dead["id"]
    assert checked(again, made["secret"])["type"] == "message.bounced"
    assert api("GET", f"{path}/dead-letters")["data"] == []
    # By a filter, and by a range of time.
    replay = {"state": "told", "events": ["message.bounced", "message.opened"], "since": "2020-01-01T00:00:00Z"}
    assert api("POST", f"{path}/replay", replay, status=202)["replayed"] == 2
    only_notices = replay | {"events": ["automation.triggered"]}
    assert api("POST", f"{path}/replay", only_notices, status=400)["code"] == "invalid_event"
    nothing = replay | {"until": "2020-01-02T00:00:00Z"}
    assert api("POST", f"{path}/replay", nothing, status=202)["replayed"] == 0
    webhook_calls.drain(5)
    assert len(sink.requests) == 3


def test_events_of_test_keys_go_only_where_they_are_asked_for(api: Api, who: cast.Sender, sink: HttpSink) -> None:

    api("POST", "/v1/webhooks", {"url": sink.url + "/live", "events": ["*"]}, status=201)
    api("POST", "/v1/webhooks", {"url": sink.url + "/test", "events": ["*"], "test_events": True}, status=201)
    messages.accept(replace(who.caller, live=False), cast.draft())
    webhook_calls.drain(5)
    (request,) = sink.requests
    told = json.loads(request.body)
    assert request.path == "/test" and told["test"] is True and list(told)[-1] == "signature"


def test_a_test_event_tells_what_the_endpoint_made_of_it(api: Api, who: cast.Sender, sink: HttpSink) -> None:
    made = api("POST", "/v1/webhooks", {"url": sink.url + "/hook", "events": ["*"]}, status=201)
    path = f"/v1/webhooks/{made['id']}/test"
    sink.script("/hook", Answer(200, b"thanks"), Answer(418, b"no"))
    told = api("POST", path, {"event": "message.clicked"})
    assert (told["delivered"], told["code"], told["response"]) == (True, 200, "thanks")
    event = checked(sink.requests[0], made["secret"])
    assert event["type"] == "message.clicked" and event["test"] is True
    assert told["payload"].encode() == sink.requests[0].body
    told = api("POST", path, {"event": "automation.triggered"})
    assert (told["delivered"], told["code"]) == (False, 418)
    event = checked(sink.requests[1], made["secret"])
    assert event["type"] == "automation.triggered" and event["test"] is True
    assert api("POST", path, {"event": "nonsense"}, status=400)["code"] == "invalid_event"


def test_who_is_taken_off_a_list_by_the_api_is_told_without_a_message(
    api: Api, who: cast.Sender, sink: HttpSink
) -> None:
    made = api("POST", "/v1/webhooks", {"url": sink.url + "/hook", "events": ["subscriber.unsubscribed"]}, status=201)
    friends = lists.add(caller=who.owner, name="Friends")
    jane = subscribers.add(caller=who.owner, list_id=friends.id, email="jane@friends.test")
    subscribers.unsubscribe(caller=who.owner, subscriber=jane)
    webhook_calls.drain(5)
    (request,) = sink.requests
    told = checked(request, made["secret"])
    assert told["type"] == "subscriber.unsubscribed" and "message" not in told
    assert told["subscriber"]["email"] == "jane@friends.test" and told["subscriber"]["list_id"].startswith("lst_")
    assert [one["type"] for one in api("GET", f"/v1/webhooks/{made['id']}/deliveries")["data"]] == [told["type"]]


def test_a_domains_key_has_webhooks_of_its_domain_alone(
    client: FlaskClient, api: Api, who: cast.Sender, sink: HttpSink
) -> None:
    of_account = api("POST", "/v1/webhooks", {"url": "https://example.com/account"}, status=201)
    mine = Api(client, who, domain=True)
    made = mine("POST", "/v1/webhooks", {"url": sink.url + "/hook", "events": ["*"]}, status=201)
    assert made["domains"] == ["shop.test"] and made["events"] == ["*"]
    assert [one["id"] for one in mine("GET", "/v1/webhooks")["data"]] == [made["id"]]
    assert len(api("GET", "/v1/webhooks")["data"]) == 2
    mine("GET", f"/v1/webhooks/{of_account['id']}", status=404)
    refused = mine("POST", "/v1/webhooks", {"url": sink.url + "/x", "events": ["automation.triggered"]}, status=400)
    assert refused["code"] == "invalid_event"


def test_scopes_and_other_peoples_webhooks(client: FlaskClient, api: Api, who: cast.Sender) -> None:
    made = api("POST", "/v1/webhooks", {"url": "https://example.com/x"}, status=201)
    reader = Api(client, who, scopes=["read:webhooks"])
    reader("GET", "/v1/webhooks")
    reader("POST", "/v1/webhooks", {"url": "https://example.com/y"}, status=403)
    Api(client, who, scopes=["send"])("GET", "/v1/webhooks", status=403)
    stranger = Api(client, cast.sender("stranger", "stranger.test"))
    absent = "whk_" + "0" * 26
    for method, tail, body in (
        ("GET", "", None), ("PATCH", "", {"status": "disabled"}), ("DELETE", "", None), ("POST", "/test", {}),
        ("POST", "/rotate-secret", {}), ("GET", "/deliveries", None), ("GET", "/dead-letters", None),
        ("POST", "/replay", {}), ("GET", "/deliveries/0198c3a0-0000-7000-8000-000000000000/attempts", None),
    ):  # fmt: skip
        theirs = stranger(method, f"/v1/webhooks/{made['id']}{tail}", body, status=404)
        nobodys = stranger(method, f"/v1/webhooks/{absent}{tail}", body, status=404)
        assert {**theirs, "request_id": 0} == {**nobodys, "request_id": 0}
    assert stranger("GET", "/v1/webhooks")["data"] == []
    assert api("GET", f"/v1/webhooks/{made['id']}")["status"] == "active"


def test_dead_letters_of_the_whole_account_in_pages(api: Api, who: cast.Sender) -> None:
    hooks = [api("POST", "/v1/webhooks", {"url": f"https://example.com/{n}"}, status=201)["id"] for n in range(2)]
    numbers = [webhooks.find_public(caller=who.owner, hook_id=one, surface="mailersio").id for one in hooks]
    other = webhooks.add(caller=who.owner, domain_id=who.domain.id, event="all", url="https://example.com/octeth")
    for number in (*numbers, other.id):
        models.WebhookDelivery.create(
            uuid=ids.new_uuid(), webhook_id=number, message_id=0, event_id=0, state="dead", created_ms=1, attempts=10
        )
    page = api("GET", "/v1/webhooks/dead-letters?limit=2")
    assert (len(page["data"]), page["has_more"]) == (2, True)
    rest = api("GET", f"/v1/webhooks/dead-letters?limit=2&cursor={page['next_cursor']}")
    found = [*page["data"], *rest["data"]]
    assert [one["url"] for one in found] == [
        "https://example.com/octeth", "https://example.com/1", "https://example.com/0",
    ]  # fmt: skip
    assert [one["webhook_id"] for one in found[1:]] == hooks[::-1]
    api("DELETE", f"/v1/webhooks/{hooks[0]}", status=204)
    assert api("GET", "/v1/webhooks/dead-letters")["data"][-1]["webhook_status"] == "deleted"
