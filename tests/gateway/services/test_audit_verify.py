"""Whoever changes the audit log by SQL is found, whatever they do to it."""

from __future__ import annotations

import pytest

from gateway.services import audit, audit_chain, audit_entries, audit_head, audit_verify, doctor
from gateway.services.audit_entries import COLUMNS, Entry
from models import database as db
from tests import cast

pytestmark = pytest.mark.usefixtures("store")
ENTRIES = 12


@pytest.fixture(autouse=True)
def log(store: str) -> None:
    owner = cast.account()
    for number in range(ENTRIES):
        db.in_transaction(
            lambda tx, n=number: audit.record(tx, caller=owner, action="list.create", what=f"list:{n}")  # type: ignore[misc]
        )
    audit_chain.run(5)
    report = audit_verify.verify()
    assert report.ok and (report.first, report.last, report.entries) == (1, ENTRIES, ENTRIES)


def sql(*statements: str) -> None:
    db.in_transaction(lambda tx: [tx.execute(statement) for statement in statements])


def forget_copy() -> None:
    """As if the log was looked at from another host."""
    audit_head.copy_path().unlink()


def broken() -> audit_verify.Broken:
    found = audit_verify.verify().broken
    assert found is not None
    return found


@pytest.mark.parametrize("seq", [1, 5, ENTRIES])
def test_a_removed_entry(seq: int) -> None:
    forget_copy()
    sql(f"DELETE FROM audit_entry WHERE seq = {seq}")
    assert broken().sequence == seq


@pytest.mark.parametrize(
    "change",
    [
        "account_id = account_id + 1", "at_ms = at_ms + 1", "kind = 1", "actor = 'nobody'", "key_id = 7",
        "key_prefix = 'x'", "door = 'cli'", "action = 'list.delete'", "object = 'list:99'", "ip = '192.0.2.1'",
        "request_id = 'x'", "result = 'refused'", "status = 500", "code = 'x'", "data = '{\"after\":{}}'",
        "kind = 99", "data = '{'",
    ],
)  # fmt: skip
def test_an_altered_entry(change: str) -> None:
    sql(f"UPDATE audit_entry SET {change} WHERE seq = 6")
    found = broken()
    assert found.sequence == 6 and found.entry.startswith("aud_")


def test_two_entries_in_another_order() -> None:
    sql(
        "UPDATE audit_entry SET seq = 1000 WHERE seq = 4",
        "UPDATE audit_entry SET seq = 4 WHERE seq = 7",
        "UPDATE audit_entry SET seq = 7 WHERE seq = 1000",
    )
    assert broken().sequence == 4


def test_an_entry_that_was_put_in_by_renumbering() -> None:
    sql("DELETE FROM audit_entry WHERE seq = 5", f"UPDATE audit_entry SET seq = 5 WHERE seq = {ENTRIES}")
    assert broken().sequence == 5


def test_a_cut_off_end() -> None:
    forget_copy()
    sql(f"DELETE FROM audit_entry WHERE seq > {ENTRIES - 3}")
    found = broken()
    assert found.sequence == ENTRIES - 2 and "ends before" in found.why


def test_a_cut_off_end_with_a_head_to_match() -> None:
    forget_copy()
    sql(
        f"DELETE FROM audit_entry WHERE seq > {ENTRIES - 3}",
        f"UPDATE audit_head SET last_seq = {ENTRIES - 3},"
        f" last_hash = (SELECT hash FROM audit_entry WHERE seq = {ENTRIES - 3})",
    )
    assert "not signed" in broken().why


def test_a_cut_off_beginning() -> None:
    forget_copy()
    sql("DELETE FROM audit_entry WHERE seq <= 3")
    assert broken().sequence == 1
    sql("UPDATE audit_head SET first_seq = 3")
    assert "not signed" in broken().why


def test_an_end_put_on() -> None:
    sql("UPDATE audit_entry SET seq = 1000 WHERE seq = 1")
    assert broken().sequence == 1
    sql("UPDATE audit_entry SET seq = 1 WHERE seq = 1000")
    assert audit_verify.verify().ok
    names = COLUMNS.replace("id, seq,", "seq,", 1)
    copied = names.replace("seq", str(ENTRIES + 1), 1)
    sql(f"INSERT INTO audit_entry ({names}) SELECT {copied} FROM audit_entry WHERE seq = 2")
    found = broken()
    assert found.sequence == ENTRIES + 1 and "behind the signed end" in found.why


