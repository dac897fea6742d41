"""The test world: settings of its own, a store on each database that answers, a cast of accounts."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pymysql
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import models  # noqa: E402
from gateway import config, jobs  # noqa: E402
from gateway.mail import dkim  # noqa: E402
from gateway.services import (  # noqa: E402
    automation_signals,
    contents,
    deliveries,
    identity,
    lanes,
    ledger,
    mailboxes,
    risks,
    routing_tables,
    schema,
    senders,
)
from models import database as db  # noqa: E402

MARIADB_URL = os.environ.get("COMMANDPOST_TEST_DATABASE_URL", "mysql://root@127.0.0.1:3306/")
RUN_ID = f"{os.getpid():x}"

dkim.adopt = functools.cache(dkim.adopt)  # that a key is one takes longer to prove than most tests, and stays so


def _server_options() -> dict[str, object]:
    parts = urlsplit(MARIADB_URL)
    return {
        "host": parts.hostname or "127.0.0.1",
        "port": parts.port or 3306,
        "user": parts.username or "root",
        "password": parts.password or "",
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once for each reason what was skipped: without servers it is hundreds of tests for a handful of reasons."""
    reasons = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason}")


def mariadb_answers() -> str:
    """Empty when the server can be used, else why not."""
    try:
        pymysql.connect(connect_timeout=2, **_server_options()).close()  # type: ignore[arg-type]
    except pymysql.err.Error as error:
        return f"MariaDB does not answer at {MARIADB_URL}: {error}"
    return ""


def mysql_url(name: str) -> str:
    parts = urlsplit(MARIADB_URL)
    return f"mysql://{parts.netloc}/{name}"


def mysql_admin(statement: str) -> None:
    connection = pymysql.connect(**_server_options())  # type: ignore[arg-type]
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


@pytest.fixture(scope="session", autouse=True)
def shared_byte_code(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the sources are to stay clean of byte code, the processes that tests start share it elsewhere.

    Without any, each of hundreds compiles everything anew, which takes longer than much of what it is started for.
    """
    if sys.dont_write_bytecode:
        folder = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            folder = folder.parent
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database that each test copies: migrating costs a hundred times more than copying."""
    data = tmp_path_factory.mktemp("template")
    db.connect("sqlite:", data)
    schema.migrate(data)
    for proxy in (db.database, db.scratch):
        proxy.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return data


_plans: list[dict[str, object]] = []
"""The plans of a migrated store: every test begins with them."""


@pytest.fixture(scope="session")
def mysql_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an own migrated database, dropped at the end; skips where no server answers."""
    why_not = mariadb_answers()
    if why_not:
        pytest.skip(why_not)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"commandpost_test_{worker}_{RUN_ID}"
    mysql_admin(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    data = tmp_path_factory.mktemp("mysql")
    db.connect(mysql_url(name), data)
    schema.migrate(data)
    _plans[:] = models.Plan.select().order_by(models.Plan.id).dicts()
    db.close()
    yield mysql_url(name)
    mysql_admin(f"DROP DATABASE `{name}`")


@pytest.fixture(params=["sqlite", "mariadb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty, migrated store on each database in turn; the URL to give to processes of the test."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        for name in ("commandpost.db", "scratch.db"):
            shutil.copy(template / name, tmp_path / name)
        url = f"sqlite:///{tmp_path}/commandpost.db"
        db.connect(url, tmp_path)
    else:
        url = request.getfixturevalue("mysql_database")
        db.connect(url, tmp_path)
        _empty()
    _forget()
    yield url
    deliveries.close()  # the engine of a test that has let something out would send what the next one hands in
    db.close()


def _forget() -> None:
    """What this process remembers of another database."""
    automation_signals.forget()
    contents.forget_recent()
    identity.forget()
    lanes.forget()
    ledger.forget_words()
    mailboxes.forget()
    risks.forget()
    routing_tables.forget()
    senders.forget()


def _empty() -> None:
    """Delete what the last test left, in one commit: a commit for each table takes longer than most tests."""
    names = [model._meta.table_name for model in (*models.DURABLE, *models.SCRATCH) if model is not models.Plan]
    probe = " UNION ALL ".join(f"(SELECT '{name}' FROM `{name}` LIMIT 1)" for name in names)
    filled = [name for (name,) in db.rows(probe)]
    if filled:
        db.in_transaction(lambda tx: [tx.execute(f"DELETE FROM `{name}`") for name in filled])
    if list(models.Plan.select().order_by(models.Plan.id).dicts()) != _plans:  # a test has changed one
        models.Plan.delete().execute()
        models.Plan.insert_many(_plans).execute()


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[config.Settings]:
    """Settings of this test alone: data in its own folder, loopback allowed where the peers are."""
    yield use_settings(tmp_path)
    config.use(None)


def use_settings(data: Path, **changed: str) -> config.Settings:
    """Settings with `changed` names (without prefix) over the test defaults, used from now on."""
    environment = {
        "DATA": str(data),
        "HOSTNAME": "mx.gateway.test",
        "SECRET": "a-secret-for-tests",
        "WEBHOOK_ALLOW": "127.0.0.0/8",
    } | changed
    loaded = config.load({config.PREFIX + name: value for name, value in environment.items()})
    config.use(loaded)
    return loaded


class Bells(list[str]):
    """The jobs rung since the test began."""


@pytest.fixture
def bells() -> Iterator[Bells]:
    rung = Bells()
    jobs.bind(rung.append)
    yield rung
    jobs.bind(None)


@pytest.fixture
def store(settings: config.Settings, store_url: str, bells: Bells) -> str:
    """Everything a service needs: settings, an empty store on each database, recorded bells."""
    return store_url
