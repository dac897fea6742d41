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


def _shown(setting: config.Setting) -> tuple[str, str]:
    """The value as it may be seen, and where it comes from."""
    if setting.variable in os.environ:
        text = os.environ[setting.variable]
        return "[hidden]" if setting.secret and text else text, "environment"
    if setting.secret and os.environ.get(f"{setting.variable}_FILE"):
        return "[hidden]", "file"
    return setting.default, "default"


@click.command()
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the page of the documentation instead.")
@verb
def settings(as_markdown: bool) -> Answer:
    """Show every setting, its value and where that comes from; secrets stay hidden."""
    if as_markdown:
        page = markdown()
        return Answer({"markdown": page}, page.rstrip("\n"))
    config.settings()  # raises where one cannot be used
    data = []
    for setting in config.SETTINGS:
        value, source = _shown(setting)
        data.append(
            {
                "variable": setting.variable,
                "value": value,
                "from": source,
                "default": setting.default,
                "meaning": setting.help,
            }
        )
    rows = [(row["variable"], row["value"], row["from"], row["meaning"]) for row in data]
    return Answer(data, table(("variable", "value", "from", "meaning"), rows))
