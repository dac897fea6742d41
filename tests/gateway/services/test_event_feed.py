"""The feed: every event once, in order, while others write; and the second that a writer of events has."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from gateway import clock, errors
from gateway.services import event_feed, events, ledger
from gateway.services.ledger import Fact
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.test_events import happen, message

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def who(store: str, tmp_path: Path) -> cast.Sender:
    use_settings(tmp_path)
    ledger.forget_words()
    return cast.sender()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else writes: what is there may be shown."""
    monkeypatch.setattr(event_feed, "HORIZON_MS", -1000)


def walk(who: cast.Sender, count: int = 2, **wanted: object) -> list[tuple[int, int]]:
    """Ids and places, pulled piece by piece until there is no more."""
    found: list[tuple[int, int]] = []
    after = ""
    while True:
        piece = event_feed.read(caller=who.owner, after=after, count=count, **wanted)  # type: ignore[arg-type]
        found += [(row.id, place) for row, place in piece.rows]
        assert len(piece.rows) <= count
        after = piece.cursor
        if not piece.more:
            return found


@pytest.mark.usefixtures("at_once")
def test_all_events_of_the_account_once_oldest_first(who: cast.Sender) -> None:
    first, _ = message(who)
    second, _ = message(who)
    for number in (first, second, first):
        happen(who, number, EventKind.DEFERRED)
    happen(who, first, EventKind.DELIVERED, clock.now_ms() - 10 * clock.DAY_MS)  # told late
    stranger = cast.sender("stranger", "other.test")
    message(stranger)

    ids = [id_ for (id_,) in db.rows("SELECT id FROM event WHERE account_id = ? ORDER BY id", (who.owner.account_id,))]
    found = walk(who)
    assert [id_ for id_, _ in found] == ids
    assert [place for _, place in found] == [1, 1, 2, 2, 3, 4]
    assert walk(who, domain_id=who.domain.id) == walk(who, count=1000) == found
    assert walk(who, event="deferred") == [found[2], found[3], found[4]]
    assert walk(who, event="delivery,sent") == [found[0], found[1], found[5]]
    assert len(walk(stranger)) == 1


@pytest.mark.usefixtures("at_once")
def test_an_empty_piece_gives_back_its_place_and_goes_on(who: cast.Sender) -> None:
    begun = event_feed.read(caller=who.owner)
    assert (begun.rows, begun.more) == ([], False)
    number, _ = message(who)
    piece = event_feed.read(caller=who.owner, after=begun.cursor)
    assert [row.kind for row, _ in piece.rows] == [EventKind.ACCEPTED]
    again = event_feed.read(caller=who.owner, after=piece.cursor)
    assert (again.rows, again.cursor) == ([], piece.cursor)
    happen(who, number, EventKind.OPENED)
    assert [row.kind for row, _ in event_feed.read(caller=who.owner, after=piece.cursor).rows] == [EventKind.OPENED]


@pytest.mark.usefixtures("at_once")
def test_a_feed_may_begin_at_a_day(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now_ms()
    for days in (9, 6, 3):
        monkeypatch.setattr(clock, "now_ms", lambda days=days: now - days * clock.DAY_MS)
        message(who)
    assert len(walk(who, since_ms=now - 7 * clock.DAY_MS)) == 2
    assert len(walk(who, since_ms=now + clock.DAY_MS)) == 0
    assert len(walk(who, since_ms=0)) == 3


@pytest.mark.parametrize("after", ["1", "x", "é", "MQ==", "MQAAAAAAAAAB\n", "Mv________8", "MYAAAAAAAAAA"])
def test_a_cursor_that_is_none_is_refused(who: cast.Sender, after: str) -> None:
    with pytest.raises(errors.Invalid):
        event_feed.read(caller=who.owner, after=after)


def test_another_accounts_domain_is_absent(who: cast.Sender) -> None:
    with pytest.raises(errors.NotFound):
        event_feed.read(caller=cast.account("stranger"), domain_id=who.domain.id)


def test_what_is_young_waits_on_a_server(who: cast.Sender) -> None:
    message(who)
    shown = event_feed.read(caller=who.owner).rows
    assert len(shown) == (1 if db.dialect() == "sqlite" else 0)
    assert len(events.search(caller=who.owner, domain_id=who.domain.id).rows) == 1


def test_events_are_committed_within_a_second_or_written_again(
    who: cast.Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, _ = message(who)
    fact = Fact(who.owner.account_id, who.domain.id, EventKind.OPENED, clock.now_ms(), number, rcpt="a@friends.test")
    runs: list[int] = []
    monkeypatch.setattr(db, "_HASTE_S", 0.2)

    def work(tx: db.Transaction) -> None:
        runs.append(1)
        ledger.record(tx, [fact])
        if len(runs) < 3:
            time.sleep(0.4)

    db.in_transaction(work)
    assert len(runs) == 1 if db.dialect() == "sqlite" else len(runs) >= 3
    assert db.rows("SELECT COUNT(*) FROM event WHERE kind = ?", (int(EventKind.OPENED),)) == [(1,)]

    monkeypatch.setattr(db, "_HASTE_S", -1.0)
    if db.dialect() == "mysql":
        with pytest.raises(db.StoreUnavailable):
            db.in_transaction(lambda tx: ledger.record(tx, [fact]))
        assert db.rows("SELECT COUNT(*) FROM event WHERE kind = ?", (int(EventKind.OPENED),)) == [(1,)]
        db.in_transaction(lambda tx: tx.execute("SELECT 1"))  # one without events has all the time


def test_three_writers_and_a_reader(who: cast.Sender) -> None:
    """Writers commit late, out of order, some take theirs back, some tell of long ago: 0 left out, 0 twice."""
    number, _ = message(who)
    until = time.monotonic() + 5
    written = [0, 0, 0]
    failed: list[BaseException] = []

    def write(me: int) -> None:
        dice = random.Random(me)

        def work(tx: db.Transaction) -> None:
            old = clock.now_ms() - dice.choice((0, 3_600_000))
            facts = [
                Fact(who.owner.account_id, who.domain.id, EventKind.OPENED, old, number, rcpt=f"{me}@friends.test")
                for _ in range(dice.randint(1, 4))
            ]
            ledger._insert_events(tx, [
                (f.account_id, f.domain_id, int(f.kind), f.at_ms, f.message_id, None, f.rcpt, None, None, "", None)
                for f in facts
            ])  # fmt: skip
            time.sleep(dice.choice((0, 0, 0.001, 0.02, 0.3)) if db.dialect() == "mysql" else 0)
            if dice.random() < 0.1:
                raise InterruptedError
            written[me] += len(facts)

        try:
            while time.monotonic() < until:
                try:
                    db.in_transaction(work)
                except InterruptedError:
                    continue
                time.sleep(0.005)
        except BaseException as error:
            failed.append(error)
        finally:
            db.close()

    writers = [threading.Thread(target=write, args=(me,)) for me in range(3)]
    for writer in writers:
        writer.start()
    seen: list[int] = []
    after, rest = "", until + event_feed.HORIZON_MS / 1000 + 2
    while time.monotonic() < rest:
        piece = event_feed.read(caller=who.owner, after=after, count=50, event="open")
        seen += [row.id for row, _ in piece.rows]
        after = piece.cursor
        if not piece.more:
            time.sleep(0.02)
    for writer in writers:
        writer.join()
    assert failed == []
    there = [id_ for (id_,) in db.rows("SELECT id FROM event WHERE kind = ? ORDER BY id", (int(EventKind.OPENED),))]
    assert len(there) > 50
    assert seen == there
