"""How both databases run the hot queries: by the named index, in the named order, never a table from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import clock
from gateway.services import (
    delivery_times,
    erasures,
    event_buckets,
    event_feed,
    event_marks,
    event_search,
    events,
    expired,
    ledger,
    search_index,
    statistics,
)
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.test_events import happen, message

pytestmark = pytest.mark.usefixtures("store")
BIG = ("event", "message", "search_term", "counter", "facet", "delivery")


@pytest.fixture
def who(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cast.Sender:
    use_settings(tmp_path)
    ledger.forget_words()
    monkeypatch.setattr(event_marks, "_HORIZON_MS", 0)
    monkeypatch.setattr(event_search, "_BUDGET_S", 60.0)
    found = cast.sender()
    for n in range(30):
        number, _ = message(found, subject=f"Order {n}", tags=["spring"])
        delivery = db.rows("SELECT id FROM delivery WHERE message_id = ?", (number,))[0][0]
        happen(found, number, EventKind.BOUNCED, delivery_id=delivery, mx="mx1.friends.test", reply="550 user unknown")
    search_index.run(5)
    search_index.run(5)
    number, _ = message(found, subject="The tail")
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """The statements that were read with, and their values."""
    seen: list[tuple[str, Any]] = []
    real = db.rows

    def rows(sql: str, params: Any = ()) -> list[tuple[Any, ...]]:
        seen.append((sql, params))
        return real(sql, params)

    monkeypatch.setattr(db, "rows", rows)
    yield seen
    monkeypatch.undo()


def explained(sql: str, params: Any) -> list[str]:
    """Steps that read a big table from end to end, or sort what an index has in order."""
    store = db.database.obj
    if store.dialect == "sqlite":
        steps = [row[3] for row in store.execute_sql("EXPLAIN QUERY PLAN " + sql, params).fetchall()]
        return [s for s in steps if s.startswith("SCAN") and s.split()[1] in (*BIG, "e", "m") and "USING" not in s]
    cursor = store.execute_sql(store.sql("EXPLAIN " + sql), params)
    names = [column[0] for column in cursor.description]
    steps = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [str(step) for step in steps if step["table"] in (*BIG, "e", "m") and step["type"] in ("ALL", "index")]


ASKED: dict[str, dict[str, Any]] = {
    "first page": {},
    "deep page": {"start": 25, "count": 5},
    "one kind": {"event": "delivery"},
    "kinds, deep": {"event": "bounce", "start": 20, "count": 5},
    "times": {"from_ms": 1, "to_ms": 2**41},
    "one word": {"query": "subject:order"},
    "two words": {"query": "subject:order subject:7"},
    "any field": {"query": "order tag:spring"},
    "recipient": {"query": "to:jane@friends.test"},
    "host": {"query": "mx:mx1.friends.test"},
    "response of a kind": {"query": "response:unknown", "event": "bounce"},
    "scan": {"query": "NOT order"},
}


@pytest.mark.parametrize("name", ASKED)
def test_events(who: cast.Sender, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, Any]], name: str) -> None:
    monkeypatch.setattr(events, "_SMALL", 0)
    page = events.search(caller=who.owner, domain_id=who.domain.id, **ASKED[name])
    assert page.rows or name == "one kind"
    check(asked)


def test_statistics(who: cast.Sender, asked: list[tuple[str, Any]]) -> None:
    days = statistics.period(None, None)
    statistics.of_domain(caller=who.owner, domain_id=who.domain.id, days=days)
    statistics.of_account(caller=who.owner, days=days)
    statistics.recipient_domains(caller=who.owner, domain_id=who.domain.id, days=days)
    for field in event_buckets.FIELDS:
        event_buckets.buckets(caller=who.owner, domain_id=who.domain.id, field=field, days=days)
    assert clock.now_ms()
    statistics.hours(caller=who.owner, domain_id=None, from_ms=None, to_ms=None)
    delivery_times.of_all()
    check(asked)


def test_the_feed(who: cast.Sender, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, Any]]) -> None:
    monkeypatch.setattr(event_feed, "HORIZON_MS", -1000)
    for event in ("", "open,bounce"):
        assert event_feed.read(caller=who.owner, event=event, count=5, since_ms=1).rows
    check(asked)


def test_what_runs_out_and_who_is_erased(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    db.in_transaction(lambda tx: tx.execute("UPDATE delivery SET state = 10, due_ms = NULL, lane_id = NULL"))
    erasures.begin(caller=who.owner, address="jane@friends.test")
    real, seen = db.rows, [0]

    def rows(sql: str, params: Any = ()) -> list[tuple[Any, ...]]:
        if any(f" {table}" in sql for table in BIG):  # before it takes out what it found
            assert explained(sql, params) == [], sql
            seen[0] += 1
        return real(sql, params)

    monkeypatch.setattr(db, "rows", rows)
    while erasures.collect()[1]:
        pass
    now_ms = clock.now_ms()
    monkeypatch.setattr(clock, "now_ms", lambda: now_ms + 100 * clock.DAY_MS)
    expired._Round.owner = None
    while expired.collect()[1]:
        pass
    assert seen[0] > 10


def check(asked: list[tuple[str, Any]]) -> None:
    statements = list(asked)
    assert statements
    for sql, params in statements:
        if any(f" {table}" in sql for table in BIG):
            assert explained(sql, params) == [], sql
