"""The delivering engine: one per process, it claims, sends over kept connections and writes what became of it.

`drain` is what a worker's task calls: it claims while there is room and work, lingers a second after
the last, and returns. Sending and writing go on in threads of the process, so that a slow remote
never keeps a task.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from math import inf

from gateway import clock, config, errors
from gateway.mail import verp
from gateway.services import (
    batches,
    captures,
    clearances,
    destination_past,
    health,
    journal,
    lanes,
    lessons,
    outcomes,
    recovery,
    routes,
    routing_tables,
    senders,
    server_quotas,
    server_transports,
    shaping,
    simulations,
    surges,
    thread_connections,
    tls_policies,
    warmup_gate,
)
from gateway.services.destinations import Destination, Job, Learned
from gateway.services.dispatch import Dispatcher, Place, Worker
from gateway.services.lanes import Claimed, PutOff
from gateway.services.outcomes import Done
from gateway.services.rerouting import Rerouter
from gateway.services.routes import Next
from gateway.services.routing_tables import Server
from gateway.services.thread_connections import Kept
from gateway.transports import base, registry
from gateway.transports.outcome import Outcome, Result
from models import database as db
from models.vocabulary import DeliveryState, EventKind

FLUSH_AT = 100
FLUSH_AFTER_S = 0.05
LINGER_S = 1.0
RENEW_EVERY_S = 20.0
START_MARGIN_MS = 30_000
"""A message is not started with less of its lease left than this."""

TAKE_OVER_AFTER_S = 5.0
"""Calm needed before leases that ran out are taken over: after an outage their holders write first what they know."""

LIMITS_AFTER_S = 1.0
"""How old what is known of the limits may be."""

SHARE_AFTER_S = 1.0
"""How long what was seen of destinations is kept before the other processes may know it."""

PROCESSES_AFTER_S = 5.0
"""How old what is known of the other processes may be."""

_TICK_S = 0.2
_CLOSE_S = 20.0
_DATABASE_PAUSE_S = 0.3
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_log = logging.getLogger("commandpost.deliver")


class Engine:
    """Sender threads, the dispatcher before them, a flusher thread and the process's journal."""

    def __init__(self, settings: config.Settings) -> None:
        self.pid = os.getpid()
        self._settings = settings
        self._journal = journal.Journal(settings.data / "journal", sync=settings.journal_sync)
        self._rounds = lanes.Rounds()
        self._change = threading.Condition()
        self._held: dict[tuple[int, int], Claimed] = {}
        self._done: list[Done] = []
        self._unstarted: list[tuple[int, int]] = []
        self._put_off: list[PutOff] = []
        self._learned: list[Learned] = []
        self._looked_at: deque[tuple[float, Learned]] = deque()  # surges that were taken back, and when (monotonic)
        self._doubtful: dict[tuple[int, int], int] = {}  # claims that broke off at their commit, with their lease
        self._stuck: list[Done] = []  # outcomes that the database does not take
        self._born = time.monotonic()
        self._limits_at = self._processes_at = -inf
        self._paused: frozenset[int] = frozenset()  # lanes of which nothing may leave
        self._wide = False  # the last claim went back nearly whole: whoever waits behind such rows should not wait long
        self._closing = False
        self._transports: dict[str, base.Transport] = {}
        self._transports_lock = threading.Lock()
        self._servers = server_transports.Transports()
        self._quotas = server_quotas.Quotas()
        self._senders: list[threading.Thread] = []
        self._dispatcher = Dispatcher(
            threads=settings.deliver_threads,
            connections=settings.deliver_connections,
            processes=settings.deliver_processes,
            transport=self._transport,
            start=self._start_sender,
        )
        self._warmups = warmup_gate.Gate([source.address for source in settings.source_addresses])
        holds_doubtful = settings.in_doubt == "hold"
        self._rerouter = Rerouter(self._quotas, self._dispatcher.server_state, holds_doubtful=holds_doubtful)
        self._flusher = threading.Thread(target=self._flush_all, name="flusher", daemon=True)
        self._flusher.start()

    def _start_sender(self, worker: Worker) -> None:
        thread = threading.Thread(target=self._send_all, args=(worker,), name="sender", daemon=True)
        thread.start()
        self._senders = [*(other for other in self._senders if other.is_alive()), thread]

    # --- taking work -------------------------------------------------------------------------

    def drain(self, seconds: float) -> int:
        """Claim and hand out due deliveries for up to `seconds`; returns how many were claimed."""
        end = time.monotonic() + seconds
        linger_until = time.monotonic() + LINGER_S
        count = 0
        seen = _data_version()
        while time.monotonic() < end and not self._closing:
            room = self._dispatcher.capacity - len(self._held)
            if room < lanes.BATCH // 2:
                with self._change:
                    self._change.wait(0.02)
                continue
            claimed = self._claim(4 * lanes.BATCH if self._wide else min(room, lanes.BATCH))
            if claimed:
                count += len(claimed)
                self._take(claimed)
                linger_until = time.monotonic() + LINGER_S
                continue
            if not self._held and time.monotonic() > linger_until:
                break
            seen = _wait_for_change(seen, until=min(end, linger_until if not self._held else end))
        return count

    def _claim(self, limit: int) -> list[Claimed]:
        young = time.monotonic() - self._born < TAKE_OVER_AFTER_S
        # A clock that was set forward makes every lease look as if it had run out, until its holder renews it.
        unsure = young or clock.steady_s() < 1.5 * RENEW_EVERY_S
        self._look_at_limits()
        try:
            return lanes.claim(self._rounds, self._journal.claimed, limit, calm_s=inf if unsure else TAKE_OVER_AFTER_S)
        except Exception as error:
            # The answer to a commit may be what was lost: then the rows are ours and nobody knows it.
            with self._change:
                self._doubtful |= self._journal.unconfirmed()
                self._change.notify_all()
            if isinstance(error, OSError) and error.errno in _FULL:
                raise db.StoreUnavailable("the journal cannot be written") from error
            raise

    def _take(self, claimed: list[Claimed]) -> None:
        pairs = [(row.id, row.fence) for row in claimed]
        with self._change:
            self._held.update(zip(pairs, claimed, strict=True))
        self._journal.confirmed(pairs)
        with self._change:
            # A transaction that ran twice planned claims that it then did not make.
            self._doubtful |= self._journal.unconfirmed()
        try:
            if any(row.lane_id in self._paused for row in claimed):
                self._look_at_limits(now=True)  # it was let go since
            going, waiting = self._routed(claimed)
            placed = self._placed(going)
            gone = self._dispatcher.sift(placed)
            if any(one.paused for one in gone):
                # What a limit held is due again once that is canceled: it must not be put off by our memory of it.
                self._look_at_limits(now=True)
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
            with self._change:
                self._unstarted.extend(pair for pair in pairs if pair in self._held)
            time.sleep(0.2)
            return
        left = self._dispatcher.add([(job, places[job.claimed.id]) for job in jobs])
        if left:
            with self._change:
                self._unstarted += ((row.id, row.fence) for row in left)
                self._change.notify_all()
        if gone:
            try:
                lessons.put_off(gone)  # here and now: what is not held any more makes room for the next claim
                self._forget(*((one.row.id, one.row.fence) for one in gone))
            except Exception:
                with self._change:
                    self._put_off += gone

    def _warming(self, placed: list[tuple[Claimed, Place]]) -> list[PutOff]:
        """Those whose mailbox or source address begins small and has no place left today."""
        groups = {
            row.id: place.group if isinstance(place, Destination) else ""
            for row, place in placed
            if row.route == lanes.ROUTE_DEFAULT and not (isinstance(place, Destination) and place.single)
        }
        return self._warmups.hold([row for row, _ in placed], groups)

    def _routed(self, claimed: list[Claimed]) -> tuple[list[Claimed], list[PutOff]]:
        """Each with the route that it takes now; those that no sending server of their account can take."""
        before = {row.id: row.route for row in claimed}
        going, waiting = self._rerouter.settle(claimed)
        if any(one.paused for one in waiting):
            # As with other limits: whoever ended one just now has let go of what it held.
            self._look_at_limits(now=True)
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
                self._give_back(row)
            except Exception as error:
                _log.exception("attempt_crashed", extra={"delivery": row.id})
                self._finish(row, _ours(f"internal error: {type(error).__name__}"), "", clock.now_ms())
        return placed

    def _prepare(self, claimed: list[Claimed]) -> list[Job]:
        """The jobs of a batch; what is not to be sent, or cannot be, is settled here."""
        condemned = clearances.refuse(claimed)
        if condemned:
            self._forget(*((row.id, row.fence) for row in condemned))
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
                self._forget((row.id, row.fence))
            elif row.was is DeliveryState.CLAIMED and self._settings.in_doubt == "hold":
                self._finish(row, recovery.vanished(), "", clock.now_ms())
            elif message is None:
                self._finish(row, _ours("the stored message cannot be read"), "", clock.now_ms())
            elif sender is not None:
                jobs.append(Job(row, message, verp.encode(row.id, sender.return_path_host), sender.require_tls))
        return jobs

    # --- sending -----------------------------------------------------------------------------

    def _transport(self, route: str) -> base.Transport:
        way = routes.parse(route)
        if way is not None:
            return self._servers.get(way.server_id)
        spec = "capture" if route == lanes.ROUTE_TEST else self._settings.delivery
        with self._transports_lock:
            found = self._transports.get(spec)
            if found is None:
                built = registry.build(spec, self._settings, captures.store, policies=tls_policies)
                found = self._transports[spec] = simulations.wrapped(built)
            return found

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
                self._finish(job.claimed, outcome, name, started, learned, goes_on)
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

    def _give_back(self, row: Claimed) -> None:
        with self._change:
            self._unstarted.append((row.id, row.fence))
            self._change.notify_all()

    def _attempt(self, job: Job, connections: Kept) -> tuple[Outcome | None, str]:
        """Send one message over the thread's connection; None where it was not tried, and is taken care of."""
        row = job.claimed
        with self._change:
            if (row.id, row.fence) not in self._held:  # its lease was lost, another has it
                return None, ""
            if self._closing or row.lane_id in self._paused or row.lease_ms - clock.now_ms() < START_MARGIN_MS:
                self._unstarted.append((row.id, row.fence))
                return None, ""
        name = ""
        on_data: Callable[[], None] = functools.partial(self._journal.sending, (row.id, row.fence))
        metered: Server | None = None
        try:
            if "/" in row.route and (server := self._rerouter.server(row)) is not None and server.limits:
                if self._quotas.take(server, self._waiting(server.id) + 1) is not None:
                    self._give_back(row)
                    return None, ""
                metered, on_data = server, thread_connections.Noting(on_data)
            transport = self._transport(row.route)
            name = transport.name
            message = job.message.rendered(row.id, row.rcpt, row.merge)
            connection = thread_connections.of(connections, transport)
            outcome = connection.send(
                mail_from=job.mail_from, rcpt=row.rcpt, message=message, on_data=on_data, tls_required=job.tls_required
            )
        except errors.InvalidTemplate as error:
            if self._unmergeable(row, error.message):
                return None, ""
            outcome = _ours("the outcome of an attempt could not be written")
        except (db.StoreUnavailable, server_transports.Gone):  # nothing of the message was sent
            self._give_back(row)
            return None, ""
        except Exception as error:  # a bug of ours must not lose the message nor the thread
            _log.exception("attempt_crashed", extra={"delivery": row.id})
            outcome = _ours(f"internal error: {type(error).__name__}")
        finally:
            if metered is not None and not getattr(on_data, "called", True):
                self._quotas.refund(metered)
        return outcome, name

    def _waiting(self, server_id: int) -> int:
        return self._dispatcher.server_state(routing_tables.target_of(server_id)).waiting

    def _unmergeable(self, row: Claimed, reason: str) -> bool:
        """End a delivery whose recipient's fields make the template fail each time; False: it could not be written."""
        try:
            outcomes.settle(
                [row.id], DeliveryState.FAILED, EventKind.FAILED, {"reason": reason}, fences={row.id: row.fence}
            )
        except Exception:
            _log.exception("outcome_not_written", extra={"delivery": row.id})
            return False
        self._forget((row.id, row.fence))
        return True

    def _finish(
        self,
        row: Claimed,
        outcome: Outcome,
        transport: str,
        started_ms: int,
        learned: Learned | None = None,
        goes_on: Next | None = None,
    ) -> None:
        surge, target = (learned.surge, learned.target) if learned is not None else (False, "")
        ms = clock.now_ms() - started_ms
        done = Done(row.id, row.fence, outcome, transport, started_ms, ms, surge, goes_on, target)
        self._journal.answered(done.pair, done.dump())
        with self._change:
            self._done.append(done)
            if learned is not None and learned.lesson is not None:
                self._learned.append(learned)
            if len(self._done) == 1 or len(self._done) >= FLUSH_AT:
                self._change.notify_all()

    # --- writing -----------------------------------------------------------------------------

    def _flush_all(self) -> None:
        renewed = ticked = shared = time.monotonic()
        while True:
            with self._change:
                if not self._done and not self._unstarted and not self._doubtful and not self._put_off:
                    if self._closing and len(self._held) == len(self._stuck):
                        break
                    self._change.wait(FLUSH_AFTER_S if self._held else 1.0)
                elif len(self._done) < FLUSH_AT:
                    self._change.wait(FLUSH_AFTER_S)
                done, self._done = self._done, []
                unstarted, self._unstarted = self._unstarted, []
                doubtful, self._doubtful = self._doubtful, {}
                put_off, self._put_off = self._put_off, []
                learned, self._learned = self._learned, []
            self._settle(done, [*unstarted, *doubtful], doubtful, put_off)
            if learned:
                self._draw_conclusions(learned)
            self._look_again(surges.SETTLED_S)
            if time.monotonic() - ticked > _TICK_S:
                ticked = time.monotonic()
                with contextlib.suppress(db.StoreUnavailable):
                    self._quotas.give_back(lambda server_id: self._waiting(server_id) > 0)
                if self._held:
                    self._look_after_queues()
            if self._held and time.monotonic() - renewed > RENEW_EVERY_S:
                renewed = time.monotonic()
                self._renew()
                stuck, self._stuck = self._stuck, []
                self._settle(stuck, [], {}, [])
            if time.monotonic() - shared > (FLUSH_AFTER_S if self._dispatcher.asks_now else SHARE_AFTER_S):
                shared = time.monotonic()
                self._share_what_was_seen()
        self._share_what_was_seen()
        self._look_again(0.0)

    def _look_after_queues(self) -> None:
        with contextlib.suppress(db.StoreUnavailable):
            self._look_at_limits()
        gone = self._dispatcher.tick()
        if gone:
            with self._change:
                self._put_off += gone

    def _look_at_limits(self, *, now: bool = False) -> None:
        """Take over limits that this or another process, or an operator, made or ended."""
        if now or time.monotonic() - self._limits_at > LIMITS_AFTER_S:
            self._limits_at = time.monotonic()
            self._dispatcher.obey(shaping.active())
            self._paused = lanes.paused()
        if time.monotonic() - self._processes_at > PROCESSES_AFTER_S:
            self._processes_at = time.monotonic()
            # Those of this host count although they may not have shown a sign of life yet.
            self._dispatcher.share(max(self._settings.deliver_processes, health.delivering()))

    def _share_what_was_seen(self) -> None:
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

    def _draw_conclusions(self, learned: list[Learned]) -> None:
        """Write the limits that replies asked for; take back what a surge of refusals did to its recipients."""
        try:
            lessons.conclude(learned)
            now_s = time.monotonic()
            self._looked_at += ((now_s, one) for one in learned if one.undo is not None)
            self._look_at_limits(now=True)
        except db.StoreUnavailable:
            with self._change:
                self._learned += learned  # its outcomes are written before, so this comes round
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
        self,
        done: list[Done],
        unstarted: list[tuple[int, int]],
        leases: Mapping[tuple[int, int], int],
        put_off: list[PutOff],
    ) -> None:
        """Write what is known; a database that is away is waited for, the journal has it meanwhile."""
        warned = False
        while done or unstarted or put_off:
            try:
                if done:
                    stuck = self._write(done)
                    self._stuck += stuck
                    self._forget(*(one.pair for one in done if one not in stuck))
                    done = []
                lanes.give_back(unstarted, leases)
                self._forget(*unstarted)
                unstarted = []
                lessons.put_off(put_off)
                self._forget(*((one.row.id, one.row.fence) for one in put_off))
                return
            except db.StoreUnavailable:
                if not warned:
                    _log.warning("outcomes_wait_for_database", extra={"outcomes": len(done)})
                warned = True
                time.sleep(_DATABASE_PAUSE_S)
            except Exception:
                _log.exception("claims_not_given_back", extra={"deliveries": len(unstarted) + len(put_off)})
                # Their leases run out.
                self._forget(*unstarted, *((one.row.id, one.row.fence) for one in put_off))
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

    def _forget(self, *pairs: tuple[int, int]) -> None:
        self._journal.flushed(pairs)
        with self._change:
            for pair in pairs:
                self._held.pop(pair, None)
            self._change.notify_all()

    def _renew(self) -> None:
        lease_ms = clock.now_ms() + lanes.LEASE_MS
        with self._change:
            held = dict(self._held)
        try:
            kept = lanes.renew(list(held), lease_ms)
        except Exception:
            _log.exception("leases_not_renewed", extra={"deliveries": len(held)})
            return
        for pair in kept:
            held[pair].lease_ms = lease_ms
        lost = held.keys() - kept
        if lost:  # this process stood still for longer than a lease
            _log.warning("leases_lost", extra={"deliveries": len(lost)})
            self._forget(*lost)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is held any more: all that was claimed is written; False when `timeout` ran out first."""
        with self._change:
            return self._change.wait_for(lambda: not self._held, timeout)

    def close(self) -> None:
        """Let what is being sent end, give back the rest, write everything; at most `_CLOSE_S`."""
        self._closing = True
        left = self._dispatcher.close()
        with self._change:
            self._unstarted += ((row.id, row.fence) for row in left)
            self._change.notify_all()
        end = time.monotonic() + _CLOSE_S
        for thread in (*self._senders, self._flusher):
            thread.join(max(0.1, end - time.monotonic()))
        with contextlib.suppress(db.StoreUnavailable):
            self._quotas.give_back()
        self._journal.close()


def _ours(reply: str) -> Outcome:
    """A failure that is not the remote's: tried again on the schedule."""
    return Outcome(Result.DEFERRED, category="ours", reply=reply)


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
