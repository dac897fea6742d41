"""Notices that a destination suddenly refuses for good what it took before: then it is paused, not believed."""

from __future__ import annotations

from collections import Counter, deque
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


@dataclass(slots=True, eq=False)
class _Seen:
    at_ms: int
    refused: bool
    reply: str
    host: str


class Breaker:
    """What one process knows of one destination; not safe between threads by itself."""

    def __init__(self) -> None:
        self._seen: deque[_Seen] = deque(maxlen=_REMEMBERED)
        self._pauses = 0
        self._open = False
        self.probing = False

    @property
    def distrusts(self) -> bool:
        """Whether a refusal now says nothing about its recipient."""
        return self._open or self.probing or self._is_suspect()

    def note(self, *, refused: bool, reply: str, host: str, at_ms: int) -> Trip | None:
        """Note the answer to a message that the destination took or refused for good."""
        if self._open:  # what was on its way when it opened
            return None
        if self.probing:
            return self._probe(_Seen(at_ms, refused, reply, host))
        self._seen.append(_Seen(at_ms, refused, reply, host))
        return self._surge() if refused else None

    def paused(self) -> None:
        """A pause of this rule holds, made by this process or another."""
        self._open, self.probing = True, False

    def resumed(self) -> None:
        """The pause ended, or was canceled: the next answers decide."""
        if self._open:
            self._open, self.probing = False, True
            self._seen.clear()

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
        return self._trip(cause, refusals)

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
        return Trip(seconds, cause, refusals[0].at_ms, hosts)

    def _is_suspect(self) -> bool:
        if len(self._seen) < PAST:
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
        return len(past) >= PAST and sum(seen.refused for seen in past) <= PAST_MOST * len(past)
