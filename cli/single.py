"""Single parts, for an installation on several hosts."""

from __future__ import annotations

import click

from cli import opening
from cli.answer import show
from cli.parts import PARTS, WORKERS, load, prepare
from cli.serve import bind_error
from cli.supervisor import Supervisor
from gateway import config
from models import database as db


def run(*names: str) -> None:
    """Run parts by name under a supervisor until SIGTERM; ends the command with the exit status."""
    settings = opening.settings()
    opening.connect(settings)
    prepare(settings, names)
    supervisor = Supervisor({name: load(PARTS[name]) for name in names})
    status = supervisor.in_child(lambda: _check(settings))
    raise click.exceptions.Exit(status or supervisor.run())


def _check(settings: config.Settings) -> int:
    try:
        opening.ensure_schema(settings)
    except Exception as error:
        return show(error, as_json=False)
    finally:
        db.close()
    return 0


def must_bind(variable: str, address: config.Address) -> None:
    """Raise `Failed` when the part's listener cannot listen."""
    from cli.answer import Failed

    why = bind_error(address)
    if why:
        raise Failed("address_in_use", f"{config.PREFIX}{variable}={address}: cannot listen there: {why}")


@click.command()
def web() -> None:
    """Run the HTTP part until SIGTERM."""
    must_bind("HTTP", config.settings().http)
    run("web")


@click.command()
@click.option("--queue", type=click.Choice([*WORKERS, "all"]), default="all", show_default=True)
def worker(queue: str) -> None:
    """Run workers until SIGTERM: `deliver` sends mail, `webhooks` tells endpoints, `aside` does everything else."""
    run(*(WORKERS if queue == "all" else (queue,)))


@click.command()
def beat() -> None:
    """Run the sweeper's clock until SIGTERM; one per installation is enough."""
    run("beat")
