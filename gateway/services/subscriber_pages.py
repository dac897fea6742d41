"""Who stands on a list, as it is read: found one by one, listed, filtered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from gateway import errors
from gateway.mail import address as addresses
from gateway.services import lists, segment_conditions, suppressions
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import SubscriberStatus

MOST_LISTED = 100
LOOKED_AT_MOST = 50_000
"""Rows that one page of a filtered list looks at."""

_ACTIVE, _UNSUBSCRIBED = SubscriberStatus.ACTIVE, SubscriberStatus.UNSUBSCRIBED
_REMOVED, _PENDING = SubscriberStatus.REMOVED, SubscriberStatus.PENDING
_COLUMNS = "id, list_id, email, fields, status, created_ms, updated_ms, status_ms"


@dataclass(frozen=True, slots=True)
class Subscriber:
    id: int
    list_id: int
    email: str
    fields: dict[str, Any]
    status: SubscriberStatus
    created_ms: int
    updated_ms: int
    status_ms: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which to list; empty fields do not narrow it. `since_ms`: added or changed since."""

    status: SubscriberStatus | None = None
    email: str = ""
    field: tuple[str, str] | None = None
    since_ms: int | None = None


def list_(
    *, caller: Caller, list_id: int, status: SubscriberStatus | None = None, start: int = 0, count: int = MOST_LISTED
) -> tuple[list[Subscriber], int]:
    """Some of a list's subscribers, the oldest first, and how many there are; raises `NotFound`."""
    found = lists.find(caller=caller, list_id=list_id)
    totals = {_ACTIVE: found.active, _UNSUBSCRIBED: found.unsubscribed, _PENDING: found.pending}
    wanted = [status] if status is not None else list(totals)
    marks = ",".join("?" * len(wanted))
    rows = db.rows(  # the page is found in the index, then its rows are read
        f"SELECT {_COLUMNS} FROM subscriber JOIN (SELECT id AS page_id FROM subscriber WHERE list_id = ?"
        f" AND status IN ({marks}) ORDER BY id LIMIT ? OFFSET ?) page ON page_id = id ORDER BY id",
        (list_id, *map(int, wanted), min(count, MOST_LISTED), start),
    )
    return [_shown(row) for row in rows], sum(totals[one] for one in wanted)


def page(
    *, caller: Caller, list_id: int, wanted: Wanted, count: int, after: int | None = None
) -> tuple[list[Subscriber], int | None]:
    """Up to `count` of a list's subscribers behind a number, and where the next page begins, None at the end.

    A page that looked at `LOOKED_AT_MOST` rows ends there, however few it found. Raises `NotFound`.
    """
    lists.find(caller=caller, list_id=list_id)
    if wanted.email:
        try:
            found = [find(caller=caller, list_id=list_id, email=wanted.email)]
        except errors.SubscriberNotFound:
            return [], None
        return [one for one in found if _is_wanted(one, wanted) and one.id > (after or 0)], None
    narrow = wanted.field is not None or wanted.since_ms is not None
    window = 1_000 if narrow else count + 1
    index = "subscriber_list_id_id" if wanted.status is None else "subscriber_list_id_status_id"
    use = f"INDEXED BY {index}" if db.dialect() == "sqlite" else f"FORCE INDEX ({index})"
    status = ("<>", int(_REMOVED)) if wanted.status is None else ("=", int(wanted.status))
    at, kept, looked = after or 0, list[Subscriber](), 0
    while True:
        rows = db.rows(
            f"SELECT {_COLUMNS} FROM subscriber {use} WHERE list_id = ? AND status {status[0]} ? AND id > ?"
            " ORDER BY id LIMIT ?",
            (list_id, status[1], at, window),
        )
        looked += len(rows)
        for row in rows:
            one = _shown(row)
            if not _is_wanted(one, wanted):
                continue
            if len(kept) == count:
                return kept, kept[-1].id
            kept.append(one)
        if len(rows) < window:
            return kept, None
        at = rows[-1][0]
        if looked >= LOOKED_AT_MOST:
            return kept, at


def _is_wanted(one: Subscriber, wanted: Wanted) -> bool:
    if wanted.status is not None and one.status is not wanted.status:
        return False
    if wanted.since_ms is not None and one.updated_ms < wanted.since_ms:
        return False
    if wanted.field is None:
        return True
    name, value = wanted.field
    return segment_conditions.same(one.fields.get(name), value)


def find(*, caller: Caller, list_id: int, subscriber_id: int | None = None, email: str | None = None) -> Subscriber:
    """By id, else by address; raises `WhichSubscriber`, `NotFound` (the list) and `SubscriberNotFound`."""
    if subscriber_id is None and email is None:
        raise errors.WhichSubscriber()
    lists.find(caller=caller, list_id=list_id)
    column, value = ("id", subscriber_id) if subscriber_id is not None else ("address", _address(email))
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM subscriber WHERE list_id = ? AND account_id = ? AND {column} = ? AND status <> ?",
        (list_id, caller.account_id, value, int(_REMOVED)),
    )
    if not rows:
        raise errors.SubscriberNotFound(what="subscriber")
    return _shown(rows[0])


def _address(email: str | None) -> str:
    try:
        return suppressions.normalise(addresses.check(email or ""))
    except errors.Invalid:
        return ""


def _shown(row: tuple[Any, ...]) -> Subscriber:
    row_id, list_id, email, fields, status, created_ms, updated_ms, status_ms = row
    return Subscriber(
        row_id, list_id, email, orjson.loads(fields), SubscriberStatus(status), created_ms, updated_ms, status_ms
    )
