"""The rows of a file of subscribers: CSV or a JSON object a line, read from any place where a row begins.

Bytes come in pieces of any size. Each row knows the line on which it begins and the place behind it, so that whoever
was stopped goes on with the next one; a row that cannot be read says what is wrong with it and keeps no other.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway import errors
from gateway.services import suppression_csv
from gateway.services.subscribers import FIELD_NAME_LENGTH, New
from models.vocabulary import SubscriberStatus

CSV, JSON_LINES = "csv", "jsonl"
EMAIL, STATUS = "email", "status"
"""What a column may mean beside the name of a field."""

HEAD_BYTES = 65_536
"""The heading of a file ends within them."""
COLUMNS_MOST = 500

_ADDRESS = frozenset({"email", "emailaddress", "address", "mail", "recipient", "subscriber", "emailid"})
_STATUSES = {
    "active": SubscriberStatus.ACTIVE,
    "subscribed": SubscriberStatus.ACTIVE,
    "unsubscribed": SubscriberStatus.UNSUBSCRIBED,
    "pending": SubscriberStatus.PENDING,
    "": None,
}
_NOT_UTF8 = "is not UTF-8: say what encoding the file has"

Mapping_ = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in one column; '' where it is the row as a whole."""

    column: str
    value: str
    reason: str


@dataclass(slots=True)
class Row:
    """One record: `line` is where it begins, `end` and `next_line` where the next one does."""

    line: int
    end: int
    next_line: int
    new: New | None = None
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Head:
    """What the columns of a CSV file mean: each `EMAIL`, `STATUS`, the name of a field, or None for nothing."""

    delimiter: str
    columns: tuple[str | None, ...]
    titles: tuple[str, ...]
    has_heading: bool

    @property
    def email_title(self) -> str:
        return next((title for title, name in zip(self.titles, self.columns, strict=True) if name == EMAIL), EMAIL)


def head(first: bytes, mapping: Mapping_) -> Head:
    """The columns of a file by its first bytes; raises `Invalid` where none of them is the address.

    `mapping` says what titles mean, in any case; what it does not name means the field of its own title. A file without
    a heading has one address a line.
    """
    text = first[:HEAD_BYTES].decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    line = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=line.count)
    try:
        titles = next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        titles = []
    titles = [suppression_csv.plain(title).strip() for title in titles]
    wanted = {title.strip().casefold(): name for title, name in mapping.items()}
    columns = [_meaning(title, wanted) for title in titles]
    if any(_unfit(title) for title in titles):
        raise errors.Invalid("The heading of the file is not UTF-8: say what encoding the file has.", field="encoding")
    if EMAIL not in columns and titles and "@" in titles[0]:
        return Head(delimiter, (EMAIL,), (EMAIL,), False)
    _check(titles, columns, wanted)
    return Head(delimiter, tuple(columns), tuple(titles), True)


def _meaning(title: str, wanted: Mapping_) -> str | None:
    known = title.casefold()
    if known in wanted:
        return wanted[known] or None
    if "".join(char for char in known if char.isalnum()) in _ADDRESS:
        return EMAIL
    return STATUS if known == STATUS else title or None


def _check(titles: Sequence[str], columns: Sequence[str | None], wanted: Mapping_) -> None:
    unknown = wanted.keys() - {title.casefold() for title in titles}
    if unknown:
        raise errors.Invalid(f"The file has no column {sorted(unknown)[0][:64]!r}.", field="mapping")
    if columns.count(EMAIL) != 1:
        text = "no column" if EMAIL not in columns else "more than one column"
        raise errors.Invalid(
            f"The file has {text} with the address: name it email, or say so with mapping.", field="file"
        )
    if len(columns) > COLUMNS_MOST:
        raise errors.Invalid(f"The file has more than {COLUMNS_MOST} columns.", field="file")
    names = [name for name in columns if name is not None]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise errors.Invalid(f"The file has two columns for {twice[:64]!r}.", field="file")
    long = next((name for name in names if len(name) > FIELD_NAME_LENGTH), None)
    if long is not None:
        raise errors.Invalid(f"The title {long[:64]!r} is longer than {FIELD_NAME_LENGTH} characters.", field="file")


