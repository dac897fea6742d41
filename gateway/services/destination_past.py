"""What all processes saw of destinations, minute by minute: a small roll-up, of which the last hour is kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gateway import clock
from gateway.services import scratchpad
from gateway.services.breaker import Minute
from models import database as db

MINUTES = 60
"""How far back the past goes."""

_KEPT = MINUTES + 10
_BATCH = 200
_ADD = {
    "sqlite": " ON CONFLICT (target, minute) DO UPDATE SET taken = taken + excluded.taken,"
    " refused = refused + excluded.refused",
    "mysql": " ON DUPLICATE KEY UPDATE taken = taken + VALUES(taken), refused = refused + VALUES(refused)",
}


def minute_of(at_ms: int) -> int:
    return at_ms // 60_000


def add(seen: Mapping[tuple[str, int], tuple[int, int]]) -> None:
    """Add what this process saw: (target, minute) → messages taken, and refused for good.

    Raises `StoreUnavailable`.
    """
    rows = sorted((*key, *counts) for key, counts in seen.items())  # in one order: writers must not wait in a ring
    for start in range(0, len(rows), _BATCH):
        some = rows[start : start + _BATCH]
        marks = ", ".join(["(?, ?, ?, ?)"] * len(some))
        scratchpad.write(
            f"INSERT INTO destination_minute (target, minute, taken, refused) VALUES {marks}{_ADD[db.dialect()]}",
            [value for row in some for value in row],
        )


def read(targets: Collection[str]) -> dict[str, tuple[Minute, ...]]:
    """The last hour of these, the oldest minute first; raises `StoreUnavailable`."""
    found: dict[str, list[Minute]] = {target: [] for target in targets}
    names = sorted(found)
    since = minute_of(clock.now_ms()) - MINUTES
    for start in range(0, len(names), _BATCH):
        some = names[start : start + _BATCH]
        rows = scratchpad.rows(
            "SELECT target, minute, taken, refused FROM destination_minute"
            f" WHERE target IN ({', '.join('?' * len(some))}) AND minute >= ? ORDER BY minute",
            (*some, since),
        )
        for target, minute, taken, refused in rows:
            found[target].append(Minute(minute, int(taken), int(refused)))
    return {target: tuple(minutes) for target, minutes in found.items()}


def oldest_kept() -> int:
    """The first minute that is still kept."""
    return minute_of(clock.now_ms()) - _KEPT
