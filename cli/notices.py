"""`commandpost notice`."""

from __future__ import annotations

import click
import orjson

from cli import opening
from cli.answer import Answer, table, verb
from gateway import clock
from gateway.services import domains, notices
from models.vocabulary import NoticeKind


@click.group()
def notice() -> None:
    """What happened to domains and keys."""


@notice.command("list")
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--domain", "name", help="Only those of this domain.")
@click.option("--kind", type=click.Choice([kind.value for kind in NoticeKind]), help="Only those of this kind.")
@click.option("--before", type=click.IntRange(min=1), help="Only those with a number below this one.")
@click.option("--count", type=click.IntRange(1, notices.MOST_LISTED), default=notices.MOST_LISTED, help="How many.")
@verb
def list_(email: str, name: str | None, kind: str | None, before: int | None, count: int) -> Answer:
    """List the notices of an account, the newest first."""
    with opening.store():
        caller = opening.caller(email)
        domain_id = domains.find_by_name(caller=caller, name=name).id if name else None
        found = notices.list_(caller=caller, domain_id=domain_id, kind=kind, before=before, count=count)
    data = [
        {"id": one.id, "domain_id": one.domain_id, "kind": one.kind, "at_ms": one.at_ms, "data": one.data}
        for one in found
    ]
    rows = [(one.id, clock.rfc3339(one.at_ms), one.kind, orjson.dumps(one.data).decode()) for one in found]
    return Answer(data, table(("id", "at", "kind", "facts"), rows))
