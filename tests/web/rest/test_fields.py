"""Parameters, pages and cursors of the REST surfaces."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
import pytest

from gateway import errors
from web.rest import fields, paging


class _Inner(fields.Params):
    name = fields.Text(min=1, max=5, required=True)


class _Outer(fields.Params):
    n = fields.Whole(low=1, high=9)
    on = fields.Flag()
    at = fields.Moment()
    tags = fields.Words(max=3, most=3)
    one = ma.fields.Nested(_Inner)
    many = ma.fields.List(ma.fields.Nested(_Inner))


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("n", "7", 7),
        ("on", "0", False),
        ("on", True, True),
        ("at", "2026-04-19T10:24:11Z", 1776594251000),
        ("at", "2026-04-19T12:24:11.5+02:00", 1776594251500),
        ("at", "2026-04-19", 1776556800000),
        ("at", 1776594251, 1776594251000),
        ("at", "1776594251123", 1776594251123),
        ("at", 1776594251.25, 1776594251250),
        ("at", 1776594251123.75, 1776594251123),
        ("tags", "a, b\nc,,", ["a", "b", "c"]),
        ("tags", ["a ", ""], ["a"]),
        ("one", {"name": "x"}, {"name": "x"}),
    ],
)
def test_read(name: str, value: Any, read: Any) -> None:
    assert _Outer().load({name: value}) == {name: read}


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("n", 0, "n"),
        ("n", True, "n"),
        ("n", "1.5", "n"),
        ("n", 10**30, "n"),
        ("on", "maybe", "on"),
        ("at", "soon", "at"),
        ("at", -1, "at"),
        ("at", 10**30, "at"),
        ("at", "9999-12-31T23:59:59-23:00", "at"),
        ("at", True, "at"),
        ("at", float("inf"), "at"),
        ("tags", "a,b,c,d", "tags"),
        ("tags", ["abcd"], "tags"),
        ("tags", [1], "tags"),
        ("tags", {"a": 1}, "tags"),
        ("one", {"name": " "}, "one.name"),
        ("one", {"name": "a\0b"}, "one.name"),
        ("many", [{"name": "x"}, {"name": "toolong"}], "many.1.name"),
        ("many", [{}], "many.0.name"),
    ],
)
def test_refused_with_the_fields_path(name: str, value: Any, field: str) -> None:
    with pytest.raises(ma.ValidationError) as refused:
        _Outer().load({name: value})
    (fault,) = fields.faults(refused.value.messages)
    assert fault["field"] == field
    assert fault["message"]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ma.ValidationError) as refused:
        _Inner().load({})
    assert fields.faults(refused.value.messages) == [{"field": "name", "message": "The 'name' field is required."}]


def test_unknown_names_at_every_depth() -> None:
    data = {"n": 1, "x": 1, "one": {"name": "a", "y": 2}, "many": [{"name": "a"}, {"name": "b", "z": {"w": 1}}]}
    assert fields.unknown(_Outer(), data) == ["x", "one.y", "many.1.z"]


def test_unknown_names_inside_what_a_service_reads() -> None:
    person = {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"email": {}}}]}
    shape = {"anyOf": [*person["anyOf"], {"type": "array", "items": person}]}

    class Sent(fields.Params):
        to = fields.Anything(shape=shape, closed=True)
        data = fields.Anything(shape={"type": "object"}, closed=True)
        open_ = fields.Anything(shape=shape, data_key="open")

    given = {"to": ["a@x.test", {"email": "b", "nick": 1}], "data": {"any": 1}, "open": {"any": 1}}
    assert fields.unknown(Sent(), given) == ["to.1.nick"]
    assert fields.unknown(Sent(), {"to": {"email": "b", "nick": 1}}) == ["to.nick"]
    assert fields.unknown(Sent(), {"to": "a@x.test", "data": [1]}) == []


def test_pages() -> None:
    rows = list(range(5))
    first = paging.page(rows[:3], 2, lambda row: paging.cursor(row), str, total=5)
    assert first == {"data": ["0", "1"], "has_more": True, "next_cursor": paging.cursor(1), "total": 5}
    assert paging.last_id(first["next_cursor"]) == 1
    assert paging.page(rows[3:], 2, lambda row: paging.cursor(row), str)["next_cursor"] is None
    assert paging.last_id("") is None


@pytest.mark.parametrize(
    "text", ["x", "é", "W10", paging.cursor("a"), paging.cursor(1, 2), paging.cursor(2**63), "e30"]
)
def test_a_cursor_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        paging.last_id(text)
    assert refused.value.data["field"] == "cursor"
