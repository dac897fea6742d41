"""Reports of providers become events: each once, with the state, suppression and counters that follow from it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gateway import clock, config
from gateway.mail import classify, verp
from gateway.services import (
    ledger,
    reported,
    sending_servers,
    server_kinds,
    strikes,
    suppression_rules,
    tracking,
    unsubscribes,
)
from gateway.services.ledger import Fact
from gateway.services.reported import Reported
from gateway.services.sending_servers import SendingServer
from gateway.services.tracking import Hit
from gateway.services.unsubscribe_links import Leaving
from gateway.transports.hooks.report import BadSignature, Batch, Report
from models import database as db
from models.vocabulary import DeliveryState, EventKind

RECORDED, REPEATED, LATE, IGNORED, UNMATCHED = "recorded", "repeated", "late", "ignored", "unmatched"
"""What became of a report: an event; one that was told before; one that things have overtaken; a word that means
nothing here; one that names no delivery of the server's account."""

UNSUBSCRIBE_RULE = "unsubscribe:provider"
RAW_SIZE = 16_384
"""Bytes of a raw event that are kept."""

_IGNORE = {"sqlite": "INSERT OR IGNORE", "mysql": "INSERT IGNORE"}
_LATE_MS = 300_000  # what was told later is an event of now: events are found by time in the order of their ids
_CHUNK = 500
_ID_LENGTH = 190
_URL_LENGTH = 2048
_REASON = 1000
_ENDED_BADLY = (DeliveryState.BOUNCED, DeliveryState.FAILED, DeliveryState.SUPPRESSED, DeliveryState.CANCELED)
_ENDED = (*_ENDED_BADLY, DeliveryState.DELIVERED)
_WAITING = (DeliveryState.QUEUED, DeliveryState.DEFERRED, DeliveryState.HELD)
_HITS = (EventKind.OPENED, EventKind.CLICKED)
_ENDS = {
    EventKind.DELIVERED: DeliveryState.DELIVERED,
    EventKind.BOUNCED: DeliveryState.BOUNCED,
    EventKind.FAILED: DeliveryState.FAILED,
}
_HOST = re.compile(r"(?![0-9.]+$)[A-Za-z0-9._-]{1,253}")


def record(*, server: SendingServer, batch: Batch, digest: str) -> Counter[str]:
    """Write what one call said, all or nothing; how many reports became what. Raises `BadSignature` for a used nonce.

    A call that comes again changes nothing, whatever became of the answer to the first. `digest` is of its body.
    """
    return db.in_transaction(lambda tx: _record(tx, server, batch, digest))


def _record(tx: db.Transaction, server: SendingServer, batch: Batch, digest: str) -> Counter[str]:
    now = clock.now_ms()
    _use(tx, server, batch.nonce, digest, now)
    sending_servers.saw_hook(tx, server)
    named = {id_ for one in batch.reports if one.token and (id_ := verp.decode_token(one.token)) is not None}
    deliveries = reported.lock(tx, account_id=server.account_id, delivery_ids=sorted(named))
    done: Counter[str] = Counter()
    facts: list[Fact] = []
    hits: list[tuple[Report, Reported]] = []
    leaving: list[tuple[Report, Reported]] = []
    for report in batch.reports:
        one = deliveries.get(verp.decode_token(report.token) or 0) if report.token else None
        what = _judge(report, one)
        if not _keep(tx, server, report, one, what, now):
            done[REPEATED] += 1
            continue
        done[what] += 1
        if what == REPEATED and one is not None and one.state is DeliveryState.HANDED_OVER and report.kind:
            _end(tx, one, report.kind)  # a bounce message told it before, which ends no delivery
        if what != RECORDED or one is None or report.kind is None:
            continue
        if report.kind in _HITS:
            hits.append((report, one))
        elif report.kind is EventKind.UNSUBSCRIBED:
            leaving.append((report, one))
        else:
            facts.append(_apply(tx, server, report, one, now))
    facts += _opens_and_clicks(tx, server, hits, now)
    for report, one in leaving:
        where = Leaving(one.id, one.domain_id, one.list_id, one.rcpt)
        more = _told_by(server)
        facts += unsubscribes.unsubscribe_in(tx, where, "provider", report.ip, rule=UNSUBSCRIBE_RULE, more=more)[1]
    ledger.record(tx, facts)
    return done


