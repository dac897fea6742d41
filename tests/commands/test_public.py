"""The end-user endpoints as commands: the same fields and numbers, in the command envelope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import models
from commands import registry
from commands.dispatch import dispatch
from commands.public import SendEmailParams
from commands.sending.fields import FIELDS
from gateway import ids
from gateway.services import apis, event_search, identity, messages
from models.vocabulary import ACCOUNT_DISABLED
from tests import cast

Call = Callable[..., dict[str, Any]]

NAMES = ("SendEmail", "AddWebhook.Public", "GetWebhooks.Public", "DeleteWebhook.Public", "GetEvents.Public")
MAIL = {
    "Subject": "Hello World",
    "ContentType": "html",
    "HtmlContent": "<p>Hello, World!</p>",
    "From": {"email": "sender@shop.test", "name": "John Doe"},
    "To": [{"email": "recipient@friends.test", "name": "Jane Doe"}],
}

pytestmark = pytest.mark.usefixtures("store")


def call(name: str, *, headers: dict[str, str] | None = None, **params: Any) -> dict[str, Any]:
    fields = {"command": f"EmailGateway.{name}"} | {param.lower(): value for param, value in params.items()}
    answer = dispatch(fields, ip="127.0.0.1", request_id="test", headers=headers)
    assert answer.status == 200
    return answer.body


@pytest.fixture
def who(store: str) -> cast.Sender:
    return cast.sender()


@pytest.fixture
def key(who: cast.Sender) -> str:
    return apis.add(caller=who.owner, domain_id=who.domain.id, description="x").key


def _codes(answer: dict[str, Any]) -> list[int]:
    codes = [error["Code"] for error in answer["Errors"]]
    assert (answer["Success"], answer["ErrorCode"]) == (False, codes[0])
    assert answer["ErrorText"] == answer["Errors"][0]["Message"]
    assert all(error["Message"] for error in answer["Errors"])
    return codes


def test_a_send_by_each_way_of_the_key(key: str) -> None:
    ways: list[dict[str, Any]] = [
        {"SenderAPIKey": key},
        {"headers": {"Authorization": f"Bearer {key}"}},
        {"headers": {"Authorization": f"bearer {key}"}, "SenderAPIKey": "wrong"},
    ]
    for number, way in enumerate(ways, 1):
        answer = call("SendEmail", **way, **MAIL)
        assert (answer["Success"], answer["ErrorCode"]) == (True, 0)
        assert models.Message.select().count() == number
        assert str(models.Message.select().order_by(models.Message.id.desc()).get().uuid) == answer["MessageID"]


def test_a_repeated_send_is_made_once(key: str) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first = call("SendEmail", headers=headers, SenderAPIKey=key, **MAIL)
    again = call("SendEmail", headers=headers, SenderAPIKey=key, **MAIL)
    assert again == first | {"Replayed": True}
    assert models.Message.select().count() == 1
    other = call("SendEmail", headers=headers, SenderAPIKey=key, **MAIL | {"Subject": "Other"})
    assert _codes(other) == [100010]


def test_all_that_is_wrong_with_a_send_is_listed(key: str) -> None:
    assert _codes(call("SendEmail")) == [1, 3, 8, 9, 20]
    assert _codes(call("SendEmail", SenderAPIKey="wrong", CC=[{}], **MAIL)) == [13, 21]
    assert _codes(call("SendEmail", SenderAPIKey=key, **MAIL | {"To": "", "Subject": " "})) == [8, 20]
    assert _codes(call("SendEmail", SenderAPIKey=key, **MAIL | {"From": "who@other.test"})) == [3]
    assert models.Message.select().count() == 0


def test_what_the_engine_refuses_has_its_number(who: cast.Sender, key: str) -> None:
    models.SenderDomain.update(status="pending", enabled_name=None).execute()
    assert _codes(call("SendEmail", SenderAPIKey=key, **MAIL)) == [32]
    models.SenderDomain.update(deleted_ms=1).execute()
    assert _codes(call("SendEmail", SenderAPIKey=key, **MAIL)) == [2]
    models.Account.update(status=ACCOUNT_DISABLED).execute()
    identity.forget()
    assert _codes(call("SendEmail", SenderAPIKey=key, **MAIL)) == [12]


def test_webhooks_come_and_go(who: cast.Sender, key: str) -> None:
    added = call("AddWebhook.Public", SenderAPIKey=key, Event="delivered", WebhookURL="http://127.0.0.1:1/hook")
    assert isinstance(added["NewWebhookID"], str)
    listed = call("GetWebhooks.Public", SenderAPIKey=key)
    assert (listed["Success"], listed["ErrorCode"]) == (True, 0)
    assert [(hook["Event"], hook["URL"], hook["Status"]) for hook in listed["Webhooks"]] == [
        ("delivered", "http://127.0.0.1:1/hook", "Active")
    ]
    gone = call("DeleteWebhook.Public", SenderAPIKey=key, WebhookID=added["NewWebhookID"])
    assert gone == {"Success": True, "ErrorCode": 0, "Message": "Webhook successfully deleted."}
    assert call("DeleteWebhook.Public", SenderAPIKey=key, WebhookID=added["NewWebhookID"])["ErrorCode"] == 4


def test_what_webhooks_refuse(who: cast.Sender, key: str) -> None:
    assert _codes(call("AddWebhook.Public")) == [2, 5, 13]
    assert _codes(call("AddWebhook.Public", SenderAPIKey=key, Event="x", WebhookURL="http://127.0.0.1:1/")) == [3]
    for url, code in (("ftp://x.test/", 6), ("http://10.0.0.1/", 7)):
        answer = call("AddWebhook.Public", SenderAPIKey=key, Event="open", WebhookURL=url)
        assert (answer["Success"], answer["ErrorCode"]) == (False, code)
    assert _codes(call("DeleteWebhook.Public", SenderAPIKey="wrong")) == [1, 13]
    assert _codes(call("GetWebhooks.Public")) == [13]
    stranger = cast.sender("stranger", "other.test")
    other = apis.add(caller=stranger.owner, domain_id=stranger.domain.id, description="x").key
    added = call("AddWebhook.Public", SenderAPIKey=key, Event="open", WebhookURL="http://127.0.0.1:1/")
    assert call("DeleteWebhook.Public", SenderAPIKey=other, WebhookID=added["NewWebhookID"])["ErrorCode"] == 4
    both = {"headers": {"Authorization": f"Bearer {other}"}, "SenderAPIKey": key}
    assert _codes(call("GetWebhooks.Public", **both)) == [13]


def test_events_are_read(who: cast.Sender, key: str) -> None:
    sent = [messages.accept(who.caller, cast.draft()).message_id for _ in range(6)]
    page = call("GetEvents.Public", SenderAPIKey=key)
    assert (page["TotalRecords"], len(page["Events"])) == (6, 5)
    assert page["Events"][0]["MessageId"] == sent[-1]
    rest = call("GetEvents.Public", SenderAPIKey=key, StartFrom="5", RetrieveCount=500, StartDate=1_000_000_000)
    assert [event["MessageId"] for event in rest["Events"]] == sent[:1]
    one = call("GetEvents.Public", SenderAPIKey=key, MessageID=sent[2], Event="accepted", EndDate="2100-01-01")
    assert [event["MessageId"] for event in one["Events"]] == [sent[2]]
    assert call("GetEvents.Public", SenderAPIKey=key, EndDate="1000000000")["TotalRecords"] == 0


def test_a_partial_answer_says_where_to_go_on(who: cast.Sender, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [messages.accept(who.caller, cast.draft()).message_id for _ in range(4)]
    monkeypatch.setattr(event_search, "_MESSAGES", 1)
    monkeypatch.setattr(event_search, "_BUDGET_S", 0.0)
    found: list[str] = []
    cursor, pages = "", 0
    while pages == 0 or cursor:
        page = call("GetEvents.Public", SenderAPIKey=key, Query="order", Cursor=cursor)
        found += [event["MessageId"] for event in page["Events"]]
        assert page.get("Partial", False) is bool(page.get("Cursor"))
        cursor, pages = page.get("Cursor", ""), pages + 1
    assert found == sent[::-1]
    assert pages > 1


def test_what_events_refuse(key: str) -> None:
    assert call("GetEvents.Public", SenderAPIKey=key, Query="order", Cursor="x")["ErrorCode"] == 100010
    assert _codes(call("GetEvents.Public", StartFrom="x", RetrieveCount=[1])) == [1, 4, 5]
    assert _codes(call("GetEvents.Public", SenderAPIKey=key, StartDate="soon")) == [100010]
    assert call("GetEvents.Public", SenderAPIKey=key, Event="nonsense")["ErrorCode"] == 100010
    assert call("GetEvents.Public", SenderAPIKey=key, Query="(((")["ErrorCode"] == 100010


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_is_no_text_and_a_gone_domain(who: cast.Sender, key: str, name: str) -> None:
    more = MAIL if name == "SendEmail" else {"Event": "open", "WebhookURL": "http://127.0.0.1:1/", "WebhookID": 1}
    more = {field: value for field, value in more.items() if name != "GetEvents.Public"}
    assert call(name, SenderAPIKey=[key], **more)["ErrorCode"] == 13
    models.SenderDomain.update(deleted_ms=1, enabled_name=None).execute()
    assert call(name, SenderAPIKey=key, **more)["ErrorCode"] == (13 if name == "AddWebhook.Public" else 2)


@pytest.mark.parametrize("name", NAMES)
def test_too_many_requests(store: str, name: str) -> None:
    plan = f"narrow-{ids.token(8)}"  # plans outlive the tests of a server
    models.Plan.create(name=plan, requests=1, request_window=60)
    who = cast.sender(plan=plan)
    key = apis.add(caller=who.owner, domain_id=who.domain.id, description="x").key
    call(name, SenderAPIKey=key)
    answer = call(name, SenderAPIKey=key)
    assert 429 in _codes(answer)
    assert " seconds for another 1 attempts." in answer["Errors"][-1]["Message"]


def test_the_record_names_every_field_of_a_send() -> None:
    record = registry.find("EmailGateway.SendEmail")
    assert record is not None and isinstance(record.params, SendEmailParams)
    assert {field.lower() for field in record.params.fields} == FIELDS | {"senderapikey"}
