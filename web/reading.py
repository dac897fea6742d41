"""What a request says: query and body, whatever their form, as one dictionary.

Names come out in lower case at every depth, because clients spell them as they like; only what stands
inside `Headers` or among the values of a template (`VERBATIM`) keeps its spelling. REST surfaces with
exact names read with `fold=False`.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import orjson
from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser

from gateway import errors

MAX_DEPTH = 32
MAX_FIELDS = 50_000
"""Names and list items of one request, at all depths together."""

VERBATIM = frozenset({"headers", "variables", "mergefields", "templatedata", "fields"})
"""The names below which keys keep their spelling."""

_JSON_TYPES = ("application/json", "text/json")
_MULTIPART = "multipart/form-data"
_OPENS_OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*\{")
_PART = re.compile(r"\[([^\[\]]*)\]")
_DRAIN_SECONDS = 5.0
_CHUNK = 64 * 1024


def read(request: Request, *, fold: bool = True, most: int = MAX_FIELDS) -> dict[str, Any]:
    """Query and body merged, the body wins.

    Raises `errors.NotJson`, `errors.TooLarge` (before more than the allowed size is kept) and `errors.Invalid`
    for what is nested too deep, has more than `most` fields or is not UTF-8.
    """
    query = _form(request.query_string, most, fold)
    body = _body(request, most, fold)
    if not fold:
        _measure(query, most)
        _measure(body, most)
        return query | body
    counter = _Counter(most)
    return counter.folded(query) | counter.folded(body)


def query(request: Request, *, fold: bool = True, most: int = MAX_FIELDS) -> dict[str, Any]:
    """The query alone: the body is the caller's to read. Raises `errors.Invalid`."""
    found = _form(request.query_string, most, fold)
    if not fold:
        _measure(found, most)
        return found
    return _Counter(most).folded(found)


def _body(request: Request, most: int, fold: bool) -> dict[str, Any]:
    data = _bytes(request)
    if not data:
        return {}
    kind = request.mimetype
    if _OPENS_OBJECT.match(data) or kind in _JSON_TYPES or kind.endswith("+json"):
        return _json(data)
    if kind == _MULTIPART:
        return _multipart(request, data, most, fold)
    return _form(data, most, fold)


def _bytes(request: Request) -> bytes:
    most = request.max_content_length
    try:
        data = request.get_data(cache=False)
        if request.content_length is not None and len(data) < min(request.content_length, most or len(data) + 1):
            # A server that marks its input as terminated ends a body that broke off like any other.
            raise ClientDisconnected
        if most is None or request.content_length is not None or len(data) < most:
            return data
        # A chunked body is cut off at the limit without a word.
        raise RequestEntityTooLarge
    except ClientDisconnected:
        raise errors.Invalid("The request body is incomplete.") from None
    except ParseException:
        raise errors.Invalid("The chunks of the request body cannot be read.") from None
    except RequestEntityTooLarge:
        drain(request)
        raise errors.TooLarge(f"The request body exceeds {most} bytes.") from None


def drain(request: Request) -> None:
    """Throw away the rest of a body that is too large, up to as much again.

    A server that closes a connection with unread bytes in it resets it, and the client never sees the answer.
    """
    stream = request.environ.get("wsgi.input")
    length = request.content_length
    if stream is None or (length is None and not request.environ.get("wsgi.input_terminated")):
        return
    left = request.max_content_length or 0
    if length is not None:
        left = min(left, length)
    until = time.monotonic() + _DRAIN_SECONDS
    try:
        while left > 0 and time.monotonic() < until:
            chunk = stream.read(min(_CHUNK, left))
            if not chunk:
                return
            left -= len(chunk)
    except (OSError, ValueError, ClientDisconnected, ParseException):
        return


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        if not data.strip():
            return {}
        if not data.startswith(b"\xef\xbb\xbf"):
            raise errors.NotJson from None
        return _json(data[3:])
    if not isinstance(value, dict):
        raise errors.NotJson
    return value


def _form(data: bytes, most: int, fold: bool) -> dict[str, Any]:
    if not data:
        return {}
    try:
        pairs = parse_qsl(
            data.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=most, separator="&"
        )
    except UnicodeDecodeError:
        raise errors.Invalid("The request is not UTF-8.") from None
    except ValueError:
        raise errors.Invalid(f"The request has more than {most} fields.") from None
    return nest(pairs, fold=fold)


