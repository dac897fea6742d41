"""`POST /v1/send/bulk`: good, bad, suppressed and replayed items, defaults, keys, limits."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway import clock
from gateway.services import domain_changes, domains, senders, suppression_list, templates
from models import database as db
from tests import cast
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.test_v1_send import BAD, GOOD, key_of, who

__all__ = ["app", "cheap_passwords", "client", "who"]


class Bulk:
    """Posts to /v1/send/bulk with a key of the account."""

    def __init__(self, client: FlaskClient, who: cast.Sender) -> None:
        self.client, self.who = client, who
        self.key = key_of(who)

    def __call__(self, messages: Any, *, key: str = "", idem: str = "", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {key or self.key}"} | ({"Idempotency-Key": idem} if idem else {})
        return self.client.post("/v1/send/bulk", json={"messages": messages, **more}, headers=headers)


@pytest.fixture
def bulk(client: FlaskClient, who: cast.Sender) -> Bulk:
    return Bulk(client, who)


def test_good_bad_and_suppressed_items(bulk: Bulk) -> None:
    suppression_list.add(caller=bulk.who.owner, addresses=["gone@friends.test"])
    later = clock.now_ms() + 600_000
    answer = bulk(
        [
            GOOD,
            GOOD | {"to": "x@"},
            GOOD | {"to": "gone@friends.test"},
            "no object",
            GOOD | {"from": "a@elsewhere.test"},
            GOOD | {"subject": None, "cc": "y@"},
            GOOD | {"to": ["gone@friends.test", "jane@friends.test"]},
            GOOD | {"scheduled_at": later},
            GOOD | {"type": "campaign"},
            GOOD | {"dry_run": True},
            GOOD | {"template": "nothing"},
        ]
    )
    told = answer.get_json()
    assert answer.status_code == 202
    assert (told["accepted"], told["failed"]) == (3, 8)
    assert [one["index"] for one in told["data"]] == list(range(11))
    assert [one["status"] for one in told["data"]] == [
        "queued", "failed", "failed", "failed", "failed", "failed", "queued", "scheduled", "failed", "failed", "failed",
    ]  # fmt: skip
    by_index = {one["index"]: one.get("error") for one in told["data"]}
    assert [by_index[at]["code"] for at in (1, 2, 3, 4, 5, 8, 9, 10)] == [
        "invalid_parameter", "recipient_suppressed", "invalid_parameter", "domain_not_verified", "invalid_parameter",
        "invalid_parameter", "invalid_parameter", "not_found",
    ]  # fmt: skip
    assert by_index[1]["field"] == "to"
    assert (by_index[10]["field"], by_index[10]["message"]) == ("template", "There is no such template.")
    assert [fault["field"] for fault in by_index[5]["errors"]] == ["subject", "cc"]
    assert told["data"][6]["suppressed"] == ["gone@friends.test"]
    assert told["data"][0]["id"].startswith("msg_")
    assert models.Message.select().count() == 3


def test_defaults_are_what_an_item_does_not_say(bulk: Bulk) -> None:
    answer = bulk(
        [
            {"to": "a@friends.test", "variables": {"name": "Ann"}},
            {"to": "b@friends.test", "variables": {"name": "Bob"}, "subject": "Other"},
        ],
        defaults={"from": "The Shop <hello@shop.test>", "subject": "Hi {{ name }}", "text": "x", "tags": ["t"]},
    )
    assert answer.get_json()["accepted"] == 2, answer.get_json()
    assert db.rows("SELECT subject, tags FROM message ORDER BY id") == [("Hi Ann", '["t"]'), ("Other", '["t"]')]
    bad = bulk([{"to": "a@friends.test"}], defaults=[1])
    assert (bad.status_code, bad.get_json()["errors"][0]["field"]) == (400, "defaults")


def test_too_many_and_nothing(bulk: Bulk) -> None:
    over = bulk([GOOD] * 1001)
    assert (over.status_code, over.get_json()["code"]) == (413, "too_large")
    for nothing in ([], None, "x", {"to": "a"}):
        assert bulk(nothing).status_code == 400
    assert models.Message.select().count() == 0


def test_a_thousand_in_one_request(bulk: Bulk) -> None:
    people = [{"to": f"r{n}@friends.test", "idempotency_key": f"k{n}"} for n in range(1000)]
    defaults = {name: value for name, value in GOOD.items() if name != "to"}
    first = bulk(people, defaults=defaults).get_json()
    assert (first["accepted"], first["failed"]) == (1000, 0)
    again = bulk(people, defaults=defaults).get_json()
    assert all(one["replayed"] for one in again["data"])
    assert [one["id"] for one in again["data"]] == [one["id"] for one in first["data"]]
    assert models.Message.select().count() == models.Delivery.select().count() == 1000
    assert models.Content.select().count() == 1
    alone = bulk.client.post(
        "/v1/send", json=defaults | {"to": "r7@friends.test"},
        headers={"Authorization": f"Bearer {bulk.key}", "Idempotency-Key": "k7"},
    )  # fmt: skip
    assert alone.get_json()["id"] == first["data"][7]["id"] and alone.headers["Idempotent-Replayed"] == "true"


def test_what_was_accepted_is_answered_though_what_it_names_is_gone(bulk: Bulk) -> None:
    made = templates.add(caller=bulk.who.owner, name="Hello", subject="Hi", html="<b>Hi</b>", text=None)
    item = {"from": "hello@shop.test", "to": "jane@friends.test", "template": "Hello", "idempotency_key": "k"}
    plain = GOOD | {"idempotency_key": "plain"}
    first = bulk([item, plain]).get_json()
    templates.delete(caller=bulk.who.owner, template_id=made.id)
    domain_changes.delete(caller=bulk.who.owner, domain_id=bulk.who.domain.id)
    again = bulk([item, plain, GOOD]).get_json()
    assert [one.get("id") for one in again["data"][:2]] == [one["id"] for one in first["data"]]
    assert all(one["replayed"] for one in again["data"][:2])
    assert again["data"][2]["error"]["code"] == "domain_not_verified"
    assert models.Message.select().count() == 2


def test_the_request_has_a_key_too(bulk: Bulk) -> None:
    first = bulk([GOOD, GOOD | {"to": "x@"}], idem="whole")
    again = bulk([GOOD, GOOD | {"to": "x@"}], idem='"whole"')
    assert again.get_json() == first.get_json() and again.status_code == 202
    assert again.headers["Idempotent-Replayed"] == "true" and "Idempotent-Replayed" not in first.headers
    other = bulk([GOOD], idem="whole")
    assert (other.status_code, other.get_json()["code"]) == (422, "idempotency_mismatch")
    assert models.Message.select().count() == 1


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_what_a_single_send_refuses_fails_here_with_the_same_field(bulk: Bulk) -> None:
    changes = [(change, field) for change, field in BAD if change.get("type") != "campaign"]
    answer = bulk([GOOD | change for change, _ in changes] + [GOOD]).get_json()
    assert (answer["accepted"], answer["failed"]) == (1, len(changes))
    for one, (change, field) in zip(answer["data"], changes, strict=False):
        error = one["error"]
        named = [error["field"], *(fault["field"] for fault in error.get("errors", ()))]
        assert field in named or (field, named) == ("Idempotency-Key", ["idempotency_key"]), (change, error)


def test_unknown_fields(bulk: Bulk) -> None:
    told = bulk([GOOD | {"colour": 1}], defaults={"shade": 2}, tone=3).get_json()
    assert told["accepted"] == 1
    assert [one["field"] for one in told["warnings"]] == ["defaults.shade", "messages.0.colour", "tone"]
    strict = bulk([GOOD | {"colour": 1}, GOOD], key=key_of(bulk.who, strict=True)).get_json()
    assert (strict["accepted"], strict["data"][0]["error"]["code"]) == (1, "unknown_field")
    whole = bulk([GOOD], defaults={"shade": 2}, key=key_of(bulk.who, strict=True))
    assert (whole.status_code, whole.get_json()["code"]) == (400, "unknown_field")


def test_unknown_names_inside_objects(bulk: Bulk) -> None:
    jane = {"email": "jane@friends.test", "name": "Jane", "id": 7}
    items = [GOOD | {"to": jane}, GOOD | {"to": [jane], "metadata": {"any": 1}, "track_opens": True}, GOOD]
    told = bulk(items, defaults={"routing": {"pool": 1}}).get_json()
    assert told["accepted"] == 3
    names = ["defaults.routing.pool", "messages.0.to.id", "messages.1.to.0.id"]
    assert [one["field"] for one in told["warnings"]] == names
    strict = bulk(items, key=key_of(bulk.who, strict=True)).get_json()
    assert [one.get("error", {}).get("field") for one in strict["data"]] == ["to.id", "to.0.id", None]


def test_each_item_is_sent_by_the_domain_of_its_from(bulk: Bulk) -> None:
    other = domains.add(caller=bulk.who.owner, name="second.test", trusted=True, dkim=cast.signing_keys())
    senders.forget()
    items = [GOOD, GOOD | {"from": "a@second.test"}]
    assert bulk(items).get_json()["accepted"] == 2
    assert {row for (row,) in db.rows("SELECT domain_id FROM message")} == {bulk.who.domain.id, other.id}
    bound = bulk(items, key=key_of(bulk.who, domain=True)).get_json()
    assert (bound["accepted"], bound["data"][1]["error"]["code"]) == (1, "not_allowed")


def test_scopes(bulk: Bulk) -> None:
    assert bulk([GOOD], key=key_of(bulk.who, scopes=["read:messages"])).status_code == 403
    assert bulk([GOOD], key="wrong").status_code == 401
