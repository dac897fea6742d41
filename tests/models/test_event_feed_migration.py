"""The migration of the feed on a store that has events already."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playhouse.migrations import Runner

from gateway.services import schema
from models import database as db
from tests.conftest import mariadb_answers, mysql_admin, mysql_url


@pytest.fixture(params=["sqlite", "mariadb"])
def first_release(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """A database that the first release made."""
    name = ""
    if request.param == "mariadb":
        why_not = mariadb_answers()
        if why_not:
            pytest.skip(why_not)
        name = f"commandpost_test_feed{os.getpid():x}"
        mysql_admin(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    db.connect(mysql_url(name) if name else "sqlite:", tmp_path)
    Runner(db.database.obj, str(schema.MIGRATIONS)).up("0001_initial")
    yield
    db.close()
    if name:
        mysql_admin(f"DROP DATABASE `{name}`")


@pytest.mark.usefixtures("first_release")
def test_events_that_are_there_need_not_be_waited_for(tmp_path: Path) -> None:
    db.database.execute_sql(
        "INSERT INTO event (account_id, domain_id, kind, at_ms, message_id, rcpt, ip) VALUES (1, 1, 1, 5, 1, '', '')"
    )
    assert "0014_event_feed_and_retention" in schema.migrate(tmp_path)
    assert db.rows("SELECT at_ms, logged_ms FROM event") == [(5, None)]
    for table in ("retention_mark", "retention_due", "erasure"):
        assert db.rows(f"SELECT COUNT(*) FROM {table}") == [(0,)]
    assert schema.migrate(tmp_path) == []
