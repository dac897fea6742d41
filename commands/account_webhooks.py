"""Webhooks of a group of domains or the whole account: AddAccountWebhook, GetAccountWebhooks, DeleteAccountWebhook."""

from __future__ import annotations

from typing import Any

from commands import webhooks as shown
from commands.registry import command
from commands.schema import Id, Params
from gateway import errors
from gateway.services import webhooks
from gateway.services.identity import Caller
from gateway.services.webhook_words import NATIVE

_EXAMPLE = {
    "WebhookID": "7",
    "Scope": "account",
    "DomainIDs": [],
    "Payload": NATIVE,
    "URL": "https://yourdomain.com/webhook",
    "Events": ["message.delivered", "message.bounced", "notice.*"],
    "Status": "Active",
    "Secret": "whsec_…",
}


class AddAccountWebhookParams(shown.HookParams):
    DomainIDs = shown.Ids(required=False, invalid=5, doc="The domains of a group; without it the whole account")
    Event = shown.EventWords(
        missing=1, invalid=2, doc=f"What it hears of. {shown.WORDS}", example=["message.delivered", "notice.*"]
    )
    WebhookURL = shown.url(missing=3, invalid=4)


class DeleteAccountWebhookParams(Params):
    WebhookID = Id(missing=1, doc="The unique identifier for the webhook to delete")


@command(
    "EmailGateway.AddAccountWebhook",
    summary="Register a webhook for events and notices of a group of domains or of the whole account",
    params=AddAccountWebhookParams,
    errors={
        1: "Missing required parameter Event",
        2: "Invalid event type specified",
        3: "Missing required parameter WebhookURL",
        4: "WebhookURL is not an http or https URL",
        5: "DomainIDs is not a list of the account's domains",
        6: "WebhookURL does not lead to a public address",
        7: "The plan allows no more webhooks",
    },
    refusals={
        errors.InvalidEvent: 2,
        errors.InvalidUrl: 4,
        errors.PrivateUrl: 6,
        errors.NotFound: 5,
        errors.WebhookLimitReached: 7,
    },
    answer={"NewWebhookID": "7", "Webhook": _EXAMPLE},
)
def add_account_webhook(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    hook = webhooks.add(
        caller=caller,
        domain_ids=params.get("DomainIDs"),
        event=params["Event"],
        url=params["WebhookURL"],
        surface=params.get("Payload", NATIVE),
        test_events=params.get("TestEvents", False),
    )
    return {"NewWebhookID": shown.new_id(caller, hook), "Webhook": shown.row(hook)}


@command(
    "EmailGateway.GetAccountWebhooks",
    summary="List the webhooks of groups of domains and of the whole account",
    answer={"Webhooks": [_EXAMPLE]},
)
def get_account_webhooks(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    return {"Webhooks": [shown.row(hook) for hook in webhooks.list_account(caller=caller)]}


@command(
    "EmailGateway.DeleteAccountWebhook",
    summary="Remove a webhook of the account, whatever domains it hears of",
    params=DeleteAccountWebhookParams,
    errors={1: "Missing required parameter: WebhookID", 2: "Webhook not found"},
    refusals={errors.WebhookNotFound: 2},
)
def delete_account_webhook(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    webhooks.delete(caller=caller, webhook_id=params["WebhookID"])
    return {}
