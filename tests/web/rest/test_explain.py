"""`GET /v1/messages/{id}/explain` and its twin below `/api/v1`."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from gateway.mail.draft import Mailbox
from gateway.services import apis, messages
from tests import cast
from tests.web.conftest import app, cheap_passwords, client

__all__ = ["app", "cheap_passwords", "client"]
ROUTES = ("/v1/messages/{}/explain", "/api/v1/messages/{}/explain")


@pytest.fixture
def who(app: object) -> cast.Sender:
    return cast.sender()


def _key(who: cast.Sender, *permissions: str) -> dict[str, str]:
    made = apis.add(caller=who.owner, domain_id=who.domain.id, description="explain", permissions=permissions)
    return {"Authorization": f"Bearer {made.key}"}


@pytest.mark.parametrize("route", ROUTES)
def test_a_sentence_and_data(client: FlaskClient, who: cast.Sender, route: str) -> None:
    draft = cast.draft(cc=[Mailbox("carl@friends.test")], tags=["spring"])
    sent = messages.accept(who.caller, draft).message_id
    headers = _key(who)
    answer = client.get(route.format(sent), headers=headers)
    found = answer.get_json()
    assert answer.status_code == 200
    assert found["text"].endswith("of 2 deliveries: 2 waiting for the first attempt.")
    assert (found["message"]["message_id"], found["message"]["tags"]) == (sent, ["spring"])
    assert [one["gate"] for one in found["verdicts"]][:2] == ["auth", "idempotency"]
    assert (found["total_deliveries"], found["states"]) == (2, {"queued": 2})
    assert [one["verdicts"][-1]["gate"] for one in found["deliveries"]] == ["final", "final"]
    assert [one["event"] for one in found["events"]] == ["accepted"]
    assert client.get(route.format(f"<{sent}@shop.test>"), headers=headers).get_json() == found
    name, count = ("recipient", "limit") if route.startswith("/v1") else ("Recipient", "RetrieveCount")
    one = client.get(route.format(sent), headers=headers, query_string={name: "carl@friends.test"}).get_json()
    assert "the delivery to carl@friends.test waits" in one["text"]
    assert client.get(route.format(sent), headers=headers, query_string={count: "0"}).get_json()["deliveries"] == []


def test_refusals_below_v1(client: FlaskClient, who: cast.Sender) -> None:
    route = ROUTES[0].format("0190163d-8694-739b-aea5-966c26f8ad91")
    cases = [
        ({}, route, 401, "not_authenticated"),
        ({"Authorization": "Bearer x"}, route, 401, "not_authenticated"),
        (_key(who, "send"), route, 403, "not_allowed"),
        (_key(who), route, 404, "not_found"),
        (_key(who, "read"), route, 404, "not_found"),
        (_key(who), ROUTES[0].format("x"), 404, "not_found"),
        (_key(who), route + "?limit=x", 400, "invalid_parameter"),
    ]
    for headers, path, status, code in cases:
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (status, code), path
        assert {"error", "message", "code", "request_id"} <= answer.get_json().keys()
    assert client.get(route).get_json()["error"] == "Invalid or revoked API key"
    assert client.post(route, headers=_key(who)).status_code == 405


def test_refusals_below_api_v1(client: FlaskClient, who: cast.Sender) -> None:
    route = ROUTES[1].format("0190163d-8694-739b-aea5-966c26f8ad91")
    cases = [
        ({}, route, 401, 1),
        ({"Authorization": "Bearer x"}, route, 401, 13),
        (_key(who, "send"), route, 401, 13),
        (_key(who), route, 404, 100010),
        (_key(who), route + "?RetrieveCount=x", 422, 100010),
    ]
    for headers, path, status, code in cases:
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.get_json()["Errors"][0]["Code"]) == (status, code), path
    assert client.post(route, headers=_key(who)).get_json()["Errors"][0]["Code"] == 100001
