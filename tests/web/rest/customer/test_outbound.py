"""What MailerLogic has below `/api/v1` itself: the same operations, on paths that other documents have too."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway.services import apis
from models.vocabulary import EventKind
from tests import cast
from tests.gateway.services.webhook_world import happen, message
from tests.web.rest.customer.conftest import Api, app, cheap_passwords, client, key_of

__all__ = ["app", "cheap_passwords", "client"]
EMAIL = {"from": "hello@shop.test", "to": "jane@friends.test", "subject": "Hi", "text": "Hello", "tag": "welcome"}
HOW = [("X-API-Key", "{}"), ("Authorization", "Bearer {}")]


def ask(client: FlaskClient, method: str, path: str, headers: dict[str, str], body: Any = None) -> tuple[int, Any]:
    answer = client.open("/api/v1" + path, method=method, json=body, headers=headers)
    return answer.status_code, answer.get_json()


@pytest.mark.parametrize(("name", "form"), HOW)
def test_the_operations_of_the_customer(client: FlaskClient, api: Api, name: str, form: str) -> None:
    headers = {name: form.format(api.key)}
    status, one = ask(client, "POST", "/send", headers, EMAIL)
    assert (status, one["status"], one["tag"]) == (202, "queued", "welcome")
    status, some = ask(client, "POST", "/send", headers, {"emails": [EMAIL, EMAIL | {"to": "x"}]})
    assert (status, some["accepted"], some["failed"]) == (202, 1, 1)
    status, told = ask(client, "GET", "/stats/outbound/sends", headers)
    assert (status, told) == (200, api("GET", "/statistics?group_by=day"))
    assert told["totals"]["sent"] == 2
    status, told = ask(client, "GET", "/stats/outbound/sends?group_by=domain", headers)
    assert [group["name"] for group in told["groups"]] == ["shop.test"]
    assert ask(client, "POST", "/send", headers, {})[0] == 400


@pytest.mark.parametrize(("name", "form"), HOW)
def test_events_on_paths_that_others_have(
    client: FlaskClient, api: Api, who: cast.Sender, name: str, form: str
) -> None:
    headers = {name: form.format(api.key)}
    number, uuid = message(who)
    message(who)
    happen(who, number, EventKind.OPENED, data={"verdict": "human"})
    for path in ("/events?event=email.opened", f"/emails/{uuid}/events?event=email.opened"):
        status, told = ask(client, "GET", path, headers)
        assert (status, [(one["event"], one["email_id"]) for one in told["events"]]) == (200, [("email.opened", uuid)])
    assert ask(client, "GET", f"/emails/{uuid}/events", headers)[1] == api("GET", f"/events?email_id={uuid}")
    assert ask(client, "GET", "/events?event=email.eaten", headers)[1]["error"] == "Validation failed"
    stranger = {name: form.format(key_of(cast.sender("stranger", "other.test")))}
    assert ask(client, "GET", f"/emails/{uuid}/events", stranger)[0] == 404
    assert ask(client, "GET", "/events", stranger)[1]["events"] == []
    assert ask(client, "GET", "/events", {name: form.format(key_of(who, scopes=["send"]))})[0] == 403


def test_the_keys_surface_decides(client: FlaskClient, api: Api, who: cast.Sender) -> None:
    number, uuid = message(who)
    happen(who, number, EventKind.DELIVERED)
    maillayer = {"Authorization": f"Bearer {key_of(who, surface='maillayer')}"}
    status, told = ask(client, "GET", f"/emails/{uuid}/events", maillayer)
    assert (status, [one["event"] for one in told["data"]]) == (200, ["email.sent", "email.delivered"])
    sender = apis.add(caller=who.owner, domain_id=who.domain.id, description="shop").key
    status, told = ask(client, "GET", "/events", {"Authorization": f"Bearer {sender}"})
    assert (status, told["TotalRecords"]) == (200, 2)
    assert ask(client, "GET", "/events", {"X-API-Key": "nobody"})[0] == 401
    assert ask(client, "GET", f"/emails/{uuid}/events", {"X-API-Key": "nobody"})[0] == 401
    assert ask(client, "POST", "/send", maillayer, EMAIL)[0] == 401
