"""What an attempt's outcome does to its delivery: one transaction for state, attempt, suppression and events."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway import clock, config, jobs
from gateway.mail import classify
from gateway.services import lanes, ledger, retries, routes, strikes, suppression_rules, surges
from gateway.services.ledger import Fact
from gateway.services.routes import Next
from gateway.transports.outcome import Outcome, Result
from models import database as db
from models.vocabulary import DeliveryState, EventKind

_REPLY_LENGTH = 4096
_log = logging.getLogger("commandpost.outcomes")
_JOURNALLED = tuple(field.name for field in dataclasses.fields(Outcome) if field.name != "dialogue")
_REPLACE = {"sqlite": "INSERT OR REPLACE", "mysql": "REPLACE"}
_MX_NAME = re.compile(r"^[^\[:\s]+")


@dataclass(slots=True)
class Done:
    """The end of one attempt at the delivery `id` under the claim `fence`.

    `surge`: its host refuses everybody just now, so that the refusal says nothing about the recipient.
    `next`: the refusal was meant for us, and another sending server may take it.
    `target`: the destination's name among the limits, where it did not take the message.
    """

    id: int
    fence: int
    outcome: Outcome
    transport: str
    started_ms: int
    ms: int
    surge: bool = False
    next: Next | None = None
    target: str = ""

    @property
    def ended_ms(self) -> int:
        return self.started_ms + self.ms

    @property
    def pair(self) -> tuple[int, int]:
        return self.id, self.fence

    def dump(self) -> bytes:
        """One line for the journal; the dialogue stays out, it is only for people."""
        fields = {name: value for name in _JOURNALLED if not _is_empty(value := getattr(self.outcome, name))}
        more: dict[str, Any] = {"u": True} if self.surge else {}
        if self.next is not None:
            more["n"] = dataclasses.astuple(self.next)
        if self.target:
            more["d"] = self.target
        return orjson.dumps({"o": fields, "t": self.transport, "s": self.started_ms, "m": self.ms, **more})

    @classmethod
    def parse(cls, pair: tuple[int, int], line: bytes) -> Done:
        found = orjson.loads(line)
        said = found["o"]
        said |= {"result": Result(said["result"]), "verdicts": tuple(said.get("verdicts", ()))}
        outcome = Outcome(**said)
        goes_on = Next(*found["n"]) if "n" in found else None
        surge, target = found.get("u", False), found.get("d", "")
        return cls(*pair, outcome, found["t"], found["s"], found["m"], surge, goes_on, target)

    def bare(self) -> Done:
        """The same fate without the remote's words, which may be what cannot be stored."""
        kept = self.outcome
        said = "what the remote said could not be stored"
        outcome = Outcome(kept.result, kept.code, reply=said, category=kept.category, retry_after=kept.retry_after)
        return replace(self, outcome=outcome)


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value in ("", ())


@dataclass(slots=True)
class _Row:
    """The delivery as the transaction finds it."""

    id: int
    fence: int
    message_id: int
    account_id: int
    domain_id: int
    rcpt: str
    attempts: int
    expires_ms: int
    struck: bool  # its recipient has strikes
    tags: list[str]
    metadata: dict[str, Any] | None
    since_ms: int | None  # when it was accepted, or when its time came
    origin: str | None


def ours(reply: str) -> Outcome:
    """A failure that is not the remote's: tried again on the schedule."""
    return Outcome(Result.DEFERRED, category=classify.OURS, reply=reply)


def apply(done: Sequence[Done]) -> None:
    """Write the outcomes whose claims still hold; the others belong to somebody else by now and change nothing."""
    if done:
        db.in_transaction(lambda tx: _apply(tx, done))


def apply_each(done: Sequence[Done]) -> list[Done]:
    """Write outcomes of which the whole batch could not be written; returns those that cannot be even alone.

    One that cannot be stored must not keep the others. Raises `StoreUnavailable`; then call again with all.
    """
    stuck: list[Done] = []
    for one in done:
        try:
            try:
                apply([one])
            except db.StoreUnavailable:
                raise
            except Exception:
                _log.exception("outcome_not_written", extra={"delivery": one.id})
                apply([one.bare()])
        except db.StoreUnavailable:
            raise
        except Exception:
            _log.exception("bare_outcome_not_written", extra={"delivery": one.id})
            stuck.append(one)
    return stuck


