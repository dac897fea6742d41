"""`commandpost server`: the sending servers of an account."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli import opening
from cli.answer import Answer, fields, table, verb
from gateway import clock, errors
from gateway.services import provider_hooks, sending_servers, server_checks, server_kinds
from gateway.services.sending_servers import SendingServer


@click.group()
def server() -> None:
    """Sending servers: the relays and providers that an account has connected."""


_user = click.option("--user", "email", required=True, help="Email address of the account.")
_which = click.argument("which", metavar="SERVER")
_config = click.option("--config", multiple=True, metavar="NAME=VALUE", help="An option of the kind, such as host=….")
_credential = click.option(
    "--credential", multiple=True, metavar="NAME=VALUE", help="A secret of the kind; NAME=@FILE reads it from a file."
)
_priority = click.option("--priority", type=click.IntRange(min=0), help="The lowest goes first.")
_weight = click.option("--weight", type=click.IntRange(min=0), help="Its share among those of the same priority.")
_quota = click.option("--quota", multiple=True, metavar="SPAN=N", help="second, minute, hour or day; none: no limit.")
_reports = click.option("--reports/--no-reports", default=None, help="Whether the provider's events come to its hook.")


@server.command()
@_user
@click.argument("kind", type=click.Choice([*server_kinds.KINDS, "amazon-ses"]))
@click.option("--name", help="What people call it; the kind unless it is given.")
@_config
@_credential
@_priority
@_weight
@_quota
@_reports
@verb
def add(
    email: str,
    kind: str,
    name: str | None,
    config: tuple[str, ...],
    credential: tuple[str, ...],
    priority: int | None,
    weight: int | None,
    quota: tuple[str, ...],
    reports: bool | None,
) -> Answer:
    """Connect a relay or a provider to an account."""
    numbers = _given(priority=priority, weight=weight, reports=reports)
    with opening.store():
        made = sending_servers.create(
            caller=opening.caller(email), name=name or kind, kind=kind, config=_pairs(config),
            credentials=_secrets(credential), quotas=_quotas(quota), **numbers,
        )  # fmt: skip
    return _whole(made)


@server.command("list")
@_user
@verb
def list_(email: str) -> Answer:
    """List the sending servers of an account, with what they were given today."""
    with opening.store():
        caller = opening.caller(email)
        found = sending_servers.list_(caller=caller)
        used = sending_servers.used(caller=caller, servers=found)
    rows = [
        (one.public_id, one.name, one.kind, one.status, one.priority, one.weight, used[one.id]["per_day"])
        for one in found
    ]
    head = ("id", "name", "kind", "status", "priority", "weight", "today")
    data = [_data(one) | {"usage": used[one.id]} for one in found]
    return Answer(data, table(head, rows) if rows else "no sending servers")


@server.command()
@_which
@_user
@verb
def show(which: str, email: str) -> Answer:
    """Show a server, by its name or id; of its credentials only which are set."""
    with opening.store():
        return _whole(sending_servers.named(caller=opening.caller(email), text=which))


@server.command()
@_which
@_user
@click.option("--name", help="What people call it.")
@click.option("--status", type=click.Choice(sending_servers.STATUSES), help="A paused one takes nothing.")
@_config
@_credential
@_priority
@_weight
@_quota
@_reports
@verb
def change(
    which: str,
    email: str,
    name: str | None,
    status: str | None,
    config: tuple[str, ...],
    credential: tuple[str, ...],
    priority: int | None,
    weight: int | None,
    quota: tuple[str, ...],
    reports: bool | None,
) -> Answer:
    """Change what is given of a server; what waits for it is looked at again. `NAME=` takes one back."""
    changes = _given(name=name, status=status, priority=priority, weight=weight, reports=reports)
    with opening.store():
        caller = opening.caller(email)
        found = sending_servers.named(caller=caller, text=which)
        if config:
            changes["config"] = found.config | {key: value or None for key, value in _pairs(config).items()}
        changes["credentials"] = {key: value or None for key, value in _secrets(credential).items()}
        changes["quotas"] = _quotas(quota)
        return _whole(sending_servers.update(caller=caller, server_id=found.public_id, changes=changes))


@server.command()
@_which
@_user
@verb
def delete(which: str, email: str) -> Answer:
    """Disconnect a server, unless a routing rule names it; its credentials are forgotten."""
    with opening.store():
        caller = opening.caller(email)
        found = sending_servers.named(caller=caller, text=which)
        sending_servers.delete(caller=caller, server_id=found.public_id)
    return Answer({"id": found.public_id, "deleted": True}, f"{found.name} is disconnected")


@server.command()
@_which
@_user
@verb
def test(which: str, email: str) -> Answer:
    """Connect and check the credentials without sending anything; fails where the server would take nothing."""
    with opening.store():
        caller = opening.caller(email)
        found = sending_servers.named(caller=caller, text=which)
        tried = server_checks.check(caller=caller, server_id=found.public_id)
    data = {"ok": tried.ok, "detail": tried.detail, "remote": tried.remote, "tls": tried.tls, "ms": tried.ms}
    return Answer(data, f"{found.name}: {tried.detail} ({tried.ms} ms)", status=0 if tried.ok else 1)


def _pairs(some: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE`; numbers and true and false as such, for options that are."""
    found: dict[str, Any] = {}
    for text in some:
        name, equals, value = text.partition("=")
        if not equals:
            raise errors.Invalid(f"{text!r} should be NAME=VALUE.")
        found[name.strip()] = {"true": True, "false": False}.get(value, value)
    return found


def _secrets(some: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE`, or `NAME=@FILE`: what stands in a command line is seen by everybody on the machine."""
    found: dict[str, str] = {}
    for text in some:
        name, equals, value = text.partition("=")
        if not equals:
            raise errors.Invalid(f"{name!r} should be NAME=VALUE.")
        if value.startswith("@"):
            try:
                value = Path(value[1:]).read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                raise errors.Invalid(f"{value[1:]} cannot be read: {error}") from None
        found[name.strip()] = value
    return found


def _quotas(some: Sequence[str]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for name, value in _pairs(some).items():
        if value != "none" and not (isinstance(value, str) and value.isascii() and value.isdigit()):
            raise errors.Invalid(f"{name}={value} should be a number of messages or none.")
        found[f"per_{name.removeprefix('per_')}"] = None if value == "none" else int(value)
    return found


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _whole(one: SendingServer) -> Answer:
    data = _data(one)
    return Answer(data, fields((name, value) for name, value in data.items() if value not in (None, [], {})))


def _data(one: SendingServer) -> dict[str, Any]:
    return {
        "id": one.public_id,
        "number": one.id,
        "name": one.name,
        "provider": server_kinds.provider_word(one.kind),
        "status": one.status,
        "config": one.config,
        "credentials_set": one.secrets,
        "priority": one.priority,
        "weight": one.weight,
        "quotas": {name: limit for name, limit in one.quotas.items() if limit is not None},
        "reports": one.reports,
        "hook_url": provider_hooks.url(one) or None,
        "created": clock.rfc3339(one.created_ms),
    }
