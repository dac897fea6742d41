"""`commandpost inbound`: mail to return paths and complaint mailboxes that is no event."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, fields, table, verb
from gateway import clock
from gateway.services import inbound_mail
from gateway.services.identity import Caller
from gateway.services.inbound_mail import Kept


@click.group()
def inbound() -> None:
    """Inbound mail that was kept for inspection."""


@inbound.command("list")
@click.option("--user", "email", help="Only that account's.")
@click.option("--kind", type=click.Choice(inbound_mail.KINDS), help="Only of that kind.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@verb
def list_(email: str | None, kind: str | None, limit: int) -> Answer:
    """List inbound mail that is no event, the newest first."""
    with opening.store():
        found, total = inbound_mail.list_(caller=_caller(email), kind=kind or "", count=limit)
    if not found:
        return Answer([], "no inbound mail")
    rows = [
        (row.id, clock.rfc3339(row.created_ms), row.kind, row.about or row.rcpt, row.size, row.subject) for row in found
    ]
    text = table(("id", "at", "kind", "about", "bytes", "subject"), rows)
    if total > len(found):
        text += f"\n{total - len(found)} more"
    return Answer([_shown(row) for row in found], text)


@inbound.command()
@click.argument("number", metavar="ID", type=click.IntRange(min=1))
@click.option("--user", "email", help="Only if it is that account's.")
@verb
def show(number: int, email: str | None) -> Answer:
    """Print one inbound mail as it came, and why it was kept."""
    with opening.store():
        kept, content = inbound_mail.show(caller=_caller(email), number=number)
    text = content.decode("utf-8", "replace")
    data = _shown(kept)
    return Answer({**data, "message": text}, fields(data.items()) + "\n\n" + text.replace("\r\n", "\n"))


@inbound.command()
@click.argument("number", metavar="ID", type=click.IntRange(min=1))
@click.option("--user", "email", help="Only if it is that account's.")
@verb
def delete(number: int, email: str | None) -> Answer:
    """Delete one inbound mail."""
    with opening.store():
        inbound_mail.delete(caller=_caller(email), number=number)
    return Answer({"id": number, "deleted": True}, f"deleted {number}")


def _caller(email: str | None) -> Caller | None:
    return opening.caller(email) if email else None


def _shown(row: Kept) -> dict[str, object]:
    return {
        "id": row.id,
        "account_id": row.account_id or None,
        "kind": row.kind,
        "why": row.why,
        "refused": row.refused,
        "message_id": row.message_id,
        "about": row.about,
        "mail_from": row.mail_from,
        "rcpt": row.rcpt,
        "from": row.header_from,
        "subject": row.subject,
        "size": row.size,
        "at": clock.rfc3339(row.created_ms),
    }
