"""Names that nothing reads inside objects: told in `warnings`, refused for strict keys, in every resource."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway.services import lists, sending_servers
from tests import cast
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.test_v1_send import GOOD, who
from tests.web.rest.v1_api import Api

__all__ = ["app", "cheap_passwords", "client", "who"]

LETTER = {"from": "hello@shop.test", "subject": "Hi", "text": "Hello"}
EVENT = {"type": "event", "event": "order_paid"}


def _automation(action: dict[str, Any], **trigger: Any) -> dict[str, Any]:
    return {"name": "A", "trigger": EVENT | trigger, "actions": [{"type": "exit"}, action]}


@pytest.fixture
def audience(who: cast.Sender) -> int:
    sending_servers.create(
        caller=who.owner, name="relay", kind="smtp", config={"host": "relay.example.net"}, credentials={}
    )
    return lists.add(caller=who.owner, name="People").id


CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("/v1/send", GOOD | {"routing": {"purpose": "transactional", "fallback": "ses"}}, ["routing.fallback"]),
    ("/v1/send", GOOD | {"from": {"email": "hello@shop.test", "nick": "x"}}, ["from.nick"]),
    ("/v1/send", GOOD | {"to": ["a@x.test", {"email": "b@x.test", "id": 1}]}, ["to.1.id"]),
    (
        "/v1/send",
        GOOD | {"attachments": [{"name": "a.txt", "type": "text/plain", "content": "eA==", "path": "/a"}]},
        ["attachments.0.path"],
    ),
    ("/v1/campaigns", LETTER | {"name": "C", "routing": {"pool": 1}}, ["routing.pool"]),
    ("/v1/automations", _automation({"type": "exit"}, lists=1), ["trigger.lists"]),
    ("/v1/automations", _automation(LETTER | {"type": "send", "delay": 1}), ["actions.1.delay"]),
    (
        "/v1/automations",
        _automation(
            {
                "type": "branch",
                "if": {"sent": "opened"},
                "then": [LETTER | {"type": "send", "routing": {"pool": 1}}],
                "else": [{"type": "exit", "why": ""}],
            }
        ),
        ["actions.1.then.0.routing.pool", "actions.1.else.0.why"],
    ),
    ("/v1/events", {"event": "paid", "subscriber": {"email": "a@x.test", "name": "A"}}, ["subscriber.name"]),
    ("/v1/routing/rules", {"name": "R", "servers": [{"server": "relay", "share": 2}]}, ["servers.0.share"]),
    (
        "/v1/suppressions",
        {"suppressions": [{"email": "a@x.test", "reason": "bounce", "note": 1}]},
        ["suppressions.0.note"],
    ),
]


@pytest.mark.parametrize(("path", "body", "names"), CASES)
def test_told_and_refused(
    client: FlaskClient, who: cast.Sender, audience: int, path: str, body: dict[str, Any], names: list[str]
) -> None:
    if path == "/v1/campaigns":
        body = body | {"list_id": str(audience)}
    answer = Api(client, who).raw("POST", path, body)
    assert answer.status_code in (200, 201, 202), answer.get_data(as_text=True)
    assert [one["field"] for one in answer.get_json()["warnings"]] == names
    before = models.Message.select().count()
    refused = Api(client, who, strict=True)("POST", path, body, status=400)
    assert (refused["code"], [one["field"] for one in refused["errors"]]) == ("unknown_field", names)
    assert models.Message.select().count() == before


def test_what_may_have_any_name_is_no_stranger(client: FlaskClient, who: cast.Sender) -> None:
    body = GOOD | {
        "metadata": {"order": {"id": 1}}, "variables": {"name": "Jane"}, "headers": {"X-Order": "1"},
        "attachments": [{"filename": "a.txt", "content": "eA==", "content_id": "a"}], "routing": {"provider": ""},
    }  # fmt: skip
    assert "warnings" not in Api(client, who, strict=True)("POST", "/v1/send", body, status=202)
