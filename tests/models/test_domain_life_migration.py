"""The migration of rotations and checks on a store that has domains already."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import clock
from gateway.services import schema
from models import database as db


@pytest.mark.usefixtures("first_release")
def test_domains_that_are_there_are_checked_over_the_next_day(tmp_path: Path) -> None:
    now = clock.now_ms()
    for number, status in ((1, "enabled"), (700, "pending"), (3, "deleted")):
        db.database.execute_sql(
            "INSERT INTO sender_domain (id, uuid, account_id, name, status, subdomain, hosting_provider,"
            " link_tracking, open_tracking, unsubscribe_link, ownership_token, signing_key, ownership_status,"
            " dkim_status, spf_status, checks, created_ms, deleted_ms)"
            f" VALUES ({number}, X'{number:032x}', 1, '{status}.test', '{status}', 'b', '', 1, 1, 0, 't', 'k', '', '',"
            f" '', '[]', 5, {5 if status == 'deleted' else 'NULL'})"
        )
        db.database.execute_sql(
            "INSERT INTO dkim_key (uuid, domain_id, selector, algorithm, private, public, state, created_ms)"
            f" VALUES (X'{number:032x}', {number}, 's', 'rsa', '', 'p', 'active', 5)"
        )
    assert "0007_domain_life" in schema.migrate(tmp_path)
    found = {row[0]: row[1:] for row in db.rows("SELECT id, next_check_ms, pending_ms FROM sender_domain")}
    assert found[3] == (None, None)
    assert found[1][1] is None
    assert found[700][1] == 5
    for number in (1, 700):
        assert now <= found[number][0] <= now + clock.DAY_MS + 600_000
    assert found[700][0] - found[1][0] > 3_600_000
    assert db.rows("SELECT state, in_dns, retire_ms FROM dkim_key") == [("active", None, None)] * 3
