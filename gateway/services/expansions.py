"""A message to a list becomes deliveries: in batches that move `reached` in their own transaction.

Accepting stores one row here. Whoever is killed between two batches has done nothing by halves, so nobody
is left out and nobody gets the message twice; the sweep goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import clock, errors, jobs
from gateway.services import (
    identity,
    lanes,
    ledger,
    quotas,
    routes,
    routing_match,
    routing_tables,
    segments,
    suppressions,
)
from gateway.services.identity import Limits
from gateway.services.ledger import Fact
from models import database as db
from models.vocabulary import DeliveryState, EventKind, Stream, SubscriberStatus

BATCH = 2_000
"""Subscribers of one transaction."""

_GAP_S = 0.005
_CHUNK = 200
_COLUMNS = (
    "message_id, account_id, domain_id, list_id, lane_id, reached, upto, made, due_ms, expires_ms, accepted_ms,"
    " ends_as, end_reason, conditions, metered"
)
_READY = "done_ms IS NULL AND paused = ? AND resume_ms <= ?"
_ENDINGS = {DeliveryState.FAILED: EventKind.FAILED, DeliveryState.CANCELED: EventKind.CANCELED}
_DELIVERY = "message_id, account_id, domain_id, rcpt, merge, state, fence, attempts, lane_id, due_ms, expires_ms"
_SCOPE = suppressions.LIST_SCOPE
_BY_ID = suppressions.LIST_INDEX
_LEFT: dict[int, tuple[DeliveryState, EventKind, dict[str, Any]]] = {
    SubscriberStatus.UNSUBSCRIBED: (
        DeliveryState.SUPPRESSED,
        EventKind.SUPPRESSED,
        {"reason": suppressions.UNSUBSCRIBE, "detail": "unsubscribed from the list after it was accepted"},
    ),
    SubscriberStatus.REMOVED: (
        DeliveryState.CANCELED,
        EventKind.CANCELED,
        {"reason": "removed from the list after the message was accepted"},
    ),
}
"""What becomes of whoever left the list meanwhile."""


@dataclass(frozen=True, slots=True)
class _Expansion:
    message_id: int
    account_id: int
    domain_id: int
    list_id: int
    lane_id: int
    reached: int
    upto: int
    made: int
    due_ms: int
    expires_ms: int
    accepted_ms: int
    ends_as: int | None
    end_reason: str
    conditions: str | None
    metered: bool


@dataclass(frozen=True, slots=True)
class _Apart:
    """Somebody to whom the message does not simply go out; `kind` and `why` are of the event that tells it."""

    id: int
    rcpt: str
    state: DeliveryState
    kind: EventKind
    why: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Batch:
    """The next subscribers: those behind `first` up to `last`, `count` of them."""

    first: int
    last: int
    count: int
    apart: list[_Apart]
    absent: list[int]  # never were meant

    @property
    def others(self) -> int:
        """How many get the message simply."""
        return self.count - len(self.apart) - len(self.absent)

    def until(self, last: int, count: int) -> _Batch:
        apart = [one for one in self.apart if one.id <= last]
        return _Batch(self.first, last, count, apart, [one for one in self.absent if one <= last])


def start(
    tx: db.Transaction,
    *,
    message_id: int,
    account_id: int,
    domain_id: int,
    list_id: int,
    lane_id: int,
    upto: int,
    total: int,
    due_ms: int,
    expires_ms: int,
    now_ms: int,
    conditions: str | None = None,
    metered: bool = False,
) -> None:
    """Part of the accepting transaction: from its commit on, everyone up to the subscriber `upto` gets a delivery.

    With the `conditions` of a segment, everyone who fulfils them. With `metered` each batch spends the quota of its
    own, and waits where it is used up.
    """
    tx.execute(
        "INSERT INTO expansion (message_id, account_id, domain_id, list_id, lane_id, reached, upto, total, made,"
        " due_ms, expires_ms, accepted_ms, end_reason, conditions, metered, paused, resume_ms, waiting)"
        " VALUES (?, ?, ?, ?, ?, 0, ?, ?, 0, ?, ?, ?, '', ?, ?, ?, 0, '')",
        (
            message_id, account_id, domain_id, list_id, lane_id, upto, total, due_ms, expires_ms, now_ms, conditions,
            metered, False,
        ),
    )  # fmt: skip
    tx.after_commit(lambda: jobs.ring(jobs.EXPAND), key=jobs.EXPAND)


def drain(seconds: float) -> int:
    """Make deliveries for up to `seconds`, a batch of each message in turn; returns how many were made.

    Safe to run anywhere, at any time, twice at once.
    """
    end = time.monotonic() + seconds
    total = 0
    while time.monotonic() < end:
        waiting = db.rows(
            f"SELECT message_id, account_id FROM expansion WHERE {_READY} ORDER BY message_id LIMIT 100",
            (False, clock.now_ms()),
        )
        if not waiting:
            break
        moved = 0
        for message_id, account_id in waiting:
            plan = identity.for_account(account_id).plan

            def work(tx: db.Transaction, message_id: int = message_id, plan: Limits = plan) -> tuple[bool, int]:
                return _batch(tx, message_id, plan)

            taken, made = db.in_transaction(work)
            moved += taken
            total += made
            if time.monotonic() >= end:
                break
            time.sleep(_GAP_S)  # the write lock is not fair: leave others room
        if not moved:
            break  # others hold them all
    return total


def _batch(tx: db.Transaction, message_id: int, plan: Limits) -> tuple[bool, int]:
    """One batch of one message: whether there was something to do, and how many deliveries were made."""
    lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "mysql" else ""
    now = clock.now_ms()
    found = tx.rows(
        f"SELECT {_COLUMNS} FROM expansion WHERE message_id = ? AND {_READY}{lock}", (message_id, False, now)
    )
    if not found:
        return False, 0
    job = _Expansion(*found[0])
    batch = _next(tx, job, now)
    granted = quotas.Granted(batch.others)
    if job.metered and job.ends_as is None and batch.others:
        granted = quotas.take(tx, account_id=job.account_id, plan=plan, emails=batch.others)
        if granted.emails < batch.others:
            batch = _first_of(tx, job, batch, granted.emails)
    _insert_others(tx, job, batch)
    made = _insert_apart(tx, job, batch.apart)
    waits = granted.cause if granted.until_ms and batch.last < job.upto else ""
    tx.execute(
        "UPDATE expansion SET reached = ?, made = made + ?, done_ms = ?, resume_ms = ?, waiting = ?"
        " WHERE message_id = ?",
        (
            batch.last, batch.count - len(batch.absent), now if batch.last >= job.upto else None,
            granted.until_ms if waits else 0, waits, message_id,
        ),
    )  # fmt: skip
    if batch.others and job.due_ms <= now:
        tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
    ledger.record(tx, _facts(tx, job, batch, made, now))
    return True, batch.count - len(batch.absent)


def _next(tx: db.Transaction, job: _Expansion, now: int) -> _Batch:
    """The next batch, and what becomes of whoever does not simply get the message."""
    ids = tx.rows(
        f"SELECT COUNT(*), MAX(id) FROM (SELECT id FROM subscriber {_BY_ID[tx.dialect]}"
        " WHERE list_id = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?) AS next_ones",
        (job.list_id, job.reached, job.upto, BATCH),
    )
    count, last = int(ids[0][0]), int(ids[0][1] or job.upto)
    if count < BATCH:
        last = job.upto
    apart: list[_Apart] = []
    absent: list[int] = []
    scope = (job.list_id, job.reached, last)
    for row in tx.rows(
        f"SELECT id, email, status, status_ms FROM subscriber {_BY_ID[tx.dialect]}"
        f" WHERE {_SCOPE} AND status <> ? ORDER BY id",
        (*scope, int(SubscriberStatus.ACTIVE)),
    ):
        # Who had left the list before the message was accepted never was meant.
        if row[3] < job.accepted_ms or row[2] not in _LEFT:
            absent.append(row[0])
        else:
            apart.append(_Apart(row[0], row[1], *_LEFT[row[2]]))
    if job.conditions is not None:
        outside = _outside(tx, job, scope)
        apart = [one for one in apart if one.id not in outside]
        absent = sorted(outside.union(absent))
    known = {one.id for one in apart}.union(absent)
    blocked = suppressions.check_list(tx, account_id=job.account_id, domain_id=job.domain_id, scope=scope)
    apart += (
        _Apart(id_, email, DeliveryState.SUPPRESSED, EventKind.SUPPRESSED, {"reason": why.reason, "detail": why.detail})
        for id_, email, why in blocked
        if id_ not in known
    )
    if job.ends_as is not None:
        state = DeliveryState(job.ends_as)
        ended = (state, _ENDINGS[state], {"reason": job.end_reason})
        left_out = set(absent)
        everybody = tx.rows(f"SELECT id, email FROM subscriber {_BY_ID[tx.dialect]} WHERE {_SCOPE} ORDER BY id", scope)
        apart = [_Apart(id_, email, *ended) for id_, email in everybody if id_ not in left_out]
    return _Batch(job.reached, last, count, apart, absent)


def _outside(tx: db.Transaction, job: _Expansion, scope: tuple[int, int, int]) -> set[int]:
    """Who of them was not in the segment when the message was accepted."""
    people = tx.rows(
        f"SELECT id, email, address, fields, created_ms FROM subscriber {_BY_ID[tx.dialect]} WHERE {_SCOPE}", scope
    )
    matcher = segments.read(job.account_id, job.conditions or "{}")
    kept = segments.select(tx, account_id=job.account_id, matcher=matcher, rows=people, now_ms=job.accepted_ms)
    return {row[0] for row in people if row[0] not in kept}


def _first_of(tx: db.Transaction, job: _Expansion, batch: _Batch, most: int) -> _Batch:
    """The beginning of the batch in which `most` simply get the message."""
    out = [one.id for one in batch.apart] + batch.absent
    # The first who has to wait; before them everybody is dealt with.
    found = tx.rows(
        f"SELECT id FROM subscriber {_BY_ID[tx.dialect]} WHERE {_SCOPE}{_but(out)} ORDER BY id LIMIT 1 OFFSET ?",
        (job.list_id, batch.first, batch.last, *out, most),
    )
    last = int(found[0][0]) - 1
    sql = f"SELECT COUNT(*) FROM subscriber {_BY_ID[tx.dialect]} WHERE {_SCOPE}"
    return batch.until(last, int(tx.rows(sql, (job.list_id, batch.first, last))[0][0]))


def _insert_others(tx: db.Transaction, job: _Expansion, batch: _Batch) -> None:
    """From table to table: what never comes through this process costs it nothing."""
    if not batch.others:
        return
    plan = _routing(tx, job)
    out = [one.id for one in batch.apart] + batch.absent
    scope = (job.list_id, batch.first, batch.last)
    if plan is None:
        _insert_in_lane(tx, job, job.lane_id, f"{_SCOPE}{_but(out)}", (*scope, *out))
        return
    sql = f"SELECT id, email FROM subscriber {_BY_ID[tx.dialect]} WHERE {_SCOPE}{_but(out)}"
    for lane_id, ids in _lanes(tx, job, plan, tx.rows(sql, (*scope, *out))).items():
        _insert_in_lane(tx, job, lane_id, f"{_SCOPE} AND id IN ({','.join('?' * len(ids))})", (*scope, *ids))


def _insert_in_lane(tx: db.Transaction, job: _Expansion, lane_id: int, where: str, values: Sequence[int]) -> None:
    tx.execute(
        f"INSERT INTO delivery ({_DELIVERY}) SELECT ?, ?, ?, email, fields, ?, 0, 0, ?, ?, ? FROM subscriber"
        f" {_BY_ID[tx.dialect]} WHERE {where} ORDER BY id",
        (
            job.message_id, job.account_id, job.domain_id, int(DeliveryState.QUEUED), lane_id, job.due_ms,
            job.expires_ms, *values,
        ),
    )  # fmt: skip


def _routing(tx: db.Transaction, job: _Expansion) -> routes.Plan | None:
    """By what each subscriber's way is chosen; None where the account has no sending servers to choose from."""
    table = routing_tables.committed(job.account_id)
    found = table and tx.rows(
        "SELECT uuid, live, stream, from_addr, tags, size, headers FROM message WHERE id = ?", (job.message_id,)
    )
    if table is None or not found or not found[0][1]:
        return None
    uuid, _, stream, sender, tags, size, headers = found[0]
    purpose, wish = orjson.loads(headers).get("routing", ("", ""))
    mail = routing_match.Mail(
        job.domain_id, sender.rpartition("@")[2], routing_match.purpose_word(purpose, Stream(stream)),
        tuple(orjson.loads(tags)), size, job.list_id,
    )  # fmt: skip
    try:
        return routes.Plan(table, mail, bytes(uuid), wish)
    except errors.Invalid:  # the server that was asked for is gone by now
        return routes.Plan(table, mail, bytes(uuid))


