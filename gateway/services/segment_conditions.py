"""The conditions of a segment: read from JSON, and asked of one subscriber at a time; no input and no output.

They are a tree of groups (`all`, `any`, `not`) over conditions on a field (`{"field", "op", "value"}`) and on
behaviour (`{"behaviour", "within_days" | "since", "tag" | "campaign"}`). Both databases answer alike, because neither
is asked: rows come in the order of their ids and are judged here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway import clock, errors

DEPTH_MOST = 5
"""Groups within groups."""
CONDITIONS_MOST = 100
VALUES_MOST = 1_000
"""Entries of one `in`."""
TEXT_MOST = 1_000
DAYS_MOST = 3_660

EMAIL = "email"
"""The name under which the address itself is asked for."""

DELIVERED, OPENED, CLICKED, BOUNCED, SUBSCRIBED = "delivered", "opened", "clicked", "bounced", "subscribed"
BEHAVIOURS = (DELIVERED, OPENED, CLICKED, BOUNCED, SUBSCRIBED)
_NOT = "not_"

ANY_MESSAGE = ""
TAG = "tag:"

_MS_FROM = 100_000_000_000  # what is larger counts milliseconds: as seconds it would be after the year 5000


@dataclass(frozen=True, slots=True)
class Behaviour:
    """When an address last did what, in milliseconds; 0: never as far as is known."""

    delivered: int = 0
    opened: int = 0
    clicked: int = 0
    bounced: int = 0


@dataclass(slots=True)
class Person:
    """A subscriber as conditions see them; `fields` is the row's JSON, read when a condition asks for one."""

    email: str
    fields: str
    created_ms: int
    behaviour: Mapping[str, Behaviour] = field(default_factory=dict)  # by mark
    _read: dict[str, Any] | None = None

    def value(self, name: str) -> Any:
        """The field's value, None where there is none; a name with dots leads into objects."""
        if name == EMAIL:
            return self.email
        if self._read is None:
            self._read = orjson.loads(self.fields or "{}")
        if name in self._read:
            return self._read[name]
        at: Any = self._read
        for part in name.split("."):
            at = at.get(part) if isinstance(at, dict) else None
        return at


