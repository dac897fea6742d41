"""Analytics below `/v1`: raw events found by every filter, and numbers that agree with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

import models
from gateway import clock, ids
from gateway.services import analytics_events, domains, ledger, messages, search_index
from gateway.services.ledger import Fact
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.v1_api import Api

__all__ = ["app", "cheap_passwords", "client"]


@pytest.fixture
def who(app: object) -> cast.Sender:
    return cast.sender()


@pytest.fixture
def api(client: FlaskClient, who: cast.Sender) -> Api:
    return Api(client, who)


class World:
    """Two domains of one account, three messages to two people, with what came of them."""

    def __init__(self, who: cast.Sender) -> None:
        self.who = who
        row = domains.add(caller=who.owner, name="other.test", trusted=True, dkim=cast.signing_keys())
        self.other = cast.Sender(who.owner, replace(who.owner, domain_id=row.id, surface="octeth"), row)
        self.sent = [
            self._send(who, "jane@friends.test", ["spring"], EventKind.DELIVERED, EventKind.OPENED),
            self._send(who, "joe@friends.test", ["spring", "vip"], EventKind.BOUNCED),
            self._send(self.other, "jane@friends.test", [], EventKind.DELIVERED, EventKind.CLICKED),
        ]
        search_index.run(1)

    def _send(self, who: cast.Sender, to: str, tags: list[str], *kinds: EventKind) -> str:
        uuid = messages.accept(who.caller, cast.draft(to=to, domain=who.domain.name, tags=tags)).message_id
        (message_id,) = db.rows("SELECT MAX(id) FROM message")[0]
        (delivery_id,) = db.rows("SELECT MAX(id) FROM delivery")[0]
        data = {"transport": "ses:12", "url": "https://a.test/", "verdict": "human"}
        facts = [
            Fact(
                who.owner.account_id, who.domain.id, kind, clock.now_ms(), message_id, delivery_id, to, tags=tags,
                data=data if kind in (EventKind.DELIVERED, EventKind.BOUNCED) else {"url": data["url"]},
            )
            for kind in kinds
        ]  # fmt: skip
        db.in_transaction(lambda tx: ledger.record(tx, facts))
        return ids.public_id("msg", UUID(uuid))


@pytest.fixture
def world(who: cast.Sender) -> World:
    return World(who)


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].partition(".")[2] for event in events]


def test_all_events_are_listed_once_the_newest_first(api: Api, world: World) -> None:
    whole = api.pages("/v1/analytics/events")
    assert types(whole) == [
        "clicked", "delivered", "accepted", "bounced", "accepted", "opened", "delivered", "accepted",
    ]  # fmt: skip
    assert api.pages("/v1/analytics/events?limit=3") == whole
    assert api.pages("/v1/analytics/events?limit=1&type=message.delivered,message.opened") == [
        event for event in whole if event["type"] in ("message.delivered", "message.opened")
    ]
    delivered = whole[1]
    assert list(delivered) == ["id", "type", "created_at", "workspace", "message"]
    assert delivered["message"] == {
        "id": world.sent[2], "provider": "amazon-ses", "from": "hello@other.test", "to": "jane@friends.test",
        "tags": [],
    }  # fmt: skip
    assert {event["id"] for event in whole} and len({event["id"] for event in whole}) == 8
    assert whole[0]["data"]["url"] == "https://a.test/"


def test_each_filter_finds_what_it_names(api: Api, world: World) -> None:
    def found(query: str) -> Counter[tuple[str, str]]:
        every = [api.pages(f"/v1/analytics/events?limit={limit}&{query}") for limit in (1, 50)]
        assert every[0] == every[1]
        return Counter((event["message"]["to"].partition("@")[0], event["type"]) for event in every[1])

    accepted, delivered, opened = "message.accepted", "message.delivered", "message.opened"
    first = {("jane", accepted): 1, ("jane", delivered): 1, ("jane", opened): 1}
    assert found(f"message={world.sent[0]}") == first
    assert found(f"message={world.sent[0]}&type={opened}") == {("jane", opened): 1}
    assert found("recipient=Joe@friends.test") == {("joe", accepted): 1, ("joe", "message.bounced"): 1}
    assert found("recipient=jane@friends.test") == {
        ("jane", accepted): 2, ("jane", delivered): 2, ("jane", opened): 1, ("jane", "message.clicked"): 1,
    }  # fmt: skip
    assert found("tag=vip") == {("joe", accepted): 1, ("joe", "message.bounced"): 1}
    assert found("tag=spring&type=message.bounced") == {("joe", "message.bounced"): 1}
    assert found("tag=sprin") == found("recipient=jane@friends.tes") == {}
    assert found("domain=other.test&type=message.delivered") == {("jane", delivered): 1}
    assert found(f"recipient=jane@friends.test&message={world.sent[2]}&type={delivered}") == {("jane", delivered): 1}
    now = clock.rfc3339(clock.now_ms() + 2000)
    assert sum(found("since=2020-01-01").values()) == 8 and sum(found(f"until={now}").values()) == 8
    assert found(f"since={now}") == found("until=2020-01-01") == {}


def test_a_campaigns_events(api: Api, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analytics_events, "_WINDOW", 2)
    owner = world.who.owner.account_id
    message_id = models.Message.get(models.Message.uuid == ids.uuid_of("msg", world.sent[1])).id
    fields = {
        "account_id": owner, "domain_id": world.who.domain.id, "name": "Spring", "state": "sent", "content": "{}",
        "list_id": 1, "created_ms": 1, "updated_ms": 1,
    }  # fmt: skip
    one, none = ids.new_uuid(), ids.new_uuid()
    models.Campaign.create(uuid=one, message_id=message_id, **fields)
    models.Campaign.create(uuid=none, message_id=None, **fields)
    found = api.pages(f"/v1/analytics/events?limit=1&campaign={ids.public_id('cmp', one)}")
    assert types(found) == ["accepted", "bounced"]
    assert api.pages(f"/v1/analytics/events?campaign={ids.public_id('cmp', none)}") == []


def test_what_cannot_be_asked_is_refused(api: Api, world: World) -> None:
    for query, field in (("type=message.eaten", "type"), ("cursor=abc", "cursor"), ("limit=0", "limit"),
                         ("since=yesterday", "since")):  # fmt: skip
        told = api("GET", f"/v1/analytics/events?{query}", status=400)
        assert field in [one["field"] for one in told["errors"]], told
    of_messages = api("GET", f"/v1/analytics/events?limit=1&message={world.sent[0]}")["next_cursor"]
    assert api("GET", f"/v1/analytics/events?cursor={of_messages}", status=400)["code"] == "invalid_parameter"
    for query in ("message=msg_" + "0" * 26, "campaign=cmp_" + "0" * 26, "domain=foreign.test"):
        assert api("GET", f"/v1/analytics/events?{query}", status=404)["code"] == "not_found"


def test_the_summary_agrees_with_the_events(api: Api, world: World) -> None:
    told = api("GET", "/v1/analytics/summary")
    assert told["totals"] == {
        "messages": 3, "accepted": 3, "delivered": 2, "bounced": 1, "opened": 1, "clicked": 1, "complained": 0,
        "unsubscribed": 0, "suppressed": 0, "deferred": 0,
    }  # fmt: skip
    assert told["rates"] == {
        "delivery": 0.6667, "bounce": 0.3333, "open": 0.5, "click": 0.5, "complaint": 0.0, "unsubscribe": 0.0,
    }  # fmt: skip
    assert told["previous"]["totals"]["accepted"] == 0 and told["previous"]["rates"]["open"] == 0
    assert told["previous"]["change"]["accepted"] is None

    def groups(by: str) -> dict[str, dict[str, int]]:
        answer = api("GET", f"/v1/analytics/summary?group_by={by}")
        assert answer["group_by"] == by
        return {group[by]: group["totals"] for group in answer["groups"]}

    days = groups("day")
    assert len(days) == 28 and list(days.values())[-1] == told["totals"]
    assert {name: some["accepted"] for name, some in groups("domain").items()} == {"shop.test": 2, "other.test": 1}
    assert {name: some["accepted"] for name, some in groups("tag").items()} == {"spring": 2, "vip": 1}
    assert groups("provider") == {"amazon-ses": {"delivered": 2, "bounced": 1, "deferred": 0}}
    assert api("GET", "/v1/analytics/summary?domain=other.test")["totals"]["accepted"] == 1
    assert api("GET", "/v1/analytics/summary?group_by=hour", status=400)["errors"][0]["field"] == "group_by"


def test_the_summary_compares_with_the_days_before(api: Api, who: cast.Sender) -> None:
    today = clock.day_number(clock.now_ms())
    for day, n in ((today, 6), (today - 1, 3), (today - 2, 4)):
        models.Counter.create(domain_id=who.domain.id, day=day, kind=int(EventKind.DELIVERED), tag="", n=n)
    since = clock.rfc3339(clock.now_ms())[:10]
    told = api("GET", f"/v1/analytics/summary?since={since}&until={since}")
    assert (told["totals"]["delivered"], told["previous"]["totals"]["delivered"]) == (6, 3)
    assert told["previous"]["change"]["delivered"] == 1.0
    assert told["period"] == {"from": since, "to": since}
    assert api("GET", "/v1/analytics/summary?since=1980-01-01", status=400)["errors"][0]["field"] == "since"
    assert api("GET", "/v1/analytics/summary?since=2999-01-01", status=400)["errors"][0]["field"] == "since"
    backwards = f"/v1/analytics/summary?since={since}&until=2020-01-01"
    assert api("GET", backwards, status=400)["errors"][0]["field"] == "until"


def test_scopes_domains_and_other_people(client: FlaskClient, api: Api, world: World) -> None:
    Api(client, world.who, scopes=["read:events"])("GET", "/v1/analytics/events")
    Api(client, world.who, scopes=["read:events"])("GET", "/v1/analytics/summary", status=403)
    Api(client, world.who, scopes=["read:analytics"])("GET", "/v1/analytics/summary")
    Api(client, world.who, scopes=["read:analytics"])("GET", "/v1/analytics/events", status=403)
    Api(client, world.who, surface="octeth")("GET", "/v1/analytics/events")
    mine = Api(client, world.who, domain=True)
    assert {event["message"]["from"] for event in mine.pages("/v1/analytics/events")} == {"hello@shop.test"}
    assert mine("GET", "/v1/analytics/summary")["totals"]["accepted"] == 2
    mine("GET", f"/v1/analytics/events?message={world.sent[2]}", status=404)
    mine("GET", "/v1/analytics/events?domain=other.test", status=404)
    stranger = Api(client, cast.sender("stranger", "stranger.test"))
    assert stranger.pages("/v1/analytics/events") == []
    assert stranger.pages("/v1/analytics/events?recipient=jane@friends.test") == []
    assert stranger("GET", "/v1/analytics/summary")["totals"]["accepted"] == 0
    absent = "msg_" + "0" * 26
    for path in ("/v1/analytics/events?message={}", "/v1/analytics/events?message={}&tag=spring"):
        theirs = stranger("GET", path.format(world.sent[0]), status=404)
        nobodys = stranger("GET", path.format(absent), status=404)
        assert {**theirs, "request_id": 0} == {**nobodys, "request_id": 0}
    stranger("GET", "/v1/analytics/summary?domain=shop.test", status=404)
