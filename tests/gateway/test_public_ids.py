"""Ids as REST surfaces show them."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from gateway import ids


@given(st.uuids())
def test_they_lead_back(value: uuid.UUID) -> None:
    text = ids.public_id("msg", value)
    assert text.startswith("msg_")
    assert len(text) == 30
    assert ids.uuid_of("msg", text) == ids.uuid_of("msg", text.lower()) == value
    assert ids.uuid_of("msg", str(value)) == value


@given(st.uuids(), st.uuids())
def test_they_sort_as_the_uuids_do(one: uuid.UUID, other: uuid.UUID) -> None:
    shown = sorted([ids.public_id("evt", one), ids.public_id("evt", other)])
    assert shown == [ids.public_id("evt", value) for value in sorted([one, other])]


def test_anything_else_is_none() -> None:
    good = ids.public_id("msg", ids.new_uuid())
    for text in (
        "",
        "msg_",
        good[:-1],
        good + "0",
        good.replace("msg", "evt"),
        "msg_" + "U" * 26,
        "msg_" + "Z" * 26,
        "x",
    ):
        assert ids.uuid_of("msg", text) is None


@given(st.uuids(version=None))
def test_short_ids_name_a_range(value: uuid.UUID) -> None:
    text = ids.short_id(value)
    assert len(text) == 24
    found = ids.range_of_short(text)
    assert found is not None
    first, last, tail = found
    assert first <= value.bytes <= last
    assert value.bytes.endswith(tail)


def test_anything_else_is_no_short_id() -> None:
    for text in ("", "g" * 24, "0" * 23, "0" * 25, "0x" + "0" * 22):
        assert ids.range_of_short(text) is None


@given(st.uuids())
def test_bytes_and_texts_are_those_of_the_uuid(value: uuid.UUID) -> None:
    assert ids.text_of(value.bytes) == str(value)
    assert ids.bytes_of(str(value)) == value.bytes
    assert ids.public_of("msg", value.bytes) == ids.public_id("msg", value)
