"""`commandpost import`: what the clients of another installation already hold, from one file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import orjson

from cli import answer, domains, keys, plans, smtps, users, webhooks
from cli.answer import REFUSED, Answer, Failed, verb

_VERBS: dict[str, click.Command] = {
    f"{noun} {name}": command
    for noun, group, names in (
        ("user", users.user, ("add",)),
        ("plan", plans.plan, ("set",)),
        ("domain", domains.domain, ("add",)),
        ("key", keys.key, ("add",)),
        ("smtp", smtps.smtp, ("add",)),
        ("webhook", webhooks.webhook, ("add",)),
    )
    for name in names
    for command in (group.commands[name],)
}


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@verb
def import_(file: Path) -> Answer:
    """Run the verbs of a file, one JSON object a line; bad lines are reported and the others done.

    Each line names a verb and gives its options, with `_` or `-` as in the long option:

    \b
    {"user add": {"email": "jane@example.com", "password": "…", "api-key": "…"}}
    {"domain add": {"name": "example.com", "user": "jane@example.com", "trusted": true, "id": 12}}
    {"key add": {"user": "jane@example.com", "domain": "example.com", "value": "4D196964-…"}}
    {"smtp add": {"user": "jane@example.com", "domain": "example.com", "username": "…", "password": "…"}}

    The status is 1 when a line was refused; running the mended file again refuses what is there already.
    """
    done = 0
    refused: list[dict[str, Any]] = []
    for number, line in _lines(file):
        try:
            _run(line)
            done += 1
        except Exception as error:
            rendered = answer.render(error)
            if rendered is None:
                raise
            refused.append({"line": number, "error": rendered[0], "message": rendered[1]})
    lines = [f"line {row['line']}: {row['message']}" for row in refused]
    text = "\n".join([*lines, f"{done} done, {len(refused)} refused"])
    return Answer({"done": done, "refused": refused}, text, REFUSED if refused else 0)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with open(file, encoding="utf-8") as text:
        for number, line in enumerate(text, 1):
            if line.strip() and not line.lstrip().startswith("#"):
                yield number, line


def _run(line: str) -> None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Failed("usage", f"not JSON: {error}") from None
    if not isinstance(found, dict) or len(found) != 1:
        raise Failed("usage", "should be one object with one verb")
    ((name, options),) = found.items()
    if name not in _VERBS or not isinstance(options, dict):
        raise Failed("usage", f"{json.dumps(name)}: should be one of {', '.join(_VERBS)} with an object of options")
    command = _VERBS[name]
    with command.make_context(name, _words(command, options)) as context:
        # The verb itself, without the part that prints its answer.
        function = command.callback.__wrapped__  # type: ignore[union-attr]
        function(**{key: value for key, value in context.params.items() if key != "as_json"})


def _words(command: click.Command, options: dict[str, Any]) -> list[str]:
    """The options as the words of a command line, so that click checks them as it does a person's."""
    arguments = {item.name for item in command.params if isinstance(item, click.Argument)}
    words: list[str] = []
    behind: list[str] = []
    for name, value in options.items():
        if name.replace("-", "_") in arguments:
            behind.append(str(value))
        elif value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value is not False and value is not None:
            for item in value if isinstance(value, list) else [value]:
                words += [f"--{name.replace('_', '-')}", str(item)]
    return [*words, "--", *behind]
