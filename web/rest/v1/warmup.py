"""`/v1/warmup`: mailboxes that begin small, and how far they are."""

# ruff: noqa: N815 - the document's names

from __future__ import annotations

from typing import Any

from gateway import clock
from gateway.services import warmup_plan, warmups
from gateway.services.identity import Caller
from gateway.services.warmups import Shown
from web.rest import fields
from web.rest.v1.operation import operation

UNKNOWN = "unknown: receivers do not say which folder mail goes to, and too few were seen to open or answer it"
AT_LEAST = "at least so much: whoever opened or answered has seen it, the others may have"
_ACTIVITY = {
    "sent": 120, "delivered": 118, "deferred": 2, "bounced": 1, "complained": 0, "opened": 60, "clicked": 12,
    "replied": 9,
}  # fmt: skip
_EXAMPLE = {
    "mailbox": "hello@example.com",
    "domain": "example.com",
    "status": "active",
    "healthScore": 92,
    "inboxRate": 0.5085,
    "inboxRateBasis": AT_LEAST,
    "dailyLimit": 34,
    "usedToday": 20,
    "goal": 1_000,
    "reason": "grown from 26: of 26 sent 0 bounced, 0 complained, 1 deferred",
    "today": _ACTIVITY,
    "last7Days": _ACTIVITY,
    "history": [{"day": "2026-01-31", "dailyLimit": 26, "used": 26}],
    "startedAt": 1_790_000_000_000,
}


class _Asked(fields.Params):
    mailbox = fields.Text(max=320, load_default="", doc="Only that mailbox")


class _Enrol(fields.Params):
    mailbox = fields.Text(max=320, min=1, required=True, doc="The mailbox that begins small")
    dailyLimit = fields.Whole(low=1, high=warmups.GOAL_MOST, load_default=warmup_plan.FIRST, doc="Of the first day")
    goal = fields.Whole(
        low=1, high=warmups.GOAL_MOST, load_default=warmup_plan.GOAL, doc="Messages a day at which it ends"
    )


@operation(
    "GET",
    "/warmup",
    permission="read:analytics",
    summary="The mailboxes that are warmed up: limits, health, activity",
    params=_Asked,
    answer=[_EXAMPLE],
    dialects=("mailmark",),
    org_wide=True,
)
def list_warmups(caller: Caller, params: dict[str, Any]) -> list[Any]:
    """Those that have ended too, as `completed`."""
    return [_shown(one) for one in warmups.list_(caller=caller, address=params["mailbox"])]


@operation(
    "POST",
    "/warmup",
    permission="write:mailboxes",
    summary="Let a mailbox begin small: what is over its limit of a day waits for the next",
    params=_Enrol,
    answer=_EXAMPLE,
    status=201,
    dialects=("mailmark",),
)
def enroll_mailbox(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    """409 where it is warmed up already."""
    warmups.add(caller=caller, address=params["mailbox"], goal=params["goal"], first=params["dailyLimit"])
    return _shown(warmups.list_(caller=caller, address=params["mailbox"])[0])


@operation(
    "DELETE",
    "/warmup/<address>",
    permission="write:mailboxes",
    summary="Lift the limit of a mailbox at once",
    answer={"mailbox": "hello@example.com", "ended": True},
    dialects=("mailmark",),
)
def end_warmup(caller: Caller, params: dict[str, Any], address: str) -> dict[str, Any]:
    """What waits for tomorrow is sent then."""
    warmups.end(caller=caller, address=address)
    return {"mailbox": address, "ended": True}


def _shown(one: Shown) -> dict[str, Any]:
    warmup = one.warmup
    inbox = warmup_plan.inbox_at_least(one.recent)
    return {
        "mailbox": one.name,
        "domain": one.domain,
        "status": "active" if warmup.done_ms is None else "completed",
        "healthScore": warmup_plan.health(one.recent),
        "inboxRate": inbox,
        "inboxRateBasis": UNKNOWN if inbox is None else AT_LEAST,
        "dailyLimit": warmup.day_limit if warmup.done_ms is None else None,
        "usedToday": warmup.used,
        "goal": warmup.goal,
        "reason": warmup.reason,
        "today": {name: getattr(one.today, name) for name in _ACTIVITY},
        "last7Days": {name: getattr(one.recent, name) for name in _ACTIVITY},
        "history": [
            {"day": clock.from_ms(day * clock.DAY_MS).strftime("%Y-%m-%d"), "dailyLimit": limit, "used": used}
            for day, limit, used in one.past
        ],
        "startedAt": warmup.created_ms,
    }
