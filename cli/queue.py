"""`commandpost queue`: deliveries that wait for a person."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, table, verb
from gateway import clock
from gateway.services import held


@click.group()
def queue() -> None:
    """Deliveries held for a person."""


@queue.command("held")
@click.option("--user", "email", help="Only that account's.")
@click.option("--limit", type=click.IntRange(1, held.LIST_MOST), default=100, show_default=True)
@verb
def held_(email: str | None, limit: int) -> Answer:
    """List deliveries of which a crash left it in doubt whether they arrived (COMMANDPOST_IN_DOUBT=hold)."""
    with opening.store():
        total, found = held.list_(caller=opening.caller(email) if email else None, count=limit)
    data = {
        "total": total,
        "held": [
            {
                "account": row.account,
                "message_id": row.message_id,
                "domain": row.domain,
                "recipient": row.recipient,
                "subject": row.subject,
                "attempts": row.attempts,
                "fails_at": clock.rfc3339(row.until_ms),
            }
            for row in found
        ],
    }
    if not found:
        return Answer(data, "nothing is held")
    rows = [(row.message_id, row.account, row.recipient, clock.rfc3339(row.until_ms), row.subject) for row in found]
    text = table(("message", "account", "to", "fails at", "subject"), rows)
    return Answer(data, text if total <= len(found) else f"{text}\n… {total} in all")


@queue.command()
@click.argument("message_id")
@click.option("--recipient", default="", help="Only the delivery to this address.")
@verb
def release(message_id: str, recipient: str) -> Answer:
    """Send again what is held of a message, at the risk of a second copy with the same Message-ID."""
    with opening.store():
        count = held.release(caller=held.owner(message_id=message_id), message_id=message_id, recipient=recipient)
    return Answer({"released": count}, f"{count} released")


@queue.command()
@click.argument("message_id")
@click.option("--recipient", default="", help="Only the delivery to this address.")
@verb
def fail(message_id: str, recipient: str) -> Answer:
    """Give up what is held of a message: it failed, although it may have arrived."""
    with opening.store():
        count = held.fail(caller=held.owner(message_id=message_id), message_id=message_id, recipient=recipient)
    return Answer({"failed": count}, f"{count} failed")