def _apply(tx: db.Transaction, done: Sequence[Done]) -> None:
    rows, overtaken = _held(tx, done)
    if overtaken:
        _record_overtaken(tx, [(one, overtaken[one.pair]) for one in done if one.pair in overtaken])
    held = [one for one in done if one.pair in rows]
    if not held:
        return
    now = clock.now_ms()
    facts: list[Fact] = []
    ended_badly: list[tuple[Done, _Row, bool]] = []
    taken: dict[DeliveryState, list[int]] = {DeliveryState.DELIVERED: [], DeliveryState.HANDED_OVER: []}
    for one in held:
        row = rows[one.pair]
        state, due_ms, kind, data = _decide(one, row, now)
        if state in taken:
            taken[state].append(row.id)
        else:
            _move(tx, row.id, state, due_ms)
            if due_ms is not None:
                _move_on(tx, one, row)
        if kind in (EventKind.BOUNCED, EventKind.FAILED):
            ended_badly.append((one, row, kind is EventKind.BOUNCED))
        if kind is not None:
            facts.append(_fact(one, row, kind, now, data))
    if ended_badly:
        _draw_conclusions(tx, ended_badly)
    for state, delivery_ids in taken.items():
        _end(tx, state, delivery_ids)
    if taken[DeliveryState.HANDED_OVER]:
        _hand_over(tx, [one for one in held if one.outcome.result is Result.HANDED_OVER], now)
    _reset_strikes(tx, [rows[one.pair] for one in held if one.outcome.result is Result.DELIVERED])
    _record_attempts(tx, [(one, rows[one.pair]) for one in held])
    ledger.record(tx, facts)


def _held(tx: db.Transaction, done: Sequence[Done]) -> tuple[dict[tuple[int, int], _Row], dict[tuple[int, int], _Row]]:
    """The rows whose claims hold, and those that have ended under theirs, as a provider's report was quicker."""
    found: dict[tuple[int, int], _Row] = {}
    overtaken: dict[tuple[int, int], _Row] = {}
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    ids = sorted({one.id for one in done})
    deliveries: list[tuple[Any, ...]] = []
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        deliveries += tx.rows(
            f"SELECT id, fence, message_id, account_id, domain_id, rcpt, attempts, expires_ms, {strikes.STRUCK}, state"
            " FROM delivery"
            f" WHERE id IN ({','.join('?' * len(some))}) ORDER BY id{lock}",
            some,
        )
    messages: dict[int, tuple[list[str], dict[str, Any] | None, int | None, str | None]] = {}
    wanted = sorted({row[2] for row in deliveries})
    for start in range(0, len(wanted), 500):
        some = wanted[start : start + 500]
        for message_id, tags, metadata, created_ms, send_at_ms, origin in tx.rows(
            "SELECT id, tags, metadata, created_ms, send_at_ms, origin FROM message"
            f" WHERE id IN ({','.join('?' * len(some))})",
            some,
        ):
            since_ms = max(created_ms, send_at_ms or 0)
            messages[message_id] = (orjson.loads(tags), orjson.loads(metadata) if metadata else None, since_ms, origin)
    for row in deliveries:
        ended = row[9] in (DeliveryState.DELIVERED, DeliveryState.BOUNCED, DeliveryState.FAILED)
        if row[9] == DeliveryState.CLAIMED or ended:
            kept = overtaken if ended else found
            kept[(row[0], row[1])] = _Row(*row[:9], *messages.get(row[2], ([], None, None, None)))  # type: ignore[call-arg]
    return found, overtaken


