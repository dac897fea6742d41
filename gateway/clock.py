"""The one source of time."""

from __future__ import annotations

import time
from datetime import UTC, datetime

DAY_MS = 86_400_000


def now_ms() -> int:
    """Milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def now() -> datetime:
    return datetime.fromtimestamp(now_ms() / 1000, UTC)


def from_ms(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def rfc3339(ms: int) -> str:
    """`2023-01-01T12:00:00Z`, whole seconds, as the command API prints it."""
    return from_ms(ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def sql_text(ms: int) -> str:
    """`2023-01-01 12:00:00` in UTC, as the command API prints creation dates."""
    return from_ms(ms).strftime("%Y-%m-%d %H:%M:%S")


def day_number(ms: int) -> int:
    """Whole days since 1970-01-01 UTC."""
    return ms // DAY_MS
