"""Pages of a list: an opaque cursor in, `{"data", "has_more", "next_cursor"}` out."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson

from gateway import errors

DEFAULT, MOST = 50, 200

T = TypeVar("T")


def page(
    rows: Sequence[T], limit: int, cursor_of: Callable[[T], str], shown: Callable[[T], Any], **more: Any
) -> dict[str, Any]:
    """One page of `rows`, of which one more than `limit` was asked for where there is one."""
    some = rows[:limit]
    has_more = len(rows) > limit
    return {
        "data": [shown(row) for row in some],
        "has_more": has_more,
        "next_cursor": cursor_of(some[-1]) if has_more else None,
    } | more


def cursor(*values: int | str) -> str:
    """The place behind a row, made of what its list is sorted by."""
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def place(text: str, *kinds: type) -> tuple[Any, ...]:
    """The values of a cursor; raises `Invalid` unless it is one of this list."""
    try:
        values = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except ValueError:
        values = None
    if not isinstance(values, list) or [type(value) for value in values] != list(kinds):
        raise errors.Invalid("cursor should be next_cursor of an earlier page of this list.", field="cursor")
    if any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in values):
        raise errors.Invalid("cursor should be next_cursor of an earlier page of this list.", field="cursor")
    return tuple(values)


def last_id(text: str) -> int | None:
    """The row's number of a cursor over numbers; None where there is no cursor."""
    return int(place(text, int)[0]) if text else None
