"""`commandpost retention`."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, verb
from gateway.services import retention as service
from gateway.services.retention import MOST_DAYS, Retention


@click.group()
def retention() -> None:
    """For how many days messages are kept."""


@retention.command()
@click.option("--user", "email", required=True, help="Email address of the account.")
@verb
def show(email: str) -> Answer:
    """Show what holds for an account."""
    with opening.store():
        found = service.find(caller=opening.caller(email))
    return _shown(email, found)


@retention.command("set")
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--body", type=click.IntRange(0, MOST_DAYS), help="Days of bodies; 0: until all recipients are through.")
@click.option("--metadata", type=click.IntRange(1, MOST_DAYS), help="Days of the rest, events too.")
@click.option("--reset", is_flag=True, help="What is not given holds as in the settings again.")
@verb
def set_(email: str, body: int | None, metadata: int | None, reset: bool) -> Answer:
    """Change it for an account."""
    with opening.store():
        found = service.change(caller=opening.caller(email), changed=Retention(body, metadata), reset=reset)
    return _shown(email, found)


def _shown(email: str, found: Retention) -> Answer:
    data = {"email": email, "body_days": found.body, "metadata_days": found.metadata}
    return Answer(data, f"{email}: bodies {found.body} days, the rest {found.metadata} days")
