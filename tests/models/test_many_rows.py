"""Many rows in few statements: what goes in comes out, and the ids are those of the rows."""

from __future__ import annotations

import pytest

from models import database as db
from models import many_rows
from tests.hostile_texts import TEXTS

_STORABLE = [text for text in TEXTS if "\ud800" not in text] + ["it's", "a\\", "\\'", "100%", "?", "%s", "'; --", "%%"]


@pytest.mark.usefixtures("store")
def test_texts_come_out_as_they_went_in() -> None:
    rows = [(text[:1000], f"digest-{number}") for number, text in enumerate(_STORABLE)]
    ids = db.in_transaction(lambda tx: many_rows.insert(tx, "reply", ("text", "digest"), rows))
    found = dict(db.rows("SELECT id, text FROM reply"))
    assert [found[id_] for id_ in ids] == [text for text, _ in rows]


@pytest.mark.usefixtures("store")
def test_numbers_flags_bytes_and_nothing() -> None:
    everything = bytes(range(256))
    columns = ("content_id", "seq", "body")
    db.in_transaction(
        lambda tx: many_rows.insert(tx, "content_part", columns, [(2**62, True, everything), (-1, 0, b"")])
    )
    assert [(a, b, bytes(c)) for a, b, c in db.rows("SELECT * FROM content_part ORDER BY content_id")] == [
        (-1, 0, b""), (2**62, 1, everything),
    ]  # fmt: skip


@pytest.mark.usefixtures("store")
def test_more_rows_than_one_statement_takes_have_ids_in_order() -> None:
    rows = [(f"mx{number}.test",) for number in range(1_234)]
    ids = db.in_transaction(lambda tx: many_rows.insert(tx, "mx", ("name",), rows))
    found = dict(db.rows("SELECT id, name FROM mx"))
    assert [(found[id_],) for id_ in ids] == rows
    assert db.in_transaction(lambda tx: many_rows.insert(tx, "mx", ("name",), [])) == []


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("count", [199, 200, 201, 650])
def test_columns_that_all_rows_share_are_in_each(count: int) -> None:
    names = ("kind", "size", "codec", "sha256", "created_ms")

    def put(rows: list[tuple[object, ...]]) -> list[int]:
        return db.in_transaction(lambda tx: many_rows.insert(tx, "content", names, rows))

    for at, (kind, size) in enumerate([("same", 7), (None, 7), ("same", None), (None, None)]):
        rows = [(kind or f"p{n}", size or n, bool(n % 2), f"{at}", n or 0) for n in range(count)]
        ids = put(rows)
        found = db.rows(f"SELECT id, {', '.join(names)} FROM content WHERE sha256 = '{at}' ORDER BY id")
        assert found == [(id_, *row) for id_, row in zip(ids, rows, strict=True)]
    alike = [("a", 1, 0, "twins", 5)] * count
    put(alike)
    assert db.rows("SELECT COUNT(*), MIN(size), MAX(size) FROM content WHERE sha256 = 'twins'") == [(count, 1, 1)]


@pytest.mark.usefixtures("store")
def test_large_rows_are_split_into_statements_that_a_server_takes() -> None:
    rows = [(number, 0, b"\xff" * 3_000_000) for number in range(6)]
    db.in_transaction(lambda tx: many_rows.insert(tx, "content_part", ("content_id", "seq", "body"), rows))
    assert db.rows("SELECT COUNT(*), SUM(LENGTH(body)) FROM content_part") == [(6, 18_000_000)]


@pytest.mark.usefixtures("store")
def test_rows_that_are_there_are_left_out_where_that_is_asked_for() -> None:
    insert = many_rows.insert
    db.in_transaction(lambda tx: insert(tx, "mx", ("name",), [("a.test",)]))
    db.in_transaction(lambda tx: insert(tx, "mx", ("name",), [("a.test",), ("b.test",)], ignore=True))
    assert db.rows("SELECT name FROM mx ORDER BY name") == [("a.test",), ("b.test",)]


def test_what_has_no_literal_is_refused() -> None:
    for value in (1.5, ["a"], {"a": 1}, object()):
        with pytest.raises(TypeError):
            many_rows.literal(value)
