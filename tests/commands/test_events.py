"""GetEvents through `/api.php`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway import clock
from gateway.services import domains, identity, ledger, messages
from gateway.services.ledger import Fact
from models import database as db
from models.domain import SenderDomain
from models.vocabulary import EventKind
from tests import cast
from tests.web.conftest import Account


def call(client: FlaskClient, who: Account, **params: Any) -> dict[str, Any]:
    answer = client.post("/api.php", data={"APIKey": who.api_key, "Command": "EmailGateway.GetEvents", **params})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


@pytest.fixture
def domain(owner: Account) -> SenderDomain:
    ledger.forget_words()
    return domains.add(caller=identity.for_account(owner.id), name="shop.test", trusted=True, dkim=cast.signing_keys())


@pytest.fixture
def uuid(owner: Account, domain: SenderDomain) -> str:
    caller = replace(identity.for_account(owner.id), domain_id=domain.id, surface="octeth", defaults={"ListID": "7"})
    uuid = messages.accept(caller, cast.draft(subject="Welcome", tags=["spring"], defaults={"ListID": "7"})).message_id
    message_id = db.rows("SELECT MAX(id) FROM message")[0][0]
    fact = Fact(
        owner.id, domain.id, EventKind.BOUNCED, clock.now_ms(), message_id, rcpt="jane@friends.test",
        mx="mx1.friends.test", reply="550 5.1.1 nobody here",
        data={"code": 550, "enhanced": "5.1.1", "reason": "550 5.1.1 nobody here", "transport": "smarthost"},
    )  # fmt: skip
    db.in_transaction(lambda tx: ledger.record(tx, [fact]))
    return uuid


def test_the_documents_keys(client: FlaskClient, owner: Account, domain: SenderDomain, uuid: str) -> None:
    answer = call(client, owner, DomainID=domain.id, StartFrom=0, RetrieveCount=50)
    assert (answer["Success"], answer["ErrorCode"], answer["TotalRecords"]) == (True, 0, 2)
    bounce, accepted = answer["Events"]
    assert bounce["event_type"] == bounce["EventType"] == "bounce"
    assert bounce["Event"] == "bounced"
    assert bounce["timestamp"].endswith("Z")
    assert bounce["message"]["headers"]["subject"] == "Welcome"
    assert bounce["MessageId"] == uuid
    assert bounce["Recipient"] == "jane@friends.test"
    assert bounce["LogLevel"] == "error"
    assert bounce["Reason"] == "550 5.1.1 nobody here"
    assert bounce["Details"]["Code"] == 550
    assert bounce["Message"]["Headers"]["To"] == [["Jane Doe", "jane@friends.test"]]
    assert bounce["Message"]["Transport"] == "smarthost"
    assert bounce["Tags"] == ["spring"]
    assert bounce["ListID"] == "7"
    assert accepted["event_type"] == "accepted"
    assert isinstance(bounce["LoggedAt"], int)
    assert "Partial" not in answer


def test_filters(client: FlaskClient, owner: Account, domain: SenderDomain, uuid: str) -> None:
    page = {"DomainID": domain.id, "StartFrom": "0", "RetrieveCount": "10"}
    today = clock.sql_text(clock.now_ms())[:10]
    assert call(client, owner, **page, Event="bounce", Query="subject:welcome response:550")["TotalRecords"] == 1
    assert call(client, owner, **page, StartDate=today, EndDate=today)["TotalRecords"] == 2
    assert call(client, owner, **page, EndDate="2001-01-01")["TotalRecords"] == 0
    assert call(client, owner, **page, Query="", Event="")["TotalRecords"] == 2
    assert len(call(client, owner, **(page | {"RetrieveCount": 1000}))["Events"]) == 2


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, 1),
        ({"DomainID": "D"}, 4),
        ({"DomainID": "D", "StartFrom": 0}, 5),
        ({"DomainID": "D", "RetrieveCount": 5}, 4),
        ({"DomainID": "D", "StartFrom": "x", "RetrieveCount": 5}, 4),
        ({"DomainID": "D", "StartFrom": 0, "RetrieveCount": "many"}, 5),
        ({"DomainID": "0", "StartFrom": 0, "RetrieveCount": 5}, 2),
        ({"DomainID": "D", "StartFrom": 0, "RetrieveCount": 5, "Query": "foo:bar"}, 100010),
        ({"DomainID": "D", "StartFrom": 0, "RetrieveCount": 5, "Event": "nonsense"}, 100010),
        ({"DomainID": "D", "StartFrom": 0, "RetrieveCount": 5, "StartDate": "yesterday"}, 100010),
    ],
)
def test_codes(client: FlaskClient, owner: Account, domain: SenderDomain, params: dict[str, Any], code: int) -> None:
    sent = {name: domain.id if value == "D" else value for name, value in params.items()}
    answer = call(client, owner, **sent)
    assert (answer["Success"], answer["ErrorCode"]) == (False, code)
    assert answer["ErrorMessage"]
    assert "Events" not in answer


def test_a_stranger_s_domain_is_not_found(
    client: FlaskClient, operator: Account, domain: SenderDomain, uuid: str
) -> None:
    assert call(client, operator, DomainID=domain.id, StartFrom=0, RetrieveCount=5)["ErrorCode"] == 2
