"""Reading events: order, paging, totals, filters and queries against a naive filter."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gateway import clock, errors
from gateway.mail.draft import Mailbox
from gateway.services import event_query, event_range, event_search, events, ledger, messages
from gateway.services.events import Page
from gateway.services.ledger import Fact
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.conftest import use_settings

pytestmark = pytest.mark.usefixtures("store")
DAY = clock.DAY_MS
NOON = 20_000 * DAY + DAY // 2  # 2024-10-04 12:00:00 UTC


@pytest.fixture
def who(store: str, tmp_path: Path) -> cast.Sender:
    use_settings(tmp_path)
    ledger.forget_words()
    return cast.sender()


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the clock."""

    def move(ms: int) -> None:
        monkeypatch.setattr(clock, "now_ms", lambda: ms)

    return move


def message(who: cast.Sender, **changed: Any) -> tuple[int, str]:
    uuid = messages.accept(who.caller, cast.draft(domain=who.domain.name, **changed)).message_id
    return int(db.rows("SELECT MAX(id) FROM message")[0][0]), uuid


def happen(who: cast.Sender, message_id: int, kind: EventKind, at_ms: int | None = None, **fields: Any) -> None:
    fact = Fact(
        who.owner.account_id,
        who.domain.id,
        kind,
        clock.now_ms() if at_ms is None else at_ms,
        message_id,
        **({"rcpt": "jane@friends.test"} | fields),
    )
    db.in_transaction(lambda tx: ledger.record(tx, [fact]))


def search(who: cast.Sender, **wanted: Any) -> Page:
    return events.search(caller=who.owner, domain_id=who.domain.id, **wanted)


def kinds(page: Page) -> list[EventKind]:
    return [row.kind for row in page.rows]


def test_newest_first_in_pages(who: cast.Sender) -> None:
    number, _ = message(who)
    for _ in range(6):
        happen(who, number, EventKind.OPENED)
    whole = search(who, count=100)
    assert whole.total == 7
    assert [row.id for row in whole.rows] == sorted((row.id for row in whole.rows), reverse=True)
    pages = [search(who, start=start, count=3) for start in range(0, 9, 3)]
    assert [row.id for page in pages for row in page.rows] == [row.id for row in whole.rows]
    assert {page.total for page in pages} == {7}
    assert search(who, start=7).rows == []
    assert search(who, start=10**18).total == 7
    assert search(who, count=0).rows == []


def test_at_most_a_hundred_at_once(who: cast.Sender) -> None:
    number, _ = message(who)
    for _ in range(105):
        happen(who, number, EventKind.OPENED)
    assert len(search(who, count=1000).rows) == 100


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("delivery", {EventKind.DELIVERED}), ("Delivered", {EventKind.DELIVERED}), ("open", {EventKind.OPENED}),
        ("opened", {EventKind.OPENED}), ("bounce", {EventKind.BOUNCED, EventKind.FAILED}),
        ("bounced", {EventKind.BOUNCED, EventKind.FAILED}), ("failed", {EventKind.BOUNCED, EventKind.FAILED}),
        ("accepted", {EventKind.ACCEPTED}), ("send", {EventKind.ACCEPTED}), ("accepted-by-smtp", {EventKind.ACCEPTED}),
        ("rejected", {EventKind.SUPPRESSED}), ("open, click", {EventKind.OPENED, EventKind.CLICKED}),
        ("unsubscribe", {EventKind.UNSUBSCRIBED}), ("complained", {EventKind.COMPLAINED}),
    ],
)  # fmt: skip
def test_filters_take_every_spelling(who: cast.Sender, word: str, found: set[EventKind]) -> None:
    number, _ = message(who)
    for kind in EventKind:
        if kind is not EventKind.ACCEPTED:
            happen(who, number, kind)
    page = search(who, event=word)
    assert set(kinds(page)) == found
    assert page.total == len(page.rows) == len(found)


def test_an_unknown_event_word_is_refused(who: cast.Sender) -> None:
    for word in ("nonsense", "open,nonsense", ","):
        with pytest.raises(errors.InvalidEvent):
            search(who, event=word)


