"""The risk of a message before it is sent, from the account's figures, its content and whom it goes to.

`assess` is what the surface asks for, with every address validated; `at_sending` is the same sum at accept time,
without DNS: the account's options say whether a message at risk is told of in its verdicts, or waits for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway import clock
from gateway.mail import content_score
from gateway.mail.content_score import Content
from gateway.services import health_scores, identity, statistics, validations
from gateway.services.identity import Caller
from gateway.services.senders import Recent
from gateway.services.statistics import RECIPIENTS
from gateway.services.validations import Validation, Verdict
from models.vocabulary import EventKind

LOW, MEDIUM, HIGH, CRITICAL = "low", "medium", "high", "critical"
LEVELS = ((75, CRITICAL), (50, HIGH), (25, MEDIUM), (0, LOW))
WARN, HOLD = "risk_warn", "risk_hold"
"""Account options: from high on the verdict warns; at critical the message is held for a person."""

ALLOWED, WARNED, HELD = "allow", "warn", "hold"
_COMPLAINTS = ((0.003, 40), (0.001, 20))  # shares of what arrived: the limits of Gmail and Yahoo
_BOUNCES = ((0.05, 30), (0.02, 10))
_JUMPS = ((10, 25), (3, 10))  # times the usual day
_FEW = 1000  # recipients a day below which no jump is one
_SURE = 100  # messages below which rates say nothing


@dataclass(frozen=True, slots=True)
class Factor:
    """What adds `points` of a hundred to the risk, and what to do about it."""

    code: str
    points: float
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class Risk:
    """`action` is what the account's policy does with such a message."""

    score: float
    level: str
    factors: list[Factor]
    action: str


@dataclass(frozen=True, slots=True)
class _Figures:
    """Of the account: what does not depend on the message."""

    factors: tuple[Factor, ...]
    today: int
    usual: float  # recipients of a day


def assess(*, caller: Caller, recipients: Sequence[str], content: Content) -> Risk:
    """The risk of a message or campaign; raises `TooManyAtOnce` for more than `validations.AT_ONCE` recipients."""
    found = validations.validate(caller=caller, emails=recipients) if recipients else []
    factors = [*_of_recipients(found), *_of_content(content), *_of_account(caller, len(recipients))]
    return _risk(factors, caller)


def at_sending(caller: Caller, *, recipients: int, content: Content) -> Risk | None:
    """The same without a look at each address; None where the account has no policy."""
    if not (caller.options.get(WARN) or caller.options.get(HOLD)):
        return None
    return _risk([*_of_content(content), *_of_account(caller, recipients)], caller)


def _risk(factors: Sequence[Factor], caller: Caller) -> Risk:
    score = round(min(100.0, sum(factor.points for factor in factors)), 1)
    level = next(word for least, word in LEVELS if score >= least)
    action = ALLOWED
    if level == CRITICAL and caller.options.get(HOLD):
        action = HELD
    elif level in (HIGH, CRITICAL) and (caller.options.get(WARN) or caller.options.get(HOLD)):
        action = WARNED
    return Risk(score, level, sorted(factors, key=lambda factor: -factor.points), action)


def _of_recipients(found: Sequence[Validation]) -> list[Factor]:
    if not found:
        return []
    share = {verdict: sum(one.verdict is verdict for one in found) / len(found) for verdict in Verdict}
    factors = []
    if share[Verdict.INVALID]:
        factors.append(
            Factor(
                "invalid_recipients", round(60 * share[Verdict.INVALID], 1),
                f"{share[Verdict.INVALID]:.0%} of the recipients are invalid.", "Take them off before you send.",
            )
        )  # fmt: skip
    if share[Verdict.RISKY]:
        factors.append(
            Factor(
                "risky_recipients", round(25 * share[Verdict.RISKY], 1),
                f"{share[Verdict.RISKY]:.0%} of the recipients are risky.", "Look at the reasons of their validation.",
            )
        )  # fmt: skip
    return factors


def _of_content(content: Content) -> list[Factor]:
    found = content_score.score(content)
    if found.score >= content_score.GOOD:
        return []
    worst = found.findings[0]
    return [
        Factor(
            "content", round((100 - found.score) * 0.4, 1), f"The content scores {found.score} of 100: {worst.message}",
            worst.fix,
        )
    ]  # fmt: skip


def _of_account(caller: Caller, recipients: int) -> list[Factor]:
    figures = _figures.get(caller.account_id)
    today = figures.today + recipients
    factors = list(figures.factors)
    if today >= _FEW:
        times = today / max(figures.usual, _FEW / 10)
        points = next((points for least, points in _JUMPS if times > least), 0)
        if points:
            factors.append(
                Factor(
                    "volume_jump", points, f"Today has {times:.0f} times the recipients of a usual day.",
                    "Grow in steps of at most three times a day: receivers distrust jumps.",
                )
            )  # fmt: skip
    return factors


def _load(account_id: int) -> _Figures:
    caller = replace(identity.for_account(account_id), domain_id=None)
    days = statistics.period(None, None)
    found = statistics.of_account(caller=caller, days=days)
    today = statistics.of_account(caller=caller, days=statistics.period(clock.now_ms(), clock.now_ms()))
    counts = found.counts
    delivered, bounced = counts.get(EventKind.DELIVERED, 0), counts.get(EventKind.BOUNCED, 0)
    health = health_scores.of_account(caller=caller, days=days)
    factors = []
    if delivered >= _SURE:
        rate = counts.get(EventKind.COMPLAINED, 0) / delivered
        points = next((points for least, points in _COMPLAINTS if rate >= least), 0)
        if points:
            factors.append(
                Factor(
                    "complaint_rate", points, f"{rate:.2%} of the mail that arrived was called spam.",
                    "Gmail and Yahoo want less than 0.1 %, and refuse mail at 0.3 %.",
                )
            )  # fmt: skip
    if delivered + bounced >= _SURE:
        rate = bounced / (delivered + bounced)
        points = next((points for least, points in _BOUNCES if rate >= least), 0)
        if points:
            factors.append(
                Factor("bounce_rate", points, f"{rate:.1%} of the mail bounced.", "Validate addresses before you send.")
            )
    weight = (100 - health.score) * 0.4 * health.confidence
    if weight >= 5:
        factors.append(
            Factor("health", round(weight, 1), f"The health score is {health.score}.", (health.advice or [""])[0])
        )
    safe = next(part for part in health.parts if part.measure.name == "authentication")
    if safe.rate is not None and safe.rate < 1:
        factors.append(Factor("authentication", 15, "SPF or DKIM of a domain is not verified.", safe.measure.advice))
    past = max(1, len(days.days) - 1)
    sent_today = today.counts.get(RECIPIENTS, 0)
    return _Figures(tuple(factors), sent_today, (counts.get(RECIPIENTS, 0) - sent_today) / past)


_figures: Recent[int, _Figures] = Recent(_load, trust_ms=60_000)


def forget() -> None:
    _figures.forget()
