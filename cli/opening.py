"""What a verb needs before it can ask a service: settings, logs, a database with the schema of this version."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from cli import logs
from cli.answer import Failed
from cli.parts import load
from gateway import config, errors
from gateway.services import audit_calls, identity, schema, users
from gateway.services.identity import Caller
from models import database as db


def settings() -> config.Settings:
    """The settings of this process with its logs set up; raises `ConfigError`."""
    found = config.settings()
    logs.configure(found)
    return found


def connect(found: config.Settings) -> None:
    """Bind the database and the ringer of `found`; opens no connection."""
    os.umask(0o077)  # databases, journal and bells are nobody else's, wherever DATA is
    try:
        found.data.mkdir(mode=0o700, parents=True, exist_ok=True)  # mail is in there
    except OSError as error:
        raise config.ConfigError(
            f"{config.PREFIX}DATA={str(found.data)!r}: should be a directory that can be made: {error.strerror}"
        ) from None
    if not os.access(found.data, os.W_OK | os.X_OK):
        raise config.ConfigError(f"{config.PREFIX}DATA={str(found.data)!r}: should be a directory that can be written")
    db.connect(found.database_url, found.data)
    load("tasks.ringer:install")()


def ensure_schema(found: config.Settings) -> None:
    """Make the schema where there is none; an existing one of another version is the operator's to migrate."""
    waiting = schema.pending()
    if not waiting:
        return
    if db.dialect() == "sqlite" or not db.database.obj.table_exists("account"):
        schema.migrate(found.data)
    else:
        raise Failed("migrations_pending", f"migrations are pending ({', '.join(waiting)}): run `commandpost migrate`")


_READING = frozenset(
    {
        "list", "show", "held", "export", "feed", "explain", "stats", "deliveries", "attempts", "undos", "doctor",
        "health", "settings", "verify", "head", "records",
    }
)  # fmt: skip
"""Verbs that change nothing; every other one goes to the audit log."""


@contextmanager
def store() -> Iterator[config.Settings]:
    """Settings and a usable database; bells of the work inside are rung before it ends."""
    found = config.settings()
    logs.configure(found, level="debug" if found.log_level == "debug" else "warning")
    connect(found)
    ensure_schema(found)
    call = audit_calls.begin("cli", actor=f"cli:{_user()}")
    try:
        yield found
        load("tasks.ringer:flush")()
    except Exception as error:
        call.result, call.code = audit_calls.FAILED, type(error).__name__
        if isinstance(error, errors.GatewayError):
            call.result, call.code = audit_calls.REFUSED, error.slug
        raise
    finally:
        _tell(call)
        db.close()


def _tell(call: audit_calls.Call) -> None:
    """A verb that may change something goes to the audit log."""
    audit_calls.end()
    context = click.get_current_context(silent=True)
    words = context.command_path.split() if context is not None else []
    if not words or words[-1] in _READING or context is None:
        return
    call.action = " ".join(words)
    email = context.params.get("email")
    account = db.rows("SELECT id FROM account WHERE email = ?", (email,)) if isinstance(email, str) else []
    call.account_id = account[0][0] if account else 0
    audit_calls.keep(call)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its number
        return str(os.getuid())


def caller(email: str) -> Caller:
    """The account with that address as a caller; raises `NotFound`."""
    return identity.for_account(users.find(email).id)
