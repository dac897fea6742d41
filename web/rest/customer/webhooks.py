"""`/webhooks`: of the customer, of single domains and of groups of domains."""

from __future__ import annotations

from typing import Any

from gateway import clock
from gateway.services import domains, email_events, webhook_changes, webhooks
from gateway.services.identity import Caller
from gateway.services.webhook_words import MAILERLOGIC
from gateway.services.webhooks import Hook
from web.rest import fields
from web.rest.customer.domains import find
from web.rest.customer.operation import Answer, operation

_EVENTS = ", ".join(email_events.WORDS)
EXAMPLE = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "name": "Production Webhook",
    "url": "https://your-app.com/webhooks/mailerlogic",
    "events": ["email.delivered", "email.opened"],
    "domain_ids": None,
    "scope": "customer",
    "is_active": True,
    "test_events": False,
    "created_at": "2026-01-23T10:00:00.000Z",
    "last_response_code": None,
}


class _Add(fields.Params):
    url = fields.Text(max=2000, min=1, required=True, doc="Where events are sent")
    events = fields.Words(max=64, most=64, required=True, doc=f"Of {_EVENTS}; `*` is all of them")
    name = fields.Text(max=255, load_default="")
    domain_ids = fields.Words(max=64, load_default=None, allow_none=True, doc="null or [] hears of all domains")
    is_active = fields.Flag(load_default=True)
    test_events = fields.Flag(load_default=False, doc="Whether events of test keys are sent too")


class _Change(fields.Params):
    url = fields.Text(max=2000, min=1)
    events = fields.Words(max=64, most=64, doc=f"Of {_EVENTS}; `*` is all of them")
    name = fields.Text(max=255)
    is_active = fields.Flag()
    test_events = fields.Flag()


@operation("GET", "/webhooks", permission="read:webhooks", summary="List webhooks", answer={"webhooks": [EXAMPLE]})
def list_customer_webhooks(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """In the order in which they are told: those of domains and groups before those of the customer."""
    listed = webhooks.list_surface(caller=caller, surface=MAILERLOGIC)
    listed.sort(key=lambda hook: (hook.domain_id is None and hook.domain_ids is None, hook.id))
    return {"webhooks": [shown(caller, hook) for hook in listed]}


@operation(
    "POST", "/webhooks", permission="write:webhooks", summary="Add a webhook; its secret is shown once", params=_Add,
    answer=EXAMPLE | {"secret": "whsec_…"}, status=201,
)  # fmt: skip
def add_customer_webhook(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """One domain id makes a webhook of that domain, several one of the group."""
    heard = [find(caller, one).id for one in dict.fromkeys(params["domain_ids"] or [])]
    hook = webhooks.add(
        caller=caller,
        domain_id=heard[0] if len(heard) == 1 else caller.domain_id if not heard else None,
        domain_ids=heard if len(heard) > 1 else None,
        event=params["events"],
        url=params["url"],
        name=params["name"],
        surface=MAILERLOGIC,
        test_events=params["test_events"],
    )
    if not params["is_active"]:
        hook = webhook_changes.update(caller=caller, webhook_id=hook.id, active=False)
    return shown(caller, hook) | {"secret": hook.secret}


@operation("GET", "/webhooks/<webhook_id>", permission="read:webhooks", summary="Show a webhook", answer=EXAMPLE)
def get_customer_webhook(caller: Caller, params: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    return shown(caller, webhooks.shown(_find(caller, webhook_id)))


@operation(
    "PATCH", "/webhooks/<webhook_id>", permission="write:webhooks", summary="Change a webhook", params=_Change,
    answer=EXAMPLE,
)  # fmt: skip
def change_customer_webhook(caller: Caller, params: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    hook = webhook_changes.update(
        caller=caller, webhook_id=_find(caller, webhook_id).id, url=params.get("url"), event=params.get("events"),
        active=params.get("is_active"), test_events=params.get("test_events"), name=params.get("name"),
    )  # fmt: skip
    return shown(caller, hook)


@operation(
    "DELETE", "/webhooks/<webhook_id>", permission="write:webhooks", summary="Delete a webhook",
    answer={"message": "Webhook deleted"},
)  # fmt: skip
def delete_customer_webhook(caller: Caller, params: dict[str, Any], webhook_id: str) -> Answer:
    webhooks.delete(caller=caller, webhook_id=_find(caller, webhook_id).id)
    return Answer({"message": "Webhook deleted"})


def shown(caller: Caller, hook: Hook) -> dict[str, Any]:
    heard = [hook.domain_id] if hook.domain_id is not None else hook.domain_ids
    ours = {domain.id: str(domain.uuid) for domain in domains.list_(caller=caller)} if heard else {}
    return {
        "id": hook.uuid,
        "name": hook.name,
        "url": hook.url,
        "events": hook.events,
        "domain_ids": None if heard is None else [ours[one] for one in heard if one in ours],
        "scope": "customer" if heard is None else "domain" if hook.domain_id is not None else "group",
        "is_active": hook.status == "active",
        "test_events": hook.test_events,
        "created_at": clock.rfc3339_ms(hook.created_ms),
        "last_response_code": hook.last_code,
    }


def _find(caller: Caller, webhook_id: str) -> Any:
    return webhooks.find_public(caller=caller, hook_id=webhook_id, surface=MAILERLOGIC)