def _lanes(
    tx: db.Transaction, job: _Expansion, plan: routes.Plan, people: Sequence[tuple[int, str]]
) -> dict[int, list[int]]:
    """The subscribers of each lane: that of their own way, of the campaign where the message's lane is one's."""
    ((stream, own),) = tx.rows("SELECT stream, endpoint_id FROM lane WHERE id = ?", (job.lane_id,))
    by_route: dict[str, list[int]] = {}
    for id_, email in people:
        choice = plan.choose(email)
        by_route.setdefault(choice.route if choice is not None else lanes.ROUTE_DEFAULT, []).append(id_)
    return {
        lanes.find_or_make(tx, (job.account_id, job.domain_id, stream, route, own)): ids
        for route, ids in by_route.items()
    }


def _but(ids: Sequence[int]) -> str:
    return f" AND id NOT IN ({','.join('?' * len(ids))})" if ids else ""


def _insert_apart(tx: db.Transaction, job: _Expansion, rows: Sequence[_Apart]) -> list[int]:
    """Insert the deliveries that have ended already, and return their ids, in their order."""
    if not rows:
        return []
    before = tx.rows("SELECT MAX(id) FROM delivery WHERE message_id = ?", (job.message_id,))[0][0] or 0
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        tx.execute(
            f"INSERT INTO delivery ({_DELIVERY}) VALUES {','.join(['(?,?,?,?,NULL,?,0,0,NULL,NULL,?)'] * len(some))}",
            [
                value
                for row in some
                for value in (
                    job.message_id, job.account_id, job.domain_id, row.rcpt, int(row.state), job.expires_ms,
                )
            ],
        )  # fmt: skip
    sql = "SELECT id FROM delivery WHERE message_id = ? AND id > ? ORDER BY id"
    return [int(row_id) for (row_id,) in tx.rows(sql, (job.message_id, before))]


