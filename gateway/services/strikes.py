"""Strikes: days on which messages to an address failed for a reason that may pass."""

from __future__ import annotations

from collections.abc import Sequence

from gateway import clock
from models import database as db

MAILBOX_FULL, TIME_USED_UP = "mailbox_full", "time_used_up"

STRUCK = (
    "EXISTS (SELECT 1 FROM strike WHERE strike.account_id = delivery.account_id"
    " AND strike.address = LOWER(delivery.rcpt))"
)
"""A column for statements that read deliveries: whether the recipient has strikes, so that only those are reset."""

_IGNORE = {"sqlite": "INSERT OR IGNORE", "mysql": "INSERT IGNORE"}
_KEPT_DAYS = 366
_BATCH = 500


def note(tx: db.Transaction, *, account_id: int, address: str, kind: str, days: int) -> int:
    """Note a strike of today; on how many of the last `days` days there was one, today included.

    Two on one day are one: a server that is in trouble for an afternoon says nothing about an address.
    """
    today = clock.day_number(clock.now_ms())
    tx.execute(  # folded by the database, as `STRUCK` is: the two fold letters beyond ASCII differently
        f"{_IGNORE[tx.dialect]} INTO strike (account_id, address, day, kind) VALUES (?, LOWER(?), ?, ?)",
        (account_id, address, today, kind),
    )
    found = tx.rows(
        "SELECT COUNT(*) FROM strike WHERE account_id = ? AND address = LOWER(?) AND day > ?",
        (account_id, address, today - days),
    )
    return int(found[0][0])


def forget(tx: db.Transaction, *, account_id: int, addresses: Sequence[str]) -> None:
    """Take away the strikes of addresses: something was delivered to them, or they are on the list now."""
    found = sorted(set(addresses))
    if found:
        tx.execute(
            f"DELETE FROM strike WHERE account_id = ? AND address IN ({','.join(['LOWER(?)'] * len(found))})",
            (account_id, *found),
        )


def collect() -> tuple[int, bool]:
    """Delete a batch of strikes that no window reaches any more: how many, and whether there may be more."""
    before = clock.day_number(clock.now_ms()) - _KEPT_DAYS
    keys = db.rows(f"SELECT account_id, address, day FROM strike WHERE day < ? LIMIT {_BATCH}", (before,))
    if not keys:
        return 0, False
    sql = "DELETE FROM strike WHERE account_id = ? AND address = ? AND day = ?"
    db.in_transaction(lambda tx: tx.executemany(sql, keys))
    return len(keys), len(keys) == _BATCH
