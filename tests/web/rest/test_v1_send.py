"""`POST /v1/send`: the printed curl, every field, bad input, keys, scopes, idempotency."""

from __future__ import annotations

import base64
import threading
from typing import Any

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient

import models
from gateway import clock, ids
from gateway.services import domains, identity, keys, rendering, senders, suppression_list, templates
from models import database as db
from models.vocabulary import Stream
from tests import cast
from tests.hostile_texts import TEXTS
from tests.web.conftest import app, cheap_passwords, client

__all__ = ["app", "cheap_passwords", "client"]

GOOD: dict[str, Any] = {
    "from": "hello@shop.test",
    "to": "jane@friends.test",
    "subject": "Welcome to Acme",
    "html": "<p>Thanks for joining.</p>",
}


@pytest.fixture
def who(app: object) -> cast.Sender:
    return cast.sender()


def key_of(who: cast.Sender, *, domain: bool = False, **options: Any) -> str:
    domain_id = who.domain.id if domain else None
    options = {"surface": "mailersio"} | options
    return db.in_transaction(
        lambda tx: keys.create_key(tx, account_id=who.owner.account_id, domain_id=domain_id, **options)
    )[1]


class Sending:
    """Posts to /v1/send with a key of the account."""

    def __init__(self, client: FlaskClient, who: cast.Sender) -> None:
        self.client, self.who = client, who
        self.key = key_of(who)

    def __call__(self, *, key: str = "", idem: str = "", **fields: Any) -> Any:
        headers = {"Authorization": f"Bearer {key or self.key}"} | ({"Idempotency-Key": idem} if idem else {})
        return self.client.post("/v1/send", json=fields, headers=headers)


@pytest.fixture
def send(client: FlaskClient, who: cast.Sender) -> Sending:
    return Sending(client, who)


def stored(answer: Any) -> models.Message:
    assert answer.status_code == 202, answer.get_json()
    uuid = ids.uuid_of("msg", answer.get_json()["id"])
    return models.Message.get(models.Message.uuid == uuid)


def recipients(message: models.Message) -> list[str]:
    return [row.rcpt for row in models.Delivery.select().where(models.Delivery.message_id == message.id)]


def test_the_printed_request(send: Sending) -> None:
    answer = send(**GOOD, tags=["onboarding"], routing={"purpose": "transactional"}, idem="5f1c9d2e-uuid")
    message, told = stored(answer), answer.get_json()
    assert told["id"].startswith("msg_") and len(told["id"]) == 30
    assert (told["status"], told["scheduled_at"], told["test"], told["suppressed"]) == ("queued", None, False, [])
    assert "warnings" not in told
    assert told["created_at"] == clock.rfc3339(message.created_ms)
    assert recipients(message) == ["jane@friends.test"]
    assert (orjson.loads(message.tags), message.stream, message.domain_id) == (["onboarding"], 1, send.who.domain.id)
    again = send(**GOOD, tags=["onboarding"], routing={"purpose": "transactional"}, idem='"5f1c9d2e-uuid"')
    assert again.get_json() == told and again.headers["Idempotent-Replayed"] == "true"
    other = send(**GOOD, idem="5f1c9d2e-uuid")
    assert (other.status_code, other.get_json()["code"]) == (422, "idempotency_mismatch")
    assert models.Message.select().count() == 1


