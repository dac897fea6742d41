"""`/v1/mailboxes`: the mailboxes of the key's domain."""

from __future__ import annotations

from typing import Any

from gateway.services import mailboxes
from gateway.services.identity import Caller
from gateway.services.mailboxes import Mailbox
from web.rest import fields
from web.rest.v1.operation import operation

_EXAMPLE = {
    "id": "mbx_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "address": "hello",
    "fullAddress": "hello@example.com",
    "email": "hello@example.com",
    "displayName": "Hello Team",
    "messages": 12,
    "bytes": 48_200,
    "createdAt": 1_790_000_000_000,
}


class _Create(fields.Params):
    address = fields.Text(max=320, min=1, required=True, doc="The part before the @; the full address works as well")
    displayName = fields.Text(  # noqa: N815 - the document's name
        max=mailboxes.NAME_LENGTH, load_default="", allow_none=True, doc="The sender's name"
    )


@operation(
    "GET",
    "/mailboxes",
    permission="read:mailboxes",
    summary="List the mailboxes of the key's domain",
    answer=[_EXAMPLE],
    dialects=("mailmark",),
)
def list_mailboxes(caller: Caller, params: dict[str, Any]) -> list[Any]:
    """The oldest first."""
    return [shown(one) for one in mailboxes.list_(caller=caller)]


@operation(
    "POST",
    "/mailboxes",
    permission="write:mailboxes",
    summary="Create a mailbox on the key's domain",
    params=_Create,
    answer=_EXAMPLE,
    status=201,
    dialects=("mailmark",),
)
def create_mailbox(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """409 where there is one with that address."""
    name = params["displayName"] or ""
    return shown(mailboxes.add(caller=caller, address=params["address"], display_name=name))


@operation(
    "DELETE",
    "/mailboxes/<address>",
    permission="write:mailboxes",
    summary="Delete a mailbox with all its mail and its places in sender groups",
    answer={"success": True, "address": "hello", "fullAddress": "hello@example.com", "deleted": True},
    dialects=("mailmark",),
)
def delete_mailbox(caller: Caller, params: dict[str, Any], address: str) -> dict[str, Any]:
    """By local part or full address."""
    gone = mailboxes.delete(caller=caller, address=address)
    return {"success": True, "address": gone.local, "fullAddress": gone.address, "deleted": True}


def shown(one: Mailbox) -> dict[str, Any]:
    return {
        "id": one.public_id,
        "address": one.local,
        "fullAddress": one.address,
        "email": one.address,
        "displayName": one.display_name or None,
        "messages": one.messages,
        "bytes": one.bytes,
        "createdAt": one.created_ms,
    }
