"""`/v1/sender-groups`: mailboxes that send in turn, and whom they write to."""

# ruff: noqa: N815 - the document's names

from __future__ import annotations

from typing import Any

from gateway.services import sender_groups
from gateway.services.identity import Caller
from gateway.services.sender_groups import ALL, Change, Group
from web.rest import fields
from web.rest.v1.operation import operation

_EXAMPLE = {
    "id": "grp_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "name": "My Group",
    "mailboxes": "all",
    "senders": ["hello@example.com", "sales@example.com"],
    "emails": ["jane@example.org"],
    "createdAt": 1_790_000_000_000,
    "updatedAt": 1_790_000_000_000,
}
_EMAILS: dict[str, Any] = {"max": 320, "most": sender_groups.EMAILS_MOST, "allow_none": True, "load_default": None}
_MAILBOXES = "Mailboxes that send, or all for every one of the domain"


class _Create(fields.Params):
    name = fields.Text(max=255, min=1, required=True, doc="What the group is called")
    mailboxes = fields.Words(max=320, load_default=None, allow_none=True, doc=f"{_MAILBOXES}; that is the default")
    emails = fields.Words(**_EMAILS, doc="Whom it writes to")


class _Update(fields.Params):
    name = fields.Text(max=255, min=1, load_default=None, allow_none=True, doc="Another name")
    mailboxes = fields.Words(max=320, load_default=None, allow_none=True, doc=_MAILBOXES)
    emails = fields.Words(**_EMAILS, doc="The whole list from now on; addEmails and removeEmails say nothing then")
    addEmails = fields.Words(**_EMAILS, doc="People to add")
    removeEmails = fields.Words(**_EMAILS, doc="People to take off")


@operation(
    "GET",
    "/sender-groups",
    permission="read:mailboxes",
    summary="List the sender groups of the key's domain",
    answer=[_EXAMPLE],
    dialects=("mailmark",),
)
def list_sender_groups(caller: Caller, params: dict[str, Any]) -> list[Any]:
    """The oldest first."""
    return [_shown(one) for one in sender_groups.list_(caller=caller)]


@operation(
    "POST",
    "/sender-groups",
    permission="write:mailboxes",
    summary="Create a sender group",
    params=_Create,
    answer=_EXAMPLE,
    status=201,
    dialects=("mailmark",),
)
def create_sender_group(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """Its id may stand in `from` of a send."""
    made = sender_groups.add(
        caller=caller, name=params["name"], mailboxes_=params["mailboxes"] or [ALL], emails=params["emails"] or []
    )
    return _shown(made)


@operation(
    "PATCH",
    "/sender-groups/<group_id>",
    permission="write:mailboxes",
    summary="Change a sender group: what is not named stays",
    params=_Update,
    answer=_EXAMPLE,
    dialects=("mailmark",),
)
def update_sender_group(caller: Caller, params: dict[str, Any], group_id: str) -> dict[str, Any]:
    """An empty change is none, and no fault."""
    change = Change(params["name"], params["mailboxes"], params["emails"], params["addEmails"], params["removeEmails"])
    return _shown(sender_groups.update(caller=caller, group_id=group_id, change=change))


@operation(
    "DELETE",
    "/sender-groups/<group_id>",
    permission="write:mailboxes",
    summary="Delete a sender group; its mailboxes stay",
    answer={"success": True, "id": _EXAMPLE["id"], "deleted": True},
    dialects=("mailmark",),
)
def delete_sender_group(caller: Caller, params: dict[str, Any], group_id: str) -> dict[str, Any]:
    """For good."""
    gone = sender_groups.delete(caller=caller, group_id=group_id)
    return {"success": True, "id": gone.public_id, "deleted": True}


def _shown(group: Group) -> dict[str, Any]:
    return {
        "id": group.public_id,
        "name": group.name,
        "mailboxes": ALL if group.everything else group.mailboxes,
        "senders": group.mailboxes,
        "emails": group.emails,
        "createdAt": group.created_ms,
        "updatedAt": group.updated_ms,
    }