def test_every_field(send: Sending) -> None:
    later = clock.now_ms() // 1000 + 3600
    message = stored(
        send(
            **{"from": {"email": "hello@mail.shop.test", "name": "The Shop"}},
            to=["Jane <jane@friends.test>", {"email": "joe@friends.test", "name": "Joe"}],
            cc="a@friends.test, b@friends.test", bcc="c@friends.test\nd@friends.test",
            reply_to=["answers@shop.test"], subject=" Hi ", html="<p>Hi</p>", text="Hi",
            headers={"X-Order": "7"}, metadata={"order": 7, "deep": {"a": [1, None]}}, tags=["a", "b", "a"],
            attachments=[
                {"filename": "a.txt", "content": base64.b64encode(b"hello").decode(), "content_type": "text/plain"},
                {"filename": "b.png", "content": "aGk=", "content_type": "image/png", "content_id": "logo"},
            ],
            scheduled_at=clock.rfc3339(later * 1000), track_opens=False, track_links=True, stream="bulk",
            routing={"purpose": "billing"},
        )
    )  # fmt: skip
    assert sorted(recipients(message)) == [
        "a@friends.test", "b@friends.test", "c@friends.test", "d@friends.test", "jane@friends.test", "joe@friends.test",
    ]  # fmt: skip
    headers = orjson.loads(message.headers)
    assert headers["from"] == ["The Shop", "hello@mail.shop.test"]
    assert headers["to"] == [["Jane", "jane@friends.test"], ["Joe", "joe@friends.test"]]
    assert [pair[1] for pair in headers["cc"]] == ["a@friends.test", "b@friends.test"]
    assert headers["reply_to"] == [["", "answers@shop.test"]] and headers["custom"] == [["X-Order", "7"]]
    assert orjson.loads(message.metadata) == {"order": 7, "deep": {"a": [1, None]}}
    assert (message.subject, message.send_at_ms, message.stream) == ("Hi", later * 1000, Stream.BULK)
    assert (message.track_opens, message.track_links, orjson.loads(message.tags)) == (False, True, ["a", "b"])
    assert message.size > len("<p>Hi</p>Hihellohi")


