"""`/v1/automations`: made, triggered and watched over HTTP, and what they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway import ids
from gateway.services import (
    apis,
    automation_runs,
    automation_work,
    automations,
    lists,
    subscribers,
    webhook_calls,
    webhooks,
)
from models.vocabulary import NoticeKind
from tests import cast
from tests.peers.http_sink import HttpSink
from tests.web.conftest import app, cheap_passwords, client

__all__ = ["app", "cheap_passwords", "client"]

SEND = {"type": "send", "from": "hello@shop.test", "subject": "Hi {{ plan }}", "text": "{{ plan }}"}
GIVEN = {"name": "Welcome", "trigger": {"type": "event", "event": "signed_up"}, "actions": [SEND]}


class World:
    def __init__(self, client: FlaskClient, name: str = "owner", domain: str = "shop.test") -> None:
        self.client = client
        self.who = cast.sender(name, domain)
        self.news = lists.add(caller=self.who.owner, name="News")
        subscribers.add(caller=self.who.owner, list_id=self.news.id, email="jane@friends.test")

    def key(self, *permissions: str) -> dict[str, str]:
        made = apis.add(
            caller=self.who.owner, domain_id=self.who.domain.id, description="automations", permissions=permissions
        )
        return {"Authorization": f"Bearer {made.key}"}

    def call(self, method: str, path: str = "/automations", body: Any = None, *, status: int = 200, **key: Any) -> Any:
        answer = self.client.open(f"/v1{path}", method=method, json=body, headers=key.get("key") or self.key())
        assert answer.status_code == status, answer.get_json()
        return answer.get_json()


@pytest.fixture
def world(client: FlaskClient) -> World:
    return World(client)


def test_made_triggered_and_inspected(world: World) -> None:
    made = world.call("POST", body=GIVEN, status=201)
    assert (made["status"], made["reentry"], made["actions"]) == ("active", "once", [SEND])
    path = f"/automations/{made['id']}"
    run = world.call(
        "POST", f"{path}/trigger", {"subscriber": "jane@friends.test", "data": {"plan": "gold"}}, status=202
    )
    assert run["id"].startswith("run_") and run["status"] == "running"
    assert (
        world.call("POST", f"{path}/trigger", {"subscriber": "jane@friends.test"}, status=409)["code"] == "no_reentry"
    )
    automation_work.drain(5)
    page = world.call("GET", f"{path}/runs")
    (told,) = page["data"]
    assert (told["status"], told["outcomes"][0]["outcome"]) == ("completed", "sent")
    assert told["outcomes"][0]["message"].startswith("msg_")
    assert models.Message.get().subject == "Hi gold"
    assert world.call("GET", f"{path}/runs/{run['id']}")["id"] == run["id"]
    assert world.call("POST", f"{path}/runs/{run['id']}/cancel", status=409)["code"] == "run_ended"
    assert world.call("GET", f"{path}/runs?status=running")["data"] == []
    assert len(world.call("GET", f"{path}/runs?subscriber=jane@friends.test")["data"]) == 1
    assert models.Notice.select().where(models.Notice.kind == NoticeKind.AUTOMATION_TRIGGERED).count() == 1


def test_listed_by_the_type_of_their_trigger(world: World) -> None:
    daily = {"type": "time", "every": "day", "list_id": str(world.news.id)}
    by_event, by_time, again = (
        world.call("POST", body=GIVEN | {"trigger": trigger}, status=201)["id"]
        for trigger in (GIVEN["trigger"], daily, GIVEN["trigger"])
    )
    for word, wanted in (("event", [again, by_event]), ("time", [by_time]), ("condition", [])):
        assert [one["id"] for one in world.call("GET", f"/automations?trigger_type={word}")["data"]] == wanted
    page = world.call("GET", "/automations?trigger_type=event&limit=1")
    assert (page["data"][0]["id"], page["has_more"]) == (again, True)
    rest = world.call("GET", f"/automations?trigger_type=event&limit=1&cursor={page['next_cursor']}")
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([by_event], False)
    refused = world.call("GET", "/automations?trigger_type=moon", status=400)
    assert refused["errors"][0]["field"] == "trigger_type"


def test_runs_say_who_and_the_words_of_their_actions(world: World) -> None:
    actions = [
        {"type": "set_field", "field": "plan", "value": "gold"}, {"type": "remove_field", "field": "plan"},
        {"type": "add_tag", "tag": "a"}, {"type": "remove_tag", "tag": "a"}, {"type": "delay", "duration": "1s"},
    ]  # fmt: skip
    path = f"/automations/{world.call('POST', body=GIVEN | {'actions': actions}, status=201)['id']}"
    jane = subscribers.find(caller=world.who.owner, list_id=world.news.id, email="jane@friends.test")
    public = ids.numbered("sub", jane.created_ms, jane.id)
    for who, number in (({"id": public}, public), ("nobody@friends.test", None)):
        run = world.call("POST", f"{path}/trigger", {"subscriber": who}, status=202)
        assert run["subscriber"]["id"] == number
        automation_work.drain(5)
        told = world.call("GET", f"{path}/runs/{run['id']}")
        assert [one["action"] for one in told["outcomes"]] == [
            "set_field", "remove_field", "add_tag", "remove_tag", "wait",
        ]  # fmt: skip
    assert [one["subscriber"]["id"] for one in world.call("GET", f"{path}/runs")["data"]] == [None, public]
    subscribers.remove(caller=world.who.owner, subscriber=jane)
    assert [one["subscriber"]["id"] for one in world.call("GET", f"{path}/runs")["data"]] == [None, None]


def test_events_of_ones_own_and_pages(world: World) -> None:
    made = [world.call("POST", body=GIVEN | {"name": f"A{n}"}, status=201)["id"] for n in range(3)]
    told = world.call(
        "POST", "/events", {"event": "signed_up", "subscriber": {"email": "jane@friends.test"}}, status=202
    )
    assert told == {"event": "signed_up", "automations": 3}
    automation_work.drain(5)
    assert models.AutomationRun.select().count() == 3
    page = world.call("GET", "/automations?limit=2")
    rest = world.call("GET", f"/automations?limit=2&cursor={page['next_cursor']}")
    assert [one["id"] for one in (*page["data"], *rest["data"])] == made[::-1]
    assert world.call("POST", f"/automations/{made[0]}/pause")["status"] == "paused"
    assert [one["id"] for one in world.call("GET", "/automations?status=paused")["data"]] == [made[0]]
    refused = world.call("POST", f"/automations/{made[0]}/trigger", {"subscriber": "x@friends.test"}, status=409)
    assert refused["code"] == "automation_paused"
    assert world.call("POST", f"/automations/{made[0]}/resume")["status"] == "active"
    changed = world.call("PATCH", f"/automations/{made[0]}", {"reentry": {"after_days": 7}, "actions": [SEND, SEND]})
    assert (changed["reentry"], changed["version"]) == ({"after_days": 7}, 2)
    assert world.call("DELETE", f"/automations/{made[0]}")["deleted"] is True
    assert world.call("GET", f"/automations/{made[0]}", status=404)["code"] == "automation_not_found"


def test_bad_input_has_a_status_and_names_its_fields(world: World) -> None:
    for changed, field in (
        ({"actions": [{"type": "send", "from": "hello@shop.test"}]}, "actions.0.subject"),
        ({"trigger": {"type": "moon"}}, "trigger.type"),
        ({"name": ""}, "name"),
        ({"reentry": "never"}, "reentry"),
    ):
        answer = world.call("POST", body=GIVEN | changed, status=400)
        assert (answer["code"], answer["errors"][0]["field"]) == ("invalid_parameter", field)
    assert world.call("POST", body={"name": "x"}, status=400)["errors"]
    elsewhere = GIVEN | {"actions": [SEND | {"from": "a@elsewhere.test"}]}
    assert world.call("POST", body=elsewhere, status=403)["code"] == "not_allowed"
    made = world.call("POST", body=GIVEN, status=201)
    path = f"/automations/{made['id']}/trigger"
    assert world.call("POST", path, {}, status=400)["errors"][0]["field"] == "subscriber"
    assert world.call("POST", path, {"subscriber": "nobody"}, status=404)
    assert world.call("POST", path, {"subscriber": "a@b.test", "data": [1]}, status=400)["errors"][0]["field"] == "data"
    assert models.AutomationRun.select().count() == 0


def test_only_keys_that_may(world: World) -> None:
    made = world.call("POST", body=GIVEN, status=201, key=world.key("write:automations"))
    path = f"/automations/{made['id']}"
    world.call("GET", path, key=world.key("read:automations"))
    world.call("POST", f"{path}/pause", status=403, key=world.key("read:automations"))
    world.call("GET", path, status=403, key=world.key("send", "read:campaigns"))
    other = World(world.client, "stranger", "other.test")
    for method, tail in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/runs"), ("POST", "/pause")):
        assert other.call(method, f"{path}{tail}", {}, status=404)["code"] == "automation_not_found"
    assert (
        other.call("POST", f"{path}/trigger", {"subscriber": "a@b.test"}, status=404)["code"] == "automation_not_found"
    )


def test_webhooks_are_told_of_each_trigger(world: World) -> None:
    with HttpSink() as sink:
        webhook_calls.forget()
        webhooks.add(caller=world.who.owner, event="automation.triggered", url=sink.url, surface="mailersio")
        made = automations.add(caller=world.who.owner, given=GIVEN)
        run = automation_runs.trigger(caller=world.who.owner, automation=made, subscriber="jane@friends.test")
        webhook_calls.drain(3)
        (call,) = sink.requests
    told = json.loads(call.body)
    assert told["type"] == "automation.triggered"
    assert (told["automation"]["id"], told["automation"]["run_id"]) == (made.public_id, run.public_id)
    assert told["subscriber"] == {"email": "jane@friends.test"}


def test_a_key_makes_one_run_of_a_trigger_that_is_repeated(world: World) -> None:
    made = world.call("POST", body=GIVEN | {"reentry": "always"}, status=201)
    headers = world.key() | {"Idempotency-Key": "a"}
    path, body = f"/automations/{made['id']}/trigger", {"subscriber": "jane@friends.test"}
    runs = [world.call("POST", path, body, status=202, key=headers)["id"] for _ in range(2)]
    assert runs[0] == runs[1]
    event = {"event": "signed_up", "subscriber": "jane@friends.test"}
    assert [world.call("POST", "/events", event, status=202, key=headers)["automations"] for _ in range(2)] == [1, 1]
    assert models.AutomationSignal.select().count() == 1
    assert models.AutomationRun.select().count() == 1
