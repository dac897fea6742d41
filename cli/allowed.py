"""`commandpost suppression allow`."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, table, verb
from gateway import clock
from gateway.services import allow_list, domains
from gateway.services.identity import Caller


@click.group()
def allow() -> None:
    """Addresses, or @example.com, that bounces and complaints never suppress."""


@allow.command()
@click.argument("address")
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--domain", help="The sender domain it holds for; without it the whole account.")
@click.option("--note", default="", help="Why.")
@verb
def add(address: str, email: str, domain: str | None, note: str) -> Answer:
    """Never suppress an address by a rule; lifts what rules suppressed before."""
    with opening.store():
        caller = opening.caller(email)
        lifted = allow_list.add(caller=caller, address=address, domain_id=_domain_id(caller, domain), note=note)
    return Answer({"lifted": lifted}, f"allowed, {lifted} suppressions lifted")


@allow.command()
@click.argument("address")
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--domain", help="The sender domain it holds for; without it the whole account.")
@verb
def delete(address: str, email: str, domain: str | None) -> Answer:
    """Take an address off the allow-list."""
    with opening.store():
        caller = opening.caller(email)
        allow_list.remove(caller=caller, address=address, domain_id=_domain_id(caller, domain))
    return Answer({"deleted": 1}, "deleted 1")


@allow.command("list")
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--domain", help="What holds for this sender domain, the rows of the whole account too.")
@click.option("--start", type=click.IntRange(min=0), default=0, help="How many rows to skip.")
@verb
def list_(email: str, domain: str | None, start: int) -> Answer:
    """List the allow-list, the oldest first."""
    with opening.store():
        caller = opening.caller(email)
        found, total = allow_list.list_(caller=caller, domain_id=_domain_id(caller, domain), start=start)
    data = [
        {
            "address": row.address,
            "domain": row.domain or None,
            "note": row.note,
            "created": clock.rfc3339(row.created_ms),
        }
        for row in found
    ]
    text = table(("address", "domain", "note"), [(row.address, row.domain or "-", row.note) for row in found])
    return Answer({"total": total, "allowed": data}, f"{text}\n{len(found)} of {total}")


def _domain_id(caller: Caller, name: str | None) -> int | None:
    return None if name is None else domains.find_by_name(caller=caller, name=name).id
