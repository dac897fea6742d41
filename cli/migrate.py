"""`commandpost migrate`."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import Answer, verb
from gateway.services import schema
from models import database as db


@click.command()
@verb
def migrate() -> Answer:
    """Bring the database schema up to date; safe to run anywhere, twice."""
    settings = opening.settings()
    opening.connect(settings)
    try:
        applied = schema.migrate(settings.data)
    finally:
        db.close()
    return Answer({"applied": applied}, "\n".join(f"applied {name}" for name in applied) or "nothing to apply")
