"""`/v1/webhooks` for Mailmark keys: who is told of mail that comes, of answers and of what became of messages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from gateway import ids
from gateway.services import domain_hooks, webhooks
from gateway.services.identity import Caller
from gateway.services.webhook_words import NATIVE_WORDS
from gateway.services.webhooks import Hook
from web.rest import fields
from web.rest.v1.operation import operation

_EXAMPLE = {
    "id": "whk_01K0Q4T2X8Z3V5N7B9C1D3F5G7",
    "url": "https://example.com/hooks/mail",
    "events": ["message.received", "message.replied"],
    "status": "active",
}


class _Add(fields.Params):
    url = fields.Text(max=2000, min=1, required=True, doc="Where events are sent: http or https, a public address")
    events = fields.Words(
        max=64,
        most=64,
        load_default=["message.received", "message.replied"],
        doc=f"Of {', '.join(NATIVE_WORDS)}",
    )


@operation(
    "GET",
    "/webhooks",
    permission="read:webhooks",
    summary="List the webhooks of the key's domain",
    answer=[_EXAMPLE],
    dialects=("mailmark",),
)
def list_domain_webhooks(caller: Caller, params: dict[str, Any]) -> list[Any]:
    """Those that were made here, the oldest first."""
    return [_shown(hook) for hook in domain_hooks.list_(caller=caller)]


@operation(
    "POST",
    "/webhooks",
    permission="write:webhooks",
    summary="Add a webhook; its secret is shown once",
    params=_Add,
    answer=_EXAMPLE | {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
    status=201,
    dialects=("mailmark",),
)
def create_domain_webhook(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """Signed as Standard Webhooks says; one of a test key hears of messages of test keys too."""
    hook = domain_hooks.add(caller=caller, events=params["events"], url=params["url"])
    return _shown(hook) | {"secret": hook.secret}


@operation(
    "DELETE",
    "/webhooks/<webhook_id>",
    permission="write:webhooks",
    summary="Remove a webhook",
    answer={"id": _EXAMPLE["id"], "deleted": True},
    dialects=("mailmark",),
)
def delete_domain_webhook(caller: Caller, params: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    """What was still to be told to it is not."""
    domain_hooks.delete(caller=caller, hook_id=webhook_id)
    return {"id": webhook_id, "deleted": True}


def _shown(hook: Hook) -> dict[str, Any]:
    return {
        "id": ids.public_id(webhooks.PREFIX, UUID(hook.uuid)),
        "url": hook.url,
        "events": hook.events,
        "status": hook.status,
    }
