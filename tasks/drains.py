"""Keeps bells cheap: a bell that rang before the last look at an empty queue is not answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from gateway import clock, jobs
from models.database import StoreUnavailable

SECONDS = 5.0
"""How long one drain lasts at most: a prefork child is not told of a shutdown."""
_MARGIN_MS = 250
_log = logging.getLogger("commandpost.drains")


class Drain:
    """`work(seconds)` of one job, at most `most` at a time in this process."""

    def __init__(self, job: str, work: Callable[[float], object], most: Callable[[], int] = lambda: 1) -> None:
        self._job, self._work, self._most = job, work, most
        self._lock = threading.Lock()
        self._running = 0
        self._covered_ms = 0

    def answer(self, rung_ms: int) -> bool:
        """Drain, unless the bell's rows were seen already or enough drains are running; whether it did."""
        now = clock.now_ms()
        with self._lock:
            if now < self._covered_ms:  # the clock was set back: what was seen then says nothing of now
                self._covered_ms = 0
            if rung_ms <= self._covered_ms or self._running >= self._most():
                return False
            self._running += 1
        try:
            self._work(SECONDS)
        except StoreUnavailable as error:
            _log.warning("drain_postponed", extra={"job": self._job, "cause": str(error)})
            return True
        finally:
            with self._lock:
                self._running -= 1
        ended = clock.now_ms()
        if not 0 <= ended - now < SECONDS * 1000 - _MARGIN_MS:
            jobs.ring(self._job)  # out of time, not of work
        else:
            with self._lock:
                self._covered_ms = max(self._covered_ms, ended - _MARGIN_MS)
        return True
