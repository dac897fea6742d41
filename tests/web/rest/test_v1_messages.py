"""`/v1/messages`: one message and its recipients, lists with filters, taking back and moving."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

import models
from gateway import clock, ids
from gateway.mail.draft import Mailbox
from gateway.services import (
    deliveries,
    domains,
    message_list,
    message_status,
    messages,
    senders,
    sending_servers,
    suppression_list,
)
from models import database as db
from models.vocabulary import DeliveryState
from tests import cast
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.test_v1_send import key_of, who

__all__ = ["app", "cheap_passwords", "client", "who"]

S = DeliveryState


class Reading:
    """Asks with a key of the account."""

    def __init__(self, client: FlaskClient, who: cast.Sender) -> None:
        self.client, self.who = client, who
        self.key = key_of(who)

    def get(self, path: str, key: str = "", **query: Any) -> Any:
        return self.client.get(path, query_string=query, headers={"Authorization": f"Bearer {key or self.key}"})

    def post(self, path: str, key: str = "", **fields: Any) -> Any:
        return self.client.post(path, json=fields, headers={"Authorization": f"Bearer {key or self.key}"})

    def found(self, **query: Any) -> list[str]:
        """The subjects of all pages, the newest first."""
        subjects, cursor = [], ""
        for _ in range(50):
            answer = self.get("/v1/messages", cursor=cursor, **query).get_json()
            subjects += [row["subject"] for row in answer["data"]]
            cursor = answer["next_cursor"]
            assert answer["has_more"] == (cursor is not None)
            if not cursor:
                return subjects
        raise AssertionError("no end of pages")


@pytest.fixture
def reading(client: FlaskClient, who: cast.Sender) -> Reading:
    return Reading(client, who)


def _sent(who: cast.Sender, **fields: Any) -> str:
    return ids.public_id("msg", UUID(messages.accept(who.caller, cast.draft(**fields)).message_id))


def test_one_message_from_acceptance_to_arrival(reading: Reading) -> None:
    suppression_list.add(caller=reading.who.owner, addresses=["gone@friends.test"])
    people = [Mailbox("jane@friends.test"), Mailbox("gone@friends.test")]
    sent = _sent(reading.who, to=people, tags=["a"], metadata={"order": 7}, cc=[Mailbox("joe@friends.test")])
    told = reading.get(f"/v1/messages/{sent}").get_json()
    assert (told["id"], told["status"]) == (sent, "sending")  # one has ended, the others wait
    assert told["counts"] == {"queued": 2, "suppressed": 1} and told["total_recipients"] == 3
    assert {one["email"]: one["status"] for one in told["recipients"]} == {
        "jane@friends.test": "queued", "gone@friends.test": "suppressed", "joe@friends.test": "queued",
    }  # fmt: skip
    assert [event["type"] for event in told["events"]] == ["message.accepted", "message.suppressed"]
    assert all(event["id"].startswith("evt_") for event in told["events"])
    deliveries.drain(3)
    told = reading.get(f"/v1/messages/{sent}").get_json()
    assert told["status"] == "partially_delivered" and told["counts"] == {"delivered": 2, "suppressed": 1}
    jane = told["recipients"][0]
    assert (jane["attempts"], jane["next_attempt_at"], jane["reason"]) == (1, None, None)
    assert jane["provider"] == "capture" and jane["updated_at"]
    assert told["metadata"] == {"order": 7} and told["cc"] == ["joe@friends.test"] and told["tags"] == ["a"]
    assert told["events"][-1]["type"] == "message.delivered"
    page = reading.get(f"/v1/messages/{sent}", offset=1, limit=1).get_json()
    assert [one["email"] for one in page["recipients"]] == ["gone@friends.test"] and page["has_more_recipients"]
    uuid = ids.uuid_of("msg", sent)
    for spelled in (str(uuid), f"<{uuid}@shop.test>", sent.lower().replace("msg_", "msg_")):
        assert reading.get(f"/v1/messages/{spelled}").get_json()["id"] == sent


def test_a_foreign_message_is_an_absent_one(reading: Reading) -> None:
    sent = _sent(reading.who)
    stranger = key_of(cast.sender("stranger", "other.test"))
    for path in (f"/v1/messages/{sent}", "/v1/messages/msg_01KPZ3N8V4E0R2Y7T6W9Q5B1CD", "/v1/messages/x"):
        answer = reading.get(path, key=stranger)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")
    for verb in ("cancel", "reschedule"):
        answer = reading.post(f"/v1/messages/{sent}/{verb}", key=stranger, scheduled_at=clock.now_ms())
        assert answer.status_code == 404
    assert reading.get("/v1/messages", key=stranger).get_json()["data"] == []
    bound = key_of(reading.who, domain=True)
    other = domains.add(caller=reading.who.owner, name="second.test", trusted=True, dkim=cast.signing_keys())
    senders.forget()
    second = replace(reading.who.owner, domain_id=other.id)
    messages.accept(second, cast.draft(domain="second.test", subject="second"))
    assert reading.found() == ["second", "Your order"]
    assert reading.found(key=bound) == ["Your order"]
    assert reading.found(domain="second.test") == ["second"]
    assert reading.get("/v1/messages", key=bound, domain="second.test").status_code == 404


def test_filters(reading: Reading) -> None:
    who, now = reading.who, clock.now_ms()
    _sent(who, subject="one", tags=["Red"], to="a@friends.test")
    _sent(who, subject="two", tags=['quo"ted', "red"], sender=Mailbox("news@mail.shop.test"), to="b@friends.test")
    _sent(who, subject="three", send_at_ms=now + 3_600_000, cc=[Mailbox("a@friends.test")])
    deliveries.drain(3)
    for query, subjects in (
        ({}, ["three", "two", "one"]),
        ({"tag": "red"}, ["two"]),
        ({"tag": "Red"}, ["one"]),
        ({"tag": 'quo"ted'}, ["two"]),
        ({"tag": "re"}, []),
        ({"status": "delivered"}, ["two", "one"]),
        ({"status": "scheduled"}, ["three"]),
        ({"status": "queued"}, []),
        ({"to": "a@friends.test"}, ["three", "one"]),
        ({"to": "a@FRIENDS.test"}, ["three", "one"]),
        ({"from": "news@mail.shop.test"}, ["two"]),
        ({"from": "@shop.test"}, ["three", "one"]),
        ({"since": now - 60_000}, ["three", "two", "one"]),
        ({"until": now - 60_000}, []),
        ({"since": now + 600_000}, []),
        ({"until": now + 600_000, "tag": "red"}, ["two"]),
        ({"limit": 1}, ["three", "two", "one"]),
        ({"limit": 1, "to": "a@friends.test"}, ["three", "one"]),
    ):
        assert reading.found(**query) == subjects, query
    row = reading.get("/v1/messages").get_json()["data"][0]
    assert (row["status"], row["scheduled_at"]) == ("scheduled", clock.rfc3339(now + 3_600_000))
    for query, field in (
        ({"status": "lost"}, "status"),
        ({"to": "nobody"}, ""),
        ({"since": "soon"}, "since"),
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"cursor": "x"}, "cursor"),
    ):
        answer = reading.get("/v1/messages", **query)
        assert answer.status_code == 400, query
        assert not field or answer.get_json()["errors"][0]["field"] == field


def test_a_rare_filter_walks_page_by_page(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left out where the walk of one page ends before its filter has found enough."""
    monkeypatch.setattr(message_list, "WALK", 3)
    other = domains.add(caller=reading.who.owner, name="second.test", trusted=True, dkim=cast.signing_keys())
    senders.forget()
    second = replace(reading.who, caller=replace(reading.who.owner, domain_id=other.id))
    for n in range(12):
        sent_by = second if n % 3 == 0 else reading.who
        domain = "second.test" if n % 3 == 0 else "shop.test"
        _sent(sent_by, domain=domain, subject=f"m{n}", tags=["rare"] if n in (0, 4, 11) else [])
    assert reading.found(tag="rare") == ["m11", "m4", "m0"]
    assert reading.found(tag="absent") == []
    first = reading.get("/v1/messages", tag="rare", limit=5).get_json()
    assert first["has_more"] and len(first["data"]) < 3


