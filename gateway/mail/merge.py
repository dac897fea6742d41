"""Tenants' templates: Liquid text with variables, compiled once and rendered under limits that stop whatever explodes.

What a template may use is the standard Liquid language without files (`render`, `include`); a variable that
nobody gave is empty. In HTML every value is escaped unless the template says `| safe`.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from liquid import BoundTemplate, DictLoader, Environment, RenderContext
from liquid.builtin.expressions import primitive
from liquid.exceptions import LiquidError, ResourceLimitError
from liquid.limits import to_int

from gateway.errors import InvalidTemplate

SOURCE_MOST: Final = 262_144
"""Characters of one part (subject, HTML or text) that has tags or variables."""
TAGS_MOST: Final = 5_000
TAG_LENGTH: Final = 10_000
"""Characters of one tag or variable with its filters."""
OUTPUT_MOST: Final = 2 * 1024 * 1024
"""Bytes of one rendered part."""
VALUE_MOST: Final = 262_144
"""Characters of a value that a filter takes or gives, lists counted with all they hold."""
ITEMS_MOST: Final = 10_000
"""Entries of a range or of a list that a filter takes or gives."""
LOOPS_MOST: Final = 20_000
"""Turns of all loops of one part together."""
STEPS_MOST: Final = 200_000
"""Nodes rendered for one part."""
CPU_SECONDS: Final = 1.0
"""Processor time of one part."""

_NUMBER_MOST = 10**30
_DATE_LENGTH = 64
_CHECK_EVERY = 64
_NAMES = "render", "include"
_OPEN = re.compile(r"\{[{%]")
_RAW = re.compile(r"-?\s*(raw|doc)\s*-?%\}")
_GAP = re.compile(r"\s{500}")
_TAGS = re.compile(r"<[^<>]*>")


def has_tags(source: str | None) -> bool:
    """Whether the text has anything to be rendered."""
    return source is not None and ("{{" in source or "{%" in source)


class Merge:
    """One compiled part of a message."""

    __slots__ = ("_template",)

    def __init__(self, template: BoundTemplate) -> None:
        self._template = template

    def render(self, variables: Mapping[str, Any]) -> str:
        """The text with these variables; raises `InvalidTemplate` when it fails or passes a limit."""
        try:
            return str(self._template.render(variables))
        except Exception as error:  # the library lets some of Python's own errors through
            raise InvalidTemplate(f"The template cannot be rendered: {_reason(error)}.") from None

    def variables(self) -> list[str]:
        """The names that the template reads from outside, sorted."""
        return sorted(self._template.global_variables())

    def unknown_filter(self) -> str:
        """What is wrong with the first of its filters that there is not; '' for none."""
        known = self._template.env.filters
        for name, places in self._template.analyze().filters.items():
            if name not in known:
                line = _line(str(self._template), places[0].index)
                return f"The template cannot be read: line {line}: unknown filter '{name}'."
        return ""


@functools.lru_cache(maxsize=64)
def compile_(source: str, *, html: bool) -> Merge:
    """Parse a part; with `html` its values are escaped. Raises `InvalidTemplate`, which says where.

    The last ones are kept: a message to a list is parsed once, not once for each batch of deliveries.
    """
    _scan(source)
    try:
        return Merge((_HTML if html else _TEXT).from_string(source))
    except Exception as error:
        raise InvalidTemplate(f"The template cannot be read: {_reason(error)}.") from None


def render(source: str, variables: Mapping[str, Any], *, html: bool) -> str:
    """`source` with its variables; a text without tags is returned as it is, whatever its size."""
    return compile_(source, html=html).render(variables) if has_tags(source) else source


def _scan(source: str) -> None:
    """Refuse what would make the library's lexer look through the rest of the text at every tag."""
    if len(source) > SOURCE_MOST:
        raise InvalidTemplate(f"A template has at most {SOURCE_MOST} characters in each part.")
    at = count = 0
    while True:
        opened = _OPEN.search(source, at)
        if opened is None:
            return
        start = opened.start()
        count += 1
        if count > TAGS_MOST:
            raise InvalidTemplate(f"A template has at most {TAGS_MOST} tags and variables in each part.")
        close = "}}" if opened[0] == "{{" else "%}"
        end = source.find(close, start + 2)
        if end < 0:
            raise InvalidTemplate(f"The template cannot be read: line {_line(source, start)}: {close} is missing.")
        if end - start > TAG_LENGTH or _GAP.search(source, start, end):
            line = _line(source, start)
            raise InvalidTemplate(f"The template cannot be read: line {line}: a tag is too long or has too wide a gap.")
        at = end + 2
        raw = _RAW.match(source, start + 2) if close == "%}" else None
        if raw is not None:
            ended = re.compile(r"\{%-?\s*end" + raw[1] + r"\s*-?%\}").search(source, at)
            if ended is None:
                line = _line(source, start)
                raise InvalidTemplate(f"The template cannot be read: line {line}: end{raw[1]} is missing.")
            at = ended.end()


def _line(source: str, index: int) -> int:
    return source.count("\n", 0, index) + 1