def _multipart(request: Request, data: bytes, most: int, fold: bool) -> dict[str, Any]:
    boundary = request.mimetype_params.get("boundary", "").encode("latin-1", "replace")
    if not boundary:
        raise errors.Invalid("The multipart body has no boundary.")
    parser = MultiPartParser(max_form_memory_size=None, max_form_parts=most)
    try:
        form, _ = parser.parse(io.BytesIO(data), boundary, len(data))
    except RequestEntityTooLarge:
        raise errors.Invalid(f"The request has more than {most} fields.") from None
    except (ValueError, LookupError):
        raise errors.Invalid("The multipart body cannot be read.") from None
    return nest(form.items(multi=True), fold=fold)


def nest(pairs: Iterable[tuple[str, str]], *, fold: bool = False) -> dict[str, Any]:
    """Bracket names as structures: `From[email]`, `To[0][email]`, `Tags[]`; of a repeated name the last wins.

    What has only whole numbers as names becomes a list in their order. With `fold` names are the same
    in any case, so `To[0][email]` and `to[0][Name]` make one structure.
    """
    tree = _Branch()
    deep = False
    for name, value in pairs:
        head, bracket, _ = name.partition("[")
        if not bracket or not head or not name.endswith("]"):
            tree[name.lower() if fold else name] = value
            continue
        parts = _PART.findall(name[len(head) :])
        if sum(len(part) + 2 for part in parts) != len(name) - len(head):
            tree[name.lower() if fold else name] = value
            continue
        if fold:
            head, *parts = _folded([head, *parts])
        if len(parts) >= MAX_DEPTH:
            raise errors.Invalid(f"A parameter is nested deeper than {MAX_DEPTH}.")
        deep = True
        at = _down(tree, head)
        for part in parts[:-1]:
            at = _down(at, part or _next(at))
        at[parts[-1] or _next(at)] = value
    if deep:
        return {name: _listed(value) for name, value in tree.items()}
    return tree


def _folded(path: list[str]) -> list[str]:
    """The names of a path in lower case, up to the one whose content keeps its spelling."""
    lower = [name.lower() for name in path]
    end = next((at + 1 for at, name in enumerate(lower) if name in VERBATIM), len(path))
    return lower[:end] + path[end:]


class _Branch(dict[str, Any]):
    """What brackets made; knows the next free number for `[]`."""

    number = 0


def _down(at: _Branch, name: str) -> _Branch:
    found = at.get(name)
    if not isinstance(found, _Branch):
        found = at[name] = _Branch()
    return found


def _next(at: _Branch) -> str:
    while str(at.number) in at:
        at.number += 1
    return str(at.number)


def _listed(value: Any) -> Any:
    if not isinstance(value, _Branch):
        return value
    if all(len(name) < 10 and name.isdecimal() and name.isascii() for name in value):
        return [_listed(value[name]) for name in sorted(value, key=int)]
    return {name: _listed(item) for name, item in value.items()}


class _Counter:
    """Folds names and refuses what is too deep or too much."""

    def __init__(self, most: int) -> None:
        self.left = most

    def folded(self, value: dict[str, Any], depth: int = 1) -> dict[str, Any]:
        self._take(len(value), depth)
        result: dict[str, Any] = {}
        for name, item in value.items():
            key = name.lower()
            if item.__class__ is dict:
                item = self._spelled(item, depth + 1) if key in VERBATIM else self.folded(item, depth + 1)
            elif item.__class__ is list:
                item = self._items(item, depth + 1, key in VERBATIM)
            result[key] = item
        return result

    def _items(self, value: list[Any], depth: int, verbatim: bool) -> list[Any]:
        self._take(len(value), depth)
        result = []
        for item in value:
            if isinstance(item, dict):
                item = self._spelled(item, depth + 1) if verbatim else self.folded(item, depth + 1)
            elif isinstance(item, list):
                item = self._items(item, depth + 1, verbatim)
            result.append(item)
        return result

    def _spelled(self, value: Any, depth: int) -> Any:
        """Counted, but as it is."""
        if isinstance(value, dict):
            self._take(len(value), depth)
            for item in value.values():
                self._spelled(item, depth + 1)
        elif isinstance(value, list):
            self._take(len(value), depth)
            for item in value:
                self._spelled(item, depth + 1)
        return value

    def _take(self, n: int, depth: int) -> None:
        self.left -= n
        if depth > MAX_DEPTH:
            raise errors.Invalid(f"The request is nested deeper than {MAX_DEPTH}.")
        if self.left < 0:
            raise errors.Invalid("The request has too many fields.")


def _measure(value: Any, most: int) -> None:
    _Counter(most)._spelled(value, 1)
