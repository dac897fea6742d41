"""`commandpost suppression`: its JSON, its text, its refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import models
from gateway.services import suppressions
from models import database as db
from tests import cast
from tests.cli.test_verbs import Run, ask, refused, run, world

__all__ = ["ask", "run", "world"]

JANE = "jane@friends.test"
USER = ("--user", "owner@people.test")


@pytest.fixture
def who(world: None) -> cast.Sender:
    return cast.sender()


def test_add_list_delete(who: cast.Sender, ask: Run, run: Run) -> None:
    made = ask("suppression", "add", JANE, "carl@friends.test", *USER, "--domain", "shop.test", "--detail", "asked us")
    assert made == {"added": 2, "known": 0, "invalid": []}
    assert ask("suppression", "add", JANE, *USER, "--reason", "unsubscribe", "--expires", "2999-01-01")["added"] == 1
    listed = ask("suppression", "list", *USER, "--address", JANE)
    assert listed["total"] == 2
    assert [(row["domain"], row["reason"], row["expires"]) for row in listed["suppressions"]] == [
        (None, "unsubscribe", "2999-01-01T00:00:00.000Z"),
        ("shop.test", "manual", None),
    ]
    assert ask("suppression", "list", *USER, "--since", "2999-01-01")["total"] == 0
    status, out, _ = run("suppression", "list", *USER)
    assert status == 0
    assert "carl@friends.test" in out
    assert "3 of 3" in out
    assert ask("suppression", "delete", JANE, *USER, "--domain", "shop.test") == {"deleted": 1}
    assert refused(run, "suppression", "delete", JANE, *USER, "--domain", "shop.test") == (1, "not_found")
    assert refused(run, "suppression", "add", "nobody", *USER) == (1, "invalid_address")
    assert refused(run, "suppression", "add", JANE, *USER, "--domain", "else.test") == (1, "not_found")
    assert refused(run, "suppression", "add", JANE, *USER, "--expires", "soon") == (2, "usage")
    assert refused(run, "suppression", "add", JANE, *USER, "--reason", "spite") == (2, "usage")
    assert refused(run, "suppression", "list", "--user", "nobody@people.test") == (1, "not_found")


def test_some_bad_addresses_are_told_and_the_others_done(who: cast.Sender, run: Run) -> None:
    status, out, _ = run("suppression", "add", JANE, "nobody", *USER, "--json")
    assert (status, models.Suppression.select().count()) == (1, 1)
    assert '"nobody"' in out


def test_export_import_round_trip(who: cast.Sender, ask: Run, run: Run, tmp_path: Path) -> None:
    ask("suppression", "add", JANE, "=carl@friends.test", *USER, "--domain", "shop.test")
    before = db.rows("SELECT address, domain_id, reason, rule, created_ms FROM suppression ORDER BY address")
    file = tmp_path / "list.csv"
    assert ask("suppression", "export", *USER, "--output", str(file)) == {"records": 2, "file": str(file)}
    _, out, _ = run("suppression", "export", *USER)
    assert out.replace("\r\n", "\n").strip() == file.read_text().strip()
    models.Suppression.delete().execute()
    done = ask("suppression", "import", str(file), *USER)
    assert (done["added"], done["known"], done["invalid"]) == (2, 0, [])
    assert db.rows("SELECT address, domain_id, reason, rule, created_ms FROM suppression ORDER BY address") == before


def test_an_import_with_bad_lines(who: cast.Sender, ask: Run, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes("\ufeffEmail,colour\njane@friends.test,red\nnobody,blue\n".encode())
    status, out, _ = run("suppression", "import", str(file), *USER)
    assert status == 1
    assert "line 3: nobody is not an email address" in out
    assert "1 added, 0 known, 1 invalid" in out
    assert "'colour' means nothing" in out
    rule = models.Suppression.get().rule
    assert ask("suppression", "undo", *USER, "--rule", rule, "--dry-run") == {"removed": 1, "dry_run": True}
    assert ask("suppression", "undo", *USER, "--rule", rule) == {"removed": 1, "dry_run": False}
    (record,) = ask("suppression", "undos", *USER)
    assert (record["rules"], record["removed"], record["by"]) == (rule, 1, "owner@people.test")
    file.write_bytes(b"Email\n\xff\xfe@x.test\n")
    assert refused(run, "suppression", "import", str(file), *USER) == (2, "usage")
    assert refused(run, "suppression", "import", str(tmp_path / "none.csv"), *USER) == (2, "usage")


def test_undo_is_for_what_rules_did(who: cast.Sender, ask: Run, run: Run) -> None:
    more: dict[str, Any] = {"reason": "bounce", "rule": "bounce:5.1.1", "mx": "mx.big.test"}
    db.in_transaction(
        lambda tx: suppressions.add(tx, account_id=who.owner.account_id, domain_id=who.domain.id, address=JANE, **more)
    )
    assert ask("suppression", "undo", *USER, "--rule", "bounce", "--to", "2020-01-01")["removed"] == 0
    assert ask("suppression", "undo", *USER, "--rule", "automatic", "--mx", "small.test")["removed"] == 0
    assert ask("suppression", "undo", *USER, "--rule", "automatic", "--mx", "big.test")["removed"] == 1
    assert refused(run, "suppression", "undo", *USER, "--rule", "unsubscribe") == (1, "invalid_parameter")


def test_allow(who: cast.Sender, ask: Run, run: Run) -> None:
    assert ask("suppression", "allow", "add", "@Friends.test", *USER, "--note", "ours") == {"lifted": 0}
    listed = ask("suppression", "allow", "list", *USER)
    assert (listed["total"], listed["allowed"][0]["address"], listed["allowed"][0]["note"]) == (
        1, "@friends.test", "ours",
    )  # fmt: skip
    assert ask("suppression", "allow", "delete", "@friends.test", *USER) == {"deleted": 1}
    assert refused(run, "suppression", "allow", "delete", "@friends.test", *USER) == (1, "not_found")
    assert refused(run, "suppression", "allow", "add", "nobody", *USER) == (1, "invalid_address")
