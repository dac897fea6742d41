"""The migration of tracking on a store that has domains already."""

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
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    """Of a database that the first release made."""
    name = ""
    if request.param == "mariadb":
        why_not = mariadb_answers()
        if why_not:
            pytest.skip(why_not)
        name = f"commandpost_test_track{os.getpid():x}"
        mysql_admin(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    db.connect(mysql_url(name) if name else "sqlite:", tmp_path)
    made = Runner(db.database.obj, str(schema.MIGRATIONS))
    made.up("0001_initial")
    yield made
    db.close()
    if name:
        mysql_admin(f"DROP DATABASE `{name}`")


def test_domains_that_are_there_keep_the_gateways_host(runner: Runner) -> None:
    db.database.execute_sql(
        "INSERT INTO sender_domain (uuid, account_id, name, status, subdomain, hosting_provider, link_tracking,"
        " open_tracking, unsubscribe_link, ownership_token, signing_key, ownership_status, dkim_status, spf_status,"
        f" checks, created_ms) VALUES (X'{1:032x}', 1, 'shop.test', 'enabled', 'b', '', 1, 1, 0, 't', 'k', '', '', '',"
        " '[]', 1)"
    )
    runner.up("0010_tracking")
    assert db.rows("SELECT name, tracking_host, tracking_privacy FROM sender_domain") == [("shop.test", None, None)]
    assert db.rows("SELECT COUNT(*) FROM hit_spool") == [(0,)]
    runner.down()
    assert "tracking_host" not in {column.name for column in db.database.get_columns("sender_domain")}
    # A run that broke off after its first change is made good by the next.
    db.database.execute_sql("ALTER TABLE sender_domain ADD COLUMN tracking_host VARCHAR(253) NULL")
    runner.up("0010_tracking")
    assert db.rows("SELECT name, tracking_host FROM sender_domain") == [("shop.test", None)]
