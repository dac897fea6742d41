"""How many emails an account may send in a minute, an hour, a day and a calendar month."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway import clock, errors
from gateway.services.identity import Limits
from models import database as db

_PERIODS = (
    ("emails_minute", "minute:%Y-%m-%dT%H:%M"),
    ("emails_hour", "hour:%Y-%m-%dT%H"),
    ("emails_day", "day:%Y-%m-%d"),
    ("emails_month", "month:%Y-%m"),
)
_STEPS = {"emails_minute": timedelta(minutes=1), "emails_hour": timedelta(hours=1), "emails_day": timedelta(days=1)}
_ADD = {
    "sqlite": "INSERT INTO quota_usage (account_id, period, n) VALUES (?, ?, ?)"
    " ON CONFLICT (account_id, period) DO UPDATE SET n = n + excluded.n",
    "mysql": "INSERT INTO quota_usage (account_id, period, n) VALUES (?, ?, ?)"
    " ON DUPLICATE KEY UPDATE n = n + VALUES(n)",
}


def spend(tx: db.Transaction, *, account_id: int, plan: Limits, emails: int) -> dict[str, int]:
    """Count `emails` against every limit of the plan; how many each still allows, by minute, hour, day and month.

    Raises `QuotaReached` when one would be passed.

    Part of the accepting transaction: what is refused is not counted, and two processes never share the last one.
    """
    now = clock.now()
    left: dict[str, int] = {}
    for column, form in _PERIODS:
        limit = getattr(plan, column)
        if limit is None:
            continue
        period = now.strftime(form)
        tx.execute(_ADD[tx.dialect], (account_id, period, emails))
        used = tx.rows("SELECT n FROM quota_usage WHERE account_id = ? AND period = ?", (account_id, period))[0][0]
        if used > limit:
            kind = errors.SendRateReached if column == "emails_minute" else errors.QuotaReached
            raise kind(limit=limit, used=used - emails, period=period, retry_after=_left(now, column))
        left[column.removeprefix("emails_")] = limit - used
    return left


@dataclass(frozen=True, slots=True)
class Granted:
    """How many of the emails that were asked for may go now; `limit`, `period` and `until_ms` of what keeps others."""

    emails: int
    until_ms: int = 0
    cause: str = ""


def take(tx: db.Transaction, *, account_id: int, plan: Limits, emails: int) -> Granted:
    """Count as many of `emails` as every limit still allows, none where one is used up; never raises.

    For what waits for its quota instead of being refused.
    """
    now = clock.now()
    periods: list[str] = []
    granted = Granted(emails)
    for column, form in _PERIODS:
        limit = getattr(plan, column)
        if limit is None:
            continue
        period = now.strftime(form)
        periods.append(period)
        tx.execute(_ADD[tx.dialect], (account_id, period, 0))  # holds the row: two never share the last ones
        used = tx.rows("SELECT n FROM quota_usage WHERE account_id = ? AND period = ?", (account_id, period))[0][0]
        left = max(0, limit - used)
        if left < granted.emails or (left == granted.emails == 0):
            until_ms = (int(now.timestamp()) + _left(now, column)) * 1000
            word = column.removeprefix("emails_")
            granted = Granted(left, until_ms, f"the plan allows {limit} emails a {word}")
    if granted.emails:
        for period in periods:
            tx.execute(_ADD[tx.dialect], (account_id, period, granted.emails))
    return granted


def spend_some(
    tx: db.Transaction, *, account_id: int, plan: Limits, wanted: Sequence[int]
) -> tuple[list[errors.QuotaReached | None], dict[str, int]]:
    """`spend` for many messages at once: in their order each that still fits is counted, the others are refused.

    `wanted` are the emails of each; returns the refusals, None for what was counted, and what is left.
    """
    now = clock.now()
    limits: list[tuple[str, str, int, int]] = []  # column, period, limit, used
    for column, form in _PERIODS:
        limit = getattr(plan, column)
        if limit is None:
            continue
        period = now.strftime(form)
        tx.execute(_ADD[tx.dialect], (account_id, period, 0))  # holds the row until the commit
        used = tx.rows("SELECT n FROM quota_usage WHERE account_id = ? AND period = ?", (account_id, period))[0][0]
        limits.append((column, period, limit, int(used)))
    refusals: list[errors.QuotaReached | None] = []
    if not limits:
        return [None] * len(wanted), {}
    spent = 0
    for emails in wanted:
        passed = next((one for one in limits if one[3] + spent + emails > one[2]), None)
        if passed is None:
            spent += emails
            refusals.append(None)
            continue
        column, period, limit, used = passed
        kind = errors.SendRateReached if column == "emails_minute" else errors.QuotaReached
        refusals.append(kind(limit=limit, used=used + spent, period=period, retry_after=_left(now, column)))
    for _, period, _, _ in limits:
        tx.execute(_ADD[tx.dialect], (account_id, period, spent))
    return refusals, {column.removeprefix("emails_"): limit - used - spent for column, _, limit, used in limits}


def _left(now: datetime, column: str) -> int:
    """Seconds until the period that holds `now` is over, at least one."""
    if column == "emails_month":
        end = (now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return max(1, math.ceil((end - now).total_seconds()))
    step = _STEPS[column].total_seconds()
    return max(1, math.ceil(step - now.timestamp() % step))


def used(*, account_id: int) -> dict[str, int]:
    """Emails counted in the current periods, by column name of the plan."""
    now = clock.now()
    found = dict(db.rows("SELECT period, n FROM quota_usage WHERE account_id = ?", (account_id,)))
    return {column: int(found.get(now.strftime(form), 0)) for column, form in _PERIODS}


def forget_past(tx: db.Transaction, *, limit: int = 1000) -> int:
    """Delete counts of periods that ended; returns how many."""
    now = clock.now()
    current = {now.strftime(form) for _, form in _PERIODS}
    past = [
        (account_id, period)
        for account_id, period in tx.rows("SELECT account_id, period FROM quota_usage LIMIT ?", (limit,))
        if period not in current
    ]
    if past:
        tx.executemany("DELETE FROM quota_usage WHERE account_id = ? AND period = ?", past)
    return len(past)
