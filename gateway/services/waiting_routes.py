"""Deliveries that wait for a sending server: made due at once when their account's servers or rules change."""

from __future__ import annotations

import time

from gateway import clock, jobs
from gateway.services.waiting import BATCH, BY_LANE, GAP_S, marks
from models import database as db
from models.vocabulary import DeliveryState, LaneKind

MARK = '"gate":"route"'
"""What a verdict has that waits for a server."""

SECONDS = 2.0
"""How long the one who changes something waits for it; what is left is looked at again at its own time."""


def let_go(account_id: int) -> int:
    """Make them due, in short transactions; how many those were."""
    end = time.monotonic() + SECONDS
    total = 0
    lanes = db.rows(
        "SELECT id FROM lane WHERE kind = ? AND account_id = ? AND route LIKE '%srv:%' ORDER BY id",
        (int(LaneKind.DELIVER), account_id),
    )
    for (lane_id,) in lanes:
        count = BATCH
        while count == BATCH and time.monotonic() < end:
            count = db.in_transaction(lambda tx, lane_id=lane_id: _batch(tx, lane_id))  # type: ignore[misc]
            total += count
            if count == BATCH:
                time.sleep(GAP_S)
    return total


def _batch(tx: db.Transaction, lane_id: int) -> int:
    now = clock.now_ms()
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    found = [
        row[0]
        for row in tx.rows(
            f"SELECT id FROM delivery {BY_LANE[tx.dialect]} WHERE lane_id = ? AND due_ms > ? AND state IN (?, ?)"
            f" AND waiting LIKE ? ORDER BY due_ms LIMIT {BATCH}{lock}",
            (lane_id, now, int(DeliveryState.QUEUED), int(DeliveryState.DEFERRED), f"%{MARK}%"),
        )
    ]
    if found:
        tx.execute(f"UPDATE delivery SET due_ms = ?, waiting = NULL WHERE id IN ({marks(found)})", (now, *found))
        tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
    return len(found)
