"""Opens and clicks: taken down in the spool at once, and made events in batches, each exactly once."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway import clock, jobs
from gateway.mail import user_agent
from gateway.services import hit_spool, hit_verdicts, honeypots, ledger
from gateway.services.ledger import Fact
from gateway.services.spool import Sealed
from models import database as db
from models.vocabulary import DeliveryState, EventKind, TallyFacet

HITS_MOST = 50
"""Opens of one delivery that become events, and clicks; the last of them says so, and further hits are let go."""

HOLD_MS = hit_verdicts.BURST_MS
"""How long a hit waits at least: whether it is one of a burst is known only then."""

_SEAL_MS = 1000
_BATCH = 200
_AHEAD = 5000
_TICK_S = 0.2
_AGENT = 512
_PURPOSE = 64
_LATE_MS = 300_000
"""A hit that waited longer than this is told as of now: events are found by time in the order of their ids."""
_ORPHANS_MS = 30 * clock.DAY_MS
_LIVE = (DeliveryState.QUEUED, DeliveryState.CLAIMED, DeliveryState.DEFERRED)
_log = logging.getLogger("commandpost.hits")


class _Overtaken(Exception):
    """Another reader is at the same file, where a shared folder does not keep the lock: it goes on alone."""


@dataclass(slots=True)
class Hit:
    """One request of a tracking link. `url` is that of a click, '' of an open."""

    delivery_id: int
    at_ms: int
    url: str = ""
    method: str = "GET"
    agent: str = ""
    ip: str = ""
    purpose: str = ""
    trap: bool = False  # of the link that no reader sees: no event, but it tells of the visitor's other hits

    @property
    def visitor(self) -> str:
        return honeypots.visitor(self.ip, self.agent)

    @property
    def kind(self) -> EventKind:
        return EventKind.CLICKED if self.url else EventKind.OPENED

    def dump(self) -> bytes:
        said = [self.delivery_id, self.at_ms, self.url, self.method, self.agent, self.ip, self.purpose]
        return orjson.dumps([*said, True] if self.trap else said)

    @classmethod
    def parse(cls, line: bytes) -> Hit | None:
        """None for a line that was cut off."""
        try:
            hit = cls(*orjson.loads(line))
        except (orjson.JSONDecodeError, TypeError):
            return None
        texts = (hit.url, hit.method, hit.agent, hit.ip, hit.purpose)
        numbers = (hit.delivery_id, hit.at_ms)
        whole = all(isinstance(text, str) for text in texts) and all(isinstance(n, int) for n in numbers)
        whole = whole and isinstance(hit.trap, bool)
        return hit if whole and 0 < hit.delivery_id < 2**63 else None


def note(
    *,
    delivery_id: int,
    url: str = "",
    method: str = "GET",
    agent: str = "",
    ip: str = "",
    purpose: str = "",
    trap: bool = False,
) -> bool:
    """Take a hit down, whether or not the database is there; False where the spool is full."""
    now = clock.now_ms()
    hit = Hit(delivery_id, now, url, method[:8], _text(agent, _AGENT), ip[:45], _text(purpose, _PURPOSE), trap)
    kept = hit_spool.append(hit.dump())
    jobs.ring(jobs.HITS)
    return kept


def _text(text: str, most: int) -> str:
    return text[:most].replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def drain(seconds: float) -> int:
    """Write down what the spool of this host has, for up to `seconds`; returns how many hits became events."""
    end = time.monotonic() + seconds
    count = 0
    with hit_spool.reading() as alone:
        while alone and hit_spool.waiting():
            files = hit_spool.sealed()
            now = clock.now_ms()
            if len(files) < hit_spool.SEALED_MOST and not (files and 0 <= now - files[-1].at_ms < _SEAL_MS):
                made = hit_spool.seal()
                files += [made] if made is not None else []
            for index, file in enumerate(files):
                if not 0 <= clock.now_ms() - file.at_ms < HOLD_MS:
                    count += _flush(file, files[index + 1 :])
            if time.monotonic() > end:
                break
            time.sleep(_TICK_S)
    return count


def _flush(file: Sealed, later: Sequence[Sealed]) -> int:
    done = _done(file.name)
    count = 0
    ahead = [hit for other in later for hit in _parsed(line for line, _ in other.lines(0, _AHEAD))]
    ahead += _parsed(hit_spool.written(_AHEAD))
    while lines := file.lines(done, _BATCH + _AHEAD):
        now, then = lines[:_BATCH], lines[_BATCH:]
        hits = _parsed(line for line, _ in now)
        near = [*_parsed(line for line, _ in then), *ahead]
        done_now = now[-1][1]
        try:
            count += _write(file.name, done, done_now, hits, near)
        except _Overtaken:
            return count
        except db.StoreUnavailable:
            raise
        except Exception:
            _log.exception("hits_not_written", extra={"hits": len(hits)})
            count += _write_each(file.name, done, now, near)
        done = done_now
    file.remove()
    db.in_transaction(lambda tx: _forget(tx, file.name))
    return count


def _write_each(name: str, done: int, lines: Sequence[tuple[bytes, int]], near: Sequence[Hit]) -> int:
    """One hit that cannot be stored must not keep the others."""
    count = 0
    for line, end in lines:
        hits = _parsed([line])
        try:
            count += _write(name, done, end, hits, near)
        except db.StoreUnavailable:
            raise
        except Exception:
            _log.exception("hit_not_written", extra={"delivery": hits[0].delivery_id if hits else 0})
            _write(name, done, end, [], [])
        done = end
    return count


def _parsed(lines: Any) -> list[Hit]:
    return [hit for line in lines if (hit := Hit.parse(line)) is not None]


def _done(name: str) -> int:
    rows = db.rows("SELECT done FROM hit_spool WHERE name = ?", (name,))
    return int(rows[0][0]) if rows else 0


def _forget(tx: db.Transaction, name: str) -> None:
    """The mark goes after its file; one whose file went in a crash is collected by age."""
    tx.execute("DELETE FROM hit_spool WHERE name = ? OR at_ms < ?", (name, clock.now_ms() - _ORPHANS_MS))


def _write(name: str, start: int, end: int, hits: Sequence[Hit], near: Sequence[Hit]) -> int:
    honeypots.remember([(hit.delivery_id, hit.visitor, hit.at_ms) for hit in hits if hit.trap])
    return db.in_transaction(lambda tx: _write_in(tx, name, start, end, hits, near))


def _write_in(tx: db.Transaction, name: str, start: int, end: int, hits: Sequence[Hit], near: Sequence[Hit]) -> int:
    """Events and the mark in one commit: a hit is counted once, whatever dies when."""
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    rows = tx.rows(f"SELECT done FROM hit_spool WHERE name = ?{lock}", (name,))
    if (int(rows[0][0]) if rows else 0) != start:
        raise _Overtaken
    facts = _facts(tx, hits, near) if hits else []
    if rows:
        tx.execute("UPDATE hit_spool SET done = ?, at_ms = ? WHERE name = ?", (end, clock.now_ms(), name))
    else:
        tx.execute("INSERT INTO hit_spool (name, done, at_ms) VALUES (?, ?, ?)", (name, end, clock.now_ms()))
    ledger.record(tx, facts)
    return len(facts)


@dataclass(slots=True)
class _Delivery:
    """What is known of a delivery that was hit, and what came before."""

    id: int
    message_id: int
    account_id: int
    domain_id: int
    rcpt: str
    state: int
    tags: list[str]
    metadata: dict[str, Any] | None
    privacy: bool
    origin: str | None = None
    delivered_ms: int | None = None
    counts: dict[EventKind, int] = field(default_factory=lambda: defaultdict(int))
    seen: set[tuple[EventKind, str]] = field(default_factory=set)
    seen_human: set[tuple[EventKind, str]] = field(default_factory=set)
    clicks: list[tuple[int, str]] = field(default_factory=list)
    caught: list[tuple[str, int]] = field(default_factory=list)  # who followed the link that no reader sees, and when


def _facts(tx: db.Transaction, hits: Sequence[Hit], near: Sequence[Hit]) -> list[Fact]:
    shown = [hit for hit in hits if not hit.trap]
    return [fact for fact in facts_of(tx, shown, near) if fact is not None] if shown else []


def facts_of(tx: db.Transaction, hits: Sequence[Hit], near: Sequence[Hit] = ()) -> list[Fact | None]:
    """The event of each hit, with its verdict; None for one too many, or of no delivery. `near` are others' for bursts.

    The caller records them in the same transaction.
    """
    known = _deliveries(tx, sorted({hit.delivery_id for hit in hits}))
    caught = honeypots.caught(known)
    for hit in near:
        if hit.trap and hit.delivery_id in known:
            caught.setdefault(hit.delivery_id, []).append((hit.visitor, hit.at_ms))
    for delivery_id, some in caught.items():
        known[delivery_id].caught = some
    for hit in (*hits, *near):
        if hit.url and hit.delivery_id in known:
            known[hit.delivery_id].clicks.append((hit.at_ms, hit.url))
    now = clock.now_ms()
    facts: list[Fact | None] = []
    for hit in hits:
        found = known.get(hit.delivery_id)
        kept = found is not None and found.counts[hit.kind] < HITS_MOST
        facts.append(_fact(hit, found, now) if found is not None and kept else None)
    return facts


def _fact(hit: Hit, found: _Delivery, now: int) -> Fact:
    verdict = hit_verdicts.judge(
        hit_verdicts.Evidence(
            at_ms=hit.at_ms,
            is_open=not hit.url,
            method=hit.method,
            purpose=hit.purpose,
            agent=hit.agent,
            ip=hit.ip,
            delivered_ms=found.delivered_ms,
            in_flight=found.state in _LIVE,
            burst=bool(hit.url) and hit_verdicts.is_burst(hit.at_ms, found.clicks),
            trapped=hit_verdicts.is_trapped(hit.at_ms, hit.visitor, found.caught) if found.caught else False,
        )
    )
    what, human = (hit.kind, hit.url), verdict.word == hit_verdicts.HUMAN
    data: dict[str, Any] = {"verdict": verdict.word}
    if verdict.reasons:
        data["reasons"] = verdict.reasons
    if hit.url:
        data["url"] = hit.url
    if hit.agent and not found.privacy:
        data["user_agent"] = hit.agent
        agent = user_agent.read(hit.agent, is_open=not hit.url)
        told = {"device": agent.device, "device_kind": agent.kind, "client": agent.client}
        data |= {name: value for name, value in told.items() if value}
    if what in found.seen:
        data["repeat"] = True
    if found.metadata:
        data["metadata"] = found.metadata
    late = not 0 <= now - hit.at_ms < _LATE_MS
    if late:
        data["hit_ms"] = hit.at_ms
    found.counts[hit.kind] += 1
    if found.counts[hit.kind] == HITS_MOST:
        data["last_kept"] = True
    # The first hit of each link is told, and the first of a person where a machine was quicker.
    is_told = what not in found.seen or (human and what not in found.seen_human)
    firsts = [
        facet
        for facet, known, counts in (
            (TallyFacet.FIRST, found.seen, True),
            (TallyFacet.HUMAN, found.seen_human, human),
        )
        if counts and not any(kind is hit.kind for kind, _ in known)
    ]
    found.seen.add(what)
    if human:
        found.seen_human.add(what)
    return Fact(
        found.account_id, found.domain_id, hit.kind, now if late else hit.at_ms, found.message_id, found.id,
        found.rcpt, ip="" if found.privacy else hit.ip, data=data, tags=found.tags, told=is_told,
        origin=found.origin, firsts=firsts,
    )  # fmt: skip


def _deliveries(tx: db.Transaction, delivery_ids: Sequence[int]) -> dict[int, _Delivery]:
    marks = ",".join("?" * len(delivery_ids))
    found: dict[int, _Delivery] = {}
    for id_, message_id, account_id, domain_id, rcpt, state, tags, metadata, privacy, origin in tx.rows(
        "SELECT d.id, d.message_id, d.account_id, d.domain_id, d.rcpt, d.state, m.tags, m.metadata,"
        " s.tracking_privacy, m.origin FROM delivery d JOIN message m ON m.id = d.message_id"
        f" JOIN sender_domain s ON s.id = d.domain_id WHERE d.id IN ({marks})",
        delivery_ids,
    ):
        found[id_] = _Delivery(
            id_, message_id, account_id, domain_id, rcpt, state, orjson.loads(tags or "[]"),
            orjson.loads(metadata) if metadata else None, bool(privacy), origin,
        )  # fmt: skip
    for id_, at_ms in tx.rows(
        "SELECT delivery_id, MIN(started_ms + ms) FROM attempt WHERE outcome IN ('delivered', 'handed_over')"
        f" AND delivery_id IN ({marks}) GROUP BY delivery_id",
        delivery_ids,
    ):
        if id_ in found:
            found[id_].delivered_ms = int(at_ms)
    # In this order: the other way round the whole log would be read.
    join = "STRAIGHT_JOIN" if tx.dialect == "mysql" else "CROSS JOIN"
    for id_, kind, at_ms, data in tx.rows(
        f"SELECT d.id, e.kind, e.at_ms, e.data FROM delivery d {join} event e"
        f" ON e.message_id = d.message_id AND e.delivery_id = d.id WHERE d.id IN ({marks}) AND e.kind IN (?, ?)",
        (*delivery_ids, int(EventKind.OPENED), int(EventKind.CLICKED)),
    ):
        if id_ in found:
            _remember(found[id_], EventKind(kind), at_ms, orjson.loads(data) if data else {})
    return found


def _remember(delivery: _Delivery, kind: EventKind, at_ms: int, data: dict[str, Any]) -> None:
    url = str(data.get("url") or "")
    delivery.counts[kind] += 1
    delivery.seen.add((kind, url))
    if data.get("verdict") == hit_verdicts.HUMAN:
        delivery.seen_human.add((kind, url))
    if url:
        delivery.clicks.append((int(data.get("hit_ms") or at_ms), url))