def _reason(error: Exception) -> str:
    if isinstance(error, LiquidError):
        text = str(error.message or "it is not valid").strip().rstrip(".")[:300]
        found = error.context() if error.token is not None else None
        return f"line {found[0]}: {text}" if found else text
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return f"a value does not fit ({type(error).__name__})"


class _Stopped(ResourceLimitError):
    def __init__(self, text: str) -> None:
        super().__init__(text, token=None)


class _Context(RenderContext):
    """Counts what the library's own limits leave open: loops in a row, nodes, processor time."""

    __slots__ = ("_steps", "_turns", "_until")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._steps = self._turns = 0
        self._until = time.thread_time() + CPU_SECONDS
        super().__init__(*args, **kwargs)

    def check_time(self) -> None:
        if time.thread_time() > self._until:
            raise _Stopped("it takes too long")

    @property
    def disabled_tags(self) -> list[str]:
        """None here; every node asks for it before it renders, which is where the steps are counted."""
        self._steps += 1
        if self._steps > STEPS_MOST:
            raise _Stopped("it takes too many steps")
        if self._steps % _CHECK_EVERY == 0:
            self.check_time()
        return []

    @disabled_tags.setter
    def disabled_tags(self, value: list[str]) -> None:
        """Set by the library when a context begins; without partial templates it is always empty."""

    def raise_for_loop_limit(self, length: int = 1) -> None:
        super().raise_for_loop_limit(length)
        self._turns += length
        if self._turns > LOOPS_MOST:
            raise _Stopped("its loops have too many turns")


class _Template(BoundTemplate):
    context_class = _Context


class _Environment(Environment):
    template_class = _Template
    context_depth_limit = 30
    block_nesting_limit = 30
    loop_iteration_limit = LOOPS_MOST
    local_namespace_limit = 4 * 1024 * 1024
    output_stream_limit = OUTPUT_MOST

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(loader=DictLoader({}), autoescape=autoescape)

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for name in _NAMES:
            del self.tags[name]
        # The library's own runs an HTML parser that is quadratic on some texts.
        self.filters["strip_html"] = lambda value: _TAGS.sub("", str(value))
        for name, function in self.filters.items():
            self.filters[name] = _bounded(name, function)


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose values have a size: one call may multiply its input, and no limit of the library sees it."""
    environment = getattr(function, "with_environment", False)
    if getattr(function, "with_context", False):
        raise TypeError(f"the filter {name} wants a context")  # none does; a new one has to be looked at

    def call(value: Any, *args: Any, context: _Context, **kwargs: Any) -> Any:
        context.check_time()
        _weigh(value)
        for argument in args:
            _weigh(argument)
        _foresee(name, value, args)
        if environment:
            kwargs["environment"] = context.env
        result = function(value, *args, **kwargs)
        _weigh(result)
        return result

    call.with_context = True  # type: ignore[attr-defined]
    return call


def _foresee(name: str, value: Any, args: tuple[Any, ...]) -> None:
    """Refuse the calls whose result is a product of their arguments before it is made."""
    first = str(args[0]) if args else ""
    if name == "replace" and len(args) > 1:
        text = str(value)
        if (text.count(first) or 0) * len(str(args[1])) > VALUE_MOST:
            raise _Stopped("a value gets too long")
    elif name == "join":
        if isinstance(value, list | tuple | range) and len(value) * len(first or " ") > VALUE_MOST:
            raise _Stopped("a value gets too long")
    elif name == "split":
        text = str(value)
        if (text.count(first) if first else len(text)) > ITEMS_MOST:
            raise _Stopped("a list gets too long")
    elif name == "date" and (len(str(value)) > _DATE_LENGTH or len(first) > _DATE_LENGTH):
        raise _Stopped(f"a date or its format has more than {_DATE_LENGTH} characters")


def _weigh(value: Any) -> None:
    """Raise when a value is larger than filters may hold; strings in lists count as often as they stand there."""
    left = VALUE_MOST
    stack = [value]
    items = 0
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            left -= len(one)
        elif isinstance(one, list | tuple):
            items += len(one)
            if items <= ITEMS_MOST:
                stack.extend(one)
        elif isinstance(one, Mapping):
            items += len(one)
            if items <= ITEMS_MOST:
                stack.extend(one.values())
        elif isinstance(one, int) and abs(one) > _NUMBER_MOST:
            raise _Stopped("a number gets too large")
        if left < 0:
            raise _Stopped("a value gets too long")
        if items > ITEMS_MOST:
            raise _Stopped("a list gets too long")


def _bounded_range(self: primitive.RangeLiteral, start: Any, stop: Any) -> range:
    """Ends that are no numbers count as 0, as in the library; it makes ranges of any length before a limit is asked."""

    def number(value: Any) -> int:
        try:
            return int(to_int(value))
        except (ValueError, TypeError):
            return 0

    low, high = number(start), number(stop)
    if high - low >= ITEMS_MOST:
        raise _Stopped(f"a range has more than {ITEMS_MOST} numbers")
    return range(low, high + 1) if low <= high else range(0)


primitive.RangeLiteral._make_range = _bounded_range  # type: ignore[method-assign]

_HTML = _Environment(autoescape=True)
_TEXT = _Environment(autoescape=False)
