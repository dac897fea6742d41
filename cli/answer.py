"""How a verb answers: as text for people or as JSON for programs, errors on stderr with a status."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click
import orjson

from gateway import config, errors
from models.database import StoreUnavailable

REFUSED, USAGE = 1, 2
"""Exit statuses: the engine refused; the command line or a setting is wrong."""


@dataclass(frozen=True)
class Answer:
    """`data` is printed with --json, `text` without; `status` is the exit status."""

    data: Any
    text: str
    status: int = 0


class Failed(click.ClickException):
    """A refusal with a slug that programs can tell apart."""

    def __init__(self, slug: str, message: str, status: int = REFUSED) -> None:
        super().__init__(message)
        self.slug = slug
        self.status = status


def verb(function: Callable[..., Answer]) -> Callable[..., None]:
    """Give a command its --json, and print what it answers."""

    @click.option("--json", "as_json", is_flag=True, help="Answer as JSON, errors too.")
    @functools.wraps(function)
    def command(*, as_json: bool, **options: Any) -> None:
        answer = function(**options)
        if as_json:
            click.echo(orjson.dumps(answer.data, option=orjson.OPT_INDENT_2).decode())
        elif answer.text:
            click.echo(answer.text)
        if answer.status:
            raise click.exceptions.Exit(answer.status)

    return command


def render(error: Exception) -> tuple[str, str, int] | None:
    """Slug, message and exit status of an error that a person can do something about; None for a bug."""
    match error:
        case Failed():
            return error.slug, error.message, error.status
        case config.ConfigError():
            return "setting", str(error), USAGE
        case click.ClickException():
            return "usage", error.format_message(), USAGE
        case errors.GatewayError():
            return error.slug, error.message, REFUSED
        case StoreUnavailable():
            return "unavailable", f"{error}; see `commandpost doctor`", REFUSED
        case _:
            return None


def show(error: Exception, *, as_json: bool) -> int:
    """Print the error on stderr and return the exit status; raises it again when it is a bug."""
    rendered = render(error)
    if rendered is None:
        raise error
    slug, message, status = rendered
    if as_json:
        click.echo(orjson.dumps({"error": slug, "message": message}).decode(), err=True)
    elif isinstance(error, click.UsageError):
        error.show()
    else:
        click.echo(f"commandpost: {message}", err=True)
    return status


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns of text, as wide as their content."""
    lines = [tuple(headings), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def fields(pairs: Iterable[tuple[str, object]]) -> str:
    """One `name  value` a line."""
    found = [(name, str(value)) for name, value in pairs]
    width = max((len(name) for name, _ in found), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in found)
