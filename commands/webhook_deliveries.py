"""What webhooks were told and what not: deliveries, dead letters, attempts, replays and numbers by day."""

from __future__ import annotations

from typing import Any

from commands import webhooks as shown
from commands.registry import command
from commands.schema import Day, Id, Params, Text, Whole
from gateway import clock, errors
from gateway.services import webhook_log, webhook_replays
from gateway.services.identity import Caller

_MISSING = {1: "Missing required parameter: WebhookID", 2: "Webhook not found"}
_STATES = "live: still to be told; told; dead: given up; skipped: of a test key, which it does not ask for"


_DEAD = {
    "WebhookDeliveryID": "981",
    "WebhookMessageID": "0199c5d2-7f3e-7b1c-9a44-5a0f1f2f9e10",
    "Type": "message.delivered",
    "MessageID": "0199c5d2-7f00-7a51-8c8e-0d9e5c1b2a3f",
    "State": "dead",
    "Attempts": 10,
    "NextAttemptAt": None,
    "LastResponseCode": 500,
    "LastError": "the endpoint answered 500",
    "CreatedAt": "2026-01-01 12:00:00",
}


class WebhookDeliveriesParams(Params):
    WebhookID = Id(missing=1, doc="The unique identifier for the webhook")
    State = Text(required=False, choices=webhook_log.STATES, doc=f"Only those in this state. {_STATES}")
    StartDate = Day(required=False, doc="Only those of this time or later, in UTC")
    EndDate = Day(required=False, end=True, doc="Only those of this time or earlier, in UTC")
    Before = Whole(required=False, low=1, doc="Only those with a number below this one: the last of the page before")
    RetrieveCount = Whole(required=False, low=1, high=100, clamp=True, doc="How many to return, at most 100")


class DeadLettersParams(Params):
    DomainID = Id(required=False, doc="Only those of the webhooks of this domain")
    StartDate = Day(required=False, doc="Only those of this time or later, in UTC")
    EndDate = Day(required=False, end=True, doc="Only those of this time or earlier, in UTC")
    Before = Whole(required=False, low=1, doc="Only those with a number below this one: the last of the page before")
    RetrieveCount = Whole(required=False, low=1, high=100, clamp=True, doc="How many to return, at most 100")


class WebhookAttemptsParams(Params):
    WebhookDeliveryID = Id(missing=1, doc="The number of the webhook delivery")


class ReplayParams(Params):
    WebhookID = Id(required=False, doc="The webhook whose deliveries are told again")
    WebhookDeliveryID = Id(required=False, doc="A single delivery, in place of WebhookID")
    State = Text(required=False, choices=webhook_replays.STATES, doc="Which are told again: dead (the default) or told")
    StartDate = Day(required=False, doc="Only those of this time or later, in UTC")
    EndDate = Day(required=False, end=True, doc="Only those of this time or earlier, in UTC")
    Event = shown.EventWords(required=False, invalid=3, doc="Only those of these events")


class WebhookStatsParams(Params):
    WebhookID = Id(missing=1, doc="The unique identifier for the webhook")
    Days = Whole(required=False, low=1, high=366, doc="How many days back; 28 by default")


