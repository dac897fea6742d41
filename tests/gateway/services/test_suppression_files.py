"""Suppression lists from and to CSV: nothing lost on the way, every bad line told."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from gateway import clock, errors
from gateway.services import lists, messages, suppression_csv, suppression_files, suppressions
from gateway.services.suppressions import Entry
from models import database as db
from tests import cast

HEAD = "EmailAddress,Domain,Reason,Rule,Detail,MX,MessageID,CreatedAt,ExpiresAt,ListID\r\n"


@pytest.fixture
def who(store: str) -> cast.Sender:
    return cast.sender()


def table() -> list[tuple[Any, ...]]:
    return db.rows(
        "SELECT account_id, domain_id, address, reason, detail, message_id, created_ms, expires_ms, rule, mx"
        " FROM suppression ORDER BY address, domain_id, reason"
    )


def exported(who: cast.Sender, count: int = suppression_files.EXPORTED_MOST) -> str:
    text, cursor, first = "", "", True
    while first or cursor:
        rows, behind = suppression_files.export(caller=who.owner, cursor=cursor, count=count)
        text += suppression_csv.write(rows, heading=first)
        cursor, first = behind, False
    return text


def test_export_and_import_lose_nothing(who: cast.Sender) -> None:
    accepted = messages.accept(who.caller, cast.draft())
    message_id = models.Message.get().id
    now = clock.now_ms()
    nasty = ["=cmd()", "'=x", "''@x", "line one\r\nline two", 'say "no", please', " +1", "'tis fine", "ü;\t,", "-"]
    entries = [
        Entry(f"u{n}@friends.test", "bounce", who.domain.id, text, rule="bounce:5.1.1") for n, text in enumerate(nasty)
    ]
    entries += [
        Entry("=1+1@friends.test", "manual", 0, created_ms=now - 12_345, rule="manual"),
        Entry("+jane@friends.test", "unsubscribe", who.domain.id, rule="unsubscribe", expires_ms=now + 999_999),
        Entry("'o@friends.test", "complaint", 0, rule="complaint", mx="mx.friends.test", message_id=message_id),
        Entry("gone@friends.test", "bounce", 0, rule="strikes:mailbox_full", created_ms=now - 5, expires_ms=now - 1),
        Entry("jörg@xn--bcher-kva.example", "manual", 0, rule="import:x"),
    ]  # fmt: skip
    db.in_transaction(lambda tx: suppressions.put(tx, account_id=who.owner.account_id, entries=entries))
    before = table()
    text = exported(who, count=4)
    assert accepted.message_id in text
    for row in csv.reader(io.StringIO(text)):
        assert not any(cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in row)
    models.Suppression.delete().execute()
    done = suppression_files.import_(caller=who.owner, text=text)
    assert (done.added, done.known, done.invalid, done.ignored) == (len(entries), 0, [], [])
    assert table() == before
    again = suppression_files.import_(caller=who.owner, text=text)
    assert (again.added, again.known) == (1, len(entries) - 1)  # the one that ran out holds no more
    assert table() == before


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
def test_a_guarded_text_comes_back(text: str) -> None:
    guarded = suppression_csv.harmless(text)
    assert suppression_csv.plain(guarded) == text
    assert not guarded.lstrip(" ").startswith(("=", "+", "-", "@", "\t"))


def test_bad_lines_are_told_by_number_and_keep_no_other(who: cast.Sender) -> None:
    text = (
        HEAD
        + "a@friends.test,,,,,,,,\r\n"
        + "nobody,,,,,,,,\r\n"
        + '"b@friends.test",,spite,,,,,,\r\n'
        + 'c@friends.test,,bounce,,"two\r\nlines",,,,\r\n'
        + "d@friends.test,else.test,,,,,,,\r\n"
        + "\r\n"
        + "e@friends.test,,,,,,,yesterday,\r\n"
        + "f@friends.test,,,,,,,,,too,many\r\n"
        + "g@friends.test,,,bad rule,,,,,\r\n"
        + "A@friends.test,,,,,,,,\r\n"
        + "h@friends.test\r\n"
    )
    done = suppression_files.import_(caller=who.owner, text=text)
    assert (done.added, done.known) == (3, 1)
    assert [bad.line for bad in done.invalid] == [3, 4, 7, 9, 10, 11]
    assert done.invalid[0].address == "nobody"
    assert [row[2] for row in table()] == ["a@friends.test", "c@friends.test", "h@friends.test"]


@pytest.mark.parametrize(
    "text",
    [
        "jane@friends.test\ncarl@friends.test\n",
        "\ufeffEmail\njane@friends.test\ncarl@friends.test",
        "email address;reason\r\njane@friends.test;bounce\r\ncarl@friends.test;\r\n",
        'reason\t"E-Mail"\tcolour\nmanual\tJane@Friends.test\tred\nmanual\tcarl@friends.test\tblue\n',
        "\r\n\r\nrecipient\r\njane@friends.test\r\ncarl@friends.test\r\ncarl@friends.test\r\n",
    ],
)
def test_files_of_other_systems(who: cast.Sender, text: str) -> None:
    done = suppression_files.import_(caller=who.owner, text=text, domain_id=who.domain.id)
    assert (done.added, done.invalid) == (2, [])
    assert done.ignored == (["colour"] if "colour" in text else [])
    assert {row[1] for row in table()} == {who.domain.id}
    assert {row[8] for row in table()} == {done.rule}
    assert suppressions.undo(rule_prefix=done.rule) == 2


@pytest.mark.parametrize("text", ["name,colour\njane,red\n", "hello\n"])
def test_a_file_without_addresses_is_refused(who: cast.Sender, text: str) -> None:
    with pytest.raises(errors.Invalid):
        suppression_files.import_(caller=who.owner, text=text)


def test_an_import_only_ever_makes_it_last_longer(who: cast.Sender) -> None:
    soon = suppression_csv.time_text(clock.now_ms() + 60_000)
    one = "EmailAddress,ExpiresAt\n"
    assert suppression_files.import_(caller=who.owner, text=f"{one}jane@x.test,{soon}\n").added == 1
    assert suppression_files.import_(caller=who.owner, text=f"{one}jane@x.test,\n").known == 1
    assert table()[0][7] is None
    assert suppression_files.import_(caller=who.owner, text=f"{one}jane@x.test,{soon}\n").known == 1
    assert table()[0][7] is None


def test_a_sender_key_imports_for_its_domain_only(who: cast.Sender) -> None:
    text = f"EmailAddress,Domain\na@x.test,{who.domain.name}\nb@x.test,\nc@x.test,else.test\n"
    done = suppression_files.import_(caller=who.caller, text=text)
    assert (done.added, [bad.line for bad in done.invalid]) == (1, [3, 4])


def test_a_strangers_message_is_not_named(who: cast.Sender) -> None:
    other = cast.sender("stranger", "else.test")
    accepted = messages.accept(other.caller, cast.draft(domain="else.test"))
    text = f"EmailAddress,MessageID\njane@x.test,{accepted.message_id}\n"
    assert suppression_files.import_(caller=who.owner, text=text).added == 1
    assert table()[0][5] is None


def test_a_hundred_thousand_lines(who: cast.Sender) -> None:
    count = 100_000 if db.dialect() == "sqlite" else 20_000  # the same code; only the time differs
    text = "EmailAddress,Reason\n" + "".join(f"user{n}@friends.test,bounce\n" for n in range(count)) + "bad,bounce\n"
    done = suppression_files.import_(caller=who.owner, text=text)
    assert (done.added, done.known, [bad.line for bad in done.invalid]) == (count, 0, [count + 2])
    assert db.rows("SELECT COUNT(*) FROM suppression")[0][0] == count
    assert suppressions.undo(rule_prefix="import", account_id=who.owner.account_id) == count


@pytest.mark.parametrize("cursor", ["x", "-1", "0", "9" * 19, "٣"])
def test_a_cursor_that_is_none(who: cast.Sender, cursor: str) -> None:
    with pytest.raises(errors.Invalid):
        suppression_files.export(caller=who.owner, cursor=cursor)


def test_what_holds_for_a_list_goes_out_and_comes_back(who: cast.Sender) -> None:
    news = lists.add(caller=who.owner, name="News")
    theirs = lists.add(caller=cast.account("stranger"), name="Theirs")
    text = f"EmailAddress,ListID\na@x.test,{news.id}\nb@x.test,{theirs.id}\nc@x.test,x\nd@x.test,\n"
    done = suppression_files.import_(caller=who.owner, text=text)
    assert (done.added, [bad.line for bad in done.invalid]) == (2, [3, 4])
    rows, _ = suppression_files.export(caller=who.owner)
    assert [(row.address, row.list_id, row.domain_id <= 0) for row in rows] == [
        ("a@x.test", news.id, True), ("d@x.test", None, True),
    ]  # fmt: skip
    out = suppression_csv.write(rows, heading=True)
    assert out.splitlines()[1].endswith(f",{news.id}")
    db.in_transaction(lambda tx: tx.execute("DELETE FROM suppression"))
    assert suppression_files.import_(caller=who.owner, text=out).added == 2
    assert [row.list_id for row in suppression_files.export(caller=who.owner)[0]] == [news.id, None]
    both = f"EmailAddress,Domain,ListID\ne@x.test,{who.domain.name},{news.id}\n"
    assert "domain or a list" in suppression_files.import_(caller=who.owner, text=both).invalid[0].error