Test = Callable[[Person, int], bool]
"""Whether a person fulfils a condition at a time in milliseconds."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """Compiled conditions; `marks` are those of the behaviour that they ask for."""

    test: Test
    marks: frozenset[str]

    def matches(self, person: Person, now_ms: int) -> bool:
        return self.test(person, now_ms)


EVERYBODY = Matcher(lambda person, now_ms: True, frozenset())


def compile_(conditions: Any, origin_of: Callable[[str], str | None]) -> Matcher:
    """Read conditions as they were sent; an empty object is everybody. Raises `InvalidFields` with every fault's path.

    `origin_of` knows the mark of a campaign's messages by the campaign's id, None for one that is not there.
    """
    reader = _Reader(origin_of)
    test = EVERYBODY.test if conditions == {} else reader.read(conditions, "conditions", 1)
    if reader.faults:
        first = reader.faults[0]
        raise errors.InvalidFields(f"{first['field']}: {first['message']}", fields=reader.faults)
    return Matcher(test, frozenset(reader.marks))


class _Reader:
    def __init__(self, origin_of: Callable[[str], str | None]) -> None:
        self._origin_of = origin_of
        self.faults: list[dict[str, str]] = []
        self.marks: set[str] = set()
        self._count = 0

    def _fault(self, path: str, text: str) -> Test:
        if len(self.faults) < 20:
            self.faults.append({"field": path, "message": text})
        return EVERYBODY.test

    def read(self, value: Any, path: str, depth: int) -> Test:
        self._count += 1
        if self._count > CONDITIONS_MOST:
            return self._fault("conditions", f"Should have at most {CONDITIONS_MOST} conditions and groups.")
        if not isinstance(value, dict):
            return self._fault(path, "Should be an object.")
        kinds = [name for name in ("all", "any", "not", "field", "behaviour") if name in value]
        if len(kinds) != 1:
            return self._fault(path, "Should have one of all, any, not, field and behaviour.")
        kind = kinds[0]
        if kind in ("all", "any", "not") and depth > DEPTH_MOST:
            return self._fault(path, f"Groups are nested deeper than {DEPTH_MOST}.")
        known = {"field": {"op", "value"}, "behaviour": {"within_days", "since", "tag", "campaign"}}.get(kind, set())
        for name in value.keys() - known - {kind}:
            self._fault(f"{path}.{name}", "Is not known here.")
        if kind == "not":
            inner = self.read(value["not"], f"{path}.not", depth + 1)
            return lambda person, now: not inner(person, now)
        if kind in ("all", "any"):
            return self._group(value[kind], f"{path}.{kind}", depth, every=kind == "all")
        return self._field(value, path) if kind == "field" else self._behaviour(value, path)

    def _group(self, value: Any, path: str, depth: int, *, every: bool) -> Test:
        if not isinstance(value, list) or not value:
            return self._fault(path, "Should be a list of conditions.")
        tests = [self.read(item, f"{path}.{at}", depth + 1) for at, item in enumerate(value[: CONDITIONS_MOST + 1])]
        if every:
            return lambda person, now: all(test(person, now) for test in tests)
        return lambda person, now: any(test(person, now) for test in tests)

    def _field(self, value: dict[str, Any], path: str) -> Test:
        name, op = value["field"], value.get("op", "equals")
        if not isinstance(name, str) or not 0 < len(name) <= 255:
            return self._fault(f"{path}.field", "Should be a name of 1 to 255 characters.")
        if not isinstance(op, str) or op not in _OPERATORS:
            return self._fault(f"{path}.op", "Should be one of " + ", ".join(_OPERATORS) + ".")
        read, ask = _OPERATORS[op]
        if read is None:
            if value.get("value") is not None:
                return self._fault(f"{path}.value", f"{op} has no value.")
            return lambda person, now: ask(person.value(name), None)
        try:
            wanted = read(value.get("value"))
        except _Unfit as unfit:
            return self._fault(f"{path}.value", str(unfit))
        return lambda person, now: ask(person.value(name), wanted)

    def _behaviour(self, value: dict[str, Any], path: str) -> Test:
        word = value["behaviour"]
        word = word if isinstance(word, str) else ""
        what = word.removeprefix(_NOT)
        if what not in BEHAVIOURS:
            words = ", ".join((*BEHAVIOURS, *(_NOT + one for one in BEHAVIOURS)))
            return self._fault(f"{path}.behaviour", f"Should be one of {words}.")
        if "within_days" in value and "since" in value:
            return self._fault(path, "Should have within_days or since.")
        days, since = value.get("within_days"), 1
        if days is not None and (isinstance(days, bool) or not isinstance(days, int) or not 0 < days <= DAYS_MOST):
            return self._fault(f"{path}.within_days", f"Should be a whole number from 1 to {DAYS_MOST}.")
        if value.get("since") is not None:
            try:
                since = _moment(value["since"])
            except _Unfit as unfit:
                return self._fault(f"{path}.since", str(unfit))
        mark = self._mark(value, path, what)
        self.marks.add(mark)
        span = None if days is None else days * clock.DAY_MS

        def did(person: Person, now: int) -> bool:
            if what == SUBSCRIBED:
                at = person.created_ms
            else:
                at = int(getattr(person.behaviour.get(mark, _NOTHING), what))
            return at >= (since if span is None else now - span)

        return did if what == word else lambda person, now: not did(person, now)

    def _mark(self, value: dict[str, Any], path: str, what: str) -> str:
        tag, campaign = value.get("tag"), value.get("campaign")
        if (tag is not None or campaign is not None) and what == SUBSCRIBED:
            self._fault(path, "Subscribing has no tag and no campaign.")
        if tag is not None and campaign is not None:
            self._fault(path, "Should have a tag or a campaign.")
        if tag is not None:
            if not isinstance(tag, str) or not 0 < len(tag) <= 190:
                self._fault(f"{path}.tag", "Should be a text of 1 to 190 characters.")
                return ANY_MESSAGE
            return TAG + tag
        if campaign is not None:
            origin = self._origin_of(campaign) if isinstance(campaign, str) else None
            if origin is None:
                self._fault(f"{path}.campaign", "Should be the id of a campaign.")
            return origin or ANY_MESSAGE
        return ANY_MESSAGE


_NOTHING = Behaviour()


class _Unfit(Exception):
    """A value that its operator cannot be asked with."""


def _scalar(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= TEXT_MOST:
        return value
    if isinstance(value, bool | int | float):
        return value
    raise _Unfit(f"Should be a text of at most {TEXT_MOST} characters, a number, true or false.")


def _some_text(value: Any) -> str:
    if isinstance(value, str) and 0 < len(value) <= TEXT_MOST:
        return _folded(value)
    raise _Unfit(f"Should be a text of 1 to {TEXT_MOST} characters.")


def _number(value: Any) -> float:
    found = _as_number(value)
    if found is None:
        raise _Unfit("Should be a number.")
    return found


def _several(value: Any) -> list[Any]:
    if not isinstance(value, list) or not 0 < len(value) <= VALUES_MOST:
        raise _Unfit(f"Should be a list of 1 to {VALUES_MOST} values.")
    return [_scalar(item) for item in value]


def _moment(value: Any) -> int:
    found = _as_moment(value)
    if found is None:
        raise _Unfit("Should be a date or a time such as 2026-04-19T10:24:11Z.")
    return found


def _folded(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip().casefold()


def _as_number(value: Any) -> float | None:
    """What counts as a number: one, or a text that says one, as a file's values are texts."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _as_moment(value: Any) -> int | None:
    """Milliseconds since 1970 of a date (its first moment in UTC), of a time, or of Unix time."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value.strip())
        except ValueError:
            value = _as_number(value)
        else:
            found = found if found.tzinfo else found.replace(tzinfo=UTC)
            try:
                return int(found.timestamp() * 1000)
            except (OverflowError, ValueError):
                return None
    if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e15:
        return None
    return int(value if abs(value) >= _MS_FROM else value * 1000)


def _each(value: Any) -> Iterator[Any]:
    """The values of a list one by one: a condition holds where it holds for one of them."""
    yield from value if isinstance(value, list) else (value,)


def same(value: Any, wanted: Any) -> bool:
    """What `equals` asks: of texts in any case, of what is a number as one, of a list for each of its values."""
    return _equals(value, wanted)


def _equals(value: Any, wanted: Any) -> bool:
    return any(_same(one, wanted) for one in _each(value))


def _same(value: Any, wanted: Any) -> bool:
    if value is None:
        return False
    number, other = _as_number(value), _as_number(wanted)
    if number is not None and other is not None:
        return number == other
    return _folded(value) == _folded(wanted)


def _in(value: Any, wanted: Sequence[Any]) -> bool:
    return any(_equals(value, one) for one in wanted)


def _exists(value: Any, _: Any) -> bool:
    return value is not None and value not in ("", [])


def _texts(ask: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, wanted: any(one is not None and ask(_folded(one), wanted) for one in _each(value))


def _compared(
    of: Callable[[Any], float | int | None], ask: Callable[[float, float], bool]
) -> Callable[[Any, Any], bool]:
    def compare(value: Any, wanted: Any) -> bool:
        return any((found := of(one)) is not None and ask(found, wanted) for one in _each(value))

    return compare


def _opposite(ask: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, wanted: not ask(value, wanted)


_contains = _texts(lambda text, part: part in text)

_OPERATORS: dict[str, tuple[Callable[[Any], Any] | None, Callable[[Any, Any], bool]]] = {
    "equals": (_scalar, _equals),
    "not_equals": (_scalar, _opposite(_equals)),
    "contains": (_some_text, _contains),
    "not_contains": (_some_text, _opposite(_contains)),
    "starts_with": (_some_text, _texts(lambda text, part: text.startswith(part))),
    "ends_with": (_some_text, _texts(lambda text, part: text.endswith(part))),
    "exists": (None, _exists),
    "not_exists": (None, _opposite(_exists)),
    "greater": (_number, _compared(_as_number, lambda found, wanted: found > wanted)),
    "greater_or_equal": (_number, _compared(_as_number, lambda found, wanted: found >= wanted)),
    "less": (_number, _compared(_as_number, lambda found, wanted: found < wanted)),
    "less_or_equal": (_number, _compared(_as_number, lambda found, wanted: found <= wanted)),
    "in": (_several, _in),
    "not_in": (_several, _opposite(_in)),
    "before": (_moment, _compared(_as_moment, lambda found, wanted: found < wanted)),
    "after": (_moment, _compared(_as_moment, lambda found, wanted: found >= wanted)),
}
"""How each reads its value, None where it has none, and asks."""

OPERATORS = tuple(_OPERATORS)
