"""Numbers that are counted up beside the events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from models import database as db

_CHUNK = 200


def add(tx: db.Transaction, table: str, key: Sequence[str], counts: Counter[tuple[Any, ...]]) -> None:
    """Add to the numbers under their keys, whether they are there or not; called last in a transaction."""
    names = ", ".join(key)
    update = (
        f"ON CONFLICT ({names}) DO UPDATE SET n = n + excluded.n"
        if tx.dialect == "sqlite"
        else "ON DUPLICATE KEY UPDATE n = n + VALUES(n)"
    )
    # Sorted, so that two transactions meet on counters in one order and do not deadlock.
    rows = sorted(counts.items())
    mark = f"({','.join('?' * (len(key) + 1))})"
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        tx.execute(
            f"INSERT INTO {table} ({names}, n) VALUES {','.join([mark] * len(some))} {update}",
            [value for values, n in some for value in (*values, n)],
        )
