from __future__ import annotations

import pytest

from gateway import errors
from gateway.services import apis, identity
from tests import cast
from tests.commands.conftest import Call

pytestmark = pytest.mark.usefixtures("store")


def test_a_key_is_deleted(call: Call, who: cast.Sender) -> None:
    made = call("AddAPI", Description="Shop", DomainID=who.domain.id)
    assert call("DeleteAPI", ApiKeyId=made["NewAPIKeyID"]) == {"Success": True, "ErrorCode": 0}
    assert call("GetAPIs", DomainID=who.domain.id)["APIKeys"] == []
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate_sender(keys=[made["APIKey"]["Key"]])


def test_a_key_is_replaced(call: Call, who: cast.Sender) -> None:
    old = call("AddAPI", Description="Shop", DomainID=who.domain.id, ListID=7)
    new = call("ReplaceAPI", ApiKeyId=old["NewAPIKeyID"])
    assert isinstance(new["NewAPIKeyID"], str)
    assert new["NewAPIKeyID"] != old["NewAPIKeyID"]
    assert new["APIKey"]["Key"] != old["APIKey"]["Key"]
    assert (new["APIKey"]["Description"], new["APIKey"]["ListID"]) == ("Shop", "7")
    listed = call("GetAPIs", DomainID=who.domain.id)["APIKeys"]
    assert [item["Key"] for item in listed] == [new["APIKey"]["Key"]]
    assert call("ReplaceAPI", ApiKeyId=old["NewAPIKeyID"])["ErrorCode"] == 2


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        (
            "DeleteAPI",
            {1: "Missing required parameter: ApiKeyId", 2: "Invalid API key or API key not found"},
        ),
        ("ReplaceAPI", {}),
    ],
)
def test_refusals(call: Call, name: str, texts: dict[int, str]) -> None:
    stranger = cast.sender("stranger", "foreign.test")
    theirs = apis.add(caller=stranger.owner, domain_id=stranger.domain.id, description="x")
    for params in ({}, {"ApiKeyId": ""}, {"APIKeyID": None}):
        answer = call(name, **params)
        assert (answer["Success"], answer["ErrorCode"], answer.get("ErrorMessage")) == (False, 1, texts.get(1))
    answers = [call(name, ApiKeyId=value) for value in (theirs.id, 10**9, 0, "x", [theirs.id], 2**70)]
    assert (answers[0]["ErrorCode"], answers[0].get("ErrorMessage")) == (2, texts.get(2))
    assert all(answer == answers[0] for answer in answers)
    assert identity.authenticate_sender(keys=[theirs.key]).key_id == theirs.id
