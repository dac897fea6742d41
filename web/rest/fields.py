"""Parameters of the REST surfaces: marshmallow fields that refuse what a column could not hold."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma

from gateway import errors
from web.rest import paging

_WORDS = re.compile(r"[,\n]")
_LATEST_MS = 253_402_300_799_999  # the end of the year 9999
_MS_FROM = 100_000_000_000  # what is larger counts milliseconds: as seconds it would be after the year 5000


class Params(ma.Schema):
    """The parameters of an operation; what nothing here names is told to the client, not refused."""

    class Meta:
        unknown = ma.EXCLUDE


class Text(ma.fields.Field[str]):
    """A text of `min` to `max` characters without NUL."""

    def __init__(
        self, *, max: int = 1000, min: int = 0, choices: Collection[str] | None = None, doc: str = "", **options: Any
    ) -> None:
        super().__init__(metadata={"description": doc} if doc else {}, **options)
        self.max, self.min, self.choices = max, min, choices

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ma.ValidationError("Should be a text.")
        if len(value) > self.max:
            raise ma.ValidationError(f"Should have at most {self.max} characters.")
        if len(value.strip()) < self.min:
            raise ma.ValidationError("Should not be empty." if self.min == 1 else f"Should have {self.min} characters.")
        if "\0" in value:
            raise ma.ValidationError("Should not contain NUL.")
        if self.choices is not None and value not in self.choices:
            raise ma.ValidationError("Should be one of " + ", ".join(self.choices) + ".")
        return value

    def describe(self) -> dict[str, Any]:
        if self.choices is not None:
            return {"type": "string", "enum": list(self.choices)}
        return {"type": "string", "maxLength": self.max} | ({"minLength": self.min} if self.min else {})


class Whole(ma.fields.Field[int]):
    """A whole number from `low` to `high`, as a number or as digits."""

    def __init__(self, *, low: int = 0, high: int = 2**63 - 1, doc: str = "", **options: Any) -> None:
        super().__init__(metadata={"description": doc} if doc else {}, **options)
        self.low, self.high = low, high

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value, re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ma.ValidationError("Should be a whole number.")
        if not self.low <= value <= self.high:
            raise ma.ValidationError(f"Should be from {self.low} to {self.high}.")
        return value

    def describe(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class Flag(ma.fields.Field[bool]):
    """true or false, in a query also 1 or 0."""

    def __init__(self, *, doc: str = "", **options: Any) -> None:
        super().__init__(metadata={"description": doc} if doc else {}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        found = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
        if found is None:
            raise ma.ValidationError("Should be true or false.")
        return found

    def describe(self) -> dict[str, Any]:
        return {"type": "boolean"}


class Moment(ma.fields.Field[int]):
    """A time as milliseconds since 1970: from RFC 3339, a date (its first moment, UTC) or unix time."""

    def __init__(self, *, doc: str = "", **options: Any) -> None:
        super().__init__(metadata={"description": doc} if doc else {}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
            value = int(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            ms = int(value if abs(value) >= _MS_FROM else value * 1000) if math.isfinite(value) else -1
        elif isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value.strip())
            except ValueError:
                raise ma.ValidationError("Should be a time such as 2026-04-19T10:24:11Z.") from None
            try:
                ms = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
            except (OverflowError, ValueError):
                ms = -1
        else:
            raise ma.ValidationError("Should be a time such as 2026-04-19T10:24:11Z.")
        if not 0 <= ms <= _LATEST_MS:
            raise ma.ValidationError("Should be a time from 1970 to 9999.")
        return ms

    def describe(self) -> dict[str, Any]:
        return {"type": ["string", "number"], "examples": ["2026-04-19T10:24:11Z"]}


class Words(ma.fields.Field[list[str]]):
    """A list of texts, or one text with commas or line breaks between them; empty ones are left out."""

    def __init__(
        self, *, max: int = 255, most: int = 1000, choices: Collection[str] | None = None, doc: str = "", **options: Any
    ) -> None:
        super().__init__(metadata={"description": doc} if doc else {}, **options)
        self.max, self.most, self.choices = max, most, choices

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> list[str]:
        parts = _WORDS.split(value) if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ma.ValidationError("Should be a list of texts.")
        words = [part.strip() for part in parts if part.strip()]
        if len(words) > self.most:
            raise ma.ValidationError(f"Should have at most {self.most} entries.")
        for word in words:
            if len(word) > self.max or "\0" in word:
                raise ma.ValidationError(f"Each entry should have at most {self.max} characters and no NUL.")
            if self.choices is not None and word not in self.choices:
                raise ma.ValidationError("Each entry should be one of " + ", ".join(self.choices) + ".")
        return words

    def describe(self) -> dict[str, Any]:
        item: dict[str, Any] = {"type": "string", "maxLength": self.max}
        if self.choices is not None:
            item = {"type": "string", "enum": list(self.choices)}
        return {"anyOf": [{"type": "array", "items": item, "maxItems": self.most}, {"type": "string"}]}


class Anything(ma.fields.Field[Any]):
    """Any JSON value, read by the service; `shape` is its JSON Schema, which names all that is read where `closed`."""

    def __init__(
        self, *, shape: dict[str, Any] | None = None, closed: bool = False, doc: str = "", **options: Any
    ) -> None:
        super().__init__(metadata={"description": doc} if doc else {}, **options)
        self.shape, self.closed = shape or {}, closed

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        return value

    def describe(self) -> dict[str, Any]:
        return dict(self.shape)

    def unread(self, value: Any, path: str) -> list[str]:
        """The names inside `value` that nothing reads; `path` is that of the value."""
        return unread(self.shape, value, path) if self.closed else []


def unread(shape: Mapping[str, Any], value: Any, path: str) -> list[str]:
    """The names inside `value` that its JSON Schema does not have, where that names some."""
    for one in shape.get("anyOf", (shape,)):
        if isinstance(value, Mapping) and "properties" in one:
            known = one["properties"]
            return [
                name
                for key, inner in value.items()
                for name in (unread(known[key], inner, f"{path}.{key}") if key in known else [f"{path}.{key}"])
            ]
        if isinstance(value, list) and "items" in one:
            return [name for at, item in enumerate(value) for name in unread(one["items"], item, f"{path}.{at}")]
    return []


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """An object that a service reads, absent or null as an empty one; raises `Invalid` for anything else."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise errors.Invalid(f"{name} should be an object.", field=name)
    return value


