"""The migration of the feed on a store that has events already."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.services import schema
from models import database as db


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