def _decide(one: Done, row: _Row, now: int) -> tuple[DeliveryState, int | None, EventKind | None, dict[str, Any]]:
    """The next state, its due time, the event that tells it and what the event says.

    Handing over is no event: the provider's own report is the one that tells what became of it.
    """
    outcome = one.outcome
    data: dict[str, Any] = {"transport": one.transport}
    if outcome.code:
        data["code"] = outcome.code
    if outcome.enhanced:
        data["enhanced"] = outcome.enhanced
    if outcome.category:
        data["category"] = outcome.category
    if row.metadata:
        data["metadata"] = row.metadata
    if outcome.result is Result.DELIVERED:
        data["ms"] = one.ms
        return DeliveryState.DELIVERED, None, EventKind.DELIVERED, data
    if outcome.result is Result.HANDED_OVER:
        return DeliveryState.HANDED_OVER, None, None, data
    data["reason"] = outcome.reply[:1000]
    if one.next is not None and one.next.at_once and now <= row.expires_ms:
        data |= {"until_ms": now, "failover": one.next.server}
        return DeliveryState.DEFERRED, now, EventKind.DEFERRED, data
    if outcome.result is Result.BOUNCED and one.next is None:
        return DeliveryState.BOUNCED, None, EventKind.BOUNCED, data
    if outcome.result is Result.IN_DOUBT:
        data["in_doubt"] = True
        if config.settings().in_doubt == "hold":
            return DeliveryState.HELD, max(row.expires_ms, now), EventKind.QUEUED, data
    # The servers of a rule that failed one after the other made one attempt together.
    tried = row.attempts + 1 if one.next is None else -(-(row.attempts + 1) // one.next.size)
    due = retries.next_due_ms(attempts=tried, now_ms=now, asked_s=outcome.retry_after)
    if due > row.expires_ms:
        data["gave_up"] = "time used up"
        return DeliveryState.FAILED, None, EventKind.FAILED, data
    data["until_ms"] = due
    return DeliveryState.DEFERRED, due, EventKind.DEFERRED, data


def _move(tx: db.Transaction, delivery_id: int, state: DeliveryState, due_ms: int | None) -> None:
    lane = ", lane_id = NULL" if due_ms is None else ""
    tx.execute(
        f"UPDATE delivery SET state = ?, due_ms = ?, attempts = attempts + 1{lane} WHERE id = ?",
        (int(state), due_ms, delivery_id),
    )


def _move_on(tx: db.Transaction, one: Done, row: _Row) -> None:
    """Put the delivery where it goes on; what may have arrived stays with the sending server that may have it."""
    if one.next is not None:
        lanes.move(tx, [row.id], one.next.route)
        if one.next.at_once:
            tx.after_commit(lambda: jobs.ring(jobs.DELIVER), key=jobs.DELIVER)
    elif one.outcome.result is Result.IN_DOUBT:
        way = routes.parse(lanes.route_of(tx, row.id))
        if way is not None:
            lanes.move(tx, [row.id], routes.Way(routes.ONLY, way.server_id).route)


def _end(tx: db.Transaction, state: DeliveryState, delivery_ids: Sequence[int]) -> None:
    if delivery_ids:
        marks = ",".join("?" * len(delivery_ids))
        tx.execute(
            "UPDATE delivery SET state = ?, due_ms = NULL, lane_id = NULL, attempts = attempts + 1"
            f" WHERE id IN ({marks})",
            (int(state), *delivery_ids),
        )


def _hand_over(tx: db.Transaction, done: Sequence[Done], now: int) -> None:
    """Noted until the provider says what became of them."""
    tx.executemany(
        f"{_REPLACE[tx.dialect]} INTO handed_over (delivery_id, transport, at_ms) VALUES (?, ?, ?)",
        [(one.id, one.transport, now) for one in done],
    )


def _record_overtaken(tx: db.Transaction, ended: Sequence[tuple[Done, _Row]]) -> None:
    """Attempts that took the message and are not written yet: what is replayed after its commit is no second one."""
    for one, row in ended:
        known = "SELECT 1 FROM attempt WHERE delivery_id = ? AND started_ms = ? LIMIT 1"
        if one.outcome.taken and not tx.rows(known, (row.id, one.started_ms)):
            _record_attempts(tx, [(one, row)])
            tx.execute("UPDATE delivery SET attempts = attempts + 1 WHERE id = ?", (row.id,))


def _draw_conclusions(tx: db.Transaction, ended: Sequence[tuple[Done, _Row, bool]]) -> None:
    """What the ends of deliveries say about their recipients; nothing when it was one of many or nobody knows."""
    telling = [one for one in ended if not one[0].surge and one[0].outcome.result is not Result.IN_DOUBT]
    doubted = surges.doubted(tx, [(one.target, one.ended_ms) for one, _, _ in telling])
    for one, row, bounced in telling:
        if (one.target, one.ended_ms) not in doubted:
            _draw_conclusion(tx, one.outcome, row, bounced=bounced)


def _draw_conclusion(tx: db.Transaction, outcome: Outcome, row: _Row, *, bounced: bool) -> None:
    suppression_rules.refused(
        tx,
        suppression_rules.Refused(
            account_id=row.account_id,
            domain_id=row.domain_id,
            address=row.rcpt,
            message_id=row.message_id,
            bounced=bounced,
            category=outcome.category,
            code=outcome.code,
            enhanced=outcome.enhanced,
            reply=outcome.reply,
            mx=_mx(outcome),
        ),
    )


def _reset_strikes(tx: db.Transaction, delivered: Sequence[_Row]) -> None:
    struck: dict[int, list[str]] = {}
    for row in delivered:
        if row.struck:
            struck.setdefault(row.account_id, []).append(row.rcpt)
    for account_id, addresses in struck.items():
        strikes.forget(tx, account_id=account_id, addresses=addresses)


def _mx(outcome: Outcome) -> str:
    """The host's name out of `host[ip]:port`."""
    name = _MX_NAME.match(outcome.remote)
    return name.group(0) if name else ""


def _record_attempts(tx: db.Transaction, held: Sequence[tuple[Done, _Row]]) -> None:
    rows = [
        (
            row.id,
            row.attempts + 1,
            one.transport,
            one.outcome.remote[:255],
            one.outcome.tls[:128],
            one.outcome.code,
            one.outcome.enhanced,
            one.outcome.reply[:_REPLY_LENGTH],
            "" if one.outcome.taken else one.outcome.dialogue[:_REPLY_LENGTH],
            one.outcome.result.value,
            one.outcome.category,
            one.started_ms,
            one.ms,
            orjson.dumps(one.outcome.verdicts).decode(),
        )
        for one, row in held
    ]
    marks = ",".join(["(" + ",".join("?" * 14) + ")"] * len(rows))
    tx.execute(
        "INSERT INTO attempt (delivery_id, no, transport, remote, tls, code, enhanced, reply, dialogue, outcome,"
        f" category, started_ms, ms, verdicts) VALUES {marks}",
        [value for row in rows for value in row],
    )


def _fact(one: Done, row: _Row, kind: EventKind, now: int, data: dict[str, Any]) -> Fact:
    return Fact(
        row.account_id,
        row.domain_id,
        kind,
        now,
        row.message_id,
        row.id,
        row.rcpt,
        mx=_mx(one.outcome),
        # A plain 250 says nothing worth a dictionary row.
        reply="" if kind is EventKind.DELIVERED else one.outcome.reply,
        data=data,
        tags=row.tags,
        origin=row.origin,
        waited_ms=_waited_ms(one, row) if kind is EventKind.DELIVERED else None,
    )


def _waited_ms(one: Done, row: _Row) -> int | None:
    """Until the remote's 250, which was written down a moment later."""
    return None if row.since_ms is None else max(0, one.ended_ms - row.since_ms)


def settle(
    delivery_ids: Sequence[int],
    state: DeliveryState,
    kind: EventKind,
    data: dict[str, Any],
    *,
    fences: Mapping[int, int] | None = None,
) -> int:
    """End deliveries that are not tried at all (suppressed, canceled, time up) with an event each; returns how many.

    Only live rows change, so a second call is harmless. With `fences` only those change that are claimed under
    theirs: a holder who lost its lease must not end what another is sending.
    """
    return db.in_transaction(lambda tx: settle_in(tx, delivery_ids, state, kind, data, fences=fences))


def settle_in(
    tx: db.Transaction,
    delivery_ids: Sequence[int],
    state: DeliveryState,
    kind: EventKind,
    data: dict[str, Any],
    *,
    fences: Mapping[int, int] | None = None,
) -> int:
    if not delivery_ids:
        return 0
    now = clock.now_ms()
    marks = ",".join("?" * len(delivery_ids))
    # Locked before they are judged: an outcome may be on its way in, and what is terminal stays.
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    live = [
        row
        for row in tx.rows(
            "SELECT id, message_id, account_id, domain_id, rcpt, state, fence FROM delivery"
            f" WHERE id IN ({marks}) AND due_ms IS NOT NULL ORDER BY id{lock}",
            sorted(delivery_ids),
        )
        if fences is None or (row[5] == DeliveryState.CLAIMED and fences.get(row[0]) == row[6])
    ]
    if not live:
        return 0
    messages = sorted({row[1] for row in live})
    said = {
        message_id: (orjson.loads(tags), origin)
        for message_id, tags, origin in tx.rows(
            f"SELECT id, tags, origin FROM message WHERE id IN ({','.join('?' * len(messages))})", messages
        )
    }
    tx.execute(
        f"UPDATE delivery SET state = ?, due_ms = NULL, lane_id = NULL WHERE id IN ({','.join('?' * len(live))})",
        (int(state), *(row[0] for row in live)),
    )
    ledger.record(
        tx,
        [
            Fact(
                account_id, domain_id, kind, now, message_id, delivery_id, rcpt,
                data=data, tags=said[message_id][0] if message_id in said else [],
                origin=said[message_id][1] if message_id in said else None,
            )
            for delivery_id, message_id, account_id, domain_id, rcpt, _, _ in live
        ],
    )  # fmt: skip
    return len(live)
