"""`commandpost events`: the event log as files, and as a stream."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TextIO

import click
import orjson

from cli import opening
from cli.answer import Answer, verb
from cli.parts import load
from gateway.services import domains, event_feed
from gateway.services import events as service


@click.group()
def events() -> None:
    """The event log: export it, or follow it."""


@events.command()
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--domain", "name", required=True, help="Name of the sender domain.")
@click.option("--format", "kind", type=click.Choice(("csv", "jsonl")), default="csv", show_default=True)
@click.option("--from", "start", type=click.DateTime(("%Y-%m-%d",)), help="First day (UTC).")
@click.option("--to", "end", type=click.DateTime(("%Y-%m-%d",)), help="Last day (UTC).")
@click.option("--event", default="", help="Only events of these types, separated by commas.")
@click.option("--query", default="", help="Only events that match, such as subject:welcome.")
@click.option("--output", type=click.File("w", encoding="utf-8", lazy=True), default="-", help="File to write to.")
def export(
    email: str,
    name: str,
    kind: str,
    start: datetime | None,
    end: datetime | None,
    event: str,
    query: str,
    output: TextIO,
) -> None:
    """Write the events of a domain, the newest first, however many they are."""
    as_csv, as_lines = load("commands.exports:as_csv"), load("commands.exports:as_lines")
    with opening.store():
        caller = opening.caller(email)
        domain = domains.find_by_name(caller=caller, name=name)
        cursor, first = "", True
        while first or cursor:
            rows, cursor = service.export(
                caller=caller,
                domain_id=domain.id,
                count=service.EXPORTED_MOST,
                from_ms=milliseconds(start),
                to_ms=milliseconds(end, end=True),
                event=event,
                query=query,
                cursor=cursor,
            )
            output.write(as_csv(rows, heading=first) if kind == "csv" else as_lines(rows))
            first = False


@events.command()
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--domain", "name", help="Only this domain's.")
@click.option("--event", default="", help="Only events of these types, separated by commas.")
@click.option("--after", default="", help="The cursor that the last call ended with.")
@click.option("--count", type=click.IntRange(1, event_feed.MOST), default=100, show_default=True, help="How many.")
@verb
def feed(email: str, name: str | None, event: str, after: str, count: int) -> Answer:
    """Show the next events behind a cursor, the oldest first, one JSON object a line."""
    with opening.store():
        caller = opening.caller(email)
        domain_id = domains.find_by_name(caller=caller, name=name).id if name else None
        found = event_feed.read(caller=caller, after=after, domain_id=domain_id, event=event, count=count)
    data = load("commands.event_feed:piece")(found)
    lines = [orjson.dumps(event).decode() for event in data["Events"]]
    return Answer(data, "\n".join([*lines, f"go on with --after {found.cursor}"]))


def milliseconds(day: datetime | None, *, end: bool = False) -> int | None:
    """A day in UTC as its first millisecond, or its last."""
    if day is None:
        return None
    at = day.replace(tzinfo=UTC) + (timedelta(days=1) if end else timedelta())
    return int(at.timestamp() * 1000) - (1 if end else 0)
