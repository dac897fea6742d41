"""Ending all that waits of a domain, however much that is: one durable row condemns it, workers then end it.

From the commit of that row on nothing condemned leaves any more: who claims it meanwhile ends it. The row goes
when nothing condemned is left, so whoever is killed in between has only left work for the next.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import clock, jobs
from gateway.services import expansions, lanes, waiting
from gateway.services.lanes import Claimed
from gateway.services.waiting import BY_LANE, Waiting, marks
from models import database as db
from models.vocabulary import DeliveryState, LaneKind

MOST_AT_ONCE = 2_000
SECONDS_AT_ONCE = 1.0
"""What is ended while the caller waits; the rest is ended behind the answer."""

_COLUMNS = "id, account_id, domain_id, upto, spared, state, reason"


@dataclass(frozen=True, slots=True)
class _Clearance:
    """Condemned is what waits of the domain up to the delivery `upto`, but for what was in flight: `spared`."""

    id: int
    account_id: int
    domain_id: int
    upto: int
    spared: frozenset[int]
    state: DeliveryState
    reason: str

    def hits(self, row: Claimed) -> bool:
        return row.domain_id == self.domain_id and row.id <= self.upto and row.id not in self.spared

    @property
    def condition(self) -> str:
        """In SQL; the numbers are our own."""
        but = f" AND id NOT IN ({','.join(map(str, sorted(self.spared)))})" if self.spared else ""
        return f"lane_id = ? AND id <= ?{but}"


@dataclass(frozen=True, slots=True)
class Begun:
    """A clearance, and how many deliveries it ends; those that lists have still to make are about counted."""

    id: int
    deliveries: int


def begin(tx: db.Transaction, *, account_id: int, domain_id: int, state: DeliveryState, reason: str) -> Begun:
    """Part of the deciding transaction: from its commit on, what waits of the domain counts as ended in `state`.

    What is accepted afterwards and what a worker holds now is not touched.
    """
    now = clock.now_ms()
    to_come = expansions.to_come(tx, domain_id=domain_id)
    expansions.end(tx, state=state, reason=reason, domain_id=domain_id)
    newest = int(tx.rows("SELECT MAX(id) FROM delivery")[0][0] or 0)
    spared: list[int] = []
    index = BY_LANE[tx.dialect]
    all_lanes = _lanes(tx, account_id, domain_id)
    for lane_id in all_lanes:
        spared += (
            row_id
            for (row_id,) in tx.rows(
                f"SELECT id FROM delivery {index} WHERE lane_id = ? AND due_ms > ? AND due_ms <= ? AND state = ?",
                (lane_id, now, now + 2 * lanes.LEASE_MS, int(DeliveryState.CLAIMED)),
            )
        )
    made = tx.execute(
        "INSERT INTO clearance (account_id, domain_id, upto, spared, state, reason, created_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (account_id, domain_id, newest, orjson.dumps(spared).decode(), int(state), reason[:255], now),
    )
    # Counted here, where nobody has ended any of it yet.
    clearance = _Clearance(int(made.lastrowid), account_id, domain_id, newest, frozenset(spared), state, reason)
    sql = f"SELECT COUNT(*) FROM delivery {index} WHERE {clearance.condition} AND due_ms IS NOT NULL"
    waiting_now = sum(int(tx.rows(sql, (lane_id, newest))[0][0]) for lane_id in all_lanes)
    return Begun(clearance.id, to_come + waiting_now)


def finish_some(begun: Begun) -> int:
    """End what a request has time for, ring for the rest; returns how many deliveries the whole clearance ends."""
    _advance(begun.id, end=time.monotonic() + SECONDS_AT_ONCE, most=MOST_AT_ONCE)
    if db.rows("SELECT 1 FROM clearance WHERE id = ?", (begun.id,)):
        jobs.ring(jobs.CLEAR)
    return begun.deliveries


def drain(seconds: float) -> int:
    """End what is condemned for up to `seconds`; returns how many deliveries were ended.

    Safe to run anywhere, at any time, twice at once.
    """
    end = time.monotonic() + seconds
    return sum(_advance(row_id, end=end) for (row_id,) in db.rows("SELECT id FROM clearance ORDER BY id"))


def refuse(claimed: Sequence[Claimed]) -> list[Claimed]:
    """End what is condemned of a batch that was claimed just now; returns those rows: they must not be sent."""
    hit: list[Claimed] = []
    for found in db.rows(f"SELECT {_COLUMNS} FROM clearance ORDER BY id"):
        clearance = _read(found)
        rows = [row for row in claimed if clearance.hits(row) and row not in hit]
        if rows:
            db.in_transaction(lambda tx, rows=rows, clearance=clearance: _refuse(tx, rows, clearance))  # type: ignore[misc]
            hit += rows
    return hit


def _refuse(tx: db.Transaction, rows: Sequence[Claimed], clearance: _Clearance) -> None:
    # A holder who lost its lease must not end what another holds.
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    fences = dict(
        tx.rows(
            f"SELECT id, fence FROM delivery WHERE id IN ({marks(rows)}) AND state = ? ORDER BY id{lock}",
            (*sorted(row.id for row in rows), int(DeliveryState.CLAIMED)),
        )
    )
    mine = [
        Waiting(row.id, row.message_id, row.account_id, row.domain_id, row.rcpt, int(row.was))
        for row in rows
        if fences.get(row.id) == row.fence
    ]
    waiting.end(tx, mine, clearance.state, clearance.reason)


def _advance(clearance_id: int, *, end: float, most: int | None = None) -> int:
    """End batches until nothing is left that can be ended now, `end` has come or `most` is reached."""
    total = 0
    while time.monotonic() < end and (most is None or total < most):
        count = db.in_transaction(lambda tx: _batch(tx, clearance_id))
        total += count
        if not count:
            break
        time.sleep(waiting.GAP_S)
    return total


def _batch(tx: db.Transaction, clearance_id: int) -> int:
    """One batch: how many were ended. The clearance goes with the last of them."""
    found = tx.rows(f"SELECT {_COLUMNS} FROM clearance WHERE id = ?", (clearance_id,))
    if not found:
        return 0
    clearance = _read(found[0])
    all_lanes = _lanes(tx, clearance.account_id, clearance.domain_id)
    index = BY_LANE[tx.dialect]
    for lane_id in all_lanes:
        # What is ended has left the lane, so each batch begins at its front.
        rows = waiting.find(tx, clearance.condition, (lane_id, clearance.upto), order="due_ms", index=index)
        if rows:
            waiting.end(tx, rows, clearance.state, clearance.reason)
            return len(rows)
    for lane_id in all_lanes:
        # What is being claimed in this moment its holder will refuse, as long as the clearance is there.
        sql = f"SELECT 1 FROM delivery {index} WHERE {clearance.condition} AND due_ms IS NOT NULL LIMIT 1"
        if tx.rows(sql, (lane_id, clearance.upto)):
            return 0
    tx.execute("DELETE FROM clearance WHERE id = ?", (clearance_id,))
    return 0


def _lanes(tx: db.Transaction, account_id: int, domain_id: int) -> list[int]:
    found = tx.rows(
        "SELECT id FROM lane WHERE kind = ? AND account_id = ? AND domain_id = ? ORDER BY id",
        (int(LaneKind.DELIVER), account_id, domain_id),
    )
    return [lane_id for (lane_id,) in found]


def _read(row: Sequence[Any]) -> _Clearance:
    row_id, account_id, domain_id, upto, spared, state, reason = row
    return _Clearance(
        row_id, account_id, domain_id, upto, frozenset(orjson.loads(spared)), DeliveryState(state), reason
    )
