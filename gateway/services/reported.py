"""Deliveries that reports are about, locked, with what was told of them before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.services import strikes
from models import database as db
from models.vocabulary import DeliveryState, EventKind

_CHUNK = 500
_TELLING = (EventKind.DELIVERED, EventKind.BOUNCED, EventKind.FAILED, EventKind.COMPLAINED)


@dataclass(slots=True)
class Reported:
    """A delivery as the transaction finds it, and as reports change it; `known` is what was told of it before."""

    id: int
    message_id: int
    account_id: int
    domain_id: int
    rcpt: str
    state: DeliveryState
    struck: bool
    tags: list[str]
    metadata: dict[str, Any] | None
    origin: str | None
    since_ms: int
    list_id: int
    known: set[EventKind] = field(default_factory=set)


def lock(tx: db.Transaction, *, account_id: int, delivery_ids: Sequence[int]) -> dict[int, Reported]:
    """The account's of those deliveries, sorted ids being given, locked in their order.

    Two calls, or a call and an outcome, so come one after the other.
    """
    found: dict[int, Reported] = {}
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    for start in range(0, len(delivery_ids), _CHUNK):
        some = delivery_ids[start : start + _CHUNK]
        marks = ",".join("?" * len(some))
        rows = tx.rows(
            f"SELECT id, message_id, account_id, domain_id, rcpt, state, {strikes.STRUCK} FROM delivery"
            f" WHERE id IN ({marks}) AND account_id = ? ORDER BY id{lock}",
            (*some, account_id),
        )
        messages = sorted({row[1] for row in rows})
        said = {
            id_: (orjson.loads(tags or "[]"), orjson.loads(metadata) if metadata else None, origin, since, headers)
            for id_, tags, metadata, origin, since, headers in (
                tx.rows(
                    "SELECT id, tags, metadata, origin, CASE WHEN send_at_ms > created_ms THEN send_at_ms"
                    f" ELSE created_ms END, headers FROM message WHERE id IN ({','.join('?' * len(messages))})",
                    messages,
                )
                if messages
                else ()
            )
        }
        for id_, message_id, owner_id, domain_id, rcpt, state, struck in rows:
            tags, metadata, origin, since_ms, headers = said.get(message_id, ([], None, None, 0, None))
            list_id = int((orjson.loads(headers) if headers else {}).get("list", 0))
            found[id_] = Reported(
                id_, message_id, owner_id, domain_id, rcpt, DeliveryState(state), bool(struck), tags, metadata,
                origin, since_ms, list_id,
            )  # fmt: skip
        # In this order: the other way round the whole log would be read.
        join = "STRAIGHT_JOIN" if tx.dialect == "mysql" else "CROSS JOIN"
        for id_, kind in tx.rows(
            f"SELECT d.id, e.kind FROM delivery d {join} event e ON e.message_id = d.message_id"
            f" AND e.delivery_id = d.id WHERE d.id IN ({marks}) AND e.kind IN ({','.join('?' * len(_TELLING))})",
            (*some, *map(int, _TELLING)),
        ):
            if id_ in found:
                found[id_].known.add(EventKind(kind))
    return found
