"""`commandpost user`."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, fields, verb
from gateway.services import account_options, users
from models.vocabulary import ROLE_OPERATOR, ROLE_USER


@click.group()
def user() -> None:
    """Accounts."""


@user.command()
@click.option("--email", required=True, help="Address and login of the account.")
@click.option("--password", help="Without one, nobody can log in; API keys work.")
@click.option("--api-key", help="The account's API key, where clients hold one already.")
@click.option("--name", default="", help="Name of the person or company.")
@click.option("--operator", is_flag=True, help="May administer the installation.")
@verb
def add(email: str, password: str | None, api_key: str | None, name: str, operator: bool) -> Answer:
    """Make an account with an API key of its own."""
    with opening.store():
        made = users.add(
            email=email,
            password=password,
            api_key=api_key,
            name=name,
            role=ROLE_OPERATOR if operator else ROLE_USER,
        )
    data = {name: made[name] for name in ("id", "email", "api_key")}
    return Answer(data, fields(data.items()))


@user.command()
@click.option("--email", required=True)
@click.option("--password", prompt=True, hide_input=True, confirmation_prompt=True)
@verb
def password(email: str, password: str) -> Answer:
    """Set the password; every session of the account ends."""
    with opening.store():
        users.set_password(email=email, password=password)
    return Answer({"email": email}, f"the password of {email} is set")


@user.command()
@click.option("--email", required=True)
@click.argument("status", type=click.Choice(users.STATUSES))
@verb
def status(email: str, status: str) -> Answer:
    """Set the account's status; a disabled one can neither log in nor send."""
    with opening.store():
        users.set_status(email=email, status=status)
    return Answer({"email": email, "status": status}, f"{email} is {status}")


@user.command()
@click.option("--email", required=True)
@click.option("--numeric-ids/--no-numeric-ids", default=None, help="New…ID values are numbers instead of texts.")
@click.option(
    "--risk-warn/--no-risk-warn", default=None, help="A message at high risk is sent, and its verdict warns of it."
)
@click.option(
    "--risk-hold/--no-risk-hold", default=None, help="A message at critical risk waits until a person releases it."
)
@click.option("--strict-names/--no-strict-names", default=None, help="Addresses without a name are refused.")
@verb
def options(email: str, **switches: bool | None) -> Answer:
    """Switch what the account's clients need; without a switch, show how they stand."""
    changed = {name: value for name, value in switches.items() if value is not None}
    with opening.store():
        found = account_options.change(email=email, changed=changed)
    return Answer({"email": email} | found, fields((name, "on" if value else "off") for name, value in found.items()))
