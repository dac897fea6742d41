"""The commands of lists and their subscribers through `/api.php`, every number included."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway.services import automations, identity, users
from tests.commands.test_templates import call
from tests.web.conftest import Account


@pytest.fixture
def news(client: FlaskClient, owner: Account) -> str:
    return str(call(client, owner, "AddList", ListName="News")["NewListID"])


def add(client: FlaskClient, who: Account, news: str, email: str, **fields: Any) -> dict[str, Any]:
    return call(client, who, "AddSubscriber", ListID=news, EmailAddress=email, Fields=fields)


def test_a_list_from_adding_to_deleting(client: FlaskClient, owner: Account, news: str) -> None:
    add(client, owner, news, "a@friends.test")
    add(client, owner, news, "b@friends.test")
    call(client, owner, "UnsubscribeSubscriber", ListID=news, EmailAddress="b@friends.test")
    changed = call(client, owner, "UpdateList", ListID=news, ListName="Newer")["List"]
    assert (changed["ListName"], changed["ActiveSubscribers"], changed["UnsubscribedSubscribers"]) == ("Newer", 1, 1)
    listed = call(client, owner, "GetLists")
    assert ([row["ListID"] for row in listed["Lists"]], listed["TotalRecords"]) == ([news], 1)
    given = {
        "name": "A",
        "trigger": {"type": "event", "event": "x", "list_id": int(news)},
        "actions": [{"type": "exit"}],
    }
    mine = identity.for_account(owner.id)
    needs_it = automations.add(caller=mine, given=given)
    assert call(client, owner, "DeleteList", ListID=news)["ErrorCode"] == 3
    automations.delete(caller=mine, automation=needs_it)
    assert call(client, owner, "DeleteList", ListID=news)["Success"] is True
    assert call(client, owner, "GetLists")["Lists"] == []
    assert call(client, owner, "GetSubscribers", ListID=news)["ErrorCode"] == 2


def test_a_subscriber_from_adding_to_removing(client: FlaskClient, owner: Account, news: str) -> None:
    made = add(client, owner, news, "Jane@Friends.Test", firstName="Jane", age=30)
    shown = made["Subscriber"]
    assert isinstance(made["NewSubscriberID"], str)
    assert (shown["EmailAddress"], shown["Status"]) == ("Jane@friends.test", "Active")
    assert shown["Fields"] == {"firstName": "Jane", "age": 30}
    assert add(client, owner, news, "jane@friends.test")["ErrorCode"] == 5
    which = {"ListID": news, "SubscriberID": made["NewSubscriberID"]}
    changed = call(
        client, owner, "UpdateSubscriber", **which, NewEmailAddress="j@friends.test", Fields={"age": None, "x": 1}
    )["Subscriber"]
    assert (changed["EmailAddress"], changed["Fields"]) == ("j@friends.test", {"firstName": "Jane", "x": 1})
    left = call(client, owner, "UnsubscribeSubscriber", ListID=news, EmailAddress="J@friends.test")["Subscriber"]
    assert left["Status"] == "Unsubscribed"
    assert add(client, owner, news, "j@friends.test")["ErrorCode"] == 5
    back = call(client, owner, "UpdateSubscriber", **which, Status="active")["Subscriber"]
    assert back["Status"] == "Active"
    assert call(client, owner, "RemoveSubscriber", **which)["Success"] is True
    assert call(client, owner, "RemoveSubscriber", **which)["ErrorCode"] == 4
    assert call(client, owner, "GetSubscribers", ListID=news)["TotalRecords"] == 0
    assert add(client, owner, news, "j@friends.test")["Success"] is True


def test_many_at_once_each_with_a_result(client: FlaskClient, owner: Account, news: str) -> None:
    add(client, owner, news, "old@friends.test")
    items: list[Any] = [{"EmailAddress": f"r{n}@friends.test", "Fields": {"firstName": f"R{n}"}} for n in range(994)]
    items += [
        {"Email": "plain@friends.test"},
        "text@friends.test",
        {"EmailAddress": "OLD@friends.test"},
        {"EmailAddress": "R1@friends.test"},
        {"EmailAddress": "nobody"},
        {"Fields": {}},
    ]
    answer = call(client, owner, "AddSubscribers", ListID=news, Subscribers=items)
    assert (answer["Success"], answer["Added"], answer["Failed"]) == (True, 996, 4)
    assert [row["ErrorCode"] for row in answer["Results"]] == [0] * 996 + [5, 5, 4, 2]
    assert all(row["SubscriberID"] for row in answer["Results"][:996])
    page = call(client, owner, "GetSubscribers", ListID=news, StartFrom=2, RetrieveCount=2, Status="Active")
    assert page["TotalRecords"] == 997
    assert [(row["EmailAddress"], row["Fields"]) for row in page["Subscribers"]] == [
        ("r1@friends.test", {"firstName": "R1"}),
        ("r2@friends.test", {"firstName": "R2"}),
    ]
    form = {
        "APIKey": owner.api_key,
        "Command": "EmailGateway.AddSubscribers",
        "ListID": news,
        "Subscribers[0][EmailAddress]": "form@friends.test",
        "Subscribers[0][Fields][lastName]": "Doe",
    }
    assert client.post("/api.php", data=form).get_json()["Added"] == 1
    found = call(client, owner, "GetSubscribers", ListID=news, StartFrom=997)["Subscribers"]
    assert found[0]["Fields"] == {"lastName": "Doe"}


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("AddList", {}, 1),
        ("AddList", {"ListName": "x" * 300}, 100010),
        ("UpdateList", {}, 1),
        ("UpdateList", {"ListID": "L"}, 2),
        ("UpdateList", {"ListID": 999999, "ListName": "x"}, 3),
        ("DeleteList", {}, 1),
        ("DeleteList", {"ListID": "abc"}, 2),
        ("AddSubscriber", {}, 1),
        ("AddSubscriber", {"ListID": "L"}, 2),
        ("AddSubscriber", {"ListID": 999999, "EmailAddress": "a@b.test"}, 3),
        ("AddSubscriber", {"ListID": "L", "EmailAddress": "nobody"}, 4),
        ("AddSubscriber", {"ListID": "L", "EmailAddress": ["a@b.test"]}, 4),
        ("AddSubscriber", {"ListID": "L", "EmailAddress": "a@b.test", "Fields": [1]}, 100010),
        ("AddSubscriber", {"ListID": "L", "EmailAddress": "a@b.test", "Fields": {"x": "y" * 20_000}}, 100010),
        ("AddSubscriber", {"ListID": "L", "EmailAddress": "a@b.test", "Fields": {"x" * 65: "y"}}, 100010),
        ("AddSubscribers", {}, 1),
        ("AddSubscribers", {"ListID": "L"}, 2),
        ("AddSubscribers", {"ListID": "L", "Subscribers": []}, 2),
        ("AddSubscribers", {"ListID": "L", "Subscribers": "x"}, 2),
        ("AddSubscribers", {"ListID": "L", "Subscribers": ["a@b.test"] * 1001}, 2),
        ("AddSubscribers", {"ListID": 999999, "Subscribers": ["a@b.test"]}, 3),
        ("GetSubscribers", {}, 1),
        ("GetSubscribers", {"ListID": 999999}, 2),
        ("GetSubscribers", {"ListID": "L", "Status": "removed"}, 3),
        ("UpdateSubscriber", {}, 1),
        ("UpdateSubscriber", {"ListID": "L"}, 2),
        ("UpdateSubscriber", {"ListID": 999999, "SubscriberID": 1}, 3),
        ("UpdateSubscriber", {"ListID": "L", "SubscriberID": 999999}, 4),
        ("UpdateSubscriber", {"ListID": "L", "EmailAddress": "a@friends.test", "NewEmailAddress": "nobody"}, 5),
        ("UpdateSubscriber", {"ListID": "L", "EmailAddress": "a@friends.test", "NewEmailAddress": "b@friends.test"}, 6),
        ("UpdateSubscriber", {"ListID": "L", "EmailAddress": "a@friends.test", "Status": "x"}, 7),
        ("UnsubscribeSubscriber", {"ListID": "L"}, 2),
        ("UnsubscribeSubscriber", {"ListID": "L", "EmailAddress": "c@friends.test"}, 4),
        ("RemoveSubscriber", {}, 1),
        ("RemoveSubscriber", {"ListID": 999999, "EmailAddress": "a@friends.test"}, 3),
    ],
)
def test_numbers(client: FlaskClient, owner: Account, news: str, name: str, params: dict[str, Any], code: int) -> None:
    for email in ("a@friends.test", "b@friends.test"):
        add(client, owner, news, email)
    params = {key: news if value == "L" else value for key, value in params.items()}
    answer = call(client, owner, name, **params)
    assert (answer["Success"], answer["ErrorCode"]) == (False, code)
    assert call(client, owner, "GetSubscribers", ListID=news)["TotalRecords"] == 2


def test_a_stranger_finds_nothing(client: FlaskClient, owner: Account, news: str) -> None:
    add(client, owner, news, "a@friends.test")
    made = users.add(email="stranger@example.com", password="correct horse battery")
    stranger = Account(made["id"], made["email"], "", made["api_key"])
    who = {"EmailAddress": "a@friends.test", "ListName": "mine", "Subscribers": ["x@friends.test"]}
    for name in (
        "UpdateList", "DeleteList", "AddSubscriber", "AddSubscribers", "GetSubscribers", "UpdateSubscriber",
        "UnsubscribeSubscriber", "RemoveSubscriber",
    ):  # fmt: skip
        absent = call(client, stranger, name, ListID=999999, **who)
        assert absent["Success"] is False
        assert call(client, stranger, name, ListID=news, **who) == absent
    assert call(client, stranger, "GetLists")["Lists"] == []
    own = str(call(client, stranger, "AddList", ListName="Own")["NewListID"])
    row = call(client, owner, "GetSubscribers", ListID=news)["Subscribers"][0]
    assert call(client, stranger, "RemoveSubscriber", ListID=own, SubscriberID=row["SubscriberID"])["ErrorCode"] == 4
    assert call(client, owner, "GetSubscribers", ListID=news)["Subscribers"] == [row]
