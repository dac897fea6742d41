"""`commandpost settings`."""

from __future__ import annotations

import os

import click

from cli.answer import Answer, table, verb
from gateway import config

_INTRODUCTION = """\
# Settings

Every setting is an environment variable. A value that cannot be used stops the start and names the variable.
Those marked *secret* can also be read from a file: `…_FILE` names it.

| variable | default | meaning |
|---|---|---|
"""


def markdown() -> str:
    """The page of all settings, generated from their one declaration."""
    rows = []
    for setting in config.SETTINGS:
        default = f"`{setting.default}`" if setting.default else ""
        meaning = setting.help.replace("|", "\\|") + (" (*secret*)" if setting.secret else "")
        rows.append(f"| `{setting.variable}` | {default} | {meaning} |\n")
    return _INTRODUCTION + "".join(rows)


def _value(setting: config.Setting, text: str) -> str:
    return "[hidden]" if setting.secret and text and text != setting.default else text


@click.command()
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the page of the documentation instead.")
@verb
def settings(as_markdown: bool) -> Answer:
    """Show every setting, where it comes from and its value; secrets stay hidden."""
    if as_markdown:
        page = markdown()
        return Answer({"markdown": page}, page.rstrip("\n"))
    config.settings()  # raises where one cannot be used
    data = []
    for setting in config.SETTINGS:
        text, from_where = config.raw(setting, os.environ), "environment"
        if setting.variable not in os.environ:
            from_where = "file" if text != setting.default else "default"
        data.append(
            {
                "variable": setting.variable,
                "value": _value(setting, text),
                "from": from_where,
                "default": setting.default,
                "meaning": setting.help,
            }
        )
    rows = [(row["variable"], row["value"], row["from"], row["meaning"]) for row in data]
    return Answer(data, table(("variable", "value", "from", "meaning"), rows))
