"""`POST /v1/send` with Mailmark keys."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway import clock, ids
from gateway.services import mailboxes, rendering, sender_groups, suppression_list
from models.vocabulary import Stream
from tests import cast
from tests.web.rest.mailmark_world import Api, key

BODY: dict[str, Any] = {
    "from": "hello@shop.test", "to": ["user@example.com"], "subject": "Hello!", "html": "<p>Sent via Mailmark.</p>",
}  # fmt: skip
PEOPLE = ["a@example.com", "b@example.com", "c@example.com"]


@pytest.fixture
def sender(client: FlaskClient) -> cast.Sender:
    found = cast.sender()
    for name in ("hello", "sales"):
        mailboxes.add(caller=found.caller, address=name, display_name=f"{name.title()} Team")
    return found


@pytest.fixture
def api(client: FlaskClient, sender: cast.Sender) -> Api:
    return Api(client, key(sender))


def send(api: Api, status: int = 200, headers: dict[str, str] | None = None, **change: Any) -> dict[str, Any]:
    body = {name: value for name, value in (BODY | change).items() if value is not None}
    answer = api("POST", "/send", body, **(headers or {}))
    assert answer.status_code == status, answer.get_json()
    found: dict[str, Any] = answer.get_json()
    return found


def rendered(message: models.Message) -> str:
    delivery = models.Delivery.get(models.Delivery.message_id == message.id)
    return rendering.load([message.id])[message.id].composed(delivery.id, delivery.rcpt, None).decode()


def test_one_email_to_all_together(api: Api) -> None:
    sent = send(api, to="a@example.com, b@example.com\nc@example.com")
    assert (sent["status"], sent["blocked"], sent["batchId"]) == ("queued", [], None)
    (message,) = models.Message.select()
    assert message.uuid == ids.uuid_of("msg", sent["messageId"])
    assert (message.stream, message.origin) == (Stream.TRANSACTIONAL, None)
    assert sorted(row.rcpt for row in models.Delivery.select()) == PEOPLE
    text = rendered(message)
    assert "From: Hello Team <hello@shop.test>\r\n" in text
    assert "To: a@example.com, b@example.com, c@example.com\r\n" in text


def test_a_campaign_is_one_email_for_each_under_one_batch(api: Api, sender: cast.Sender) -> None:
    suppression_list.add(caller=sender.owner, addresses=["b@example.com"], domain_id=sender.domain.id)
    merge = {"firstName": "friend", "a@example.com": {"firstName": "Ann"}}
    sent = send(
        api, to=[*PEOPLE, "A@example.com"], type="campaign", subject="Hi {{firstName}}", html=None,
        text="{{email}} {{firstName}}", mergeFields=merge,
    )  # fmt: skip
    assert (len(sent["messageIds"]), sent["blocked"], sent["status"]) == (2, ["b@example.com"], "queued")
    messages = list(models.Message.select().order_by(models.Message.id))
    assert [message.subject for message in messages] == ["Hi Ann", "Hi friend"]
    assert "\r\n\r\na@example.com Ann\r\n" in rendered(messages[0])
    assert {message.stream for message in messages} == {Stream.BULK}
    (batch,) = models.Batch.select()
    assert (batch.recipients, batch.blocked, ids.public_id("bat", batch.uuid)) == (2, 1, sent["batchId"])
    assert {message.origin for message in messages} == {f"bat:{batch.uuid.hex}"}
    (stats,) = api.get(f"/campaign-stats?batchId={sent['batchId']}")
    assert (stats["sent"], stats["status"]) == (2, "sent")


def test_placeholders_stay_without_merge_fields(api: Api) -> None:
    send(api, subject="{{firstName}} stays")
    send(api, subject="{{firstName}} goes", mergeFields={})
    assert [row.subject for row in models.Message.select().order_by(models.Message.id)] == [
        "{{firstName}} stays", "goes",
    ]  # fmt: skip


def test_later_is_milliseconds_ahead(api: Api) -> None:
    at = clock.now_ms() + 3_600_000
    for change in ({}, {"type": "campaign"}):
        sent = send(api, scheduledAt=at, **change)
        assert (sent["status"], sent["scheduledAt"]) == ("scheduled", at)
    assert {row.due_ms for row in models.Delivery.select()} == {at}
    for wrong in (clock.now_ms() - 1, at // 1000, "tomorrow", -1):
        refused = send(api, 400, scheduledAt=wrong)
        assert refused["errors"][0]["field"] == "scheduledAt"
    assert models.Message.select().count() == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"html": None}, "html"),
        ({"from": "nobody@shop.test"}, "from"),
        ({"from": "hello@other.test"}, "from"),
        ({"from": None}, "from"),
        ({"from": "grp_unknown"}, "from"),
        ({"senderGroupId": "x"}, "senderGroupId"),
        ({"to": []}, "to"),
        ({"to": "no address"}, "to"),
        ({"subject": None}, "subject"),
        ({"type": "other"}, "type"),
        ({"mergeFields": [1]}, "mergeFields"),
    ],
)
def test_bad_fields_are_400(api: Api, change: dict[str, Any], field: str) -> None:
    assert send(api, 400, **change)["errors"][0]["field"] == field
    assert models.Message.select().count() == 0


def test_nobody_left_is_422(api: Api, sender: cast.Sender) -> None:
    suppression_list.add(caller=sender.owner, addresses=PEOPLE, domain_id=sender.domain.id)
    for type_ in ("transactional", "campaign"):
        refused = send(api, 422, to=PEOPLE, type=type_)
        assert (refused["code"], refused["blocked"]) == ("all_recipients_refused", PEOPLE)
    assert models.Message.select().count() == models.Batch.select().count() == 0
    assert send(api, to=[*PEOPLE, "d@example.com"])["blocked"] == PEOPLE


def test_a_group_spreads_over_its_mailboxes(api: Api, sender: cast.Sender) -> None:
    group = sender_groups.add(caller=sender.caller, name="x", emails=PEOPLE)
    send(api, **{"from": group.public_id, "to": None, "type": "campaign"})
    send(api, **{"from": None, "senderGroupId": group.public_id})
    froms = [row.from_addr for row in models.Message.select().order_by(models.Message.id)]
    assert froms == ["hello@shop.test", "sales@shop.test", "hello@shop.test", "sales@shop.test"]
    assert {row.rcpt for row in models.Delivery.select()} == {*PEOPLE, "user@example.com"}
    for address in ("hello", "sales"):
        mailboxes.delete(caller=sender.caller, address=address)
    assert send(api, 400, **{"from": group.public_id})["errors"][0]["field"] == "from"


@pytest.mark.parametrize("type_", ["transactional", "campaign"])
def test_a_request_made_again_is_answered_again(api: Api, type_: str) -> None:
    headers = {"Idempotency-Key": "once"}
    first = send(api, to=PEOPLE, type=type_, headers=headers)
    again = api("POST", "/send", BODY | {"to": PEOPLE, "type": type_}, **headers)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    name = "messageIds" if type_ == "campaign" else "messageId"
    assert (again.get_json()[name], again.get_json()["batchId"]) == (first[name], first["batchId"])
    assert send(api, 422, to=["else@example.com"], type=type_, headers=headers)["code"] == "idempotency_mismatch"
    assert models.Message.select().count() == (3 if type_ == "campaign" else 1)
    assert models.Batch.select().count() == (1 if type_ == "campaign" else 0)


def test_a_test_key_sends_nothing_out(client: FlaskClient, sender: cast.Sender) -> None:
    made = key(sender, live=False)
    assert made.startswith("dm_test_")
    assert send(Api(client, made))["test"] is True
    assert models.Message.get().live is False
