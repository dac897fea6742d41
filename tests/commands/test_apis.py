from __future__ import annotations

import re
from typing import Any

import pytest

from gateway.services import identity
from models.account import Account
from tests import cast
from tests.commands.conftest import Call

pytestmark = pytest.mark.usefixtures("store")


def test_a_new_key_is_answered_and_listed(call: Call, who: cast.Sender) -> None:
    number = str(who.domain.id)
    added = call("AddAPI", Description="My new API key", DomainID=number, ListID=12, ActionID="a1")
    assert (added["Success"], added["ErrorCode"]) == (True, 0)
    key = added["APIKey"]
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{8}){3}", key["Key"])
    assert (key["DomainID"], key["Description"]) == (number, "My new API key")
    assert isinstance(key["Permissions"], str)
    assert isinstance(added["NewAPIKeyID"], str)

    listed = call("GetAPIs", DomainID=who.domain.id)["APIKeys"]
    assert [item["KeyID"] for item in listed] == [added["NewAPIKeyID"]]
    assert (
        listed[0]
        | {
            "APIKeyID": added["NewAPIKeyID"],
            "DomainID": number,
            "UserID": str(who.owner.account_id),
            "Key": key["Key"],
            "APIKey": key["Key"],
            "Permissions": key["Permissions"],
            "Status": "Active",
            "LastUsedDate": "",
            "ListID": "12",
            "SubscriberID": "",
            "JourneyID": "",
            "ActionID": "a1",
        }
        == listed[0]
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", listed[0]["CreationDate"])
    assert listed[0]["CreatedAt"] == listed[0]["CreationDate"]
    assert identity.authenticate_sender(keys=[key["Key"]]).defaults == {"ListID": "12", "ActionID": "a1"}
    assert re.fullmatch(r"\d{4}.*", call("GetAPIs", DomainID=who.domain.id)["APIKeys"][0]["LastUsedDate"])


def test_the_new_id_is_a_number_where_the_account_wants_it(call: Call, who: cast.Sender) -> None:
    Account.update(options='{"numeric_ids": true}').where(Account.id == who.owner.account_id).execute()
    identity.forget()
    added = call("AddAPI", Description="x", DomainID=who.domain.id)
    assert isinstance(added["NewAPIKeyID"], int)
    assert call("GetAPIs", DomainID=who.domain.id)["APIKeys"][0]["KeyID"] == str(added["NewAPIKeyID"])


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, 1),
        ({"DomainID": "own"}, 1),
        ({"DomainID": "own", "Description": " "}, 1),
        ({"DomainID": "own", "Description": "x" * 256}, 1),
        ({"DomainID": "own", "Description": {"a": "b"}}, 1),
        ({"Description": "x"}, 2),
        ({"Description": "x", "DomainID": ""}, 2),
        ({"Description": "x", "DomainID": "foreign"}, 3),
        ({"Description": "x", "DomainID": 0}, 3),
        ({"Description": "x", "DomainID": "abc"}, 3),
        ({"Description": "x", "DomainID": 2**70}, 3),
        ({"Description": "x", "DomainID": [1]}, 3),
        ({"Description": "x", "DomainID": "own", "ListID": "x" * 65}, 100010),
        ({"Description": "x", "DomainID": "own", "ListID": ["x"]}, 100010),
    ],
)
def test_add_api_refusals(call: Call, who: cast.Sender, params: dict[str, Any], code: int) -> None:
    foreign = cast.sender("stranger", "foreign.test").domain.id
    ids = {"own": who.domain.id, "foreign": foreign}
    if isinstance(params.get("DomainID"), str):
        params = params | {"DomainID": ids.get(params["DomainID"], params["DomainID"])}
    answer = call("AddAPI", **params)
    assert (answer["Success"], answer["ErrorCode"]) == (False, code)
    assert "ErrorMessage" not in answer
    assert call("GetAPIs", DomainID=who.domain.id)["APIKeys"] == []


def test_get_apis_refusals(call: Call) -> None:
    foreign = cast.sender("stranger", "foreign.test").domain.id
    assert call("GetAPIs")["ErrorCode"] == 1
    answers = [call("GetAPIs", DomainID=value) for value in (foreign, foreign + 1000, 0, "x", {"a": 1})]
    assert answers[0]["ErrorCode"] == 2
    assert all(answer == answers[0] for answer in answers)


def test_texts_of_any_script_survive(call: Call, who: cast.Sender) -> None:
    call("AddAPI", Description="Schlüssel 🔑 ключ", DomainID=who.domain.id)
    assert call("GetAPIs", DomainID=who.domain.id)["APIKeys"][0]["Description"] == "Schlüssel 🔑 ключ"
