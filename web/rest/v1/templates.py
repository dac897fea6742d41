"""`/v1/templates`: texts with variables that an account keeps to send."""

from __future__ import annotations

from typing import Any

from gateway import clock, errors, ids
from gateway.services import templates
from gateway.services.identity import Caller
from gateway.services.templates import Template
from web.rest import fields, paging
from web.rest.v1.operation import Answer, operation

_EXAMPLE = {
    "id": "tpl_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "name": "Welcome",
    "subject": "Welcome, {{ first_name }}",
    "html": "<p>Hello {{ first_name }}!</p>",
    "text": None,
    "variables": ["first_name"],
    "created_at": "2026-04-19T10:24:11Z",
    "updated_at": "2026-04-19T10:24:11Z",
}
_PART = 2**20  # characters; what may be kept is less, and the service says how much
_SUBJECT = 2000


class _List(fields.Listing):
    name = fields.Text(max=255, load_default="", doc="Only those whose name has this in it, in any case")


class _Put(fields.Params):
    id = fields.Text(max=64, doc="The template to change; without it the one of that name is changed, or made")
    name = fields.Text(max=255, load_default="", doc="Obligatory for a new one")
    subject = fields.Text(max=_SUBJECT, doc="Liquid; one line")
    html = fields.Text(max=_PART, allow_none=True, doc="Liquid; values are escaped unless it says `| safe`")
    text = fields.Text(max=_PART, allow_none=True, doc="Liquid")


class _Change(fields.Params):
    name = fields.Text(max=255, min=1)
    subject = fields.Text(max=_SUBJECT, doc="Liquid; one line")
    html = fields.Text(max=_PART, allow_none=True, doc="Liquid; null takes the part away")
    text = fields.Text(max=_PART, allow_none=True, doc="Liquid; null takes the part away")


class _Render(fields.Params):
    variables = fields.Anything(load_default=dict, shape={"type": "object"}, doc="Values by name")


@operation(
    "GET",
    "/templates",
    permission="read:templates",
    several=True,
    of_account=True,
    summary="List templates, the oldest first and without their bodies",
    params=_List,
    answer={
        "data": [{name: value for name, value in _EXAMPLE.items() if name not in ("html", "text", "variables")}],
        "has_more": False,
        "next_cursor": None,
    },
)
def list_templates(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    rows = templates.page(
        caller=caller, count=params["limit"] + 1, after=paging.last_id(params["cursor"]), name=params["name"]
    )
    return paging.page(rows, params["limit"], lambda one: paging.cursor(one.id), _brief)


@operation(
    "POST",
    "/templates",
    permission="write:templates",
    several=True,
    of_account=True,
    summary="Create a template, or update the one with that id or name",
    params=_Put,
    answer=_EXAMPLE,
    status=201,
)
def put_template(caller: Caller, params: dict[str, Any]) -> Answer:
    """201 for a new one, 200 for one that was changed."""
    uuid = _uuid(params["id"]) if params.get("id") else None
    if uuid is None and not params["name"].strip():
        raise errors.Invalid("name: Should not be empty.", field="name")
    changes: dict[str, str | None] = {name: params[name] for name in ("subject", "html", "text") if name in params}
    made, new = templates.put(caller=caller, name=params["name"], changes=changes, uuid=uuid)
    return Answer(_shown(made), 201 if new else 200)


@operation(
    "GET",
    "/templates/<template_id>",
    permission="read:templates",
    several=True,
    of_account=True,
    summary="Show a template with its bodies and the variables they read",
    answer=_EXAMPLE,
)
def show_template(caller: Caller, params: dict[str, Any], template_id: str) -> dict[str, Any]:
    return _shown(_found(caller, template_id))


@operation(
    "PATCH",
    "/templates/<template_id>",
    permission="write:templates",
    several=True,
    of_account=True,
    summary="Change a template; what was accepted with it before is not touched",
    params=_Change,
    answer=_EXAMPLE,
)
def change_template(caller: Caller, params: dict[str, Any], template_id: str) -> dict[str, Any]:
    found = _found(caller, template_id)
    changed = templates.update(caller=caller, template_id=found.id, changes=params) if params else found
    return _shown(changed)


@operation(
    "DELETE",
    "/templates/<template_id>",
    permission="write:templates",
    several=True,
    of_account=True,
    summary="Delete a template",
    status=204,
)
def delete_template(caller: Caller, params: dict[str, Any], template_id: str) -> Answer:
    templates.delete(caller=caller, template_id=_found(caller, template_id).id)
    return Answer(None)


@operation(
    "POST",
    "/templates/<template_id>/render",
    permission="read:templates",
    several=True,
    of_account=True,
    summary="Render a template with variables, as a recipient would get it",
    params=_Render,
    answer={
        "id": _EXAMPLE["id"],
        "subject": "Welcome, Jane",
        "html": "<p>Hello Jane!</p>",
        "text": None,
        "missing_variables": [],
    },
)
def render_template(caller: Caller, params: dict[str, Any], template_id: str) -> dict[str, Any]:
    """Names that were not given are empty and listed; a template that passes a limit is refused."""
    found = _found(caller, template_id)
    if not isinstance(params["variables"], dict):
        raise errors.Invalid("variables: Should be an object of names and values.", field="variables")
    made = templates.preview(caller=caller, template_id=found.id, variables=params["variables"])
    return {
        "id": ids.public_id("tpl", found.uuid),
        "subject": made.subject,
        "html": made.html,
        "text": made.text,
        "missing_variables": made.missing,
    }


def _uuid(text: str) -> Any:
    uuid = ids.uuid_of("tpl", text)
    if uuid is None:
        raise errors.NotFound(what="template")
    return uuid


def _found(caller: Caller, text: str) -> Template:
    return templates.find(caller=caller, uuid=_uuid(text))


def _brief(one: Template) -> dict[str, Any]:
    return {
        "id": ids.public_id("tpl", one.uuid),
        "name": one.name,
        "subject": one.subject,
        "created_at": clock.rfc3339(one.created_ms),
        "updated_at": clock.rfc3339(one.updated_ms),
    }


def _shown(one: Template) -> dict[str, Any]:
    return _brief(one) | {"html": one.html, "text": one.text, "variables": one.variables()}