def _use(tx: db.Transaction, server: SendingServer, nonce: str, digest: str, now: int) -> None:
    if not nonce:
        return
    made = tx.execute(
        f"{_IGNORE[tx.dialect]} INTO hook_nonce (server_id, nonce, digest, created_ms) VALUES (?, ?, ?, ?)",
        (server.id, nonce, digest, now),
    )
    if made.rowcount:
        return
    known = tx.rows("SELECT digest FROM hook_nonce WHERE server_id = ? AND nonce = ?", (server.id, nonce))
    if not known or known[0][0] != digest:
        raise BadSignature("its token was used for another call")


def _judge(report: Report, one: Reported | None) -> str:
    """What a report is worth as things stand."""
    kind = report.kind
    if kind is None:
        return IGNORED
    if one is None:
        return UNMATCHED
    if kind is EventKind.DELIVERED:
        if kind in one.known:
            return REPEATED
        return LATE if one.state in _ENDED_BADLY else RECORDED
    if kind in (EventKind.BOUNCED, EventKind.FAILED):
        if one.state in _ENDED_BADLY or one.known & {EventKind.BOUNCED, EventKind.FAILED}:
            return REPEATED
        # It waits to be tried again, perhaps elsewhere: only a dead address is the same everywhere.
        if one.state in _WAITING and (kind is EventKind.FAILED or report.category != classify.RECIPIENT):
            return LATE
        return RECORDED
    if kind is EventKind.DEFERRED:
        return RECORDED if one.state is DeliveryState.HANDED_OVER else LATE
    if kind is EventKind.COMPLAINED and kind in one.known:
        return REPEATED
    return RECORDED


def _keep(tx: db.Transaction, server: SendingServer, report: Report, one: Reported | None, what: str, now: int) -> bool:
    """The raw event; False where it was there already."""
    raw = report.raw[:RAW_SIZE].decode("utf-8", "replace")
    id_ = report.id
    if not 0 < len(id_) <= _ID_LENGTH:
        id_ = hashlib.sha256(id_.encode() or report.raw).hexdigest()
    made = tx.execute(
        f"{_IGNORE[tx.dialect]} INTO provider_event (server_id, foreign_id, account_id, message_id, delivery_id, type,"
        " kind, what, at_ms, raw, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            server.id, id_, server.account_id, one.message_id if one else None, one.id if one else None,
            report.type, None if report.kind is None else int(report.kind), what,
            now if report.at_ms is None else report.at_ms, raw, now,
        ),
    )  # fmt: skip
    return bool(made.rowcount)


def _end(tx: db.Transaction, one: Reported, kind: EventKind) -> None:
    """End the delivery as the report says, unless it has ended."""
    ends = _ENDS.get(kind)
    if ends is None or one.state in _ENDED:
        return
    one.state = ends
    tx.execute("UPDATE delivery SET state = ?, due_ms = NULL, lane_id = NULL WHERE id = ?", (int(ends), one.id))
    tx.execute("DELETE FROM handed_over WHERE delivery_id = ?", (one.id,))


