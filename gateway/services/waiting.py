"""Deliveries that nobody holds: finding a batch of them, and ending it with an event each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import clock
from gateway.services import ledger
from gateway.services.ledger import Fact
from models import database as db
from models.vocabulary import DeliveryState, EventKind

BATCH = 500
"""Deliveries of one transaction."""

GAP_S = 0.002
"""Seconds between two transactions: the write lock is not fair."""

BY_LANE = {"sqlite": "INDEXED BY delivery_lane_id_due_ms", "mysql": "FORCE INDEX (delivery_lane_id_due_ms)"}
EVENT_OF = {DeliveryState.FAILED: EventKind.FAILED, DeliveryState.CANCELED: EventKind.CANCELED}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that is to be ended; `was` is CLAIMED where the holder vanished."""

    id: int
    message_id: int
    account_id: int
    domain_id: int
    rcpt: str
    was: int


def find(tx: db.Transaction, where: str, values: Sequence[int], *, order: str, index: str = "") -> list[Waiting]:
    """Up to `BATCH` deliveries that nobody holds now, locked; what is being claimed in this moment is left out."""
    lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "mysql" else ""
    return [
        Waiting(*row)
        for row in tx.rows(
            f"SELECT id, message_id, account_id, domain_id, rcpt, state FROM delivery {index} WHERE {where}"
            f" AND due_ms IS NOT NULL AND (state <> ? OR due_ms <= ?) ORDER BY {order} LIMIT ?{lock}",
            (*values, int(DeliveryState.CLAIMED), clock.now_ms(), BATCH),
        )
    ]


def end(tx: db.Transaction, found: Sequence[Waiting], state: DeliveryState, reason: str) -> None:
    """End the deliveries as FAILED or CANCELED with an event each; that a queue was cleared no webhook hears.

    The lease of a claim that is among them ran out: whether that attempt arrived is in doubt, as its event says.
    """
    if not found:
        return
    now = clock.now_ms()
    messages = sorted({row.message_id for row in found})
    said = {
        message_id: (orjson.loads(tags or "[]"), origin)
        for message_id, tags, origin in tx.rows(
            f"SELECT id, tags, origin FROM message WHERE id IN ({marks(messages)})", messages
        )
    }
    tx.execute(
        f"UPDATE delivery SET state = ?, due_ms = NULL, lane_id = NULL WHERE id IN ({marks(found)})",
        (int(state), *(row.id for row in found)),
    )
    data: dict[str, Any] = {"reason": reason}
    doubtful = data | {"in_doubt": True}
    ledger.record(
        tx,
        [
            Fact(
                row.account_id, row.domain_id, EVENT_OF[state], now, row.message_id, row.id, row.rcpt,
                data=doubtful if row.was == DeliveryState.CLAIMED else data,
                tags=said[row.message_id][0] if row.message_id in said else [],
                origin=said[row.message_id][1] if row.message_id in said else None,
                told=state is not DeliveryState.FAILED,  # clearing a queue is nobody's refusal
            )
            for row in found
        ],
    )  # fmt: skip


def marks(values: Sequence[object]) -> str:
    """The placeholders of an `IN` list."""
    return ",".join("?" * len(values))
