"""Suppressions as CSV: written so that no spreadsheet runs them, and read line by line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gateway import clock, errors
from gateway.services.suppression_list import Listed

COLUMNS = (
    "EmailAddress", "Domain", "Reason", "Rule", "Detail", "MX", "MessageID", "CreatedAt", "ExpiresAt", "ListID",
)  # fmt: skip

_ADDRESS = "emailaddress"
_ALIASES = {
    "email": _ADDRESS,
    "address": _ADDRESS,
    "recipient": _ADDRESS,
    "created": "createdat",
    "expires": "expiresat",
    "message": "messageid",
    "domainname": "domain",
}
_KNOWN = frozenset(name.lower() for name in COLUMNS)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """One record with lower-case names; `number` is the line on which it begins, `error` why it cannot be read."""

    number: int
    values: dict[str, str]
    error: str = ""


@dataclass(slots=True)
class Sheet:
    """A file's records, and the headings that mean nothing here."""

    lines: Iterator[Line]
    ignored: list[str] = field(default_factory=list)
    columns: frozenset[str] = frozenset()


def write(rows: Iterable[Listed], *, heading: bool) -> str:
    """RFC 4180; times are RFC 3339 with milliseconds, an empty Domain and ListID mean the whole account."""
    file = io.StringIO()
    writer = csv.writer(file)
    if heading:
        writer.writerow(COLUMNS)
    for row in rows:
        texts = (
            row.address,
            row.domain,
            row.reason,
            row.rule,
            row.detail.replace("\0", "\ufffd"),
            row.mx,
            str(row.message or ""),
            time_text(row.created_ms),
            "" if row.expires_ms is None else time_text(row.expires_ms),
            str(row.list_id or ""),
        )
        writer.writerow([harmless(text) for text in texts])
    return file.getvalue()


def lines(rows: Iterable[Iterable[object]]) -> str:
    """Rows of values as lines of RFC 4180, harmless to spreadsheets."""
    file = io.StringIO()
    csv.writer(file).writerows([harmless(str(value)) for value in row] for row in rows)
    return file.getvalue()


def read(text: str) -> Sheet:
    """The records of a file with headings in any case, or with one address a line.

    Commas, semicolons or tabs part the fields. Raises `Invalid` for a file whose headings name no address.
    """
    text = text.removeprefix("\ufeff")
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    head = first.strip().lower().replace("_", "").replace(" ", "").replace("-", "").replace('"', "").split(delimiter)
    names = [_ALIASES.get(name, name) for name in head]
    if _ADDRESS in names:
        ignored = [name for name in names if name and name not in _KNOWN]
        return Sheet(_records(reader, names, skip=True), ignored, frozenset(names))
    if "@" not in head[0] and text.strip():
        raise errors.Invalid("The first line should name the columns, EmailAddress among them.", field="Data")
    return Sheet(_records(reader, [_ADDRESS], skip=False), [], frozenset([_ADDRESS]))


def _records(reader: Iterator[list[str]], names: list[str], *, skip: bool) -> Iterator[Line]:
    while True:
        number: int = reader.line_num + 1  # type: ignore[attr-defined]
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(number, {}, f"cannot be read: {error}")
            continue
        if not any(cell.strip() for cell in row):
            continue
        if skip:
            skip = False
            continue
        if any(cell.strip() for cell in row[len(names) :]):
            why = "has more fields than the heading" if len(names) > 1 else "more than one field needs a heading line"
            yield Line(number, {}, why)
            continue
        yield Line(number, {name: plain(cell) for name, cell in zip(names, row, strict=False)})


def harmless(text: str) -> str:
    """With an apostrophe before what a spreadsheet would run as a formula; `plain` takes it off again.

    What has one already and would then look guarded gets a second, so that nothing changes on the way.
    """
    return f"'{text}" if text.lstrip(" '").startswith(_FORMULA) else text


def plain(text: str) -> str:
    guarded = text.startswith("'") and text[1:].lstrip(" '").startswith(_FORMULA)
    return text[1:] if guarded else text


def time_text(ms: int) -> str:
    """`2026-01-31T12:00:00.250Z`."""
    return clock.from_ms(ms).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def time_ms(text: str) -> int:
    """Milliseconds of a date or time, in UTC where it names no zone; raises `ValueError`."""
    moment = datetime.fromisoformat(text.strip())
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    found = (moment - _EPOCH) // timedelta(milliseconds=1)
    if found < 0:
        raise ValueError("before 1970")
    return found
