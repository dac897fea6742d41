"""When a deferred delivery is tried again, and when it is given up."""

from __future__ import annotations

from gateway import ids

SCHEDULE_S = (60, 300, 900, 1800, 3600, 7200, 14_400)
"""Seconds after the first, second … attempt; from then on every four hours until the time is used up."""

JITTER = 0.2


def next_due_ms(*, attempts: int, now_ms: int, asked_s: int | None = None) -> int:
    """The time of the next attempt after `attempts` of them; never earlier than the remote asked for."""
    step = SCHEDULE_S[min(attempts, len(SCHEDULE_S)) - 1] if attempts > 0 else 0
    wait = step * ids.jitter(JITTER)
    if asked_s is not None:
        wait = max(wait, min(asked_s, SCHEDULE_S[-1]))
    return now_ms + int(wait * 1000)
