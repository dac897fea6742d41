"""What a process's dispatcher must know of the others: the limits and pauses that hold, and what destinations did."""

from __future__ import annotations

import logging
import time
from math import inf

from gateway.services import destination_past, health, lanes, shaping
from gateway.services.dispatch import Dispatcher
from models import database as db

LIMITS_AFTER_S = 1.0
"""How old what is known of the limits may be."""

PROCESSES_AFTER_S = 5.0
"""How old what is known of the other processes may be."""

_log = logging.getLogger("commandpost.deliver")


class ShapingWatch:
    """`processes` is how many deliver on this host; `paused` are the lanes of which nothing may leave."""

    def __init__(self, dispatcher: Dispatcher, *, processes: int) -> None:
        self._dispatcher = dispatcher
        self._configured = processes
        self._limits_at = self._processes_at = -inf
        self.paused: frozenset[int] = frozenset()

    def look(self, *, now: bool = False) -> None:
        """Take over limits that this or another process, or an operator, made or ended."""
        if now or time.monotonic() - self._limits_at > LIMITS_AFTER_S:
            self._limits_at = time.monotonic()
            self._dispatcher.obey(shaping.active())
            self.paused = lanes.paused()
        if time.monotonic() - self._processes_at > PROCESSES_AFTER_S:
            self._processes_at = time.monotonic()
            # Those of this host count although they may not have shown a sign of life yet.
            self._dispatcher.share(max(self._configured, health.delivering()))

    def share_what_was_seen(self) -> None:
        """Write for all processes what destinations took and refused; learn what all saw of those that refuse."""
        seen, asking = self._dispatcher.take_seen()
        try:
            destination_past.add(seen)
            if asking:
                self._dispatcher.tell(destination_past.read(asking))
        except db.StoreUnavailable as error:  # a few seconds of the past are missed by nobody
            _log.warning("past_not_shared", extra={"cause": str(error)})
        except Exception:
            _log.exception("past_not_shared")
