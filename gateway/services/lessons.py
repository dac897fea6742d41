"""Writing down what the engine learned of destinations: limits, surges that are not believed, rows that wait."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gateway import clock
from gateway.dns import mx_groups
from gateway.services import lanes, outcomes, shaping, suppression_undo
from gateway.services.breaker import Trip
from gateway.services.destinations import Learned
from gateway.services.lanes import PutOff
from models.vocabulary import DeliveryState, EventKind

SURGE_RULES = ("bounce", "strikes")
"""What a surge of refusals does to recipients; complaints come another way."""

_log = logging.getLogger("commandpost.deliver")


def conclude(learned: Sequence[Learned]) -> None:
    """Make the limits that replies asked for; take back what a surge of refusals did to its recipients.

    Call it after the outcomes that taught it are written. Safe to repeat.
    """
    latest = {(one.lesson.target, one.lesson.rule): one.lesson for one in learned if one.lesson is not None}
    for lesson in latest.values():
        limit = shaping.learn(lesson)
        if limit is not None:
            _log.warning("limit_learned", extra={"limit": limit.id, "target": limit.target, "rule": limit.rule})
    for one in learned:
        if one.undo is not None and one.lesson is not None:
            _undo(one.undo, one.lesson.target)


def _undo(trip: Trip, target: str) -> None:
    """Other processes may have seen refusals of the same surge, by other hosts of the group."""
    others = suppression_undo.hosts(rule_prefix=SURGE_RULES, from_ms=trip.from_ms)
    hosts = trip.hosts | {host for host in others if mx_groups.group_of(host) == target}
    if hosts:
        suppression_undo.undo(rule_prefix=SURGE_RULES, from_ms=trip.from_ms, mx_hosts=hosts, by=f"breaker:{target}")


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
