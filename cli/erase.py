"""`commandpost erase`."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, verb
from gateway.services import erasures


@click.command()
@click.argument("address")
@click.option("--user", "email", required=True, help="Email address of the account.")
@verb
def erase(address: str, email: str) -> Answer:
    """Replace a recipient's ADDRESS by a pseudonym wherever the account has it, and remove mail to it alone.

    Workers do it behind this answer; asked again meanwhile, it tells how far they have come.
    """
    with opening.store():
        found = erasures.begin(caller=opening.caller(email), address=address)
    data = {"pseudonym": found.pseudonym, "percent": found.percent, "deliveries": found.deliveries}
    return Answer(data, f"{found.pseudonym} takes its place: {found.percent} % are done")
