"""An account's messages, the newest first: found by walking its domains, within a budget for rare filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import orjson

from gateway import clock, errors
from gateway.mail import address
from gateway.services import domains, message_rows, message_status, statistics
from gateway.services.event_range import MESSAGES_BY_ID
from gateway.services.identity import Caller
from gateway.services.message_rows import MessageRow
from models import database as db
from models.vocabulary import DeliveryState

WALK = 5_000
"""Messages of one domain that a page with filters looks at before it goes on with the next page."""

_CHUNK = 100  # domains of one statement
_DISORDER_MS = 60_000  # ids and the times in UUIDs go up together, but for what was accepted side by side
_NO_ID = 2**62
STATES: dict[str, DeliveryState] = {
    "queued": DeliveryState.QUEUED,
    "scheduled": DeliveryState.QUEUED,
    "sending": DeliveryState.CLAIMED,
    "deferred": DeliveryState.DEFERRED,
    "held": DeliveryState.HELD,
    "handed_over": DeliveryState.HANDED_OVER,
    "delivered": DeliveryState.DELIVERED,
    "bounced": DeliveryState.BOUNCED,
    "failed": DeliveryState.FAILED,
    "suppressed": DeliveryState.SUPPRESSED,
    "canceled": DeliveryState.CANCELED,
}
"""The statuses that may be asked for: of at least one delivery."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What is looked for; everything that is set has to hold. Times are milliseconds of acceptance."""

    tag: str = ""
    status: str = ""  # of STATES
    sender: str = ""  # an address, or @ and a domain
    recipient: str = ""
    domain: str = ""  # the name of a sender domain
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def rare(self) -> bool:
        """Whether a walk may go on for long before a page is full."""
        return bool(self.tag or self.status or self.sender or self.recipient)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page: `last_id` is where the next one goes on, None where there is none; its status by message."""

    rows: list[MessageRow]
    status: dict[int, str] = field(default_factory=dict)
    last_id: int | None = None


def list_(*, caller: Caller, filters: Filters, after_id: int | None = None, count: int) -> Listed:
    """Up to `count` messages older than `after_id`; a page with filters may be shorter and still have a next one.

    Raises `NotFound` (the domain) and `Invalid` (an address or status).
    """
    domain_ids = _domains(caller, filters.domain)
    where, values = _conditions(filters)
    below = _below(filters.until_ms, after_id)
    floor = _floor(domain_ids, below) if filters.rare else 0
    lowest = max(floor, _first(filters.since_ms))
    found: list[int] = []
    for start in range(0, len(domain_ids), _CHUNK):
        some = domain_ids[start : start + _CHUNK]
        one = (
            f"SELECT id FROM (SELECT m.id FROM message m {MESSAGES_BY_ID[db.dialect()]}"
            f" WHERE m.domain_id = ? AND m.id < ? AND m.id >= ?{where} ORDER BY m.id DESC LIMIT ?) AS some"
        )
        params = [value for id_ in some for value in (id_, below, lowest, *values, count + 1)]
        found += [id_ for (id_,) in db.rows(" UNION ALL ".join([one] * len(some)), params)]
    found = sorted(found, reverse=True)
    more = len(found) > count
    page = found[:count]
    last = page[-1] if more else floor if floor > _first(filters.since_ms) else None
    rows = _load(page)
    counts = message_status.of(page)
    now = clock.now_ms()
    status = {row.id: message_status.word(counts[row.id], scheduled=(row.send_at_ms or 0) > now) for row in rows}
    return Listed(rows, status, last)


def _domains(caller: Caller, name: str) -> list[int]:
    if name:
        return [domains.find_by_name(caller=caller, name=name).id]
    return [id_ for id_ in statistics.domain_ids(caller) if caller.covers(id_)]


def _conditions(filters: Filters) -> tuple[str, list[object]]:
    where, values = "", list[object]()
    if filters.since_ms is not None:
        where += " AND m.created_ms >= ?"
        values.append(filters.since_ms)
    if filters.until_ms is not None:
        where += " AND m.created_ms <= ?"
        values.append(filters.until_ms)
    if filters.tag:
        # As JSON it stands between its quotes, so no tag is found in another. INSTR minds the case everywhere.
        where += " AND INSTR(m.tags, ?) > 0"
        values.append(orjson.dumps(filters.tag).decode())
    if filters.sender.startswith("@"):
        where += " AND m.from_addr LIKE ?"
        values.append("%@" + address.check_domain(filters.sender[1:]))
    elif filters.sender:
        where += " AND m.from_addr = ?"
        values.append(address.check(filters.sender))
    if filters.recipient:
        where += " AND EXISTS (SELECT 1 FROM delivery d WHERE d.message_id = m.id AND d.rcpt = ?)"
        values.append(address.check(filters.recipient))
    if filters.status:
        state = STATES.get(filters.status)
        if state is None:
            raise errors.Invalid(f"status should be one of {', '.join(STATES)}.", field="status")
        where += " AND EXISTS (SELECT 1 FROM delivery d WHERE d.message_id = m.id AND d.state = ?"
        values.append(int(state))
        if state is DeliveryState.QUEUED:
            later = filters.status == message_status.SCHEDULED
            where += f" AND {'' if later else 'NOT '}(d.attempts = 0 AND COALESCE(m.send_at_ms, 0) > ?)"
            values.append(clock.now_ms())
        where += ")"
    return where, values


def _first(ms: int | None) -> int:
    """An id below those of all messages that were accepted at that time or later."""
    return 0 if ms is None else _at(ms - _DISORDER_MS)


def _below(until_ms: int | None, after_id: int | None) -> int:
    below = _NO_ID if until_ms is None else _at(until_ms + _DISORDER_MS)
    return below if after_id is None else min(below, after_id)


def _at(ms: int) -> int:
    """The id of the first message whose UUID was made at that time or later."""
    uuid = UUID(int=max(ms, 0) << 80)
    rows = db.rows("SELECT id FROM message WHERE uuid >= ? ORDER BY uuid LIMIT 1", (uuid.bytes,))
    return int(rows[0][0]) if rows else _NO_ID


def _floor(domain_ids: Sequence[int], below: int) -> int:
    """The id down to which every domain is walked: of none more than `WALK` messages."""
    floor = 0
    for start in range(0, len(domain_ids), _CHUNK):
        some = domain_ids[start : start + _CHUNK]
        one = (
            f"SELECT id FROM (SELECT id FROM message {MESSAGES_BY_ID[db.dialect()]} WHERE domain_id = ? AND id < ?"
            f" ORDER BY id DESC LIMIT 1 OFFSET {WALK}) AS some"
        )
        params = [value for id_ in some for value in (id_, below)]
        floor = max([floor, *(int(id_) for (id_,) in db.rows(" UNION ALL ".join([one] * len(some)), params))])
    return floor


def _load(page: Sequence[int]) -> list[MessageRow]:
    if not page:
        return []
    rows = db.rows(f"{message_rows.SELECT} WHERE m.id IN ({','.join('?' * len(page))})", list(page))
    return sorted((message_rows.row(columns) for columns in rows), key=lambda row: -row.id)
