"""The audit log as files: JSON lines and CSV, made piece by piece."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import orjson

from gateway.services.suppression_csv import harmless

COLUMNS = (
    "id", "sequence", "created_at", "account_id", "kind", "actor", "key", "door", "action", "object", "ip",
    "request_id", "result", "status", "code", "before", "after", "previous_hash", "hash", "signature",
)  # fmt: skip
_LINES = 200
_BYTES = 1 << 16


def as_lines(entries: Iterator[dict[str, Any]]) -> Iterator[str]:
    """One JSON object a line, as the API shows it."""
    some: list[str] = []
    for entry in entries:
        some.append(orjson.dumps(entry).decode() + "\n")
        if len(some) == _LINES:
            yield "".join(some)
            some = []
    yield "".join(some)


def as_csv(entries: Iterator[dict[str, Any]]) -> Iterator[str]:
    """RFC 4180; a value that a spreadsheet would run as a formula has an apostrophe before it."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for entry in entries:
        writer.writerow(_cell(entry[name]) for name in COLUMNS)
        if file.tell() > _BYTES:
            yield file.getvalue()
            file.seek(0)
            file.truncate()
    yield file.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = orjson.dumps(value).decode() if isinstance(value, dict | list) else str(value)
    return harmless(text)
