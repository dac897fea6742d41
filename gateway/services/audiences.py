"""Whom a message to a list or to a segment goes to: found when it is accepted, judged when its deliveries are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway import clock
from gateway.services import list_counts, segments, suppressions
from gateway.services.identity import Caller
from gateway.services.segment_conditions import Matcher
from models import database as db
from models.vocabulary import ListKind, SubscriberStatus

_ACTIVE = int(SubscriberStatus.ACTIVE)
_WINDOW = 1_000

# The optimiser must not choose: from the suppressions on it would read all of them, however few are on the list.
_REACHED = (
    "SELECT s.email, s.fields FROM subscriber s {subscribers} LEFT JOIN suppression x {suppressions}"
    " ON x.account_id = ? AND x.address = s.address AND x.domain_id IN (0, ?, ?)"
    " AND (x.expires_ms IS NULL OR x.expires_ms > ?)"
    " WHERE s.list_id = ? AND s.status = ? AND s.account_id = ? AND x.id IS NULL LIMIT 1"
)
REACHED = {
    "sqlite": _REACHED.format(
        subscribers="INDEXED BY subscriber_list_id_status_id",
        suppressions="INDEXED BY suppression_account_id_address_domain_id_reason",
    ),
    "mysql": _REACHED.format(
        subscribers="FORCE INDEX (subscriber_list_id_status_id)",
        suppressions="FORCE INDEX (suppression_account_id_address_domain_id_reason)",
    ),
}


@dataclass(frozen=True, slots=True)
class Reached:
    """A subscriber who is written to; `fields` is a JSON object."""

    email: str
    fields: str


@dataclass(frozen=True, slots=True)
class Audience:
    """A list, or those of it who are in a segment; `conditions` is JSON, None for the whole list."""

    account_id: int
    list_id: int
    conditions: str | None = None
    matcher: Matcher | None = field(default=None, compare=False)


def find(*, account_id: int, target_id: int) -> Audience | None:
    """The audience under the number of a list or segment; None for none of the account."""
    rows = db.rows(
        "SELECT l.id, l.kind, l.source_id, l.conditions, s.id FROM mail_list l"
        " LEFT JOIN mail_list s ON s.id = l.source_id AND s.deleted_ms IS NULL"
        " WHERE l.id = ? AND l.account_id = ? AND l.deleted_ms IS NULL",
        (target_id, account_id),
    )
    for list_id, kind, source_id, conditions, there in rows:
        if kind == ListKind.LIST:
            return Audience(account_id, list_id)
        if there is not None:
            return Audience(account_id, source_id, conditions, segments.read(account_id, conditions))
    return None


def exists(*, caller: Caller, target_id: int) -> bool:
    """Whether a message may go there: it is the account's and somebody is active on the list."""
    found = find(account_id=caller.account_id, target_id=target_id)
    return found is not None and _active_count(found) > 0


def size(audience: Audience) -> int:
    """How many there are now. Of a segment everybody on the list is looked at: not for within a transaction."""
    if audience.matcher is None:
        return _active_count(audience)
    return sum(1 for _ in _walk(audience))


def hold(tx: db.Transaction, audience: Audience) -> tuple[int, int]:
    """How many are active on the list now, and the id of its last subscriber; (0, 0) for a list that is gone.

    The list is held until the transaction ends, so that nobody is added to it half way.
    """
    lock = " LOCK IN SHARE MODE" if tx.dialect == "mysql" else ""
    sql = f"SELECT id FROM mail_list WHERE id = ? AND account_id = ? AND deleted_ms IS NULL{lock}"
    if not tx.rows(sql, (audience.list_id, audience.account_id)):
        return 0, 0
    last = tx.rows("SELECT MAX(id) FROM subscriber WHERE list_id = ? AND status = ?", (audience.list_id, _ACTIVE))[0][0]
    count = list_counts.of([audience.list_id], tx)[audience.list_id].get(SubscriberStatus.ACTIVE, 0)
    return (count, int(last)) if last else (0, 0)


def first_reached(audience: Audience, *, domain_id: int) -> Reached | None:
    """Some of them who is not suppressed for the domain nor for the list, None where there is none.

    Stops at the first: only an audience of which nearly everybody is suppressed is read far.
    """
    scope = suppressions.list_scope(audience.list_id)
    if audience.matcher is None:
        found = db.rows(
            REACHED[db.dialect()],
            (
                audience.account_id, domain_id, scope, clock.now_ms(), audience.list_id, _ACTIVE, audience.account_id,
            ),
        )  # fmt: skip
        return Reached(*found[0]) if found else None
    for email, fields in _walk(audience):
        if not suppressions.check(
            None,
            account_id=audience.account_id,
            domain_id=domain_id,
            addresses=[email],
            list_id=audience.list_id,
        ):
            return Reached(email, fields)
    return None


def some(audience: Audience, *, most: int) -> list[str]:
    """Up to `most` of their addresses, in the order in which they joined the list."""
    found: list[str] = []
    for email, _ in _walk(audience):
        found.append(email)
        if len(found) == most:
            break
    return found


def _walk(audience: Audience) -> Iterator[tuple[str, str]]:
    """The address and the fields of everybody, read in windows."""
    after, now = 0, clock.now_ms()
    while True:
        rows: list[tuple[Any, ...]] = db.rows(
            "SELECT id, email, address, fields, created_ms FROM subscriber WHERE list_id = ? AND status = ? AND id > ?"
            " ORDER BY id LIMIT ?",
            (audience.list_id, _ACTIVE, after, _WINDOW),
        )
        kept = segments.select(None, account_id=audience.account_id, matcher=audience.matcher, rows=rows, now_ms=now)
        for row in rows:
            if row[0] in kept:
                yield row[1], row[3]
        if len(rows) < _WINDOW:
            return
        after = rows[-1][0]


def _active_count(audience: Audience) -> int:
    return list_counts.of([audience.list_id])[audience.list_id].get(SubscriberStatus.ACTIVE, 0)
