"""Signs of life: heartbeats of the parts, and the figures that tell whether mail moves."""

from __future__ import annotations

import os
import socket
from typing import Any

from gateway import clock
from gateway.services import delivery_times, scratchpad, shaping
from models import database as db
from models.vocabulary import DeliveryState, EventKind, LaneKind

ALIVE_MS = 10_000
"""A heartbeat older than this is a dead part."""

DELIVERING = "deliver."
"""How the name begins under which each process that delivers beats: limits are shared out between them."""

_BEAT_SQLITE = (
    "INSERT INTO heartbeat (host, part, pid, at_ms) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (host, part) DO UPDATE SET pid = excluded.pid, at_ms = excluded.at_ms"
)
_BEAT_MYSQL = (
    "INSERT INTO heartbeat (host, part, pid, at_ms) VALUES (?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE pid = VALUES(pid), at_ms = VALUES(at_ms)"
)

# Both walk only live rows: the index on (lane_id, due_ms) has no history but NULLs at its start.
_BY_STATE = "SELECT state, COUNT(*) FROM delivery WHERE lane_id IS NOT NULL GROUP BY state"
_OLDEST = (
    "SELECT MIN(first) FROM (SELECT (SELECT d.due_ms FROM delivery d WHERE d.lane_id = l.id AND d.due_ms IS NOT NULL"
    " ORDER BY d.due_ms LIMIT 1) AS first FROM lane l WHERE l.kind = ? AND l.paused_until_ms <= ?) AS firsts"
)
_EVENTS = "SELECT kind, SUM(n) FROM counter WHERE tag = '' GROUP BY kind"
_BACKLOG = (
    "SELECT COALESCE(SUM((SELECT COUNT(*) FROM webhook_delivery d WHERE d.webhook_id = w.id"
    " AND d.due_ms IS NOT NULL)), 0) FROM webhook w"
)


def beat(part: str) -> None:
    """Write a sign of life of `part` on this host; raises `StoreUnavailable`."""
    statement = _BEAT_MYSQL if db.dialect() == "mysql" else _BEAT_SQLITE
    scratchpad.write(statement, (socket.gethostname(), part, os.getpid(), clock.now_ms()))


def silent(expected: list[str]) -> list[str]:
    """Those of the expected parts that show no sign of life on this host now."""
    alive = {
        part
        for (part,) in scratchpad.rows(
            "SELECT part FROM heartbeat WHERE host = ? AND at_ms > ?",
            (socket.gethostname(), clock.now_ms() - ALIVE_MS),
        )
    }
    return [part for part in expected if part not in alive]


def delivering() -> int:
    """How many processes deliver, on all hosts; each beats as `deliver.` and its number. 0 where none says so."""
    found = scratchpad.rows(
        "SELECT COUNT(*) FROM heartbeat WHERE part LIKE ? AND at_ms > ?",
        (f"{DELIVERING}%", clock.now_ms() - ALIVE_MS),
    )
    return int(found[0][0])


def check_store() -> None:
    """Raises `StoreUnavailable` unless the database answers."""
    db.rows("SELECT 1")


def snapshot() -> dict[str, Any]:
    """The figures of the moment.

    `queue` {state: deliveries waiting}, `overdue_seconds` of the oldest delivery that is due and not yet
    claimed, `events` {word: total}, `webhook_backlog` rows waiting, `limits` that hold and how many destinations
    are `paused`, `handed_over` to providers that owe word, `delivery_times` since yesterday.
    """
    now = clock.now_ms()
    queue = {DeliveryState(state).name.lower(): int(n) for state, n in db.rows(_BY_STATE)}
    oldest = db.rows(_OLDEST, (LaneKind.DELIVER, now))[0][0]
    return {
        "queue": queue,
        "overdue_seconds": max(0, now - int(oldest)) / 1000 if oldest is not None else 0.0,
        "events": {EventKind(kind).word: int(n) for kind, n in db.rows(_EVENTS)},
        "webhook_backlog": int(db.rows(_BACKLOG)[0][0]),
        "handed_over": int(db.rows("SELECT COUNT(*) FROM handed_over")[0][0]),
        "delivery_times": delivery_times.of_all(),
        **shaping.figures(),
    }
