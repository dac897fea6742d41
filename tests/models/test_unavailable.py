"""A database that cannot be used is one kind of refusal, whichever way it is asked."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pymysql
import pytest

import models
from gateway.services import schema
from models import database as db
from smtp import protocol


def test_a_file_that_is_gone_is_no_bug(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    db.connect("sqlite:", folder)
    schema.migrate(folder)
    db.close()
    shutil.rmtree(folder)
    try:
        with pytest.raises(db.StoreUnavailable):
            db.rows("SELECT 1")
        with pytest.raises(db.StoreUnavailable):
            list(models.Account.select())
        with pytest.raises(db.StoreUnavailable):
            db.in_transaction(lambda tx: tx.rows("SELECT 1"))
        assert db.calm_s() < 5
    finally:
        db.close()


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    "cause",
    [
        sqlite3.OperationalError("database or disk is full"),
        pymysql.err.OperationalError(1114, "The table 'event' is full"),
        pymysql.err.OperationalError(1021, "Disk full (/tmp); waiting for someone to free some space..."),
    ],
)
def test_a_full_disk_is_told_from_a_database_that_is_away(cause: Exception) -> None:
    def work(tx: db.Transaction) -> None:
        raise cause

    with pytest.raises(db.StoreFull) as refused:
        db.in_transaction(work)
    assert protocol.reply(refused.value).startswith("452 4.3.1 ")
    assert protocol.reply(db.StoreUnavailable("away")).startswith("451 4.3.0 ")


@pytest.mark.usefixtures("store")
def test_a_conflict_that_never_ends_is_asked_for_again() -> None:
    calls: list[int] = []

    def work(tx: db.Transaction) -> None:
        calls.append(1)
        raise pymysql.err.OperationalError(1213, "Deadlock found")

    with pytest.raises(db.StoreUnavailable):
        db.in_transaction(work)
    assert len(calls) == 8


@pytest.mark.usefixtures("store")
def test_a_broken_transaction_leaves_a_clean_connection() -> None:
    with pytest.raises(ZeroDivisionError):
        db.in_transaction(lambda tx: 1 // 0)
    assert db.in_transaction(lambda tx: tx.rows("SELECT 1")) == [(1,)]
