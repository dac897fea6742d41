"""Recurring times: the fields of cron, words for them, and dates of people."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway import clock
from gateway.services import schedules


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("cron", "after", "found"),
    [
        ("0 9 * * *", "2026-11-27T08:59:59", "2026-11-27T09:00:00"),
        ("0 9 * * *", "2026-11-27T09:00:00", "2026-11-28T09:00:00"),
        ("*/15 * * * *", "2026-11-27T09:46:10", "2026-11-27T10:00:00"),
        ("30 8 * * 1", "2026-11-27T09:00:00", "2026-11-30T08:30:00"),
        ("30 8 * * 1-5", "2026-11-27T09:00:00", "2026-11-30T08:30:00"),
        ("0 0 1 1 *", "2026-11-27T09:00:00", "2027-01-01T00:00:00"),
        ("0 0 29 2 *", "2026-11-27T09:00:00", "2028-02-29T00:00:00"),
        ("0 12 13 * 5", "2026-11-27T13:00:00", "2026-12-04T12:00:00"),  # Fridays, and every 13th
        ("5,50 23 31 12 7", "2026-12-31T23:10:00", "2026-12-31T23:50:00"),
    ],
)
def test_the_next_time(cron: str, after: str, found: str) -> None:
    assert schedules.parse(cron).after_ms(_ms(after)) == _ms(found)


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "a * * * *", "*/0 * * * *", "5-1 * * * *"]
)
def test_what_is_no_schedule(cron: str) -> None:
    with pytest.raises(schedules.Unfit):
        schedules.parse(cron)


def test_a_day_that_never_comes() -> None:
    assert schedules.parse("0 0 31 2 *").after_ms(_ms("2026-01-01T00:00:00")) is None


def test_words_for_it() -> None:
    assert schedules.cron_of({"every": "hour", "at": "00:20"}) == "20 * * * *"
    assert schedules.cron_of({"every": "day", "at": "7:05"}) == "5 7 * * *"
    assert schedules.cron_of({"every": "week", "weekday": "Friday", "at": "18:00"}) == "0 18 * * 5"
    assert schedules.cron_of({"every": "month", "day": 15}) == "0 0 15 * *"
    for spec in ({"every": "moon"}, {"every": "day", "at": "25:00"}, {"every": "month", "day": 31}, {"cron": "x"}):
        with pytest.raises(schedules.Unfit):
            schedules.cron_of(spec)


@pytest.mark.parametrize(
    ("value", "offset", "yearly", "day", "expected"),
    [
        ("1990-05-17", 0, True, "2026-05-17", True),
        ("1990-05-17", 0, False, "2026-05-17", False),
        ("1990-05-17", -3, True, "2026-05-14", True),
        ("2026-05-17T10:00:00Z", 7, False, "2026-05-24", True),
        ("1992-02-29", 0, True, "2027-02-28", True),
        ("1992-02-29", 0, True, "2028-02-28", False),
        ("1992-02-29", 0, True, "2028-02-29", True),
        (int(_ms("2026-05-17T00:00:00") / 1000), 0, False, "2026-05-17", True),
        ("soon", 0, True, "2026-05-17", False),
        (None, 0, True, "2026-05-17", False),
        (True, 0, True, "1970-01-01", False),
    ],
)
def test_dates_of_people(value: object, offset: int, yearly: bool, day: str, expected: bool) -> None:
    until = clock.day_number(_ms(f"{day}T00:00:00"))
    found = schedules.falls_between(value, offset_days=offset, yearly=yearly, after_day=until - 1, until_day=until)
    assert found is expected