def test_cancel_and_reschedule(reading: Reading) -> None:
    later = clock.now_ms() + 3_600_000
    sent = _sent(reading.who, send_at_ms=later)
    moved = reading.post(f"/v1/messages/{sent}/reschedule", scheduled_at=clock.rfc3339(later + 60_000))
    assert moved.get_json() == {
        "id": sent, "rescheduled": 1, "in_flight": 0, "scheduled_at": clock.rfc3339(later + 60_000),
    }  # fmt: skip
    assert reading.get(f"/v1/messages/{sent}").get_json()["status"] == "scheduled"
    for wrong in ({}, {"scheduled_at": "x"}, {"scheduled_at": "2199-01-01T00:00:00Z"}):
        answer = reading.post(f"/v1/messages/{sent}/reschedule", **wrong)
        assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (400, "scheduled_at")
    taken = reading.post(f"/v1/messages/{sent}/cancel")
    assert taken.get_json() == {"id": sent, "canceled": 1, "in_flight": 0}
    assert reading.get(f"/v1/messages/{sent}").get_json()["status"] == "canceled"
    for verb, fields in (("cancel", {}), ("reschedule", {"scheduled_at": later})):
        answer = reading.post(f"/v1/messages/{sent}/{verb}", **fields)
        assert (answer.status_code, answer.get_json()["code"]) == (409, "nothing_waits")
    reader = key_of(reading.who, scopes=["read:messages"])
    assert reading.post(f"/v1/messages/{sent}/cancel", key=reader).status_code == 403


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ({}, "queued"),
        ({(S.QUEUED, False): 2}, "queued"),
        ({(S.QUEUED, True): 2}, "queued"),
        ({(S.QUEUED, True): 1, (S.QUEUED, False): 1}, "queued"),
        ({(S.CLAIMED, False): 1}, "sending"),
        ({(S.DEFERRED, False): 1}, "deferred"),
        ({(S.HELD, False): 1}, "held"),
        ({(S.DEFERRED, False): 1, (S.DELIVERED, False): 1}, "sending"),
        ({(S.DELIVERED, False): 3}, "delivered"),
        ({(S.HANDED_OVER, False): 3}, "handed_over"),
        ({(S.HANDED_OVER, False): 3, (S.BOUNCED, False): 1}, "handed_over"),
        ({(S.DELIVERED, False): 3, (S.BOUNCED, False): 1}, "partially_delivered"),
        ({(S.DELIVERED, False): 3, (S.SUPPRESSED, False): 1}, "partially_delivered"),
        ({(S.BOUNCED, False): 1}, "bounced"),
        ({(S.BOUNCED, False): 1, (S.SUPPRESSED, False): 1}, "bounced"),
        ({(S.BOUNCED, False): 1, (S.FAILED, False): 1}, "failed"),
        ({(S.SUPPRESSED, False): 1}, "suppressed"),
        ({(S.CANCELED, False): 1}, "canceled"),
    ],
)
def test_the_word_for_a_message(states: dict[tuple[DeliveryState, bool], int], word: str) -> None:
    assert message_status.word(states) == word
    assert word in message_status.WORDS


