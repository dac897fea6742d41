"""`/v1/lists`, subscribers, segments, templates and suppressions: from the request to the rows and back."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

import models
from gateway import clock, errors, ids
from gateway.services import domains, expansions, lists, messages, subscriber_pages, subscribers, suppressions
from models.vocabulary import DeliveryState
from tests import cast
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.audience_world import Api, api

__all__ = ["app", "cheap_passwords", "client"]

JANE, JOE = "jane@friends.test", "joe@friends.test"
TOMORROW = clock.rfc3339(clock.now_ms() + clock.DAY_MS)


@pytest.fixture
def call(client: FlaskClient) -> Api:
    return api(client, cast.sender())


@pytest.fixture
def news(call: Api) -> str:
    return str(call("POST", "/lists", {"name": "News"})["id"])


def test_a_list_from_making_to_deleting(call: Api) -> None:
    made = call("POST", "/lists", {"name": "News", "colour": "red"})
    assert call.status == 201
    assert re.fullmatch(r"lst_[0-9A-HJKMNP-TV-Z]{26}", made["id"])
    assert [one["field"] for one in made.pop("warnings")] == ["colour"]
    assert call("GET", f"/lists/{made['id']}") == made
    changed = call("PATCH", f"/lists/{made['id']}", {"name": "Newer"})
    assert (changed["name"], changed["subscribers"]) == ("Newer", {"active": 0, "unsubscribed": 0, "pending": 0})
    call("DELETE", f"/lists/{made['id']}")
    assert call.status == 204
    assert call("GET", f"/lists/{made['id']}")["code"] == "not_found"
    assert call("GET", "/lists")["data"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "N" * 256}, "name"),
        ({"name": 5}, "name"),
        ({"name": "N", "double_opt_in": True}, "confirm_from"),
        ({"name": "N", "double_opt_in": "perhaps"}, "double_opt_in"),
        ({"name": "N", "confirm_from": "news@elsewhere.test"}, "confirm_from"),
        ({"name": "N", "confirm_hours": 0}, "confirm_hours"),
    ],
    ids=str,
)
def test_a_list_that_cannot_be(call: Api, body: dict[str, Any], field: str) -> None:
    told = call("POST", "/lists", body)
    assert (call.status, [one["field"] for one in told["errors"]]) == (400, [field])
    assert models.MailList.select().count() == 0


def test_what_is_absent_is_called_by_its_name(call: Api, news: str) -> None:
    for path, noun in (
        ("/lists/lst_0", "list"), ("/templates/tpl_0", "template"), (f"/lists/{news}/imports/imp_0", "import"),
        ("/segments/seg_0", "segment"),
    ):  # fmt: skip
        assert call("GET", path)["message"] == f"There is no such {noun}."
    told = call("POST", "/templates", {"name": "N", "subject": "S", "text": "T"})["id"]
    refused = call("POST", f"/templates/{told}/render", {"variables": [1]})
    assert refused["errors"] == [{"field": "variables", "message": "Should be an object of names and values."}]


def test_lists_and_segments_page_by_page(call: Api, news: str) -> None:
    for name in ("Second", "NEWS of old", "Third"):
        call("POST", "/lists", {"name": name})
    segment = call("POST", "/segments", {"name": "All of news", "list_id": news, "conditions": {}})
    seen, cursor = [], None
    while True:
        page = call("GET", "/lists", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [one["name"] for one in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] is (cursor is not None)
        if cursor is None:
            break
    assert seen == ["News", "Second", "NEWS of old", "Third", "All of news"]
    assert [one["name"] for one in call("GET", "/lists", name="news", kind="list")["data"]] == ["News", "NEWS of old"]
    assert [one["id"] for one in call("GET", "/lists", kind="segment")["data"]] == [segment["id"]]
    other = call("POST", "/lists", {"name": "Other"})["id"]
    apart = call("POST", "/segments", {"name": "All of the other", "list_id": other, "conditions": {}})
    assert [one["id"] for one in call("GET", "/segments", list_id=news)["data"]] == [segment["id"]]
    assert [one["id"] for one in call("GET", "/segments", list_id=other)["data"]] == [apart["id"]]
    call("GET", "/segments", list_id="lst_nothing")
    assert call.status == 404
    call("GET", "/lists", cursor="nonsense")
    assert call.status == 400
    call("GET", "/lists", limit=500)
    assert call.status == 400


def test_one_subscriber_is_added_then_updated(call: Api, news: str) -> None:
    path = f"/lists/{news}/subscribers"
    made = call("POST", path, {"email": "Jane@Friends.test", "fields": {"city": "Berlin"}, "first_name": "Jane"})
    assert (call.status, made["result"], made["status"]) == (201, "added", "active")
    assert (made["email"], made["fields"]) == ("Jane@friends.test", {"first_name": "Jane", "city": "Berlin"})
    again = call("POST", path, {"email": JANE, "fields": {"city": None, "age": 3}})
    assert (call.status, again["result"], again["id"]) == (200, "updated", made["id"])
    assert again["fields"] == {"first_name": "Jane", "age": 3}
    assert call("POST", path, {"email": JANE})["result"] == "unchanged"
    for sid in (made["id"], JANE, "JANE@friends.test"):
        assert call("GET", f"{path}/{sid}")["id"] == made["id"]
    changed = call("PATCH", f"{path}/{JANE}", {"email": JOE, "fields": {"age": 4}})
    assert (changed["email"], changed["fields"]["age"]) == (JOE, 4)
    assert call("GET", f"/lists/{news}")["subscribers"] == {"active": 1, "unsubscribed": 0, "pending": 0}
    assert call("POST", path, {"email": "nobody"})["code"] == "invalid_address"
    assert call("POST", path, {})["errors"] == [{"field": "email", "message": "The 'email' field is required."}]
    assert call.status == 400
    assert call("POST", path, {"email": JANE, "status": "dead"})["errors"][0]["field"] == "status"
    assert call("POST", path, {"email": JANE, "fields": [1]})["errors"][0]["field"] == "fields"
    call("POST", path, {"email": JANE})
    assert call("PATCH", f"{path}/{JOE}", {"email": JANE})["code"] == "subscriber_exists"
    assert call.status == 409


def test_many_subscribers_each_with_a_result(call: Api, news: str) -> None:
    path = f"/lists/{news}/subscribers"
    items = [
        {"email": JANE, "fields": {"city": "Berlin"}, "color": 1}, {"email": "nobody"}, JOE, {"email": JANE},
        {"email": "zoe@friends.test", "status": "unsubscribed"}, {"email": "x@friends.test", "status": 5}, None,
    ]  # fmt: skip
    told = call("POST", path, {"subscribers": items})
    assert (call.status, [one["result"] for one in told["results"]]) == (
        200, ["added", "failed", "added", "unchanged", "added", "failed", "failed"],
    )  # fmt: skip
    assert (told["added"], told["updated"], told["unchanged"], told["failed"]) == (3, 0, 1, 3)
    assert told["results"][1]["error"]["code"] == "invalid_address"
    assert [told["results"][at]["error"]["field"] for at in (1, 5, 6)] == ["email", "status", "email"]
    assert [one["field"] for one in told["warnings"]] == ["subscribers.0.color"]
    assert told["results"][0]["id"] == told["results"][3]["id"]
    strict = api(call.client, call.who, strict=True)
    refused = strict("POST", path, {"subscribers": items})
    assert (strict.status, refused["code"]) == (400, "unknown_field")
    call("POST", path, {"subscribers": [{"email": f"r{n}@friends.test"} for n in range(1001)]})
    assert call.status == 413
    for bad in ([], {}, "jane"):
        call("POST", path, {"subscribers": bad})
        assert call.status == 400
    assert models.Subscriber.select().count() == 3
    most = [{"email": f"r{n}@friends.test", "fields": {f"f{k}": k for k in range(10)}} for n in range(1000)]
    assert call("POST", path, {"subscribers": most})["added"] == 1000
    assert call("GET", f"/lists/{news}")["subscribers"] == {"active": 1002, "unsubscribed": 1, "pending": 0}


def test_subscribers_by_status_address_field_and_time(call: Api, news: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/lists/{news}/subscribers"
    cities = ["Berlin", "Bern", "Berlin", "Bern", "Berlin"]
    people = [{"email": f"r{n}@x.test", "fields": {"city": city}} for n, city in enumerate(cities)]
    call("POST", path, {"subscribers": people})
    call("DELETE", f"{path}/r1@x.test", mode="unsubscribe")
    call("DELETE", f"{path}/r2@x.test")

    def seen(**query: Any) -> list[str]:
        found: list[str] = []
        for _ in range(20):
            page = call("GET", path, limit=2, **query)
            found += [one["email"][:2] for one in page["data"]]
            if not page["has_more"]:
                return found
            query["cursor"] = page["next_cursor"]
        raise AssertionError("the pages have no end")

    assert seen() == ["r0", "r1", "r3", "r4"]
    assert seen(status="active") == ["r0", "r3", "r4"]
    assert seen(status="unsubscribed") == ["r1"]
    assert seen(email="R3@x.test") == ["r3"]
    assert seen(email="r2@x.test") == []
    assert seen(email="r1@x.test", status="active") == []
    assert seen(field="city:berlin") == ["r0", "r4"]
    assert seen(field="city:Bern", status="active") == ["r3"]
    assert seen(since="2020-01-01") == ["r0", "r1", "r3", "r4"]
    assert seen(since="2999-01-01") == []
    monkeypatch.setattr(subscriber_pages, "LOOKED_AT_MOST", 1)
    assert seen(field="city:berlin") == ["r0", "r4"]
    for query in ({"field": "city"}, {"status": "removed"}, {"since": "soon"}):
        call("GET", path, **query)
        assert call.status == 400


def test_removing_and_unsubscribing(call: Api, news: str) -> None:
    path = f"/lists/{news}/subscribers"
    call("POST", path, {"subscribers": [JANE, JOE]})
    left = call("DELETE", f"{path}/{JANE}", {"mode": "unsubscribe"})
    assert (call.status, left["status"]) == (200, "unsubscribed")
    (row,) = call("GET", "/suppressions", scope="list")["data"]
    assert (row["email"], row["reason"], row["list_id"]) == (JANE, "unsubscribe", news)
    assert call("DELETE", f"{path}/{JOE}")["status"] == "removed"
    assert call("GET", f"{path}/{JOE}")["code"] == "not_found"
    assert call("GET", f"/lists/{news}")["subscribers"] == {"active": 0, "unsubscribed": 1, "pending": 0}
    back = call("PATCH", f"{path}/{JANE}", {"status": "active"})
    assert (back["status"], call("GET", "/suppressions")["data"]) == ("active", [])
    call("DELETE", f"{path}/{JANE}", {"mode": "perhaps"})
    assert call.status == 400


def refused_as_used(call: Api, path: str) -> list[tuple[str, str]]:
    told = call("DELETE", path)
    assert (call.status, told["code"]) == (409, "list_in_use")
    for one in told["used_by"]:
        assert one["name"] in told["message"] and one["id"] in told["message"]
    return [(one["type"], one["name"]) for one in told["used_by"]]


def test_a_list_that_something_needs_is_not_deleted(call: Api, news: str) -> None:
    call("POST", f"/lists/{news}/subscribers", {"email": JANE})
    other = call("POST", "/lists", {"name": "Other"})["id"]
    part = call("POST", "/segments", {"name": "S", "list_id": news, "conditions": {}})["id"]
    letter = {"from": "hello@shop.test", "subject": "S", "text": "T"}
    campaign = call("POST", "/campaigns", {"name": "Spring", "segment_id": part, "scheduled_at": TOMORROW} | letter)
    assert campaign["status"] == "scheduled"
    draft = call("POST", "/campaigns", {"name": "Draft", "list_id": news} | letter)["id"]
    act = {"trigger": {"type": "event", "event": "x"}, "actions": [{"type": "subscribe", "list_id": other}]}
    hears = {"trigger": {"type": "event", "event": "subscriber.added", "list_id": news}, "actions": [{"type": "exit"}]}
    welcome = call("POST", "/automations", {"name": "Welcome", "status": "paused"} | hears)["id"]
    mover = call("POST", "/automations", {"name": "Mover"} | act)["id"]
    assert refused_as_used(call, f"/lists/{news}") == [("campaign", "Spring"), ("automation", "Welcome")]
    assert refused_as_used(call, f"/segments/{part}") == [("campaign", "Spring")]
    assert refused_as_used(call, f"/lists/{other}") == [("automation", "Mover")]
    assert call("GET", f"/lists/{news}")["subscribers"]["active"] == 1
    # A version of the actions that is none any more needs nothing.
    call("PATCH", f"/automations/{mover}", {"actions": [{"type": "exit"}]})
    call("DELETE", f"/lists/{other}")
    assert call.status == 204
    call("PATCH", f"/campaigns/{campaign['id']}", {"scheduled_at": None})
    call("DELETE", f"/automations/{welcome}")
    call("DELETE", f"/lists/{news}")
    assert call.status == 204
    told = call("POST", f"/campaigns/{draft}/launch")
    assert (call.status, told["message"]) == (409, "The list or segment was deleted.")


def test_a_key_of_a_domain_is_not_told_the_names_of_another(call: Api, news: str) -> None:
    second = domains.add(caller=call.who.owner, name="second.test", trusted=True, dkim=cast.signing_keys())
    letter = {"from": "hello@second.test", "subject": "S", "text": "T", "scheduled_at": TOMORROW}
    call("POST", "/campaigns", {"name": "Secret", "list_id": news} | letter)
    assert call.status == 201
    told = api(call.client, call.who, domain=True, scopes=["write:lists"])("DELETE", f"/lists/{news}")
    assert (told["code"], told["used_by"], "Secret" in told["message"]) == ("list_in_use", [], False)
    assert second.name not in told["message"]


def test_segments_from_making_to_deleting(call: Api, news: str) -> None:
    path = f"/lists/{news}/subscribers"
    people = [{"email": JANE, "fields": {"age": "31"}}, {"email": JOE, "fields": {"age": 9}}]
    call("POST", path, {"subscribers": people})
    grown = {"all": [{"field": "age", "op": "greater_or_equal", "value": 18}, {"not": {"behaviour": "clicked"}}]}
    made = call("POST", "/segments", {"name": "Grown-ups", "list_id": news, "conditions": grown})
    assert (call.status, made["list_id"], made["conditions"]) == (201, news, grown)
    assert made["id"].startswith("seg_")
    assert call("GET", f"/segments/{made['id']}") == call("GET", f"/lists/{made['id']}") == made
    seen = call("GET", f"/segments/{made['id']}/preview")
    assert (seen["count"], seen["exact"], [one["email"] for one in seen["sample"]]) == (1, True, [JANE])
    assert call("GET", f"{path}/{seen['sample'][0]['id']}")["email"] == JANE
    tried = call("POST", "/segments/preview", {"list_id": news, "conditions": {}, "sample": 1})
    assert (tried["count"], len(tried["sample"])) == (2, 1)
    changed = call("PATCH", f"/segments/{made['id']}", {"name": "All", "conditions": {}})
    assert (changed["name"], changed["conditions"]) == ("All", {})
    told = call("POST", "/segments", {"name": "S", "list_id": news, "conditions": {"field": "a", "op": "is"}})
    assert (call.status, told["errors"][0]["field"]) == (400, "conditions.op")
    call("POST", "/segments", {"name": "S", "list_id": made["id"], "conditions": {}})
    assert call.status == 404
    call("POST", f"/lists/{made['id']}/subscribers", {"email": JANE})
    assert call.status == 404
    call("DELETE", f"/segments/{made['id']}")
    assert call.status == 204
    assert call("GET", "/segments")["data"] == []
    assert call("GET", f"/lists/{news}")["id"] == news


def test_a_template_from_making_to_deleting(call: Api) -> None:
    whole = {"name": "Welcome", "subject": "Hi {{ name }}", "html": "<b>{{ name }}</b> {{ city }}", "text": None}
    made = call("POST", "/templates", whole)
    assert (call.status, made["variables"]) == (201, ["city", "name"])
    assert re.fullmatch(r"tpl_[0-9A-HJKMNP-TV-Z]{26}", made["id"])
    again = call("POST", "/templates", {"name": "Welcome", "text": "Hi"})
    assert (call.status, again["id"], again["subject"], again["text"]) == (200, made["id"], whole["subject"], "Hi")
    by_id = call("POST", "/templates", {"id": made["id"], "name": "Hello", "html": None})
    assert (call.status, by_id["name"], by_id["html"]) == (200, "Hello", None)
    assert call("GET", f"/templates/{made['id']}") == by_id
    assert call("PATCH", f"/templates/{made['id']}", {"html": "<i>{{ name }}</i>"})["html"] == "<i>{{ name }}</i>"
    shown = call("POST", f"/templates/{made['id']}/render", {"variables": {"name": "<Zoë>"}})
    assert (shown["subject"], shown["html"], shown["text"]) == ("Hi <Zoë>", "<i>&lt;Zoë&gt;</i>", "Hi")
    assert shown["missing_variables"] == []
    assert call("POST", f"/templates/{made['id']}/render")["missing_variables"] == ["name"]
    call("POST", "/templates", {"name": "Other", "subject": "S", "text": "T"})
    assert [one["name"] for one in call("GET", "/templates", limit=1)["data"]] == ["Hello"]
    assert [one["name"] for one in call("GET", "/templates", name="oth")["data"]] == ["Other"]
    assert "html" not in call("GET", "/templates")["data"][0]
    call("DELETE", f"/templates/{made['id']}")
    assert call.status == 204
    assert call("GET", f"/templates/{made['id']}")["code"] == "not_found"
    assert call("POST", "/templates", {"id": made["id"], "name": "Hello"})["code"] == "not_found"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"subject": "S", "text": "T"}, "invalid_parameter", "name"),
        ({"name": "N", "text": "T"}, "invalid_parameter", "subject"),
        ({"name": "N", "subject": "S"}, "no_content", "html"),
        ({"name": "N", "subject": "S\r\nBcc: a@b.test", "text": "T"}, "invalid_parameter", "subject"),
        ({"name": "N", "subject": "S", "text": "{{ open"}, "invalid_template", "text"),
        ({"name": "N", "subject": "S", "text": "{% for a in b %}"}, "invalid_template", "text"),
        ({"name": "N", "subject": "S", "text": "{% include 'passwd' %}"}, "invalid_template", "text"),
        ({"name": "N", "subject": "S", "html": "{% if a %}" * 40 + "{% endif %}" * 40}, "invalid_template", "html"),
        ({"name": "N", "subject": "S", "text": "{{ a }}" * 5_001}, "invalid_template", "text"),
        ({"name": "N", "subject": "S", "text": "x" * 300_000}, "invalid_template", "text"),
        ({"name": "N", "subject": "Dear {{ name | shout }}", "text": "T"}, "invalid_template", "subject"),
        ({"name": "N", "subject": "S", "html": "{% if a %}{{ a | shout: 1 }}{% endif %}"}, "invalid_template", "html"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_template_that_cannot_be(call: Api, body: dict[str, Any], code: str, field: str | None) -> None:
    told = call("POST", "/templates", body)
    assert (call.status, told["code"]) == (400, code)
    assert [one["field"] for one in told["errors"]] == ([field] if field else [])
    assert models.Template.select().count() == 0


HOSTILE = {
    "a loop in a loop": "{% for a in (1..9000) %}{% for b in (1..9000) %}{{ b }}{% endfor %}{% endfor %}",
    "many loops in a row": "{% for a in (1..9000) %}{% endfor %}" * 5,
    "doubling": "{% assign a = 'xxxxxxxxxx' %}" + "{% assign a = a | append: a | append: a %}" * 20 + "{{ a }}",
    "a range without end": "{% for a in (1..999999999999) %}{{ a }}{% endfor %}",
    "replacing": "{{ text | replace: 'a', text }}",
    "a number of many digits": "{% assign n = 9 %}" + "{% assign n = n | times: n %}" * 40 + "{{ n }}",
    "splitting": "{{ text | split: '' | join: text }}",
    "capturing": "{% for a in (1..9000) %}{% capture b %}{{ b }}{{ text }}{% endcapture %}{% endfor %}{{ b }}",
    "output": "{% for a in (1..9000) %}{{ text }}{% endfor %}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_a_template_that_explodes_is_stopped(call: Api, source: str) -> None:
    made = call("POST", "/templates", {"name": "Bomb", "subject": "S", "text": source})
    assert call.status == 201
    told = call("POST", f"/templates/{made['id']}/render", {"variables": {"text": "a" * 5_000}})
    assert (call.status, told["code"]) == (400, "invalid_template")
    assert "cannot be rendered" in told["message"]
    assert call("GET", f"/templates/{made['id']}")["id"] == made["id"]


def test_suppressions_of_each_scope(call: Api, news: str) -> None:
    one = call("POST", "/suppressions", {"email": "Jane@Friends.test"})
    assert (call.status, one["scope"], one["reason"], one["email"]) == (201, "account", "manual", JANE)
    assert call("POST", "/suppressions", {"email": JANE})["id"] == one["id"]
    assert call.status == 200
    domain = call("POST", "/suppressions", {"email": JANE, "domain": "shop.test", "reason": "bounced", "detail": "550"})
    assert (domain["scope"], domain["domain"], domain["reason"], domain["detail"]) == (
        "domain", "shop.test", "bounce", "550",
    )  # fmt: skip
    of_list = call("POST", "/suppressions", {"email": JANE, "list_id": news, "reason": "complaint"})
    assert (of_list["scope"], of_list["list_id"]) == ("list", news)
    assert [row["id"] for row in call("GET", "/suppressions")["data"]] == [of_list["id"], domain["id"], one["id"]]
    for query, wanted in (
        ({"scope": "account"}, one), ({"scope": "global"}, one), ({"scope": "workspace"}, one),
        ({"scope": "domain"}, domain), ({"list_id": news}, of_list),
        ({"domain": "shop.test"}, domain), ({"reason": "complaint"}, of_list), ({"reason": "spam"}, of_list),
    ):  # fmt: skip
        assert [row["id"] for row in call("GET", "/suppressions", email=JANE, **query)["data"]] == [wanted["id"]], query
    assert call("GET", "/suppressions", since="2999-01-01")["data"] == []
    assert call("POST", "/suppressions", {"email": JANE, "scope": "global"})["id"] == one["id"]
    assert call("GET", f"/suppressions/{JANE}")["id"] == of_list["id"]
    call("GET", "/suppressions/joan@friends.test")
    assert call.status == 404
    first = call("GET", "/suppressions", limit=2)
    rest = call("GET", "/suppressions", limit=2, cursor=first["next_cursor"])
    assert (len(first["data"]), [row["id"] for row in rest["data"]], rest["has_more"]) == (2, [one["id"]], False)
    assert call("GET", f"/suppressions/{domain['id']}") == domain
    assert call("DELETE", f"/suppressions/{domain['id']}") == {"deleted": 1}
    assert call("DELETE", f"/suppressions/{domain['id']}")["code"] == "not_found"
    assert call("DELETE", f"/suppressions/{JANE}", list_id=news) == {"deleted": 1}
    assert call("DELETE", f"/suppressions/{JANE}", reason="bounce")["code"] == "not_found"
    assert call("DELETE", f"/suppressions/{JANE}") == {"deleted": 1}
    assert call("GET", "/suppressions")["data"] == []


def test_many_suppressions_each_with_a_result(call: Api, news: str) -> None:
    call("POST", f"/lists/{news}/subscribers", {"email": JANE})
    items = [
        {"email": JANE, "reason": "unsubscribe", "list_id": news}, {"email": "nobody"}, JOE,
        {"email": JOE, "reason": "bad mood"}, {"email": JOE, "scope": "list"}, {"email": JOE, "list_id": "lst_none"},
        {"email": JOE, "expires_at": "2001-01-01"}, {"email": JOE, "scope": 7}, {"email": JOE},
    ]  # fmt: skip
    told = call("POST", "/suppressions", {"suppressions": items, "reason": "bounce"})
    assert [one["result"] for one in told["results"]] == [
        "added", "failed", "added", "failed", "failed", "failed", "failed", "failed", "known",
    ]  # fmt: skip
    assert (told["added"], told["known"], told["failed"]) == (2, 1, 6)
    assert told["results"][2]["suppression"]["reason"] == "bounce"
    # Whoever is unsubscribed from a list is so on the list.
    assert call("GET", f"/lists/{news}/subscribers/{JANE}")["status"] == "unsubscribed"
    assert call("POST", "/suppressions", {"emails": "a@x.test, b@x.test\nno"})["added"] == 2
    for body in ({}, {"emails": []}, {"email": JANE, "emails": [JOE]}, {"suppressions": "x"}, {"email": "nobody"}):
        call("POST", "/suppressions", body)
        assert call.status == 400, body
    call("POST", "/suppressions", {"emails": [f"r{n}@x.test" for n in range(1001)]})
    assert call.status == 413


def test_what_is_wrong_with_one_suppression_names_its_field(call: Api, news: str) -> None:
    for said, code, field in (
        ({"email": "nobody"}, "invalid_address", "email"), ({"reason": "bad mood"}, "invalid_parameter", "reason"),
        ({"scope": "list"}, "invalid_parameter", "list_id"), ({"list_id": "lst_none"}, "not_found", "list_id"),
        ({"domain": "other.test"}, "not_found", "domain"), ({"scope": "moon"}, "invalid_parameter", "scope"),
        ({"detail": 5}, "invalid_parameter", "detail"), ({"expires_at": "soon"}, "invalid_parameter", "expires_at"),
    ):  # fmt: skip
        (one,) = call("POST", "/suppressions", {"suppressions": [{"email": JANE} | said]})["results"]
        assert (one["error"]["code"], one["error"]["field"]) == (code, field), said
        assert one["error"]["message"]
    of_domain = api(call.client, call.who, domain=True)
    (one,) = of_domain("POST", "/suppressions", {"suppressions": [{"email": JANE, "scope": "account"}]})["results"]
    assert (one["error"]["code"], one["error"]["field"]) == ("not_allowed", "scope")
    told = call("POST", "/suppressions", {"email": JANE, "list_id": "lst_none"})
    assert (call.status, told["errors"][0]["field"]) == (404, "list_id")


def test_a_suppression_of_a_list_is_kept_to_when_the_list_is_written_to(call: Api, news: str) -> None:
    call("POST", f"/lists/{news}/subscribers", {"subscribers": [JANE, JOE]})
    call("POST", "/suppressions", {"email": JANE, "list_id": news})
    number = models.MailList.get().id
    messages.accept(call.who.caller, cast.draft(to=[], list_id=number))
    expansions.drain(5)
    assert {row.rcpt: row.state for row in models.Delivery.select()} == {
        JANE: DeliveryState.SUPPRESSED, JOE: DeliveryState.QUEUED,
    }  # fmt: skip
    found = suppressions.check(
        None, account_id=call.who.owner.account_id, domain_id=call.who.domain.id, addresses=[JANE]
    )
    assert found == {}


def test_a_key_of_a_domain_changes_what_its_domain_keeps_to(call: Api) -> None:
    own = api(call.client, call.who, domain=True)
    account = call("POST", "/suppressions", {"email": JANE})
    mine = own("POST", "/suppressions", {"email": JANE})
    assert (mine["scope"], mine["domain"]) == ("domain", "shop.test")
    assert len(own("GET", "/suppressions")["data"]) == 2
    own("POST", "/suppressions", {"email": JANE, "scope": "account"})
    assert own.status == 403
    own("DELETE", f"/suppressions/{account['id']}")
    assert own.status == 403
    assert own("DELETE", f"/suppressions/{JANE}") == {"deleted": 1}
    assert [row["id"] for row in call("GET", "/suppressions")["data"]] == [account["id"]]


def test_the_allow_list(call: Api) -> None:
    made = call("POST", "/suppressions/allowed", {"email": "@Friends.test", "note": "ours"})
    assert (call.status, made["email"], made["lifted"], made["note"]) == (201, "@friends.test", 0, "ours")
    call("POST", "/suppressions/allowed", {"email": JANE, "domain": "shop.test"})
    assert [(one["email"], one["domain"]) for one in call("GET", "/suppressions/allowed")["data"]] == [
        ("@friends.test", None), (JANE, "shop.test"),
    ]  # fmt: skip
    assert call("GET", "/suppressions/allowed", limit=1)["has_more"] is True
    call("DELETE", "/suppressions/allowed/@friends.test")
    assert call.status == 204
    call("DELETE", "/suppressions/allowed/@friends.test")
    assert call.status == 404
    call("POST", "/suppressions/allowed", {"email": "nobody"})
    assert call.status == 400


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/lists", "read:lists"),
        ("POST", "/lists", "write:lists"),
        ("POST", "/segments/preview", "read:lists"),
        ("GET", "/templates", "read:templates"),
        ("POST", "/templates", "write:templates"),
        ("GET", "/suppressions", "read:suppressions"),
        ("POST", "/suppressions", "write:suppressions"),
    ],
)
def test_scopes(call: Api, method: str, path: str, scope: str) -> None:
    verb = scope.partition(":")[0]
    body = {} if method == "POST" else None
    for scopes, allowed in (([scope], True), ([verb], True), (["send"], False), (["read:events"], False)):
        one = api(call.client, call.who, scopes=scopes)
        one(method, path, body)
        assert (one.status != 403) is allowed, (scopes, one.status)


def test_a_sender_key_of_the_command_api_reaches_no_lists_unless_it_says_so(call: Api, news: str) -> None:
    """It was given away to send for one domain."""
    sender = api(call.client, call.who, domain=True, surface="octeth")
    for method, path in (
        ("GET", "/lists"),
        ("GET", f"/lists/{news}/subscribers"),
        ("GET", "/templates"),
        ("DELETE", f"/lists/{news}"),
    ):
        assert sender(method, path)["code"] == "not_allowed"
        assert sender.status == 403
    for options in ({"scopes": ["read:lists"]}, {"scopes": ["read"]}):
        assert len(api(call.client, call.who, domain=True, surface="octeth", **options)("GET", "/lists")["data"]) == 1
    assert len(api(call.client, call.who, surface="octeth")("GET", "/lists")["data"]) == 1
    assert len(api(call.client, call.who, domain=True)("GET", "/lists")["data"]) == 1


def test_hostile_values_are_refused_or_kept_as_they_are(call: Api, news: str) -> None:
    path = f"/lists/{news}/subscribers"
    for value in ("\x00", "\ud800", "' OR 1=1 --", "=cmd()", "{{ 7 | times: 7 }}", "<script>", "𝕏" * 100):
        told = call.client.post(
            f"/v1{path}", data=orjson.dumps({"email": JANE, "fields": {"a": "X"}}).replace(b'"X"', _json(value)),
            content_type="application/json", headers={"Authorization": f"Bearer {call.key}"},
        )  # fmt: skip
        assert told.status_code in (200, 201, 400), value
        if told.status_code != 400:
            assert told.get_json()["fields"]["a"] == value
    assert call("GET", f"{path}/{'x' * 5000}")["code"] == "not_found"
    assert call("GET", "/lists/lst_%00")["code"] == "not_found"


def _json(value: str) -> bytes:
    return b'"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in value).encode() + b'"'


def test_two_who_take_somebody_off_at_once_do_it_once(call: Api, news: str) -> None:
    call("POST", f"/lists/{news}/subscribers", {"email": JANE})
    uuid = ids.uuid_of("lst", news)
    assert uuid is not None
    listed = lists.find(caller=call.who.owner, uuid=uuid)
    found = subscribers.find(caller=call.who.owner, list_id=listed.id, email=JANE)
    subscribers.remove(caller=call.who.owner, subscriber=found)
    with pytest.raises(errors.SubscriberNotFound):
        subscribers.remove(caller=call.who.owner, subscriber=found)
    assert call("GET", f"/lists/{news}")["subscribers"]["active"] == 0
