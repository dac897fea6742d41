"""`/v1/sender-groups`."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

import models
from gateway.services import mailboxes, sender_groups
from tests import cast
from tests.web.rest.mailmark_world import Api, key


@pytest.fixture
def sender(client: FlaskClient) -> cast.Sender:
    found = cast.sender()
    for name in ("hello", "sales", "team"):
        mailboxes.add(caller=found.caller, address=name)
    return found


@pytest.fixture
def api(client: FlaskClient, sender: cast.Sender) -> Api:
    return Api(client, key(sender))


def test_the_life_of_a_group(api: Api) -> None:
    made = api("POST", "/sender-groups", {"name": "My Group", "mailboxes": "all", "emails": []})
    assert made.status_code == 201
    group = made.get_json()
    assert (group["mailboxes"], group["emails"], len(group["senders"])) == ("all", [], 3)
    path = f"/sender-groups/{group['id']}"
    empty = api("PATCH", path, {})
    assert (empty.status_code, empty.get_json()["name"]) == (200, "My Group")
    changed = api(
        "PATCH", path,
        {"name": "Two", "mailboxes": "hello, SALES@shop.test", "addEmails": "a@x.test, b@x.test\nA@x.test,c@x.test"},
    ).get_json()  # fmt: skip
    assert (changed["name"], changed["mailboxes"]) == ("Two", ["hello@shop.test", "sales@shop.test"])
    assert changed["emails"] == ["a@x.test", "b@x.test", "c@x.test"]
    fewer = api("PATCH", path, {"addEmails": ["d@x.test"], "removeEmails": ["B@x.test", "nobody@x.test"]}).get_json()
    assert fewer["emails"] == ["a@x.test", "c@x.test", "d@x.test"]
    whole = api("PATCH", path, {"emails": "z@x.test", "addEmails": "y@x.test", "removeEmails": "z@x.test"}).get_json()
    assert whole["emails"] == ["z@x.test"]
    assert api("PATCH", path, {"emails": []}).get_json()["emails"] == []
    assert [one["id"] for one in api.get("/sender-groups")] == [group["id"]]
    assert api("DELETE", "/mailboxes/hello").status_code == 200
    assert api.get("/sender-groups")[0]["mailboxes"] == ["sales@shop.test"]
    assert api("DELETE", path).status_code == 200
    assert (api("DELETE", path).status_code, api("PATCH", path, {}).status_code) == (404, 404)
    assert api.get("/sender-groups") == []
    assert models.SenderGroupMailbox.select().count() == models.SenderGroupEmail.select().count() == 0
    assert len(api.get("/mailboxes")) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x", "mailboxes": "nobody"}, "mailboxes"),
        ({"name": "x", "mailboxes": "hello@other.test"}, "mailboxes"),
        ({"name": "x", "emails": "not an address"}, "emails"),
        ({"name": "x", "emails": [1]}, "emails"),
    ],
)
def test_bad_fields_are_named_and_nothing_is_stored(api: Api, body: dict[str, object], field: str) -> None:
    answer = api("POST", "/sender-groups", body)
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (400, field)
    assert api.get("/sender-groups") == []


def test_turns_go_round(client: FlaskClient, sender: cast.Sender) -> None:
    group = sender_groups.add(caller=sender.caller, name="x", mailboxes_=["hello", "team"])
    taken = [one.local for size in (3, 2) for one in sender_groups.turns(caller=sender.caller, group=group, count=size)]
    assert taken == ["hello", "team", "hello", "team", "hello"]


def test_a_strangers_group_is_absent(api: Api, client: FlaskClient) -> None:
    stranger = cast.sender("stranger", "other.test")
    theirs = sender_groups.add(caller=stranger.caller, name="x")
    for method in ("PATCH", "DELETE"):
        assert api(method, f"/sender-groups/{theirs.public_id}", {}).status_code == 404
    assert api.get("/sender-groups") == []
    assert models.SenderGroup.select().count() == 1
