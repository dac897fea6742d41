"""Rows of an account that a request names by a public id, a UUID or a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from gateway import errors, ids
from gateway.services import lists, personal
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import ListKind

_NUMBER_MOST = 18


def template(caller: Caller, value: Any, *, field: str) -> int:
    """The number of the account's template by id or name; raises `TemplateNotFound` that names `field`."""
    try:
        if isinstance(value, str | int) and not isinstance(value, bool):
            return personal.template_number(caller=caller, named=value)
    except errors.NotFound:
        pass
    raise errors.TemplateNotFound(f"There is no template {str(value)[:64]}.", what="template", field=field)


def keys(text: Any, prefixes: tuple[str, ...]) -> list[tuple[str, Any]]:
    """The columns by which a row may be named so, with their values; none for what names no row."""
    if isinstance(text, int) and not isinstance(text, bool):
        return [("id", text)] if 0 < text < 2**63 else []
    if not isinstance(text, str):
        return []
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) <= _NUMBER_MOST:
        return [("id", int(text))]
    uuids = {uuid for prefix in prefixes if (uuid := ids.uuid_of(prefix, text)) is not None}
    return [("uuid", uuid.bytes) for uuid in uuids]


def template_ids(numbers: set[int]) -> dict[int, str]:
    """The public ids of templates, to show what refers to them."""
    if not numbers:
        return {}
    marks = ",".join("?" * len(numbers))
    rows = db.rows(f"SELECT id, uuid FROM template WHERE id IN ({marks})", sorted(numbers))
    return {int(row_id): ids.public_id("tpl", UUID(bytes=bytes(uuid))) for row_id, uuid in rows}


def audience(caller: Caller, given: Mapping[str, Any]) -> int:
    """The number of the list or segment that `list_id` or `segment_id` names.

    Raises `NotFound` naming the field where there is none, `InvalidFields` where not one of them is given.
    """
    named = [name for name in ("list_id", "segment_id") if given.get(name) is not None]
    if len(named) != 1:
        text = "Should be given, or segment_id, and not both."
        raise errors.InvalidFields(f"list_id: {text}", fields=[{"field": "list_id", "message": text}])
    field = named[0]
    kinds, prefix = ((ListKind.LIST,), "lst") if field == "list_id" else ((ListKind.SEGMENT,), "seg")
    for column, value in keys(given[field], (prefix,)):
        try:
            if column == "id":
                return lists.find(caller=caller, list_id=value, kinds=kinds).id
            return lists.find(caller=caller, uuid=UUID(bytes=value), kinds=kinds).id
        except errors.NotFound:
            continue
    noun = "list" if field == "list_id" else "segment"
    raise errors.NotFound(f"There is no {noun} {str(given[field])[:64]}.", what=noun, field=field)


def audiences(numbers: set[int]) -> dict[int, tuple[str, str]]:
    """Of lists and segments the name of their field (`list_id`, `segment_id`) and their public id."""
    if not numbers:
        return {}
    marks = ",".join("?" * len(numbers))
    found: dict[int, tuple[str, str]] = {}
    for row_id, uuid, kind in db.rows(f"SELECT id, uuid, kind FROM mail_list WHERE id IN ({marks})", sorted(numbers)):
        field, prefix = ("segment_id", "seg") if kind == ListKind.SEGMENT else ("list_id", "lst")
        found[row_id] = (field, ids.public_id(prefix, UUID(bytes=bytes(uuid))))
    return found