def _facts(tx: db.Transaction, job: _Expansion, batch: _Batch, made: Sequence[int], now: int) -> list[Fact]:
    """Of whoever does not get the message, and of the others where its time has not come."""
    scheduled = job.ends_as is None and job.due_ms > now and bool(batch.others)
    if not batch.apart and not scheduled:
        return []
    ((tags, origin),) = tx.rows("SELECT tags, origin FROM message WHERE id = ?", (job.message_id,))
    tags = orjson.loads(tags)
    facts = [
        Fact(
            job.account_id, job.domain_id, row.kind, now, job.message_id, delivery_id, row.rcpt, data=row.why,
            tags=tags, origin=origin,
            told=row.kind is not EventKind.FAILED,  # as where a queue is cleared
        )
        for row, delivery_id in zip(batch.apart, made, strict=True)
    ]  # fmt: skip
    if scheduled:
        # The last ones of the message but for those of above, which were inserted after them.
        others = tx.rows(
            "SELECT id, rcpt FROM delivery WHERE message_id = ? AND state = ? ORDER BY id DESC LIMIT ?",
            (job.message_id, int(DeliveryState.QUEUED), batch.others),
        )
        why = {"reason": "scheduled", "until_ms": job.due_ms}
        facts += (
            Fact(
                job.account_id, job.domain_id, EventKind.QUEUED, now, job.message_id, delivery_id, rcpt, data=why,
                tags=tags, origin=origin,
            )
            for delivery_id, rcpt in reversed(others)
        )  # fmt: skip
    return facts