def test_times(send: Sending) -> None:
    now = clock.now_ms()
    for fields, at in (
        ({"scheduled_at": now // 1000 + 60}, (now // 1000 + 60) * 1000),
        ({"scheduled_at": now + 60_000}, now + 60_000),
        ({"scheduled_at": str(now + 60_000)}, now + 60_000),
        ({"scheduledAt": now + 60_000}, now + 60_000),
        ({"scheduled_at": "2020-01-01T00:00:00Z"}, None),
        ({"scheduledAt": 1000}, None),
        ({"scheduled_at": ""}, None),
    ):
        answer = send(**GOOD, **fields)
        assert stored(answer).send_at_ms == at
        assert answer.get_json()["status"] == ("queued" if at is None else "scheduled")
        assert answer.get_json()["scheduled_at"] == (None if at is None else clock.rfc3339(at))


def test_purposes_choose_the_stream(send: Sending) -> None:
    for purpose, stream in (("transactional", 1), ("marketing", 2), ("billing", 1)):
        assert stored(send(**GOOD, routing={"purpose": purpose})).stream == stream
    assert stored(send(**GOOD, routing={"purpose": "marketing"}, stream="transactional")).stream == 1


def test_templates_by_number_id_and_name(send: Sending) -> None:
    made = templates.add(
        caller=send.who.owner, name="Hello", subject="Hi {{ name }}", html="<b>{{ name }}</b>", text=None
    )
    row = models.Template.get_by_id(made.id)
    for named in (made.id, str(made.id), "Hello", ids.public_id("tpl", row.uuid)):
        answer = send(**{"from": "hello@shop.test"}, to="jane@friends.test", template=named, variables={"name": "Zoë"})
        assert stored(answer).subject == "Hi Zoë"
    stranger = cast.sender("stranger", "other.test")
    foreign = send(key=key_of(stranger), **{"from": "hello@other.test"}, to="jane@friends.test", template_id=made.id)
    assert (foreign.status_code, foreign.get_json()["code"]) == (404, "not_found")
    assert foreign.get_json()["errors"] == [{"field": "template", "message": "There is no such template."}]
    assert send(**GOOD | {"subject": "Hi {{ who }}"}, variables={"who": "you"}).status_code == 202


def test_the_sender_domain_is_found(send: Sending) -> None:
    other = domains.add(caller=send.who.owner, name="news.shop.test", trusted=True, dkim=cast.signing_keys())
    domains.add(caller=send.who.owner, name="pending.test", dkim=cast.signing_keys())
    cast.sender("stranger", "other.test")
    senders.forget()
    assert stored(send(**GOOD | {"from": "a@shop.test"})).domain_id == send.who.domain.id
    assert stored(send(**GOOD | {"from": "a@x.news.shop.test"})).domain_id == other.id
    for address, code in (("a@pending.test", "domain_not_active"), ("a@other.test", "domain_not_verified")):
        answer = send(**GOOD | {"from": address})
        assert (answer.status_code, answer.get_json()["code"]) == (403, code)
    bound = key_of(send.who, domain=True)
    assert stored(send(key=bound, **GOOD)).domain_id == send.who.domain.id
    answer = send(key=bound, **GOOD | {"from": "a@pending.test"})
    assert (answer.status_code, answer.get_json()["code"]) == (403, "not_allowed")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"from": None}, "from"),
    ({"from": ""}, "from"),
    ({"from": "no address"}, "from"),
    ({"from": {"email": "", "name": "x"}}, "from.email"),
    ({"from": {"email": "a@shop.test", "name": 5}}, "from.name"),
    ({"from": {"email": "a@shop.test", "name": "x\r\nBcc: y@z.test"}}, "from.name"),
    ({"from": ["a@shop.test", "b@shop.test"]}, "from"),
    ({"to": None}, "to"),
    ({"to": ""}, "to"),
    ({"to": []}, "to"),
    ({"to": "nobody"}, "to"),
    ({"to": 5}, "to"),
    ({"to": ["good@friends.test", "bad@"]}, "to.1"),
    ({"to": [["nested@friends.test"]]}, "to.0"),
    ({"to": [f"r{n}@friends.test" for n in range(51)]}, "to"),
    ({"to": ",".join(f"r{n}@friends.test" for n in range(51))}, "to"),
    ({"to": "a@b.test\r\nBcc: c@d.test"}, "to"),
    ({"cc": {"name": "x"}}, "cc.email"),
    ({"bcc": "x@"}, "bcc"),
    ({"reply_to": ["x"] * 6}, "reply_to"),
    ({"subject": None}, "subject"),
    ({"subject": "  "}, "subject"),
    ({"subject": ["x"]}, "subject"),
    ({"subject": "x" * 999}, "subject"),
    ({"subject": "a\r\nBcc: x@y.test"}, "subject"),
    ({"html": None}, "html"),
    ({"html": 5}, "html"),
    ({"html": "a\0b"}, "html"),
    ({"text": {"a": 1}}, "text"),
    ({"headers": "X: y"}, "headers"),
    ({"headers": {"X-A": "b\r\nBcc: c@d.test"}}, "headers"),
    ({"headers": {"X-A\r\nBcc": "c@d.test"}}, "headers"),
    ({"headers": {"From": "c@d.test"}}, "headers"),
    ({"headers": {f"X-{n}": "1" for n in range(101)}}, "headers"),
    ({"tags": [1]}, "tags"),
    ({"tags": ["x" * 191]}, "tags"),
    ({"tags": [f"t{n}" for n in range(51)]}, "tags"),
    ({"metadata": [1]}, "metadata"),
    ({"metadata": {"a": "x" * 17_000}}, "metadata"),
    ({"variables": "x"}, "variables"),
    ({"attachments": "x"}, "attachments"),
    ({"attachments": [{"filename": "a", "content": "%%%"}]}, "attachments.0"),
    ({"attachments": [{"filename": "a"}]}, "attachments.0"),
    ({"attachments": [{"filename": "a", "content": "aGk=", "disposition": "sideways"}]}, "attachments.0"),
    ({"attachments": [{"filename": "a\r\nb", "content": "aGk="}]}, "attachments.0"),
    ({"scheduled_at": "tomorrow"}, "scheduled_at"),
    ({"scheduled_at": True}, "scheduled_at"),
    ({"scheduled_at": "2199-01-01T00:00:00Z"}, "scheduled_at"),
    ({"scheduledAt": "soon"}, "scheduledAt"),
    ({"type": "postcard"}, "type"),
    ({"stream": "river"}, "stream"),
    ({"routing": "ses"}, "routing"),
    ({"routing": {"purpose": ["x"]}}, "routing.purpose"),
    ({"routing": {"server": "nowhere"}}, "routing.server"),
    ({"track_opens": "perhaps"}, "track_opens"),
    ({"dry_run": "perhaps"}, "dry_run"),
    ({"template": {"id": 1}}, "template"),
    ({"idempotency_key": "\u00e9"}, "Idempotency-Key"),
    ({"type": "campaign", "cc": "x@friends.test"}, "cc"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field"), BAD, ids=[f"{next(iter(c))}-{n}" for n, (c, _) in enumerate(BAD)])
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_bad_input_is_told_by_field_and_nothing_is_stored(send: Sending, change: dict[str, Any], field: str) -> None:
    answer = send(**GOOD | change)
    told = answer.get_json()
    assert answer.status_code == 400, told
    assert field in [fault["field"] for fault in told["errors"]], told
    assert {"error", "message", "code", "request_id"} <= told.keys()
    assert models.Message.select().count() == models.Delivery.select().count() == 0


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_all_faults_of_a_request_are_told_together(send: Sending) -> None:
    told = send(to="x@", cc="y@", headers={"From": "x"}, tags=[1]).get_json()
    assert {fault["field"] for fault in told["errors"]} == {"from", "to", "cc", "subject", "html", "headers", "tags"}


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_hostile_texts_never_become_headers(send: Sending) -> None:
    """Whatever is accepted is rendered with the header fields that were asked for, and no others."""
    accepted = 0
    for text in TEXTS:
        try:
            text.encode()
        except UnicodeEncodeError:
            continue
        for fields in (
            {"subject": text},
            {"from": {"email": "hello@shop.test", "name": text}},
            {"to": [{"email": "jane@friends.test", "name": text}]},
            {"headers": {"X-Any": text}},
            {"headers": {text: "value"}},
            {"tags": [text]},
            {"reply_to": f"{text} <a@friends.test>"},
            {"attachments": [{"filename": text, "content": "aGk="}]},
        ):
            answer = send(**GOOD | fields)
            assert answer.status_code in (202, 400), answer.get_json()
            if answer.status_code != 202:
                continue
            accepted += 1
            message = stored(answer)
            raw = rendering.load([message.id])[message.id].composed(1, "jane@friends.test", None)
            head = raw.partition(b"\r\n\r\n")[0]
            names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n") if line[:1] not in b" \t"]
            assert b"bcc" not in names and len(names) == len(set(names)), head
            assert recipients(message) == ["jane@friends.test"]
    assert accepted > 80


def test_suppressed_recipients(send: Sending) -> None:
    suppression_list.add(caller=send.who.owner, addresses=["gone@friends.test"])
    alone = send(**GOOD | {"to": "gone@friends.test"})
    assert (alone.status_code, alone.get_json()["code"]) == (409, "recipient_suppressed")
    together = send(**GOOD | {"to": ["gone@friends.test", "jane@friends.test"]})
    assert together.get_json()["suppressed"] == ["gone@friends.test"]
    assert models.Message.select().count() == 1


def test_quotas_are_told_with_the_time_to_wait(send: Sending) -> None:
    models.Plan.update(emails_day=2).where(models.Plan.name == "Unlimited").execute()
    try:
        identity.forget()
        assert [send(**GOOD).status_code for _ in range(3)] == [202, 202, 429]
        refused = send(**GOOD)
        assert refused.get_json()["code"] == "quota_reached" and int(refused.headers["Retry-After"]) >= 1
    finally:
        models.Plan.update(emails_day=None).where(models.Plan.name == "Unlimited").execute()
        identity.forget()


def test_unknown_fields_are_told_or_refused(send: Sending) -> None:
    told = send(**GOOD, colour="red", priority=1)
    assert told.status_code == 202
    assert [one["field"] for one in told.get_json()["warnings"]] == ["colour", "priority"]
    strict = send(key=key_of(send.who, strict=True), **GOOD, colour="red")
    assert (strict.status_code, strict.get_json()["code"]) == (400, "unknown_field")
    assert models.Message.select().count() == 1


def test_scopes_and_surfaces(send: Sending) -> None:
    for options, status in (
        ({"scopes": ["send"]}, 202),
        ({"scopes": ["read:messages"]}, 403),
        ({"surface": "octeth", "domain": True}, 202),
        ({"surface": "maillayer"}, 401),
    ):
        assert send(key=key_of(send.who, **options), **GOOD).status_code == status, options
    assert send(key="mio_live_wrong", **GOOD).status_code == 401
    refused = send.client.post("/v1/send", json=GOOD)
    assert (refused.status_code, refused.get_json()["error"]) == (401, "Invalid or revoked API key")


def test_test_keys_are_captured(send: Sending) -> None:
    answer = send(key=key_of(send.who, live=False), **GOOD)
    assert answer.get_json()["test"] is True
    message = stored(answer)
    assert not message.live
    assert db.rows("SELECT l.route FROM delivery d JOIN lane l ON l.id = d.lane_id") == [("test",)]


def test_a_campaign_is_one_message_for_each_recipient(send: Sending) -> None:
    suppression_list.add(caller=send.who.owner, addresses=["gone@friends.test"])
    people = ["a@friends.test", "gone@friends.test", "b@friends.test", "a@friends.test"]
    answer = send(**GOOD | {"to": people}, type="campaign", idem="launch")
    told = answer.get_json()
    assert answer.status_code == 202 and len(told["ids"]) == 2 and told["suppressed"] == ["gone@friends.test"]
    assert sorted(db.rows("SELECT rcpt FROM delivery")) == [("a@friends.test",), ("b@friends.test",)]
    assert {stream for (stream,) in db.rows("SELECT stream FROM message")} == {2}
    again = send(**GOOD | {"to": people}, type="campaign", idem="launch")
    assert again.get_json()["ids"] == told["ids"] and again.headers["Idempotent-Replayed"] == "true"
    nobody = send(**GOOD | {"to": "gone@friends.test"}, type="campaign")
    assert (nobody.status_code, nobody.get_json()["code"]) == (409, "recipient_suppressed")


def test_dry_runs_store_nothing(send: Sending) -> None:
    answer = send(**GOOD, dry_run=True)
    told = answer.get_json()
    assert (answer.status_code, told["dry_run"], told["decision"]) == (200, True, "accepted")
    assert told["recipients"][0]["recipient"] == "jane@friends.test" and told["verdicts"][0]["gate"] == "auth"
    until = {one["gate"]: one["until"] for one in told["verdicts"]}
    assert until["auth"] is None and clock.moment_ms(until["schedule"]) > clock.now_ms() and "T" in until["schedule"]
    suppression_list.add(caller=send.who.owner, addresses=["jane@friends.test"])
    refused = send(**GOOD, dry_run=True).get_json()
    assert (refused["decision"], refused["refusal"]["code"]) == ("refused", "recipient_suppressed")
    assert refused["refusal"]["status"] == 409 and refused["verdicts"][0]["until"] is None
    assert models.Message.select().count() == 0


def test_parallel_requests_with_one_key_make_one_message(app: Flask, send: Sending) -> None:
    """A shorter one of a thousand keys, each five times in parallel."""
    found: dict[int, set[str]] = {n: set() for n in range(12)}

    def ask() -> None:
        try:
            for n in found:
                for _ in range(20):
                    answer = Sending.__call__(send, **GOOD, idem=f"key-{n}")
                    if answer.status_code != 409:
                        assert answer.status_code == 202, answer.get_json()
                        found[n].add(answer.get_json()["id"])
                        break
        finally:
            db.close()

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(one) == 1 for one in found.values())
    assert models.Message.select().count() == len(found)
