"""Shaping through the whole engine, with servers and DNS on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

import models
from gateway import clock
from gateway.dns import mx_groups
from gateway.dns import resolver as dns_resolver
from gateway.mail.draft import Mailbox
from gateway.services import breaker, deliveries, journal, messages, shaping
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import ROOT, use_settings
from tests.peers.dns_server import DnsServer
from tests.peers.smtp_sink import SmtpSink, say

_STALLED = """
import time
from cli import opening
from gateway.services import deliveries, outcomes

def stall(done):
    print("answered", flush=True)
    time.sleep(600)

outcomes.apply = stall
with opening.store():
    deliveries.drain(0.1)
    time.sleep(600)
"""
"""A worker that stands still between the answer of the remote and its database."""

TSS04 = "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints"


@pytest.fixture
def dns(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DnsServer]:
    monkeypatch.setattr(dns_resolver, "_used", None)
    with DnsServer(ttl=60) as server:
        yield server


@pytest.fixture
def far(dns: DnsServer, tmp_path: Path) -> Iterator[SmtpSink]:
    """The server of `far.test` and `other.test`, through exchangers under one name; a few domains have `near`'s."""
    with SmtpSink(host="127.0.3.1") as sink:
        use_settings(
            tmp_path, DELIVERY="direct", DNS=dns.address, MX_PORT=str(sink.port), DELIVERY_ALLOW="127.0.0.0/8",
            MTA_STS="0",
        )  # fmt: skip
        for number, domain in enumerate(("far.test", "other.test"), 1):
            dns.add(domain, "MX", f"10 mx{number}.host.test")
            dns.add(f"mx{number}.host.test", "A", sink.host)
        yield sink
        deliveries.close()


@pytest.fixture
def near(dns: DnsServer, far: SmtpSink) -> Iterator[SmtpSink]:
    with SmtpSink(host="127.0.3.2", port=far.port) as sink:
        dns.add("near.test", "MX", "10 mx.near.test")
        dns.add("mx.near.test", "A", sink.host)
        yield sink


