"""Segments: those of a list who fulfil conditions, kept under a name and found anew each time.

How the rest of the engine uses one:

- A draft's `list_id` takes the number of a segment like that of a list; the message is then the list's (its
  `List-Id`, its unsubscribing, its suppressions), and `expansions` makes deliveries for those alone who fulfil the
  conditions as they were when it was accepted. Nothing else is needed to send to one.
- `audiences.find(account_id=…, target_id=…)` is a list or segment as a target: `audiences.size` counts it,
  `audiences.some` shows some of it.
- Who walks a list itself reads rows `(id, email, address, fields, created_ms)` of active subscribers in the order of
  their ids, a thousand at a time, and asks `select` which of them are in it. Neither call needs a transaction.
- `lists.find(caller=…, uuid=…, kinds=ANY)` finds either kind by its public id (`reference` reads `lst_…` and `seg_…`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway import clock, errors, ids
from gateway.services import campaign_origins, engagement, lists, segment_conditions
from gateway.services.identity import Caller
from gateway.services.lists import MailList
from gateway.services.segment_conditions import Matcher, Person
from models import database as db
from models.vocabulary import ListKind, SubscriberStatus

ANY = (ListKind.LIST, ListKind.SEGMENT)
"""For `lists.find`: a list or a segment."""

SAMPLE_MOST = 50
PREVIEW_SECONDS = 5.0
"""How long a preview counts; what it found until then is told as a lower bound."""

_CONDITIONS_LENGTH = 65_536
_WINDOW = 1_000


@dataclass(slots=True)
class Preview:
    """How many there are, at least where not `exact`, and some of them as (subscriber number, when made, address)."""

    count: int = 0
    exact: bool = True
    sample: list[tuple[int, int, str]] = field(default_factory=list)


def reference(*, caller: Caller, text: str) -> MailList:
    """The list or segment under a public id; raises `NotFound`."""
    uuid = ids.uuid_of("lst", text) if not text.startswith("seg_") else ids.uuid_of("seg", text)
    return lists.find(caller=caller, uuid=uuid, kinds=ANY)


def compile_(account_id: int, conditions: Any) -> Matcher:
    """Read conditions as they were sent; raises `InvalidFields`."""
    return segment_conditions.compile_(conditions, lambda campaign: campaign_origins.of(account_id, campaign))


def read(account_id: int, stored: str) -> Matcher:
    """Stored conditions; nobody is in a segment that can no longer be read (its campaign is gone)."""
    try:
        return compile_(account_id, orjson.loads(stored))
    except errors.InvalidFields:
        return Matcher(lambda person, now_ms: False, frozenset())


def select(
    tx: db.Transaction | None,
    *,
    account_id: int,
    matcher: Matcher | None,
    rows: Sequence[tuple[Any, ...]],
    now_ms: int,
) -> set[int]:
    """Which of these rows `(id, email, address, fields, created_ms, …)` are in it; all of them without a matcher.

    One read of the engagement's key for 500 rows, and only where a condition asks for behaviour.
    """
    if matcher is None:
        return {row[0] for row in rows}
    known = engagement.of(tx, account_id=account_id, addresses=[row[2] for row in rows], marks=matcher.marks)
    return {row[0] for row in rows if matcher.matches(Person(row[1], row[3], row[4], known.get(row[2], {})), now_ms)}


def add(*, caller: Caller, name: str, list_id: int, conditions: Any) -> MailList:
    """Keep a segment of one of the account's lists; raises `NotFound` (the list), `Invalid`, `InvalidFields`."""
    source = lists.find(caller=caller, list_id=list_id)
    stored = _checked(caller, conditions)
    return db.in_transaction(
        lambda tx: lists.insert(tx, caller=caller, name=name, source_id=source.id, conditions=stored)
    )


def update(*, caller: Caller, segment: MailList, name: str | None = None, conditions: Any = None) -> MailList:
    """Change its name or conditions; a message that was accepted for it goes to whom it was accepted for.

    Raises `NotFound`, `Invalid`, `InvalidFields`.
    """
    stored = None if conditions is None else _checked(caller, conditions)
    return lists.change(caller=caller, one=segment, name=name, conditions=stored)


def preview(*, caller: Caller, list_id: int, conditions: Any, sample: int = 10) -> Preview:
    """Count those of the list who would be in it and show some; raises `NotFound` (the list), `InvalidFields`."""
    source = lists.find(caller=caller, list_id=list_id)
    matcher = compile_(caller.account_id, conditions)
    found, after, now, end = Preview(), 0, clock.now_ms(), time.monotonic() + PREVIEW_SECONDS
    while True:
        rows = db.rows(
            "SELECT id, email, address, fields, created_ms FROM subscriber WHERE list_id = ? AND status = ? AND id > ?"
            " ORDER BY id LIMIT ?",
            (source.id, int(SubscriberStatus.ACTIVE), after, _WINDOW),
        )
        kept = select(None, account_id=caller.account_id, matcher=matcher, rows=rows, now_ms=now)
        found.count += len(kept)
        room = min(sample, SAMPLE_MOST) - len(found.sample)
        if room > 0:
            found.sample += [(row[0], row[4], row[1]) for row in rows if row[0] in kept][:room]
        if len(rows) < _WINDOW:
            return found
        if time.monotonic() > end:
            found.exact = False
            return found
        after = rows[-1][0]


def _checked(caller: Caller, conditions: Any) -> str:
    if not isinstance(conditions, Mapping):
        raise errors.Invalid("conditions should be an object.", field="conditions")
    compile_(caller.account_id, conditions)
    stored = orjson.dumps(conditions).decode()
    if len(stored) > _CONDITIONS_LENGTH:
        raise errors.Invalid(f"conditions should have at most {_CONDITIONS_LENGTH} characters.", field="conditions")
    return stored
