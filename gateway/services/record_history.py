"""What was found of one wanted DNS record over time: seen, missing since when, how often missed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gateway import config
from gateway.dns.records import Purpose, WantedRecord
from gateway.dns.verify import Checked

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class RecordState:
    """A wanted record and what the last check said; `value` is what to publish, or what is there when verified."""

    purpose: Purpose
    host: str
    type: str
    value: str
    required: bool
    verified: bool = False
    note: str = ""  # why it is not verified, for people
    seen_ms: int | None = None  # when it was last verified
    missing_ms: int | None = None  # since when it is missing although it was there before
    misses: int = 0  # how many scheduled checks in a row missed it since
    missed_ms: int = 0  # when a check last missed it

    def is_lost(self, hours: int) -> bool:
        """Whether it has been missing for `hours`, and in enough checks, to be no slip of somebody's DNS."""
        return (
            self.missing_ms is not None
            and self.misses >= config.settings().drift_checks
            and self.missed_ms - self.missing_ms >= hours * _HOUR_MS
        )


def first(record: WantedRecord) -> RecordState:
    """The state of a record that was never asked for."""
    return RecordState(record.purpose, record.host, record.type, record.value, record.required)


def after(before: RecordState, found: Checked, *, scheduled: bool, now_ms: int) -> RecordState:
    """The state after one more check; no usable answer leaves it as it was, but for the note.

    Only scheduled checks count as misses: pressing a button ten times does not shorten the grace.
    """
    if found.verified is None:
        return replace(before, note=found.note)
    if found.verified:
        return replace(
            before, value=found.value, verified=True, note=found.note, seen_ms=now_ms, missing_ms=None, misses=0
        )
    missing_ms, misses = None, 0
    if before.seen_ms is not None:
        missing_ms = before.missing_ms if before.missing_ms is not None else now_ms
        misses = before.misses + (1 if scheduled else 0)
    return replace(
        before,
        value=found.value,
        verified=False,
        note=found.note,
        missing_ms=missing_ms,
        misses=misses,
        missed_ms=now_ms,
    )


def packed(record: WantedRecord, state: RecordState) -> dict[str, Any]:
    """As the domain's row keeps it."""
    return {
        "host": record.host,
        "wanted": record.value,
        "value": state.value,
        "verified": state.verified,
        "note": state.note,
        "seen_ms": state.seen_ms,
        "missing_ms": state.missing_ms,
        "misses": state.misses,
        "missed_ms": state.missed_ms,
    }


def unpacked(record: WantedRecord, kept: dict[str, Any], *, checked_ms: int | None) -> RecordState:
    """The state that `packed` kept; a row of a version that knew no times was last seen at `checked_ms`."""
    return replace(
        first(record),
        value=kept["value"],
        verified=kept["verified"],
        note=kept["note"],
        seen_ms=kept.get("seen_ms", checked_ms if kept["verified"] else None),
        missing_ms=kept.get("missing_ms"),
        misses=kept.get("misses", 0),
        missed_ms=kept.get("missed_ms", 0),
    )
