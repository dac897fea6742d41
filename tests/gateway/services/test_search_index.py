"""The search index: answers equal a naive filter however much of it is written, and it never loses an event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gateway import clock, errors
from gateway.mail.draft import Mailbox
from gateway.services import (
    event_marks,
    event_query,
    event_search,
    event_texts,
    events,
    ledger,
    search_index,
    search_plan,
)
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.test_events import happen, message, search

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def who(store: str, tmp_path: Path) -> cast.Sender:
    use_settings(tmp_path)
    ledger.forget_words()
    return cast.sender()


@pytest.fixture
def all_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was seen is old enough, so that one run indexes what the last one saw."""
    monkeypatch.setattr(event_marks, "_HORIZON_MS", 0)
    monkeypatch.setattr(search_index, "_GAP", 0.0)


def index() -> None:
    """Twice: on a server the first run only notes how far the events go."""
    search_index.run(5)
    search_index.run(5)


def forget_index() -> None:
    for table in ("search_term", "search_mark"):
        db.database.execute_sql(f"DELETE FROM {table}")


def naive(who: cast.Sender, query: str, kinds: tuple[EventKind, ...] = ()) -> list[int]:
    """Ids in the order of a query, judged over every event of the domain."""
    node = event_query.parse(query)
    found = []
    for id_, kind, message_id, *columns in db.rows(
        f"SELECT e.id, e.kind, e.message_id, m.subject, m.from_addr, m.tags, m.headers, {event_texts.EVENT_COLUMNS}"
        f" FROM event e JOIN message m ON m.id = e.message_id {event_texts.EVENT_JOINS} WHERE e.domain_id = ?",
        (who.domain.id,),
    ):
        texts, headers = event_texts.of_message(*columns[:4])
        if (not kinds or kind in kinds) and node.judge(texts | event_texts.of_event(columns[4:], headers)):
            found.append((-message_id, id_))
    return [id_ for _, id_ in sorted(found)]


QUERIES = (
    "subject:order", "subject:your", "subject:order*", 'subject:"your order"', "tag:spring", 'tag:"spring sale"',
    "from:hello@shop.test", "from:shop", "from:hello", "to:jane@friends.test", "to:jane", "to:zoe*", "to:test",
    "ip:192.0.2.7", "ip:192.0.2", "mx:mx1", "mx:friends.test", "mx:nowhere", "response:550", 'response:"user unknown"',
    "response:queue7x8y9z10", "response:250", "response:5.1.1", "order", "jane", "friends.test", "mx1", "550", "the",
    "NOT order", "welcome OR tag:spring", "order OR NOT welcome", "to:jane@friends.test AND NOT response:550",
    "-tag:spring -ip:192.0.2.7", "(mx:mx1 OR ip:192.0.2.7) subject:order", "order welcome", "zoe order",
    "to:bcc@hidden.test", "to:bcc order", "subject:nothing OR to:nobody", "tag:x subject:welcome",
    "subject:order NOT tag:x", "order -subject:welcome -tag:spring", "to:zoe* NOT subject:order", "-tag:x mx:mx1",
    "subject:order NOT subject:the", "welcome NOT subject:order*",
)  # fmt: skip
KINDS = (
    ("", ()),
    ("bounce", (EventKind.BOUNCED, EventKind.FAILED)),
    ("delivery", (EventKind.DELIVERED,)),
    ("open", (EventKind.OPENED,)),
)


