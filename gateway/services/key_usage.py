"""What each API key was used for, by day: counted in memory and written in batches, never by a request."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from gateway import clock
from gateway.services import scratchpad
from models import database as db

FLUSH_S = 5.0
"""Seconds between two writes of what was counted meanwhile."""

_KEEP_DAYS = 400
_CHUNK = 200
_log = logging.getLogger("commandpost.keys")

_ADD = {
    "sqlite": " ON CONFLICT (key_id, day) DO UPDATE SET calls = calls + excluded.calls, sends = sends + excluded.sends",
    "mysql": " ON DUPLICATE KEY UPDATE calls = calls + VALUES(calls), sends = sends + VALUES(sends)",
}


@dataclass(frozen=True, slots=True)
class Day:
    """Authenticated requests and accepted messages of a key on one day (days since 1970-01-01, UTC)."""

    day: int
    calls: int
    sends: int


class _Counts:
    """What this process has counted since its last write, by key and day: [calls, sends]."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.store: object = None  # the database that it belongs to
        self.found: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
        self.writer: threading.Thread | None = None

    def add(self, key_id: int, calls: int, sends: int) -> None:
        with self.lock:
            if self.store is not db.database.obj:
                self.store = db.database.obj
                self.found.clear()
            count = self.found[key_id, clock.day_number(clock.now_ms())]
            count[0] += calls
            count[1] += sends
            if self.writer is None:
                self.writer = threading.Thread(target=_write_on, args=(self,), name="key-usage", daemon=True)
                self.writer.start()

    def take(self) -> dict[tuple[int, int], list[int]]:
        with self.lock:
            taken, self.found = self.found, defaultdict(lambda: [0, 0])
            return taken if self.store is db.database.obj else {}


_counts = _Counts()


def _start_anew() -> None:
    global _counts
    _counts = _Counts()


os.register_at_fork(after_in_child=_start_anew)


def count_call(key_id: int | None) -> None:
    """An authenticated request."""
    if key_id is not None:
        _counts.add(key_id, 1, 0)


def count_sends(key_id: int | None, messages: int) -> None:
    """Messages that were accepted with the key."""
    if key_id is not None and messages:
        _counts.add(key_id, 0, messages)


def _write_on(counts: _Counts) -> None:
    while True:
        time.sleep(FLUSH_S)
        try:
            _write(counts)
        finally:
            db.close()


def flush() -> None:
    """Write what was counted; what cannot be written now is kept for the next time."""
    _write(_counts)


@atexit.register
def _flush_last() -> None:
    """The database may be gone already, and nobody reads what is logged now."""
    _log.disabled = True
    flush()


def _write(counts: _Counts) -> None:
    taken = sorted(counts.take().items())
    while taken:
        some = taken[:_CHUNK]
        try:
            scratchpad.write(
                "INSERT INTO key_day (key_id, day, calls, sends) VALUES "
                + ",".join(["(?, ?, ?, ?)"] * len(some))
                + _ADD[db.dialect()],
                [value for key, count in some for value in (*key, *count)],
            )
        except Exception as error:
            _log.warning("key_usage_not_written", extra={"cause": str(error)})
            with counts.lock:
                for key, (calls, sends) in taken:
                    kept = counts.found[key]
                    kept[0] += calls
                    kept[1] += sends
            return
        taken = taken[_CHUNK:]


def days(*, key_ids: Sequence[int], since_day: int) -> dict[int, list[Day]]:
    """By key the days on which it was used, the oldest first; the last seconds may be missing."""
    found: dict[int, list[Day]] = {key_id: [] for key_id in key_ids}
    for start in range(0, len(key_ids), _CHUNK):
        some = key_ids[start : start + _CHUNK]
        for key_id, *numbers in scratchpad.rows(
            f"SELECT key_id, day, calls, sends FROM key_day WHERE key_id IN ({','.join('?' * len(some))})"
            " AND day >= ? ORDER BY key_id, day",
            (*some, since_day),
        ):
            found[key_id].append(Day(*numbers))
    return found


def last_used(key_ids: Sequence[int]) -> dict[int, int]:
    """When keys were last used, in milliseconds and to the minute; those that never were are left out."""
    found: dict[int, int] = {}
    for start in range(0, len(key_ids), _CHUNK):
        some = key_ids[start : start + _CHUNK]
        marks = ",".join("?" * len(some))
        found.update(scratchpad.rows(f"SELECT key_id, used_ms FROM key_use WHERE key_id IN ({marks})", some))
    return found


def collect() -> tuple[int, bool]:
    """Forget days that are long past; how many rows went, and that this was all."""
    before = clock.day_number(clock.now_ms()) - _KEEP_DAYS
    return int(scratchpad.write("DELETE FROM key_day WHERE day < ?", (before,))[1]), False
