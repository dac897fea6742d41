"""How many messages each sending server was given: counts in fixed windows of UTC, exact over all processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway import clock
from models import database as db

SPAN_WORDS = {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}
"""The windows by their seconds."""

Limits = tuple[tuple[int, int], ...]
"""Pairs of a window's seconds and the messages that it allows, the shortest first."""


@dataclass(frozen=True, slots=True)
class Grant:
    """`count` messages may go, in exactly the windows `starts`; where it is 0, `full` is until when and which window.

    `used` is the count in each window, what was granted included.
    """

    count: int
    starts: dict[int, int]
    used: dict[int, int]
    full: tuple[int, int] | None = None


def start_ms(span: int, now_ms: int) -> int:
    """When the window that holds `now_ms` began."""
    return now_ms - now_ms % (span * 1000)


def reserve(server_id: int, limits: Limits, wanted: int) -> Grant:
    """Count up to `wanted` messages against every limit, in one transaction, before they are sent.

    At most a quarter of what is left: the last ones are counted one by one, so that nobody is told that a server is
    full because of what another process counted and does not need.
    Of processes whose clocks differ the one that is behind counts in the later window: none is passed by starting
    an old one anew.
    """
    return db.in_transaction(lambda tx: _reserve(tx, server_id, limits, wanted))


def _reserve(tx: db.Transaction, server_id: int, limits: Limits, wanted: int) -> Grant:
    now = clock.now_ms()
    rows = _locked(tx, server_id, limits)
    starts, used = {}, {}
    granted, full = wanted, None
    for span, limit in limits:
        began = start_ms(span, now)
        last, n = rows.get(span, (0, 0))
        starts[span], used[span] = (last, n) if last >= began else (began, 0)
        left = max(0, limit - used[span])
        if left == 0:
            full = max(full or (0, 0), (starts[span] + span * 1000, span))
        granted = min(granted, max(1, left // 4) if left else 0)
    if granted:
        for span, _ in limits:
            used[span] += granted
            tx.execute(
                "UPDATE server_usage SET start_ms = ?, n = ? WHERE server_id = ? AND span = ?",
                (starts[span], used[span], server_id, span),
            )
    return Grant(granted, starts, used, None if granted else full)


def _locked(tx: db.Transaction, server_id: int, limits: Limits) -> dict[int, tuple[int, int]]:
    """The rows of the windows, held for this transaction; made where they are new."""
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    sql = f"SELECT span, start_ms, n FROM server_usage WHERE server_id = ? ORDER BY span{lock}"
    found = {span: (start, n) for span, start, n in tx.rows(sql, (server_id,))}
    missing = [span for span, _ in limits if span not in found]
    if missing:
        ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
        for span in missing:
            tx.execute(
                f"{ignore} INTO server_usage (server_id, span, start_ms, n) VALUES (?, ?, 0, 0)", (server_id, span)
            )
        found = {span: (start, n) for span, start, n in tx.rows(sql, (server_id,))}
    return found


def release(server_id: int, starts: Mapping[int, int], count: int) -> None:
    """Take back what was reserved and not sent, in the windows that are still the current ones."""

    def work(tx: db.Transaction) -> None:
        for span, start in sorted(starts.items()):
            tx.execute(
                "UPDATE server_usage SET n = n - ? WHERE server_id = ? AND span = ? AND start_ms = ? AND n >= ?",
                (count, server_id, span, start, count),
            )

    db.in_transaction(work)


def current(server_ids: Sequence[int]) -> dict[tuple[int, int], int]:
    """The counts of the current windows, by server and span."""
    if not server_ids:
        return {}
    now = clock.now_ms()
    return {
        (server_id, span): int(n)
        for server_id, span, start, n in db.rows(
            "SELECT server_id, span, start_ms, n FROM server_usage"
            f" WHERE server_id IN ({','.join('?' * len(server_ids))})",
            list(server_ids),
        )
        if start >= start_ms(span, now)
    }
