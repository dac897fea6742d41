"""Why a message went where it went: the verdicts of its acceptance, and every delivery with its attempts and events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.services import delivery_verdicts, event_rows, explanation_words, message_rows, verdicts
from gateway.services.event_rows import EventRow
from gateway.services.identity import Caller
from gateway.services.message_rows import MessageRow
from gateway.services.verdicts import Verdict
from models import database as db
from models.vocabulary import DeliveryState

DELIVERIES_MOST = 100
"""Deliveries of one explanation."""

_EVENTS_MOST = 2000
_SLACK_MS = 60_000
"""How far behind the end of a limit a delivery may be put, so that not all of them come at once."""


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt; `outcome` is delivered, handed_over, deferred, bounced or in_doubt."""

    delivery_id: int
    no: int
    transport: str
    remote: str
    tls: str
    code: int | None
    enhanced: str
    reply: str
    outcome: str
    category: str
    started_ms: int
    ms: int
    verdicts: list[Verdict]  # the transport's own


@dataclass(frozen=True, slots=True)
class Fate:
    """One delivery as it stands; `due_ms` is the next attempt, or while claimed the end of the lease."""

    id: int
    recipient: str
    state: DeliveryState
    attempt_count: int
    due_ms: int | None
    expires_ms: int
    paused_until_ms: int  # 0: its lane is not paused
    pause_cause: str
    waiting: dict[str, Any]  # why it was put back untried the last time; empty where it was not, or that is over
    attempts: list[AttemptRow]
    events: list[EventRow]

    @property
    def telling(self) -> EventRow | None:
        """The last event that says why the delivery stands where it stands."""
        return next((event for event in reversed(self.events) if event.kind in explanation_words.TELLING), None)

    @property
    def gates(self) -> list[Verdict]:
        """What was decided about this delivery after its message was accepted, in order."""
        return delivery_verdicts.of(self)

    @property
    def reason(self) -> str:
        """What holds it back, or the last refusal, gate or person said; empty where nothing stood in the way."""
        if self.state is DeliveryState.DELIVERED:
            return ""
        if self.waiting:
            return str(self.waiting.get("cause") or "")
        handed_over = self.state is DeliveryState.HANDED_OVER
        said = [
            event.reason
            for event in self.events
            # What was refused before a provider took it is over.
            if event.kind in explanation_words.TELLING and event.reason and (not handed_over or event.is_report)
        ]
        if handed_over:
            return said[-1] if said else ""
        return said[-1] if said else self.attempts[-1].reply if self.attempts else ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`text` is one sentence; `states` counts all deliveries, `fates` has the asked-for part of them."""

    message: MessageRow
    text: str
    states: dict[DeliveryState, int]
    fates: list[Fate]
    events: list[EventRow]  # about the message as a whole
    partial: bool  # not every event is shown

    @property
    def gates(self) -> list[Verdict]:
        """What was decided when the message was accepted."""
        return verdicts.read_all(self.message.verdicts)

    @property
    def total(self) -> int:
        return sum(self.states.values())


def explain(
    *, caller: Caller, message_id: str, recipient: str = "", start: int = 0, count: int = DELIVERIES_MOST
) -> Explanation:
    """The explanation of a message, of one `recipient` alone where that is asked for; raises `NotFound`.

    The sentence follows from what is stored and nothing else, so it stays the same while that does.
    """
    message = message_rows.find(caller=caller, message_id=message_id)
    where, values = "d.message_id = ?", [message.id]
    if recipient:
        where, values = where + " AND d.rcpt = ?", [*values, recipient]  # type: ignore[list-item]
    states = {
        DeliveryState(state): int(n)
        for state, n in db.rows(
            f"SELECT d.state, COUNT(*) FROM delivery d WHERE {where} GROUP BY d.state ORDER BY d.state", values
        )
    }
    rows = db.rows(
        "SELECT d.id, d.rcpt, d.state, d.attempts, d.due_ms, d.expires_ms, l.paused_until_ms, l.cause, d.waiting"
        f" FROM delivery d LEFT JOIN lane l ON l.id = d.lane_id WHERE {where} ORDER BY d.id LIMIT ? OFFSET ?",
        (*values, min(max(count, 0), DELIVERIES_MOST), max(start, 0)),
    )
    ids = [row[0] for row in rows]
    attempts = _attempts(ids)
    events, partial = _events(message.id, ids)
    fates = [
        Fate(
            id_, rcpt, DeliveryState(state), tried, due_ms, expires_ms, paused or 0, cause or "",
            _waiting(DeliveryState(state), due_ms, waiting), attempts[id_], events[id_],
        )
        for id_, rcpt, state, tried, due_ms, expires_ms, paused, cause, waiting in rows
    ]  # fmt: skip
    to_come = 0
    if not recipient:
        to_come = sum(
            max(0, int(total - made))
            for total, made in db.rows(
                "SELECT total, made FROM expansion WHERE message_id = ? AND done_ms IS NULL", (message.id,)
            )
        )
    text = explanation_words.sentence(message, states, fates, to_come)
    return Explanation(message, text, states, fates, events[None], partial)


def _waiting(state: DeliveryState, due_ms: int | None, stored: str | None) -> dict[str, Any]:
    """The verdict that put a delivery back, as long as it stands where that put it."""
    if not stored or due_ms is None or state not in (DeliveryState.QUEUED, DeliveryState.DEFERRED):
        return {}
    found = orjson.loads(stored)
    until = found.get("until_ms") if isinstance(found, dict) else None
    # Rescheduled since then: a person's word goes before a limit's.
    if not isinstance(found, dict) or (isinstance(until, int) and due_ms > until + _SLACK_MS):
        return {}
    return found


def _attempts(delivery_ids: Sequence[int]) -> dict[int, list[AttemptRow]]:
    found: dict[int, list[AttemptRow]] = defaultdict(list)
    if delivery_ids:
        for row in db.rows(
            "SELECT delivery_id, no, transport, remote, tls, code, enhanced, reply, outcome, category, started_ms, ms,"
            " verdicts"
            f" FROM attempt WHERE delivery_id IN ({','.join('?' * len(delivery_ids))}) ORDER BY delivery_id, id",
            list(delivery_ids),
        ):
            found[row[0]].append(AttemptRow(*row[:-1], verdicts.read_all(orjson.loads(row[-1] or "[]"))))  # type: ignore[call-arg]
    return found


def _events(message_id: int, delivery_ids: Sequence[int]) -> tuple[dict[int | None, list[EventRow]], bool]:
    """Events by delivery, and under None those about the whole message."""
    wanted = "delivery_id IS NULL"
    if delivery_ids:
        wanted = f"({wanted} OR delivery_id IN ({','.join('?' * len(delivery_ids))}))"
    ids = [
        row[0]
        for row in db.rows(
            f"SELECT id FROM event WHERE message_id = ? AND {wanted} ORDER BY id LIMIT ?",
            (message_id, *delivery_ids, _EVENTS_MOST + 1),
        )
    ]
    partial = len(ids) > _EVENTS_MOST
    rows = event_rows.load(ids[:_EVENTS_MOST])
    found: dict[int | None, list[EventRow]] = defaultdict(list)
    for id_ in ids[:_EVENTS_MOST]:
        if id_ in rows:
            found[rows[id_].delivery_id].append(rows[id_])
    return found, partial
