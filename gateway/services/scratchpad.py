"""The one way to write to the scratch tables: a single atomic statement, behind the gate on SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from models import database as db


def write(sql: str, params: Sequence[Any] = ()) -> Any:
    """Run one statement with `?` placeholders and return (rows it returned, row count, last insert id).

    Raises `StoreUnavailable` when the scratch database cannot be written now.
    """
    store = db.scratch.obj
    if store.dialect == "mysql":
        return _run(store, sql, params)
    store.gate.acquire()
    try:
        return _run(store, sql, params)
    finally:
        store.gate.release()


def rows(sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Read from the scratch tables with `?` placeholders."""
    found: list[tuple[Any, ...]] = _run(db.scratch.obj, sql, params)[0]
    return found


def _run(store: Any, sql: str, params: Sequence[Any]) -> tuple[list[tuple[Any, ...]], int, int]:
    try:
        cursor = store.execute_sql(store.sql(sql), params)
        found = list(cursor.fetchall()) if cursor.description else []
        return found, cursor.rowcount, cursor.lastrowid or 0
    except peewee.OperationalError as error:
        if db.is_lost(error) or any(text in str(error).lower() for text in ("locked", "disk", "unable to open")):
            raise db.StoreUnavailable("the scratch database cannot be used now") from error
        raise
