"""The one writer of events: each goes down with its counters and the webhook rows that tell it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import clock
from gateway.services import automation_signals, delivery_times, enrolment_ends, roll_ups, tallies, webhook_outbox
from models import database as db
from models import many_rows
from models.vocabulary import EventKind, FacetKind, TallyFacet

BEYOND = 0
"""Stands for a kind: recipients of an hour's accepted messages beyond the first of each."""

_EVENT = (
    "account_id", "domain_id", "kind", "at_ms", "message_id", "delivery_id", "rcpt", "mx_id", "reply_id", "ip", "data",
)  # fmt: skip
_TAG_LENGTH = 190
_FACETS = {
    "category": FacetKind.CATEGORY,
    "code": FacetKind.CODE,
    "enhanced": FacetKind.ENHANCED,
    "transport": FacetKind.TRANSPORT,
    "verdict": FacetKind.VERDICT,
    "url": FacetKind.URL,
    "device": FacetKind.DEVICE,
    "device_kind": FacetKind.DEVICE_KIND,
    "client": FacetKind.CLIENT,
}
LOGGED = {"sqlite": "NULL", "mysql": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"}
"""The server's own time in milliseconds: the clocks of several hosts differ."""
_QUEUE_ID = re.compile(r"\b(?=[\w.-]*\d)[\w-]{8,}(?:\.[\w-]+)*\b|<[^>]*>|\b\d{5,}\b")


@dataclass(slots=True)
class Fact:
    """One thing that happened. `delivery_id` None: it is about the whole message; not `told`: webhooks never hear."""

    account_id: int
    domain_id: int
    kind: EventKind
    at_ms: int
    message_id: int
    delivery_id: int | None = None
    rcpt: str = ""
    mx: str = ""
    reply: str = ""
    ip: str = ""
    data: dict[str, Any] | None = None
    tags: Sequence[str] = ()
    told: bool = True
    waited_ms: int | None = None  # delivered: since the message was accepted, or since its time had come
    origin: str | None = None  # what sent the message; its events are counted for that too
    firsts: Sequence[TallyFacet] = ()  # an open, click or reply: of what it is the first for its delivery


def record(tx: db.Transaction, facts: Sequence[Fact]) -> None:
    """Write events, counters and webhook rows; the last statements of a transaction.

    Last, because ids do not follow the commit order on MariaDB and counters are the rows that
    transactions meet on: the shorter they are held, the better.
    """
    if not facts:
        return
    enrolment_ends.note(tx, facts)
    rows = [
        (
            fact.account_id,
            fact.domain_id,
            int(fact.kind),
            fact.at_ms,
            fact.message_id,
            fact.delivery_id,
            fact.rcpt,
            _word_id(tx, "mx", "name", fact.mx) if fact.mx else None,
            _word_id(tx, "reply", "text", fact.reply) if fact.reply else None,
            fact.ip,
            orjson.dumps(fact.data).decode() if fact.data else None,
        )
        for fact in facts
    ]
    event_ids = _insert_events(tx, rows)
    _tell(tx, facts, event_ids)
    accepted = _accepted(facts)
    _count(tx, facts, accepted)
    _count_facets(tx, facts, [row[8] for row in rows], accepted)
    tallies.count(tx, facts)
    automation_signals.of_facts(tx, facts)


def _insert_events(tx: db.Transaction, rows: list[tuple[Any, ...]]) -> list[int]:
    """Insert and return the ids in order."""
    tx.hasten()
    return many_rows.insert(tx, "event", _EVENT, rows, computed={"logged_ms": LOGGED[tx.dialect]})


def _tell(tx: db.Transaction, facts: Sequence[Fact], event_ids: Sequence[int]) -> None:
    endpoints = webhook_outbox.matching(
        tx, domain_ids={fact.domain_id for fact in facts}, account_ids={fact.account_id for fact in facts}
    )
    if not endpoints:
        return
    rows = [
        (endpoint.id, fact.message_id, event_id)
        for fact, event_id in zip(facts, event_ids, strict=True)
        for endpoint in endpoints
        if fact.told and endpoint.hears(fact.account_id, fact.domain_id, fact.kind)
    ]
    webhook_outbox.put(tx, rows)


def _accepted(facts: Sequence[Fact]) -> Counter[tuple[int, int, int, tuple[str, ...]]]:
    """Messages accepted, by domain, time, recipients and tags: of a thousand in one transaction most are alike."""
    return Counter(
        [
            (fact.domain_id, fact.at_ms, int((fact.data or {}).get("recipients", 1)), tuple(fact.tags))
            for fact in facts
            if fact.kind is EventKind.ACCEPTED
        ]
    )


def _count(
    tx: db.Transaction, facts: Sequence[Fact], accepted: Mapping[tuple[int, int, int, tuple[str, ...]], int]
) -> None:
    alike = Counter(
        [
            (fact.domain_id, int(fact.kind), clock.day_number(fact.at_ms), tuple(fact.tags))
            for fact in facts
            if fact.kind is not EventKind.ACCEPTED
        ]
    )
    for (domain_id, at_ms, _, tags), n in accepted.items():
        alike[(domain_id, int(EventKind.ACCEPTED), clock.day_number(at_ms), tags)] += n
    counts: Counter[tuple[Any, ...]] = Counter()
    for (domain_id, kind, day, tags), n in alike.items():
        for tag in _tags(tags):
            counts[(domain_id, day, kind, tag)] += n
    roll_ups.add(tx, "counter", ("domain_id", "day", "kind", "tag"), counts)


def _count_facets(
    tx: db.Transaction,
    facts: Sequence[Fact],
    reply_ids: Sequence[int | None],
    accepted: Mapping[tuple[int, int, int, tuple[str, ...]], int],
) -> None:
    counts: Counter[tuple[Any, ...]] = Counter()
    for fact, reply_id in zip(facts, reply_ids, strict=True):
        if fact.kind is EventKind.ACCEPTED:
            continue
        day = clock.day_number(fact.at_ms)
        counts[(*_hour(fact.domain_id, fact.at_ms), int(fact.kind))] += 1
        if fact.waited_ms is not None:
            value = str(delivery_times.step(fact.waited_ms))
            counts[(fact.domain_id, int(FacetKind.DELIVERY_TIME), day, value, int(fact.kind))] += 1
        values = [
            (FacetKind.RECIPIENT_DOMAIN, fact.rcpt.rpartition("@")[2].lower()),
            (FacetKind.MX, fact.mx),
            (FacetKind.RESPONSE, str(reply_id or "")),
        ]
        if fact.data:
            values += [(facet, str(fact.data[name])) for name, facet in _FACETS.items() if fact.data.get(name)]
        for facet, value in values:
            if value:
                counts[(fact.domain_id, int(facet), day, value[:_TAG_LENGTH], int(fact.kind))] += 1
    for (domain_id, at_ms, recipients, tags), n in accepted.items():
        more = (recipients - 1) * n
        counts[(*_hour(domain_id, at_ms), int(EventKind.ACCEPTED))] += n
        if more > 0:
            counts[(*_hour(domain_id, at_ms), BEYOND)] += more
            for tag in _tags(tags):
                beyond = (domain_id, int(FacetKind.RECIPIENTS), clock.day_number(at_ms), tag)
                counts[(*beyond, int(EventKind.ACCEPTED))] += more
    roll_ups.add(tx, "facet", ("domain_id", "facet", "day", "value", "kind"), counts)


def _hour(domain_id: int, at_ms: int) -> tuple[int, int, int, str]:
    """A domain's hour of the day, as facets are kept by it."""
    return domain_id, int(FacetKind.HOUR), clock.day_number(at_ms), f"{at_ms % clock.DAY_MS // clock.HOUR_MS:02d}"


def count_gone(tx: db.Transaction, events: Iterable[tuple[int, int, int]]) -> None:
    """Events (domain, time, kind) were taken out of the log; what has counted them stays as it is."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for domain_id, at_ms, kind in events:
        counts[(domain_id, int(FacetKind.GONE), clock.day_number(at_ms), "", kind)] += 1
    roll_ups.add(tx, "facet", ("domain_id", "facet", "day", "value", "kind"), counts)


def _tags(tags: Iterable[str]) -> set[str]:
    """With '' for all of the domain."""
    return {"", *(tag[:_TAG_LENGTH] for tag in tags)}


_words: dict[tuple[str, str], int] = {}


def forget_words() -> None:
    """Drop the process's memory of the dictionaries (another database was connected)."""
    _words.clear()
    many_rows.increment.cache_clear()


def _word_id(tx: db.Transaction, table: str, column: str, text: str) -> int:
    """The id of a dictionary's word; new words are remembered only once they are committed."""
    if table == "reply":
        text = normalise_reply(text)
    text = text[:255] if table == "mx" else text[:1024]
    known = _words.get((table, text))
    if known is not None:
        return known
    ignore = "INSERT OR IGNORE" if tx.dialect == "sqlite" else "INSERT IGNORE"
    if table == "reply":
        key, key_column = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(), "digest"
        tx.execute(f"{ignore} INTO reply (digest, text) VALUES (?, ?)", (key, text))
    else:
        key, key_column = text, column
        tx.execute(f"{ignore} INTO {table} ({column}) VALUES (?)", (text,))
    word_id = int(tx.rows(f"SELECT id FROM {table} WHERE {key_column} = ?", (key,))[0][0])

    def remember() -> None:
        if len(_words) > 10_000:
            _words.clear()
        _words[(table, text)] = word_id

    tx.after_commit(remember, key=(table, text))
    return word_id


def normalise_reply(text: str) -> str:
    """The reply without what differs each time (queue ids, numbers, addresses), so that equal ones are one row."""
    return _QUEUE_ID.sub("…", text)
