"""`POST /api/v1/emails`: the printed curls, what is refused, and plans."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway import clock, ids
from gateway.services import identity, keys, suppressions
from models.database import in_transaction
from tests import cast
from tests.web.conftest import app, cheap_passwords, client

__all__ = ["app", "cheap_passwords", "client"]
ROUTE = "/api/v1/emails"
SHORT = {"from": "hello@shop.test", "to": "jane@friends.test", "subject": "Test", "text": "Hello"}
LONG = {
    "from": "hello@shop.test",
    "to": "jane@friends.test",
    "subject": "Order Confirmed",
    "html": "<h1>Thanks for your order!</h1><p>We'll ship it soon.</p>",
    "replyTo": "support@shop.test",
    "tags": ["order", "transactional"],
}


@pytest.fixture
def who(app: object) -> cast.Sender:
    return cast.sender()


def _key(who: cast.Sender, **options: Any) -> dict[str, str]:
    options = {"surface": "maillayer"} | options
    made = in_transaction(lambda tx: keys.create_key(tx, account_id=who.owner.account_id, **options))
    return {"Authorization": f"Bearer {made[1]}"}


def test_the_printed_requests(client: FlaskClient, who: cast.Sender) -> None:
    headers = _key(who)
    for body in (SHORT, LONG):
        # curl's -d says that it is a form unless it is told otherwise.
        for kind in ("application/json", "application/x-www-form-urlencoded"):
            answer = client.post(ROUTE, data=json.dumps(body), headers=headers | {"Content-Type": kind})
            found = answer.get_json()
            assert answer.status_code == 202
            assert re.fullmatch(r"[0-9a-f]{24}", found["id"])
            assert found == {
                "id": found["id"], "status": "queued", "from": "hello@shop.test", "to": "jane@friends.test",
                "subject": body["subject"], "createdAt": found["createdAt"],
            }  # fmt: skip
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["createdAt"])
            row = models.Message.select().order_by(models.Message.id.desc()).first()
            assert ids.short_id(row.uuid) == found["id"]
            assert (row.subject, row.from_addr) == (body["subject"], "hello@shop.test")
            assert json.loads(row.tags) == body.get("tags", [])
    assert json.loads(row.headers)["reply_to"] == [["", "support@shop.test"]]


def test_everybody_it_goes_to(client: FlaskClient, who: cast.Sender) -> None:
    body = SHORT | {"to": ["Jane <jane@friends.test>", "joe@friends.test"], "cc": ["c@x.test"], "bcc": ["b@x.test"]}
    found = client.post(ROUTE, json=body, headers=_key(who)).get_json()
    assert found["to"] == ["jane@friends.test", "joe@friends.test"]
    assert {row.rcpt for row in models.Delivery.select()} == {
        "jane@friends.test", "joe@friends.test", "c@x.test", "b@x.test",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message", "field"),
    [
        ({"to": None}, "The 'to' field is required.", "to"),
        ({"from": None}, "The 'from' field is required.", "from"),
        ({"subject": None}, "The 'subject' field is required.", "subject"),
        ({"text": None}, "text: Either 'html' or 'text' is required.", "html"),
        ({"to": "nobody"}, "to: ", "to"),
        ({"to": 7}, "to: ", "to"),
        ({"to": []}, "to", "to"),
        ({"from": "a@shop.test, b@shop.test"}, "from: ", "from"),
        ({"subject": "a\r\nBcc: x@y.test"}, "subject: ", "subject"),
        ({"subject": "x" * 2000}, "subject: ", "subject"),
        ({"cc": "x"}, "cc: ", "cc"),
        ({"tags": [1]}, "tags: ", "tags"),
        ({"to": ["a@x.test"] * 51}, "At most 50", "to"),
    ],
)
def test_refused(client: FlaskClient, who: cast.Sender, changed: dict[str, Any], message: str, field: str) -> None:
    body = {name: value for name, value in (SHORT | changed).items() if value is not None}
    answer = client.post(ROUTE, json=body, headers=_key(who))
    found = answer.get_json()
    assert (answer.status_code, found["error"], found["code"]) == (400, "Validation failed", "invalid_parameter")
    assert [one["field"] for one in found["errors"]] == [field]
    assert message.partition(": ")[2] in found["message"] or message in found["message"]
    assert models.Message.select().count() == 0


def test_who_may_not(client: FlaskClient, who: cast.Sender) -> None:
    headers = _key(who)
    cast.sender("stranger", "strange.test")
    in_transaction(
        lambda tx: suppressions.add(
            tx, account_id=who.owner.account_id, domain_id=0, address="gone@x.test", reason="bounce"
        )
    )
    for more, given, status, code in (
        ({}, {}, 401, "not_authenticated"),
        ({}, {"Authorization": "Bearer ml_live_wrong"}, 401, "not_authenticated"),
        ({}, _key(who, surface="mailersio"), 401, "not_authenticated"),
        ({"from": "a@strange.test"}, headers, 403, "domain_not_verified"),
        ({"from": "a@nowhere.test"}, headers, 403, "domain_not_verified"),
        ({"to": "gone@x.test"}, headers, 403, "recipient_suppressed"),
    ):
        answer = client.post(ROUTE, json=SHORT | more, headers=given)
        found = answer.get_json()
        assert (answer.status_code, found["code"]) == (status, code)
        assert found["error"] and found["message"]
    assert client.post(ROUTE, json=SHORT).get_json()["error"] == "Invalid or revoked API key"
    assert client.post(ROUTE, data="{", headers=headers).status_code == 400
    assert client.put(ROUTE, headers=headers).get_json()["code"] == "method_not_allowed"
    assert models.Message.select().count() == 0


def test_idempotency(client: FlaskClient, who: cast.Sender) -> None:
    headers = _key(who) | {"Idempotency-Key": '"abc"'}
    first = client.post(ROUTE, json=SHORT, headers=headers)
    again = client.post(ROUTE, json=dict(reversed(SHORT.items())), headers=headers)
    assert again.get_json() == first.get_json()
    assert again.headers["Idempotent-Replayed"] == "true"
    other = client.post(ROUTE, json=LONG, headers=headers)
    assert (other.status_code, other.get_json()["code"]) == (422, "idempotency_mismatch")
    assert client.post(ROUTE, json=SHORT, headers=headers | {"Idempotency-Key": ""}).status_code == 400
    assert models.Message.select().count() == 1


def test_a_test_key_sends_nothing(client: FlaskClient, who: cast.Sender) -> None:
    answer = client.post(ROUTE, json=SHORT, headers=_key(who, live=False))
    assert answer.status_code == 202
    assert models.Message.get().live is False
    assert models.Lane.get().route == "test"


def test_a_plan_limits_the_account(client: FlaskClient, app: object) -> None:
    who = cast.sender(plan="Free")
    one, other = _key(who), _key(who)
    first = client.post(ROUTE, json=SHORT, headers=one)
    assert (first.status_code, first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == (
        202, "1", "0",
    )  # fmt: skip
    refused = client.post(ROUTE, json=SHORT, headers=other)
    assert (refused.status_code, refused.get_json()["code"]) == (429, "rate_limited")
    assert refused.headers["Retry-After"] == "1"
    assert (refused.headers["X-RateLimit-Limit"], refused.headers["X-RateLimit-Remaining"]) == ("1", "0")


def test_the_month_of_a_plan(client: FlaskClient, who: cast.Sender) -> None:
    models.Plan.update(emails_month=1).where(models.Plan.name == "Unlimited").execute()
    identity.forget()
    headers = _key(who)
    assert client.post(ROUTE, json=SHORT, headers=headers).status_code == 202
    refused = client.post(ROUTE, json=SHORT, headers=headers)
    assert (refused.status_code, refused.get_json()["code"]) == (429, "quota_reached")
    now = clock.now()
    left = int(refused.headers["Retry-After"])
    assert 0 < left <= (32 - now.day) * 86_400


def test_a_revoked_key_stops(client: FlaskClient, who: cast.Sender) -> None:
    headers = _key(who)
    assert client.post(ROUTE, json=SHORT, headers=headers).status_code == 202
    row = models.ApiKey.get(models.ApiKey.surface == "maillayer")
    keys.revoke(account_id=row.account_id, key_id=row.id)
    identity.forget()
    assert client.post(ROUTE, json=SHORT, headers=headers).status_code == 401
