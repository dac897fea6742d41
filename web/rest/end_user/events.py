"""`GET /api/v1/events`: the events of the sender key's domain, as pages or with `after` as a feed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow
from flask import Response, request

from commands import event_feed as shown_feed
from commands import events as shown
from commands.public import Since
from gateway import errors
from gateway.services import event_feed, events
from gateway.services.identity import Caller
from models.vocabulary import ACCOUNT_DISABLED
from web import rates, reading
from web.rest.end_user import blueprint, door

ACCOUNT = (2, "Invalid user account")
START_FROM = (4, "Missing StartFrom")
RETRIEVE_COUNT = (5, "Missing RetrieveCount")
RETRIEVED = 5
"""How many events are answered when the request does not say."""


@blueprint.get("/events")
def list_events() -> Response:
    """All errors found are answered together."""
    params = reading.read(request)
    faults: list[tuple[int, str]] = []
    start = _number(params.get("startfrom"), 0, START_FROM, faults)
    count = _number(params.get("retrievecount"), RETRIEVED, RETRIEVE_COUNT, faults)
    from_ms = _moment(params, "StartDate", faults)
    to_ms = _moment(params, "EndDate", faults)
    try:
        caller = door.enter(request, params, "read:events")
    except door.Refused as refused:
        raise door.Refused([*refused.codes, *faults], refused.status, refused.headers) from None
    except errors.RateLimited as error:
        raise door.Refused([(429, _too_many(error))], 429, rates.headers_of(error)) from None
    if caller.status == ACCOUNT_DISABLED or caller.domain_id is None:
        raise door.Refused([ACCOUNT, *faults], 404)
    if faults:
        raise door.Refused(faults, 422)
    if "after" in params:
        return _feed(
            caller, caller.domain_id, params, count if params.get("retrievecount") else event_feed.MOST, from_ms
        )
    try:
        page = events.search(
            caller=caller,
            domain_id=caller.domain_id,
            start=start,
            count=min(count, events.RETRIEVE_MOST),
            from_ms=from_ms,
            to_ms=to_ms,
            event=_text(params, "event"),
            query=_text(params, "query"),
            message_id=_text(params, "messageid"),
            cursor=_text(params, "cursor"),
        )
    except errors.NotFound:
        raise door.Refused([ACCOUNT], 404) from None
    return door.answer(shown.page(page, shown.row))


def _feed(caller: Caller, domain_id: int, params: Mapping[str, Any], count: int, from_ms: int | None) -> Response:
    """Oldest first; an empty `after` begins the feed."""
    try:
        found = event_feed.read(
            caller=caller,
            after=_text(params, "after"),
            domain_id=domain_id,
            event=_text(params, "event"),
            count=count,
            since_ms=from_ms,
        )
    except errors.NotFound:
        raise door.Refused([ACCOUNT], 404) from None
    return door.answer(shown_feed.piece(found))


def _too_many(error: errors.RateLimited) -> str:
    """This endpoint's page has a sentence of its own, the others' says the attempts as well."""
    seconds, attempts = error.data.get("retry_after", 1), error.data.get("attempts", 1)
    return (
        f"Too many requests. Please wait for {seconds} seconds before trying again."
        f" Wait for {seconds} seconds for another {attempts} attempts."
    )


def _number(value: Any, default: int, fault: tuple[int, str], faults: list[tuple[int, str]]) -> int:
    if value is None or value == "":
        return default
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 19):
        faults.append(fault)
        return default
    return int(text)


def _moment(params: Mapping[str, Any], name: str, faults: list[tuple[int, str]]) -> int | None:
    """Unix seconds or a date in UTC as milliseconds; None when it is absent."""
    value = params.get(name.lower())
    if value is None or value == "":
        return None
    try:
        return Since(end=name == "EndDate").read(value)
    except marshmallow.ValidationError as error:
        faults.append((door.UNDOCUMENTED, f"'{name}' {error.messages[0]}"))
        return None


def _text(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if value is None:
        return ""
    if not isinstance(value, (str, int)) or len(str(value)) > 1000:
        raise errors.Invalid(f"'{name}' should be a text of at most 1000 characters", field=name)
    return str(value).strip()
