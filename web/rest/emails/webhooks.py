"""`/api/v1/webhooks` for Maillayer keys: where the account's events are told."""

from __future__ import annotations

from typing import Any

from gateway import clock
from gateway.services import email_events, webhooks
from gateway.services.identity import Caller
from gateway.services.webhook_words import MAILLAYER
from gateway.services.webhooks import Hook
from web.rest import fields
from web.rest.emails.operation import operation
from web.rest.surface import Answer

EXAMPLE = {
    "id": "0199a1b2-0000-7000-8000-000000000000",
    "url": "https://example.com/hooks",
    "events": ["email.delivered", "email.bounced"],
    "status": "active",
    "createdAt": "2025-01-15T10:30:00.000Z",
}
_DEFAULT = ["email.delivered", "email.bounced", "email.complained"]


class _Add(fields.Params):
    url = fields.Text(max=2000, min=1, required=True, doc="Where events are sent")
    events = fields.Words(
        max=64, most=64, load_default=_DEFAULT, doc=f"Of {', '.join(email_events.WORDS)}; `*` is all of them"
    )
    test_events = fields.Flag(data_key="testEvents", load_default=False, doc="Whether events of test keys are sent too")


@operation(
    "GET", "/webhooks", permission="read:webhooks", summary="List webhooks", answer={"data": [EXAMPLE]}, shared=True
)
def list_webhooks(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"data": [_shown(hook) for hook in webhooks.list_surface(caller=caller, surface=MAILLAYER)]}


@operation(
    "POST", "/webhooks", permission="write:webhooks", summary="Add a webhook; its secret is shown once", params=_Add,
    answer=EXAMPLE | {"secret": "whsec_…"}, status=201, shared=True,
)  # fmt: skip
def create_webhook(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    hook = webhooks.add(
        caller=caller,
        domain_id=caller.domain_id,
        event=params["events"] or _DEFAULT,
        url=params["url"],
        surface=MAILLAYER,
        test_events=params["test_events"],
    )
    return _shown(hook) | {"secret": hook.secret}


@operation(
    "DELETE", "/webhooks/<webhook_id>", permission="write:webhooks", summary="Remove a webhook", status=204, shared=True
)
def delete_webhook(caller: Caller, params: dict[str, Any], webhook_id: str) -> Answer:
    hook = webhooks.find_public(caller=caller, hook_id=webhook_id, surface=MAILLAYER)
    webhooks.delete(caller=caller, webhook_id=hook.id)
    return Answer(None)


def _shown(hook: Hook) -> dict[str, Any]:
    return {
        "id": hook.uuid, "url": hook.url, "events": hook.events, "status": hook.status, "testEvents": hook.test_events,
        "createdAt": clock.rfc3339_ms(hook.created_ms),
    }  # fmt: skip
