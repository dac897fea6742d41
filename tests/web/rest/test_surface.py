"""What every operation below `/v1` does before its handler: the key, its scopes, fields that nothing reads."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from gateway.services import keys, messages
from models.database import in_transaction
from tests import cast
from tests.web.conftest import app, cheap_passwords, client

__all__ = ["app", "cheap_passwords", "client"]


@pytest.fixture
def who(app: object) -> cast.Sender:
    return cast.sender()


def _bearer(who: cast.Sender, *, domain: bool = True, **options: object) -> dict[str, str]:
    domain_id = who.domain.id if domain else None
    made = in_transaction(
        lambda tx: keys.create_key(tx, account_id=who.owner.account_id, domain_id=domain_id, **options)  # type: ignore[arg-type]
    )
    return {"Authorization": f"Bearer {made[1]}"}


def test_keys_of_a_domain_and_of_the_account(client: FlaskClient, who: cast.Sender) -> None:
    sent = messages.accept(who.caller, cast.draft()).message_id
    path = f"/v1/messages/{sent}/explain"
    for headers, status in (
        (_bearer(who, surface="mailersio"), 200),
        (_bearer(who, surface="mailersio", domain=False), 200),
        (_bearer(who, surface="mailmark"), 200),
        (_bearer(who, surface="mailmark", domain=False), 403),
        (_bearer(who, surface="octeth"), 200),
        (_bearer(who, surface="mailersio", scopes=["read:messages"]), 200),
        (_bearer(who, surface="mailersio", scopes=["send"]), 403),
        (_bearer(who, surface="mailerlogic"), 401),
        (_bearer(who, surface="maillayer"), 401),
    ):
        assert client.get(path, headers=headers).status_code == status, headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/messages//explain"), ("GET", "/v1//messages"), ("POST", "/v1//send"), ("GET", "/v1/lists//"),
        ("DELETE", "/v1/lists//subscribers/x@y.test"), ("GET", "/v1/messages///explain"),
        ("POST", "/v1/campaigns//launch"),
    ],
)  # fmt: skip
def test_an_empty_part_of_a_path_names_nothing(client: FlaskClient, who: cast.Sender, method: str, path: str) -> None:
    answer = client.open(path, method=method, json={}, headers=_bearer(who, surface="mailersio"))
    assert (answer.status_code, answer.mimetype) == (404, "application/json")
    assert answer.get_json()["code"] == "not_found" and answer.get_json()["request_id"]


def test_a_base_url_that_ends_in_a_slash_is_no_fault(client: FlaskClient, who: cast.Sender) -> None:
    for path in ("//v1/messages", "///v1/messages", "/v1/messages/"):
        headers = _bearer(who, surface="mailersio")
        answer = client.get("/", headers=headers, environ_overrides={"PATH_INFO": path})
        assert answer.status_code == 200 and answer.get_json()["data"] == [], path


def test_unknown_fields_are_told_or_refused(client: FlaskClient, who: cast.Sender) -> None:
    sent = messages.accept(who.caller, cast.draft()).message_id
    path = f"/v1/messages/{sent}/explain?limit=1&colour=red"
    told = client.get(path, headers=_bearer(who, surface="mailersio"))
    assert told.status_code == 200
    assert [one["field"] for one in told.get_json()["warnings"]] == ["colour"]
    refused = client.get(path, headers=_bearer(who, surface="mailersio", strict=True))
    assert (refused.status_code, refused.get_json()["code"]) == (400, "unknown_field")
    assert [one["field"] for one in refused.get_json()["errors"]] == ["colour"]
    wrong = client.get(path + "&offset=x", headers=_bearer(who, surface="mailersio")).get_json()
    assert (wrong["code"], wrong["errors"]) == (
        "invalid_parameter", [{"field": "offset", "message": "Should be a whole number."}],
    )  # fmt: skip
