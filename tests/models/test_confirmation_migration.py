"""The migration of test confirmations on a store where some are asked already."""

from __future__ import annotations

from playhouse.migrations import Runner

from models import database as db

ASK = "INSERT INTO confirmation (subscriber_id, account_id, list_id, due_ms, sent, cause) VALUES ({}, 1, 1, 5, 0, '')"


def test_who_was_asked_before_is_asked_for_real(runner: Runner) -> None:
    runner.up("0038_plan_switches")
    db.database.execute_sql(ASK.format(1))
    runner.up("0039_test_confirmations")
    db.database.execute_sql(ASK.format(2))  # by a process that knows nothing of it yet
    assert db.rows("SELECT subscriber_id, due_ms, live FROM confirmation ORDER BY 1") == [(1, 5, 1), (2, 5, 1)]
    runner.down()
    assert "live" not in {column.name for column in db.database.get_columns("confirmation")}
    # A run that broke off after its first change is made good by the next.
    db.database.execute_sql("ALTER TABLE confirmation ADD COLUMN live SMALLINT NULL DEFAULT 1")
    runner.up("0039_test_confirmations")
    assert "live" in {column.name for column in db.database.get_columns("list_import")}
    assert db.rows("SELECT subscriber_id, live FROM confirmation ORDER BY 1") == [(1, 1), (2, 1)]