@command(
    "EmailGateway.GetWebhookDeliveries",
    summary="List what a webhook was told, is to be told and could not be told, the newest first",
    params=WebhookDeliveriesParams,
    errors=_MISSING,
    refusals={errors.WebhookNotFound: 2},
    answer={"WebhookDeliveries": [_DEAD]},
)
def get_webhook_deliveries(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = webhook_log.deliveries(
        caller=caller,
        webhook_id=params["WebhookID"],
        state=params.get("State"),
        from_ms=params.get("StartDate"),
        to_ms=params.get("EndDate"),
        before=params.get("Before"),
        count=params.get("RetrieveCount", webhook_log.MOST_LISTED),
    )
    return {"WebhookDeliveries": [_row(one) for one in found]}


def _row(one: webhook_log.Told) -> dict[str, Any]:
    return {
        "WebhookDeliveryID": str(one.id),
        "WebhookMessageID": one.uuid,
        "Type": one.type,
        "MessageID": one.message_id,
        "State": one.state,
        "Attempts": one.attempts,
        "NextAttemptAt": None if one.due_ms is None else clock.sql_text(one.due_ms),
        "LastResponseCode": one.last_code,
        "LastError": one.last_error,
        "CreatedAt": clock.sql_text(one.created_ms),
    }


@command(
    "EmailGateway.GetWebhookDeadLetters",
    summary="List what no webhook of the account, or of a domain, could be told in the end, the newest first",
    params=DeadLettersParams,
    errors={1: "Domain not found"},
    refusals={errors.NotFound: 1},
    answer={"DeadLetters": [_DEAD | {"WebhookID": "7", "URL": "https://yourdomain.com/webhook", "Status": "Active"}]},
    permission="read:webhooks",
)
def get_webhook_dead_letters(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = webhook_log.dead_letters(
        caller=caller,
        domain_id=params.get("DomainID"),
        from_ms=params.get("StartDate"),
        to_ms=params.get("EndDate"),
        before=params.get("Before"),
        count=params.get("RetrieveCount", webhook_log.MOST_LISTED),
    )
    return {
        "DeadLetters": [
            _row(one.told) | {"WebhookID": str(one.webhook_id), "URL": one.url, "Status": one.status.capitalize()}
            for one in found
        ]
    }


@command(
    "EmailGateway.GetWebhookAttempts",
    summary="Show each call of a webhook delivery with the first 4 kB of the answer",
    params=WebhookAttemptsParams,
    errors={1: "Missing required parameter: WebhookDeliveryID", 2: "Webhook delivery not found"},
    refusals={errors.WebhookNotFound: 2},
    answer={
        "Attempts": [
            {
                "Attempt": 1,
                "StartedAt": "2026-01-01 12:00:00",
                "DurationMs": 85,
                "ResponseCode": 500,
                "ResponseBody": "Internal Server Error",
                "Error": "",
            }
        ]
    },
)
def get_webhook_attempts(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = webhook_log.attempts(caller=caller, delivery_id=params["WebhookDeliveryID"])
    return {
        "Attempts": [
            {
                "Attempt": one.no,
                "StartedAt": clock.sql_text(one.started_ms),
                "DurationMs": one.ms,
                "ResponseCode": one.code,
                "ResponseBody": one.answer,
                "Error": one.error,
            }
            for one in found
        ]
    }


@command(
    "EmailGateway.ReplayWebhookDeliveries",
    summary="Tell a webhook again what it missed: one delivery, or all that fit; many come behind the answer",
    params=ReplayParams,
    errors={
        1: "WebhookID or WebhookDeliveryID is needed",
        2: "Webhook or webhook delivery not found",
        3: "Invalid event type specified",
        4: "The webhook is disabled: enable it first",
        5: "A replay of that webhook is still running",
    },
    refusals={
        errors.MissingWebhook: 1,
        errors.WebhookNotFound: 2,
        errors.InvalidEvent: 3,
        errors.WebhookDisabled: 4,
        errors.ReplayRunning: 5,
    },
    answer={"Replayed": 214, "Done": True},
)
def replay_webhook_deliveries(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    made = webhook_replays.begin(
        caller=caller,
        webhook_id=params.get("WebhookID"),
        delivery_id=params.get("WebhookDeliveryID"),
        state=params.get("State", "dead"),
        from_ms=params.get("StartDate"),
        to_ms=params.get("EndDate"),
        event=params.get("Event"),
    )
    return {"Replayed": made.replayed, "Done": made.done}


@command(
    "EmailGateway.GetWebhookStats",
    summary="Calls, successes and answer times of a webhook, by day",
    params=WebhookStatsParams,
    errors=_MISSING,
    refusals={errors.WebhookNotFound: 2},
    answer={
        "SuccessRate": 99.2,
        "Days": [
            {
                "Day": "2026-01-01",
                "Calls": 120,
                "Told": 119,
                "Refused": 1,
                "Unanswered": 0,
                "AverageMs": 85,
                "SlowestMs": 912,
            }
        ],
    },
    permission="read:webhooks",
)
def get_webhook_stats(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = webhook_log.days(caller=caller, webhook_id=params["WebhookID"], days=params.get("Days", webhook_log.DAYS))
    calls, told = sum(one.calls for one in found), sum(one.told for one in found)
    return {
        "SuccessRate": round(100 * told / calls, 1) if calls else None,
        "Days": [
            {
                "Day": clock.sql_text(one.day * clock.DAY_MS)[:10],
                "Calls": one.calls,
                "Told": one.told,
                "Refused": one.calls - one.told - one.silent,
                "Unanswered": one.silent,
                "AverageMs": one.average_ms,
                "SlowestMs": one.most_ms,
            }
            for one in found
        ],
    }
