"""`/v1/segments`: parts of a mail list under a name, found anew each time by their conditions."""

from __future__ import annotations

from typing import Any

import orjson

from gateway import ids
from gateway.services import lists, segments
from gateway.services.identity import Caller
from gateway.services.lists import MailList
from gateway.services.segments import Preview
from models.vocabulary import ListKind
from web.rest import fields
from web.rest.v1.lists import SEGMENT, Listing, listed, show, the_list
from web.rest.v1.operation import Answer, operation

_CONDITIONS = {"type": "object"}
_CONDITIONS_DOC = (
    "A group {all|any: [...]} or {not: {...}}, a field {field, op, value}, or {behaviour, within_days|since, tag}"
)
_PREVIEW = {
    "count": 212,
    "exact": True,
    "sample": [{"id": "sub_01KH8N3QZJ70080000000000XQ", "email": "jane@example.com"}],
}


class _List(Listing):
    list_id = fields.Text(max=64, load_default="", doc="Only segments of this list")


class _Add(fields.Params):
    name = fields.Text(max=255, min=1, required=True)
    list_id = fields.Text(max=64, required=True, doc="The mail list that it is a part of")
    conditions = fields.Anything(required=True, shape=_CONDITIONS, doc=_CONDITIONS_DOC)


class _Change(fields.Params):
    name = fields.Text(max=255, min=1)
    conditions = fields.Anything(shape=_CONDITIONS, doc=_CONDITIONS_DOC)


class _Sample(fields.Params):
    sample = fields.Whole(low=0, high=segments.SAMPLE_MOST, load_default=10, doc="How many of them to show")


class _Try(_Sample):
    list_id = fields.Text(max=64, required=True)
    conditions = fields.Anything(required=True, shape=_CONDITIONS, doc=_CONDITIONS_DOC)


@operation(
    "GET",
    "/segments",
    permission="read:lists",
    several=True,
    of_account=True,
    summary="List segments, the oldest first",
    params=_List,
    answer={"data": [SEGMENT], "has_more": False, "next_cursor": None},
)
def list_segments(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    source = the_list(caller, params["list_id"], field="list_id") if params["list_id"] else None
    return listed(caller, params, ListKind.SEGMENT, source)


@operation(
    "POST",
    "/segments",
    permission="write:lists",
    several=True,
    of_account=True,
    summary="Create a segment of a mail list",
    params=_Add,
    answer=SEGMENT,
    status=201,
)
def add_segment(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    source = the_list(caller, params["list_id"], field="list_id")
    made = segments.add(caller=caller, name=params["name"], list_id=source.id, conditions=params["conditions"])
    return show(caller, [made])[0]


@operation(
    "POST",
    "/segments/preview",
    permission="read:lists",
    several=True,
    of_account=True,
    summary="Count and show who would be in a segment, without keeping it",
    params=_Try,
    answer=_PREVIEW,
)
def try_segment(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    source = the_list(caller, params["list_id"], field="list_id")
    return _preview(
        segments.preview(caller=caller, list_id=source.id, conditions=params["conditions"], sample=params["sample"])
    )


@operation(
    "GET",
    "/segments/<segment_id>",
    permission="read:lists",
    several=True,
    of_account=True,
    summary="Show a segment",
    answer=SEGMENT,
)
def show_segment(caller: Caller, params: dict[str, Any], segment_id: str) -> dict[str, Any]:
    return show(caller, [_found(caller, segment_id)])[0]


@operation(
    "GET",
    "/segments/<segment_id>/preview",
    permission="read:lists",
    several=True,
    of_account=True,
    summary="Count who is in a segment now, and show some of them",
    params=_Sample,
    answer=_PREVIEW,
)
def preview_segment(caller: Caller, params: dict[str, Any], segment_id: str) -> dict[str, Any]:
    """`exact` is false where counting took too long: there are at least so many."""
    found = _found(caller, segment_id)
    return _preview(
        segments.preview(
            caller=caller,
            list_id=found.source_id or 0,
            conditions=orjson.loads(found.conditions or "{}"),
            sample=params["sample"],
        )
    )


@operation(
    "PATCH",
    "/segments/<segment_id>",
    permission="write:lists",
    several=True,
    of_account=True,
    summary="Change a segment; what was accepted for it goes to whom it was accepted for",
    params=_Change,
    answer=SEGMENT,
)
def change_segment(caller: Caller, params: dict[str, Any], segment_id: str) -> dict[str, Any]:
    found = _found(caller, segment_id)
    changed = segments.update(
        caller=caller, segment=found, name=params.get("name"), conditions=params.get("conditions")
    )
    return show(caller, [changed])[0]


@operation(
    "DELETE",
    "/segments/<segment_id>",
    permission="write:lists",
    several=True,
    of_account=True,
    summary="Delete a segment; its list stays",
    status=204,
)
def delete_segment(caller: Caller, params: dict[str, Any], segment_id: str) -> Answer:
    lists.delete(caller=caller, list_id=_found(caller, segment_id).id, kinds=(ListKind.SEGMENT,))
    return Answer(None)


def _found(caller: Caller, text: str) -> MailList:
    return lists.find(caller=caller, uuid=ids.uuid_of("seg", text), kinds=(ListKind.SEGMENT,))


def _preview(found: Preview) -> dict[str, Any]:
    return {
        "count": found.count,
        "exact": found.exact,
        "sample": [
            {"id": ids.numbered("sub", created_ms, number), "email": email}
            for number, created_ms, email in found.sample
        ],
    }