def pause(tx: db.Transaction, *, message_id: int, paused: bool) -> None:
    """Make no more deliveries of a message, or go on making them."""
    tx.execute("UPDATE expansion SET paused = ? WHERE message_id = ? AND done_ms IS NULL", (paused, message_id))
    if not paused:
        tx.after_commit(lambda: jobs.ring(jobs.EXPAND), key=jobs.EXPAND)


def release(tx: db.Transaction, *, message_id: int) -> int:
    """Go on with a message to a list that is paused; how many deliveries are still to come, 0 where it is not."""
    rows = tx.rows(
        "SELECT total - made FROM expansion WHERE message_id = ? AND paused = ? AND done_ms IS NULL", (message_id, True)
    )
    if not rows:
        return 0
    pause(tx, message_id=message_id, paused=False)
    return max(1, int(rows[0][0]))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a message to a list has got; `waiting` is what it waits for until `resume_ms`, '' for nothing."""

    total: int
    made: int
    done: bool
    resume_ms: int
    waiting: str


def progress(message_ids: Sequence[int]) -> dict[int, Progress]:
    """By message; those that went to no list, or are past their retention, are left out."""
    if not message_ids:
        return {}
    return {
        row[0]: Progress(int(row[1]), int(row[2]), row[3] is not None, int(row[4]), row[5])
        for row in db.rows(
            "SELECT message_id, total, made, done_ms, resume_ms, waiting FROM expansion"
            f" WHERE message_id IN ({','.join('?' * len(message_ids))})",
            message_ids,
        )
    }


def end(
    tx: db.Transaction,
    *,
    state: DeliveryState,
    reason: str,
    message_id: int | None = None,
    domain_id: int | None = None,
) -> int:
    """Have what a message, or each of a domain, has not come to yet end in `state`; how many messages that are.

    The deliveries are still made, each with its event.
    """
    column, value = ("message_id", message_id) if message_id is not None else ("domain_id", domain_id)
    done = tx.execute(
        "UPDATE expansion SET ends_as = ?, end_reason = ?, paused = ?, resume_ms = 0"
        f" WHERE {column} = ? AND done_ms IS NULL AND ends_as IS NULL",
        (int(state), reason[:255], False, value),
    )
    return int(done.rowcount)


def to_come(tx: db.Transaction, **of: int) -> int:
    """About how many deliveries are still to be made, of one `message_id` or `domain_id`, that are not ended yet."""
    ((column, value),) = of.items()
    found = tx.rows(
        f"SELECT SUM(total - made) FROM expansion WHERE {column} = ? AND done_ms IS NULL AND ends_as IS NULL", (value,)
    )
    return max(0, int(found[0][0] or 0))


def move(tx: db.Transaction, *, message_id: int, due_ms: int, expires_ms: int) -> None:
    """Give what a message has not come to yet another time."""
    tx.execute(
        "UPDATE expansion SET due_ms = ?, expires_ms = ? WHERE message_id = ? AND done_ms IS NULL",
        (due_ms, expires_ms, message_id),
    )
