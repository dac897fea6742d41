"""What one process knows of a destination: its queue, how fast it answers, and how many connections it may have."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway import clock
from gateway.mail import classify, reply_rules
from gateway.services import breaker, failover, server_health, shaping
from gateway.services.lanes import Claimed
from gateway.services.shaping import Lesson, Limit
from gateway.transports.outcome import Outcome, Result

SLOW_S = 5.0
"""A destination whose messages take longer on average, or that has not answered for so long, is slow."""

_FIRST_GUESS_S = 0.5
_WEIGHT = 0.3  # of the last message in the average
_AHEAD_S = 3.0  # as much as a destination takes in this time may wait for it in memory
_HOLD_S = 2.5  # until the row of a limit just learned has come round
_UNPROVEN_MS = 400
_BULK_TURN = 5  # every so many messages one of bulk goes before the transactional ones
_GREYLISTED = re.compile(r"gr[ae]y-?list|postgrey", re.IGNORECASE)
_ADDRESS = re.compile(r"[^\s<>@,;:()\"']{1,64}@[A-Za-z0-9.-]{1,253}")
_REPLY = 300


@dataclass(slots=True, eq=False)
class Job:
    """A delivery that is ready to be sent; `message` is whatever the sender renders it from."""

    claimed: Claimed
    message: Any
    mail_from: str
    tls_required: bool


@dataclass(frozen=True, slots=True)
class Learned:
    """What the end of an attempt says about its destination; `undo`: what a surge of refusals did is not believed.

    `target` is its name among the limits, where it has refused the recipient.
    """

    surge: bool = False
    lesson: Lesson | None = None
    undo: breaker.Trip | None = None
    target: str = ""


_NOTHING = Learned()


@dataclass(slots=True, eq=False)
class Destination:
    """A group of mail exchangers, or a recipient domain with limits of its own, or a smarthost (`single`).

    One with `health` is a sending server of an account, by its name among the limits.

    `cap` is the most connections that this process may have. Not safe between threads by itself.
    """

    group: str
    domain: str
    single: bool
    cap: int
    processes: int
    used_s: float = 0.0  # monotonic
    window: float = 1.0  # connections that it has earned: grows with each round of successes, halves with trouble
    proven: bool = False  # it answered quickly since it was last unknown
    pace_s: float = 0.0  # average of a message, 0 unknown
    urgent: deque[Job] = field(default_factory=deque)
    bulk: deque[Job] = field(default_factory=deque)
    running: dict[object, float] = field(default_factory=dict)  # who sends to it, since when
    holders: set[object] = field(default_factory=set)  # who has, or may have, a connection to it
    called: int = 0  # threads that were woken for it and have not come yet
    listed: bool = False
    breaker: breaker.Breaker = field(default_factory=breaker.Breaker)
    seen: dict[int, list[int]] = field(default_factory=dict)  # minute → taken, refused; until it is shared
    asks: bool = False  # it refused something since it was last told what all processes saw
    health: server_health.Health | None = None
    pause: Limit | None = None
    narrow: Limit | None = None  # the tightest limit of connections or rate
    horizon_ms: dict[bool, int] = field(default_factory=dict)  # by bulk: until when what was put off fills its time
    _few: int = 1_000_000
    _interval_s: float = 0.0
    _ready_s: float = 0.0
    _halved_s: float = 0.0
    _served: int = 0

    @property
    def trusted(self) -> bool:
        """Whether it may have as many threads as it wants: the operator's relay, not a tenant's sending server."""
        return self.single and self.health is None

    # --- its queue ---------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        return len(self.urgent) + len(self.bulk)

    def append(self, job: Job) -> None:
        (self.bulk if job.claimed.is_bulk else self.urgent).append(job)

    def take(self) -> Job:
        """The next job; transactional ones first, but not for ever."""
        self._served += 1
        first, second = self.urgent, self.bulk
        if self._served % _BULK_TURN == 0:
            first, second = second, first
        return (first or second).popleft()

    def cut(self, most: int) -> list[Job]:
        """Take out what is beyond the first `most` jobs of each stream."""
        gone: list[Job] = []
        for jobs in (self.urgent, self.bulk):
            while len(jobs) > most:
                gone.append(jobs.pop())
        return gone[::-1]

    # --- how fast it is ----------------------------------------------------------------------

    def message_s(self, now_s: float) -> float:
        """Seconds that a message takes: the average, or the age of one that is not answered yet."""
        oldest = min(self.running.values(), default=now_s)
        return max(self.pace_s or _FIRST_GUESS_S, now_s - oldest)

    def is_slow(self, now_s: float) -> bool:
        return self.message_s(now_s) > SLOW_S

    def is_doubtful(self, now_s: float) -> bool:
        """Whether it may keep what it is given for long."""
        return not self.trusted and (not self.proven or self.is_slow(now_s))

    def connections(self) -> int:
        """How many this process may have now."""
        most = self.cap if self.single else min(self.cap, int(self.window))
        return 1 if self.probing else max(1, min(most, self._few))

    @property
    def probing(self) -> bool:
        """Whether a pause that refusals or failures asked for is over, and the next messages decide."""
        return self.breaker.probing or (self.health is not None and self.health.probing)

    def may_start(self, now_s: float, worker: object | None = None) -> bool:
        """Whether a message may go to it now; over a connection of `worker` where it has one."""
        if self._ready_s > now_s or len(self.running) >= self.connections():
            return False
        return worker is None or worker in self.holders or len(self.holders) < self.connections()

    def seconds_each(self, now_s: float) -> float:
        """The time between two messages at which it is kept busy."""
        return max(self.message_s(now_s) / self.connections(), self._interval_s)

    def ahead(self, now_s: float) -> int:
        """How many messages of a stream it takes soon."""
        return max(1, int(_AHEAD_S / self.seconds_each(now_s)))

    @property
    def is_rationed(self) -> bool:
        return self._interval_s > 0

    def begin(self, worker: object, now_s: float) -> None:
        self.running[worker] = self.used_s = now_s
        if self._interval_s:
            # What a second left unused may be made up for: threads look about once a second.
            self._ready_s = max(self._ready_s, now_s - 1.0) + self._interval_s

    def put_off_ms(self, *, bulk: bool, now_s: float, now_ms: int) -> int:
        """The time at which one more message may find room: each that is put off moves it on."""
        if self.single and not self.proven and not self.is_slow(now_s):
            return now_ms + _UNPROVEN_MS  # its first answers are on their way, and then it takes what there is
        connections = self.cap if self.proven else None  # it may earn more meanwhile: better early than idle
        # Whichever process is ready first may take it: the rate of all is what it waits for.
        each_s = max(self.message_s(now_s) / (connections or self.connections()), self._interval_s / self.processes)
        step_ms = int(1000 * each_s)
        soon_ms = now_ms + (2000 if self.is_slow(now_s) else 1000)
        at_ms = max(self.horizon_ms.get(bulk, 0), soon_ms) + step_ms
        self.horizon_ms[bulk] = min(at_ms, now_ms + 3_600_000)
        return at_ms

    # --- what it is told, and what it says -----------------------------------------------------

    def share(self, processes: int, cap: int) -> None:
        """So many processes deliver now, and this one may have `cap` connections; then call `obey`."""
        self.processes, self.cap = processes, cap
        self.window = min(self.window, float(max(1, cap)))

    def take_seen(self) -> dict[int, tuple[int, int]]:
        """What was taken and refused in each minute since the last call."""
        seen, self.seen = self.seen, {}
        return {minute: (taken, refused) for minute, (taken, refused) in seen.items()}

    def obey(self, limits: Iterable[Limit]) -> None:
        """Take over the limits that hold for it; each is for all processes that deliver and is shared out."""
        self.pause, self.narrow = None, None
        self._few, interval_s, tripped, failed = 1_000_000, 0.0, False, False
        for limit in limits:
            tripped = tripped or limit.rule == breaker.RULE
            failed = failed or limit.rule == server_health.RULE
            if limit.kind == reply_rules.PAUSE:
                if self.pause is None or (limit.ends_ms or 1 << 62) > (self.pause.ends_ms or 1 << 62):
                    self.pause = limit
            elif limit.kind == reply_rules.CONNECTIONS:
                self._few = min(self._few, max(1, limit.value // self.processes))
                self.narrow = self.narrow or limit
            elif 60.0 * self.processes / limit.value > interval_s:
                interval_s = 60.0 * self.processes / limit.value
                self.narrow = limit
        self._interval_s = interval_s
        if tripped:
            self.breaker.paused()
        else:
            self.breaker.resumed()
        if self.health is not None:
            if failed:
                self.health.paused()
            else:
                self.health.resumed()

    def end(self, worker: object, outcome: Outcome, now_s: float, started_ms: int) -> Learned:
        """Note how an attempt ended and draw the conclusions."""
        began_s = self.running.pop(worker, now_s)
        took_s = now_s - began_s
        if self.health is not None:
            failed = failover.fails(outcome)
            seconds = self.health.note(failed=failed, asked_s=outcome.retry_after if failed else None)
            if seconds is not None:
                self._ready_s = now_s + _HOLD_S
                return Learned(lesson=self._failing(outcome, seconds, started_ms))
            if failed:
                return _NOTHING  # it says nothing of how fast it is, nor of its recipients
        if outcome.category == classify.OURS and outcome.code is None:
            return _NOTHING
        answered = outcome.code is not None
        if answered or took_s > 1:  # what was not even tried says nothing of its speed
            self.pace_s = took_s if not self.pace_s else (1 - _WEIGHT) * self.pace_s + _WEIGHT * took_s
        if answered and took_s < SLOW_S:
            self.window = max(self.window, 2.0)
            self.proven = True
        if outcome.taken:
            self.window = min(self.window + 1 / max(1.0, self.window), float(self.cap))
        elif _is_trouble(outcome) and began_s >= self._halved_s:
            # Once for all that were on their way together.
            self.window, self._halved_s = max(1.0, self.window / 2), now_s
        return self._learn(outcome, now_s, started_ms)

    def _failing(self, outcome: Outcome, seconds: int, started_ms: int) -> Lesson:
        until_ms = clock.now_ms() + 1000 * seconds
        again = "it asked for time" if outcome.retry_after else "it failed again and again; the last time"
        cause = f"{again}: {_said(outcome)}"
        return Lesson(
            self.group, server_health.RULE, reply_rules.PAUSE, 0, until_ms, cause, started_ms, scope=shaping.SERVER
        )

    @property
    def _scope(self) -> str:
        return shaping.MX if self.health is None else shaping.SERVER

    def _learn(self, outcome: Outcome, now_s: float, started_ms: int) -> Learned:
        refused = outcome.result is Result.BOUNCED and (outcome.code or 0) >= 500
        if not self.group or not (refused or outcome.taken or outcome.result is Result.DEFERRED):
            return _NOTHING
        if outcome.result is not Result.DEFERRED:
            self.seen.setdefault(clock.now_ms() // 60_000, [0, 0])[refused] += 1
            self.asks = self.asks or refused
        if outcome.taken:
            self.breaker.note(refused=False, reply="", host="", at_ms=started_ms)
            return _NOTHING
        said = _said(outcome)
        now_ms = clock.now_ms()
        trip = None
        if refused:
            host = outcome.remote.partition("[")[0].lower()
            trip = self.breaker.note(refused=refused, reply=said, host=host, at_ms=started_ms)
        surge = refused and self.breaker.distrusts
        if trip is not None:
            self._ready_s = now_s + _HOLD_S
            lesson = Lesson(
                self.group, breaker.RULE, reply_rules.PAUSE, 0, now_ms + 1000 * trip.seconds, trip.cause, started_ms,
                scope=self._scope,
            )  # fmt: skip
            return Learned(surge, lesson, trip, self.group)
        rule = reply_rules.find(outcome.code, outcome.enhanced, outcome.reply)
        if rule is None:
            return Learned(surge, target=self.group)
        if rule.kind == reply_rules.PAUSE:
            self._ready_s = now_s + _HOLD_S
        total = self.connections() * self.processes
        until_ms = now_ms + 1000 * rule.seconds
        lesson = Lesson(
            self.group, rule.name, rule.kind, rule.value, until_ms, said, started_ms, total, self._scope
        )  # fmt: skip
        return Learned(surge, lesson, target=self.group)


Place = Destination | str
"""Where a delivery belongs: its destination, or its recipient domain while the group of that is not known."""


def _said(outcome: Outcome) -> str:
    """The reply in one line. Whoever waits for this destination may read it: addresses are nobody's business."""
    reply = " ".join(_ADDRESS.sub("…", outcome.reply[:4096]).split())[:_REPLY]
    enhanced = "" if reply.startswith(outcome.enhanced) else outcome.enhanced
    return " ".join(part for part in (str(outcome.code or ""), enhanced, reply) if part)


def _is_trouble(outcome: Outcome) -> bool:
    """Whether the destination, or the way to it, has enough of us; greylisting asks for patience, not for less."""
    if outcome.code == 421 or outcome.result is Result.IN_DOUBT:
        return True
    if outcome.result is not Result.DEFERRED:
        return False
    if outcome.category == classify.POLICY:
        return not _GREYLISTED.search(outcome.reply)
    return outcome.category in (classify.REPUTATION, classify.NETWORK)
