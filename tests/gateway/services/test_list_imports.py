"""Files of subscribers: what each row becomes, by line; never half a row, whoever is stopped where."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import models
from gateway import clock, errors, ids, jobs
from gateway.services import engagement, import_files, import_rows, list_counts, list_imports, lists, subscribers
from gateway.services.import_rows import CSV, JSON_LINES
from models import database as db
from models.vocabulary import SubscriberStatus
from tests import cast
from tests.conftest import use_settings

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def who() -> cast.Sender:
    return cast.sender()


@pytest.fixture
def news(who: cast.Sender) -> lists.MailList:
    return lists.add(caller=who.owner, name="News")


def receive(who: cast.Sender, news: lists.MailList, data: bytes | str, **options: Any) -> list_imports.Import:
    raw = data.encode() if isinstance(data, str) else data
    return list_imports.receive(caller=who.owner, list_id=news.id, pieces=iter((raw,)), **({"format": CSV} | options))


def run(who: cast.Sender, news: lists.MailList, data: bytes | str, **options: Any) -> list_imports.Import:
    made = receive(who, news, data, **options)
    list_imports.drain(30)
    return list_imports.find(caller=who.owner, list_id=news.id, uuid=made.uuid)


def people(news: lists.MailList) -> dict[str, dict[str, Any]]:
    rows = db.rows("SELECT email, fields FROM subscriber WHERE list_id = ? ORDER BY id", (news.id,))
    return {email.partition("@")[0]: orjson.loads(fields) for email, fields in rows}


def faults(one: list_imports.Import) -> list[tuple[str, ...]]:
    return [tuple(row) for row in csv.reader(io.StringIO("".join(list_imports.error_file(one))))][1:]


def test_a_file_becomes_subscribers(who: cast.Sender, news: lists.MailList, bells: list[str]) -> None:
    subscribers.add(caller=who.owner, list_id=news.id, email="joe@x.test", fields={"city": "Bern", "age": 3})
    text = "\ufeffE-Mail;First name;city\r\nJane@X.test;Jane;Berlin\r\njoe@x.test;Joe;\r\n\r\njoe@x.test;Joe;\r\n"
    made = receive(who, news, text)
    assert (made.state, made.total, made.done, jobs.IMPORT in bells) == ("queued", 4, 0, True)
    assert models.Subscriber.select().count() == 1
    assert list_imports.drain(30) == 3
    done = list_imports.find(caller=who.owner, list_id=news.id, uuid=made.uuid)
    assert (done.state, done.total, done.done, done.added, done.updated, done.unchanged, done.failed) == (
        "done", 3, 3, 1, 1, 1, 0,
    )  # fmt: skip
    assert people(news) == {
        "joe": {"city": "Bern", "age": 3, "First name": "Joe"},
        "Jane": {"First name": "Jane", "city": "Berlin"},
    }
    assert models.ListImportPart.select().count() == 0
    assert faults(done) == []
    counted = db.rows("SELECT COUNT(*) FROM subscriber WHERE list_id = ? AND status = 1", (news.id,))[0][0]
    assert list_counts.of([news.id])[news.id] == {SubscriberStatus.ACTIVE: counted}


def test_bad_rows_are_told_by_line_and_keep_no_good_one(who: cast.Sender, news: lists.MailList) -> None:
    lines = ["email,name,status", "nobody,N,", 'a@x.test,"two', 'lines, really",', "b@x.test,B,dead", ",C,"]
    lines += ["c@x.test,C,unsubscribed,more", '"d@x.test"x,D,', "e@x.test,E,Unsubscribed", "=f@x.test,F,", "g@x.test"]
    done = run(who, news, "\n".join(lines))
    assert (done.state, done.done, done.added, done.failed) == ("done", 9, 4, 5)
    assert faults(done) == [
        ("2", "email", "nobody", "is not an email address"),
        ("5", "status", "dead", "should be active, unsubscribed or pending"),
        ("6", "email", "", "is missing"),
        ("7", "", "", "has more values than the heading has columns"),
        ("8", "", "", "cannot be read: ',' expected after '\"'"),
    ]
    assert people(news) == {"a": {"name": "two\nlines, really"}, "e": {"name": "E"}, "=f": {"name": "F"}, "g": {}}
    assert [row.address for row in models.Suppression.select()] == ["e@x.test"]


def test_a_thousand_bad_rows_among_good_ones(who: cast.Sender, news: lists.MailList) -> None:
    text = "email\n" + "".join(f"r{n}@x.test\nbad{n}\n" for n in range(1000))
    done = run(who, news, text)
    assert (done.added, done.failed, done.done) == (1000, 1000, 2000)
    found = faults(done)
    assert len(found) == 1000
    assert [int(line) for line, *_ in found] == list(range(3, 2003, 2))
    assert found[999][2] == "bad999"


def test_a_quote_without_an_end_costs_its_own_line(who: cast.Sender, news: lists.MailList) -> None:
    rows = "".join(f"r{n}@x.test,N{n}\n" for n in range(5000))
    done = run(who, news, f'email,name\na@x.test,"open\n{rows}')
    assert (done.added, done.failed) == (5000, 1)
    assert faults(done) == [("2", "", "", "a quoted value that begins here has no end")]


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [("", "utf-8"), ("", "utf-8-sig"), ("ISO-8859-1", "latin-1"), ("windows-1252", "cp1252"), ("utf-16", "utf-16")],
)
def test_encodings(who: cast.Sender, news: lists.MailList, encoding: str, codec: str) -> None:
    euro = "€" if codec != "latin-1" else ""
    done = run(who, news, f"email,Straße\njane@x.test,Zoë{euro}\n".encode(codec), encoding=encoding)
    assert (done.added, people(news)) == (1, {"jane": {"Straße": f"Zoë{euro}"}})


def test_what_is_not_utf8_is_told_with_its_column(who: cast.Sender, news: lists.MailList) -> None:
    done = run(who, news, b"email,name\na@x.test,Zo\xeb\nb@x.test,B\x00\nc@x.test,C\n")
    assert done.added == 1
    assert [row[:2] + row[3:] for row in faults(done)] == [
        ("2", "name", "is not UTF-8: say what encoding the file has"), ("3", "name", "contains NUL"),
    ]  # fmt: skip


def test_headings_may_mean_something_else(who: cast.Sender, news: lists.MailList) -> None:
    mapping = {"Adresse": "email", "VORNAME": "first_name", "intern": None}
    done = run(who, news, "adresse,Vorname,intern,Ort\na@x.test,A,secret,Bern\n", mapping=mapping)
    assert (done.added, people(news)) == (1, {"a": {"first_name": "A", "Ort": "Bern"}})


def test_one_address_a_line_without_a_heading(who: cast.Sender, news: lists.MailList) -> None:
    done = run(who, news, "a@x.test\nb@x.test\nnobody\n")
    assert (done.added, done.failed, faults(done)[0][0]) == (2, 1, "3")


@pytest.mark.parametrize(
    ("data", "options", "field"),
    [
        (b"", {}, "file"),
        (b" \r\n \n", {}, "file"),
        (b"\xef\xbb\xbf", {}, "file"),
        (b"name,city\nJane,Berlin\n", {}, "file"),
        (b"email,address\na,b\n", {}, "file"),
        (b"email,a,a\n", {}, "file"),
        (b"email,name\n", {"mapping": {"nmae": "x"}}, "mapping"),
        (b"email," + b"t" * 65 + b"\n", {}, "file"),
        (b"email" + b",".join(b"c%d" % n for n in range(502)) + b"\n", {}, "file"),
        (b"email,Stra\xdfe\n", {}, "encoding"),
        (b"email\na@x.test\n", {"encoding": "klingon"}, "encoding"),
        (b"email\na@x.test\n", {"encoding": "hex"}, "encoding"),
        (b"email\n\xff\xfe\x00", {"encoding": "utf-16-le"}, "encoding"),
        (b"email\n", {"encoding": "utf-16"}, "encoding"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_that_cannot_be_is_refused_whole(
    who: cast.Sender, news: lists.MailList, data: bytes, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(errors.Invalid) as refusal:
        receive(who, news, data, **options)
    assert refusal.value.data["field"] == field
    assert models.ListImport.select().count() == models.ListImportPart.select().count() == 0


def test_a_file_that_is_too_large_or_breaks_off_leaves_nothing(
    who: cast.Sender, news: lists.MailList, tmp_path: Path
) -> None:
    use_settings(tmp_path, IMPORT_SIZE=str(2**20))
    with pytest.raises(errors.TooLarge):
        receive(who, news, b"email\n" + b"a@x.test\n" * 200_000)

    def broken() -> Iterator[bytes]:
        yield b"email\n" + b"a@x.test\n" * 100_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        list_imports.receive(caller=who.owner, list_id=news.id, pieces=broken(), format=CSV)
    assert models.ListImport.select().count() == models.ListImportPart.select().count() == 0


def test_lines_of_json(who: cast.Sender, news: lists.MailList) -> None:
    text = (
        '{"email": "a@x.test", "fields": {"age": 3}, "city": "Bern"}\n\n"b@x.test"\n{"email": "c@x.test"\n[1]\n'
        '{"Mail": "d@x.test", "status": "unsubscribed"}\n{"email": 5}\n{"email": "e@x.test", "status": 7}\n'
    )
    done = run(who, news, text, format=JSON_LINES, mapping={"mail": "email"})
    assert (done.added, done.failed) == (3, 4)
    assert people(news) == {"a": {"age": 3, "city": "Bern"}, "b": {}, "d": {}}
    assert [(line, column) for line, column, *_ in faults(done)] == [
        ("4", ""),
        ("5", ""),
        ("7", "email"),
        ("8", "status"),
    ]


def test_fields_that_are_too_many_are_a_fault_of_their_row(who: cast.Sender, news: lists.MailList) -> None:
    done = run(who, news, "email,a\nx@x.test," + "a" * 17_000 + "\ny@x.test,b\n")
    assert (done.added, faults(done)[0][0], "bytes" in faults(done)[0][3]) == (1, "2", True)


def test_whoever_is_stopped_between_batches_goes_on(
    who: cast.Sender, news: lists.MailList, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every batch: killed before it is committed, and by the clock behind it."""
    monkeypatch.setattr(list_imports, "BATCH", 7)
    monkeypatch.setattr(import_files, "PART_SIZE", 64)
    monkeypatch.setattr(list_imports, "_LEASE_MS", -1)
    dice = random.Random(5)
    wanted = {f"r{n}": {"name": f"N\n{n}" * dice.randrange(1, 4)} for n in range(100)}
    rows = [f'{name}@x.test,"{fields["name"]}"' for name, fields in wanted.items()]
    rows[10:10] = ["bad", "r0@x.test,", "worse"]
    made = receive(who, news, "email,name\n" + "\n".join(rows))
    put, calls = subscribers.put, 0

    def dies(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        found = put(*args, **options)
        if calls % 3 == 0:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(subscribers, "put", dies)
    for turn in range(200):
        try:
            list_imports.drain(-1 if turn % 2 else 30)
        except KeyboardInterrupt:
            continue
        now = list_imports.find(caller=who.owner, list_id=news.id, uuid=made.uuid)
        assert now.added == models.Subscriber.select().count()
        if now.state == "done":
            break
    assert (now.state, now.added, now.unchanged, now.failed, now.done) == ("done", 100, 1, 2, 103)
    assert people(news) == wanted
    assert len(faults(now)) == 2


def test_only_one_worker_has_a_file(who: cast.Sender, news: lists.MailList) -> None:
    made = receive(who, news, "email\na@x.test\n")
    due = db.rows("SELECT due_ms FROM list_import")[0][0]
    first, second = list_imports._claim(made.id, due), list_imports._claim(made.id, due)
    assert first is not None
    assert second is None
    db.database.execute_sql("UPDATE list_import SET fence = fence + 1")
    rows = list(list_imports._rows(first))
    assert list_imports._apply(first, who.owner, rows, over=True, late=False) is False
    assert models.Subscriber.select().count() == 0


def test_a_row_that_the_database_does_not_take_keeps_no_other(
    who: cast.Sender, news: lists.MailList, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = subscribers.put

    def picky(tx: Any, *, items: Any, **options: Any) -> Any:
        if any(one.address.startswith("poison") for one in items):
            raise ValueError("the database does not like it")
        return put(tx, items=items, **options)

    monkeypatch.setattr(subscribers, "put", picky)
    done = run(who, news, "email\na@x.test\npoison@x.test\nb@x.test\n")
    assert (done.state, done.added, done.failed) == ("done", 2, 1)
    assert faults(done) == [("3", "", "", "cannot be stored")]


def test_a_list_that_is_deleted_meanwhile(who: cast.Sender, news: lists.MailList) -> None:
    receive(who, news, "email\na@x.test\n")
    lists.delete(caller=who.owner, list_id=news.id)
    list_imports.drain(5)
    row = models.ListImport.get()
    assert (row.state, row.cause, row.due_ms) == ("failed", "the list was deleted", None)
    assert models.ListImportPart.select().count() == 0


def test_what_is_old_goes(who: cast.Sender, news: lists.MailList) -> None:
    run(who, news, "email\nbad\n")
    models.ListImport.update(ended_ms=clock.now_ms() - list_imports.KEEP_MS - 1).execute()
    models.ListImport.create(
        uuid=ids.new_uuid(), account_id=who.owner.account_id, list_id=news.id, state="receiving", format="csv",
        created_ms=1,
    )  # fmt: skip
    models.ListImportPart.create(import_id=999_999, seq=0, body=b"x")
    while list_imports.collect()[1]:
        pass
    for model in (models.ListImport, models.ListImportPart, models.ListImportError):
        assert model.select().count() == 0, model
    engagement.collect()


def test_rows_know_where_the_next_one_begins() -> None:
    """From any of these places the rest of the file reads like the rest of the rows."""
    text = b'email,name\na@x.test,"1\n2"\n\nbad,"x"y\nb@x.test,B\n"open,\nc@x.test,C'
    head = import_rows.head(text, {})
    whole = list(import_rows.rows([text], format=CSV, head=head, mapping={}))
    assert [(row.line, row.new is not None) for row in whole] == [
        (2, True),
        (5, False),
        (6, True),
        (7, False),
        (8, True),
    ]
    for number, row in enumerate(whole):
        for size in (1, 3, 1000):
            rest = text[row.end :]
            pieces = [rest[start : start + size] for start in range(0, len(rest), size)]
            found = list(import_rows.rows(pieces, format=CSV, head=head, mapping={}, at=row.end, line=row.next_line))
            assert found == whole[number + 1 :]


def test_every_byte_is_something_in_latin_1(who: cast.Sender, news: lists.MailList) -> None:
    data = b"email,name\njane@x.test,a" + bytes(range(0x80, 0x100)) + b"z\n"
    done = run(who, news, data, encoding="iso-8859-1")
    name = people(news)["jane"]["name"]
    assert (done.added, len(name), name[1], name[-2]) == (1, 130, "€", "ÿ")
