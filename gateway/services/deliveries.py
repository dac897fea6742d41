"""The delivering engine: one per process, it claims, sends over kept connections and writes what became of it.

`drain` is what a worker's task calls: it claims while there is room and work, lingers a second after
the last, and returns. Sending and writing go on in threads of the process, so that a slow remote
never keeps a task.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

from gateway import config
from gateway.services import journal, lanes, recovery
from gateway.services.claiming import Claimer
from gateway.services.dispatch import Dispatcher
from gateway.services.in_flight import InFlight
from gateway.services.outcome_flusher import OutcomeFlusher
from gateway.services.rerouting import Rerouter
from gateway.services.route_transports import RouteTransports
from gateway.services.sender_threads import SenderThreads
from gateway.services.server_quotas import Quotas
from gateway.services.shaping_watch import ShapingWatch
from gateway.services.turns import Worker
from models import database as db

LINGER_S = 1.0

_CLOSE_S = 20.0


class Engine:
    """Sender threads, the dispatcher before them, a flusher thread and the process's journal."""

    def __init__(self, settings: config.Settings) -> None:
        self.pid = os.getpid()
        self._in_flight = InFlight(journal.Journal(settings.data / "journal", sync=settings.journal_sync))
        self._transports = RouteTransports(settings)
        self._quotas = Quotas()
        self._dispatcher = Dispatcher(
            threads=settings.deliver_threads,
            connections=settings.deliver_connections,
            processes=settings.deliver_processes,
            transport=self._transports.get,
            start=self._start_sender,
        )
        self._watch = ShapingWatch(self._dispatcher, processes=settings.deliver_processes)
        holds_doubtful = settings.in_doubt == "hold"
        rerouter = Rerouter(self._quotas, self._dispatcher.server_state, holds_doubtful=holds_doubtful)
        self._senders = SenderThreads(
            self._in_flight, self._dispatcher, self._transports, rerouter, self._quotas, self._watch
        )
        self._claimer = Claimer(settings, self._in_flight, self._dispatcher, rerouter, self._watch)
        self._flusher = OutcomeFlusher(self._in_flight, self._dispatcher, self._watch, self._quotas)

    def _start_sender(self, worker: Worker) -> None:
        self._senders.start(worker)

    def drain(self, seconds: float) -> int:
        """Claim and hand out due deliveries for up to `seconds`; returns how many were claimed."""
        end = time.monotonic() + seconds
        linger_until = time.monotonic() + LINGER_S
        total = 0
        seen = _data_version()
        while time.monotonic() < end and not self._in_flight.closing:
            room = self._dispatcher.capacity - self._in_flight.count
            if room < lanes.BATCH // 2:
                self._in_flight.wait_change(0.02)
                continue
            claimed = self._claimer.claim(room)
            if claimed:
                total += claimed
                linger_until = time.monotonic() + LINGER_S
                continue
            if not self._in_flight.count and time.monotonic() > linger_until:
                break
            seen = _wait_for_change(seen, until=min(end, linger_until if not self._in_flight.count else end))
        return total

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is held any more: all that was claimed is written; False when `timeout` ran out first."""
        return self._in_flight.wait_idle(timeout)

    def close(self) -> None:
        """Let what is being sent end, give back the rest, write everything; at most `_CLOSE_S`."""
        self._in_flight.closing = True
        self._in_flight.give_back(self._dispatcher.close())
        end = time.monotonic() + _CLOSE_S
        self._senders.join(end)
        self._flusher.thread.join(max(0.1, end - time.monotonic()))
        with contextlib.suppress(db.StoreUnavailable):
            self._quotas.give_back()
        self._in_flight.journal.close()


def _data_version() -> int:
    """A number that changes when another connection commits (SQLite); 0 elsewhere."""
    return int(db.rows("PRAGMA data_version")[0][0]) if db.dialect() == "sqlite" else 0


def _wait_for_change(seen: int, *, until: float) -> int:
    """Wait for a commit that may have brought work, at most until the monotonic time `until`."""
    while time.monotonic() < until:
        if db.dialect() != "sqlite":
            time.sleep(0.01)
            return 0
        time.sleep(0.002)
        version = _data_version()
        if version != seen:
            return version
    return seen


_engine: Engine | None = None
_engine_lock = threading.Lock()


def engine() -> Engine:
    """The engine of this process, made after the fork."""
    global _engine
    with _engine_lock:
        if _engine is None or _engine.pid != os.getpid():
            _engine = Engine(config.settings())
        return _engine


def drain(seconds: float) -> int:
    """Deliver what is due for up to `seconds` (and a second's linger within them); returns how many were claimed.

    The journals of processes that died are replayed first: a sibling may have died since the last time.
    """
    recovery.recover()
    return engine().drain(seconds)


def close() -> None:
    """End this process's engine cleanly (worker shutdown, end of a test)."""
    global _engine
    with _engine_lock:
        mine, _engine = _engine, None
    if mine is not None and mine.pid == os.getpid():
        mine.close()
