"""Templates: AddTemplate, GetTemplates, GetTemplate, UpdateTemplate, DeleteTemplate and PreviewTemplate."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Id, Object, Params, Text, Whole
from gateway import clock, errors
from gateway.mail import merge
from gateway.services import templates
from gateway.services.identity import Caller
from gateway.services.templates import Template

_LIQUID = "Liquid: {{ firstName }}, {% if %}, {% for %} and filters; no files"
_EXAMPLE = {
    "TemplateID": "7",
    "TemplateName": "Welcome",
    "Subject": "Welcome, {{ firstName | default: 'friend' }}!",
    "Variables": ["firstName"],
    "CreatedAt": "2026-01-01 12:00:00",
    "UpdatedAt": "2026-01-01 12:00:00",
}
_BODIES = {"HTMLContent": "<p>Hello {{ firstName }}</p>", "PlainContent": "Hello {{ firstName }}"}


class AddTemplateParams(Params):
    TemplateName = Text(missing=1, max=255, doc="A name to find it by")
    Subject = Text(missing=2, max=998, doc=f"The subject. {_LIQUID}")
    HTMLContent = Text(required=False, max=merge.SOURCE_MOST, doc="The HTML part; values are escaped in it")
    PlainContent = Text(required=False, max=merge.SOURCE_MOST, doc="The plain text part")


class GetTemplatesParams(Params):
    StartFrom = Whole(required=False, doc="How many templates to skip")
    RetrieveCount = Whole(required=False, low=1, high=100, clamp=True, doc="How many to return, at most 100")


class TemplateParams(Params):
    TemplateID = Id(missing=1, doc="The number of the template")


class UpdateTemplateParams(TemplateParams):
    TemplateName = Text(required=False, max=255, doc="The new name")
    Subject = Text(required=False, max=998, doc="The new subject")
    HTMLContent = Text(required=False, blank=True, max=merge.SOURCE_MOST, doc="The new HTML part; empty takes it away")
    PlainContent = Text(required=False, blank=True, max=merge.SOURCE_MOST, doc="The new text part; empty takes it away")


class PreviewTemplateParams(TemplateParams):
    Variables = Object(required=False, invalid=3, doc="The values of its variables")


@command(
    "EmailGateway.AddTemplate",
    summary="Add a template for the TemplateID of a send",
    params=AddTemplateParams,
    errors={
        1: "Missing required parameter: TemplateName",
        2: "Missing required parameter: Subject",
        3: "HTMLContent and PlainContent are both missing",
        4: "The template cannot be read",
    },
    refusals={errors.NoContent: 3, errors.InvalidTemplate: 4},
    answer={"NewTemplateID": "7", "Template": {**_EXAMPLE, **_BODIES}},
)
def add_template(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    made = templates.add(
        caller=caller,
        name=params["TemplateName"],
        subject=params["Subject"],
        html=params.get("HTMLContent"),
        text=params.get("PlainContent"),
    )
    new_id = made.id if caller.options.get("numeric_ids") else str(made.id)
    return {"NewTemplateID": new_id, "Template": _whole(made)}


@command(
    "EmailGateway.GetTemplates",
    summary="List the templates of the account",
    params=GetTemplatesParams,
    answer={"Templates": [{name: _EXAMPLE[name] for name in _EXAMPLE if name != "Variables"}], "TotalRecords": 1},
)
def get_templates(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found, total = templates.list_(
        caller=caller, start=params.get("StartFrom", 0), count=params.get("RetrieveCount", templates.MOST_LISTED)
    )
    return {"Templates": [_shown(one) for one in found], "TotalRecords": total}


@command(
    "EmailGateway.GetTemplate",
    summary="Show a template with its parts and the variables they read",
    params=TemplateParams,
    errors={1: "Missing required parameter: TemplateID", 2: "Template not found"},
    refusals={errors.NotFound: 2},
    answer={"Template": {**_EXAMPLE, **_BODIES}},
)
def get_template(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"Template": _whole(templates.find(caller=caller, template_id=params["TemplateID"]))}


@command(
    "EmailGateway.UpdateTemplate",
    summary="Change a template; what was accepted before stays as it was",
    params=UpdateTemplateParams,
    errors={
        1: "Missing required parameter: TemplateID",
        2: "Template not found",
        3: "HTMLContent and PlainContent would both be missing",
        4: "The template cannot be read",
    },
    refusals={errors.NotFound: 2, errors.NoContent: 3, errors.InvalidTemplate: 4},
    answer={"Template": {**_EXAMPLE, **_BODIES}},
)
def update_template(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    names = {"TemplateName": "name", "Subject": "subject", "HTMLContent": "html", "PlainContent": "text"}
    changes = {names[name]: value for name, value in params.items() if name in names}
    return {"Template": _whole(templates.update(caller=caller, template_id=params["TemplateID"], changes=changes))}


@command(
    "EmailGateway.DeleteTemplate",
    summary="Delete a template; what was accepted with it is sent all the same",
    params=TemplateParams,
    errors={1: "Missing required parameter: TemplateID", 2: "Template not found"},
    refusals={errors.NotFound: 2},
)
def delete_template(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    templates.delete(caller=caller, template_id=params["TemplateID"])
    return {}


@command(
    "EmailGateway.PreviewTemplate",
    summary="Render a template as a recipient with these variables would get it",
    params=PreviewTemplateParams,
    errors={
        1: "Missing required parameter: TemplateID",
        2: "Template not found",
        3: "Variables is not an object",
        4: "The template cannot be rendered with these variables",
    },
    refusals={errors.NotFound: 2, errors.InvalidTemplate: 4},
    answer={
        "Subject": "Welcome, Jane!",
        "HTMLContent": "<p>Hello Jane</p>",
        "PlainContent": "Hello Jane",
        "MissingVariables": [],
    },
)
def preview_template(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    made = templates.preview(caller=caller, template_id=params["TemplateID"], variables=params.get("Variables", {}))
    return {
        "Subject": made.subject,
        "HTMLContent": made.html or "",
        "PlainContent": made.text or "",
        "MissingVariables": made.missing,
    }


def _shown(template: Template) -> dict[str, Any]:
    return {
        "TemplateID": str(template.id),
        "TemplateName": template.name,
        "Subject": template.subject,
        "CreatedAt": clock.sql_text(template.created_ms),
        "UpdatedAt": clock.sql_text(template.updated_ms),
    }


def _whole(template: Template) -> dict[str, Any]:
    return {
        **_shown(template),
        "HTMLContent": template.html or "",
        "PlainContent": template.text or "",
        "Variables": template.variables(),
    }
