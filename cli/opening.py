"""What a verb needs before it can ask a service: settings, logs, a database with the schema of this version."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from cli import logs
from cli.answer import Failed
from cli.parts import load
from gateway import config
from gateway.services import identity, schema, users
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


@contextmanager
def store() -> Iterator[config.Settings]:
    """Settings and a usable database; bells of the work inside are rung before it ends."""
    found = config.settings()
    logs.configure(found, level="debug" if found.log_level == "debug" else "warning")
    connect(found)
    ensure_schema(found)
    try:
        yield found
        load("tasks.ringer:flush")()
    finally:
        db.close()


def caller(email: str) -> Caller:
    """The account with that address as a caller; raises `NotFound`."""
    return identity.for_account(users.find(email).id)
