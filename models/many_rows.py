"""Many rows in few statements: the quickest way that each of the two databases has."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models import database as db
from models.database import Transaction

_STATEMENT_ROWS = 500
_SQLITE_ROWS = 200  # of one statement: less work for each, and another thread gets its turn seldom, not at every row
_SQLITE_VALUES = 32_766  # SQLITE_MAX_VARIABLE_NUMBER since SQLite 3.32
_STATEMENT_BYTES = 4 * 1024 * 1024  # well below the least max_allowed_packet, 16 MB
_KEEP_FROM = 64  # characters from which a literal is remembered within one call


def insert(
    tx: Transaction,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    computed: Mapping[str, str] | None = None,
    ignore: bool = False,
) -> list[int]:
    """Insert all rows and return their auto-increment ids in order; without meaning where `ignore` left some out.

    `computed` are further columns with the SQL expression that each row gets. SQLite's one writer and a server's
    one statement each allot one run of ids.
    """
    if not rows:
        return []
    quote = '"' if tx.dialect == "sqlite" else "`"
    names = ", ".join(f"{quote}{name}{quote}" for name in (*columns, *(computed or {})))
    more = "".join(f",{expression}" for expression in (computed or {}).values())
    if tx.dialect == "sqlite":
        head = f"INSERT {'OR IGNORE ' if ignore else ''}INTO {table} ({names}) VALUES "
        return _insert_sqlite(tx, head, more, rows)
    head = f"INSERT {'IGNORE ' if ignore else ''}INTO {table} ({names}) VALUES "
    ids: list[int] = []
    for count, values in _pieces(rows, more):
        first = int(tx.execute_text(head + values).lastrowid or 0)
        step = increment() if count > 1 else 1
        ids.extend(range(first, first + count * step, step))
    return ids


def _alike(columns: Sequence[Sequence[Any]]) -> tuple[bool, ...]:
    """Of each column whether it has one value in all rows: that is bound, or written out, once."""
    return tuple([column.count(column[0]) == len(column) for column in columns])


def _insert_sqlite(tx: Transaction, head: str, more: str, rows: Sequence[Sequence[Any]]) -> list[int]:
    size = min(_SQLITE_ROWS, _SQLITE_VALUES // len(rows[0]))
    whole = len(rows) - len(rows) % size
    if whole:
        columns = list(zip(*rows, strict=True))
        alike = _alike(columns)
        once = [column[0] for column, same in zip(columns, alike, strict=True) if same]
        others = [column for column, same in zip(columns, alike, strict=True) if not same]
        sql = head + _values(alike, more, size)
        for start in range(0, whole, size):
            some = [column[start : start + size] for column in others]
            tx.execute(sql, once + list(itertools.chain.from_iterable(zip(*some, strict=True))))
    if whole < len(rows):
        tx.executemany(f"{head}({'?,' * (len(rows[0]) - 1)}?{more})", list(rows[whole:]))
    last = int(tx.rows("SELECT last_insert_rowid()")[0][0])
    return list(range(last - len(rows) + 1, last + 1))


@functools.lru_cache(maxsize=64)
def _values(alike: Sequence[bool], more: str, size: int) -> str:
    """The marks of so many rows: the first numbers are of what all have, the others count on from row to row."""
    once = itertools.count(1)
    shared = [f"?{next(once)}" if same else "" for same in alike]
    return ",".join(["(" + ",".join([mark or f"?{next(once)}" for mark in shared]) + more + ")" for _ in range(size)])


def _pieces(rows: Sequence[Sequence[Any]], more: str) -> Iterator[tuple[int, str]]:
    """(number of rows, the text of their values), each piece small enough for one statement."""
    known: dict[str, str] = {}
    columns = list(zip(*rows, strict=True))
    fixed = [literal(column[0]) if same else None for column, same in zip(columns, _alike(columns), strict=True)]
    texts: list[str] = []
    size = 0
    for row in rows:
        text = ",".join([_literal(value, known) if same is None else same for value, same in zip(row, fixed)])  # noqa: B905
        text = f"({text}{more})"
        # A character has up to four bytes.
        if texts and (len(texts) == _STATEMENT_ROWS or size + 4 * len(text) > _STATEMENT_BYTES):
            yield len(texts), ",".join(texts)
            texts, size = [], 0
        texts.append(text)
        size += len(text) if text.isascii() else 4 * len(text)
    yield len(texts), ",".join(texts)


def _literal(value: Any, known: dict[str, str]) -> str:
    if value.__class__ is str:
        if len(value) < _KEEP_FROM:
            return literal(value)
        found = known.get(value)
        if found is None:
            found = known[value] = literal(value)
        return found
    return literal(value)


def literal(value: Any) -> str:
    """A value as MySQL text: the driver's own escaping goes through texts character by character.

    Sessions have no NO_BACKSLASH_ESCAPES and speak UTF-8, so the backslash and the quote are all that has a meaning
    inside quotes. Raises `TypeError` for what is no whole number, text, bytes or None.
    """
    kind = value.__class__
    if kind is str:
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if kind is int:
        return str(value)
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return "X'" + value.hex() + "'"
    if isinstance(value, int):  # a flag or a word of the vocabulary
        return str(int(value))
    raise TypeError(f"no literal for {kind.__name__}")


@functools.cache
def increment() -> int:
    """The step between two ids of one statement on the server in use."""
    return int(db.database.execute_sql("SELECT @@auto_increment_increment").fetchone()[0])
