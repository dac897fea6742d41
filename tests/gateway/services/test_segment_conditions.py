"""Conditions of segments: what each operator and behaviour asks, and what is refused with its path."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway import clock, errors
from gateway.services import segment_conditions
from gateway.services.segment_conditions import Behaviour, Person

NOW = 1_800_000_000_000
DAY = clock.DAY_MS


def origin(campaign: str) -> str | None:
    return "cmp:7" if campaign == "cmp_known" else None


def fulfils(conditions: Any, fields: dict[str, Any] | None = None, **behaviour: Behaviour) -> bool:
    known = {name.replace("__", ":") if name != "any" else "": value for name, value in behaviour.items()}
    person = Person("Jane@Friends.test", orjson.dumps(fields or {}).decode(), NOW - 10 * DAY, known)
    return segment_conditions.compile_(conditions, origin).matches(person, NOW)


def field(name: str, op: str, value: Any = None) -> dict[str, Any]:
    return {"field": name, "op": op} | ({} if value is None else {"value": value})


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (field("city", "equals", "berlin"), True),
        (field("city", "equals", "Bern"), False),
        ({"field": "city", "value": "Berlin"}, True),
        (field("age", "equals", "30"), True),
        (field("age", "equals", 30.0), True),
        (field("vip", "equals", True), True),
        (field("vip", "equals", "TRUE"), True),
        (field("nothing", "equals", ""), False),
        (field("city", "not_equals", "Bern"), True),
        (field("nothing", "not_equals", "Bern"), True),
        (field("city", "contains", "ERL"), True),
        (field("interests", "contains", "chess"), True),
        (field("interests", "equals", "go"), True),
        (field("interests", "not_contains", "golf"), True),
        (field("email", "ends_with", "@friends.test"), True),
        (field("email", "starts_with", "joe"), False),
        (field("city", "exists"), True),
        (field("nothing", "exists"), False),
        (field("empty", "exists"), False),
        (field("nothing", "not_exists"), True),
        (field("age", "greater", 29), True),
        (field("age", "greater", 30), False),
        (field("age", "greater_or_equal", 30), True),
        (field("score", "less", 3), True),
        (field("score", "less_or_equal", 2.5), True),
        (field("city", "less", 3), False),
        (field("nothing", "less", 3), False),
        (field("city", "in", ["Bern", "Berlin"]), True),
        (field("age", "in", [1, "30"]), True),
        (field("city", "not_in", ["Bern"]), True),
        (field("born", "before", "1990-01-02"), True),
        (field("born", "before", "1990-01-01"), False),
        (field("born", "after", "1990-01-01T00:00:00Z"), True),
        (field("seen", "after", "2026-01-01"), True),
        (field("city", "before", "2026-01-01"), False),
        (field("address.zip", "equals", "10115"), True),
        ({}, True),
    ],
    ids=str,
)
def test_a_condition_on_a_field(condition: dict[str, Any], wanted: bool) -> None:
    fields = {
        "city": "Berlin", "age": 30, "vip": True, "interests": ["Chess", "Go"], "empty": "", "score": "2.5",
        "born": "1990-01-01", "seen": 1_790_000_000, "address": {"zip": "10115"},
    }  # fmt: skip
    assert fulfils(condition, fields) is wanted
    assert fulfils({"not": condition} if condition else {"not": field("city", "exists")}, fields) is not wanted


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ({"behaviour": "opened"}, True),
        ({"behaviour": "opened", "within_days": 5}, True),
        ({"behaviour": "opened", "within_days": 4}, False),
        ({"behaviour": "not_opened", "within_days": 4}, True),
        ({"behaviour": "clicked"}, False),
        ({"behaviour": "not_clicked"}, True),
        ({"behaviour": "opened", "tag": "welcome"}, False),
        ({"behaviour": "clicked", "tag": "news"}, True),
        ({"behaviour": "delivered", "since": NOW - 6 * DAY}, True),
        ({"behaviour": "delivered", "since": NOW - 4 * DAY}, False),
        ({"behaviour": "opened", "campaign": "cmp_known"}, True),
        ({"behaviour": "subscribed", "within_days": 11}, True),
        ({"behaviour": "subscribed", "within_days": 9}, False),
        ({"behaviour": "not_subscribed", "within_days": 9}, True),
    ],
    ids=str,
)
def test_a_condition_on_behaviour(condition: dict[str, Any], wanted: bool) -> None:
    five = NOW - 5 * DAY
    known = {
        "any": Behaviour(delivered=five, opened=five),
        "tag__news": Behaviour(clicked=five),
        "cmp__7": Behaviour(opened=five),
    }
    assert fulfils(condition, **known) is wanted


def test_groups_within_groups() -> None:
    berlin, adult = field("city", "equals", "Berlin"), field("age", "greater_or_equal", 18)
    both = {"all": [berlin, {"any": [adult, {"not": field("age", "exists")}]}]}
    assert fulfils(both, {"city": "Berlin", "age": 18})
    assert fulfils(both, {"city": "Berlin"})
    assert not fulfils(both, {"city": "Berlin", "age": 17})
    assert not fulfils(both, {"city": "Bern", "age": 18})


def _deep(depth: int) -> dict[str, Any]:
    return {"not": _deep(depth - 1)} if depth else field("city", "exists")


@pytest.mark.parametrize(
    ("conditions", "path"),
    [
        ("everybody", "conditions"),
        ([], "conditions"),
        ({"all": []}, "conditions.all"),
        ({"all": [{}]}, "conditions.all.0"),
        ({"any": [field("a", "exists"), {"field": "a", "op": "like", "value": "b"}]}, "conditions.any.1.op"),
        ({"field": "", "value": 1}, "conditions.field"),
        (field("a", "equals"), "conditions.value"),
        (field("a", "equals", {"b": 1}), "conditions.value"),
        (field("a", "exists", 1), "conditions.value"),
        (field("a", "greater", "much"), "conditions.value"),
        (field("a", "in", []), "conditions.value"),
        (field("a", "in", ["b"] * 1001), "conditions.value"),
        (field("a", "before", "soon"), "conditions.value"),
        (field("a", "contains", ""), "conditions.value"),
        (field("a", "equals", "b") | {"valve": 1}, "conditions.valve"),
        ({"behaviour": "read"}, "conditions.behaviour"),
        ({"behaviour": "opened", "within_days": 0}, "conditions.within_days"),
        ({"behaviour": "opened", "within_days": True}, "conditions.within_days"),
        ({"behaviour": "opened", "since": "soon"}, "conditions.since"),
        ({"behaviour": "opened", "since": "2026-01-01", "within_days": 1}, "conditions"),
        ({"behaviour": "opened", "campaign": "cmp_none"}, "conditions.campaign"),
        ({"behaviour": "opened", "campaign": "cmp_known", "tag": "a"}, "conditions"),
        ({"behaviour": "subscribed", "tag": "a"}, "conditions"),
        ({"field": "a", "behaviour": "opened"}, "conditions"),
        (_deep(6), "conditions" + ".not" * 5),
        ({"all": [field("a", "exists")] * 101}, "conditions"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_no_condition_is_refused_with_its_path(conditions: Any, path: str) -> None:
    with pytest.raises(errors.InvalidFields) as refusal:
        segment_conditions.compile_(conditions, origin)
    assert path in [fault["field"] for fault in refusal.value.data["fields"]]  # type: ignore[union-attr]


def test_the_deepest_that_may_be() -> None:
    assert fulfils(_deep(5), {}) is True


@pytest.mark.parametrize("value", [1e400, -1e400, "nan", "1e999", 10**30, "9" * 400])
def test_numbers_beyond_all_times_do_no_harm(value: Any) -> None:
    value = str(value) if isinstance(value, float) else value
    for condition in (field("a", "greater", 1), field("a", "before", "2026-01-01"), field("a", "equals", 5)):
        fulfils(condition, {"a": value if not isinstance(value, int) else str(value)})
