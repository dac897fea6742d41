"""Parameter schemas of commands: marshmallow fields that know the document's error numbers.

A field says `missing=` (the number when it is absent or blank), `invalid=` (when it has the wrong type, form
or size; without it 100010) and `doc=`. Parameters arrive with lower-case names, leave with the document's
spelling, and absent optional ones stay absent. Numbers in the wrong place are refused, never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NoReturn

import marshmallow as ma
import orjson

UNDOCUMENTED = 100010
"""The number of a fault that the document gives none: a wrong type, an oversized field."""

_INT64 = 2**63 - 1
_DIGITS = re.compile(r"[+-]?\d{1,19}\Z", re.ASCII)
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_LAST_OF_DAY = timedelta(days=1, milliseconds=-1)


@dataclass(frozen=True, slots=True)
class Fault:
    """One refused parameter; `missing` tells an absent one from a wrong one."""

    code: int
    field: str
    text: str
    missing: bool = False


class Field(ma.fields.Field[Any]):
    """A parameter: `missing` and `invalid` are the document's numbers, `max` the longest text, in characters.

    `doc` says what it means; an `example` shows it in the example request of the command's page, where
    obligatory parameters stand with or without one.
    """

    sample: Any = "…"
    """What stands in an example request where the parameter has no example of its own."""

    def __init__(
        self,
        *,
        missing: int | None = None,
        invalid: int | None = None,
        required: bool = True,
        doc: str = "",
        blank: bool = False,
        example: Any = None,
    ) -> None:
        super().__init__(required=False, metadata={"doc": doc, "missing": missing, "invalid": invalid})
        self.obligatory = required
        self.missing_code = missing if missing is not None else UNDOCUMENTED
        self.invalid_code = invalid if invalid is not None else UNDOCUMENTED
        self.doc = doc
        self.keeps_blank = blank
        self.example = example

    def describe(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of what the parameter accepts, but for its number codes."""
        return {}

    def refuse(self, text: str) -> NoReturn:
        raise ma.ValidationError(text)

    def read(self, value: Any) -> Any:
        """The parsed value; calls `refuse` with a text that follows the parameter's name."""
        return value

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        return self.read(value)


