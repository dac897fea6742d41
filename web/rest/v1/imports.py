"""`/v1/lists/{id}/imports`: files of subscribers, taken in whole and put on their list behind the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import orjson
from flask import Response, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from gateway import clock, config, errors, ids
from gateway.services import import_rows, list_imports
from gateway.services.identity import Caller
from gateway.services.list_imports import Import
from web import reading
from web.rest import fields, paging
from web.rest.v1.lists import the_list
from web.rest.v1.operation import operation

_ONE = {
    "id": "imp_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "list_id": "lst_01KH8N3QZJ6W2M4YV0T9R5X7BD",
    "state": "running",
    "format": "csv",
    "bytes": 5_242_880,
    "bytes_done": 1_048_576,
    "total": 100_000,
    "done": 20_500,
    "added": 20_000,
    "updated": 400,
    "unchanged": 90,
    "failed": 10,
    "error": None,
    "created_at": "2026-04-19T10:24:11Z",
    "started_at": "2026-04-19T10:24:12Z",
    "ended_at": None,
}
_DOCUMENT = 16 * 1024 * 1024
"""Bytes of a JSON document, which is read whole; lines of JSON and CSV are not."""

_MULTIPART_MORE = 1024 * 1024
_CHUNK = 256 * 1024
_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
_JSON = ("application/json", "text/json")
_NAMES = {".jsonl": import_rows.JSON_LINES, ".ndjson": import_rows.JSON_LINES}


class _Import(fields.Params):
    mapping = fields.Anything(
        shape={"type": "object"},
        doc="What columns mean, by title: `email`, `status`, the name of a field, or null for nothing",
    )
    encoding = fields.Text(max=40, load_default="", doc="Of the file, where it is not UTF-8: ISO-8859-1, UTF-16 …")
    format = fields.Text(choices=(import_rows.CSV, import_rows.JSON_LINES), doc="Where the file does not tell")


@operation(
    "POST",
    "/lists/<list_id>/imports",
    permission="write:lists",
    several=True,
    of_account=True,
    summary="Import subscribers from a file: CSV or JSON lines as the body or a form's file, or JSON",
    params=_Import,
    answer=_ONE | {"state": "queued", "bytes_done": 0, "done": 0, "added": 0, "updated": 0, "unchanged": 0},
    status=202,
    takes_file=True,
)
def import_subscribers(caller: Caller, params: dict[str, Any], list_id: str) -> dict[str, Any]:
    """Options stand in the query, in a form beside its file, or in a JSON object beside `csv` or `subscribers`."""
    found = the_list(caller, list_id)
    request.max_content_length = config.settings().import_size + _MULTIPART_MORE
    try:
        pieces, format, said = _file(params)
        made = list_imports.receive(
            caller=caller,
            list_id=found.id,
            pieces=pieces,
            format=format,
            encoding=str(said.get("encoding") or request.mimetype_params.get("charset", "")),
            mapping=_mapping(said.get("mapping")),
        )
    except (RequestEntityTooLarge, errors.TooLarge) as error:
        reading.drain(request)
        if isinstance(error, errors.TooLarge):
            raise
        raise errors.TooLarge(f"The file has more than {config.settings().import_size} bytes.", field="file") from None
    except (ClientDisconnected, ParseException):
        raise errors.Invalid("The request body is incomplete.") from None
    return _shown(made, ids.public_id("lst", found.uuid))


@operation(
    "GET",
    "/lists/<list_id>/imports",
    permission="read:lists",
    several=True,
    of_account=True,
    summary="List the imports of a mail list, the latest first; they are kept for 30 days",
    params=fields.Listing,
    answer={"data": [_ONE], "has_more": False, "next_cursor": None},
)
def list_imports_(caller: Caller, params: dict[str, Any], list_id: str) -> dict[str, Any]:
    found = the_list(caller, list_id)
    rows = list_imports.page(
        caller=caller, list_id=found.id, count=params["limit"] + 1, before=paging.last_id(params["cursor"])
    )
    public = ids.public_id("lst", found.uuid)
    return paging.page(rows, params["limit"], lambda one: paging.cursor(one.id), lambda one: _shown(one, public))


@operation(
    "GET",
    "/lists/<list_id>/imports/<import_id>",
    permission="read:lists",
    several=True,
    of_account=True,
    summary="Show how far an import is",
    answer=_ONE,
)
def show_import(caller: Caller, params: dict[str, Any], list_id: str, import_id: str) -> dict[str, Any]:
    """`total` counts the lines of the file until the import is done, and its rows then."""
    found = the_list(caller, list_id)
    return _shown(_found(caller, found.id, import_id), ids.public_id("lst", found.uuid))


@operation(
    "GET",
    "/lists/<list_id>/imports/<import_id>/errors",
    permission="read:lists",
    several=True,
    of_account=True,
    summary="The rows that were not taken, as CSV: line, column, value, reason",
)
def import_errors(caller: Caller, params: dict[str, Any], list_id: str, import_id: str) -> Response:
    found = _found(caller, the_list(caller, list_id).id, import_id)
    name = f"{ids.public_id('imp', found.uuid)}-errors.csv"
    return Response(
        list_imports.error_file(found),
        mimetype="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _found(caller: Caller, list_id: int, text: str) -> Import:
    return list_imports.find(caller=caller, list_id=list_id, uuid=ids.uuid_of("imp", text))


def _file(params: dict[str, Any]) -> tuple[Iterator[bytes], str, dict[str, Any]]:
    """The bytes, what they are, and the options."""
    kind = request.mimetype
    if kind == "multipart/form-data":
        return _form_file(params)
    stream = _body()
    if kind in _LINES:
        return stream, import_rows.JSON_LINES, params
    first = next(stream, b"")
    opens = first.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if kind in _JSON or kind.endswith("+json") or (opens in (b"{", b"[") and "format" not in params):
        return _document(first, stream, params, lines=kind not in _JSON)
    return _again(first, stream), params.get("format", import_rows.CSV), params


def _form_file(params: dict[str, Any]) -> tuple[Iterator[bytes], str, dict[str, Any]]:
    try:
        files, said = request.files, dict(request.form)
    except RequestEntityTooLarge:
        raise
    except (HTTPException, ValueError):
        raise errors.Invalid("The multipart body cannot be read.") from None
    found = files.get("file") or next(iter(files.values()), None)
    if found is None:
        raise errors.Invalid("file: The form has no file.", field="file")
    name = (found.filename or "").lower()
    format = _NAMES.get(name[name.rfind(".") :] if "." in name else "", "")
    if not format and found.mimetype in _LINES:
        format = import_rows.JSON_LINES
    said = {**params, **{option: said[option] for option in ("mapping", "encoding", "format") if option in said}}
    if said.get("format") in (import_rows.CSV, import_rows.JSON_LINES):
        format = said["format"]
    if not said.get("encoding"):
        said["encoding"] = found.mimetype_params.get("charset", "")
    stream = _read(found.stream)
    first = next(stream, b"")
    if not format and (name.endswith(".json") or found.mimetype in _JSON):
        return _document(first, stream, said, lines=True)
    return _again(first, stream), format or import_rows.CSV, said


def _body() -> Iterator[bytes]:
    size = 0
    while chunk := request.stream.read(_CHUNK):
        size += len(chunk)
        yield chunk
    if request.content_length is not None and size < request.content_length:
        # A server that marks its input as terminated ends a body that broke off like any other.
        raise ClientDisconnected


def _read(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _again(first: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from stream


def _document(
    first: bytes, stream: Iterator[bytes], params: dict[str, Any], *, lines: bool
) -> tuple[Iterator[bytes], str, dict[str, Any]]:
    """A whole JSON document as the lines it says; with `lines` what is not one may be lines of JSON already."""
    held = bytearray(first)
    for chunk in stream:
        held += chunk
        if len(held) > _DOCUMENT:
            if lines and held.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
                return _again(bytes(held), stream), import_rows.JSON_LINES, params
            raise errors.TooLarge(
                f"A JSON document has at most {_DOCUMENT} bytes; send CSV or a JSON object a line.", field="file"
            )
    whole = bytes(held).removeprefix(b"\xef\xbb\xbf")
    try:
        value = orjson.loads(whole)
    except orjson.JSONDecodeError:
        if lines:
            return iter((whole,)), import_rows.JSON_LINES, params
        raise errors.NotJson from None
    if isinstance(value, dict):
        said = params | {name: value[name] for name in ("mapping", "encoding") if name in value}
        if isinstance(value.get("csv"), str):
            said["encoding"] = "utf-8"  # a text has no other
            return iter((value["csv"].encode(),)), import_rows.CSV, said
        if "subscribers" not in value and lines:
            return iter((whole,)), import_rows.JSON_LINES, params
        value, params = value.get("subscribers"), said
    if not isinstance(value, list) or not value:
        raise errors.Invalid("csv: Should be a text with the file, or subscribers a list.", field="csv")
    return (orjson.dumps(item) + b"\n" for item in value), import_rows.JSON_LINES, params | {"encoding": "utf-8"}


def _mapping(value: Any) -> dict[str, str | None]:
    if isinstance(value, str) and value.strip():
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            value = False
    if value in (None, ""):
        return {}
    if not isinstance(value, dict) or not all(name is None or isinstance(name, str) for name in value.values()):
        raise errors.Invalid("mapping: Should be an object of titles and names.", field="mapping")
    return dict(value)


def _shown(one: Import, list_id: str) -> dict[str, Any]:
    return {
        "id": ids.public_id("imp", one.uuid),
        "list_id": list_id,
        "state": one.state,
        "format": one.format,
        "bytes": one.size,
        "bytes_done": one.reached,
        "total": one.total,
        "done": one.done,
        "added": one.added,
        "updated": one.updated,
        "unchanged": one.unchanged,
        "failed": one.failed,
        "error": one.cause or None,
        "created_at": clock.rfc3339(one.created_ms),
        "started_at": None if one.started_ms is None else clock.rfc3339(one.started_ms),
        "ended_at": None if one.ended_ms is None else clock.rfc3339(one.ended_ms),
    }
