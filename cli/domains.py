"""`commandpost domain`."""

from __future__ import annotations

from pathlib import Path

import click

from cli import opening
from cli.answer import USAGE, Answer, Failed, fields, table, verb
from gateway.services import domains
from models import SenderDomain
from models.vocabulary import STATUS_WORDS


@click.group()
def domain() -> None:
    """Sender domains."""


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
    keys = [_key(text) for text in dkim]
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


def _key(text: str) -> tuple[str, str]:
    selector, _, path = text.partition(":")
    if not selector or not path:
        raise Failed("usage", f"--dkim {text}: should be SELECTOR:FILE", USAGE)
    try:
        return selector, Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a PEM file"
        raise Failed("usage", f"--dkim {text}: {reason}", USAGE) from None
