"""The migration of the audience on a store that has lists already."""

from __future__ import annotations

from pathlib import Path

import pytest
from playhouse.migrations import Runner

from gateway.services import schema
from models import database as db
from models.vocabulary import ListKind, SubscriberStatus

ACTIVE, LEFT = int(SubscriberStatus.ACTIVE), int(SubscriberStatus.UNSUBSCRIBED)


@pytest.mark.usefixtures("first_release")
def test_lists_that_are_there_are_lists_and_counted(tmp_path: Path) -> None:
    for list_id in (1, 2):
        db.in_transaction(
            lambda tx, list_id=list_id: tx.execute(  # type: ignore[misc]
                "INSERT INTO mail_list (id, uuid, account_id, name, created_ms, updated_ms)"
                " VALUES (?, ?, 1, 'L', 1, 1)",
                (list_id, bytes([list_id]) * 16),
            )
        )
    people = [(1, "a", ACTIVE), (1, "b", ACTIVE), (1, "c", LEFT), (2, "a", LEFT)]
    db.in_transaction(
        lambda tx: tx.executemany(
            "INSERT INTO subscriber (list_id, account_id, email, address, fields, status, status_ms, created_ms,"
            " updated_ms) VALUES (?, 1, 'x', ?, '{}', ?, 1, 1, 1)",
            people,
        )
    )
    assert "0023_audience" in schema.migrate(tmp_path)
    assert (
        db.rows("SELECT kind, source_id, conditions, options FROM mail_list") == [(ListKind.LIST, None, None, None)] * 2
    )
    counted = [(1, ACTIVE, 2), (1, LEFT, 1), (2, LEFT, 1)]
    assert db.rows("SELECT list_id, status, n FROM list_count ORDER BY list_id, status") == counted
    assert schema.migrate(tmp_path) == []
    # A run that broke off in the middle is done again.
    Runner(db.database.obj, str(schema.MIGRATIONS)).down("0023_audience")
    assert "0023_audience" in schema.migrate(tmp_path)
    assert db.rows("SELECT list_id, status, n FROM list_count ORDER BY list_id, status") == counted
