"""`/v1/campaigns` from the first draft to the report, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway import clock
from gateway.services import (
    analytics_events,
    apis,
    campaign_launches,
    contents,
    deliveries,
    expansions,
    lists,
    segments,
    sending_servers,
    subscribers,
    templates,
)
from gateway.services.subscribers import New
from tests import cast
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.v1_api import Api

__all__ = ["app", "cheap_passwords", "client"]


class World:
    def __init__(self, client: FlaskClient, name: str = "owner", domain: str = "shop.test") -> None:
        self.client = client
        self.who = cast.sender(name, domain)
        self.domain = domain
        self.news = lists.add(caller=self.who.owner, name="News")
        new = [New(f"reader{n}@friends.test", {"city": "Rome" if n % 2 else "Oslo"}) for n in range(4)]
        subscribers.add_many(caller=self.who.owner, list_id=self.news.id, new=new)

    def key(self, *permissions: str) -> dict[str, str]:
        made = apis.add(
            caller=self.who.owner, domain_id=self.who.domain.id, description="campaigns", permissions=permissions
        )
        return {"Authorization": f"Bearer {made.key}"}

    def call(self, method: str, path: str = "", body: Any = None, *, status: int = 200, **key: Any) -> dict[str, Any]:
        answer = self.client.open(
            f"/v1/campaigns{path}", method=method, json=body, headers=key.get("key") or self.key()
        )
        assert answer.status_code == status, answer.get_json()
        return dict(answer.get_json())

    def body(self, **changed: Any) -> dict[str, Any]:
        return {
            "name": "Spring",
            "from": {"email": f"news@{self.domain}", "name": "The Shop"},
            "subject": "Hi from {{ city }}",
            "html": "<p>{{ city }}</p>",
            "list_id": str(self.news.id),
        } | changed


@pytest.fixture
def world(client: FlaskClient) -> World:
    return World(client)


def test_from_the_draft_to_the_report(world: World) -> None:
    made = world.call("POST", body=world.body(tags=["spring"], reply_to="help@shop.test"), status=201)
    assert made["id"].startswith("cmp_") and made["list_id"].startswith("lst_")
    assert (made["status"], made["from"], made["recipients"]) == ("draft", "The Shop <news@shop.test>", None)
    path = f"/{made['id']}"
    changed = world.call("PATCH", path, {"subject": "News for {{ city }}", "reply_to": None})
    assert (changed["subject"], changed["reply_to"], changed["html"]) == (
        "News for {{ city }}",
        [],
        "<p>{{ city }}</p>",
    )
    launched = world.call("POST", f"{path}/launch")
    assert (launched["status"], launched["recipients"]) == ("sending", 4)
    assert world.call("POST", f"{path}/launch", status=409)["code"] == "campaign_state"
    assert world.call("PATCH", path, {"name": "Late"}, status=409)["code"] == "campaign_state"
    assert world.call("POST", f"{path}/pause")["status"] == "paused"
    assert expansions.drain(5) == 0
    assert world.call("POST", f"{path}/resume")["status"] == "sending"
    assert expansions.drain(5) == 4
    while deliveries.drain(0.1):
        pass
    assert deliveries.engine().wait_idle(20)
    deliveries.close()
    models.Campaign.update(due_ms=clock.now_ms()).execute()
    campaign_launches.drain(5)
    report = world.call("GET", f"{path}/report")
    assert (report["status"], report["recipients"], report["sent"], report["pending"]) == ("sent", 4, 4, 0)
    assert (report["delivered"], report["rates"]["delivered"]) == (4, 1.0)
    assert report["by_recipient_domain"] == [{"domain": "friends.test", "delivered": 4}]
    assert [sum(day["delivered"] for day in report[part]) for part in ("by_day", "by_hour")] == [4, 4]
    captured = contents.load(row.content_id for row in models.CapturedMail.select())
    assert sorted(body.partition(b"Subject: ")[2].partition(b"\r\n")[0] for _, body in captured.values()) == [
        b"News for Oslo", b"News for Oslo", b"News for Rome", b"News for Rome",
    ]  # fmt: skip
    assert world.call("DELETE", path)["deleted"] is True
    assert world.call("GET", path, status=404)["code"] == "campaign_not_found"


def test_scheduled_listed_and_canceled(world: World) -> None:
    at = clock.rfc3339(clock.now_ms() + 3_600_000)
    ids = [world.call("POST", body=world.body(scheduled_at=at), status=201)["id"] for _ in range(3)]
    draft = world.call("POST", body=world.body(), status=201)["id"]
    page = world.call("GET", "?limit=2&status=scheduled")
    assert ([one["id"] for one in page["data"]], page["has_more"]) == ([ids[2], ids[1]], True)
    rest = world.call("GET", f"?limit=2&status=scheduled&cursor={page['next_cursor']}")
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([ids[0]], False)
    assert world.call("GET")["data"][0]["id"] == draft
    assert world.call("PATCH", f"/{ids[0]}", {"scheduled_at": None})["status"] == "draft"
    assert world.call("POST", f"/{ids[0]}/launch", {"scheduled_at": at})["scheduled_at"] == at
    assert world.call("POST", f"/{ids[0]}/cancel")["status"] == "canceled"
    assert world.call("GET", "?status=nothing", status=400)["errors"][0]["field"] == "status"


def test_listed_by_name_and_audience(world: World) -> None:
    other = lists.add(caller=world.who.owner, name="Other")
    part = segments.add(caller=world.who.owner, name="S", list_id=world.news.id, conditions={})
    to_part = world.body(name="To Some")
    to_part["segment_id"] = str(part.id)
    del to_part["list_id"]
    bodies = (world.body(name="Frühling I"), world.body(name="FRÜHLING II", list_id=str(other.id)), to_part)
    first, second, third = (world.call("POST", body=body, status=201) for body in bodies)

    def found(query: str) -> list[str]:
        return [one["id"] for one in world.call("GET", query)["data"]]

    assert found("?name=fr%C3%BChling") == [second["id"], first["id"]]
    assert found(f"?name=fr%C3%BChling&list_id={first['list_id']}") == [first["id"]]
    assert found(f"?list_id={second['list_id']}") == [second["id"]]
    assert found(f"?segment_id={third['segment_id']}&status=draft") == [third["id"]]
    page = world.call("GET", "?name=fr%C3%BChling&limit=1")
    assert (page["data"][0]["id"], page["has_more"]) == (second["id"], True)
    assert found(f"?name=fr%C3%BChling&limit=1&cursor={page['next_cursor']}") == [first["id"]]
    absent = world.call("GET", "?list_id=lst_01KAV3R9T7E4Q8N2M6P0S5W1XY", status=404)
    assert absent["errors"][0]["field"] == "list_id"


def test_templates_and_segments(world: World) -> None:
    templates.add(caller=world.who.owner, name="T", subject="To {{ city }}", html="<i>{{ city }}</i>", text=None)
    segment = segments.add(
        caller=world.who.owner, name="Rome", list_id=world.news.id, conditions={"field": "city", "value": "Rome"}
    )
    body = {"name": "Rome", "from": "news@shop.test", "template_id": "T", "segment_id": str(segment.id)}
    made = world.call("POST", body=body, status=201)
    assert made["segment_id"].startswith("seg_") and made["template"].startswith("tpl_")
    assert world.call("POST", f"/{made['id']}/launch")["recipients"] == 2
    expansions.drain(5)
    assert [row.rcpt for row in models.Delivery.select().order_by(models.Delivery.id)] == [
        "reader1@friends.test",
        "reader3@friends.test",
    ]


def test_a_template_that_is_gone_at_the_launch_is_told_as_at_the_draft(world: World) -> None:
    made = templates.add(caller=world.who.owner, name="T", subject="S", html="<i>x</i>", text=None)
    draft = world.call("POST", body=world.body(template="T", html=None, subject=None), status=201)
    templates.delete(caller=world.who.owner, template_id=made.id)
    told = world.call("POST", f"/{draft['id']}/launch", status=404)
    assert (told["code"], [one["field"] for one in told["errors"]]) == ("not_found", ["template"])
    assert world.call("GET", f"/{draft['id']}")["status"] == "draft"


def test_its_message_as_a_whole_went_over_no_provider(world: World) -> None:
    sending_servers.create(
        caller=world.who.owner, name="relay", kind="smtp", config={"host": "relay.example.net"}, credentials={}
    )
    made = world.call("POST", body=world.body(), status=201)
    world.call("POST", f"/{made['id']}/launch")
    (event,) = analytics_events.read(caller=world.who.owner, asked=analytics_events.Asked()).events
    assert (event["type"], event["message"]["provider"]) == ("message.accepted", None)


def test_bad_input_has_a_status_and_names_its_fields(world: World) -> None:
    for changed, status, code, field in (
        ({"html": "{% for %}"}, 400, "invalid_template", "html"),
        ({"subject": "{{ name | shout }}"}, 400, "invalid_template", "subject"),
        ({"subject": None, "html": None}, 400, "invalid_parameter", "subject"),
        ({"list_id": "lst_01KAV3R9T7E4Q8N2M6P0S5W1XY"}, 404, "not_found", "list_id"),
        ({"template": "nothing"}, 404, "not_found", "template"),
        ({"template_id": "tpl_01KAV3R9T7E4Q8N2M6P0S5W1XY", "html": None}, 404, "not_found", "template"),
        ({"template": "nothing", "subject": ""}, 400, "invalid_parameter", "template"),
        ({"scheduled_at": "2020-01-01T00:00:00Z"}, 400, "invalid_parameter", "scheduled_at"),
        ({"scheduled_at": "tomorrow"}, 400, "invalid_parameter", "scheduled_at"),
        ({"from": "a@elsewhere.test"}, 403, "not_allowed", None),
        ({"name": ""}, 400, "invalid_parameter", "name"),
        ({"headers": {"To": "x"}}, 400, "invalid_parameter", "headers"),
    ):
        answer = world.call("POST", body=world.body(**changed), status=status)
        assert answer["code"] == code
        if field is not None:
            assert field in [one["field"] for one in answer["errors"]]
    assert models.Campaign.select().count() == 0
    warned = world.call("POST", body=world.body(colour="red"), status=201)
    assert [one["field"] for one in warned["warnings"]] == ["colour"]
    empty = lists.add(caller=world.who.owner, name="Nobody")
    made = world.call("POST", body=world.body(list_id=str(empty.id)), status=201)
    assert world.call("POST", f"/{made['id']}/launch", status=409)["code"] == "audience_empty"


def test_a_test_key_has_nothing_live_sent(world: World) -> None:
    made = world.call("POST", body=world.body(), status=201)
    path = f"/{made['id']}"
    tester = {"Authorization": f"Bearer {Api(world.client, world.who, live=False).key}"}
    later = {"scheduled_at": clock.rfc3339(clock.now_ms() + clock.DAY_MS)}
    for method, where, body in (
        ("POST", f"{path}/launch", None), ("POST", f"{path}/launch", later), ("PATCH", path, {"name": "Other"}),
        ("POST", f"{path}/cancel", None), ("DELETE", path, None),
    ):  # fmt: skip
        assert world.call(method, where, body, status=403, key=tester)["code"] == "not_allowed"
    assert world.call("GET", path, key=tester)["status"] == "draft"
    assert models.Message.select().count() == 0
    tried = world.call("POST", body=world.body(), status=201, key=tester)
    assert tried["test"] is True
    assert world.call("POST", f"/{tried['id']}/launch", key=tester)["status"] == "sending"


def test_only_keys_that_may(world: World) -> None:
    made = world.call("POST", body=world.body(), status=201, key=world.key("write:campaigns"))
    reader, sender = world.key("read:campaigns"), world.key("send")
    world.call("GET", f"/{made['id']}", key=reader)
    world.call("POST", f"/{made['id']}/launch", status=403, key=reader)
    world.call("GET", status=403, key=sender)
    world.call("GET", key={"Authorization": "Bearer none"}, status=401)
    other = World(world.client, "stranger", "other.test")
    for method, tail in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/report"), ("POST", "/launch")):
        assert other.call(method, f"/{made['id']}{tail}", {}, status=404)["code"] == "campaign_not_found"


def test_a_key_makes_one_campaign_of_a_request_that_is_repeated(world: World) -> None:
    body = world.body(scheduled_at=clock.rfc3339(clock.now_ms() + 3_600_000))
    headers = world.key() | {"Idempotency-Key": "spring"}
    answers = [world.client.post("/v1/campaigns", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert len({answer.get_json()["id"] for answer in answers}) == 1
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true"]
    assert models.Campaign.select().count() == 1
    other = world.client.post("/v1/campaigns", json=body | {"name": "Other"}, headers=headers)
    assert (other.status_code, other.get_json()["code"]) == (422, "idempotency_mismatch")
