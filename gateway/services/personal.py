"""A draft's template, variables and list: filled in and rendered before it is accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from gateway import errors, ids
from gateway.mail import merge
from gateway.mail.draft import Draft
from gateway.services import templates, unsubscribe_links
from gateway.services.identity import Caller
from models import database as db

VARIABLES_MOST = 65_536
"""Bytes of a request's variables as JSON."""


def prepare(caller: Caller, draft: Draft, find: Callable[[int], templates.Template] | None = None) -> Draft:
    """The draft with its template's parts where it has none of its own; `find` remembers templates for its caller.

    To a list the parts stay sources, checked, and are rendered for each subscriber; otherwise they are
    rendered now. Without a template, variables or a list the draft comes back as it is.
    Raises `TemplateNotFound`, `InvalidTemplate`, `Invalid`.
    """
    if draft.template_id is None and draft.list_id is None and not draft.variables:
        return draft
    if len(orjson.dumps(draft.variables)) > VARIABLES_MOST:
        raise errors.Invalid(f"The variables have more than {VARIABLES_MOST} bytes.", field="Variables")
    subject, html, text = draft.subject, draft.html, draft.text
    if draft.template_id is not None:
        number = draft.template_id
        found = find_template(caller=caller, template_id=number) if find is None else find(number)
        subject = subject or found.subject
        html = found.html if html is None else html
        text = found.text if text is None else text
    if draft.list_id is None:
        return replace(draft, **render(subject, html, text, draft.variables))
    if draft.to or draft.cc or draft.bcc:
        raise errors.Invalid("To, CC and BCC cannot be combined with TargetListID.", field="To")
    templates.check(subject, html, text)
    return replace(draft, subject=subject, html=html, text=text)


def find_template(*, caller: Caller, template_id: int) -> templates.Template:
    """The account's template of a send; raises `TemplateNotFound`."""
    try:
        return templates.find(caller=caller, template_id=template_id)
    except errors.NotFound:
        raise errors.TemplateNotFound(what="template") from None


def template_number(*, caller: Caller, named: str | int) -> int:
    """The number of a template of the account that a request names by number, public id or name.

    Raises `TemplateNotFound`.
    """
    text = str(named).strip()
    if text.isascii() and text.isdigit() and 0 < len(text) < 10:
        return find_template(caller=caller, template_id=int(text)).id
    uuid = ids.uuid_of("tpl", text)
    column, value = ("name", text) if uuid is None else ("uuid", uuid.bytes)
    rows = db.rows(
        f"SELECT id FROM template WHERE {column} = ? AND account_id = ? ORDER BY id DESC LIMIT 1",
        (value, caller.account_id),
    )
    if not rows:
        raise errors.TemplateNotFound("There is no such template.", what="template")
    return int(rows[0][0])


def render(subject: str, html: str | None, text: str | None, variables: Mapping[str, Any]) -> dict[str, Any]:
    """`subject`, `html` and `text` with the variables in them; raises `InvalidTemplate`.

    `unsubscribe_url` becomes the place that each delivery fills with its own link.
    """
    variables = {"unsubscribe_url": unsubscribe_links.PLACEHOLDER, **variables}
    return {
        "subject": templates.render_subject(subject, variables),
        "html": None if html is None else merge.render(html, variables, html=True),
        "text": None if text is None else merge.render(text, variables, html=False),
    }
