"""ExportEvents: events as CSV or JSON lines, in pieces."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson

from commands import events as shown
from commands.registry import command
from commands.schema import Day, Id, Params, Text, Whole
from gateway import clock, errors
from gateway.services import event_words, events
from gateway.services.event_rows import EventRow
from gateway.services.identity import Caller

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_COLUMNS = (
    "EventId", "EventType", "EventTimestamp", "Event", "Recipient", "MessageId", "From", "Subject", "Tags", "Ip", "Mx",
    "Code", "Reason", "URL", "UserAgent", "Device", "DeviceKind", "Client", "Sequence",
)  # fmt: skip


class ExportEventsParams(Params):
    DomainID = Id(missing=1, doc="Unique identifier for the sender domain")
    StartDate = Day(required=False, doc="The start date for filtering events (format: YYYY-MM-DD)")
    EndDate = Day(required=False, end=True, doc="The end date for filtering events (format: YYYY-MM-DD)")
    Event = Text(required=False, max=255, doc="The type of event to filter by")
    Query = Text(required=False, max=1000, doc="A query string to filter events")
    Format = Text(required=False, max=16, doc="csv (default) or jsonl")
    RetrieveCount = Whole(
        required=False, low=1, high=events.EXPORTED_MOST, clamp=True, doc="Events of one piece (1000 at most)"
    )
    Cursor = Text(required=False, max=64, doc="The NextCursor of the piece before")


@command(
    "EmailGateway.ExportEvents",
    summary="Export the events of a domain as CSV or JSON lines, piece by piece",
    params=ExportEventsParams,
    errors={1: "Required parameter missing: DomainID", 2: "Failed to retrieve sender domain"},
    refusals={errors.NotFound: 2},
    answer={
        "Format": "csv",
        "ContentType": "text/csv; charset=utf-8",
        "FileName": "events-123.csv",
        "Records": 1,
        "Data": "EventId,EventType,…\r\nevt_1,delivery,…\r\n",
        "NextCursor": "",
    },
)
def export_events(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    kind = params.get("Format", "csv").strip().lower()
    if kind not in ("csv", "jsonl"):
        raise errors.Invalid("'Format' should be csv or jsonl", field="Format")
    cursor = params.get("Cursor", "")
    rows, behind = events.export(
        caller=caller,
        domain_id=params["DomainID"],
        count=params.get("RetrieveCount", events.EXPORTED_MOST),
        from_ms=params.get("StartDate"),
        to_ms=params.get("EndDate"),
        event=params.get("Event", ""),
        query=params.get("Query", ""),
        cursor=cursor,
    )
    return {
        "Format": kind,
        "ContentType": "text/csv; charset=utf-8" if kind == "csv" else "application/x-ndjson; charset=utf-8",
        "FileName": f"events-{params['DomainID']}.{kind}",
        "Records": len(rows),
        "Data": as_csv(rows, heading=not cursor) if kind == "csv" else as_lines(rows),
        "NextCursor": behind,
    }


def as_csv(rows: list[EventRow], *, heading: bool = True) -> str:
    """RFC 4180; a value that a spreadsheet would run as a formula has an apostrophe before it."""
    file = io.StringIO()
    writer = csv.writer(file)
    if heading:
        writer.writerow(_COLUMNS)
    for row in rows:
        box = row.headers.get("from") or ["", ""]
        writer.writerow(
            harmless(value)
            for value in (
                f"evt_{row.id}",
                event_words.short(row.kind),
                clock.rfc3339(row.at_ms),
                event_words.long(row.kind),
                row.recipient,
                str(row.message_uuid),
                str(box[1]),
                row.subject,
                ", ".join(row.tags),
                row.ip,
                row.mx,
                str(row.data.get("code") or ""),
                row.reason,
                str(row.data.get("url") or ""),
                str(row.data.get("user_agent") or ""),
                str(row.data.get("device") or ""),
                str(row.data.get("device_kind") or ""),
                str(row.data.get("client") or ""),
                str(row.sequence or ""),
            )
        )
    return file.getvalue()


def as_lines(rows: list[EventRow]) -> str:
    """One JSON object a line, as GetEvents shows it."""
    return "".join(orjson.dumps(shown.row(row)).decode() + "\n" for row in rows)


def harmless(text: str) -> str:
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
