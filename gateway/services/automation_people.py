"""What automations know of a person, to be forgotten with them."""

from __future__ import annotations

from models import database as db

_CHUNK = 500


def forget(tx: db.Transaction, *, account_id: int, address: str) -> None:
    """Their runs with all steps, and signals that wait; what was sent stays, like other messages."""
    runs = tx.rows(
        "SELECT r.id FROM automation a JOIN automation_run r ON r.automation_id = a.id AND r.address = ?"
        " WHERE a.account_id = ?",
        (address, account_id),
    )
    for start in range(0, len(runs), _CHUNK):
        some = [row[0] for row in runs[start : start + _CHUNK]]
        marks = ",".join("?" * len(some))
        tx.execute(f"DELETE FROM automation_step WHERE run_id IN ({marks})", some)
        tx.execute(f"DELETE FROM automation_run WHERE id IN ({marks})", some)
    tx.execute("DELETE FROM automation_signal WHERE account_id = ? AND LOWER(email) = ?", (account_id, address))
