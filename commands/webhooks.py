"""Webhooks of one domain: AddWebhook, GetWebhooks and DeleteWebhook."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Field, Flag, Id, Params, Text, Texts
from gateway import clock, errors
from gateway.services import domains, webhook_words, webhooks
from gateway.services.identity import OCTETH, Caller
from gateway.services.webhook_payload import SURFACES
from gateway.services.webhook_words import NATIVE, NATIVE_WORDS
from gateway.services.webhooks import Hook

NUMERIC_IDS = "numeric_ids"
"""The account option that makes the `New…ID` values numbers."""

STATUS = {"active": "Active", "disabled": "Disabled"}
WORDS = "A word, words between commas or a list; `all` is every event. A native webhook knows " + ", ".join(
    f"`{word}`" for word in NATIVE_WORDS
)


class EventWords(Texts):
    """Event words as they were sent: one, several between commas, or a list.

    Words of every payload pass here: which of them may be asked for hangs on the webhook's.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(most=64, **options)
        self.sample = "delivered"

    def read(self, value: Any) -> list[str]:
        words = [part.strip() for text in super().read(value) for part in text.split(",")]
        try:
            return webhook_words.read(words, NATIVE).spelled
        except errors.InvalidEvent:
            self.refuse("should be delivery, bounce, open, click, unsubscribe or complaint")


class Ids(Field):
    """A list of rows' numbers, or numbers between commas; one that cannot be parsed is 0, which no row has."""

    sample = "123"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._texts = Texts()

    def describe(self) -> dict[str, Any]:
        return self._texts.describe()

    def read(self, value: Any) -> list[int]:
        one = Id()
        return [one.read(part) for text in self._texts.read(value) for part in text.split(",")]


def url(**options: Any) -> Text:
    """The parameter that says where a webhook leads."""
    return Text(
        max=2048,
        doc="The URL to which the webhook will send event notifications",
        example="https://yourdomain.com/webhook",
        **options,
    )


class HookParams(Params):
    """What a new webhook may say beside where it leads and what it hears of."""

    Payload = Text(
        required=False,
        choices=list(SURFACES),
        doc="The form of what it is sent: by default octeth of one domain, native of several",
    )
    TestEvents = Flag(required=False, doc="Whether it hears of messages that were sent with test keys")


class AddWebhookParams(HookParams):
    DomainID = Id(missing=1, doc="The unique identifier for the domain")
    Event = EventWords(
        missing=2,
        invalid=3,
        doc="The type of email event to track (delivery, bounce, open, click, unsubscribe, complaint); several between"
        " commas or as a list, `all` for all of them",
    )
    WebhookURL = url(missing=5, invalid=6)


class GetWebhooksParams(Params):
    DomainID = Id(missing=1, doc="The unique identifier for the domain")


class DeleteWebhookParams(Params):
    WebhookID = Id(missing=1, doc="The unique identifier for the webhook to delete")
    DomainID = Id(missing=1, doc="The unique identifier for the domain associated with the webhook")


@command(
    "EmailGateway.AddWebhook",
    summary="Register a webhook for an event of a domain",
    params=AddWebhookParams,
    errors={
        1: "Missing required parameter DomainID",
        2: "Missing required parameter Event",
        3: "Invalid event type specified",
        4: "Domain not found or access denied",
        5: "Missing required parameter WebhookURL",
        6: "WebhookURL is not an http or https URL",
        7: "WebhookURL does not lead to a public address",
    },
    refusals={errors.NotFound: 4, errors.InvalidEvent: 3, errors.InvalidUrl: 6, errors.PrivateUrl: 7},
    answer={"NewWebhookID": "456"},
    error_list=True,
)
def add_webhook(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    hook = webhooks.add(
        caller=caller,
        domain_id=params["DomainID"],
        event=params["Event"],
        url=params["WebhookURL"],
        surface=params.get("Payload", OCTETH),
        test_events=params.get("TestEvents", False),
    )
    return {"NewWebhookID": new_id(caller, hook)}


@command(
    "EmailGateway.GetWebhooks",
    summary="List the webhooks of a domain and the key that signs their calls",
    params=GetWebhooksParams,
    errors={1: "Missing required parameter DomainID", 2: "Invalid domain or domain does not belong to the user"},
    refusals={errors.NotFound: 2},
    answer={
        "SigningKey": "webhook-signing-key",
        "Webhooks": [
            {
                "WebhookID": "webhook-id-1",
                "URL": "https://yourdomain.com/webhook1",
                "Events": ["send", "open", "click"],
            },
            {
                "WebhookID": "webhook-id-2",
                "URL": "https://yourdomain.com/webhook2",
                "Events": ["bounce", "complaint"],
            },
        ],
    },
)
def get_webhooks(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    domain = domains.find(caller=caller, domain_id=params["DomainID"])
    found = webhooks.list_(caller=caller, domain_id=domain.id)
    return {"SigningKey": domains.signing_key(domain), "Webhooks": [row(hook) for hook in found]}


@command(
    "EmailGateway.DeleteWebhook",
    summary="Remove a webhook of a domain",
    params=DeleteWebhookParams,
    errors={
        1: "Missing required parameter: WebhookID or DomainID",
        2: "Invalid DomainID or DomainID not found",
        3: "Domain validation failed",
        4: "Webhook not found or user does not have permission to access it",
    },
    refusals={errors.NotFound: 2, errors.WebhookNotFound: 4, errors.DomainNotActive: 3},
)
def delete_webhook(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    webhooks.delete(caller=caller, domain_id=params["DomainID"], webhook_id=params["WebhookID"])
    return {}


def new_id(caller: Caller, hook: Hook) -> str | int:
    """The `NewWebhookID` of an answer: a text, or a number for accounts that chose so."""
    return hook.id if caller.options.get(NUMERIC_IDS) else str(hook.id)


def row(hook: Hook) -> dict[str, Any]:
    """A webhook under the document's names, and those that newer clients use."""
    return {
        "WebhookID": str(hook.id),
        "URL": hook.url,
        "Events": hook.events,
        "WebhookURL": hook.url,
        "Event": hook.events[0] if hook.events else "",
        "Status": STATUS.get(hook.status, hook.status),
        "LastResponseCode": hook.last_code,
        "LastResponseAt": _time(hook.last_ms),
        "LastResponseTryCounter": hook.last_tries,
        "Secret": hook.secret,
        "OldSecretUntil": _time(hook.old_secret_until_ms),
        "Payload": hook.surface,
        "Scope": "domain" if hook.domain_id is not None else "account" if hook.domain_ids is None else "group",
        "DomainIDs": [str(one) for one in hook.domain_ids or ([hook.domain_id] if hook.domain_id is not None else [])],
        "TestEvents": hook.test_events,
        "FailingSince": _time(hook.failing_ms),
        "DisabledAt": _time(hook.disabled_ms),
        "DisabledCause": hook.disabled_cause,
        "CreatedAt": clock.sql_text(hook.created_ms),
    }


def _time(ms: int | None) -> str | None:
    return None if ms is None else clock.sql_text(ms)
