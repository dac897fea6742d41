"""A database that cannot be used is one kind of refusal, whichever way it is asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pymysql
import pytest

import models
from gateway.services import schema
from models import database as db


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
