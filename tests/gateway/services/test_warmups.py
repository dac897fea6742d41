"""Senders that begin small: what a day allows, through the whole engine, and how it grows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import time_machine

import models
from gateway import clock, errors
from gateway.dns import resolver as dns_resolver
from gateway.mail.draft import Mailbox
from gateway.services import deliveries, ledger, mailboxes, messages, warmup_plan, warmups
from gateway.services.ledger import Fact
from gateway.services.warmup_plan import Results
from models import database as db
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer
from tests.peers.smtp_sink import SmtpSink

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("limit", "used", "results", "wanted"),
    [
        (20, 20, Results(20, 20), 26),
        (20, 9, Results(9, 9), 20),  # too little was sent to learn from
        (900, 900, Results(900, 900), 1000),
        (100, 100, Results(100, 97, bounced=3), 100),
        (100, 100, Results(100, 94, bounced=6), 50),
        (100, 100, Results(100, 100, complained=1), 50),
        (2000, 2000, Results(2000, 2000, complained=3), 2000),
        (100, 100, Results(100, 100, deferred=20), 100),
        (20, 10, Results(10, 9, bounced=1), 26),  # one bounce of ten says little
        (30, 30, Results(30, 20, bounced=10), 20),
        (10, 10, Results(10, 9, complained=1), 10),
        (1, 1, Results(1, 1), 2),
    ],
)
def test_the_next_day(limit: int, used: int, results: Results, wanted: int) -> None:
    goal = max(1000, limit)
    assert warmup_plan.next_limit(limit=limit, used=used, goal=goal, results=results)[0] == wanted


def test_what_is_not_known_is_said_to_be() -> None:
    assert warmup_plan.health(Results()) is None
    assert warmup_plan.health(Results(100, 100)) == 100
    assert warmup_plan.health(Results(100, 90, bounced=10, complained=1)) == 10
    assert warmup_plan.inbox_at_least(Results(10, 10, opened=9)) is None
    assert warmup_plan.inbox_at_least(Results(100, 100)) is None
    assert warmup_plan.inbox_at_least(Results(100, 80, opened=20, replied=30)) == 0.375


@pytest.fixture
def sender(store: str) -> cast.Sender:
    found = cast.sender()
    mailboxes.add(caller=found.caller, address="hello")
    return found


def warm(sender: cast.Sender, first: int = 3, goal: int = 10) -> warmups.Warmup:
    return warmups.add(caller=sender.caller, address="hello", first=first, goal=goal)


def accept(sender: cast.Sender, count: int, **change: object) -> list[int]:
    for number in range(count):
        messages.accept(sender.caller, cast.draft(to=f"p{number}@far.test", **change))
    return [row.id for row in models.Delivery.select().order_by(models.Delivery.id)]


def test_places_are_given_once_and_exactly(sender: cast.Sender) -> None:
    made = warm(sender)
    first = warmups.grant(made.id, [1, 2])
    again = warmups.grant(made.id, [1, 2, 3, 4])
    assert (first.ids, again.ids, again.limit) == ({1, 2}, {1, 2, 3}, 3)
    got: list[set[int]] = []

    def ask(start: int) -> None:
        got.append(warmups.grant(other.id, list(range(start, start + 4))).ids)
        db.close()

    mailboxes.add(caller=sender.caller, address="sales")
    other = warmups.add(caller=sender.caller, address="sales", first=5, goal=10)
    threads = [threading.Thread(target=ask, args=(100 * n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(len, got)) == 5


def test_it_grows_with_good_days_and_ends_at_its_goal(sender: cast.Sender) -> None:
    with time_machine.travel(NOON, tick=False) as traveller:
        made = warm(sender, first=5, goal=9)
        ids = accept(sender, 40)
        limits = []
        for _ in range(4):
            granted = warmups.grant(made.id, ids)
            limits.append(len(granted.ids))
            traveller.shift(86_400)
        # 5, then 7, then 9, which is the goal: after one good day of that it is over.
        assert limits == [5, 12, 21, 40]
        (shown,) = warmups.list_(caller=sender.caller)
        assert shown.warmup.done_ms is not None
        assert [(limit, used) for _, limit, used in shown.past] == [(9, 9), (7, 7), (5, 5)]
        assert warmups.add(caller=sender.caller, address="hello", first=1, goal=5).day_limit == 1  # begun anew


def test_complaints_make_it_small_again(sender: cast.Sender) -> None:
    with time_machine.travel(NOON, tick=False) as traveller:
        made = warm(sender, first=30, goal=100)
        ids = accept(sender, 30)
        warmups.grant(made.id, ids)
        row = models.Delivery.get_by_id(ids[0])
        fact = Fact(
            row.account_id, row.domain_id, EventKind.COMPLAINED, clock.now_ms(), row.message_id, row.id, row.rcpt
        )
        db.in_transaction(lambda tx: ledger.record(tx, [fact]))
        traveller.shift(86_400)
        (shown,) = warmups.list_(caller=sender.caller, address="hello@shop.test")
        assert (shown.warmup.day_limit, shown.warmup.used) == (20, 0)
        assert "1 complained" in shown.warmup.reason
        assert (shown.recent.sent, shown.recent.complained, shown.today.sent) == (30, 1, 0)


def test_who_may_be_warmed_up(sender: cast.Sender) -> None:
    warm(sender)
    stranger = cast.sender("stranger", "other.test")
    with pytest.raises(errors.WarmupExists):
        warm(sender)
    for address in ("nobody", "hello@other.test"):
        with pytest.raises(errors.NoSuchMailbox):
            warmups.add(caller=sender.caller, address=address)
    with pytest.raises(errors.Invalid):
        warmups.add(caller=sender.caller, address="hello", first=5, goal=4)
    assert warmups.list_(caller=stranger.caller) == []
    with pytest.raises(errors.NoSuchMailbox):
        warmups.end(caller=stranger.caller, address="hello")
    assert [one.name for one in warmups.list_(caller=sender.owner)] == ["hello@shop.test"]
    warmups.end(caller=sender.caller, address="hello")
    with pytest.raises(errors.NotFound):
        warmups.end(caller=sender.caller, address="hello")


# --- through the engine ----------------------------------------------------------------------


@pytest.fixture
def dns(sender: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> Iterator[DnsServer]:
    monkeypatch.setattr(dns_resolver, "_used", None)
    with DnsServer(ttl=60) as server:
        yield server


@pytest.fixture
def far(dns: DnsServer, tmp_path: Path) -> Iterator[SmtpSink]:
    """Direct delivery from one source address to the exchangers of two domains under one name, and of a third."""
    with SmtpSink(host="127.0.3.1") as sink:
        use_settings(
            tmp_path, DELIVERY="direct", DNS=dns.address, MX_PORT=str(sink.port), DELIVERY_ALLOW="127.0.0.0/8",
            MTA_STS="0", SOURCE_ADDRESSES="127.0.0.1",
        )  # fmt: skip
        for domain, host in (
            ("far.test", "mx1.host.test"),
            ("other.test", "mx2.host.test"),
            ("third.test", "mx.x.test"),
        ):
            dns.add(domain, "MX", f"10 {host}")
            dns.add(host, "A", sink.host)
        yield sink
        deliveries.close()


def work(until: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it never came to that"
        deliveries.drain(0.1)


def states() -> dict[int, int]:
    found: dict[int, int] = {}
    for row in models.Delivery.select():
        found[row.state] = found.get(row.state, 0) + 1
    return found


def settled() -> bool:
    now = clock.now_ms()
    rows = list(models.Delivery.select().where(models.Delivery.due_ms.is_null(False)))
    return all(row.due_ms > now + 60_000 for row in rows) and not any(r.state == DeliveryState.CLAIMED for r in rows)


@pytest.mark.journey
def test_a_mailbox_sends_what_the_day_allows_and_others_are_not_held(far: SmtpSink, sender: cast.Sender) -> None:
    warm(sender, first=3, goal=10)
    accept(sender, 8)
    sales = replace(cast.draft(to="q@far.test"), sender=Mailbox("sales@shop.test"))
    messages.accept(sender.caller, sales)
    work(settled)
    assert states() == {DeliveryState.DELIVERED: 4, DeliveryState.QUEUED: 5}
    waiting = models.Delivery.select().where(models.Delivery.state == DeliveryState.QUEUED)
    tomorrow = (clock.day_number(clock.now_ms()) + 1) * clock.DAY_MS
    for row in waiting:
        verdict = orjson.loads(row.waiting)
        assert (verdict["gate"], verdict["rule"], verdict["until_ms"]) == ("shaping", "warmup", tomorrow)
        assert "warm-up of hello@shop.test" in verdict["cause"]
        assert tomorrow <= row.due_ms <= tomorrow + 3_600_000
    (shown,) = warmups.list_(caller=sender.caller)
    assert (shown.warmup.used, shown.today.delivered) == (3, 3)
    # The same again, as if it were tomorrow: only who has no place yet needs one.
    models.Warmup.update(day=models.Warmup.day - 1).execute()
    models.Delivery.update(due_ms=clock.now_ms()).where(models.Delivery.state == DeliveryState.QUEUED).execute()
    work(settled)
    assert states() == {DeliveryState.DELIVERED: 8, DeliveryState.QUEUED: 1}  # 3 grew to 4


@pytest.mark.journey
def test_a_source_address_begins_small_with_each_provider(far: SmtpSink, sender: cast.Sender) -> None:
    warmups.add_source(address="127.0.0.1", first=2, goal=10)
    addresses = [f"p{n}@{domain}" for n in range(3) for domain in ("far.test", "other.test", "third.test")]
    messages.accept(sender.caller, cast.draft(to=[Mailbox(address) for address in addresses]))
    work(settled)
    assert states() == {DeliveryState.DELIVERED: 4, DeliveryState.QUEUED: 5}
    rows = {one.warmup.provider: one.warmup.used for one in warmups.list_sources()}
    assert rows == {"": 0, "host.test": 2, "x.test": 2}
    warmups.end_source(address="127.0.0.1")
    time.sleep(2.1)  # what a process knows of it is so old at most
    models.Delivery.update(due_ms=clock.now_ms()).where(models.Delivery.state == DeliveryState.QUEUED).execute()
    work(settled)
    assert states() == {DeliveryState.DELIVERED: 9}
