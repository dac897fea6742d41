"""`commandpost key`."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, fields, verb
from gateway.services import users
from models.vocabulary import SURFACES


@click.group()
def key() -> None:
    """API keys."""


@key.command()
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option(
    "--domain", "domains", multiple=True, help="A key of this domain, or of several; without it one of the account."
)
@click.option("--surface", type=click.Choice(SURFACES), default="octeth", show_default=True)
@click.option("--scope", "scopes", multiple=True, help="What the key may do; repeat it. Without one: everything.")
@click.option("--test", "test", is_flag=True, help="A test key: everything is checked, nothing is delivered.")
@click.option("--strict", "strict", is_flag=True, help="Refuse unknown fields instead of warning of them.")
@click.option("--service", default="", help="The service that uses it.")
@click.option("--value", help="The key itself, where clients hold one already.")
@click.option("--description", default="", help="What the key is for.")
@verb
def add(
    email: str,
    domains: tuple[str, ...],
    surface: str,
    scopes: tuple[str, ...],
    test: bool,
    strict: bool,
    service: str,
    value: str | None,
    description: str,
) -> Answer:
    """Make or import a key."""
    with opening.store():
        made = users.add_key(
            email=email,
            domains=domains,
            surface=surface,
            scopes=scopes,
            live=not test,
            strict=strict,
            service=service,
            value=value,
            description=description,
        )
    data = {name: made[name] for name in ("id", "key", "prefix", "surface")}
    return Answer(data, fields(data.items()))
