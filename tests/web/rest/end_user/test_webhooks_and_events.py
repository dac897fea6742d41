"""`/api/v1/webhooks` and `/api/v1/events` with a sender key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.services import apis, domains, event_feed, event_search, identity, ledger, messages, webhook_words
from gateway.services.identity import Caller
from models.account import Plan
from models.database import database, in_transaction
from models.domain import SenderDomain
from models.vocabulary import EventKind
from models.webhook import Webhook
from tests import cast
from tests.application import application

URL = "https://yourdomain.com/webhook"


@dataclass
class Holder:
    """Holds the key of a domain."""

    client: FlaskClient
    owner: Caller
    domain: SenderDomain
    key: str

    def ask(self, method: str, path: str, **how: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.key}"} | how.pop("headers", {})
        return self.client.open(f"/api/v1/{path}", method=method, headers=headers, **how)


@pytest.fixture
def holder(store: str) -> Holder:
    identity.forget()
    ledger.forget_words()
    owner = cast.account()
    domain = domains.add(caller=owner, name="shop.test", trusted=True, dkim=cast.signing_keys())
    key = apis.add(caller=owner, domain_id=domain.id, description="Shop").key
    return Holder(application().test_client(), owner, domain, key)


def codes(answer: TestResponse) -> tuple[int, list[int]]:
    listed = answer.get_json()["Errors"]
    assert all(error["Message"] for error in listed)
    return answer.status_code, [error["Code"] for error in listed]


def test_a_webhook_s_life(holder: Holder) -> None:
    made = holder.ask("POST", "webhooks", json={"Event": "delivered", "WebhookURL": URL})
    assert made.status_code == 200
    assert list(made.get_json()) == ["NewWebhookID"]
    number = made.get_json()["NewWebhookID"]
    assert isinstance(number, str)
    listed = holder.ask("GET", "webhooks")
    assert listed.status_code == 200
    (row,) = listed.get_json()["Webhooks"]
    assert (row["Event"], row["URL"], row["Status"], row["WebhookID"]) == ("delivered", URL, "Active", number)
    # As printed: a JSON body that curl calls a form.
    gone = holder.ask(
        "DELETE", "webhooks", data=f'{{"WebhookID":"{number}"}}', content_type="application/x-www-form-urlencoded"
    )
    assert (gone.status_code, gone.get_json()) == (200, {"Message": "Webhook successfully deleted."})
    assert holder.ask("GET", "webhooks").get_json() == {"Webhooks": []}


def test_delete_by_query_and_by_path(holder: Holder) -> None:
    for way in ("webhooks?WebhookID={}", "webhooks/{}"):
        number = holder.ask("POST", "webhooks", json={"Event": "open", "WebhookURL": URL}).get_json()["NewWebhookID"]
        assert holder.ask("DELETE", way.format(number)).status_code == 200
        assert codes(holder.ask("DELETE", way.format(number))) == (422, [4])
    assert codes(holder.ask("DELETE", "webhooks/abc")) == (422, [4])
    assert codes(holder.ask("DELETE", "webhooks")) == (422, [1])


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, [2, 5]),
        ({"Event": "open"}, [5]),
        ({"WebhookURL": URL}, [2]),
        ({"Event": "nonsense"}, [3, 5]),
        ({"Event": {"open": 1}, "WebhookURL": URL}, [3]),
        ({"Event": "open", "WebhookURL": "yourdomain.com"}, [6]),
        ({"Event": "open", "WebhookURL": "http://127.0.0.2.nip/"}, None),
        ({"Event": "open", "WebhookURL": "http://192.168.1.1/"}, [7]),
    ],
)
def test_the_errors_of_a_post(holder: Holder, body: dict[str, Any], found: list[int] | None) -> None:
    answer = holder.ask("POST", "webhooks", json=body)
    if found is None:
        assert answer.status_code == 200
    else:
        assert codes(answer) == (422, found)


def test_keys(holder: Holder) -> None:
    bad = {"headers": {"Authorization": "Bearer nonsense"}}
    assert codes(holder.client.get("/api/v1/webhooks")) == (401, [13])
    assert codes(holder.ask("GET", "webhooks", **bad)) == (401, [13])
    assert codes(holder.ask("POST", "webhooks", **bad, json={})) == (401, [2, 5, 13])
    assert codes(holder.ask("DELETE", "webhooks", **bad)) == (401, [1, 13])
    assert codes(holder.client.get("/api/v1/events")) == (401, [1])
    assert codes(holder.ask("GET", "events", **bad)) == (401, [13])
    assert codes(holder.client.get("/api/v1/events?StartFrom=x&RetrieveCount=y")) == (401, [1, 4, 5])
    query = f"?SenderAPIKey={holder.key}"
    assert holder.client.get(f"/api/v1/webhooks{query}").status_code == 200
    assert holder.client.get(f"/api/v1/events{query}").status_code == 200


def test_a_disabled_account_and_a_deleted_domain(holder: Holder) -> None:
    for change in ("UPDATE account SET status = 'disabled'", "UPDATE sender_domain SET deleted_ms = 1"):
        database.execute_sql(change)
        identity.forget()
        assert codes(holder.ask("GET", "webhooks")) == (404, [2])
        assert codes(holder.ask("DELETE", "webhooks/1")) == (404, [2])
        assert codes(holder.ask("GET", "events")) == (404, [2])
        assert codes(holder.ask("POST", "webhooks", json={"Event": "open", "WebhookURL": URL})) == (401, [13])
        database.execute_sql("UPDATE account SET status = 'active'")


def test_the_request_rate(holder: Holder) -> None:
    database.execute_sql("UPDATE account SET plan_id = (SELECT id FROM plan WHERE name = 'Default')")
    identity.forget()
    answers = [holder.ask("GET", "webhooks").status_code for _ in range(100)]
    assert set(answers) == {200}
    refused = holder.ask("GET", "events")
    assert codes(refused) == (429, [429])
    seconds = int(refused.headers["Retry-After"])
    assert seconds > 0
    text = refused.get_json()["Errors"][0]["Message"]
    assert text.startswith(f"Too many requests. Please wait for {seconds} seconds before trying again.")
    assert text.endswith(f"Wait for {seconds} seconds for another 100 attempts.")
    assert refused.headers["X-RateLimit-Limit"] == "100"
    text = holder.ask("GET", "webhooks").get_json()["Errors"][0]["Message"]
    assert text == f"Too many requests. Wait for {seconds} seconds for another 100 attempts."


def test_a_plan_without_room_for_a_webhook(holder: Holder) -> None:
    body = {"Event": "open", "WebhookURL": URL}
    assert holder.ask("POST", "webhooks", json=body).status_code == 200
    try:
        Plan.update(max_webhooks=1).where(Plan.name == "Unlimited").execute()
        identity.forget()
        assert codes(holder.ask("POST", "webhooks", json=body)) == (422, [100010])
    finally:
        Plan.update(max_webhooks=None).where(Plan.name == "Unlimited").execute()


def test_another_domain_s_webhook_is_not_there(holder: Holder) -> None:
    stranger = cast.sender("stranger", "other.test")
    key = apis.add(caller=stranger.owner, domain_id=stranger.domain.id, description="x").key
    number = holder.ask("POST", "webhooks", json={"Event": "open", "WebhookURL": URL}).get_json()["NewWebhookID"]
    foreign = {"headers": {"Authorization": f"Bearer {key}"}}
    assert codes(holder.ask("DELETE", f"webhooks/{number}", **foreign)) == (422, [4])
    assert holder.ask("GET", "webhooks", **foreign).get_json() == {"Webhooks": []}
    assert len(holder.ask("GET", "webhooks").get_json()["Webhooks"]) == 1


def sent(holder: Holder, n: int = 1) -> list[str]:
    who = cast.Sender(holder.owner, identity.authenticate_sender(keys=[holder.key]), holder.domain)
    return [messages.accept(who.caller, cast.draft()).message_id for _ in range(n)]


def test_events_have_the_document_s_keys(holder: Holder) -> None:
    (uuid,) = sent(holder)
    body = holder.ask("GET", "events").get_json()
    assert body["TotalRecords"] == 1
    (event,) = body["Events"]
    assert event["EventId"].startswith("evt_")
    assert (event["EventType"], event["Event"], event["Recipient"]) == ("accepted", "accepted", "jane@friends.test")
    assert (event["MessageId"], event["CampaignId"]) == (uuid, None)
    assert event["EventTimestamp"].endswith("Z")
    assert isinstance(event["LoggedAt"], int)
    headers = event["Message"]["Headers"]
    assert headers["MessageId"] == f"{uuid}@shop.test"
    assert headers["From"] == [["The Shop", "hello@shop.test"]]
    assert headers["To"] == [["Jane Doe", "jane@friends.test"]]
    assert (headers["Cc"], headers["Bcc"], headers["ReplyTo"]) == ([], [], [])
    assert headers["Subject"] == "Your order"
    assert isinstance(event["Details"], dict)


def test_a_partial_answer_says_where_to_go_on(holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    uuids = sent(holder, 4)
    monkeypatch.setattr(event_search, "_MESSAGES", 1)
    monkeypatch.setattr(event_search, "_BUDGET_S", 0.0)
    found: list[str] = []
    cursor, pages = "", 0
    while pages == 0 or cursor:
        body = holder.ask("GET", "events", query_string={"Query": "order", "Cursor": cursor}).get_json()
        found += [event["MessageId"] for event in body["Events"]]
        assert body.get("Partial", False) is bool(body.get("Cursor"))
        cursor, pages = body.get("Cursor", ""), pages + 1
    assert found == uuids[::-1]
    assert pages > 1
    assert codes(holder.ask("GET", "events?Query=order&Cursor=x")) == (422, [100010])


def test_paging_and_filters_of_events(holder: Holder) -> None:
    uuids = sent(holder, 7)
    default = holder.ask("GET", "events").get_json()
    assert (default["TotalRecords"], len(default["Events"])) == (7, 5)
    # As printed: a form in the body of a GET.
    form = {"StartFrom": "5", "RetrieveCount": "10", "StartDate": "1617235200", "EndDate": "4102444800"}
    page = holder.ask("GET", "events", data=form).get_json()
    assert [event["MessageId"] for event in page["Events"]] == uuids[1::-1]
    one = holder.ask("GET", f"events?MessageID={uuids[3]}&Event=accepted").get_json()
    assert [event["MessageId"] for event in one["Events"]] == [uuids[3]]
    assert holder.ask("GET", "events?MessageID=12345").get_json() == {"TotalRecords": 0, "Events": []}
    assert holder.ask("GET", "events?EndDate=2021-04-01 12:00:00").get_json()["TotalRecords"] == 0
    assert holder.ask("GET", "events?StartDate=2021-04-01 12:00:00").get_json()["TotalRecords"] == 7


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("StartFrom=x", [4]), ("RetrieveCount=-1", [5]), ("StartFrom=1.5&RetrieveCount=all", [4, 5]),
        ("Event=nonsense", [100010]), ("StartDate=soon", [100010]), ("Query=foo:bar", [100010]),
    ],
)  # fmt: skip
def test_the_errors_of_events(holder: Holder, query: str, found: list[int]) -> None:
    assert codes(holder.ask("GET", f"events?{query}")) == (422, found)


def test_the_feed_of_a_key(holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "HORIZON_MS", -1000)
    other = domains.add(caller=holder.owner, name="else.test", trusted=True, dkim=cast.signing_keys())
    for domain in (holder.domain, other, holder.domain):
        messages.accept(replace(holder.owner, domain_id=domain.id, surface="octeth"), cast.draft(domain=domain.name))
    first = holder.ask("GET", "events", query_string={"after": "", "RetrieveCount": 1})
    assert first.status_code == 200
    found = first.get_json()
    assert ([row["Sequence"] for row in found["Events"]], found["HasMore"]) == ([1], True)
    rest = holder.ask("GET", "events", query_string={"After": found["After"]}).get_json()
    assert (len(rest["Events"]), rest["HasMore"]) == (1, False)
    assert rest["Events"][0]["EventId"] != found["Events"][0]["EventId"]
    assert holder.ask("GET", "events", query_string={"after": "nonsense"}).status_code == 422


@pytest.mark.parametrize(
    ("event", "listed"),
    [
        (["delivered", "bounce"], ["delivered", "bounce"]),
        ("open, click", ["open", "click"]),
        (["Opened,clicked", "complaint"], ["Opened", "clicked", "complaint"]),
        ("all", ["all"]),
        (["unsubscribed"], ["unsubscribed"]),
    ],
)
def test_a_webhook_of_several_events(holder: Holder, event: Any, listed: list[str]) -> None:
    made = holder.ask("POST", "webhooks", json={"Event": event, "WebhookURL": URL})
    assert made.status_code == 200, made.text
    (row,) = holder.ask("GET", "webhooks").get_json()["Webhooks"]
    assert (row["Events"], row["Event"]) == (listed, listed[0])
    hook = Webhook.get_by_id(int(made.get_json()["NewWebhookID"]))
    assert hook.kinds == webhook_words.read(listed, "octeth").kinds


@pytest.mark.parametrize(
    ("event", "number"),
    [
        ([], 2),
        ("", 2),
        (["open", "nonsense"], 3),
        ("open,nonsense", 3),
        ([1], 3),
        ({"a": 1}, 3),
        (["message.opened"], 3),
        (["open"] * 65, 3),
        (" , ", 3),
    ],
)
def test_words_that_are_none_store_nothing(holder: Holder, event: Any, number: int) -> None:
    assert codes(holder.ask("POST", "webhooks", json={"Event": event, "WebhookURL": URL})) == (422, [number])
    assert Webhook.select().count() == 0


def test_each_event_says_its_place_among_those_of_its_message(holder: Holder) -> None:
    caller = replace(holder.owner, domain_id=holder.domain.id)
    for _ in range(2):
        messages.accept(caller, cast.draft())
    rows = list(database.execute_sql("SELECT id, account_id, domain_id FROM message ORDER BY id"))
    facts = [
        ledger.Fact(account_id, domain_id, kind, 1_700_000_000_000, id_, rcpt="jane@friends.test")
        for kind in (EventKind.DELIVERED, EventKind.OPENED)
        for id_, account_id, domain_id in rows
    ]
    in_transaction(lambda tx: ledger.record(tx, facts))
    found = holder.ask("GET", "events", query_string={"RetrieveCount": 50}).get_json()["Events"]
    places = [(row["EventType"], row["Sequence"]) for row in found]
    assert sorted(places) == [("accepted", 1)] * 2 + [("delivery", 2)] * 2 + [("open", 3)] * 2
    feed = holder.ask("GET", "events", query_string={"After": "", "RetrieveCount": 50}).get_json()["Events"]
    assert {row["EventId"]: row["Sequence"] for row in feed} in (
        {row["EventId"]: row["Sequence"] for row in found},
        {},
    )  # on a server the feed may wait for what is young
