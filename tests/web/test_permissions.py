"""Keys that are limited to some permissions, on the commands and on the end-user routes."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from commands import registry
from gateway import errors
from gateway.services import apis, users
from models.vocabulary import PERMISSIONS
from tests import cast


@pytest.fixture
def who(app: object) -> cast.Sender:
    return cast.sender()


def _command(client: FlaskClient, name: str, key: str, **params: Any) -> Any:
    return client.post("/api.php", json={"Command": name, "APIKey": key, **params}).get_json()


def _account_key(who: cast.Sender, *scopes: str) -> str:
    return str(users.add_key(email=who.owner.email, scopes=scopes)["key"])


def test_every_command_has_a_permission_that_keys_can_carry() -> None:
    for command in registry.all_commands():
        assert command.permission in PERMISSIONS or command.permission == "account", command.name


@pytest.mark.parametrize(
    ("scopes", "name", "allowed"),
    [
        ((), "EmailGateway.GetDomains", True),
        (("read",), "EmailGateway.GetDomains", True),
        (("read:domains",), "EmailGateway.GetDomains", True),
        (("read:events", "send"), "EmailGateway.GetDomains", False),
        (("write",), "EmailGateway.GetDomains", False),
        (("read",), "EmailGateway.AddDomain", False),
        (("write:domains",), "EmailGateway.AddDomain", True),
        (("write:webhooks",), "EmailGateway.AddDomain", False),
    ],
)
def test_an_account_key_does_only_what_it_may(
    client: FlaskClient, who: cast.Sender, scopes: tuple[str, ...], name: str, allowed: bool
) -> None:
    answer = _command(client, name, _account_key(who, *scopes), DomainName="other.example")
    assert (answer["Success"], answer["ErrorCode"]) == ((True, 0) if allowed else (False, 99999))


def _sender_key(who: cast.Sender, *permissions: str) -> str:
    return apis.add(caller=who.owner, domain_id=who.domain.id, description="limited", permissions=permissions).key


SEND = {
    "Subject": "Hi",
    "ContentType": "plain",
    "PlainContent": "Hi",
    "From": {"email": "hello@shop.test", "name": "Shop"},
    "To": [{"email": "jane@friends.test", "name": "Jane"}],
}
HOOK = {"Event": "opened", "WebhookURL": "https://hooks.example.com/o"}


@pytest.mark.parametrize(
    ("permissions", "reached"),
    [
        ((), {"send", "events", "hooks", "hook"}),
        (("send",), {"send"}),
        (("read:events",), {"events"}),
        (("read",), {"events", "hooks"}),
        (("write:webhooks", "read:webhooks"), {"hook", "hooks"}),
    ],
)
def test_a_sender_key_reaches_only_its_routes(
    client: FlaskClient, who: cast.Sender, permissions: tuple[str, ...], reached: set[str]
) -> None:
    headers = {"Authorization": f"Bearer {_sender_key(who, *permissions)}"}
    answers = {
        "send": client.post("/api/v1/email", json=SEND, headers=headers),
        "events": client.get("/api/v1/events", headers=headers),
        "hooks": client.get("/api/v1/webhooks", headers=headers),
        "hook": client.post("/api/v1/webhooks", json=HOOK, headers=headers),
    }
    assert {name for name, answer in answers.items() if answer.status_code == 200} == reached
    for name, answer in answers.items():
        if name not in reached:
            assert (answer.status_code, answer.get_json()["Errors"][0]["Code"]) == (401, 13)


def test_get_apis_shows_the_permissions_and_replacing_keeps_them(client: FlaskClient, who: cast.Sender) -> None:
    key = _account_key(who)
    made = _command(
        client, "EmailGateway.AddAPI", key, DomainID=who.domain.id, Description="limited", Permissions=["send"]
    )
    assert made["APIKey"]["Permissions"] == "send"
    replaced = _command(client, "EmailGateway.ReplaceAPI", key, ApiKeyId=made["NewAPIKeyID"])
    assert replaced["Success"] is True, replaced
    listed = _command(client, "EmailGateway.GetAPIs", key, DomainID=who.domain.id)["APIKeys"]
    assert [row["Permissions"] for row in listed] == ["send"]


def test_an_unknown_permission_is_refused(client: FlaskClient, who: cast.Sender) -> None:
    key = _account_key(who)
    answer = _command(client, "EmailGateway.AddAPI", key, DomainID=who.domain.id, Description="x", Permissions=["fly"])
    assert (answer["ErrorCode"], "fly" in answer["ErrorText"]) == (100010, True)
    with pytest.raises(errors.Invalid):
        _account_key(who, "read:everything")
