"""`commandpost domain`."""

from __future__ import annotations

import click

from cli import dkim as dkim_verbs
from cli import opening
from cli.answer import Answer, fields, table, verb
from gateway.services import domain_changes, domains
from models import SenderDomain
from models.vocabulary import STATUS_WORDS


@click.group()
def domain() -> None:
    """Sender domains."""


domain.add_command(dkim_verbs.dkim)


@domain.command()
@click.argument("name")
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--trusted", is_flag=True, help="Enable it at once, without asking DNS.")
@click.option("--id", "number", type=click.IntRange(min=1), help="The number that clients know it by.")
@click.option("--signing-key", help="The key that signs its webhooks, where receivers hold one already.")
@click.option("--dkim", "dkim", multiple=True, metavar="SELECTOR:FILE", help="An existing private key (PEM).")
@verb
def add(
    name: str, email: str, trusted: bool, number: int | None, signing_key: str | None, dkim: tuple[str, ...]
) -> Answer:
    """Add a sender domain."""
    keys = [dkim_verbs.read_key(text) for text in dkim]
    with opening.store():
        made = domains.add(
            caller=opening.caller(email), name=name, trusted=trusted, id=number, signing_key=signing_key, dkim=keys
        )
        wanted = domains.records(made)
    data = _shown(made)
    text = fields(data.items())
    if not trusted:
        rows = [(state.type, state.host, state.value) for state in wanted]
        text += "\n\n" + table(("type", "name", "value"), rows)
    return Answer(data, text)


_SWITCHES = (
    "require_tls",
    "link_tracking",
    "open_tracking",
    "unsubscribe_link",
    "tracking_privacy",
    "text_link_tracking",
    "honeypot_link",
)


@domain.command()
@click.argument("name")
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--require-tls/--no-require-tls", default=None, help="Its mail never leaves in the clear.")
@click.option("--link-tracking/--no-link-tracking", default=None, help="Links lead over the tracking host.")
@click.option("--open-tracking/--no-open-tracking", default=None, help="Opens are seen.")
@click.option("--unsubscribe-link/--no-unsubscribe-link", default=None, help="Messages get an unsubscribe link.")
@click.option("--tracking-host", help="Host of its links and opens; empty for the gateway's.")
@click.option("--tracking-privacy/--no-tracking-privacy", default=None, help="No address, no user agent of hits.")
@click.option("--text-link-tracking/--no-text-link-tracking", default=None, help="Links of plain text are tracked too.")
@click.option("--honeypot-link/--no-honeypot-link", default=None, help="A link that only programs follow.")
@verb
def options(name: str, email: str, tracking_host: str | None, **changed: bool | None) -> Answer:
    """Show the options of a sender domain, or change those that are named."""
    with opening.store():
        caller = opening.caller(email)
        row = domains.find_by_name(caller=caller, name=name)
        if any(value is not None for value in (tracking_host, *changed.values())):
            row = domain_changes.update(
                caller=caller,
                domain_id=row.id,
                require_tls=changed["require_tls"],
                link_tracking=changed["link_tracking"],
                open_tracking=changed["open_tracking"],
                unsubscribe_link=changed["unsubscribe_link"],
                tracking_host=tracking_host,
                tracking_privacy=changed["tracking_privacy"],
                text_link_tracking=changed["text_link_tracking"],
                honeypot_link=changed["honeypot_link"],
            )
    data = _shown(row) | {switch: bool(getattr(row, switch)) for switch in _SWITCHES}
    data["tracking_host"] = row.tracking_host or ""
    return Answer(data, fields(data.items()))


@domain.command("list")
@click.option("--user", "email", required=True, help="Email address of the account.")
@verb
def list_(email: str) -> Answer:
    """List an account's sender domains."""
    with opening.store():
        found = [_shown(row) for row in domains.list_(caller=opening.caller(email))]
    return Answer(found, table(("id", "uuid", "name", "status"), [tuple(row.values()) for row in found]))


def _shown(row: SenderDomain) -> dict[str, object]:
    return {"id": row.id, "uuid": str(row.uuid), "name": row.name, "status": STATUS_WORDS[row.status]}
