"""The Python SDK of a hosted service with this very end-user layer: only its base URL is another."""

from __future__ import annotations

import email
import email.message
import email.policy
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Served

sendlayer = pytest.importorskip("sendlayer", reason="the sendlayer SDK is not installed")
pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

EVENTS = ("accepted", "rejected", "delivered", "opened", "clicked", "unsubscribed", "complained", "failed")
WEBHOOKS = ("bounce", "click", "open", "unsubscribe", "complaint", "delivery")
SENDER = {"email": "hello@shop.test", "name": "The Shop"}


def _client(served: Served, key: str | None = None) -> Any:
    client = sendlayer.SendLayer(key or served.sender_key)
    client.Emails.client.base_url = f"{served.url}/api/v1"
    return client


@pytest.fixture
def client(served: Served) -> Any:
    return _client(served)


def _delivered(client: Any, message_id: str, count: int) -> list[dict[str, Any]]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = client.Events.get(message_id=message_id, event="delivered", start_from=0, retrieve_count=100)
        if found["totalRecords"] >= count:
            return list(found["events"])
        time.sleep(0.1)
    raise AssertionError(f"not delivered: {client.Events.get(message_id=message_id)}")


def _mail(served: Served, recipient: str) -> email.message.EmailMessage:
    """The newest captured mail to the recipient."""
    rows = [row for row in served.installation.cli("mail", "list") if recipient in str(row)]
    shown = served.installation.cli("mail", "show", str(rows[0]["id"]))
    return email.message_from_string(shown["message"], policy=email.policy.default)


def test_the_least_that_can_be_sent(client: Any) -> None:
    sent = client.Emails.send(sender="hello@shop.test", to="jane@friends.test", subject="Hi", text="Hello")
    (event,) = _delivered(client, sent["MessageID"], 1)
    assert (event["Event"], event["Recipient"]) == ("delivered", "jane@friends.test")
    assert event["Message"]["Headers"]["Subject"] == "Hi"


def test_everything_that_can_be_sent(served: Served, client: Any, tmp_path: Path) -> None:
    file = tmp_path / "invoice.txt"
    file.write_text("what is owed")
    sent = client.Emails.send(
        sender=SENDER,
        to=[{"email": "all@friends.test", "name": "Jane"}, "more@friends.test"],
        subject="Everything",
        text="plain words",
        html="<p>html words</p>",
        cc=[{"email": "carl@friends.test", "name": None}],
        bcc=["bella@friends.test"],
        reply_to={"email": "answers@shop.test", "name": "Answers"},
        attachments=[
            {"path": str(file), "type": "text/plain"},
            {"path": f"{served.url}/health", "type": "application/json"},
        ],
        headers={"X-Order": "4711"},
        tags=["orders", "first"],
    )
    events = _delivered(client, sent["MessageID"], 4)
    assert {event["Recipient"] for event in events} == {
        "all@friends.test",
        "more@friends.test",
        "carl@friends.test",
        "bella@friends.test",
    }
    assert events[0]["Tags"] == ["orders", "first"]
    mail = _mail(served, "all@friends.test")
    assert (mail["From"], mail["Cc"]) == ("The Shop <hello@shop.test>", "carl@friends.test")
    assert (mail["Reply-To"], mail["X-Order"], mail["Bcc"]) == ("Answers <answers@shop.test>", "4711", None)
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None and "plain words" in plain.get_content()
    assert html is not None and "html words" in html.get_content()
    attached = {part.get_filename(): part.get_content_type() for part in mail.iter_attachments()}
    assert attached == {"invoice.txt": "text/plain", "health": "application/json"}
    assert next(mail.iter_attachments()).get_content().strip() == "what is owed"


def test_every_filter_of_events(client: Any) -> None:
    sent = client.Emails.send(sender=SENDER, to="filter@friends.test", subject="Filter", html="x")["MessageID"]
    _delivered(client, sent, 1)
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    for event in EVENTS:
        here = client.Events.get(event=event, message_id=sent, start_date=now - hour, end_date=now + hour)
        assert here["totalRecords"] == (1 if event in ("accepted", "delivered") else 0), event
    past = client.Events.get(start_date=now - 3 * hour, end_date=now - 2 * hour)
    assert past == {"totalRecords": 0, "events": []}
    everything = client.Events.get(retrieve_count=100)
    assert everything["totalRecords"] == len(everything["events"]) >= 2
    page = client.Events.get(start_from=1, retrieve_count=1)
    assert [event["EventId"] for event in page["events"]] == [everything["events"][1]["EventId"]]


def test_webhooks_from_beginning_to_end(client: Any) -> None:
    made = {
        int(client.Webhooks.create(f"https://example.com/hook/{event}", event)["NewWebhookID"]): event
        for event in WEBHOOKS
    }
    listed = {int(hook["WebhookID"]): hook for hook in client.Webhooks.get()["Webhooks"]}
    assert {hook_id: listed[hook_id]["Event"] for hook_id in made} == made
    for hook_id, event in made.items():
        assert listed[hook_id]["WebhookURL"] == f"https://example.com/hook/{event}"
        assert listed[hook_id]["Status"] == "Active"
        assert client.Webhooks.delete(hook_id) == {"Message": "Webhook successfully deleted."}
    assert not made.keys() & {int(hook["WebhookID"]) for hook in client.Webhooks.get()["Webhooks"]}
    with pytest.raises(sendlayer.SendLayerValidationError) as refused:
        client.Webhooks.delete(next(iter(made)))
    assert refused.value.codes == [4]


def test_a_webhook_id_is_a_number_where_the_account_wants_it(served: Served, client: Any) -> None:
    """The SDK's types say that ids are numbers; its own check refuses to delete by a text."""
    with pytest.raises(sendlayer.SendLayerValidationError):
        client.Webhooks.delete(str(5))
    hook_id = client.Webhooks.create("https://example.com/typed", "open")["NewWebhookID"]
    assert client.Webhooks.delete(int(hook_id))["Message"]


Call = Callable[[Any], Any]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.Emails.send(sender=SENDER, to="a@friends.test", subject="s", text="t"),
        lambda client: client.Events.get(),
        lambda client: client.Webhooks.get(),
        lambda client: client.Webhooks.create("https://example.com/", "open"),
        lambda client: client.Webhooks.delete(1),
    ],
    ids=["send", "events", "webhooks", "create", "delete"],
)
def test_a_wrong_key_is_an_authentication_error(served: Served, call: Call) -> None:
    with pytest.raises(sendlayer.SendLayerAuthenticationError) as refused:
        call(_client(served, "4D196964-B909FDD7-134A4E29-6B0E923E"))
    assert refused.value.status_code == 401
    assert refused.value.codes == [13]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda client: client.Emails.send(sender="a@other.test", to="b@friends.test", subject="s", text="t"), 3),
        (lambda client: client.Emails.send(sender=SENDER, to="b@friends.test", subject="", text="t"), 8),
        (lambda client: client.Webhooks.create("http://192.168.1.1/hook", "open"), 7),
    ],
    ids=["foreign sender", "no subject", "private webhook"],
)
def test_a_wrong_request_is_a_validation_error_with_the_documents_code(client: Any, call: Call, code: int) -> None:
    with pytest.raises(sendlayer.SendLayerValidationError) as refused:
        call(client)
    assert (refused.value.status_code, refused.value.codes) == (422, [code])
    assert refused.value.message
