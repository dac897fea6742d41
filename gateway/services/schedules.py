"""Recurring times in UTC: the five fields of cron, and the plain words that stand for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway import clock

WORDS = ("hour", "day", "week", "month")
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))  # minute, hour, day of month, month, day of week
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\Z")
_PART = re.compile(r"(?:(\*)|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?\Z")
_LENGTH = 100
_SEARCH_DAYS = 366 * 8 + 2
"""29 February comes every eight years at the longest."""


class Unfit(ValueError):
    """The text is no schedule; the message says why."""


@dataclass(frozen=True, slots=True)
class Cron:
    """The values that each field allows; `any_day` and `any_weekday` are a `*` there."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    any_day: bool
    any_weekday: bool

    def is_on(self, day: datetime) -> bool:
        """Whether it is due on that day; of two restricted fields either is enough, as cron has it."""
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return in_month and in_week
        return in_month or in_week

    def after_ms(self, ms: int) -> int | None:
        """The first time behind `ms`; None where there is none, such as on 31 February."""
        now = clock.from_ms(ms).replace(second=0, microsecond=0) + timedelta(minutes=1)
        day = now.replace(hour=0, minute=0)
        for _ in range(_SEARCH_DAYS):
            if self.is_on(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        found = day.replace(hour=hour, minute=minute)
                        if found >= now:
                            return int(found.timestamp() * 1000)
            day += timedelta(days=1)
        return None


def parse(text: str) -> Cron:
    """`minute hour day-of-month month day-of-week`; raises `Unfit`."""
    parts = text.split() if isinstance(text, str) and len(text) <= _LENGTH else []
    if len(parts) != len(_FIELDS):
        raise Unfit("Should have five fields: minute, hour, day of month, month and day of week.")
    values = [_values(part, low, high) for part, (low, high) in zip(parts, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = values
    return Cron(
        tuple(sorted(minutes)), tuple(sorted(hours)), frozenset(days), frozenset(months),
        frozenset(day % 7 for day in weekdays), parts[2] == "*", parts[4] == "*",
    )  # fmt: skip


def _values(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.match(part)
        if match is None:
            raise Unfit(f"{text} is no field of a schedule.")
        star, first, last, step = match.groups()
        start = low if star else int(first)
        end = high if star or (step and last is None) else int(last or first)
        if not low <= start <= end <= high or step == "0":
            raise Unfit(f"{text} should be from {low} to {high}.")
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def cron_of(spec: dict[str, Any]) -> str:
    """The cron fields of `{"every": …, "at": "09:00", "weekday": …, "day": …}` or `{"cron": …}`; raises `Unfit`."""
    if spec.get("cron") is not None:
        parse(spec["cron"])
        return str(spec["cron"])
    every = spec.get("every")
    if every not in WORDS:
        raise Unfit("every should be one of " + ", ".join(WORDS) + ".")
    hour, minute = time_of(spec.get("at", "00:00"))
    if every == "hour":
        return f"{minute} * * * *"
    if every == "day":
        return f"{minute} {hour} * * *"
    if every == "week":
        return f"{minute} {hour} * * {_weekday(spec.get('weekday', 'monday'))}"
    day = spec.get("day", 1)
    if isinstance(day, bool) or not isinstance(day, int) or not 1 <= day <= 28:
        raise Unfit("day should be a day of the month from 1 to 28.")
    return f"{minute} {hour} {day} * *"


def time_of(text: Any) -> tuple[int, int]:
    """Hour and minute of `09:00`; raises `Unfit`."""
    match = _TIME.match(text) if isinstance(text, str) else None
    if match is None:
        raise Unfit("at should be a time of the day in UTC such as 09:00.")
    return int(match[1]), int(match[2])


def _weekday(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 7:
        return value % 7
    if isinstance(value, str) and value.lower() in _DAYS:
        return _DAYS.index(value.lower())
    raise Unfit("weekday should be one of " + ", ".join(_DAYS) + ".")


def date_of(value: Any) -> tuple[int, int, int] | None:
    """Year, month and day of a subscriber's field: `1990-05-17`, a whole time, or Unix seconds; None for others."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**11:
        try:
            found = clock.from_ms(int(value * 1000))
        except (OverflowError, ValueError, OSError):
            return None
    else:
        return None
    return found.year, found.month, found.day


def falls_between(value: Any, *, offset_days: int, yearly: bool, after_day: int, until_day: int) -> bool:
    """Whether the field's date moved by `offset_days` is behind `after_day` and not behind `until_day` (since 1970).

    With `yearly` its day comes again every year, 29 February on the 28th where there is no other.
    """
    date = date_of(value)
    if date is None:
        return False
    for day in range(max(after_day + 1, until_day - 366), until_day + 1):
        meant = clock.from_ms((day - offset_days) * clock.DAY_MS)
        if (meant.year, meant.month, meant.day) == date:
            return True
        if yearly and (meant.month, meant.day) == date[1:]:
            return True
        leap = (meant + timedelta(days=1)).day == 29
        if yearly and date[1:] == (2, 29) and (meant.month, meant.day) == (2, 28) and not leap:
            return True
    return False