def _apply(tx: db.Transaction, server: SendingServer, report: Report, one: Reported, now: int) -> Fact:
    """State, strikes and suppression, and the event that tells it."""
    kind = report.kind
    assert kind is not None  # noqa: S101 - judged before
    one.known.add(kind)
    _end(tx, one, kind)
    mx = found.group(0) if (found := _HOST.fullmatch(report.mx)) else ""
    if kind is EventKind.DELIVERED:
        if one.struck:
            strikes.forget(tx, account_id=one.account_id, addresses=[one.rcpt])
    elif kind is not EventKind.DEFERRED:
        draw = suppression_rules.complained if kind is EventKind.COMPLAINED else suppression_rules.refused
        draw(
            tx,
            suppression_rules.Refused(
                account_id=one.account_id,
                domain_id=one.domain_id,
                address=one.rcpt,
                message_id=one.message_id,
                bounced=kind is EventKind.BOUNCED,
                category=report.category,
                code=report.code,
                enhanced=report.enhanced,
                reply=report.reply or report.feedback,
                mx=mx,
            ),
        )
    data = _told_by(server) | _details(report, kind)
    if one.metadata:
        data["metadata"] = one.metadata
    at_ms = _moment(report, data, now)
    return Fact(
        one.account_id,
        one.domain_id,
        kind,
        at_ms,
        one.message_id,
        one.id,
        one.rcpt,
        mx=mx,
        reply="" if kind is EventKind.DELIVERED else report.reply,
        data=data,
        tags=one.tags,
        waited_ms=max(0, (report.at_ms or now) - one.since_ms) if kind is EventKind.DELIVERED else None,
        origin=one.origin,
    )


def _details(report: Report, kind: EventKind) -> dict[str, Any]:
    if kind is EventKind.COMPLAINED:
        return {"feedback_type": report.feedback, "reporter": report.agent[:255], "found_by": "provider"}
    found = {"code": report.code, "enhanced": report.enhanced, "category": report.category, "class": report.class_}
    if kind is not EventKind.DELIVERED:
        found["reason"] = report.reply[:_REASON]
    return {name: value for name, value in found.items() if value}


def _told_by(server: SendingServer) -> dict[str, Any]:
    return {"transport": f"{server.kind}:{server.id}", "provider": server_kinds.provider_word(server.kind)}


def _moment(report: Report, data: dict[str, Any], now: int) -> int:
    """The event's time; what came late, or from the future, is an event of now that says when it happened."""
    if report.at_ms is not None and 0 <= now - report.at_ms < _LATE_MS:
        return report.at_ms
    if report.at_ms is not None:
        data["provider_ms"] = report.at_ms
    return now


def _opens_and_clicks(
    tx: db.Transaction, server: SendingServer, hits: Sequence[tuple[Report, Reported]], now: int
) -> list[Fact]:
    """With the same verdicts as our own links and pixels; what the provider holds for a machine's is one."""
    if not hits:
        return []
    seen = [
        Hit(
            one.id, report.at_ms if report.at_ms is not None else now, report.url[:_URL_LENGTH],
            agent=report.agent[:512], ip=report.ip[:45],
        )
        for report, one in hits
    ]  # fmt: skip
    made: list[Fact] = []
    for (report, _), fact in zip(hits, tracking.facts_of(tx, seen), strict=True):
        if fact is None:
            continue
        data = (fact.data or {}) | _told_by(server)
        if report.machine:
            data |= {"verdict": "machine", "reasons": [*data.get("reasons", ()), "provider"]}
        fact.data = data
        made.append(fact)
    return made


def collect() -> tuple[int, bool]:
    """Delete a batch of what is older than the setting; how many rows went, and whether there may be more."""
    before_ms = clock.now_ms() - config.settings().provider_event_days * clock.DAY_MS
    gone = 0
    for table, key, time in (
        ("provider_event", "id", "created_ms"),
        ("hook_nonce", "server_id, nonce", "created_ms"),
        ("handed_over", "delivery_id", "at_ms"),  # nobody waits for word of these any more
    ):
        rows = db.rows(f"SELECT {key} FROM {table} WHERE {time} < ? LIMIT {_CHUNK}", (before_ms,))
        if rows:
            where = " AND ".join(f"{name.strip()} = ?" for name in key.split(","))
            db.in_transaction(
                lambda tx, table=table, where=where, rows=rows: tx.executemany(  # type: ignore[misc]
                    f"DELETE FROM {table} WHERE {where}", rows
                )
            )
        gone = max(gone, len(rows))
    return gone, gone == _CHUNK
