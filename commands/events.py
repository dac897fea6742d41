"""Events: GetEvents, and how this family of surfaces shows an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from commands.registry import command
from commands.schema import Day, Id, Params, Text, Whole
from gateway import clock, errors
from gateway.services import event_words, events
from gateway.services.event_rows import EventRow
from gateway.services.identity import Caller
from models.vocabulary import EventKind

_LEVELS = {
    EventKind.DEFERRED: "warn",
    EventKind.SUPPRESSED: "warn",
    EventKind.BOUNCED: "error",
    EventKind.FAILED: "error",
    EventKind.COMPLAINED: "warn",
}
_BOUNCE_TYPES = {EventKind.BOUNCED: "Permanent", EventKind.FAILED: "Transient"}
_DETAILS = (
    ("user_agent", "UserAgent"),
    ("device", "Device"),
    ("device_kind", "DeviceKind"),
    ("client", "Client"),
    ("url", "URL"),
    ("verdict", "Verdict"),
    ("reasons", "VerdictReasons"),
    ("code", "Code"),
    ("enhanced", "EnhancedCode"),
    ("category", "Category"),
    ("transport", "Transport"),
    ("recipients", "Recipients"),
    ("mail_from", "EnvelopeSender"),
    ("until_ms", "UntilMs"),
    ("metadata", "Metadata"),
)


class GetEventsParams(Params):
    DomainID = Id(missing=1, doc="Unique identifier for the sender domain")
    StartFrom = Whole(missing=4, invalid=4, doc="The starting point for records retrieval")
    RetrieveCount = Whole(
        missing=5,
        invalid=5,
        high=events.RETRIEVE_MOST,
        clamp=True,
        doc="The number of records to retrieve (max 100)",
    )
    StartDate = Day(required=False, doc="The start date for filtering events (format: YYYY-MM-DD)")
    EndDate = Day(required=False, end=True, doc="The end date for filtering events (format: YYYY-MM-DD)")
    Event = Text(required=False, max=255, doc="The type of event to filter by", example="open")
    Query = Text(required=False, max=1000, doc="A query string to filter events", example="subject:welcome")
    Cursor = Text(required=False, max=64, doc="The Cursor of a partial answer to the same query: goes on behind it")


@command(
    "EmailGateway.GetEvents",
    summary="Search the events of a domain",
    params=GetEventsParams,
    errors={
        1: "Required parameter missing: DomainID",
        4: "Required parameter missing: StartFrom",
        5: "Required parameter missing: RetrieveCount",
        2: "Failed to retrieve sender domain",
    },
    refusals={errors.NotFound: 2},
    answer={
        "TotalRecords": 150,
        "Events": [
            {
                "event_type": "open",
                "timestamp": "2023-01-01T12:00:00Z",
                "message": {"headers": {"subject": "Welcome to our service!"}},
            }
        ],
    },
    error_message=True,
)
def get_events(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    found = events.search(
        caller=caller,
        domain_id=params["DomainID"],
        start=params["StartFrom"],
        count=params["RetrieveCount"],
        from_ms=params.get("StartDate"),
        to_ms=params.get("EndDate"),
        event=params.get("Event", ""),
        query=params.get("Query", ""),
        cursor=params.get("Cursor", ""),
    )
    return page(found, _command_row)


def page(found: events.Page, shown: Callable[[EventRow], dict[str, Any]]) -> dict[str, Any]:
    """A page of events, each as `shown` renders it; a partial one says where to go on."""
    answer: dict[str, Any] = {"TotalRecords": found.total, "Events": [shown(event) for event in found.rows]}
    if found.partial:
        answer["Partial"] = True
        if found.cursor:
            answer["Cursor"] = found.cursor
    return answer


def row(event: EventRow) -> dict[str, Any]:
    """An event under the names of the end-user document and of the clients in use."""
    headers = event.headers
    short = event_words.short(event.kind)
    shown: dict[str, Any] = {
        "EventId": f"evt_{event.id}",
        "EventType": short,
        "EventTimestamp": clock.rfc3339(event.at_ms),
        "Recipient": event.recipient,
        "MessageId": str(event.message_uuid),
        "CampaignId": None,
        "Details": _details(event),
        "Event": event_words.long(event.kind),
        "LoggedAt": event.at_ms // 1000,
        "LogLevel": _LEVELS.get(event.kind, "info"),
        "Message": {
            "Headers": {
                "MessageId": f"{event.message_uuid}@{event.domain}",
                "From": [list(headers["from"])] if headers.get("from") else [],
                "To": [list(box) for box in headers.get("to", ())],
                "Cc": [list(box) for box in headers.get("cc", ())],
                "Bcc": [],
                "ReplyTo": [list(box) for box in headers.get("reply_to", ())],
                "Subject": event.subject,
            },
            "Size": event.size,
            "Transport": str(event.data.get("transport", "")),
        },
        "Tags": event.tags,
        "Ip": event.ip,
        "Mx": event.mx,
        "Reason": event.reason,
        **event.defaults,
    }
    if event.sequence is not None:
        shown["Sequence"] = event.sequence
    if event.kind in _BOUNCE_TYPES:
        shown["BounceType"] = _BOUNCE_TYPES[event.kind]
    if not event.live:
        shown["Test"] = True
    return shown


def _command_row(event: EventRow) -> dict[str, Any]:
    shown = row(event)
    headers = shown["Message"]["Headers"]
    return {
        "event_type": shown["EventType"],
        "timestamp": shown["EventTimestamp"],
        "message": {
            "headers": {
                "subject": headers["Subject"],
                "message-id": headers["MessageId"],
                "from": ", ".join(email for _, email in headers["From"]),
                "to": ", ".join(email for _, email in headers["To"]),
            },
            "size": event.size,
        },
        "event": shown["Event"],
        "recipient": shown["Recipient"],
        "tags": shown["Tags"],
        **shown,
    }


def _details(event: EventRow) -> dict[str, Any]:
    found = {theirs: event.data[ours] for ours, theirs in _DETAILS if event.data.get(ours) is not None}
    if event.ip:
        found["IpAddress"] = event.ip
    if event.reason:
        found["Response"] = event.reason
    return found
