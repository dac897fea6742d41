"""How many of a list have which status: kept with the rows they count, so that no one has to count a long list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models import database as db
from models.vocabulary import SubscriberStatus

_ADD = {
    "sqlite": "INSERT INTO list_count (list_id, status, n) VALUES (?, ?, ?)"
    " ON CONFLICT (list_id, status) DO UPDATE SET n = n + excluded.n",
    "mysql": "INSERT INTO list_count (list_id, status, n) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE n = n + VALUES(n)",
}


def change(tx: db.Transaction, list_id: int, changes: Mapping[int, int]) -> None:
    """Add to the counts of a list by status; part of every transaction that makes, moves or deletes subscribers."""
    for status, n in sorted(changes.items()):
        if n:
            tx.execute(_ADD[tx.dialect], (list_id, int(status), n))


def moved(tx: db.Transaction, list_id: int, before: int, after: int) -> None:
    """One subscriber has another status."""
    change(tx, list_id, {int(before): -1, int(after): 1})


def of(list_ids: Sequence[int], tx: db.Transaction | None = None) -> dict[int, dict[SubscriberStatus, int]]:
    """The counts of these lists by status."""
    found: dict[int, dict[SubscriberStatus, int]] = {list_id: {} for list_id in list_ids}
    if not list_ids:
        return found
    read = db.rows if tx is None else tx.rows
    marks = ",".join("?" * len(list_ids))
    for list_id, status, n in read(f"SELECT list_id, status, n FROM list_count WHERE list_id IN ({marks})", list_ids):
        found[list_id][SubscriberStatus(status)] = int(n)
    return found