def draw_world(who: cast.Sender, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        number, _ = message(
            who,
            subject=data.draw(st.sampled_from(["Your order", "Welcome", "Order: welcome to the shop!", "550 mx1"])),
            tags=data.draw(st.sampled_from([[], ["spring"], ["spring sale", "x"]])),
            to=[Mailbox("jane@friends.test"), Mailbox("zoe.order@friends.test")][: data.draw(st.integers(1, 2))],
            bcc=[Mailbox("bcc@hidden.test")],
        )
        deliveries = db.rows("SELECT id, rcpt FROM delivery WHERE message_id = ?", (number,))
        for _ in range(data.draw(st.integers(0, 4))):
            delivery_id, rcpt = data.draw(st.sampled_from([*deliveries, (None, "jane@friends.test")]))
            kind = data.draw(st.sampled_from([EventKind.DELIVERED, EventKind.BOUNCED, EventKind.OPENED]))
            bad = kind is EventKind.BOUNCED
            happen(
                who, number, kind, delivery_id=delivery_id, rcpt=rcpt,
                ip=data.draw(st.sampled_from(["", "192.0.2.7"])),
                mx=data.draw(st.sampled_from(["", "mx1.friends.test", "mx2.friends.test"])),
                reply=data.draw(st.sampled_from(["550 5.1.1 user unknown", "421 try later"])) if bad else "",
                data={"code": 550, "reason": "550 5.1.1 user unknown in queue7x8y9z10"} if bad else {"code": 250},
            )  # fmt: skip


@pytest.mark.usefixtures("all_old")
@examples(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_indexed_search_equals_a_naive_filter(
    who: cast.Sender, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    for table in ("event", "counter", "facet", "message", "delivery"):
        db.database.execute_sql(f"DELETE FROM {table}")
    forget_index()
    monkeypatch.setattr(event_search, "_BUDGET_S", 60.0)
    draw_world(who, data)
    if data.draw(st.booleans()):
        index()
        draw_world(who, data)  # the tail
        if data.draw(st.booleans()):
            index()
    for query in QUERIES:
        for word, kinds in KINDS:
            expected = naive(who, query, kinds)
            page = search(who, query=query, event=word)
            assert [row.id for row in page.rows] == expected, (query, word)
            assert (page.total, page.partial) == (len(expected), False), (query, word)
    assert [row.id for row in search(who, query="order", start=1, count=2).rows] == naive(who, "order")[1:3]


@pytest.mark.usefixtures("all_old")
def test_small_blocks_and_cursors_find_the_same(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(12):
        number, _ = message(who, subject=f"Order {n % 3}", tags=["spring"] if n % 2 else [])
        for _ in range(3):
            happen(who, number, EventKind.OPENED, ip="192.0.2.7" if n % 4 else "")
        if n == 8:
            index()
    monkeypatch.setattr(event_search, "_BUDGET_S", 60.0)
    for name in ("_FIRST", "_MESSAGES", "_LOOKED"):
        monkeypatch.setattr(event_search, name, 2)
    monkeypatch.setattr(event_search, "_EVENTS", 3)
    queries = ("order", "subject:order tag:spring", "ip:192.0.2.7", "NOT tag:spring", "1 OR tag:spring", "order NOT 1")
    for query in queries:
        assert [row.id for row in search(who, query=query).rows] == naive(who, query)
    monkeypatch.setattr(event_search, "_BUDGET_S", 0.0)
    for query in queries:
        found: list[int] = []
        cursor, partial, pages = "", True, 0
        while partial:
            page = search(who, query=query, count=5, cursor=cursor)
            found += [row.id for row in page.rows]
            cursor, partial, pages = page.cursor, page.partial, pages + 1
            assert pages < 50
        assert found == naive(who, query), query
        assert pages > 1


@pytest.mark.usefixtures("all_old")
def test_an_export_has_every_event_once(who: cast.Sender) -> None:
    for n in range(7):
        number, _ = message(who, subject=f"Order {n}")
        happen(who, number, EventKind.OPENED)
    index()
    for query in ("", "order"):
        for event in ("", "open"):
            found: list[int] = []
            cursor = ""
            while True:
                rows, cursor = events.export(
                    caller=who.owner, domain_id=who.domain.id, count=3, query=query, event=event, cursor=cursor
                )
                found += [row.id for row in rows]
                if not cursor:
                    break
            whole = [row.id for row in search(who, query=query, event=event).rows]
            assert found == whole
            assert len(found) == (7 if event else 14)


def test_a_foreign_cursor_is_refused(who: cast.Sender) -> None:
    for cursor in ("x", "1", "1-2-3", "-1-2", "1-" + "9" * 30):
        with pytest.raises(errors.Invalid):
            search(who, query="order", cursor=cursor)


@pytest.mark.usefixtures("all_old")
def test_the_total_of_sure_matches_is_counted_without_reading_them(who: cast.Sender) -> None:
    for _ in range(5):
        number, _ = message(who)
        happen(who, number, EventKind.OPENED)
    index()
    for start in range(11):
        page = search(who, query="subject:order", start=start, count=2)
        assert page.total == 10
        assert [row.id for row in page.rows] == naive(who, "subject:order")[start : start + 2]


@pytest.mark.usefixtures("all_old")
def test_the_index_is_written_once_and_may_be_written_twice(who: cast.Sender) -> None:
    message(who)
    index()
    terms = db.rows("SELECT domain_id, term, message_id, delivery_id FROM search_term ORDER BY 1, 2, 3, 4")
    assert terms
    assert search_index.run(1) == 0
    db.database.execute_sql("UPDATE search_mark SET event_id = 0")
    index()
    assert db.rows("SELECT domain_id, term, message_id, delivery_id FROM search_term ORDER BY 1, 2, 3, 4") == terms


@pytest.mark.usefixtures("all_old")
def test_one_indexer_works_at_a_time(who: cast.Sender) -> None:
    message(who)
    index()
    message(who)
    db.database.execute_sql("UPDATE search_mark SET lease_ms = ?".replace("?", str(clock.now_ms() + 60_000)))
    mark = search_index.indexed_to()
    index()
    assert search_index.indexed_to() == mark
    db.database.execute_sql("UPDATE search_mark SET lease_ms = 0")
    index()
    assert search_index.indexed_to() > mark


def test_a_server_s_events_are_indexed_only_once_all_earlier_ones_are_there(
    who: cast.Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    if db.dialect() == "sqlite":
        pytest.skip("one writer: ids follow the commits")
    now = clock.now_ms()
    monkeypatch.setattr(clock, "now_ms", lambda: now)
    message(who)
    last = db.rows("SELECT MAX(id) FROM event")[0][0]
    assert search_index.run(1) == 0
    now += 2999
    message(who)
    assert search_index.run(1) == 0
    now += 2
    assert search_index.run(1) == 1
    assert search_index.indexed_to() == last


def plan(who: cast.Sender, query: str) -> search_plan.Plan | None:
    return search_plan.make(who.domain.id, ("shop", "test"), event_query.parse(query), ())


def test_what_the_index_cannot_narrow_has_no_plan(who: cast.Sender) -> None:
    for query in (
        "to:zoe*",
        "NOT order",
        "from:shop",
        "subject:the",
        "response:250",
        "order OR NOT x",
        "to:com",
        "the",
    ):
        assert plan(who, query) is None, query
    for query in ("order", "to:zoe* order", "order NOT x", "tag:the", "to:jane.x*", "shop.example subject:order"):
        assert plan(who, query) is not None, query


@pytest.mark.usefixtures("all_old")
def test_a_long_tail_is_said_to_be_partial(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_search, "_TAIL", 2)
    for _ in range(4):
        message(who)
    assert search(who, query="order").partial
    index()
    page = search(who, query="order")
    assert (page.total, page.partial) == (4, False)


def test_strangers_share_no_terms(who: cast.Sender, all_old: None) -> None:
    message(who)
    other = cast.sender("stranger", "other.test")
    index()
    page: Any = events.search(caller=other.owner, domain_id=other.domain.id, query="order")
    assert page.total == 0
