"""The migration of limits on a store that has deliveries already."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.services import schema, shaping
from models import database as db
from models.vocabulary import DeliveryState


@pytest.mark.usefixtures("first_release")
def test_deliveries_that_are_there_wait_for_nothing(tmp_path: Path) -> None:
    db.database.execute_sql(
        "INSERT INTO delivery (id, message_id, account_id, domain_id, rcpt, state, fence, attempts, lane_id, due_ms,"
        f" expires_ms) VALUES (1, 1, 1, 1, 'a@far.test', {int(DeliveryState.QUEUED)}, 0, 0, 1, 5, 10)"
    )
    assert "0003_shaping" in schema.migrate(tmp_path)
    assert db.rows("SELECT due_ms, waiting FROM delivery") == [(5, None)]
    assert shaping.active() == ()
    # The table still holds that what lives has a due time.
    with pytest.raises(Exception, match=r"(?i)check|constraint"):
        db.database.execute_sql("UPDATE delivery SET due_ms = NULL")
