"""`commandpost doctor`."""

from __future__ import annotations

import socket

import click

from cli import demo, logs, opening
from cli.answer import Answer, table, verb
from cli.parts import load
from cli.serve import listeners
from gateway import config
from gateway.services import doctor as service
from gateway.services.doctor import Finding
from models import database as db


@click.command()
@verb
def doctor() -> Answer:
    """Check database, queue, broker, delivery, disk, DNS and listeners; status 1 when something is wrong."""
    settings = config.settings()
    logs.configure(settings, level="error")
    opening.connect(settings)
    try:
        findings = [*service.examine(), _broker(), *_listening(settings), _parts(settings)]
    finally:
        db.close()
    healthy = all(finding.ok for finding in findings)
    data = {
        "ok": healthy,
        "checks": [{"name": item.name, "ok": item.ok, "detail": item.detail} for item in findings],
    }
    rows = [("ok" if item.ok else "WRONG", item.name, item.detail) for item in findings]
    return Answer(data, table(("", "check", "finding"), rows), 0 if healthy else 1)


def _broker() -> Finding:
    try:
        return Finding("broker", True, f"{load('tasks.parts:ping')()} answers")
    except Exception as error:
        return Finding("broker", False, f"{type(error).__name__}: {error}: mail is late until it is back")


def _listening(settings: config.Settings) -> list[Finding]:
    found = []
    for variable, address in listeners(settings):
        name = variable.removeprefix(config.PREFIX).lower()
        host = demo.reachable(address.host)
        try:
            socket.create_connection((host, address.port), timeout=2).close()
            found.append(Finding(name, True, f"{address} takes connections"))
        except OSError as error:
            found.append(Finding(name, False, f"{address}: {error.strerror or error}; set {variable} or start it"))
    return found


def _parts(settings: config.Settings) -> Finding:
    status, body = demo.health(settings)
    return Finding("parts", status == 200, body.decode("utf-8", "replace").strip())
