"""Parameters: what each kind takes, and which number a wrong one gets."""

from __future__ import annotations

from typing import Any

import pytest

from commands.schema import UNDOCUMENTED, Anything, Day, Fault, Field, Flag, Id, Params, Text, Texts, Whole


def check(field: Field, value: Any) -> Any:
    """The parsed value of one parameter, or its fault."""
    schema = Params.from_dict({"Value": field})()
    values, faults = schema.check({"value": value})  # type: ignore[attr-defined]
    return faults[0] if faults else values.get("Value")


def code(field: Field, value: Any) -> int:
    found = check(field, value)
    assert isinstance(found, Fault)
    return found.code


class AddParams(Params):
    Description = Text(missing=1, invalid=1, max=5)
    DomainID = Id(missing=2)
    Event = Text(missing=4, invalid=3, choices=("open", "click"))
    Note = Text(required=False, max=3)


def test_every_fault_in_the_order_of_numbers() -> None:
    _, faults = AddParams().check({"event": "nonsense", "note": "too long"})
    assert [(fault.code, fault.field, fault.missing) for fault in faults] == [
        (1, "Description", True),
        (2, "DomainID", True),
        (3, "Event", False),
        (UNDOCUMENTED, "Note", False),
    ]


def test_names_come_out_as_documented_and_absent_ones_stay_absent() -> None:
    values, faults = AddParams().check({"description": "x", "domainid": "7", "event": "open", "unknown": {}})
    assert (values, faults) == ({"Description": "x", "DomainID": 7, "Event": "open"}, [])


@pytest.mark.parametrize("value", [None, "", "  \t"])
def test_blank_is_absent(value: Any) -> None:
    assert code(Text(missing=4), value) == 4
    assert check(Text(required=False), value) is None


def test_blank_may_be_kept() -> None:
    assert check(Text(required=False, blank=True), "") == ""


@pytest.mark.parametrize("value, text", [("x", "x"), (" x ", " x "), (5, "5"), (1.5, "1.5"), ("ü" * 5, "ü" * 5)])
def test_text(value: Any, text: str) -> None:
    assert check(Text(max=5), value) == text


@pytest.mark.parametrize("value", [True, {}, {"a": 1}, ["x"], "a\0b", "x" * 6])
def test_text_that_is_none(value: Any) -> None:
    assert code(Text(max=5), value) == UNDOCUMENTED
    assert code(Text(max=5, invalid=9), value) == 9


@pytest.mark.parametrize("value", [5, "5", " 5 ", 5.0, "+5", "005"])
def test_id(value: Any) -> None:
    assert check(Id(missing=1), value) == 5


@pytest.mark.parametrize("value", ["abc", "-5", -5, 0, 1.5, True, [], {}, "9" * 30, 2**63, 1e300, "١", "5;DROP", "5 6"])
def test_id_that_cannot_be_parsed_is_not_found(value: Any) -> None:
    assert check(Id(missing=1), value) == 0


def test_whole() -> None:
    assert check(Whole(low=1, high=9), "9") == 9
    assert check(Whole(high=100, clamp=True), 500) == 100
    assert check(Whole(high=100, clamp=True), "-3") == 0
    assert code(Whole(low=1, high=9, invalid=5), 10) == 5
    assert code(Whole(invalid=5), "many") == 5


@pytest.mark.parametrize(
    "value, flag", [(1, True), ("1", True), (True, True), ("TRUE", True), (0, False), ("false", False)]
)
def test_flag(value: Any, flag: bool) -> None:
    assert check(Flag(), value) is flag


@pytest.mark.parametrize("value", ["2", 2, "maybe", [], {}])
def test_flag_that_is_none(value: Any) -> None:
    assert code(Flag(), value) == UNDOCUMENTED


@pytest.mark.parametrize(
    "text, ms",
    [
        ("1970-01-02", 86_400_000),
        ("1970-01-01 00:00:01", 1_000),
        ("1970-01-01T00:00:01Z", 1_000),
        ("1970-01-01T01:00:00+01:00", 0),
    ],
)
def test_day(text: str, ms: int) -> None:
    assert check(Day(), text) == ms


def test_day_as_an_end_includes_the_day() -> None:
    assert check(Day(end=True), "1970-01-01") == 86_399_999
    assert check(Day(end=True), "1970-01-01 00:00:01") == 1_000
    assert check(Day(end=True), "19700101") == 86_399_999
    assert check(Day(end=True), "1970-01-01T00:00Z") == 0
    assert check(Day(end=True), "9999-12-31") == 253_402_300_799_999


@pytest.mark.parametrize("value", ["yesterday", "2023-02-30", 5, [], "9999-12-31T23:59:59-23:00"])
def test_day_that_is_none(value: Any) -> None:
    assert code(Day(end=True), value) == UNDOCUMENTED


def test_texts() -> None:
    assert check(Texts(), "a") == ["a"]
    assert check(Texts(), ["a", 1]) == ["a", "1"]
    assert code(Texts(max=2), ["abc"]) == UNDOCUMENTED
    assert code(Texts(most=1), ["a", "b"]) == UNDOCUMENTED


def test_anything() -> None:
    assert check(Anything(), {"a": [1]}) == {"a": [1]}
