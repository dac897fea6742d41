"""The dispatcher between the claims and the sender threads: who sends next, and what has to wait in the queue instead.

A destination that is slow, or not known yet, may keep only a part of the threads and of the memory busy, so that
whoever answers quickly always finds both.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import orjson

from gateway import clock, ids
from gateway.dns import mx_groups
from gateway.mail import reply_rules
from gateway.services import server_health, shaping
from gateway.services.breaker import Minute
from gateway.services.destinations import Destination, Job, Learned
from gateway.services.directory import Directory
from gateway.services.lanes import BATCH, Claimed, PutOff
from gateway.services.rerouting import State
from gateway.services.routing_tables import is_server
from gateway.services.shaping import Limit
from gateway.transports.base import Transport
from gateway.transports.outcome import Outcome
from models.vocabulary import DeliveryState

FORGET_S = 900.0
"""A destination that was not written to for so long is begun with carefully again."""

IDLE_S = 10.0
"""How long a thread keeps its connection without a message."""

_LEAVE_S = 60.0  # after which a thread that has nothing to do ends
_SWEEP_S = 10.0
_STREAK = 20  # messages to one destination in a row while others wait for a thread
_CAUSE = 400

Place = Destination | str
"""Where a delivery belongs: its destination, or its recipient domain while the group of that is not known."""


class Worker:
    """One sender thread, as the dispatcher sees it."""

    def __init__(self, lock: threading.Lock) -> None:
        self.wake = threading.Condition(lock)
        self.place: Destination | None = None  # whose connection it holds
        self.called: Destination | None = None
        self.streak = 0
        self.left = False  # its connections are to be closed: it goes on to another destination


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
        self._connections, self._processes = connections, processes
        self._transport, self._start = transport, start
        self._lock = threading.Lock()
        self._most: dict[str, int | None] = {}  # by server: the connections that its owner allows
        self._grouping: Transport | None = None  # the last that has a destination for each recipient domain
        self._directory = Directory(lambda domain: (self._grouping or transport("")).group(domain), self._found)
        self._destinations: dict[tuple[str, str], Destination] = {}
        self._ring: deque[Destination] = deque()  # those with something to send
        self._busy: set[Destination] = set()
        self._pending: dict[str, list[Job]] = {}  # by domain whose group is not known
        self._put_off: list[PutOff] = []
        self._idle: list[Worker] = []
        self._workers = 0
        self._limits: dict[tuple[str, str], list[Limit]] = {}
        self._obeyed: Sequence[Limit] = ()
        self._swept_s = time.monotonic()
        self._closed = False
        self.asks_now = False  # a destination refuses, and this process has no past of its own to judge it by

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
                    if isinstance(place, Destination) and place.pause is None and not self._is_doubtful(place, now_s):
                        room[key] = self._room(place, held, now_s)
                if ahead < room.get(key, 0):
                    counts[key] += 1
                    continue
                # What a vanished holder may have sent, and what a person was asked about, is judged first.
                judged = row.was in (DeliveryState.CLAIMED, DeliveryState.HELD)
                refusal = None if judged else self._refusal(row, place, ahead, held, now_s, now_ms)
                if refusal is not None:
                    gone.append(refusal)
                    continue
                counts[key] += 1
                held += isinstance(place, str) or self._is_doubtful(place, now_s)
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
                    place = self._destination_locked(group, domain, single=False)
                    self._take_in(place, job, now_s)
                elif place.pause is not None:  # since it was sifted
                    self._take_in(place, job, now_s)
                else:
                    self._enqueue(place, job)
                touched[place] = None
            for place in touched:
                self._call(place, now_s)
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
            place = self._destination_locked(group, domain, single=False)
            for job in jobs:
                self._take_in(place, job, now_s)
            self._call(place, now_s)

    def _take_in(self, place: Destination, job: Job, now_s: float) -> None:
        """Queue a job whose destination was not known when it was sifted, or put it off."""
        ahead = self._count(place, job.claimed.is_bulk)
        refusal = self._refusal(job.claimed, place, ahead, self._held_back(now_s), now_s, clock.now_ms())
        if refusal is not None:
            self._put_off.append(refusal)
        else:
            self._enqueue(place, job)

    def server_state(self, target: str) -> State:
        """What is known of a sending server, by its name among the limits."""
        with self._lock:
            place = self._destinations.get((target, ""))
            pauses = [one for one in self._limits.get((shaping.SERVER, target), ()) if one.kind == reply_rules.PAUSE]
            pause = max(pauses, key=lambda one: one.ends_ms or 1 << 62, default=None)
            if place is None:
                return State(pause)
            return State(pause, place.probing, place.waiting + (len(place.running) if place.probing else 0))

    def _destination(self, group: str, domain: str, *, single: bool, most: int | None = None) -> Destination:
        with self._lock:
            if self._most.get(group) != most:
                self._most[group] = most
                for place in self._destinations.values():
                    if place.group == group:
                        place.share(self._processes, self._cap(group, single=single))
                        place.obey(self._limits_of(place))
            return self._destination_locked(group, domain, single=single)

    def _destination_locked(self, group: str, domain: str, *, single: bool) -> Destination:
        own = domain if (shaping.DOMAIN, domain) in self._limits else ""
        found = self._destinations.get((group, own))
        if found is None:
            cap = self._cap(group, single=single)
            health = server_health.Health() if is_server(group) else None
            found = Destination(group, own, single, cap, self._processes, used_s=time.monotonic(), health=health)
            found.obey(self._limits_of(found))
            self._destinations[(group, own)] = found
        return found

    def _cap(self, group: str, *, single: bool) -> int:
        """The connections of this process: its share of the destination's, but never none; all those of a relay."""
        if not single:
            return max(1, mx_groups.manners(group).connections // self._processes)
        most = self._most.get(group)
        return self._connections if most is None else max(1, min(self._connections, most // self._processes))

    def _enqueue(self, place: Destination, job: Job) -> None:
        place.append(job)
        if not place.listed:
            place.listed = True
            self._ring.append(place)

    # --- room ------------------------------------------------------------------------------------

    def _count(self, place: Place, bulk: bool) -> int:
        if isinstance(place, str):
            return len(self._pending.get(place, ()))
        return len(place.bulk if bulk else place.urgent)

    @staticmethod
    def _is_doubtful(place: Destination, now_s: float) -> bool:
        """Whether it may keep what it is given for long."""
        return not place.trusted and (not place.proven or place.is_slow(now_s))

    def _held_back(self, now_s: float) -> int:
        """How many jobs wait for destinations that may keep them for long."""
        waiting = sum(len(jobs) for jobs in self._pending.values())
        return waiting + sum(place.waiting for place in self._ring if self._is_doubtful(place, now_s))

    def _room(self, place: Place, held: int, now_s: float) -> int:
        """How many deliveries of a stream may wait here in memory."""
        soft, hard = self.capacity // 2, self.capacity * 5 // 8
        if isinstance(place, Destination):
            ahead = place.ahead(now_s)
            if place.is_rationed:
                return min(ahead, self.capacity // 4)
            if place.trusted:
                return soft if place.is_slow(now_s) else self.capacity
            if place.is_slow(now_s):
                return 1 if held < soft else 0
            if place.proven and place.single:
                return self.capacity
            if place.proven:
                return max(8 if held >= soft else self.capacity // 4, min(ahead, self.capacity))
        return 0 if held >= hard else 2 if held >= soft else max(self.capacity // 4, soft - held)

    def _refusal(self, row: Claimed, place: Place, ahead: int, held: int, now_s: float, now_ms: int) -> PutOff | None:
        """Why a delivery does not go on now, if so."""
        if isinstance(place, Destination) and place.pause is not None:
            ends_ms = place.pause.ends_ms
            if place.health is not None and (ends_ms is None or ends_ms > now_ms):
                # Claimed again, it goes over the next server of its rule.
                return _put_off(row, now_ms, now_ms, place.pause.cause, place.pause, ends_ms)
            if ends_ms is None or ends_ms > now_ms:
                left_ms = shaping.STEP_MS if ends_ms is None else ends_ms - now_ms
                due_ms = now_ms + min(left_ms + _jittered(min(left_ms, 5000)), _step_ms())
                return _put_off(row, due_ms, now_ms, place.pause.cause, place.pause, ends_ms)
        if ahead < self._room(place, held, now_s):
            return None
        if isinstance(place, str):
            due_ms = now_ms + 1000 + _jittered(2000)
            return _put_off(row, due_ms, now_ms, f"the mail exchangers of {place} are being looked up", None, due_ms)
        at_ms = place.put_off_ms(bulk=row.is_bulk, now_s=now_s, now_ms=now_ms)
        due_ms = min(at_ms + _jittered((at_ms - now_ms) // 5), now_ms + _step_ms())
        limit = place.narrow
        if limit is not None:
            cause = limit.cause
        elif place.is_slow(now_s):
            cause = f"{place.group} answers slowly, so that others go first"
        else:
            cause = f"{place.group} has as many messages as it takes now"
        return _put_off(row, due_ms, now_ms, cause, limit, due_ms)

    # --- threads -----------------------------------------------------------------------------------

    def next(self, worker: Worker) -> Job | None:
        """The next job for the thread, waited for; None when it should end.

        Where `worker.left` is set afterwards, its connections belong to another destination and are to be closed.
        """
        with self._lock:
            idle_since = time.monotonic()
            while not self._closed:
                now_s = time.monotonic()
                job = self._pick(worker, now_s)
                if job is not None and worker.place is not None:
                    self._call(worker.place, now_s)
                    return job
                if now_s - idle_since >= (IDLE_S if worker.place is not None else _LEAVE_S):
                    break
                self._idle.append(worker)
                worker.wake.wait(IDLE_S)
                if worker in self._idle:
                    self._idle.remove(worker)
            self._leave(worker)
            self._workers -= 1
            return None

    def end(self, worker: Worker, outcome: Outcome | None, started_ms: int) -> Learned:
        """The thread's job is done; `outcome` None: it was not tried."""
        now_s = time.monotonic()
        with self._lock:
            place = worker.place
            if place is None:
                return Learned()
            self._busy.discard(place)
            if outcome is None:
                place.running.pop(worker, None)
                learned = Learned()
            else:
                learned = place.end(worker, outcome, now_s, started_ms)
                self.asks_now = self.asks_now or (place.asks and place.breaker.is_young)
            if place.running:
                self._busy.add(place)
            return learned

    def _pick(self, worker: Worker, now_s: float) -> Job | None:
        called, worker.called = worker.called, None
        if called is not None:
            called.called -= 1
        slow = new = -1
        for place in self._order(worker, called):
            if not place.waiting:
                if self._ring and self._ring[0] is place:
                    self._ring.popleft()
                    place.listed = False
                continue
            if not place.may_start(now_s, worker):
                continue
            if self._is_doubtful(place, now_s):
                if slow < 0:
                    slow, new = self._doubtful_running(now_s)
                if not self._may_doubt(place, slow, new, now_s):
                    continue
            return self._begin(worker, place, now_s)
        return None

    def _order(self, worker: Worker, called: Destination | None) -> Iterable[Destination]:
        """The destinations in the order in which the thread should try them: its own first, then in turn."""
        if called is not None:
            yield called
        mine = worker.place
        crowded = len(self._ring) > 1 and not self._idle and self._workers >= self.threads
        if mine is not None and mine is not called and not (crowded and worker.streak >= _STREAK):
            yield mine
        for _ in range(len(self._ring)):
            if not self._ring:
                return
            place = self._ring[0]
            yield place
            if self._ring and self._ring[0] is place:
                self._ring.rotate(-1)

    def _begin(self, worker: Worker, place: Destination, now_s: float) -> Job:
        if worker.place is place:
            worker.streak += 1
        else:
            self._leave(worker)
            worker.place, worker.streak = place, 1
            place.holders.add(worker)
        if self._ring and self._ring[0] is place:
            self._ring.rotate(-1)
        place.begin(worker, now_s)
        self._busy.add(place)
        return place.take()

    def _leave(self, worker: Worker) -> None:
        if worker.place is not None:
            worker.place.holders.discard(worker)
            worker.place, worker.left = None, True

    def _doubtful_running(self, now_s: float) -> tuple[int, int]:
        """Threads that send to slow destinations, and those that send to unknown ones."""
        slow = new = 0
        for place in self._busy:
            if not place.trusted:
                if place.is_slow(now_s):
                    slow += len(place.running)
                elif not place.proven:
                    new += len(place.running)
        return slow, new

    def _may_doubt(self, place: Destination, slow: int, new: int, now_s: float) -> bool:
        """Slow destinations share at most half of the threads, unknown ones with them at most three quarters."""
        if place.is_slow(now_s):
            return slow < self.threads // 2
        return slow + new < self.threads * 3 // 4

    def _call(self, place: Destination, now_s: float) -> None:
        """Have as many threads come as may send to the destination now."""
        most = place.connections()
        while (
            place.called < place.waiting
            and len(place.running) + place.called < most
            and not self._closed
            and place.may_start(now_s)
        ):
            if self._is_doubtful(place, now_s) and not self._may_doubt(
                place, *self._doubtful_running(now_s), now_s=now_s
            ):
                return
            worker = self._waken(place, most)
            if worker is None:
                return
            worker.called = place
            place.called += 1

    def _waken(self, place: Destination, most: int) -> Worker | None:
        """An idle thread, best one that has a connection to it, or a new one."""
        free = None
        for worker in reversed(self._idle):
            if worker.place is place:
                free = worker
                break
            if free is None or (free.place is not None and worker.place is None):
                free = worker
        if free is not None and free.place is not place and len(place.holders) + place.called >= most:
            return None
        if free is not None:
            self._idle.remove(free)
            free.wake.notify()
            return free
        if self._workers >= self.threads or len(place.holders) + place.called >= most:
            return None
        made = Worker(self._lock)
        try:
            self._start(made)
        except RuntimeError:  # the system gives no more threads: those that are there go on
            return None
        self._workers += 1
        return made

    # --- time and limits -------------------------------------------------------------------------

    def tick(self) -> list[PutOff]:
        """Look after the queues, some times a second; returns what goes back to the database."""
        now_s, now_ms = time.monotonic(), clock.now_ms()
        with self._lock:
            for place in list(self._ring):
                if place.is_rationed or (place.is_slow(now_s) and not place.trusted):
                    most = max(1, place.ahead(now_s)) if place.is_rationed else 1
                    for job in place.cut(most):
                        refusal = self._refusal(job.claimed, place, self.capacity, 0, now_s, now_ms)
                        if refusal is not None:
                            self._put_off.append(refusal)
                self._call(place, now_s)
            if now_s - self._swept_s > _SWEEP_S:
                self._swept_s = now_s
                for key, place in list(self._destinations.items()):
                    if not (place.waiting or place.running or place.called) and now_s - place.used_s > FORGET_S:
                        del self._destinations[key]
            gone, self._put_off = self._put_off, []
            return gone

    def obey(self, limits: Sequence[Limit]) -> None:
        """These hold from now on; what is paused leaves the queues."""
        now_s, now_ms = time.monotonic(), clock.now_ms()
        with self._lock:
            if limits == self._obeyed:
                return
            self._obeyed = limits
            before = {target for scope, target in self._limits if scope == shaping.DOMAIN}
            self._limits = {}
            for limit in limits:
                self._limits.setdefault((limit.scope, limit.target), []).append(limit)
            after = {target for scope, target in self._limits if scope == shaping.DOMAIN}
            for place in list(self._destinations.values()):
                place.obey(self._limits_of(place))
                if before != after and place.waiting:
                    for job in place.cut(0):
                        domain = job.claimed.rcpt.rpartition("@")[2].lower()
                        self._enqueue(self._destination_locked(place.group, domain, single=place.single), job)
            for place in list(self._ring):
                if place.pause is not None:
                    for job in place.cut(0):
                        refusal = self._refusal(job.claimed, place, self.capacity, 0, now_s, now_ms)
                        if refusal is not None:
                            self._put_off.append(refusal)
                        else:
                            self._enqueue(place, job)

    def share(self, processes: int) -> None:
        """So many processes deliver now, on all hosts: what is meant for all of them is shared out anew."""
        with self._lock:
            if processes == self._processes:
                return
            self._processes = processes
            for place in self._destinations.values():
                place.share(processes, self._cap(place.group, single=place.single))
                place.obey(self._limits_of(place))

    def take_seen(self) -> tuple[dict[tuple[str, int], tuple[int, int]], set[str]]:
        """(target, minute) → messages taken and refused since the last call; the targets that ask for all of it."""
        seen: dict[tuple[str, int], tuple[int, int]] = {}
        asking: set[str] = set()
        with self._lock:
            self.asks_now = False
            for place in self._destinations.values():
                for minute, (taken, refused) in place.take_seen().items():
                    before = seen.get((place.group, minute), (0, 0))
                    seen[(place.group, minute)] = (before[0] + taken, before[1] + refused)
                if place.asks:
                    asking.add(place.group)
                    place.asks = False
        return seen, asking

    def tell(self, pasts: Mapping[str, Sequence[Minute]]) -> None:
        """What all processes saw of these targets."""
        with self._lock:
            for place in self._destinations.values():
                minutes = pasts.get(place.group)
                if minutes is not None:
                    place.breaker.share(minutes)

    def _limits_of(self, place: Destination) -> list[Limit]:
        scope = shaping.SERVER if place.health is not None else shaping.MX
        mine = self._limits.get((scope, place.group), []) if place.group else []
        return [*mine, *(self._limits.get((shaping.DOMAIN, place.domain), []) if place.domain else [])]

    def close(self) -> list[Claimed]:
        """Send the threads home; returns what was not begun."""
        with self._lock:
            self._closed = True
            self._directory.close()
            left = [job.claimed for jobs in self._pending.values() for job in jobs]
            left += [job.claimed for place in self._ring for job in place.cut(0)]
            left += [one.row for one in self._put_off]
            self._pending, self._put_off = {}, []
            for worker in self._idle:
                worker.wake.notify()
            return left


def _put_off(row: Claimed, due_ms: int, now_ms: int, cause: str, limit: Limit | None, until_ms: int | None) -> PutOff:
    """Looked at again at its end at the latest, so that its time limit holds."""
    due_ms = min(due_ms, max(row.expires_ms, now_ms + 1000))
    verdict = {
        "gate": "shaping",
        "limit": limit.id if limit is not None else None,
        "until_ms": until_ms,
        "cause": cause[:_CAUSE],
    }
    paused = limit is not None and limit.kind == reply_rules.PAUSE
    return PutOff(row, due_ms, orjson.dumps(verdict).decode(), cause, paused)


def _jittered(ms: int) -> int:
    """From nothing to `ms`."""
    return int(ms * ids.jitter(1.0) / 2)


def _step_ms() -> int:
    """Up to the longest step, never the same: what was put off together comes back spread out."""
    return int(shaping.STEP_MS * 0.8 * ids.jitter(0.25))
