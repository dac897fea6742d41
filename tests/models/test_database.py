"""The one way to write: what a transaction promises on each database."""

from __future__ import annotations

import threading

import pytest

import models
from models import database as db

pytestmark = pytest.mark.usefixtures("store")


def _plans() -> list[str]:
    return sorted(name for (name,) in db.rows("SELECT name FROM plan"))


def test_what_raises_leaves_nothing() -> None:
    before = _plans()

    def work(tx: db.Transaction) -> None:
        tx.execute("INSERT INTO plan (name, request_window) VALUES (?, ?)", ("Odd", 1))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        db.in_transaction(work)
    assert _plans() == before


def test_nesting_is_refused() -> None:
    with pytest.raises(db.NestedTransaction):
        db.in_transaction(lambda _: db.in_transaction(lambda tx: tx.rows("SELECT 1")))
    assert db.in_transaction(lambda tx: tx.rows("SELECT 1")) == [(1,)]


def test_callbacks_run_once_a_key_and_only_after_the_commit() -> None:
    called: list[str] = []

    def work(tx: db.Transaction) -> None:
        tx.after_commit(lambda: called.append("bell"), key="bell")
        tx.after_commit(lambda: called.append("bell"), key="bell")
        assert called == []

    db.in_transaction(work)
    assert called == ["bell"]

    def failing(tx: db.Transaction) -> None:
        tx.after_commit(lambda: called.append("never"))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        db.in_transaction(failing)
    assert called == ["bell"]


def test_the_session_of_a_server_is_set_as_the_queue_needs_it() -> None:
    if db.dialect() == "sqlite":
        assert db.rows("PRAGMA journal_mode") == [("wal",)]
        assert db.rows("PRAGMA synchronous") == [(2,)]  # FULL: an answer means durable
        return
    variable = "@@tx_isolation" if "MariaDB" in str(db.rows("SELECT VERSION()")) else "@@transaction_isolation"
    assert db.rows(f"SELECT {variable}, @@innodb_lock_wait_timeout") == [("READ-COMMITTED", 2)]
    assert "STRICT_ALL_TABLES" in db.rows("SELECT @@sql_mode")[0][0]


def test_a_deadlock_runs_the_work_again() -> None:
    """Two transactions that lock two rows in opposite order: the server kills one, both end well."""
    names = ["Default", "Free"]
    meet = threading.Barrier(2)
    runs: list[int] = []
    problems: list[BaseException] = []

    def change(order: list[str]) -> None:
        first = True

        def work(tx: db.Transaction) -> None:
            nonlocal first
            runs.append(1)
            tx.execute("UPDATE plan SET request_window = request_window + 1 WHERE name = ?", (order[0],))
            if first and tx.dialect == "mysql":
                first = False
                meet.wait(10)
            tx.execute("UPDATE plan SET request_window = request_window + 1 WHERE name = ?", (order[1],))

        try:
            db.in_transaction(work)
        except BaseException as error:
            problems.append(error)
        finally:
            db.close()

    before = dict(db.rows("SELECT name, request_window FROM plan"))
    threads = [threading.Thread(target=change, args=(order,)) for order in (names, names[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = dict(db.rows("SELECT name, request_window FROM plan"))
    models.Plan.update(request_window=60).where(models.Plan.name == "Default").execute()
    models.Plan.update(request_window=1).where(models.Plan.name == "Free").execute()
    assert problems == []
    assert {name: after[name] - before[name] for name in names} == {"Default": 2, "Free": 2}
    assert len(runs) == (3 if db.dialect() == "mysql" else 2)
