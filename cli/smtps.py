"""`commandpost smtp`: the SMTP part, and the logins for it."""

from __future__ import annotations

import click

from cli import opening, single
from cli.answer import USAGE, Answer, Failed, fields, verb
from gateway import config
from gateway.services import domains, smtps


@click.group(invoke_without_command=True)
@click.pass_context
def smtp(context: click.Context) -> None:
    """Run the SMTP part until SIGTERM; with a verb, manage SMTP logins."""
    if context.invoked_subcommand is None:
        settings = config.settings()
        single.must_bind("SMTP", settings.smtp)
        single.must_bind("MX", settings.mx)
        if settings.smtps is not None:
            single.must_bind("SMTPS", settings.smtps)
        single.run("smtp")


@smtp.command()
@click.option("--user", "email", required=True, help="Email address of the account.")
@click.option("--domain", required=True, help="The sender domain that the login may write for.")
@click.option("--username", help="The name that clients hold already; with --password.")
@click.option("--password", help="The password that clients hold already; with --username.")
@verb
def add(email: str, domain: str, username: str | None, password: str | None) -> Answer:
    """Make or import an SMTP login."""
    if (username is None) != (password is None):
        raise Failed("usage", "--username and --password are needed together, or neither", USAGE)
    with opening.store():
        caller = opening.caller(email)
        domain_id = domains.find_by_name(caller=caller, name=domain).id
        if username is not None and password is not None:
            login = smtps.import_(caller=caller, domain_id=domain_id, username=username, password=password)
        else:
            login, password = smtps.add(caller=caller, domain_id=domain_id)
    data = {"id": login.id, "username": login.username, "password": password, "domain": login.domain}
    return Answer(data, fields(data.items()))
