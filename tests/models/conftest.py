"""Databases as the first release made them, for the migrations that came after it."""

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
    """Of a database that the first release made; the process is connected to it."""
    name = ""
    if request.param == "mariadb":
        why_not = mariadb_answers()
        if why_not:
            pytest.skip(why_not)
        name = f"commandpost_test_first{os.getpid():x}"
        mysql_admin(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    db.connect(mysql_url(name) if name else "sqlite:", tmp_path)
    made = Runner(db.database.obj, str(schema.MIGRATIONS))
    made.up("0001_initial")
    yield made
    db.close()
    if name:
        mysql_admin(f"DROP DATABASE `{name}`")


@pytest.fixture
def first_release(runner: Runner) -> None:
    """A database that the first release made."""
