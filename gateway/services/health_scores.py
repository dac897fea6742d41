"""The health of an account's or a domain's mail as one number, from roll-ups alone, so that anybody can recompute it.

Each part is a value from 0 to 1, its place between a bad and a good bound. What rests on little mail is drawn towards
`PRIOR`: `n` messages count as `n / (n + HALF)`. The score is the weighted sum of the parts, from 0 to 100.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.services import domains, statistics
from gateway.services.identity import Caller
from gateway.services.statistics import Counts, Period
from models.domain import SenderDomain
from models.vocabulary import CHECK_PENDING, CHECK_VERIFIED, DOMAIN_ENABLED, EventKind

PRIOR = 0.8
"""What a part is taken for while nothing is known."""
HALF = 200
"""Messages after which what is seen counts as much as `PRIOR`."""
STEADY = 2.0
"""Points by which a score may move and still be steady."""

GRADES = ((97, "A+"), (90, "A"), (80, "B"), (70, "C"), (60, "D"), (0, "F"))


@dataclass(frozen=True, slots=True)
class Measure:
    """A part of the score: at `bad` or beyond it is 0, at `good` or beyond 1; `advice` is for when it is low."""

    name: str
    weight: int
    bad: float
    good: float
    advice: str


MEASURES = (
    Measure(
        "delivery_rate", 25, 0.80, 0.98,
        "Look at the refusals by recipient domain: AggrEvents over responses shows what receivers say.",
    ),
    Measure("bounce_rate", 25, 0.05, 0.005, "Validate addresses before you add them, and confirm sign-ups by mail."),
    Measure("complaint_rate", 25, 0.003, 0.0005, "Write to people who asked for it, and make leaving one click."),
    Measure("engagement_rate", 15, 0.0, 0.2, "Stop writing to people who have not opened for half a year."),
    Measure("authentication", 10, 0.0, 1.0, "Publish the SPF and DKIM records that your domains still lack."),
)  # fmt: skip
"""Shares of messages that ended: delivered of all, bounced of all, complained of delivered, opened or clicked by people
of delivered; and the share of checks of SPF and DKIM that enabled domains pass."""


@dataclass(frozen=True, slots=True)
class Part:
    """`rate` None: nothing is known yet; `value` from 0 to 1 before drawing, `points` what it gives."""

    measure: Measure
    rate: float | None
    value: float
    points: float


@dataclass(frozen=True, slots=True)
class Health:
    """`confidence` from 0 to 1 grows with the mail; `trend` against the period before: up, down or steady."""

    score: float
    grade: str
    confidence: float
    messages: int
    parts: list[Part]
    previous: float
    trend: str
    advice: list[str]


def of_account(*, caller: Caller, days: Period) -> Health:
    """Of a domain's key only its own domain."""
    found = statistics.of_account(caller=caller, days=days)
    before = statistics.of_account(caller=caller, days=days.previous)
    live = [one for one in domains.list_(caller=caller) if one.status == DOMAIN_ENABLED]
    return _health(found.counts, found.verdicts, before.counts, before.verdicts, live)


def of_domain(*, caller: Caller, domain_id: int, days: Period) -> Health:
    """Raises `NotFound`."""
    domain = domains.find(caller=caller, domain_id=domain_id, past=True)
    found = statistics.of_domain(caller=caller, domain_id=domain_id, days=days)
    before = statistics.of_domain(caller=caller, domain_id=domain_id, days=days.previous)
    return _health(found.counts, found.verdicts, before.counts, before.verdicts, [domain])


def grade(score: float) -> str:
    return next(word for least, word in GRADES if score >= least)


def _health(
    counts: Counts,
    verdicts: statistics.Verdicts,
    before: Counts,
    verdicts_before: statistics.Verdicts,
    live: list[SenderDomain],
) -> Health:
    messages, parts = _parts(counts, verdicts, live)
    score = _score(parts)
    previous = _score(_parts(before, verdicts_before, live)[1])
    moved = score - previous
    trend = "steady" if abs(moved) < STEADY else "up" if moved > 0 else "down"
    low = sorted((part for part in parts if part.value < PRIOR), key=lambda part: part.points - part.measure.weight)
    return Health(
        score=score, grade=grade(score), confidence=round(messages / (messages + HALF), 2), messages=messages,
        parts=parts, previous=previous, trend=trend, advice=[part.measure.advice for part in low],
    )  # fmt: skip


def _score(parts: list[Part]) -> float:
    return round(sum(part.points for part in parts), 1)


def _parts(counts: Counts, verdicts: statistics.Verdicts, live: list[SenderDomain]) -> tuple[int, list[Part]]:
    delivered = counts.get(EventKind.DELIVERED, 0)
    bounced = counts.get(EventKind.BOUNCED, 0)
    ended = delivered + bounced + counts.get(EventKind.FAILED, 0)
    human = max((kinds.get("human", 0) for kinds in verdicts.values()), default=0)
    seen = sum(sum(kinds.values()) for kinds in verdicts.values())
    # What was never looked for says nothing.
    statuses = [status for one in live for status in (one.dkim_status, one.spf_status) if status != CHECK_PENDING]
    checks = [status == CHECK_VERIFIED for status in statuses]
    rates = {
        "delivery_rate": (delivered / ended if ended else None, ended),
        "bounce_rate": (bounced / ended if ended else None, ended),
        "complaint_rate": (
            counts.get(EventKind.COMPLAINED, 0) / delivered if delivered else None, delivered,
        ),
        # Without a single hit nothing was tracked, or nobody could be seen.
        "engagement_rate": (human / delivered if delivered and seen else None, delivered),
        "authentication": (sum(checks) / len(checks) if checks else None, 10**9 if checks else 0),
    }  # fmt: skip
    return ended, [_part(measure, *rates[measure.name]) for measure in MEASURES]


def _part(measure: Measure, rate: float | None, n: int) -> Part:
    value = PRIOR if rate is None else (rate - measure.bad) / (measure.good - measure.bad)
    value = min(1.0, max(0.0, value))
    sure = 0.0 if rate is None else n / (n + HALF)
    drawn = sure * value + (1 - sure) * PRIOR
    shown = None if rate is None else round(rate, 5)
    return Part(measure, shown, round(value, 4), round(measure.weight * drawn, 2))
