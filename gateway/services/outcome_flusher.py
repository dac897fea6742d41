"""The thread of a process that writes what became of its claims, whatever the database's state."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

from gateway.services import lanes, lessons, outcomes, surges
from gateway.services.destinations import Learned
from gateway.services.dispatch import Dispatcher
from gateway.services.in_flight import FLUSH_AFTER_S, InFlight, Pair
from gateway.services.lanes import PutOff
from gateway.services.outcomes import Done
from gateway.services.routing_tables import target_of
from gateway.services.server_quotas import Quotas
from gateway.services.shaping_watch import ShapingWatch
from models import database as db

RENEW_EVERY_S = 20.0

SHARE_AFTER_S = 1.0
"""How long what was seen of destinations is kept before the other processes may know it."""

_TICK_S = 0.2
_DATABASE_PAUSE_S = 0.3
_log = logging.getLogger("commandpost.deliver")


class OutcomeFlusher:
    """Some times a second it also looks after the queues, the leases and what the engine learned."""

    def __init__(self, in_flight: InFlight, dispatcher: Dispatcher, watch: ShapingWatch, quotas: Quotas) -> None:
        self._in_flight, self._dispatcher, self._watch, self._quotas = in_flight, dispatcher, watch, quotas
        self._stuck: list[Done] = []  # outcomes that the database does not take
        self._looked_at: deque[tuple[float, Learned]] = deque()  # surges that were taken back, and when (monotonic)
        self.thread = threading.Thread(target=self._run, name="flusher", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        renewed = ticked = shared = time.monotonic()
        while (found := self._in_flight.collect(len(self._stuck))) is not None:
            self._settle(found.done, [*found.unstarted, *found.doubtful], found.doubtful, found.put_off)
            if found.learned:
                self._draw_conclusions(found.learned)
            self._look_again(surges.SETTLED_S)
            if time.monotonic() - ticked > _TICK_S:
                ticked = time.monotonic()
                with contextlib.suppress(db.StoreUnavailable):
                    self._quotas.give_back(self._is_waited_for)
                if self._in_flight.count:
                    self._look_after_queues()
            if self._in_flight.count and time.monotonic() - renewed > RENEW_EVERY_S:
                renewed = time.monotonic()
                self._renew()
                stuck, self._stuck = self._stuck, []
                self._settle(stuck, [], {}, [])
            if time.monotonic() - shared > (FLUSH_AFTER_S if self._dispatcher.asks_now else SHARE_AFTER_S):
                shared = time.monotonic()
                self._watch.share_what_was_seen()
        self._watch.share_what_was_seen()
        self._look_again(0.0)

    def _is_waited_for(self, server_id: int) -> bool:
        return self._dispatcher.server_state(target_of(server_id)).waiting > 0

    def _look_after_queues(self) -> None:
        with contextlib.suppress(db.StoreUnavailable):
            self._watch.look()
        gone = self._dispatcher.tick()
        if gone:
            self._in_flight.put_off(gone)

    def _draw_conclusions(self, learned: list[Learned]) -> None:
        """Write the limits that replies asked for; take back what a surge of refusals did to its recipients."""
        try:
            lessons.conclude(learned)
            now_s = time.monotonic()
            self._looked_at += ((now_s, one) for one in learned if one.undo is not None)
            self._watch.look(now=True)
        except db.StoreUnavailable:
            self._in_flight.learn(learned)  # its outcomes are written before, so this comes round
            time.sleep(_DATABASE_PAUSE_S)
        except Exception:
            _log.exception("limits_not_written", extra={"lessons": len(learned)})

    def _look_again(self, after_s: float) -> None:
        """Take back what was being written while the pause of a surge was made, by those who did not know of it."""
        while self._looked_at and time.monotonic() - self._looked_at[0][0] >= after_s:
            try:
                lessons.take_back([self._looked_at[0][1]])
            except db.StoreUnavailable as error:
                _log.warning("surge_not_looked_at_again", extra={"cause": str(error)})
                return
            except Exception:
                _log.exception("surge_not_looked_at_again")
            self._looked_at.popleft()

    def _settle(
        self, done: list[Done], unstarted: list[Pair], leases: Mapping[Pair, int], put_off: Sequence[PutOff]
    ) -> None:
        """Write what is known; a database that is away is waited for, the journal has it meanwhile."""
        forget = self._in_flight.forget
        warned = False
        while done or unstarted or put_off:
            try:
                if done:
                    stuck = self._write(done)
                    self._stuck += stuck
                    forget(*(one.pair for one in done if one not in stuck))
                    done = []
                lanes.give_back(unstarted, leases)
                forget(*unstarted)
                unstarted = []
                lessons.put_off(put_off)
                forget(*(one.row.pair for one in put_off))
                return
            except db.StoreUnavailable:
                if not warned:
                    _log.warning("outcomes_wait_for_database", extra={"outcomes": len(done)})
                warned = True
                time.sleep(_DATABASE_PAUSE_S)
            except Exception:
                _log.exception("claims_not_given_back", extra={"deliveries": len(unstarted) + len(put_off)})
                # Their leases run out.
                forget(*unstarted, *(one.row.pair for one in put_off))
                return

    @staticmethod
    def _write(done: list[Done]) -> list[Done]:
        """Write outcomes; returns those that the database does not take."""
        try:
            outcomes.apply(done)
        except db.StoreUnavailable:
            raise
        except Exception:
            _log.exception("outcomes_not_written", extra={"outcomes": len(done)})
            return outcomes.apply_each(done)
        return []

    def _renew(self) -> None:
        try:
            lost = self._in_flight.renew()
        except Exception:
            _log.exception("leases_not_renewed", extra={"deliveries": self._in_flight.count})
            return
        if lost:  # this process stood still for longer than a lease
            _log.warning("leases_lost", extra={"deliveries": len(lost)})
            self._in_flight.forget(*lost)