class Listing(Params):
    """What every list may be asked."""

    limit = Whole(low=1, high=paging.MOST, load_default=paging.DEFAULT, doc="How many entries the page has at most")
    cursor = Text(max=500, load_default="", doc="`next_cursor` of the page before")


def unknown(schema: ma.Schema, data: Mapping[str, Any], path: str = "") -> list[str]:
    """The names in `data` that the schema does not read, at every depth that it knows."""
    known = {field.data_key or name: field for name, field in schema.load_fields.items()}
    found: list[str] = []
    for name, value in data.items():
        field = known.get(name)
        if field is None:
            found.append(path + name)
        elif isinstance(field, Anything):
            found += field.unread(value, path + name)
        elif isinstance(field, ma.fields.Nested) and isinstance(value, Mapping):
            found += unknown(field.schema, value, f"{path}{name}.")
        elif (
            isinstance(field, ma.fields.List) and isinstance(field.inner, ma.fields.Nested) and isinstance(value, list)
        ):
            inner = field.inner.schema
            for at, item in enumerate(value):
                if isinstance(item, Mapping):
                    found += unknown(inner, item, f"{path}{name}.{at}.")
    return found


def faults(messages: Any, path: str = "") -> list[dict[str, str]]:
    """marshmallow's messages as a flat list of `{"field", "message"}`."""
    if isinstance(messages, Mapping):
        return [
            fault
            for name, inner in messages.items()
            for fault in faults(inner, path if name == "_schema" else f"{path}.{name}" if path else str(name))
        ]
    if isinstance(messages, list):
        return [fault for inner in messages for fault in faults(inner, path)]
    text = str(messages)
    return [
        {
            "field": path,
            "message": required(path) if text == ma.fields.Field.default_error_messages["required"] else text,
        }
    ]


def required(path: str) -> str:
    """What is said of a field that has to be there."""
    return f"The '{path}' field is required."
