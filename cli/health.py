"""`commandpost health`."""

from __future__ import annotations

import click
import orjson

from cli import demo
from cli.answer import REFUSED, Answer, Failed, verb
from gateway import config


@click.command()
@verb
def health() -> Answer:
    """Ask a running installation whether every part serves; status 1 until it does."""
    settings = config.settings()
    status, body = demo.health(settings)
    if not status:
        raise Failed("not_running", f"nothing answers at {settings.http}: {body.decode(errors='replace')}")
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Failed("not_ours", f"something else answers at {settings.http}") from None
    missing = ", ".join(data.get("missing", []))
    text = "every part serves" if status == 200 else f"{data.get('status', status)}: {missing}"
    return Answer(data, text, 0 if status == 200 else REFUSED)
