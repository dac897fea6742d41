"""`commandpost serve`: every part under one supervisor."""

from __future__ import annotations

import logging
import socket

import click

from cli import demo as demo_world
from cli import opening
from cli.answer import Failed
from cli.parts import DOORS, PARTS, load, prepare
from cli.supervisor import Supervisor
from gateway import config
from gateway.services import certificates, pulse, schema
from models import database as db

_log = logging.getLogger("commandpost.serve")
_WARNING = """\
======================================================================
  NO MAIL LEAVES THIS MACHINE: {}DELIVERY is {}.
  Set it to direct or smtp://[user:password@]host:port.
======================================================================"""


@click.command()
@click.option("--demo", is_flag=True, help="In an empty database make an account, keys and a domain to try.")
def serve(demo: bool) -> None:
    """Run HTTP, SMTP, workers and beat until SIGTERM or Ctrl-C."""
    settings = opening.settings()
    if settings.delivery in config.NO_WAY_OUT and not demo:
        click.echo(_WARNING.format(config.PREFIX, settings.delivery), err=True)
        _log.warning(f"delivery_is_{settings.delivery}")
    check_ports(settings)
    opening.connect(settings)
    prepare(settings, PARTS)
    # Everything is imported once, here: forked parts share its memory.
    supervisor = Supervisor({name: load(point) for name, point in PARTS.items()}, first=DOORS)
    status = supervisor.in_child(lambda: _prepare(settings, demo))
    if status:
        raise click.exceptions.Exit(status)
    raise click.exceptions.Exit(supervisor.run(beside=lambda: _greet(settings, demo)))


def _prepare(settings: config.Settings, demo: bool) -> int:
    """In a process of its own, so that the supervisor never has a database open: migrate and seed."""
    from cli.answer import show

    try:
        schema.migrate(settings.data)
        pulse.forget()
        if demo:
            demo_world.make(settings)
            if settings.tls_cert is None:
                certificates.make(settings)
    except Exception as error:
        return show(error, as_json=False)
    finally:
        db.close()
    return 0


def _greet(settings: config.Settings, demo: bool) -> int:
    """Once every part serves, say what can be done."""
    if not demo_world.wait_until_healthy(settings):
        click.echo("commandpost: not every part serves yet; `commandpost health` says which", err=True)
    if demo:
        click.echo(demo_world.greeting(settings))
    else:
        click.echo(f"Commandpost serves at {settings.base_url}")
    return 0


def listeners(settings: config.Settings) -> list[tuple[str, config.Address]]:
    """The variables that name our listeners, and their addresses."""
    found = [("HTTP", settings.http), ("SMTP", settings.smtp), ("MX", settings.mx)]
    if settings.smtps is not None:
        found.append(("SMTPS", settings.smtps))
    return [(config.PREFIX + name, address) for name, address in found]


def check_ports(settings: config.Settings) -> None:
    """Raise `Failed` with the variable's name when a listener's address cannot be bound."""
    seen: dict[tuple[str, int], str] = {}
    for variable, address in listeners(settings):
        other = seen.setdefault((address.host, address.port), variable)
        if other != variable:
            raise config.ConfigError(f"{variable}={address}: should differ from {other}")
        why = bind_error(address)
        if why:
            raise Failed("address_in_use", f"{variable}={address}: cannot listen there: {why}")


def bind_error(address: config.Address) -> str:
    """Why `address` cannot be listened on; empty when it can."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            # Two listeners may bind with SO_REUSEADDR; only one may listen.
            probe.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return ""
