"""`commandpost mail`: what the capture transport took."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, table, verb
from gateway import clock
from gateway.services import mailbox


@click.group()
def mail() -> None:
    """Captured mail."""


@mail.command("list")
@click.option("--user", "email", help="Only that account's.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@verb
def list_(email: str | None, limit: int) -> Answer:
    """List captured messages, the newest first."""
    with opening.store():
        account_id = opening.caller(email).account_id if email else None
        found = mailbox.list_(limit=limit, account_id=account_id)
    data = [
        {
            "id": row.id,
            "message_id": row.message_id,
            "account": row.account,
            "mail_from": row.mail_from,
            "rcpt": row.rcpt,
            "subject": row.subject,
            "size": row.size,
            "at": clock.rfc3339(row.created_ms),
        }
        for row in found
    ]
    if not data:
        return Answer(data, "no captured mail")
    rows = [(row["id"], row["at"], row["rcpt"], row["size"], row["subject"]) for row in data]
    return Answer(data, table(("id", "at", "to", "bytes", "subject"), rows))


@mail.command()
@click.argument("number", metavar="ID", type=click.IntRange(min=1))
@click.option("--user", "email", help="Only if it is that account's.")
@verb
def show(number: int, email: str | None) -> Answer:
    """Print one captured message as it would have gone out."""
    with opening.store():
        account_id = opening.caller(email).account_id if email else None
        message = mailbox.show(number, account_id=account_id)
    text = message.decode("utf-8", "replace")
    return Answer({"id": number, "message": text}, text.replace("\r\n", "\n"))