class Text(Field):
    """A text of at most `max` characters without NUL; numbers become their digits."""

    def __init__(self, *, max: int = 65535, choices: Collection[str] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.max = max
        self.choices = choices

    def describe(self) -> dict[str, Any]:
        if self.choices is not None:
            return {"type": "string", "enum": list(self.choices)}
        return {"type": "string", "maxLength": self.max}

    def read(self, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            self.refuse("should be a text")
        text = str(value)
        if len(text) > self.max:
            self.refuse(f"should have at most {self.max} characters")
        if "\0" in text:
            self.refuse("should not contain NUL")
        if self.choices is not None and text not in self.choices:
            self.refuse("should be one of " + ", ".join(self.choices))
        return text


class Id(Field):
    """A row's number; what cannot be parsed becomes 0, which no row has: it is simply not found."""

    sample = 123

    def describe(self) -> dict[str, Any]:
        return {"type": ["integer", "string"]}

    def read(self, value: Any) -> int:
        number = _whole(value)
        return number if number is not None and 0 < number <= _INT64 else 0


class Whole(Field):
    """A whole number from `low` to `high`; with `clamp` what lies outside counts as the nearest."""

    def __init__(self, *, low: int = 0, high: int = _INT64, clamp: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.low, self.high, self.clamp = low, high, clamp
        self.sample = max(low, min(10, high))

    def describe(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"type": ["integer", "string"], "pattern": r"^[+-]?\d{1,19}$"}
        if not self.clamp:
            shape |= {"minimum": self.low} | ({"maximum": self.high} if self.high < _INT64 else {})
        return shape

    def read(self, value: Any) -> int:
        number = _whole(value)
        if number is None:
            self.refuse("should be a whole number")
        if self.clamp:
            return min(max(number, self.low), self.high)
        if not self.low <= number <= self.high:
            self.refuse(f"should be from {self.low} to {self.high}")
        return number


class Flag(Field):
    """A boolean: true, false, 1, 0 or their texts."""

    sample = True

    def describe(self) -> dict[str, Any]:
        return {"enum": [True, False, 1, 0, *_FLAGS]}

    def read(self, value: Any) -> bool:
        word = str(value).strip().lower() if isinstance(value, (str, int)) else ""
        if word not in _FLAGS:
            self.refuse("should be 1 or 0")
        return _FLAGS[word]


class Day(Field):
    """A date or time in UTC as milliseconds; with `end` a date without a time means its last millisecond."""

    sample = "2026-01-31"

    def __init__(self, *, end: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.end = end

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "examples": ["2026-01-31", "2026-01-31 12:30:00"]}

    def read(self, value: Any) -> int:
        text = value.strip() if isinstance(value, str) else ""
        try:
            moment = datetime.fromisoformat(text)
            if self.end and _is_bare_date(text):
                moment += _LAST_OF_DAY
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
            return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        except (ValueError, OverflowError):
            self.refuse("should be a date: YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, in UTC")


class Texts(Field):
    """A list of texts, each of at most `max` characters; one text alone is a list of one."""

    def __init__(self, *, max: int = 255, most: int = 1000, **options: Any) -> None:
        super().__init__(**options)
        self.max, self.most = max, most
        self.sample = [Field.sample]

    def describe(self) -> dict[str, Any]:
        text = {"type": "string", "maxLength": self.max}
        return {"oneOf": [{"type": "array", "items": text, "maxItems": self.most}, text]}

    def read(self, value: Any) -> list[str]:
        items = value if isinstance(value, list) else [value]
        if len(items) > self.most:
            self.refuse(f"should have at most {self.most} entries")
        text = Text(max=self.max)
        return [text.read(item) for item in items]


class Object(Field):
    """An object of names and values, or its JSON as a text; the names keep their spelling where reading lets them."""

    def read(self, value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError:
                value = None
        if value == []:  # what a form makes of no names at all
            value = {}
        if not isinstance(value, dict):
            self.refuse("should be an object of names and values")
        return value


class Anything(Field):
    """Whatever was sent, for handlers that read a structure themselves."""


class Params(ma.Schema):
    """Base of a command's parameters: unknown ones are ignored, names are matched without regard to case."""

    class Meta:
        unknown = ma.EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field[Any]) -> None:
        field_obj.data_key = (field_obj.data_key or field_name).lower()

    def check(self, data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
        """The parsed parameters and every fault found, in the order of their numbers.

        `data` has lower-case names. Undocumented faults come last.
        """
        faults: list[Fault] = []
        present: dict[str, Any] = {}
        for name, field in self.load_fields.items():
            if not isinstance(field, Field) or field.data_key is None:
                continue
            value = data.get(field.data_key)
            if value is None or (isinstance(value, str) and not value.strip() and not field.keeps_blank):
                if field.obligatory:
                    faults.append(Fault(field.missing_code, name, f"'{name}' is missing", missing=True))
            else:
                present[field.data_key] = value
        try:
            values: dict[str, Any] = self.load(present)
        except ma.ValidationError as error:
            values = {}
            messages = error.normalized_messages()  # type: ignore[no-untyped-call]
            for name, field in self.load_fields.items():
                if field.data_key in messages and isinstance(field, Field):
                    faults.append(Fault(field.invalid_code, name, f"'{name}' {messages[field.data_key][0]}"))
        faults.sort(key=lambda fault: fault.code)
        return values, faults


def _is_bare_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _INT64 else None
    if isinstance(value, str):
        text = value.strip()
        return int(text) if _DIGITS.match(text) else None
    return value if isinstance(value, int) else None
