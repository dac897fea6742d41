"""Changes to any webhook, by its number: UpdateWebhook, RotateWebhookSecret and TestWebhook."""

from __future__ import annotations

from typing import Any

from commands import webhooks as shown
from commands.registry import command
from commands.schema import Flag, Id, Params, Text, Whole
from gateway import errors
from gateway.services import webhook_changes, webhook_samples
from gateway.services.identity import Caller

_MISSING = {1: "Missing required parameter: WebhookID", 2: "Webhook not found"}
_EXAMPLE = {
    "WebhookID": "456",
    "URL": "https://yourdomain.com/webhook",
    "Events": ["delivered"],
    "Status": "Active",
    "Secret": "whsec_…",
    "OldSecretUntil": "2026-01-02 12:00:00",
}


class WebhookParams(Params):
    WebhookID = Id(missing=1, doc="The unique identifier for the webhook")


class UpdateWebhookParams(WebhookParams):
    Event = shown.EventWords(required=False, invalid=3, doc=f"What it hears of from now on. {shown.WORDS}")
    WebhookURL = shown.url(required=False, invalid=4)
    Status = Text(
        required=False,
        choices=list(shown.STATUS.values()),
        doc="Disabled: it is told nothing, and what waits goes to the dead letters. Active: it is told again",
    )
    TestEvents = Flag(required=False, doc="Whether it hears of messages that were sent with test keys")


class RotateWebhookSecretParams(WebhookParams):
    OverlapHours = Whole(
        required=False,
        low=0,
        high=webhook_changes.OVERLAP_HOURS_MOST,
        doc="How long the old secret signs beside the new one; 24 by default",
    )


class TestWebhookParams(WebhookParams):
    Event = shown.EventWords(
        required=False, invalid=3, doc="Which event to make up; by default the first that it asks for"
    )


@command(
    "EmailGateway.UpdateWebhook",
    summary="Change a webhook's URL or events, disable it, or enable it again",
    params=UpdateWebhookParams,
    errors={
        **_MISSING,
        3: "Invalid event type specified",
        4: "WebhookURL is not an http or https URL",
        5: "WebhookURL does not lead to a public address",
    },
    refusals={errors.WebhookNotFound: 2, errors.InvalidEvent: 3, errors.InvalidUrl: 4, errors.PrivateUrl: 5},
    answer={"Webhook": _EXAMPLE},
)
def update_webhook(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    status = params.get("Status")
    hook = webhook_changes.update(
        caller=caller,
        webhook_id=params["WebhookID"],
        url=params.get("WebhookURL"),
        event=params.get("Event"),
        active=None if status is None else status == shown.STATUS["active"],
        test_events=params.get("TestEvents"),
    )
    return {"Webhook": shown.row(hook)}


@command(
    "EmailGateway.RotateWebhookSecret",
    summary="Give a webhook a new secret; for a while the old one signs beside it",
    params=RotateWebhookSecretParams,
    errors=_MISSING,
    refusals={errors.WebhookNotFound: 2},
    answer={"Webhook": _EXAMPLE},
)
def rotate_webhook_secret(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    hook = webhook_changes.rotate_secret(
        caller=caller,
        webhook_id=params["WebhookID"],
        overlap_hours=params.get("OverlapHours", webhook_changes.OVERLAP_HOURS),
    )
    return {"Webhook": shown.row(hook)}


@command(
    "EmailGateway.TestWebhook",
    summary="Call a webhook with a made-up event and show its answer",
    params=TestWebhookParams,
    errors={**_MISSING, 3: "Invalid event type specified"},
    refusals={errors.WebhookNotFound: 2, errors.InvalidEvent: 3},
    answer={
        "Told": True,
        "WebhookDeliveryID": "981",
        "ResponseCode": 200,
        "ResponseBody": "ok",
        "Error": "",
        "DurationMs": 85,
        "Payload": '{"type":"message.delivered","timestamp":"2026-01-01T12:00:00Z","data":{"test":true}}',
    },
)
def test_webhook(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    made = webhook_samples.send(caller=caller, webhook_id=params["WebhookID"], event=params.get("Event"))
    return {
        "Told": made.ok,
        "WebhookDeliveryID": str(made.delivery_id),
        "ResponseCode": made.code,
        "ResponseBody": made.answer,
        "Error": made.error,
        "DurationMs": made.ms,
        "Payload": made.sent,
    }
