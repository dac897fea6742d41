"""AddWebhook, GetWebhooks and DeleteWebhook through `/api.php`."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway.services import domains, identity
from models.database import database
from models.domain import SenderDomain
from tests import cast
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
