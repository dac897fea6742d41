"""How many messages a day a sender may send that begins small: by plan, and by what became of those before."""

from __future__ import annotations

import math
from dataclasses import dataclass

FIRST = 20
"""Messages of the first day."""
GROWTH = 1.3
GOAL = 1_000
"""Messages a day at which it ends, where nobody says otherwise."""

FEW = 20
"""Deliveries below which rates say little: only a complaint counts then."""
BOUNCES_BAD, BOUNCES_MANY = 0.05, 0.02
COMPLAINTS_BAD, COMPLAINTS_MANY = 0.003, 0.001  # the bounds of Gmail and Yahoo for bulk senders
DEFERRALS_MANY = 0.15


@dataclass(frozen=True, slots=True)
class Results:
    """Of deliveries that were given a place: how many met with what, each counted once."""

    sent: int = 0
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    complained: int = 0
    opened: int = 0
    clicked: int = 0
    replied: int = 0

    def rate(self, number: int) -> float:
        return number / self.sent if self.sent else 0.0


def next_limit(*, limit: int, used: int, goal: int, results: Results) -> tuple[int, str]:
    """Messages of the next day and why; `results` are those of the day that had `limit` and used `used` of it."""
    bounces, complaints = results.rate(results.bounced), results.rate(results.complained)
    many = results.sent >= FEW
    if (many and bounces > BOUNCES_BAD) or (results.complained and complaints > COMPLAINTS_BAD):
        return max(1, min(limit, FIRST), limit // 2), f"halved: {_told(results)}"
    if many and (
        bounces > BOUNCES_MANY or complaints > COMPLAINTS_MANY or results.rate(results.deferred) > DEFERRALS_MANY
    ):
        return limit, f"kept: {_told(results)}"
    if used < limit / 2:
        return limit, f"kept: {used} of {limit} were used"
    grown = min(goal, math.ceil(limit * GROWTH))
    return grown, f"grown from {limit}: {_told(results)}"


def _told(results: Results) -> str:
    bad = f"{results.bounced} bounced, {results.complained} complained, {results.deferred} deferred"
    return f"of {results.sent} sent {bad}"


def health(results: Results) -> int | None:
    """0 to 100; None where nothing was sent, which says nothing."""
    if not results.sent:
        return None
    lost = (
        min(50.0, results.rate(results.bounced) * 1000)
        + min(40.0, results.rate(results.complained) * 10_000)
        + min(10.0, results.rate(results.deferred) * 50)
    )
    return max(0, round(100 - lost))


def inbox_at_least(results: Results) -> float | None:
    """The part of what was delivered that somebody surely saw; None where too little is known.

    Receivers do not say which folder mail went to. Who opened, clicked or answered has seen it; the others may have.
    """
    if results.delivered < FEW or not (results.opened or results.replied):
        return None
    return round(min(1.0, max(results.opened, results.replied) / results.delivered), 4)
