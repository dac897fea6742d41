"""`commandpost bench`: the benchmarks of the source tree."""

from __future__ import annotations

import importlib
import sys

import click

from cli.answer import Failed


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
@click.pass_context
def bench(ctx: click.Context) -> None:
    """Measure this machine with a whole installation; options go to the benchmarks (`bench --help`)."""
    try:
        module = importlib.import_module("benchmarks.__main__")
    except ModuleNotFoundError as error:
        raise Failed(
            "not_here", f"the benchmarks need the source tree and its development packages ({error}): run `make bench`"
        ) from None
    sys.argv = ["commandpost bench", *ctx.args]
    module.main()
