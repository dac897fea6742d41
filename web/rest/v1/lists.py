"""`/v1/lists`: mail lists and, as far as they are shown and deleted, segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors, ids
from gateway.services import confirmations, lists, segments, templates
from gateway.services.identity import Caller
from gateway.services.lists import MailList
from models.vocabulary import ListKind
from web.rest import fields, paging
from web.rest.v1.operation import Answer, operation

LIST = {
    "id": "lst_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "kind": "list",
    "name": "News",
    "subscribers": {"active": 1204, "unsubscribed": 31, "pending": 0},
    "double_opt_in": False,
    "confirm_from": None,
    "confirm_template_id": None,
    "confirm_hours": 168,
    "created_at": "2026-04-19T10:24:11Z",
    "updated_at": "2026-04-19T10:24:11Z",
}
SEGMENT = {
    "id": "seg_01KH8N3QZJ6W2M4YV0T9R5X7BD",
    "kind": "segment",
    "name": "Readers in Berlin",
    "list_id": LIST["id"],
    "conditions": {
        "all": [
            {"field": "city", "op": "equals", "value": "Berlin"},
            {"behaviour": "opened", "within_days": 90},
        ]
    },
    "created_at": "2026-04-19T10:24:11Z",
    "updated_at": "2026-04-19T10:24:11Z",
}
_KINDS = {"list": ListKind.LIST, "segment": ListKind.SEGMENT}


class Listing(fields.Listing):
    name = fields.Text(max=255, load_default="", doc="Only those whose name has this in it, in any case")


class _List(Listing):
    kind = fields.Text(choices=_KINDS, doc="Only lists, or only segments")


class _Options(fields.Params):
    double_opt_in = fields.Flag(doc="Whoever is added gets a mail that asks, and is not written to before they confirm")
    confirm_from = fields.Text(
        max=600, allow_none=True, doc="The address, with a name or without, that this mail comes from"
    )
    confirm_template_id = fields.Text(
        max=64, allow_none=True, doc="A template with {{ confirm_url }}; null: the text that comes with the gateway"
    )
    confirm_hours = fields.Whole(low=1, high=confirmations.HOURS_MOST, doc="How long the link holds")


class _Add(_Options):
    name = fields.Text(max=255, min=1, required=True)


class _Change(_Options):
    name = fields.Text(max=255, min=1)


@operation(
    "GET",
    "/lists",
    permission="read:lists",
    several=True,
    of_account=True,
    summary="List mail lists and segments, the oldest first",
    params=_List,
    answer={"data": [LIST, SEGMENT], "has_more": False, "next_cursor": None},
)
def list_lists(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return listed(caller, params, _KINDS.get(params.get("kind", "")))


def listed(
    caller: Caller, params: dict[str, Any], kind: ListKind | None, source: MailList | None = None
) -> dict[str, Any]:
    """A page of lists, of segments, of those of one list, or of all."""
    rows = lists.page(
        caller=caller,
        count=params["limit"] + 1,
        after=paging.last_id(params["cursor"]),
        kind=kind,
        name=params["name"],
        source_id=source.id if source is not None else None,
    )
    shown = dict(zip((one.id for one in rows), show(caller, rows), strict=True))
    return paging.page(rows, params["limit"], lambda one: paging.cursor(one.id), lambda one: shown[one.id])


@operation(
    "POST",
    "/lists",
    permission="write:lists",
    several=True,
    of_account=True,
    summary="Create a mail list",
    params=_Add,
    answer=LIST,
    status=201,
)
def add_list(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    options = confirmations.checked(caller=caller, old={}, changes=_options(caller, params))
    return show(caller, [lists.add(caller=caller, name=params["name"], options=options)])[0]


@operation(
    "GET",
    "/lists/<list_id>",
    permission="read:lists",
    several=True,
    of_account=True,
    summary="Show a mail list with its counts, or a segment",
    answer=LIST,
)
def show_list(caller: Caller, params: dict[str, Any], list_id: str) -> dict[str, Any]:
    return show(caller, [segments.reference(caller=caller, text=list_id)])[0]


@operation(
    "PATCH",
    "/lists/<list_id>",
    permission="write:lists",
    several=True,
    of_account=True,
    summary="Change a mail list's name or its double opt-in",
    params=_Change,
    answer=LIST,
)
def change_list(caller: Caller, params: dict[str, Any], list_id: str) -> dict[str, Any]:
    """Who is on the list already stays as they are."""
    found = the_list(caller, list_id)
    changes = _options(caller, params)
    options = confirmations.checked(caller=caller, old=found.options, changes=changes) if changes else None
    changed = lists.change(caller=caller, one=found, name=params.get("name"), options=options)
    return show(caller, [changed])[0]


@operation(
    "DELETE",
    "/lists/<list_id>",
    permission="write:lists",
    several=True,
    of_account=True,
    summary="Delete a mail list with its segments, or a segment; what was accepted for it still goes to all of it",
    status=204,
)
def delete_list(caller: Caller, params: dict[str, Any], list_id: str) -> Answer:
    found = segments.reference(caller=caller, text=list_id)
    lists.delete(caller=caller, list_id=found.id, kinds=(found.kind,))
    return Answer(None)


def the_list(caller: Caller, text: str, *, field: str | None = None) -> MailList:
    """The mail list under a public id; raises `NotFound`, naming the field where the body says which."""
    try:
        return lists.find(caller=caller, uuid=ids.uuid_of("lst", text))
    except errors.NotFound as absent:
        raise errors.NotFound(absent.message, **(absent.data | {"field": field})) from None


def _options(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    names = {
        "double_opt_in": confirmations.DOUBLE_OPT_IN,
        "confirm_from": confirmations.FROM,
        "confirm_hours": confirmations.HOURS,
    }
    found = {names[name]: value for name, value in params.items() if name in names}
    if "confirm_template_id" in params:
        text = params["confirm_template_id"]
        uuid = ids.uuid_of("tpl", text) if text else None
        try:
            found[confirmations.TEMPLATE] = templates.find(caller=caller, uuid=uuid).id if text else None
        except errors.NotFound:
            raise errors.NotFound(what="template", field="confirm_template_id") from None
    return found


def show(caller: Caller, rows: Sequence[MailList]) -> list[dict[str, Any]]:
    sources = lists.uuids(caller=caller, list_ids={one.source_id for one in rows if one.source_id is not None})
    wanted = {one.options[confirmations.TEMPLATE] for one in rows if confirmations.TEMPLATE in one.options}
    used = templates.uuids(caller=caller, template_ids=wanted)
    return [_segment(one, sources) if one.is_segment else _list(one, used) for one in rows]


def _list(one: MailList, used: dict[int, UUID]) -> dict[str, Any]:
    options = one.options
    template = used.get(options.get(confirmations.TEMPLATE, 0))
    return {
        "id": ids.public_id("lst", one.uuid),
        "kind": "list",
        "name": one.name,
        "subscribers": {"active": one.active, "unsubscribed": one.unsubscribed, "pending": one.pending},
        "double_opt_in": bool(options.get(confirmations.DOUBLE_OPT_IN)),
        "confirm_from": options.get(confirmations.FROM),
        "confirm_template_id": None if template is None else ids.public_id("tpl", template),
        "confirm_hours": options.get(confirmations.HOURS, confirmations.HOURS_DEFAULT),
        "created_at": clock.rfc3339(one.created_ms),
        "updated_at": clock.rfc3339(one.updated_ms),
    }


def _segment(one: MailList, sources: dict[int, UUID]) -> dict[str, Any]:
    return {
        "id": ids.public_id("seg", one.uuid),
        "kind": "segment",
        "name": one.name,
        "list_id": ids.public_id("lst", sources[one.source_id or 0]),
        "conditions": orjson.loads(one.conditions or "{}"),
        "created_at": clock.rfc3339(one.created_ms),
        "updated_at": clock.rfc3339(one.updated_ms),
    }
