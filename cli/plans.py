"""`commandpost plan`."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import USAGE, Answer, Failed, fields, table, verb
from gateway.services import plans, users


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


@plan.command("list")
@verb
def list_() -> Answer:
    """List the plans with their limits."""
    with opening.store():
        found = [one.shown() for one in plans.list_()]
    names = ("name", "accounts", "emails_month", "max_domains", "max_webhooks", "requests", "request_window")
    rows = [tuple("-" if one[name] is None else one[name] for name in names) for one in found]
    return Answer({"plans": found}, table(names, rows))


@plan.command()
@click.argument("name")
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=N", help=f"Of {', '.join(plans.LIMITS)}; `-` lifts one."
)
@verb
def save(name: str, limits: tuple[str, ...]) -> Answer:
    """Make a plan, or change the limits of one; its accounts have them within a second."""
    changes: dict[str, int | None] = {}
    for text in limits:
        field, equals, value = text.partition("=")
        if not equals or not (value == "-" or (value.isascii() and value.isdigit() and len(value) < 12)):
            raise Failed("usage", f"--limit {text}: it should be NAME=N, or NAME=- for none", USAGE)
        changes[field.strip()] = None if value == "-" else int(value)
    with opening.store():
        found = plans.save(name=name, changes=changes).shown()
    return Answer(found, fields(found.items()))
