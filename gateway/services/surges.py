"""What a surge of refusals says of its recipients, namely nothing: taken back, or not written where it comes late."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.dns import mx_groups
from gateway.services import breaker, suppression_undo
from gateway.services.breaker import Trip
from models import database as db

RULES = ("bounce", "strikes")
"""What a surge of refusals does to recipients; complaints come another way."""

BEFORE_MS = 3_600_000
"""A refusal that ended so shortly before the pause belongs to the surge that led to it, whoever was told it."""

SETTLED_S = 3.0
"""After this, whoever writes refusals has committed them or knows of the pause."""


def doubted(tx: db.Transaction, refusals: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those of the refusals, as (target, when it ended), that a pause after a surge covers.

    Somebody noticed the surge before they are written, and has taken back already what the others did.
    """
    asked = {one for one in refusals if one[0]}
    if not asked:
        return set()
    tx.hasten()  # whoever takes back looks again after `SETTLED_S`
    targets = sorted({target for target, _ in asked})
    first = min(at_ms for _, at_ms in asked)
    pauses = tx.rows(
        "SELECT target, created_ms, canceled_ms, until_ms, pinned FROM shaping_limit"
        " WHERE (canceled_ms >= ? OR (canceled_ms IS NULL AND (until_ms >= ? OR pinned = 1)))"
        f" AND rule = ? AND target IN ({','.join('?' * len(targets))})",
        (first, first, breaker.RULE, *targets),
    )
    return {
        (target, at_ms)
        for target, at_ms in asked
        for paused, from_ms, canceled_ms, until_ms, pinned in pauses
        if paused == target
        and from_ms - BEFORE_MS <= at_ms
        and (at_ms <= canceled_ms if canceled_ms is not None else pinned or at_ms <= until_ms)
    }


def take_back(trip: Trip, target: str) -> None:
    """Take off the list whom the surge put there. Safe to repeat; raises `StoreUnavailable`.

    Other processes may have seen refusals of the same surge, by other hosts of the group.
    """
    others = suppression_undo.hosts(rule_prefix=RULES, from_ms=trip.from_ms)
    hosts = trip.hosts | {host for host in others if mx_groups.group_of(host) == target}
    if hosts:
        suppression_undo.undo(rule_prefix=RULES, from_ms=trip.from_ms, mx_hosts=hosts, by=f"breaker:{target}")
