"""The schema's life: migrate under a lock, make the scratch tables, seed the plans."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playhouse.migrations import Runner

import models
from gateway import config
from models import database as db

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"

PLANS: tuple[dict[str, object], ...] = (
    {"name": "Default", "requests": 100, "request_window": 60},
    {"name": "Unlimited"},
    {"name": "Free", "emails_month": 300, "max_domains": 1, "requests": 1, "request_window": 1},
    {"name": "Starter", "emails_month": 10_000, "max_domains": 5, "requests": 10, "request_window": 1},
    {"name": "Growth", "emails_month": 30_000, "requests": 50, "request_window": 1},
    {"name": "Business", "emails_month": 50_000, "requests": 100, "request_window": 1},
)

_log = logging.getLogger("commandpost.schema")


class UnsupportedServer(config.ConfigError):
    """The database server is too old: the queue needs SKIP LOCKED."""


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """One migrating process at a time: GET_LOCK on a server, a lock file beside SQLite."""
    if db.dialect() == "mysql":
        if db.rows("SELECT GET_LOCK('commandpost_migrate', 120)")[0][0] != 1:
            raise db.StoreUnavailable("another process is migrating the database")
        try:
            yield
        finally:
            db.rows("SELECT RELEASE_LOCK('commandpost_migrate')")
    else:
        data.mkdir(parents=True, exist_ok=True)
        with open(data / "migrate.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def check_server() -> None:
    """Raise `UnsupportedServer` on MySQL before 8 and MariaDB before 10.6."""
    if db.dialect() != "mysql":
        return
    text = str(db.rows("SELECT VERSION()")[0][0])
    numbers = tuple(int(part) for part in text.split("-")[0].split(".")[:2])
    if numbers < ((10, 6) if "mariadb" in text.lower() else (8, 0)):
        raise UnsupportedServer(
            f"{config.PREFIX}DATABASE_URL: the server is {text}; it should be MariaDB 10.6 or MySQL 8 at least"
        )


def _binary_collation() -> None:
    """Addresses and keys compare byte by byte on every database, as they do on SQLite."""
    if db.dialect() == "mysql" and db.rows("SELECT @@collation_database")[0][0] != "utf8mb4_bin":
        name = db.database.obj.database.replace("`", "``")
        db.database.execute_sql(f"ALTER DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")


def migrate(data: Path) -> list[str]:
    """Bring the schema up to date and return the names of the migrations applied; safe to run anywhere, twice."""
    check_server()
    with _alone(data):
        _binary_collation()
        applied: list[str] = Runner(db.database.obj, str(MIGRATIONS)).up()
        db.scratch.create_tables(models.SCRATCH)
        if db.dialect() == "mysql":
            # A request counter needs no disk: an InnoDB commit each would cost more than the request.
            db.scratch.execute_sql("ALTER TABLE rate_counter ENGINE=MEMORY")
        db.in_transaction(_seed_plans)
    if applied:
        _log.info("schema_migrated", extra={"migrations": applied})
    return applied


def pending() -> list[str]:
    """Names of the migrations that are not applied yet."""
    return [m.name for m in Runner(db.database.obj, str(MIGRATIONS)).status() if not m.applied]


def _seed_plans(tx: db.Transaction) -> None:
    known = {name for (name,) in tx.rows("SELECT name FROM plan")}
    for plan in PLANS:
        if plan["name"] not in known:
            models.Plan.create(**plan)