def test_only_what_waits_for_its_own_time_is_scheduled(reading: Reading) -> None:
    assert message_status.word({(S.QUEUED, True): 2}, scheduled=True) == message_status.word({}, scheduled=True)
    assert message_status.word({(S.QUEUED, True): 1, (S.QUEUED, False): 1}, scheduled=True) == "queued"
    sending_servers.create(
        caller=reading.who.owner, name="relay", kind="smtp", config={"host": "relay.example.net"}, credentials={},
        status="paused",
    )  # fmt: skip
    sent = _sent(reading.who, subject="one")
    deliveries.drain(3)
    told = reading.get(f"/v1/messages/{sent}").get_json()
    (one,) = told["recipients"]
    assert (told["status"], one["status"], one["attempts"]) == ("queued", "queued", 0)
    assert one["reason"].endswith("relay: it is paused") and one["next_attempt_at"]
    assert reading.found(status="queued") == ["one"] and reading.found(status="scheduled") == []


def test_the_walk_reads_an_index(reading: Reading) -> None:
    """Neither a page nor its end reads the messages of other accounts."""
    _sent(reading.who)
    asked: list[tuple[str, Any]] = []
    rows = db.rows

    def note(sql: str, params: Any = ()) -> Any:
        asked.append((sql, params))
        return rows(sql, params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_list.db, "rows", note)
        message_list.list_(caller=reading.who.owner, filters=message_list.Filters(tag="x"), count=50)
    explain = "EXPLAIN QUERY PLAN " if db.dialect() == "sqlite" else "EXPLAIN "
    for sql, params in asked:
        if "FROM message m JOIN" in sql or "FROM message" not in sql:
            continue
        plan = " ".join(str(row) for row in rows(explain + sql, params))
        assert "message_domain_id_id" in plan, plan
    assert models.Message.select().count() == 1
