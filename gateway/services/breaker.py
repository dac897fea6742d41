"""Notices that a destination suddenly refuses for good what it took before: then it is paused, not believed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

RULE = "breaker"

WINDOW = 50
REFUSALS = 20
"""So many refusals, and at least half of the last `WINDOW` outcomes, are a surge."""

PAST = 20
"""Outcomes needed before a surge: without a past nothing is sudden, a bad list is refused from its beginning."""

PAST_MOST = 0.1
"""The share of refusals up to which a past counts as good."""

SUSPECT = 5
"""So many refusals among twice as many outcomes, after a good past, are no longer believed of the recipients."""

FIRST_S, LONGEST_S = 300, 3600
"""The first pause; each that follows a failed probe is twice as long."""

_PROBES = 3
_REMEMBERED = 200


@dataclass(frozen=True, slots=True)
class Trip:
    """A surge, or a probe that failed: the pause it asks for, and what the surge did to whom between which times."""

    seconds: int
    cause: str
    from_ms: int
    hosts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Minute:
    """What all processes together saw in one minute, by its number since 1970."""

    minute: int
    taken: int
    refused: int

    @property
    def is_bad(self) -> bool:
        return self.refused > PAST_MOST * (self.taken + self.refused)


@dataclass(slots=True, eq=False)
class _Seen:
    at_ms: int
    refused: bool
    reply: str
    host: str


class Breaker:
    """What one process knows of one destination; not safe between threads by itself.

    It has seen some outcomes itself, in their order. What all processes saw it is told by the minute: that is its past
    where its own is too short, and a surge of which no process alone has enough.
    """

    def __init__(self) -> None:
        self._all: tuple[Minute, ...] = ()
        self._seen: deque[_Seen] = deque(maxlen=_REMEMBERED)
        self._pauses = 0
        self._open = False
        self.probing = False

    @property
    def distrusts(self) -> bool:
        """Whether a refusal now says nothing about its recipient."""
        return self._open or self.probing or self._is_suspect()

    @property
    def is_young(self) -> bool:
        """Whether it has seen too little itself to tell a surge from a bad list."""
        return len(self._seen) < PAST + SUSPECT

    def note(self, *, refused: bool, reply: str, host: str, at_ms: int) -> Trip | None:
        """Note the answer to a message that the destination took or refused for good."""
        if self._open:  # what was on its way when it opened
            return None
        if self.probing:
            return self._probe(_Seen(at_ms, refused, reply, host))
        self._seen.append(_Seen(at_ms, refused, reply, host))
        return (self._surge() or self._surge_of_all()) if refused else None

    def share(self, minutes: Sequence[Minute]) -> None:
        """What all processes saw lately, this one among them; the oldest minute first."""
        if not self._open and not self.probing:
            self._all = tuple(minutes)

    def paused(self) -> None:
        """A pause of this rule holds, made by this process or another."""
        self._open, self.probing = True, False

    def resumed(self) -> None:
        """The pause ended, or was canceled: the next answers decide."""
        if self._open:
            self._open, self.probing = False, True
            self._seen.clear()
            self._all = ()

    def _surge(self) -> Trip | None:
        recent = list(self._seen)[-WINDOW:]
        refusals = [seen for seen in recent if seen.refused]
        if len(refusals) < REFUSALS or 2 * len(refusals) < len(recent):
            return None
        if not self._had_good_past(refusals[0]):
            return None
        said, times = Counter(seen.reply for seen in refusals).most_common(1)[0]
        cause = (
            f"{len(refusals)} of the last {len(recent)} messages were refused for good, after a past with hardly any;"
            f" {times} times: {said}"
        )
        # The window may begin amid a surge that was understood late.
        seen = list(self._seen)
        start = seen.index(refusals[0])
        while start and seen[start - 1].refused:
            start -= 1
        return self._trip(cause, [one for one in seen[start:] if one.refused])

    def _surge_of_all(self) -> Trip | None:
        """As `_surge`, by what all processes saw: whole minutes, the last that have enough outcomes."""
        first = len(self._all)
        taken = refused = 0
        while first and taken + refused < WINDOW:
            first -= 1
            taken += self._all[first].taken
            refused += self._all[first].refused
        if refused < REFUSALS or refused < taken:
            return None
        from_ms = 60_000 * _before_bad(self._all[:first], self._all[first].minute)[1]
        if not self._good_before(self._all[first].minute):
            return None
        mine = [seen for seen in self._seen if seen.refused]
        cause = (
            f"{refused} of the last {taken + refused} messages of all processes were refused for good, after a past"
            f" with hardly any; here: {mine[-1].reply}"
        )
        trip = self._trip(cause, mine)
        return Trip(trip.seconds, trip.cause, min(from_ms, trip.from_ms), trip.hosts)

    def _probe(self, seen: _Seen) -> Trip | None:
        self._seen.append(seen)
        refusals = [one for one in self._seen if one.refused]
        if 2 * len(refusals) > _PROBES:
            return self._trip(f"it still refuses: {seen.reply}", refusals)
        if len(self._seen) - len(refusals) >= _PROBES:
            self.probing, self._pauses = False, 0
        return None

    def _trip(self, cause: str, refusals: list[_Seen]) -> Trip:
        seconds = min(FIRST_S << self._pauses, LONGEST_S)
        self._pauses = min(self._pauses + 1, 10)
        self.paused()
        hosts = frozenset(seen.host for seen in refusals if seen.host)
        return Trip(seconds, cause, min(seen.at_ms for seen in refusals), hosts)

    def _is_suspect(self) -> bool:
        if len(self._seen) < PAST and not self._all:
            return False
        last = list(self._seen)[-2 * SUSPECT :]
        refusals = [seen for seen in last if seen.refused]
        return len(refusals) >= SUSPECT and self._had_good_past(refusals[0])

    def _had_good_past(self, first: _Seen) -> bool:
        """Whether the outcomes before the surge, which begins with `first`, were mostly good."""
        past = []
        for seen in self._seen:
            if seen is first:
                break
            past.append(seen)
        if len(past) < PAST:
            return self._good_before(first.at_ms // 60_000)
        return sum(seen.refused for seen in past) <= PAST_MOST * len(past)

    def _good_before(self, minute: int) -> bool:
        """Whether all processes saw a good past before a surge that some of them saw in `minute`."""
        past, _ = _before_bad([one for one in self._all if one.minute < minute], minute)
        refused = sum(one.refused for one in past)
        total = refused + sum(one.taken for one in past)
        return total >= PAST and refused <= PAST_MOST * total


def _before_bad(minutes: Sequence[Minute], minute: int) -> tuple[Sequence[Minute], int]:
    """What came before a surge that goes on in `minute`, and the minute in which it began: bad ones belong to it."""
    last = len(minutes)
    while last and minutes[last - 1].is_bad:
        last -= 1
        minute = minutes[last].minute
    return minutes[:last], minute
