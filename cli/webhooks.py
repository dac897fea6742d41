"""`commandpost webhook`."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, fields, table, verb
from gateway.services import domains, webhooks


@click.group()
def webhook() -> None:
    """Webhooks."""


@webhook.command()
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--domain", required=True, help="The sender domain whose events are told.")
@click.option("--event", required=True, help="Which event: delivered, bounced, opened, clicked …")
@click.option("--url", required=True, help="Where to post it.")
@click.option("--id", "number", type=click.IntRange(min=1), help="The number that clients know it by.")
@verb
def add(email: str, domain: str, event: str, url: str, number: int | None) -> Answer:
    """Tell events of a domain to a URL."""
    with opening.store():
        caller = opening.caller(email)
        domain_id = domains.find_by_name(caller=caller, name=domain).id
        hook = webhooks.add(caller=caller, domain_id=domain_id, event=event, url=url, id=number)
    data = {"id": hook.id, "uuid": hook.uuid, "event": event, "url": hook.url, "secret": hook.secret}
    return Answer(data, fields(data.items()))


@webhook.command("list")
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--domain", required=True, help="The sender domain.")
@verb
def list_(email: str, domain: str) -> Answer:
    """List the webhooks of a domain."""
    with opening.store():
        caller = opening.caller(email)
        found = webhooks.list_(caller=caller, domain_id=domains.find_by_name(caller=caller, name=domain).id)
    data = [{"id": hook.id, "events": hook.events, "url": hook.url, "status": hook.status} for hook in found]
    rows = [(hook.id, ",".join(hook.events), hook.status, hook.url) for hook in found]
    return Answer(data, table(("id", "events", "status", "url"), rows))
