"""`/profile`: the account, its plan, its limits and what is used of them."""

from __future__ import annotations

from typing import Any

from gateway import clock, errors
from gateway.services import api_keys, domains, quotas, users, webhooks
from gateway.services.identity import Caller
from gateway.services.webhook_words import MAILERLOGIC
from web.rest import fields
from web.rest.customer.operation import operation

_OVERLAP_HOURS = 24
_LIMITS = ("emails_minute", "emails_hour", "emails_day", "emails_month")


@operation(
    "GET", "/profile", permission="read:account", summary="The account, its plan, limits and usage",
    answer={
        "email": "you@yourdomain.com", "name": "You", "status": "active", "plan": "Growth",
        "created_at": "2026-01-23T10:00:00.000Z",
        "limits": {"emails_month": 30000, "domains": None, "webhooks": None, "requests": 50, "request_window": 1},
        "usage": {"emails_month": 1200, "domains": 2, "webhooks": 1},
    },
)  # fmt: skip
def get_profile(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """A limit of null is none; what has no limit is not counted, its usage is null."""
    account, _ = users.get(caller)
    plan, used = caller.plan, quotas.used(account_id=caller.account_id)
    return {
        "email": account.email,
        "name": account.name,
        "status": account.status,
        "plan": plan.name,
        "created_at": clock.rfc3339_ms(account.created_ms),
        "limits": {name: getattr(plan, name) for name in _LIMITS}
        | {
            "domains": plan.max_domains,
            "webhooks": plan.max_webhooks,
            "requests": plan.requests,
            "request_window": plan.request_window,
        },
        "usage": {name: used[name] if getattr(plan, name) is not None else None for name in _LIMITS}
        | {
            "domains": len(domains.list_(caller=caller)),
            "webhooks": len(webhooks.list_surface(caller=caller, surface=MAILERLOGIC)),
        },
    }


class _Rotate(fields.Params):
    overlap_hours = fields.Whole(
        low=0, high=api_keys.OVERLAP_MOST, load_default=_OVERLAP_HOURS, doc="How long the old key works too"
    )


@operation(
    "POST", "/profile/rotate-key", permission="write:keys", summary="A new API key in place of the one that asks",
    params=_Rotate, status=201,
    answer={"api_key": "…", "prefix": "mlk_live_abcd", "old_key_expires_at": "2026-01-24T10:00:00.000Z"},
)  # fmt: skip
def rotate_key(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """The new key is shown this once; the old one works until the overlap is over."""
    if caller.key_id is None:
        raise errors.NotAllowed("Only a key can be rotated.")
    made, old = api_keys.rotate_own(caller=caller, overlap_hours=params["overlap_hours"])
    return {
        "api_key": made.text,
        "prefix": made.key.prefix,
        "old_key_expires_at": clock.rfc3339_ms(old.expires_ms) if old.expires_ms is not None else None,
    }
