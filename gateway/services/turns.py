"""Who sends next: destinations that have something to send, in turn, each by as many threads as it may have."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from gateway.services.destinations import Destination, Job, Learned
from gateway.transports.outcome import Outcome

IDLE_S = 10.0
"""How long a thread keeps its connection without a message."""

_LEAVE_S = 60.0  # after which a thread that has nothing to do ends
_STREAK = 20  # messages to one destination in a row while others wait for a thread


class Worker:
    """One sender thread, as the dispatcher sees it."""

    def __init__(self, lock: threading.Lock) -> None:
        self.wake = threading.Condition(lock)
        self.place: Destination | None = None  # whose connection it holds
        self.called: Destination | None = None
        self.streak = 0
        self.left = False  # its connections are to be closed: it goes on to another destination


class Turns:
    """Up to `threads` threads, which `start` starts as they are needed.

    Only `next` and `end` take the `lock`; whoever calls another function has it.
    """

    def __init__(self, lock: threading.Lock, threads: int, start: Callable[[Worker], None]) -> None:
        self._lock, self._threads, self._start = lock, threads, start
        self._ring: deque[Destination] = deque()  # those with something to send
        self._busy: set[Destination] = set()
        self._idle: list[Worker] = []
        self._workers = 0
        self._closed = False
        self.asks_now = False  # a destination refuses, and this process has no past of its own to judge it by

    def enqueue(self, place: Destination, job: Job) -> None:
        place.append(job)
        if not place.listed:
            place.listed = True
            self._ring.append(place)

    def waiting(self) -> list[Destination]:
        """The destinations that have something to send."""
        return list(self._ring)

    def held_back(self, now_s: float) -> int:
        """How many jobs wait for destinations that may keep them for long."""
        return sum(place.waiting for place in self._ring if place.is_doubtful(now_s))

    def close(self) -> None:
        """Send the threads home."""
        self._closed = True
        for worker in self._idle:
            worker.wake.notify()

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
                    self.call(worker.place, now_s)
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
            if place.is_doubtful(now_s):
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
        crowded = len(self._ring) > 1 and not self._idle and self._workers >= self._threads
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
            return slow < self._threads // 2
        return slow + new < self._threads * 3 // 4

    def call(self, place: Destination, now_s: float) -> None:
        """Have as many threads come as may send to the destination now."""
        most = place.connections()
        while (
            place.called < place.waiting
            and len(place.running) + place.called < most
            and not self._closed
            and place.may_start(now_s)
        ):
            if place.is_doubtful(now_s) and not self._may_doubt(place, *self._doubtful_running(now_s), now_s=now_s):
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
        if self._workers >= self._threads or len(place.holders) + place.called >= most:
            return None
        made = Worker(self._lock)
        try:
            self._start(made)
        except RuntimeError:  # the system gives no more threads: those that are there go on
            return None
        self._workers += 1
        return made
