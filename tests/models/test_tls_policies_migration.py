"""The migration of TLS policies on a store that has domains already."""

from __future__ import annotations

from playhouse.migrations import Runner

from models import database as db


def test_domains_that_are_there_stay_and_require_nothing(runner: Runner) -> None:
    db.database.execute_sql(
        "INSERT INTO sender_domain (uuid, account_id, name, status, subdomain, hosting_provider, link_tracking,"
        " open_tracking, unsubscribe_link, ownership_token, signing_key, ownership_status, dkim_status, spf_status,"
        f" checks, created_ms) VALUES (X'{1:032x}', 1, 'shop.test', 'enabled', 'b', '', 1, 1, 0, 't', 'k', '', '', '',"
        " '[]', 1)"
    )
    runner.up("0002_tls_policies")
    assert db.rows("SELECT name, require_tls FROM sender_domain") == [("shop.test", None)]
    assert db.rows("SELECT COUNT(*) FROM tls_policy") == [(0,)]
    runner.down()
    assert "require_tls" not in {column.name for column in db.database.get_columns("sender_domain")}
    # A run that broke off after its first change is made good by the next.
    db.database.execute_sql("ALTER TABLE sender_domain ADD COLUMN require_tls SMALLINT NULL")
    runner.up("0002_tls_policies")
    assert db.rows("SELECT name, require_tls FROM sender_domain") == [("shop.test", None)]
