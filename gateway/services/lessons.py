"""Writing down what the engine learned of destinations: limits, surges that are not believed, rows that wait."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gateway import clock
from gateway.services import lanes, outcomes, shaping, surges
from gateway.services.destinations import Learned
from gateway.services.lanes import PutOff
from models.vocabulary import DeliveryState, EventKind

_log = logging.getLogger("commandpost.deliver")


def conclude(learned: Sequence[Learned]) -> None:
    """Make the limits that replies asked for; take back what a surge of refusals did to its recipients.

    Call it after the outcomes that taught it are written, and `take_back` again after `surges.SETTLED_S`. Safe to
    repeat.
    """
    latest = {(one.lesson.target, one.lesson.rule): one.lesson for one in learned if one.lesson is not None}
    for lesson in latest.values():
        limit = shaping.learn(lesson)
        if limit is not None:
            _log.warning("limit_learned", extra={"limit": limit.id, "target": limit.target, "rule": limit.rule})
    take_back(learned)


def take_back(learned: Sequence[Learned]) -> None:
    """Take back what surges of refusals did to their recipients. Safe to repeat; raises `StoreUnavailable`."""
    for one in learned:
        if one.undo is not None:
            surges.take_back(one.undo, one.target)


def put_off(some: Sequence[PutOff]) -> None:
    """Put claimed deliveries back into the queue; those whose time is used up have failed."""
    now = clock.now_ms()
    late: dict[str, dict[int, int]] = {}
    for one in some:
        if one.row.expires_ms <= now:
            late.setdefault(one.cause, {})[one.row.id] = one.row.fence
    for cause, fences in late.items():
        data = {"reason": f"its time was used up: {cause}"}
        outcomes.settle(list(fences), DeliveryState.FAILED, EventKind.FAILED, data, fences=fences)
    lanes.put_off([one for one in some if one.row.expires_ms > now])
