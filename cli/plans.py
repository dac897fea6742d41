"""`commandpost plan`."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import USAGE, Answer, Failed, verb
from gateway.services import users


@click.group()
def plan() -> None:
    """Plans of accounts."""


@plan.command("set")
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--unlimited", is_flag=True, help="No limit at all, of requests either.")
@click.option("--plan", "name", help="Name of a plan.")
@verb
def set_(email: str, unlimited: bool, name: str | None) -> Answer:
    """Put an account on a plan."""
    if unlimited == (name is not None):
        raise Failed("usage", "one of --unlimited and --plan NAME is needed", USAGE)
    with opening.store():
        now = users.set_plan(email=email, plan=name, unlimited=unlimited)
    return Answer({"email": email, "plan": now}, f"{email} is on the plan {now}")
