"""`commandpost warmup`: source addresses that begin small, towards each provider by itself."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, table, verb
from gateway import config, errors
from gateway.services import warmup_plan, warmups


@click.group()
def warmup() -> None:
    """Source addresses that begin small; mailboxes are warmed up over the API."""


@warmup.command("list")
@verb
def list_() -> Answer:
    """List what each source address may send to each provider today."""
    with opening.store():
        found = warmups.list_sources()
    data = [
        {
            "source": one.warmup.source, "provider": one.warmup.provider, "daily_limit": one.warmup.day_limit,
            "used": one.warmup.used, "goal": one.warmup.goal, "done": one.warmup.done_ms is not None,
            "health": warmup_plan.health(one.recent), "reason": one.warmup.reason,
        }
        for one in found
    ]  # fmt: skip
    if not found:
        return Answer({"warmups": []}, "no source address is warmed up")
    rows = [
        (row["source"], row["provider"] or "each", row["daily_limit"], row["used"], row["goal"], row["reason"])
        for row in data
    ]
    return Answer({"warmups": data}, table(("source", "provider", "a day", "used", "goal", "why"), rows))


@warmup.command()
@click.argument("source")
@click.option("--first", type=int, default=warmup_plan.FIRST, show_default=True, help="Messages of the first day.")
@click.option("--goal", type=int, default=warmup_plan.GOAL, show_default=True, help="Messages a day that end it.")
@verb
def add(source: str, first: int, goal: int) -> Answer:
    """Let SOURCE, one of SOURCE_ADDRESSES, begin small with every provider; what is over a day's limit waits."""
    known = [one.address for one in config.settings().source_addresses]
    if source not in known:
        raise errors.Invalid(f"{source} should be one of SOURCE_ADDRESSES: {', '.join(known) or 'there is none'}.")
    with opening.store():
        made = warmups.add_source(address=source, goal=goal, first=first)
    return Answer(
        {"source": source, "daily_limit": made.day_limit, "goal": goal}, f"{source} begins with {first} a day"
    )


@warmup.command()
@click.argument("source")
@verb
def end(source: str) -> Answer:
    """Lift the limits of SOURCE at once."""
    with opening.store():
        warmups.end_source(address=source)
    return Answer({"source": source, "ended": True}, f"{source} has no limits of a day any more")