def _work(until: Callable[[], object], seconds: float = 30.0) -> None:
    """Deliver until something is so."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it never came to that"
        deliveries.drain(0.1)


def _send(who: cast.Sender, *addresses: str) -> None:
    for start in range(0, len(addresses), 50):
        to = [Mailbox(address) for address in addresses[start : start + 50]]
        messages.accept(who.caller, cast.draft(to=to))


def _rows(like: str = "%") -> list[models.Delivery]:
    return list(models.Delivery.select().where(models.Delivery.rcpt**like).order_by(models.Delivery.id))


def _waiting(like: str = "%") -> list[models.Delivery]:
    return [row for row in _rows(like) if row.waiting is not None]


def _many(count: int, domain: str = "far.test", name: str = "r") -> list[str]:
    return [f"{name}{n}@{domain}" for n in range(count)]


def test_a_reply_pauses_the_group_and_its_row_says_so(far: SmtpSink, near: SmtpSink) -> None:
    far.always("mail", say(TSS04))
    who = cast.sender()
    _send(who, "a@far.test")
    _work(lambda: shaping.active())
    (limit,) = shaping.active()
    assert (limit.scope, limit.target, limit.kind, limit.rule) == ("mx", "host.test", "pause", "yahoo.tss04")
    assert "[TSS04]" in limit.cause
    tried = far.connections
    _send(who, *_many(30), "b@other.test", "c@near.test")
    _work(lambda: len(_waiting()) == 31 and near.count == 1)
    # The other domain behind the same exchangers waits too, the one elsewhere does not.
    for row in _waiting():
        verdict = orjson.loads(row.waiting)
        assert (verdict["gate"], verdict["limit"], verdict["cause"]) == ("shaping", limit.id, limit.cause)
        assert verdict["until_ms"] == limit.until_ms
        assert (row.state, row.attempts) == (DeliveryState.QUEUED, 0)
        assert clock.now_ms() < row.due_ms <= clock.now_ms() + shaping.STEP_MS
    assert far.connections == tried
    assert models.Event.select().where(models.Event.kind == EventKind.QUEUED).count() == 0
    # A new process obeys what the last one learned.
    deliveries.close()
    models.Delivery.update(due_ms=1).where(models.Delivery.waiting.is_null(False)).execute()
    _work(lambda: all(row.due_ms > 1 for row in _waiting()) and len(_waiting()) == 31)
    assert far.connections == tried
    # Canceled, it holds nothing any more.
    far.behave()
    assert shaping.cancel(caller=None, limit_id=limit.id) == 31
    _work(lambda: {row.state for row in _rows("%@far.test")[1:]} == {DeliveryState.DELIVERED})
    assert far.count == 31


def test_a_pinned_limit_holds_beyond_its_end(far: SmtpSink) -> None:
    limit = shaping.add(caller=None, scope="mx", target="host.test", kind="pause", minutes=1)
    shaping.pin(caller=None, limit_id=limit.id)
    models.Limit.update(until_ms=clock.now_ms() - 1).execute()
    _send(cast.sender(), "a@far.test")
    _work(lambda: _waiting())
    assert far.connections == 0
    shaping.pin(caller=None, limit_id=limit.id, pinned=False)
    models.Delivery.update(due_ms=1).execute()
    _work(lambda: far.count == 1)


def test_a_limit_of_one_domain_leaves_the_others_behind_the_same_hosts(far: SmtpSink) -> None:
    shaping.add(caller=None, scope="domain", target="far.test", kind="pause")
    _send(cast.sender(), "a@far.test", "b@other.test")
    _work(lambda: far.count == 1 and _waiting())
    assert [row.rcpt for row in _waiting()] == ["a@far.test"]


def test_what_waits_for_a_limit_fails_when_its_time_is_used_up(far: SmtpSink) -> None:
    shaping.add(caller=None, scope="mx", target="host.test", kind="pause", cause="they asked for it")
    _send(cast.sender(), "a@far.test")
    soon = clock.now_ms() + 60_000
    models.Delivery.update(expires_ms=soon).execute()
    _work(lambda: _waiting())
    assert models.Delivery.get().due_ms <= soon
    models.Delivery.update(expires_ms=1, due_ms=1).execute()
    _work(lambda: models.Delivery.get().state == DeliveryState.FAILED)
    event = models.Event.get(models.Event.kind == EventKind.FAILED)
    assert orjson.loads(event.data)["reason"] == "its time was used up: they asked for it"


def test_a_limit_reaches_what_is_in_memory_already(far: SmtpSink) -> None:
    far.always("end", say("250 2.0.0 ok", pause=0.5))
    _send(cast.sender(), *_many(40))
    _work(lambda: far.count >= 1)
    shaping.add(caller=None, scope="mx", target="host.test", kind="pause")
    made = time.monotonic()
    _work(lambda: deliveries.engine().wait_idle(0.05))
    assert time.monotonic() - made < 8
    assert len(_waiting()) == 40 - far.count > 20


def test_a_rate_is_kept(far: SmtpSink) -> None:
    shaping.add(caller=None, scope="mx", target="host.test", kind="rate", value=120)  # of two processes: one a second
    _send(cast.sender(), *_many(20))
    end = time.monotonic() + 4
    _work(lambda: time.monotonic() > end)
    assert 2 <= far.count <= 8
    assert _waiting()


def test_a_new_destination_begins_with_one_connection_and_earns_more(far: SmtpSink) -> None:
    far.always("end", say("250 2.0.0 ok", pause=0.15))
    _send(cast.sender(), *_many(60))
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            seen.append(far.open_connections)
            if len(far.transactions) < 1:
                assert seen[-1] <= 1
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _work(lambda: far.count == 60)
    finally:
        ended.set()
        watcher.join()
    grown = [n for at, n in enumerate(seen) if at == 0 or n != seen[at - 1]]
    assert grown[:3] == [0, 1, 2] or grown[:2] == [1, 2]
    assert 3 <= max(seen) <= 5  # ten of an installation with two processes


def test_a_receiver_gets_as_many_messages_on_a_connection_as_it_wants(
    far: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mx_groups.MANNERS, "host.test", mx_groups.Manners(2, 5))
    _send(cast.sender(), *_many(30))
    _work(lambda: far.count == 30)
    assert max(Counter(one.connection for one in far.messages).values()) == 5
    assert far.connections >= 6


def test_after_421_it_goes_on_with_fewer(far: SmtpSink) -> None:
    far.always("end", say("250 2.0.0 ok", pause=0.1))
    who = cast.sender()
    _send(who, *_many(60))
    _work(lambda: far.count == 60)
    (place,) = deliveries.engine()._dispatcher._table.known.values()
    before = place.connections()
    assert before >= 3
    far.always("mail", say("421 4.3.2 not now"))
    _send(who, "a@far.test")
    _work(lambda: models.Attempt.select().where(models.Attempt.code == 421).count() == 1)
    assert place.connections() == before // 2


def test_too_many_connections_are_fewer_for_all_processes(far: SmtpSink) -> None:
    far.script("mail", say("421 4.7.0 Error: too many connections from 192.0.2.1"))
    _send(cast.sender(), "a@far.test")
    _work(lambda: shaping.active())
    (limit,) = shaping.active()
    assert (limit.kind, limit.value, limit.rule) == ("connections", 1, "connections")


def test_slow_dns_of_one_domain_holds_no_other(far: SmtpSink, dns: DnsServer) -> None:
    dns.silence("slow.test")
    _send(cast.sender(), *_many(200, "slow.test"), *_many(10))
    started = time.monotonic()
    _work(lambda: far.count == 10)
    assert time.monotonic() - started < 4.5  # before that one question is given up
    assert "being looked up" in orjson.loads(_waiting("%@slow.test")[0].waiting)["cause"]


class TestBreaker:
    def _surge(self, far: SmtpSink) -> cast.Sender:
        """A good past, then every recipient refused as unknown: what a broken directory at their end looks like."""
        who = cast.sender()
        _send(who, *_many(60))
        _work(lambda: far.count == 60)
        far.always("rcpt", say("550 5.1.1 no such user"))
        _send(who, *_many(150, name="s"))
        _work(lambda: [limit for limit in shaping.active() if limit.rule == breaker.RULE])
        return who

    def test_a_surge_is_paused_and_suppresses_nobody(self, far: SmtpSink) -> None:
        self._surge(far)
        (limit,) = shaping.active()
        assert (limit.target, limit.kind, limit.origin) == ("host.test", "pause", "auto")
        assert "of the last 50 messages were refused" in limit.cause and "550 5.1.1 no such user" in limit.cause
        assert limit.until_ms is not None
        assert 200_000 < limit.until_ms - clock.now_ms() <= 300_000
        _work(lambda: deliveries.engine().wait_idle(0.05))
        states = [row.state for row in _rows("s%")]
        assert states.count(DeliveryState.BOUNCED) <= 40
        assert states.count(DeliveryState.QUEUED) == 150 - states.count(DeliveryState.BOUNCED)
        assert models.Suppression.select().count() == 0
        undo = models.SuppressionUndo.get()
        assert undo.removed >= 4 and undo.by_whom == "breaker:host.test"

    def test_probes_decide_whether_it_goes_on(self, far: SmtpSink) -> None:
        self._surge(far)
        (limit,) = shaping.active()
        _work(lambda: deliveries.engine().wait_idle(0.05))
        left = len(_waiting("s%"))
        # Still refusing: a few probes, and it is paused again, for longer.
        models.Limit.update(until_ms=clock.now_ms() - 1).execute()
        models.Delivery.update(due_ms=1).where(models.Delivery.waiting.is_null(False)).execute()
        _work(lambda: shaping.active())
        (again,) = shaping.active()
        assert again.until_ms is not None and again.until_ms - clock.now_ms() > 400_000
        assert "still refuses" in again.cause
        _work(lambda: deliveries.engine().wait_idle(0.05))
        assert left - 6 <= len(_waiting("s%")) < left
        # Well again: the operator ends the pause, and everything goes.
        far.behave()
        shaping.cancel(caller=None, limit_id=again.id)
        _work(lambda: not [row for row in _rows("s%") if row.state < DeliveryState.DELIVERED], 60)
        assert not shaping.active()
        assert limit.id != again.id or limit.cause
        assert models.Suppression.select().count() == 0

    def test_a_refusal_that_is_written_after_the_undo_suppresses_nobody(
        self, far: SmtpSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first refusal of the surge is held up on its way to the database until the others are taken back."""
        held: list[tuple[int, int]] = []
        undone = threading.Event()
        answered = journal.Journal.answered

        def slow(self: journal.Journal, pair: tuple[int, int], outcome: bytes) -> None:
            if b"5.1.1" in outcome and not held:
                held.append(pair)
                undone.wait(20)
            answered(self, pair, outcome)

        monkeypatch.setattr(journal.Journal, "answered", slow)
        self._surge(far)
        _work(_undone)
        assert models.Suppression.select().count() == 0
        undone.set()
        _work(lambda: models.Delivery.get_by_id(held[0][0]).state == DeliveryState.BOUNCED)
        assert [row.address for row in models.Suppression.select()] == []

    def test_a_refusal_that_a_killed_process_knew_of_suppresses_nobody_after_the_undo(
        self, far: SmtpSink, dns: DnsServer, store_url: str, tmp_path: Path
    ) -> None:
        who = cast.sender()
        _send(who, *_many(60))
        _work(lambda: far.count == 60)
        far.always("rcpt", say("550 5.1.1 no such user"))
        _send(who, "late@far.test")
        environment = os.environ | {
            "PYTHONPATH": str(ROOT), "COMMANDPOST_DATA": str(tmp_path), "COMMANDPOST_DATABASE_URL": store_url,
            "COMMANDPOST_SECRET": "a-secret-for-tests", "COMMANDPOST_HOSTNAME": "mx.gateway.test",
            "COMMANDPOST_DELIVERY": "direct", "COMMANDPOST_DELIVERY_ALLOW": "127.0.0.0/8",
            "COMMANDPOST_DNS": dns.address, "COMMANDPOST_MX_PORT": str(far.port), "COMMANDPOST_MTA_STS": "0",
        }  # fmt: skip
        other = subprocess.Popen([sys.executable, "-c", _STALLED], env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "answered\n"
            _send(who, *_many(150, name="s"))
            _work(_undone)
            assert models.Suppression.select().count() == 0
        finally:
            other.kill()
            other.communicate()
        _work(lambda: _rows("late@far.test")[0].state == DeliveryState.BOUNCED)
        assert [row.address for row in models.Suppression.select()] == []

    def test_what_was_being_written_while_it_was_taken_back_is_taken_back_too(self, far: SmtpSink) -> None:
        """As by another process whose transaction began before the pause was there."""
        who = self._surge(far)
        _work(_undone)
        models.Suppression.create(
            account_id=who.owner.account_id, domain_id=0, address="x@far.test", reason="bounce", rule="bounce:5.1.1",
            mx="mx1.host.test", created_ms=clock.now_ms(),
        )  # fmt: skip
        _work(lambda: not models.Suppression.select().count(), 10)


def _undone() -> bool:
    return models.SuppressionUndo.select().where(models.SuppressionUndo.ended_ms.is_null(False)).count() > 0
