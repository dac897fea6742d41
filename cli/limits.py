"""`commandpost limit`: what limits the mail to destinations."""

from __future__ import annotations

from typing import Any

import click

from cli import opening
from cli.answer import Answer, table, verb
from gateway import clock
from gateway.services import shaping
from gateway.services.shaping import Limit


@click.group()
def limit() -> None:
    """Limits on destinations: pauses, messages a minute, connections."""


@limit.command("list")
@click.option("--ended", is_flag=True, help="Those that have ended too, of the last month.")
@verb
def list_(ended: bool) -> Answer:
    """List what holds now, the latest first."""
    with opening.store():
        found = shaping.list_(caller=None, ended=ended)
    if not found:
        return Answer({"limits": []}, "nothing is limited")
    rows = [(one.id, one.scope, one.target, _what(one), one.origin, _until(one), one.cause) for one in found]
    text = table(("id", "scope", "target", "limit", "by", "until", "cause"), rows)
    return Answer({"limits": [_data(one) for one in found]}, text)


@limit.command()
@click.argument("scope", type=click.Choice(shaping.SCOPES))
@click.argument("target")
@click.argument("kind", type=click.Choice(shaping.KINDS))
@click.argument("value", type=int, default=0)
@click.option("--minutes", type=int, help="How long; without it until it is canceled.")
@click.option("--cause", default="", help="Why.")
@verb
def add(scope: str, target: str, kind: str, value: int, minutes: int | None, cause: str) -> Answer:
    """Pause a destination, or limit its messages a minute or its connections.

    TARGET is a group of mail exchangers (google, yahoo, microsoft, microsoft365, apple, or the domain of the hosts),
    the host of the relay, or with the scope `domain` a recipient domain.
    """
    with opening.store():
        made = shaping.add(
            caller=None, scope=scope, target=target, kind=kind, value=value, minutes=minutes, cause=cause
        )
    return Answer(_data(made), f"limit {made.id}: {made.target}: {_what(made)} until {_until(made)}")


@limit.command()
@click.argument("number", type=int)
@click.option("--off", is_flag=True, help="Let it end at its time again.")
@verb
def pin(number: int, off: bool) -> Answer:
    """Keep a limit beyond its end, until it is canceled."""
    with opening.store():
        changed = shaping.pin(caller=None, limit_id=number, pinned=not off)
    return Answer(_data(changed), f"limit {changed.id} holds until {_until(changed)}")


@limit.command()
@click.argument("number", type=int)
@verb
def cancel(number: int) -> Answer:
    """End a limit; what it held is tried at once."""
    with opening.store():
        released = shaping.cancel(caller=None, limit_id=number)
    return Answer({"canceled": number, "released": released}, f"limit {number} canceled, {released} deliveries are due")


def _what(one: Limit) -> str:
    units = {"rate": f"{one.value} a minute", "connections": f"{one.value} connections"}
    return units.get(one.kind, one.kind)


def _until(one: Limit) -> str:
    if one.canceled_ms is not None:
        return f"canceled {clock.rfc3339(one.canceled_ms)}"
    return "it is canceled" if one.ends_ms is None else clock.rfc3339(one.ends_ms)


def _data(one: Limit) -> dict[str, Any]:
    return {
        "id": one.id,
        "scope": one.scope,
        "target": one.target,
        "kind": one.kind,
        "value": one.value,
        "cause": one.cause,
        "rule": one.rule,
        "origin": one.origin,
        "active": one.is_active(clock.now_ms()),
        "pinned": one.pinned,
        "created": clock.rfc3339(one.created_ms),
        "until": None if one.ends_ms is None else clock.rfc3339(one.ends_ms),
        "canceled": None if one.canceled_ms is None else clock.rfc3339(one.canceled_ms),
    }
