"""The one source of time."""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

_JUMP_MS = 5_000
_SECONDS = re.compile(r"-?[0-9]{1,15}\Z")
_MOST_SECONDS = 10**15
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})?\Z"
)


class _Wall:
    """How far the wall clock was ahead of the monotonic one when somebody last looked."""

    ahead_ms: float | None = None
    jumped_s = -math.inf  # monotonic


def now_ms() -> int:
    """Milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def steady_s() -> float:
    """Seconds since this process first found that the clock had been set forward or back; infinite where it never was.

    It is found by asking, so ask before every decision that hangs on it.
    """
    monotonic_s = time.monotonic()
    ahead_ms = now_ms() - monotonic_s * 1000
    if _Wall.ahead_ms is not None and abs(ahead_ms - _Wall.ahead_ms) > _JUMP_MS:
        _Wall.jumped_s = monotonic_s
    _Wall.ahead_ms = ahead_ms
    return monotonic_s - _Wall.jumped_s


def now() -> datetime:
    return datetime.fromtimestamp(now_ms() / 1000, UTC)


def from_ms(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def rfc3339(ms: int) -> str:
    """`2023-01-01T12:00:00Z`, whole seconds, as the command API prints it."""
    return from_ms(ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_ms(ms: int) -> str:
    """`2023-01-01T12:00:00.000Z`, as the surfaces with camelCase names print it."""
    return f"{from_ms(ms):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def sql_text(ms: int) -> str:
    """`2023-01-01 12:00:00` in UTC, as the command API prints creation dates."""
    return from_ms(ms).strftime("%Y-%m-%d %H:%M:%S")


def day_number(ms: int) -> int:
    """Whole days since 1970-01-01 UTC."""
    return ms // DAY_MS


def moment_ms(value: Any) -> int | None:
    """Milliseconds of Unix seconds or a time in UTC; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value * 1000) if abs(value) < _MOST_SECONDS else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if _SECONDS.match(text):
        return int(text) * 1000
    if not _MOMENT.match(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
