"""The deliveries that a process has claimed, until what became of them is written: shared between its threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway import clock
from gateway.services import lanes
from gateway.services.destinations import Learned
from gateway.services.journal import Journal
from gateway.services.lanes import Claimed, PutOff
from gateway.services.outcomes import Done
from gateway.services.routes import Next
from gateway.transports.outcome import Outcome

FLUSH_AT = 100
FLUSH_AFTER_S = 0.05
START_MARGIN_MS = 30_000
"""A message is not started with less of its lease left than this."""

Pair = tuple[int, int]
"""A claim: the delivery's id and its fence."""


@dataclass(frozen=True, slots=True)
class Unwritten:
    """What the database does not know yet; `doubtful`: claims that broke off at their commit, with their lease."""

    done: list[Done]
    unstarted: list[Pair]
    doubtful: dict[Pair, int]
    put_off: list[PutOff]
    learned: list[Learned]


class InFlight:
    """What of it is over is collected for whoever writes it; the journal has it meanwhile."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._change = threading.Condition()
        self._held: dict[Pair, Claimed] = {}
        self._done: list[Done] = []
        self._unstarted: list[Pair] = []
        self._put_off: list[PutOff] = []
        self._learned: list[Learned] = []
        self._doubtful: dict[Pair, int] = {}
        self.closing = False

    @property
    def count(self) -> int:
        return len(self._held)

    # --- what comes in -------------------------------------------------------------------------

    def take(self, claimed: Sequence[Claimed]) -> None:
        """Hold what was claimed just now."""
        pairs = [row.pair for row in claimed]
        with self._change:
            self._held.update(zip(pairs, claimed, strict=True))
        self.journal.confirmed(pairs)
        with self._change:
            # A transaction that ran twice planned claims that it then did not make.
            self._doubtful |= self.journal.unconfirmed()

    def doubt(self) -> None:
        """A claim broke off: the answer to its commit may be what was lost, then rows are ours and nobody knows it."""
        with self._change:
            self._doubtful |= self.journal.unconfirmed()
            self._change.notify_all()

    def starts(self, row: Claimed, *, paused: bool) -> bool:
        """Whether the row may be sent now; if not, it goes back, or another has it."""
        with self._change:
            if row.pair not in self._held:  # its lease was lost
                return False
            if self.closing or paused or row.lease_ms - clock.now_ms() < START_MARGIN_MS:
                self._unstarted.append(row.pair)
                return False
        return True

    # --- what is over --------------------------------------------------------------------------

    def finish(
        self,
        row: Claimed,
        outcome: Outcome,
        transport: str,
        started_ms: int,
        learned: Learned | None = None,
        goes_on: Next | None = None,
    ) -> None:
        """An attempt ended: what the remote said is in the journal from here on."""
        surge, target = (learned.surge, learned.target) if learned is not None else (False, "")
        ms = clock.now_ms() - started_ms
        done = Done(row.id, row.fence, outcome, transport, started_ms, ms, surge, goes_on, target)
        self.journal.answered(done.pair, done.dump())
        with self._change:
            self._done.append(done)
            if learned is not None and learned.lesson is not None:
                self._learned.append(learned)
            if len(self._done) == 1 or len(self._done) >= FLUSH_AT:
                self._change.notify_all()

    def give_back(self, rows: Iterable[Claimed]) -> None:
        """These were not begun, and are not going to be by this process."""
        with self._change:
            self._unstarted += (row.pair for row in rows)
            self._change.notify_all()

    def give_back_held(self, rows: Iterable[Claimed]) -> None:
        """Those of the rows that are not settled."""
        with self._change:
            self._unstarted += (row.pair for row in rows if row.pair in self._held)

    def put_off(self, some: Sequence[PutOff]) -> None:
        with self._change:
            self._put_off += some

    def learn(self, learned: Sequence[Learned]) -> None:
        with self._change:
            self._learned += learned

    def forget(self, *pairs: Pair) -> None:
        """The database knows these now."""
        self.journal.flushed(pairs)
        with self._change:
            for pair in pairs:
                self._held.pop(pair, None)
            self._change.notify_all()

    # --- for whoever writes it -----------------------------------------------------------------

    def collect(self, stuck: int) -> Unwritten | None:
        """What is to be written, waited for a moment; None at the end, when no more is held than the `stuck`."""
        with self._change:
            if not self._done and not self._unstarted and not self._doubtful and not self._put_off:
                if self.closing and len(self._held) == stuck:
                    return None
                self._change.wait(FLUSH_AFTER_S if self._held else 1.0)
            elif len(self._done) < FLUSH_AT:
                self._change.wait(FLUSH_AFTER_S)
            found = Unwritten(self._done, self._unstarted, self._doubtful, self._put_off, self._learned)
            self._done, self._unstarted, self._doubtful, self._put_off, self._learned = [], [], {}, [], []
            return found

    def renew(self) -> set[Pair]:
        """Move the leases on; returns the claims that were lost, as this process stood still for longer than a lease.

        Raises `StoreUnavailable`.
        """
        lease_ms = clock.now_ms() + lanes.LEASE_MS
        with self._change:
            held = dict(self._held)
        kept = lanes.renew(list(held), lease_ms)
        for pair in kept:
            held[pair].lease_ms = lease_ms
        return held.keys() - kept

    # --- waiting for it ------------------------------------------------------------------------

    def wait_change(self, timeout: float) -> None:
        with self._change:
            self._change.wait(timeout)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is held any more; False when `timeout` ran out first."""
        with self._change:
            return self._change.wait_for(lambda: not self._held, timeout)