class _Lines:
    """The lines of the pieces, from a place on, with their ends; counts what was taken, and takes lines back."""

    def __init__(self, pieces: Iterable[bytes], at: int, line: int) -> None:
        self.at, self.line = at, line
        self.taken: list[bytes] = []
        self._lines = self._split(pieces)
        self._back: list[bytes] = []

    @staticmethod
    def _split(pieces: Iterable[bytes]) -> Iterator[bytes]:
        rest = b""
        for piece in pieces:
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            for line in lines:
                yield line + b"\n"
        if rest:
            yield rest

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._back.pop() if self._back else next(self._lines)
        self.taken.append(raw)
        text = raw.decode("utf-8", "surrogateescape")
        if self.at == 0:
            text = text.removeprefix("\ufeff")
        self.at += len(raw)
        self.line += 1
        return text

    def only_first(self) -> None:
        """Give back all lines of the record but its first."""
        for raw in reversed(self.taken[1:]):
            self._back.append(raw)
            self.at -= len(raw)
            self.line -= 1


def rows(
    pieces: Iterable[bytes], *, format: str, head: Head | None, mapping: Mapping_, at: int = 0, line: int = 0
) -> Iterator[Row]:
    """The rows of the pieces, which begin at the byte `at`, behind `line` lines."""
    lines = _Lines(pieces, at, line)
    return _csv(lines, head) if format == CSV and head is not None else _json(lines, mapping)


def _csv(lines: _Lines, head: Head) -> Iterator[Row]:
    skip = head.has_heading and lines.at == 0
    while True:
        begins, lines.taken = lines.line + 1, []
        # A reader for each record: after an error it would go on in the middle of a quoted value.
        reader = csv.reader(lines, delimiter=head.delimiter, strict=True)
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            many = len(lines.taken) > 1
            lines.only_first()
            reason = "a quoted value that begins here has no end" if many else f"cannot be read: {error}"[:255]
            yield Row(begins, lines.at, lines.line, faults=[Fault("", "", reason)])
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if skip:
            skip = False
            continue
        row = Row(begins, lines.at, lines.line)
        _fill(row, cells, head)
        yield row


def _fill(row: Row, cells: Sequence[str], head: Head) -> None:
    if any(cell.strip() for cell in cells[len(head.columns) :]):
        row.faults.append(Fault("", "", "has more values than the heading has columns"))
        return
    values: dict[str, str] = {}
    for cell, name, title in zip(cells, head.columns, head.titles, strict=False):
        text = suppression_csv.plain(cell).strip()
        if name is None or not text:
            continue
        reason = _unfit(text)
        if reason:
            row.faults.append(Fault(title, shown(text), reason))
        values[name] = text
    status, title = (
        values.pop(STATUS, ""),
        next((t for t, n in zip(head.titles, head.columns, strict=True) if n == STATUS), ""),
    )
    _judge(row, values.pop(EMAIL, ""), values, status, title)


def _judge(row: Row, email: Any, values: Any, status: Any, title: str) -> None:
    word = status.strip().casefold() if isinstance(status, str) else None
    if word not in _STATUSES:
        row.faults.append(Fault(title or STATUS, shown(status), "should be active, unsubscribed or pending"))
    if not row.faults:
        row.new = New(email, values, _STATUSES.get(word or ""))


def _json(lines: _Lines, mapping: Mapping_) -> Iterator[Row]:
    wanted = {title.casefold(): name for title, name in mapping.items()}
    while True:
        begins, lines.taken = lines.line + 1, []
        try:
            text = next(lines)
        except StopIteration:
            return
        if not text.strip():
            continue
        row = Row(begins, lines.at, lines.line)
        try:
            item = orjson.loads(text.encode("utf-8", "surrogateescape"))
        except orjson.JSONDecodeError as error:
            reason = _NOT_UTF8 if _unfit(text) == _NOT_UTF8 else f"is not JSON: {error}"[:255]
            row.faults.append(Fault("", shown(text.rstrip("\r\n")), reason))
            yield row
            continue
        _read(row, item, wanted)
        yield row


def _read(row: Row, item: Any, wanted: Mapping_) -> None:
    if isinstance(item, str):
        item = {EMAIL: item}
    if not isinstance(item, dict):
        row.faults.append(Fault("", shown(item), "is not an object"))
        return
    values: dict[str, Any] = {}
    email: Any = ""
    status: Any = ""
    for title, value in item.items():
        name = wanted.get(title.casefold(), title) if title.casefold() in wanted else title
        if name is None or value is None:
            continue
        if name == EMAIL:
            email = value
        elif name == STATUS:
            status = value
        elif title == "fields" and isinstance(value, dict):
            values |= value
        else:
            values[name] = value
    _judge(row, email, values, status, STATUS)


def _unfit(text: str) -> str:
    if "\0" in text:
        return "contains NUL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return _NOT_UTF8
    return ""


def shown(value: Any) -> str:
    """A value as the list of errors has it: short, and without what cannot be stored."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text[:320].encode("utf-8", "replace").decode().replace("\0", "\ufffd")