def test_a_chain_that_was_computed_anew_has_no_signed_end() -> None:
    """Who knows how hashes are made but not the secret."""
    rows = [Entry.of(row) for row in db.rows(f"SELECT {COLUMNS} FROM audit_entry ORDER BY seq")]
    rows[3].actor = "nobody"
    hash_ = audit_entries.GENESIS
    for entry in rows:
        hash_ = audit_entries.digest(entry, hash_)
        sql(f"UPDATE audit_entry SET actor = '{entry.actor}', hash = '{hash_}' WHERE seq = {entry.seq}")
    assert "was signed for" in broken().why
    assert audit_verify.verify().unsealed == ENTRIES - 3
    sql(f"UPDATE audit_head SET last_hash = '{hash_}'")
    assert "not signed" in broken().why


def test_no_head_and_no_log_at_all() -> None:
    sql("DELETE FROM audit_head")
    assert "head of the log is gone" in broken().why
    sql("DELETE FROM audit_entry")
    # This host has seen the log before.
    assert "this host's copy" in broken().why
    forget_copy()
    assert audit_verify.verify().ok
    assert "what was expected" in str(audit_verify.verify(expect=(ENTRIES, "a" * 64)).broken)


def test_an_old_log_put_back_does_not_match_what_this_host_has_seen() -> None:
    columns = ("first_seq", "first_hash", "last_seq", "last_hash", "at_ms", "signature")
    old_head = db.rows(f"SELECT {', '.join(columns)} FROM audit_head")[0]
    owner = cast.account("another")
    db.in_transaction(lambda tx: audit.record(tx, caller=owner, action="list.delete", what="list:1"))
    audit_chain.run(5)

    def put_back(tx: db.Transaction) -> None:
        tx.execute(f"DELETE FROM audit_entry WHERE seq > {ENTRIES}")
        tx.execute(f"UPDATE audit_head SET {', '.join(f'{name} = ?' for name in columns)}", old_head)

    db.in_transaction(put_back)
    assert "this host's copy" in broken().why
    # It is not overwritten either, however the log goes on.
    for _ in range(3):
        db.in_transaction(lambda tx: audit.record(tx, caller=owner, action="list.create", what="list:1"))
        audit_chain.run(5)
    assert "this host's copy" in broken().why


def test_what_waits_for_its_place_is_marked_already() -> None:
    owner = cast.account("another")
    for number in range(2):
        db.in_transaction(
            lambda tx, n=number: audit.record(tx, caller=owner, action="list.delete", what=f"list:{n}")  # type: ignore[misc]
        )
    assert audit_verify.verify().waiting == 2
    sql("UPDATE audit_entry SET object = 'list:9' WHERE seq IS NULL AND object = 'list:0'")
    assert "put in by somebody else" in broken().why
    assert audit_chain.run(5) == 1
    assert "put in by somebody else" in broken().why
    assert db.rows("SELECT object FROM audit_entry WHERE seq IS NULL") == [("list:9",)]
    sql("DELETE FROM audit_entry WHERE seq IS NULL")
    assert audit_verify.verify().ok


def test_what_was_seen_elsewhere_is_compared() -> None:
    ((seq, hash_),) = db.rows("SELECT seq, hash FROM audit_entry WHERE seq = 9")
    assert audit_verify.verify(expect=(seq, hash_)).ok
    assert not audit_verify.verify(expect=(seq, "0" * 64)).ok
    assert not audit_verify.verify(expect=(ENTRIES + 5, hash_)).ok


def test_entries_that_are_missing_are_not_swept_under_the_carpet_by_housekeeping() -> None:
    sql("DELETE FROM audit_entry WHERE seq = 2")
    assert audit_chain.cut(2**60) == 1
    assert audit_chain.cut(2**60) == 0
    assert broken().sequence == 2


def test_the_doctor_looks_at_the_end() -> None:
    def finding() -> tuple[bool, str]:
        return next((one.ok, one.detail) for one in doctor.examine() if one.name == "audit log")

    assert finding()[0]
    sql(f"DELETE FROM audit_entry WHERE seq = {ENTRIES}")
    assert not finding()[0] and "restore" in finding()[1]
    forget_copy()
    sql("UPDATE audit_head SET last_seq = 3")
    assert not finding()[0] and "not signed" in finding()[1]