def test_times_are_inclusive_and_totals_exact(who: cast.Sender, at: Any) -> None:
    at(NOON - 3 * DAY)
    number, _ = message(who)
    times = [NOON + day * DAY + ms for day in range(-2, 3) for ms in (-DAY // 2, -1, 0, 999, 1000, DAY // 2 - 1)]
    for time_ms in times:
        happen(who, number, EventKind.OPENED, time_ms)
    at(NOON + 3 * DAY)
    edges = [None, NOON - DAY - DAY // 2, NOON - 1, NOON, NOON + 1000, NOON + DAY // 2 - 1, NOON + DAY]
    for low, high in itertools.product(edges, edges):
        upper = high + 999 if high is not None and high % 1000 == 0 else high
        wanted = [t for t in times if (low is None or t >= low) and (upper is None or t <= upper)]
        page = search(who, from_ms=low, to_ms=high, event="open")
        assert page.total == len(wanted), (low, high)
        assert sorted(row.at_ms for row in page.rows) == sorted(wanted)


def test_the_id_range_of_a_large_domain(who: cast.Sender, at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_SMALL", 0)
    monkeypatch.setattr(event_range, "DISORDER_MS", 2000)
    monkeypatch.setattr(event_range, "_NEAR", 1)
    at(NOON - 5000)
    number, _ = message(who)
    times = sorted(NOON + 700 * n + (500 if n % 3 else -500) for n in range(60))
    for time_ms in times:
        happen(who, number, EventKind.OPENED, time_ms)
    for low, high in ((NOON + 10_001, NOON + 20_001), (NOON + 30_001, None), (None, NOON + 1), (NOON + 10**6, None)):
        wanted = [t for t in times if (low is None or t >= low) and (high is None or t <= high)]
        page = search(who, from_ms=low, to_ms=high, event="open")
        assert (page.total, sorted(row.at_ms for row in page.rows)) == (len(wanted), wanted)


def test_the_events_of_one_message(who: cast.Sender) -> None:
    (first, uuid), (second, _) = message(who), message(who)
    happen(who, first, EventKind.DELIVERED)
    happen(who, second, EventKind.DELIVERED)
    page = search(who, message_id=uuid.upper())
    assert (page.total, kinds(page)) == (2, [EventKind.DELIVERED, EventKind.ACCEPTED])
    assert search(who, message_id=uuid, event="delivered").total == 1
    assert search(who, message_id=uuid, query="order").total == 2
    for unknown in ("12345", str(clock.now_ms()), "0190aaaa-0000-7000-8000-000000000000"):
        assert search(who, message_id=unknown) == Page(0, [])


def test_strangers_see_nothing(who: cast.Sender) -> None:
    _, uuid = message(who)
    other = cast.sender("stranger", "other.test")
    with pytest.raises(errors.NotFound):
        events.search(caller=other.owner, domain_id=who.domain.id)
    for wanted in ({}, {"message_id": uuid}, {"query": "order"}):
        assert events.search(caller=other.owner, domain_id=other.domain.id, **wanted).total == 0


def test_a_query_answers_newest_message_first_with_its_events_in_order(who: cast.Sender) -> None:
    found = [message(who, subject=f"Order {n}") for n in range(3)]
    for number, _ in found:
        happen(who, number, EventKind.DELIVERED)
    page = search(who, query="subject:order")
    assert [str(row.message_uuid) for row in page.rows] == [uuid for _, uuid in reversed(found) for _ in range(2)]
    assert kinds(page) == [EventKind.ACCEPTED, EventKind.DELIVERED] * 3
    assert (page.total, page.partial) == (6, False)
    pages = [search(who, query="subject:order", start=n, count=1) for n in range(6)]
    assert [row.id for one in pages for row in one.rows] == [row.id for row in page.rows]
    assert {one.total for one in pages} == {6}


def test_a_query_that_cannot_be_parsed_is_never_all_rows(who: cast.Sender) -> None:
    message(who)
    for query in ("foo:bar", "(", '"', "AND", "***"):
        with pytest.raises(errors.InvalidQuery):
            search(who, query=query)
    assert search(who, query="   ").total == 1


def test_the_budget_ends_a_search_with_partial(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        message(who)
    monkeypatch.setattr(event_search, "_MESSAGES", 1)
    monkeypatch.setattr(event_search, "_BUDGET_S", 0.0)
    page = search(who, query="order")
    assert page.partial
    assert 0 < page.total < 4


def test_a_message_of_many_events_is_read_in_pieces(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_search, "_EVENTS", 3)
    for _ in range(2):
        number, _ = message(who)
        for _ in range(7):
            happen(who, number, EventKind.OPENED)
    page = search(who, query="order")
    assert page.total == 16
    assert len({row.id for row in page.rows}) == 16
    assert [row.message_id for row in page.rows] == sorted((row.message_id for row in page.rows), reverse=True)


_REPLIES = ("550 5.1.1 user unknown", "421 try later", "")
_QUERIES = (
    "subject:order", "subject:welcome", "tag:spring", "from:hello@shop.test", "to:jane@friends.test", "to:zoe*",
    "ip:192.0.2.7", "mx:mx1", "response:550", 'response:"user unknown"', "order", "NOT order", "welcome OR tag:spring",
    "to:jane@friends.test AND NOT response:550", "-tag:spring -ip:192.0.2.7", "(mx:mx1 OR ip:192.0.2.7) subject:order",
    "friends.test", "from:shop",
)  # fmt: skip


@examples(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_queries_equal_a_naive_filter(who: cast.Sender, data: st.DataObject) -> None:
    for table in ("event", "counter", "message", "delivery"):
        db.database.execute_sql(f"DELETE FROM {table}")
    for _ in range(data.draw(st.integers(1, 4))):
        number, _ = message(
            who,
            subject=data.draw(st.sampled_from(["Your order", "Welcome", "Order: welcome!"])),
            tags=data.draw(st.sampled_from([[], ["spring"], ["spring sale", "x"]])),
            to=[Mailbox("jane@friends.test"), Mailbox("zoe@friends.test")],
        )
        for _ in range(data.draw(st.integers(0, 4))):
            happen(
                who, number, data.draw(st.sampled_from([EventKind.DELIVERED, EventKind.BOUNCED, EventKind.OPENED])),
                rcpt=data.draw(st.sampled_from(["jane@friends.test", "zoe@friends.test"])),
                ip=data.draw(st.sampled_from(["", "192.0.2.7"])),
                mx=data.draw(st.sampled_from(["", "mx1.friends.test"])),
                reply=data.draw(st.sampled_from(_REPLIES)),
            )  # fmt: skip
    query = data.draw(st.sampled_from(_QUERIES))
    node = event_query.parse(query)
    everything = search(who, count=100).rows
    expected = [
        row.id
        for row in everything
        if node.judge(
            {
                "subject": [row.subject],
                "from": ["hello@shop.test", "The Shop"],
                "tag": row.tags,
                "to": [row.rcpt] if row.rcpt else ["jane@friends.test", "zoe@friends.test"],
                "ip": [row.ip] if row.ip else [],
                "mx": [row.mx] if row.mx else [],
                "response": [row.reply],
            }
        )
    ]
    page = search(who, query=query)
    assert sorted(row.id for row in page.rows) == sorted(expected)
    assert page.total == len(expected)
