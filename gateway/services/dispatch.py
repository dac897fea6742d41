"""The dispatcher between the claims and the sender threads: it queues by destination what there is room for.

A destination that is slow, or not known yet, may keep only a part of the threads and of the memory busy, so that
whoever answers quickly always finds both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from gateway import clock
from gateway.services.admission import Admission
from gateway.services.breaker import Minute
from gateway.services.destination_table import DestinationTable
from gateway.services.destinations import Destination, Job, Learned, Place
from gateway.services.directory import Directory
from gateway.services.lanes import BATCH, Claimed, PutOff
from gateway.services.rerouting import State
from gateway.services.shaping import Limit
from gateway.services.turns import Turns, Worker
from gateway.transports.base import Transport
from gateway.transports.outcome import Outcome
from models.vocabulary import DeliveryState

_SWEEP_S = 10.0


class Dispatcher:
    """Queues by destination, served in turn by up to `threads` threads that `start` starts as they are needed.

    `transport` gives the way out of a route. `capacity` is how many deliveries the process holds.
    """

    def __init__(
        self,
        *,
        threads: int,
        connections: int,
        processes: int,
        transport: Callable[[str], Transport],
        start: Callable[[Worker], None],
    ) -> None:
        self.threads = max(threads, connections)
        self.capacity = max(2 * BATCH, 16 * connections, 10 * self.threads)
        self._transport = transport
        self._lock = threading.Lock()
        self._grouping: Transport | None = None  # the last that has a destination for each recipient domain
        self._directory = Directory(lambda domain: (self._grouping or transport("")).group(domain), self._found)
        self._table = DestinationTable(connections=connections, processes=processes)
        self._admission = Admission(self.capacity)
        self._turns = Turns(self._lock, self.threads, start)
        self._pending: dict[str, list[Job]] = {}  # by domain whose group is not known
        self._put_off: list[PutOff] = []
        self._swept_s = time.monotonic()
        self._closed = False

    # --- what comes in -------------------------------------------------------------------------

    def place(self, row: Claimed) -> Place:
        """Where a delivery belongs; raises what building its transport raises."""
        transport = self._transport(row.route)
        domain = row.rcpt.rpartition("@")[2].lower()
        if transport.single:
            most = getattr(transport, "connections", None)
            return self._destination(transport.group(domain), domain, single=True, most=most)
        self._grouping = transport
        group = self._directory.group(domain)
        return domain if group is None else self._destination(group, domain, single=False)

    def _destination(self, group: str, domain: str, *, single: bool, most: int | None = None) -> Destination:
        with self._lock:
            self._table.allow(group, most, single=single)
            return self._table.find(group, domain, single=single)

    def sift(self, placed: Sequence[tuple[Claimed, Place]]) -> list[PutOff]:
        """Those of a batch for which there is no room now; the others may be made ready and `add`ed."""
        now_s, now_ms = time.monotonic(), clock.now_ms()
        counts: dict[tuple[Place, bool], int] = {}
        room: dict[tuple[Place, bool], int] = {}  # of those that stay as free as they are, whatever else comes
        gone: list[PutOff] = []
        with self._lock:
            held = self._held_back(now_s)
            for row, place in placed:
                key = (place, row.is_bulk)
                ahead = counts.get(key)
                if ahead is None:
                    ahead = counts[key] = self._count(place, row.is_bulk)
                    if isinstance(place, Destination) and place.pause is None and not place.is_doubtful(now_s):
                        room[key] = self._admission.room(place, held, now_s)
                if ahead < room.get(key, 0):
                    counts[key] += 1
                    continue
                # What a vanished holder may have sent, and what a person was asked about, is judged first.
                judged = row.was in (DeliveryState.CLAIMED, DeliveryState.HELD)
                refusal = None if judged else self._admission.refusal(row, place, ahead, held, now_s, now_ms)
                if refusal is not None:
                    gone.append(refusal)
                    continue
                counts[key] += 1
                held += isinstance(place, str) or place.is_doubtful(now_s)
        return gone

    def add(self, ready: Sequence[tuple[Job, Place]]) -> list[Claimed]:
        """Queue jobs for the threads; returns what is not taken any more."""
        now_s = time.monotonic()
        with self._lock:
            if self._closed:
                return [job.claimed for job, _ in ready]
            touched: dict[Destination, None] = {}
            for job, place in ready:
                if isinstance(place, str):
                    domain = place
                    group = self._directory.group(domain)
                    if group is None:
                        self._pending.setdefault(domain, []).append(job)
                        continue
                    place = self._table.find(group, domain, single=False)
                    self._take_in(place, job, now_s)
                elif place.pause is not None:  # since it was sifted
                    self._take_in(place, job, now_s)
                else:
                    self._turns.enqueue(place, job)
                touched[place] = None
            for place in touched:
                self._turns.call(place, now_s)
        return []

    def _found(self, domain: str) -> None:
        """The directory knows the group of a domain: what waited for that goes on."""
        group = self._directory.group(domain)
        if group is None:
            return
        now_s = time.monotonic()
        with self._lock:
            jobs = self._pending.pop(domain, [])
            if not jobs:
                return
            place = self._table.find(group, domain, single=False)
            for job in jobs:
                self._take_in(place, job, now_s)
            self._turns.call(place, now_s)

    def _take_in(self, place: Destination, job: Job, now_s: float) -> None:
        """Queue a job whose destination was not known when it was sifted, or put it off."""
        ahead = self._count(place, job.claimed.is_bulk)
        refusal = self._admission.refusal(job.claimed, place, ahead, self._held_back(now_s), now_s, clock.now_ms())
        if refusal is not None:
            self._put_off.append(refusal)
        else:
            self._turns.enqueue(place, job)

    def _count(self, place: Place, bulk: bool) -> int:
        if isinstance(place, str):
            return len(self._pending.get(place, ()))
        return len(place.bulk if bulk else place.urgent)

    def _held_back(self, now_s: float) -> int:
        """How many jobs wait for destinations that may keep them for long."""
        return sum(len(jobs) for jobs in self._pending.values()) + self._turns.held_back(now_s)

    # --- threads -----------------------------------------------------------------------------------

    def next(self, worker: Worker) -> Job | None:
        """The next job for the thread, waited for; None when it should end.

        Where `worker.left` is set afterwards, its connections belong to another destination and are to be closed.
        """
        return self._turns.next(worker)

    def end(self, worker: Worker, outcome: Outcome | None, started_ms: int) -> Learned:
        """The thread's job is done; `outcome` None: it was not tried."""
        return self._turns.end(worker, outcome, started_ms)

    # --- time and limits -------------------------------------------------------------------------

    def tick(self) -> list[PutOff]:
        """Look after the queues, some times a second; returns what goes back to the database."""
        now_s, now_ms = time.monotonic(), clock.now_ms()
        with self._lock:
            for place in self._turns.waiting():
                if place.is_rationed or (place.is_slow(now_s) and not place.trusted):
                    most = max(1, place.ahead(now_s)) if place.is_rationed else 1
                    for job in place.cut(most):
                        refusal = self._admission.refusal(job.claimed, place, self.capacity, 0, now_s, now_ms)
                        if refusal is not None:
                            self._put_off.append(refusal)
                self._turns.call(place, now_s)
            if now_s - self._swept_s > _SWEEP_S:
                self._swept_s = now_s
                self._table.forget_unused(now_s)
            gone, self._put_off = self._put_off, []
            return gone

    def obey(self, limits: Sequence[Limit]) -> None:
        """These hold from now on; what is paused leaves the queues."""
        now_s, now_ms = time.monotonic(), clock.now_ms()
        with self._lock:
            if self._table.obeys(limits):
                return
            if self._table.obey(limits):
                for place in self._turns.waiting():
                    for job in place.cut(0):
                        domain = job.claimed.rcpt.rpartition("@")[2].lower()
                        self._turns.enqueue(self._table.find(place.group, domain, single=place.single), job)
            for place in self._turns.waiting():
                if place.pause is not None:
                    for job in place.cut(0):
                        refusal = self._admission.refusal(job.claimed, place, self.capacity, 0, now_s, now_ms)
                        if refusal is not None:
                            self._put_off.append(refusal)
                        else:
                            self._turns.enqueue(place, job)

    def share(self, processes: int) -> None:
        """So many processes deliver now, on all hosts: what is meant for all of them is shared out anew."""
        with self._lock:
            self._table.share(processes)

    def server_state(self, target: str) -> State:
        """What is known of a sending server, by its name among the limits."""
        with self._lock:
            return self._table.server_state(target)

    @property
    def asks_now(self) -> bool:
        """Whether a destination refuses, and this process has no past of its own to judge it by."""
        return self._turns.asks_now

    def take_seen(self) -> tuple[dict[tuple[str, int], tuple[int, int]], set[str]]:
        """(target, minute) → messages taken and refused since the last call; the targets that ask for all of it."""
        with self._lock:
            self._turns.asks_now = False
            return self._table.take_seen()

    def tell(self, pasts: Mapping[str, Sequence[Minute]]) -> None:
        """What all processes saw of these targets."""
        with self._lock:
            self._table.tell(pasts)

    def close(self) -> list[Claimed]:
        """Send the threads home; returns what was not begun."""
        with self._lock:
            self._closed = True
            self._directory.close()
            left = [job.claimed for jobs in self._pending.values() for job in jobs]
            left += [job.claimed for place in self._turns.waiting() for job in place.cut(0)]
            left += [one.row for one in self._put_off]
            self._pending, self._put_off = {}, []
            self._turns.close()
            return left
