"""The threads of a process that send: each takes what the dispatcher gives it over connections that it keeps."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable

from gateway import clock, errors
from gateway.services import outcomes, server_transports, thread_connections
from gateway.services.destinations import Job, Learned
from gateway.services.dispatch import Dispatcher
from gateway.services.in_flight import InFlight
from gateway.services.lanes import Claimed
from gateway.services.rerouting import Rerouter
from gateway.services.route_transports import RouteTransports
from gateway.services.routes import Next
from gateway.services.routing_tables import Server, target_of
from gateway.services.server_quotas import Quotas
from gateway.services.shaping_watch import ShapingWatch
from gateway.services.thread_connections import Kept
from gateway.services.turns import Worker
from gateway.transports.outcome import Outcome
from models import database as db
from models.vocabulary import DeliveryState, EventKind

_log = logging.getLogger("commandpost.deliver")


class SenderThreads:
    """Started as the dispatcher needs them; each ends when that has nothing more for it."""

    def __init__(
        self,
        in_flight: InFlight,
        dispatcher: Dispatcher,
        transports: RouteTransports,
        rerouter: Rerouter,
        quotas: Quotas,
        watch: ShapingWatch,
    ) -> None:
        self._in_flight, self._dispatcher, self._transports = in_flight, dispatcher, transports
        self._rerouter, self._quotas, self._watch = rerouter, quotas, watch
        self._threads: list[threading.Thread] = []

    def start(self, worker: Worker) -> None:
        """Raises `RuntimeError` where the system gives no more threads."""
        thread = threading.Thread(target=self._send_all, args=(worker,), name="sender", daemon=True)
        thread.start()
        self._threads = [*(other for other in self._threads if other.is_alive()), thread]

    def join(self, end_s: float) -> None:
        """Wait for them until the monotonic time `end_s`."""
        for thread in self._threads:
            thread.join(max(0.1, end_s - time.monotonic()))

    def _send_all(self, worker: Worker) -> None:
        connections: Kept = {}
        while (job := self._dispatcher.next(worker)) is not None:
            if worker.left:  # so many connections to one destination are no more than are counted
                worker.left = False
                thread_connections.close_all(connections)
            started = clock.now_ms()
            outcome: Outcome | None = None
            name = ""
            learned = Learned()
            try:
                outcome, name = self._attempt(job, connections)
            finally:
                learned = self._dispatcher.end(worker, outcome, started)
            if outcome is not None:
                goes_on = None
                if "/" in job.claimed.route:
                    outcome, goes_on = self._judged(job, outcome)
                self._in_flight.finish(job.claimed, outcome, name, started, learned, goes_on)
        thread_connections.close_all(connections)
        db.close()

    def _judged(self, job: Job, outcome: Outcome) -> tuple[Outcome, Next | None]:
        """The outcome of a sending server with its name in the verdict, and where the delivery goes on."""
        try:
            told = self._rerouter.told(job.claimed, outcome)
            return told, self._rerouter.after(job.claimed, outcome, job.message.uuid.bytes)
        except db.StoreUnavailable:
            return outcome, None
        except Exception:
            _log.exception("next_server_not_found", extra={"delivery": job.claimed.id})
            return outcome, None

    def _attempt(self, job: Job, connections: Kept) -> tuple[Outcome | None, str]:
        """Send one message over the thread's connection; None where it was not tried, and is taken care of."""
        row = job.claimed
        if not self._in_flight.starts(row, paused=row.lane_id in self._watch.paused):
            return None, ""
        name = ""
        on_data: Callable[[], None] = functools.partial(self._in_flight.journal.sending, row.pair)
        metered: Server | None = None
        try:
            if "/" in row.route and (server := self._rerouter.server(row)) is not None and server.limits:
                if self._quotas.take(server, self._waiting(server) + 1) is not None:
                    self._in_flight.give_back([row])
                    return None, ""
                metered, on_data = server, thread_connections.Noting(on_data)
            transport = self._transports.get(row.route)
            name = transport.name
            message = job.message.rendered(row.id, row.rcpt, row.merge)
            connection = thread_connections.of(connections, transport)
            outcome = connection.send(
                mail_from=job.mail_from, rcpt=row.rcpt, message=message, on_data=on_data, tls_required=job.tls_required
            )
        except errors.InvalidTemplate as error:
            if self._unmergeable(row, error.message):
                return None, ""
            outcome = outcomes.ours("the outcome of an attempt could not be written")
        except (db.StoreUnavailable, server_transports.Gone):  # nothing of the message was sent
            self._in_flight.give_back([row])
            return None, ""
        except Exception as error:  # a bug of ours must not lose the message nor the thread
            _log.exception("attempt_crashed", extra={"delivery": row.id})
            outcome = outcomes.ours(f"internal error: {type(error).__name__}")
        finally:
            if metered is not None and not getattr(on_data, "called", True):
                self._quotas.refund(metered)
        return outcome, name

    def _waiting(self, server: Server) -> int:
        return self._dispatcher.server_state(target_of(server.id)).waiting

    def _unmergeable(self, row: Claimed, reason: str) -> bool:
        """End a delivery whose recipient's fields make the template fail each time; False: it could not be written."""
        try:
            outcomes.settle(
                [row.id], DeliveryState.FAILED, EventKind.FAILED, {"reason": reason}, fences={row.id: row.fence}
            )
        except Exception:
            _log.exception("outcome_not_written", extra={"delivery": row.id})
            return False
        self._in_flight.forget(row.pair)
        return True
