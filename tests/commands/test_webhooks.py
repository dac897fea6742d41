"""AddWebhook, GetWebhooks and DeleteWebhook through `/api.php`."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway.services import domains, identity
from models.database import database
from models.domain import SenderDomain
from tests import cast
from tests.peers.http_sink import Answer, HttpSink
from tests.web.conftest import Account

URL = "https://yourdomain.com/webhook"


def call(client: FlaskClient, who: Account, name: str, **params: Any) -> dict[str, Any]:
    answer = client.post("/api.php", json={"APIKey": who.api_key, "Command": f"EmailGateway.{name}", **params})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


@pytest.fixture
def domain(owner: Account) -> SenderDomain:
    return domains.add(
        caller=identity.for_account(owner.id), name="example.com", trusted=True, dkim=cast.signing_keys()
    )


def test_the_printed_example_runs(client: FlaskClient, owner: Account, domain: SenderDomain) -> None:
    made = call(client, owner, "AddWebhook", DomainID=str(domain.id), Event="bounce", WebhookURL=URL)
    assert (made["Success"], made["ErrorCode"]) == (True, 0)
    assert isinstance(made["NewWebhookID"], str)
    other = call(client, owner, "AddWebhook", DomainID=domain.id, Event="Opened", WebhookURL="http://8.8.8.8/x")
    found = call(client, owner, "GetWebhooks", DomainID=domain.id)
    assert found["SigningKey"] == domains.signing_key(domain)
    first, second = found["Webhooks"]
    assert (first["WebhookID"], first["URL"], first["Events"]) == (made["NewWebhookID"], URL, ["bounce"])
    assert (first["WebhookURL"], first["Event"], first["Status"]) == (URL, "bounce", "Active")
    assert (first["LastResponseCode"], first["LastResponseAt"], first["LastResponseTryCounter"]) == (None, None, 0)
    assert (second["WebhookID"], second["Events"]) == (other["NewWebhookID"], ["Opened"])


@pytest.mark.parametrize(
    ("params", "codes"),
    [
        ({}, [1, 2, 5]),
        ({"DomainID": "D"}, [2, 5]),
        ({"Event": "open", "WebhookURL": URL}, [1]),
        ({"DomainID": "D", "Event": "nonsense"}, [3, 5]),
        ({"DomainID": "D", "Event": "send", "WebhookURL": URL}, [3]),
        ({"DomainID": "D", "Event": ["open", "nonsense"], "WebhookURL": URL}, [3]),
        ({"DomainID": "D", "Event": "message.delivered", "WebhookURL": URL}, [3]),
        ({"DomainID": "999999", "Event": "open", "WebhookURL": URL}, [4]),
        ({"DomainID": "abc", "Event": "open", "WebhookURL": URL}, [4]),
        ({"DomainID": "D", "Event": "open", "WebhookURL": "ftp://example.com/"}, [6]),
        ({"DomainID": "D", "Event": "open", "WebhookURL": {"a": 1}}, [6]),
        ({"DomainID": "D", "Event": "open", "WebhookURL": "http://" + "a" * 3000}, [6]),
        ({"DomainID": "D", "Event": "open", "WebhookURL": "http://10.0.0.1/"}, [7]),
        ({"DomainID": "D", "Event": "open", "WebhookURL": "http://169.254.169.254/latest"}, [7]),
    ],
)
def test_the_codes_are_lists(
    client: FlaskClient, owner: Account, domain: SenderDomain, params: dict[str, Any], codes: list[int]
) -> None:
    sent = {name: domain.id if value == "D" else value for name, value in params.items()}
    answer = call(client, owner, "AddWebhook", **sent)
    assert (answer["Success"], answer["ErrorCode"]) == (False, codes)
    assert database.execute_sql("SELECT COUNT(*) FROM webhook").fetchone()[0] == 0


def test_numeric_ids(client: FlaskClient, owner: Account, domain: SenderDomain) -> None:
    database.execute_sql("UPDATE account SET options = '{\"numeric_ids\": true}'")
    identity.forget()
    assert isinstance(
        call(client, owner, "AddWebhook", DomainID=domain.id, Event="open", WebhookURL=URL)["NewWebhookID"], int
    )


def test_get_codes(client: FlaskClient, owner: Account, operator: Account, domain: SenderDomain) -> None:
    assert call(client, owner, "GetWebhooks")["ErrorCode"] == 1
    assert call(client, owner, "GetWebhooks", DomainID="x")["ErrorCode"] == 2
    assert call(client, operator, "GetWebhooks", DomainID=domain.id)["ErrorCode"] == 2


def test_delete(client: FlaskClient, owner: Account, operator: Account, domain: SenderDomain) -> None:
    made = call(client, owner, "AddWebhook", DomainID=domain.id, Event="open", WebhookURL=URL)["NewWebhookID"]
    assert call(client, owner, "DeleteWebhook", WebhookID=made)["ErrorCode"] == 1
    assert call(client, owner, "DeleteWebhook", DomainID=domain.id)["ErrorCode"] == 1
    assert call(client, owner, "DeleteWebhook", WebhookID=made, DomainID=10**9)["ErrorCode"] == 2
    assert call(client, operator, "DeleteWebhook", WebhookID=made, DomainID=domain.id)["ErrorCode"] == 2
    assert call(client, owner, "DeleteWebhook", WebhookID="x", DomainID=domain.id)["ErrorCode"] == 4
    domain.status = "suspended"
    domain.save()
    assert call(client, owner, "DeleteWebhook", WebhookID=made, DomainID=domain.id)["ErrorCode"] == 3
    domain.status = "enabled"
    domain.save()
    assert call(client, owner, "DeleteWebhook", WebhookID=made, DomainID=domain.id)["Success"] is True
    assert call(client, owner, "DeleteWebhook", WebhookID=made, DomainID=domain.id)["ErrorCode"] == 4
    assert call(client, owner, "GetWebhooks", DomainID=domain.id)["Webhooks"] == []


def test_several_events_and_a_payload(client: FlaskClient, owner: Account, domain: SenderDomain) -> None:
    for event, payload, shown in (
        (["open", "Click"], None, ["open", "Click"]),
        ("delivered, bounced", None, ["delivered", "bounced"]),
        ("all", "octeth", ["all"]),
        (["message.accepted"], "native", ["message.accepted"]),
    ):
        more = {"Payload": payload} if payload else {}
        made = call(client, owner, "AddWebhook", DomainID=domain.id, Event=event, WebhookURL=URL, **more)
        assert made["Success"] is True
        row = call(client, owner, "GetWebhooks", DomainID=domain.id)["Webhooks"][-1]
        assert (row["Events"], row["Event"], row["Payload"]) == (shown, shown[0], payload or "octeth")
    refused = call(client, owner, "AddWebhook", DomainID=domain.id, Event="notice.*", WebhookURL=URL, Payload="native")
    assert refused["ErrorCode"] == [3]


def test_webhooks_of_a_group_and_of_the_account(client: FlaskClient, owner: Account, domain: SenderDomain) -> None:
    more = {"Event": ["message.*", "notice.*"], "WebhookURL": URL}
    account = call(client, owner, "AddAccountWebhook", **more)
    assert account["Webhook"]["Scope"] == "account"
    assert account["Webhook"]["Payload"] == "native"
    assert account["Webhook"]["Secret"].startswith("whsec_")
    group = call(
        client, owner, "AddAccountWebhook", DomainIDs=[str(domain.id)], Payload="octeth", Event="all", WebhookURL=URL
    )
    assert (group["Webhook"]["Scope"], group["Webhook"]["DomainIDs"]) == ("group", [str(domain.id)])
    found = call(client, owner, "GetAccountWebhooks")["Webhooks"]
    assert [row["WebhookID"] for row in found] == [account["NewWebhookID"], group["NewWebhookID"]]
    assert call(client, owner, "GetWebhooks", DomainID=domain.id)["Webhooks"] == []
    assert call(client, owner, "DeleteAccountWebhook", WebhookID=group["NewWebhookID"])["Success"] is True
    assert call(client, owner, "DeleteAccountWebhook", WebhookID=group["NewWebhookID"])["ErrorCode"] == 2


def test_foreign_domains_make_no_group(
    client: FlaskClient, owner: Account, operator: Account, domain: SenderDomain
) -> None:
    for ids in ([domain.id], f"{domain.id},987654", ["x"], {"a": 1}):
        answer = call(client, operator, "AddAccountWebhook", DomainIDs=ids, Event="all", WebhookURL=URL)
        assert answer["ErrorCode"] == 5, ids


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"WebhookURL": URL}, 1),
        ({"Event": "sneezed", "WebhookURL": URL}, 2),
        ({"Event": "message.delivered", "Payload": "octeth", "WebhookURL": URL}, 2),
        ({"Event": "all"}, 3),
        ({"Event": "all", "WebhookURL": "ftp://example.com/"}, 4),
        ({"Event": "all", "WebhookURL": "http://10.0.0.1/"}, 6),
        ({"Event": "all", "WebhookURL": URL, "Payload": "smoke"}, 100010),
    ],
)
def test_codes_of_account_webhooks(client: FlaskClient, owner: Account, params: dict[str, Any], code: int) -> None:
    assert call(client, owner, "AddAccountWebhook", **params)["ErrorCode"] == code


def test_the_plan_limits_them(client: FlaskClient, owner: Account) -> None:
    plan = models.Plan.get_by_id(models.Account.get_by_id(owner.id).plan_id)
    before, plan.max_webhooks = plan.max_webhooks, 1
    plan.save()
    identity.forget()
    try:
        assert call(client, owner, "AddAccountWebhook", Event="all", WebhookURL=URL)["Success"] is True
        assert call(client, owner, "AddAccountWebhook", Event="all", WebhookURL=URL)["ErrorCode"] == 7
    finally:
        plan.max_webhooks = before
        plan.save()
        identity.forget()


def test_the_life_of_a_webhook(client: FlaskClient, owner: Account, domain: SenderDomain) -> None:
    with HttpSink() as sink:
        made = call(client, owner, "AddWebhook", DomainID=domain.id, Event="open", WebhookURL=sink.url)["NewWebhookID"]
        sink.script("/", Answer(500, b"broken"))
        tested = call(client, owner, "TestWebhook", WebhookID=made)
        assert (tested["Told"], tested["ResponseCode"], tested["ResponseBody"]) == (False, 500, "broken")
        assert call(client, owner, "TestWebhook", WebhookID=made, Event="click")["Told"] is True
    rows = call(client, owner, "GetWebhookDeliveries", WebhookID=made)["WebhookDeliveries"]
    assert [(row["State"], row["Type"]) for row in rows] == [("told", "test"), ("dead", "test")]
    assert rows[1]["WebhookDeliveryID"] == tested["WebhookDeliveryID"]
    dead = call(client, owner, "GetWebhookDeliveries", WebhookID=made, State="dead", StartDate="2020-01-01")
    assert dead["WebhookDeliveries"] == rows[1:]
    for more in ({}, {"DomainID": domain.id}):
        (letter,) = call(client, owner, "GetWebhookDeadLetters", **more)["DeadLetters"]
        assert letter == rows[1] | {"WebhookID": str(made), "URL": letter["URL"], "Status": "Active"}
    assert call(client, owner, "GetWebhookDeadLetters", DomainID=999_999)["ErrorCode"] == 1
    assert call(client, owner, "GetWebhookDeadLetters", Before=rows[1]["WebhookDeliveryID"])["DeadLetters"] == []
    (attempt,) = call(client, owner, "GetWebhookAttempts", WebhookDeliveryID=rows[1]["WebhookDeliveryID"])["Attempts"]
    assert (attempt["ResponseCode"], attempt["ResponseBody"]) == (500, "broken")
    stats = call(client, owner, "GetWebhookStats", WebhookID=made)
    assert stats["SuccessRate"] == 50.0
    assert (stats["Days"][0]["Calls"], stats["Days"][0]["Refused"]) == (2, 1)

    before = call(client, owner, "GetWebhooks", DomainID=domain.id)["Webhooks"][0]["Secret"]
    rotated = call(client, owner, "RotateWebhookSecret", WebhookID=made, OverlapHours=2)["Webhook"]
    assert rotated["Secret"] != before
    assert rotated["OldSecretUntil"] is not None
    changed = call(client, owner, "UpdateWebhook", WebhookID=made, Event=["click"], Status="Disabled")["Webhook"]
    assert (changed["Status"], changed["Events"], changed["URL"]) == ("Disabled", ["click"], sink.url)
    assert call(client, owner, "ReplayWebhookDeliveries", WebhookID=made)["ErrorCode"] == 4
    assert call(client, owner, "UpdateWebhook", WebhookID=made, Status="Active")["Webhook"]["Status"] == "Active"
    replayed = call(client, owner, "ReplayWebhookDeliveries", WebhookID=made)
    assert (replayed["Replayed"], replayed["Done"]) == (0, True)


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("UpdateWebhook", {}, 1),
        ("UpdateWebhook", {"WebhookID": "99999"}, 2),
        ("UpdateWebhook", {"WebhookID": "W", "Event": "message.opened"}, 3),
        ("UpdateWebhook", {"WebhookID": "W", "WebhookURL": "ftp://example.com/"}, 4),
        ("UpdateWebhook", {"WebhookID": "W", "WebhookURL": "http://10.0.0.1/"}, 5),
        ("RotateWebhookSecret", {}, 1),
        ("RotateWebhookSecret", {"WebhookID": "x"}, 2),
        ("RotateWebhookSecret", {"WebhookID": "W", "OverlapHours": 1000}, 100010),
        ("TestWebhook", {}, 1),
        ("TestWebhook", {"WebhookID": "99999"}, 2),
        ("TestWebhook", {"WebhookID": "W", "Event": "message.opened"}, 3),
        ("GetWebhookDeliveries", {}, 1),
        ("GetWebhookDeliveries", {"WebhookID": "99999"}, 2),
        ("GetWebhookDeliveries", {"WebhookID": "W", "State": "lost"}, 100010),
        ("GetWebhookAttempts", {}, 1),
        ("GetWebhookAttempts", {"WebhookDeliveryID": "99999"}, 2),
        ("ReplayWebhookDeliveries", {}, 1),
        ("ReplayWebhookDeliveries", {"WebhookDeliveryID": "99999"}, 2),
        ("ReplayWebhookDeliveries", {"WebhookID": "99999"}, 2),
        ("ReplayWebhookDeliveries", {"WebhookID": "W", "Event": "message.opened"}, 3),
        ("GetWebhookStats", {}, 1),
        ("GetWebhookStats", {"WebhookID": "99999"}, 2),
        ("DeleteAccountWebhook", {}, 1),
    ],
)
def test_codes_of_changes(
    client: FlaskClient, owner: Account, domain: SenderDomain, name: str, params: dict[str, Any], code: int
) -> None:
    made = call(client, owner, "AddWebhook", DomainID=domain.id, Event="open", WebhookURL=URL)["NewWebhookID"]
    sent = {key: made if value == "W" else value for key, value in params.items()}
    assert call(client, owner, name, **sent)["ErrorCode"] == code
