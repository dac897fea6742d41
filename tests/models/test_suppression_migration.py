"""A store with suppressions of the first release gets their rules when it is migrated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playhouse.migrations import Runner

from gateway.services import schema
from models import database as db
from tests.conftest import RUN_ID, mariadb_answers, mysql_admin, mysql_url, use_settings


@pytest.fixture(params=["sqlite", "mariadb"])
def first_release(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """A database with the tables of the first release and nothing else."""
    use_settings(tmp_path)
    name = f"commandpost_test_m4_{RUN_ID}"
    if request.param == "mariadb":
        if why_not := mariadb_answers():
            pytest.skip(why_not)
        mysql_admin(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    db.connect(mysql_url(name) if request.param == "mariadb" else "sqlite:", tmp_path)
    Runner(db.database.obj, str(schema.MIGRATIONS)).up("0001_initial")
    yield
    db.close()
    if request.param == "mariadb":
        mysql_admin(f"DROP DATABASE `{name}`")


@pytest.mark.usefixtures("first_release")
def test_what_is_on_the_list_stays_and_is_named_after_its_reason(tmp_path: Path) -> None:
    old = [
        (1, 0, "a@x.test", "bounce", "550 no", 5, None),
        (1, 2, "b@x.test", "complaint", "", 6, 7),
        *((1, 2, f"{name}@x.test", "manual", "", 5, None) for name in "cd"),
        (1, 2, "e@x.test", "manual", "", 99, None),
        (2, 9, "a@x.test", "manual", "", 5, None),
    ]
    db.in_transaction(
        lambda tx: tx.executemany(
            "INSERT INTO suppression (account_id, domain_id, address, reason, detail, created_ms, expires_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            old,
        )
    )
    assert "0004_suppressions" in schema.migrate(tmp_path)
    found = db.rows(
        "SELECT account_id, domain_id, address, reason, detail, created_ms, expires_ms, rule, mx FROM suppression"
        " ORDER BY id"
    )
    assert found == [(*row, row[3], "") for row in old]
    # Each has a time of its own account's: who comes at one moment is moved on, and whoever is overtaken then too.
    listed = db.rows("SELECT listed_ms FROM suppression ORDER BY id")
    assert [at_ms for (at_ms,) in listed] == [5, 8, 6, 7, 99, 5]
