"""The end-user endpoints as commands of a sender key: SendEmail and the `.Public` ones of webhooks and events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commands import events as shown_events
from commands import sender_keys
from commands import webhooks as shown_webhooks
from commands.registry import Needs, Refused, Visitor, command
from commands.schema import UNDOCUMENTED, Anything, Day, Fault, Id, Params, Text, Whole
from commands.sending import codes, forecasts
from commands.sending.faults import Faults
from commands.sending.fields import FIELDS
from commands.sending.send import send
from commands.webhooks import EventWords
from gateway import errors
from gateway.services import events, webhooks
from gateway.services.dry_runs import DryRun
from gateway.services.identity import Caller
from models.vocabulary import ACCOUNT_DISABLED

RETRIEVED = 5
"""How many events are answered when the request does not say."""

_KEY_DOC = "The API key associated with the sender domain; `Authorization: Bearer` says it as well"
_ACCOUNT, _INVALID_KEY = 2, sender_keys.INVALID_KEY
_COMMON = {_INVALID_KEY: "Invalid SenderAPIKey", sender_keys.TOO_MANY: sender_keys.TOO_MANY_TEXT}
_FAULTS, _RAW = "faults", "raw"
_MILLISECONDS = 10**11  # a timestamp this large counts milliseconds


class SenderParams(Params):
    """Parameters of a sender's command: what is wrong with them waits for what is wrong with the key.

    The handler finds the faults under `faults` and the fields as they came under `raw`.
    """

    SenderAPIKey = Anything(required=False, doc=_KEY_DOC, example="example-sender-api-key")

    def check(self, data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
        values, faults = super().check(data)
        return values | {_FAULTS: faults, _RAW: data}, []


class Since(Day):
    """A Unix timestamp, or a date or time in UTC, as milliseconds."""

    def describe(self) -> dict[str, Any]:
        return {"type": ["integer", "string"]}

    def read(self, value: Any) -> int:
        text = "" if isinstance(value, bool) else str(value).strip()
        if text.isascii() and text.isdigit() and len(text) < 16:
            return int(text) if int(text) >= _MILLISECONDS else int(text) * 1000
        return super().read(value)


class SendEmailParams(SenderParams):
    """Only a description: the fields of a send are checked by hand, at both of its doors alike."""

    Subject = Anything(required=False, doc="The subject of the email", example="Hello World")
    ContentType = Anything(required=False, doc="The type of content being sent (html or plain)", example="html")
    HtmlContent = Anything(required=False, doc="The HTML content of the email", example="<p>Hello, World!</p>")
    PlainContent = Anything(required=False, doc="The plain text content of the email")
    From = Anything(
        required=False,
        doc="The sender's email address and name",
        example={"email": "sender@example.com", "name": "John Doe"},
    )
    To = Anything(
        required=False,
        doc="The recipients' email addresses and names",
        example=[{"email": "recipient@example.com", "name": "Jane Doe"}],
    )
    CC = Anything(required=False, doc="The CC'd recipients' email addresses and names")
    BCC = Anything(required=False, doc="The BCC'd recipients' email addresses and names")
    ReplyTo = Anything(required=False, doc="The Reply-To email addresses and names")
    Attachments = Anything(required=False, doc="An array of attachments to include in the email")
    Headers = Anything(required=False, doc="Custom headers to include in the email")
    Tags = Anything(required=False, doc="Tags associated with the email for tracking purposes")
    TrackLinks = Anything(required=False, doc="Whether to track links in the email")
    TrackOpens = Anything(required=False, doc="Whether to track opens of the email")
    SendAt = Anything(required=False, doc="The planned delivery time of the email")
    TemplateID = Anything(required=False, doc="The ID of a template that brings subject and content")
    Variables = Anything(required=False, doc="What the template's variables stand for")
    TemplateData = Anything(required=False, doc="Another name of Variables")
    MergeFields = Anything(required=False, doc="Another name of Variables")
    TargetListID = Anything(required=False, doc="The ID of the target subscriber list (if sending to a list)")
    ListID = Anything(required=False, doc="The list ID of the target subscriber")
    SubscriberID = Anything(required=False, doc="The subscriber ID of the subscriber this email belongs to")
    JourneyID = Anything(required=False, doc="The journey ID this email is sent by")
    ActionID = Anything(required=False, doc="The action ID of the journey this email is sent by")
    Stream = Anything(
        required=False,
        doc="transactional or bulk: bulk waits behind transactional mail; a send to a list is bulk where it is absent",
        example="bulk",
    )
    Retention = Anything(
        required=False,
        doc="Days that the body and the rest of this message are kept; as the account says where it is absent",
        example={"Body": 7, "Metadata": 90},
    )
    DryRun = Anything(
        required=False,
        doc="With true nothing is sent, stored or counted: the answer says what each gate would decide, the route,"
        " the headers, the size, each recipient's fate and whether SPF, DKIM and DMARC will pass",
    )

    def check(self, data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
        return {_RAW: data}, []


class AddWebhookPublicParams(SenderParams):
    Event = EventWords(
        missing=2,
        invalid=3,
        doc="The type of event to register the webhook for; several between commas or as a list",
        example="delivered",
    )
    WebhookURL = Text(missing=5, invalid=6, max=2048, doc="The URL to which the webhook should send the event data")


class GetWebhooksPublicParams(SenderParams):
    pass


class DeleteWebhookPublicParams(SenderParams):
    WebhookID = Id(missing=1, doc="The unique identifier of the webhook to be deleted")


class GetEventsPublicParams(SenderParams):
    StartFrom = Whole(required=False, invalid=4, doc="The starting index for the events to retrieve")
    RetrieveCount = Whole(
        required=False,
        invalid=5,
        high=events.RETRIEVE_MOST,
        clamp=True,
        doc="The number of events to retrieve (default is 5, max is 100)",
    )
    StartDate = Since(required=False, doc="The start date for filtering events (timestamp or YYYY-MM-DD HH:MM:SS)")
    EndDate = Since(required=False, end=True, doc="The end date for filtering events")
    Event = Text(required=False, max=255, doc="The type of event to filter (e.g., open, click, etc.)")
    MessageID = Text(required=False, max=255, doc="The ID of the message to filter events")
    Query = Text(required=False, max=1000, doc="A query string to filter events")
    Cursor = Text(required=False, max=64, doc="The Cursor of a partial answer to the same query: goes on behind it")


@command(
    "EmailGateway.SendEmail",
    summary="Send an email with a sender key",
    params=SendEmailParams,
    errors=codes.TEXTS | {codes.TOO_MANY_REQUESTS: sender_keys.TOO_MANY_TEXT},
    refusals=codes.REFUSALS,
    answer={"MessageID": "example-uuid"},
    needs=Needs.SENDER,
)
def send_email(visitor: Visitor, params: dict[str, Any]) -> dict[str, Any]:
    raw = params[_RAW]
    faults = Faults()
    caller = None
    try:
        caller = sender_keys.enter(visitor, raw, "send")
    except Refused as refused:
        if sender_keys.TOO_MANY in refused.codes:
            raise
        for code in refused.codes:
            faults.add(code)
    accepted = send(
        {name: value for name, value in raw.items() if name in FIELDS},
        caller,
        faults,
        idempotency_key=visitor.headers.get("Idempotency-Key"),
        scope="EmailGateway.SendEmail",
    )
    if accepted is None:
        more = None if faults.verdicts is None else forecasts.refused(faults.verdicts)
        raise Refused(faults.codes, more)
    if isinstance(accepted, DryRun):
        return forecasts.shown(accepted)
    return {"MessageID": accepted.message_id} | ({"Replayed": True} if accepted.replayed else {})


@command(
    "EmailGateway.AddWebhook.Public",
    summary="Register a webhook with a sender key",
    params=AddWebhookPublicParams,
    errors={
        2: "Event is missing",
        3: "Invalid Event value",
        5: "WebhookURL is missing",
        6: "WebhookURL is not an http or https URL",
        7: "WebhookURL does not lead to a public address",
        **_COMMON,
    },
    refusals={errors.InvalidEvent: 3, errors.InvalidUrl: 6, errors.PrivateUrl: 7, errors.NotFound: _INVALID_KEY},
    answer={"NewWebhookID": "12345"},
    needs=Needs.SENDER,
)
def add_webhook(visitor: Visitor, params: dict[str, Any]) -> dict[str, Any]:
    # Here 2 means the event, so an account that is gone reads as an invalid key.
    caller, domain_id = _enter(visitor, params, "write:webhooks", no_key=_INVALID_KEY, gone=_INVALID_KEY)
    hook = webhooks.add(caller=caller, domain_id=domain_id, event=params["Event"], url=params["WebhookURL"])
    return {"NewWebhookID": shown_webhooks.new_id(caller, hook)}


@command(
    "EmailGateway.GetWebhooks.Public",
    summary="List the webhooks of a sender key's domain",
    params=GetWebhooksPublicParams,
    errors={_ACCOUNT: "Invalid user account", **_COMMON},
    refusals={errors.NotFound: _ACCOUNT},
    answer={"Webhooks": [{"Event": "delivered", "URL": "https://example.com/webhook/delivery", "Status": "Active"}]},
    needs=Needs.SENDER,
)
def get_webhooks(visitor: Visitor, params: dict[str, Any]) -> dict[str, Any]:
    caller, domain_id = _enter(visitor, params, "read:webhooks", no_key=_INVALID_KEY)
    return {"Webhooks": [shown_webhooks.row(hook) for hook in webhooks.list_(caller=caller, domain_id=domain_id)]}


@command(
    "EmailGateway.DeleteWebhook.Public",
    summary="Remove a webhook with a sender key",
    params=DeleteWebhookPublicParams,
    errors={1: "WebhookID is missing", _ACCOUNT: "Invalid user account", 4: "Invalid WebhookID", **_COMMON},
    refusals={errors.WebhookNotFound: 4, errors.NotFound: _ACCOUNT, errors.DomainNotActive: _ACCOUNT},
    answer={"Message": "Webhook successfully deleted."},
    needs=Needs.SENDER,
)
def delete_webhook(visitor: Visitor, params: dict[str, Any]) -> dict[str, Any]:
    caller, domain_id = _enter(visitor, params, "write:webhooks", no_key=_INVALID_KEY)
    webhooks.delete(caller=caller, domain_id=domain_id, webhook_id=params["WebhookID"])
    return {"Message": "Webhook successfully deleted."}


@command(
    "EmailGateway.GetEvents.Public",
    summary="List the events of a sender key's domain",
    params=GetEventsPublicParams,
    errors={
        1: "Missing SenderAPIKey",
        _ACCOUNT: "Invalid user account",
        4: "Missing StartFrom",
        5: "Missing RetrieveCount",
        **_COMMON,
    },
    refusals={errors.NotFound: _ACCOUNT},
    answer={
        "TotalRecords": 25,
        "Events": [
            {
                "EventId": "evt_123",
                "EventType": "open",
                "EventTimestamp": "2021-04-01T12:00:00Z",
                "Recipient": "user@example.com",
                "MessageId": "msg_123",
                "CampaignId": "camp_123",
                "Details": {"UserAgent": "Mozilla/5.0...", "IpAddress": "192.0.2.1"},
            }
        ],
    },
    needs=Needs.SENDER,
)
def get_events(visitor: Visitor, params: dict[str, Any]) -> dict[str, Any]:
    caller, domain_id = _enter(visitor, params, "read:events")
    page = events.search(
        caller=caller,
        domain_id=domain_id,
        start=params.get("StartFrom", 0),
        count=params.get("RetrieveCount", RETRIEVED),
        from_ms=params.get("StartDate"),
        to_ms=params.get("EndDate"),
        event=params.get("Event", ""),
        query=params.get("Query", ""),
        message_id=params.get("MessageID", ""),
        cursor=params.get("Cursor", ""),
    )
    return shown_events.page(page, shown_events.row)


def _enter(
    visitor: Visitor,
    params: Mapping[str, Any],
    permission: str,
    *,
    no_key: int = sender_keys.MISSING_KEY,
    gone: int = _ACCOUNT,
) -> tuple[Caller, int]:
    """The caller and its domain; else everything that is wrong with key and parameters together."""
    faults: dict[int, str] = {}
    for fault in params[_FAULTS]:
        faults.setdefault(fault.code, fault.text if fault.code == UNDOCUMENTED else "")
    try:
        caller = sender_keys.enter(visitor, params[_RAW], permission, no_key=no_key)
    except Refused as refused:
        raise Refused(faults | refused.codes) from None
    if caller.status == ACCOUNT_DISABLED or caller.domain_id is None:
        raise Refused(faults | {gone: ""})
    if faults:
        raise Refused(faults)
    return caller, caller.domain_id
