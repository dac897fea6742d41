"""Claims due deliveries for a process: each batch is looked at anew before any of it reaches the dispatcher."""

from __future__ import annotations

import errno
import logging
import time
from math import inf

from gateway import clock, config
from gateway.mail import verp
from gateway.services import (
    batches,
    clearances,
    lanes,
    lessons,
    outcome_flusher,
    outcomes,
    recovery,
    senders,
    server_transports,
    warmup_gate,
)
from gateway.services.destinations import Destination, Job, Place
from gateway.services.dispatch import Dispatcher
from gateway.services.in_flight import InFlight
from gateway.services.lanes import Claimed, PutOff
from gateway.services.rerouting import Rerouter
from gateway.services.shaping_watch import ShapingWatch
from models import database as db
from models.vocabulary import DeliveryState

TAKE_OVER_AFTER_S = 5.0
"""Calm needed before leases that ran out are taken over: after an outage their holders write first what they know."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_log = logging.getLogger("commandpost.deliver")


class Claimer:
    """One of each process; used by the thread that drains."""

    def __init__(
        self,
        settings: config.Settings,
        in_flight: InFlight,
        dispatcher: Dispatcher,
        rerouter: Rerouter,
        watch: ShapingWatch,
    ) -> None:
        self._in_flight, self._dispatcher, self._rerouter, self._watch = in_flight, dispatcher, rerouter, watch
        self._holds_doubtful = settings.in_doubt == "hold"
        self._rounds = lanes.Rounds()
        self._warmups = warmup_gate.Gate([source.address for source in settings.source_addresses])
        self._born = time.monotonic()
        self._wide = False  # the last claim went back nearly whole: whoever waits behind such rows should not wait long

    def claim(self, room: int) -> int:
        """Claim due deliveries where there is room for so many, and hand them out; returns how many were claimed.

        Raises `StoreUnavailable`.
        """
        claimed = self._claim(4 * lanes.BATCH if self._wide else min(room, lanes.BATCH))
        if claimed:
            self._take(claimed)
        return len(claimed)

    def _claim(self, limit: int) -> list[Claimed]:
        young = time.monotonic() - self._born < TAKE_OVER_AFTER_S
        # A clock that was set forward makes every lease look as if it had run out, until its holder renews it.
        unsure = young or clock.steady_s() < 1.5 * outcome_flusher.RENEW_EVERY_S
        self._watch.look()
        planned = self._in_flight.journal.claimed
        try:
            return lanes.claim(self._rounds, planned, limit, calm_s=inf if unsure else TAKE_OVER_AFTER_S)
        except Exception as error:
            self._in_flight.doubt()
            if isinstance(error, OSError) and error.errno in _FULL:
                raise db.StoreUnavailable("the journal cannot be written") from error
            raise

    def _take(self, claimed: list[Claimed]) -> None:
        self._in_flight.take(claimed)
        try:
            if any(row.lane_id in self._watch.paused for row in claimed):
                self._watch.look(now=True)  # it was let go since
            going, waiting = self._routed(claimed)
            placed = self._placed(going)
            gone = self._dispatcher.sift(placed)
            if any(one.paused for one in gone):
                # What a limit held is due again once that is canceled: it must not be put off by our memory of it.
                self._watch.look(now=True)
                gone = self._dispatcher.sift(placed)
            away = {one.row.id for one in gone}
            # After everything else that may hold a delivery: who gets a place of the day is meant to go.
            small = self._warming([(row, place) for row, place in placed if row.id not in away])
            away |= {one.row.id for one in small}
            gone += [*waiting, *small]
            self._wide = len(claimed) >= lanes.BATCH // 2 and len(gone) > 0.8 * len(claimed)
            places = {row.id: place for row, place in placed if row.id not in away}
            jobs = self._prepare([row for row in going if row.id in places])
        except Exception as error:
            # Nothing of the batch may be lost from sight: none of it was handed out, so all of it goes back.
            cause = None if isinstance(error, db.StoreUnavailable) else error
            _log.warning("batch_not_prepared", extra={"deliveries": len(claimed)}, exc_info=cause)
            self._in_flight.give_back_held(claimed)
            time.sleep(0.2)
            return
        left = self._dispatcher.add([(job, places[job.claimed.id]) for job in jobs])
        if left:
            self._in_flight.give_back(left)
        if gone:
            try:
                lessons.put_off(gone)  # here and now: what is not held any more makes room for the next claim
                self._in_flight.forget(*(one.row.pair for one in gone))
            except Exception:
                self._in_flight.put_off(gone)

    def _routed(self, claimed: list[Claimed]) -> tuple[list[Claimed], list[PutOff]]:
        """Each with the route that it takes now; those that no sending server of their account can take."""
        before = {row.id: row.route for row in claimed}
        going, waiting = self._rerouter.settle(claimed)
        if any(one.paused for one in waiting):
            # As with other limits: whoever ended one just now has let go of what it held.
            self._watch.look(now=True)
            more, waiting = self._rerouter.settle([one.row for one in waiting])
            going += more
        # Durable, so that whoever finds this process dead knows which server may have what it was sending.
        rows = [*going, *(one.row for one in waiting)]
        lanes.rerouted([row for row in rows if row.route != before[row.id]])
        return going, waiting

    def _placed(self, claimed: list[Claimed]) -> list[tuple[Claimed, Place]]:
        """Where each belongs; those to which no way can be built have failed already."""
        placed: list[tuple[Claimed, Place]] = []
        known: dict[tuple[str, str], Place] = {}
        for row in claimed:
            key = (row.route, row.rcpt.rpartition("@")[2])
            try:
                place = known.get(key)
                if place is None:
                    place = known[key] = self._dispatcher.place(row)
                placed.append((row, place))
            except server_transports.Gone:
                self._in_flight.give_back([row])
            except Exception as error:
                _log.exception("attempt_crashed", extra={"delivery": row.id})
                failed = outcomes.ours(f"internal error: {type(error).__name__}")
                self._in_flight.finish(row, failed, "", clock.now_ms())
        return placed

    def _warming(self, placed: list[tuple[Claimed, Place]]) -> list[PutOff]:
        """Those whose mailbox or source address begins small and has no place left today."""
        groups = {
            row.id: place.group if isinstance(place, Destination) else ""
            for row, place in placed
            if row.route == lanes.ROUTE_DEFAULT and not (isinstance(place, Destination) and place.single)
        }
        return self._warmups.hold([row for row, _ in placed], groups)

    def _prepare(self, claimed: list[Claimed]) -> list[Job]:
        """The jobs of a batch; what is not to be sent, or cannot be, is settled here."""
        condemned = clearances.refuse(claimed)
        if condemned:
            self._in_flight.forget(*(row.pair for row in condemned))
            claimed = [row for row in claimed if row not in condemned]
        stored = batches.stored(claimed)
        blocked = batches.blocked(claimed, stored)
        jobs: list[Job] = []
        for row in claimed:
            sender = senders.sender(row.domain_id)
            refusal = batches.refusal(row, sender, blocked)
            message = stored.get(row.message_id)
            if refusal is not None:
                outcomes.settle([row.id], *refusal, fences={row.id: row.fence})
                self._in_flight.forget(row.pair)
            elif row.was is DeliveryState.CLAIMED and self._holds_doubtful:
                self._in_flight.finish(row, recovery.vanished(), "", clock.now_ms())
            elif message is None:
                unread = outcomes.ours("the stored message cannot be read")
                self._in_flight.finish(row, unread, "", clock.now_ms())
            elif sender is not None:
                jobs.append(Job(row, message, verp.encode(row.id, sender.return_path_host), sender.require_tls))
        return jobs
