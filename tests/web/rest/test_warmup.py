"""`/v1/warmup`."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from gateway.services import mailboxes, warmups
from tests import cast
from tests.web.rest.mailmark_world import Api, key


@pytest.fixture
def sender(client: FlaskClient) -> cast.Sender:
    found = cast.sender()
    for name in ("hello", "sales"):
        mailboxes.add(caller=found.caller, address=name)
    return found


@pytest.fixture
def api(client: FlaskClient, sender: cast.Sender) -> Api:
    return Api(client, key(sender))


def test_enrol_show_end(api: Api, client: FlaskClient, sender: cast.Sender) -> None:
    assert api.get("/warmup") == []
    made = api("POST", "/warmup", {"mailbox": "hello@shop.test", "dailyLimit": 5, "goal": 50})
    assert made.status_code == 201
    body = made.get_json()
    assert (body["mailbox"], body["dailyLimit"], body["goal"], body["status"]) == ("hello@shop.test", 5, 50, "active")
    assert (body["healthScore"], body["inboxRate"]) == (None, None)
    assert body["inboxRateBasis"].startswith("unknown")
    assert api("POST", "/warmup", {"mailbox": "hello"}).status_code == 409
    warmups.add(caller=sender.caller, address="sales")
    assert [one["mailbox"] for one in api.get("/warmup")] == ["hello@shop.test", "sales@shop.test"]
    for query in ("sales", "SALES@shop.test"):
        assert [one["mailbox"] for one in api.get(f"/warmup?mailbox={query}")] == ["sales@shop.test"]
    assert api("GET", "/warmup?mailbox=nobody").status_code == 404
    org = Api(client, key(sender, org_wide=True))
    assert len(org.get("/warmup")) == 2
    assert org("GET", "/warmup?mailbox=nobody@shop.test").status_code == 404
    assert org("POST", "/warmup", {"mailbox": "hello"}).status_code == 403
    assert api("DELETE", "/warmup/hello").status_code == 200
    assert api("DELETE", "/warmup/hello").status_code == 404
    assert api("DELETE", "/mailboxes/sales").status_code == 200
    (left,) = api.get("/warmup")
    assert (left["mailbox"], left["status"], left["dailyLimit"]) == ("hello@shop.test", "completed", None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "mailbox"),
        ({"mailbox": "hello", "goal": 0}, "goal"),
        ({"mailbox": "hello", "dailyLimit": 60, "goal": 50}, "goal"),
        ({"mailbox": "hello", "dailyLimit": "many"}, "dailyLimit"),
    ],
)
def test_bad_wishes_are_400(api: Api, body: dict[str, object], field: str) -> None:
    answer = api("POST", "/warmup", body)
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (400, field)
