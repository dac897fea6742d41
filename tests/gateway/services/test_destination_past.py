"""The roll-up of destinations by minute, and who counts as delivering: shared by processes and hosts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import models
from gateway import clock, config
from gateway.mail.draft import Mailbox
from gateway.services import breaker, deliveries, destination_past, health, housekeeping, messages, scratchpad, shaping
from gateway.services.breaker import Minute
from models import database as db
from models.vocabulary import DeliveryState
from tests import cast
from tests.cli.installation import wait_for
from tests.conftest import use_settings
from tests.peers.smtp_sink import SmtpSink, say

from tests.gateway.services.test_shaped_delivery import dns, far  # noqa: F401, isort: skip - fixtures


def _now() -> int:
    return destination_past.minute_of(clock.now_ms())


def test_what_several_processes_saw_is_summed_up(store: str) -> None:
    now = _now()
    for _ in range(3):
        destination_past.add({("far.test", now): (10, 1), ("near.test", now): (5, 0), ("far.test", now - 1): (7, 0)})
    assert destination_past.read({"far.test", "unknown.test"}) == {
        "far.test": (Minute(now - 1, 21, 0), Minute(now, 30, 3)),
        "unknown.test": (),
    }


def test_writers_at_the_same_time_lose_nothing(store: str) -> None:
    now = _now()
    failed: list[Exception] = []

    def write(names: list[str]) -> None:
        try:
            for _ in range(20):
                destination_past.add({(name, now): (1, 1) for name in names})
        except Exception as error:
            failed.append(error)
        finally:
            db.close()

    names = [f"mx{n}.test" for n in range(8)]
    threads = [threading.Thread(target=write, args=(order,)) for order in (names, names[::-1], names, names[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert set(destination_past.read(names).values()) == {(Minute(now, 80, 80),)}


def test_only_the_last_hour_is_told_and_what_is_older_goes(store: str) -> None:
    now = _now()
    ages = (0, destination_past.MINUTES - 1, destination_past.MINUTES + 5, 600)
    destination_past.add({("far.test", now - age): (1, 0) for age in ages})
    assert [one.minute for one in destination_past.read({"far.test"})["far.test"]] == [now - ages[1], now]
    housekeeping.sweep(5)
    kept = {row.minute for row in models.DestinationMinute.select()}
    assert kept >= {now, now - ages[1]} and now - 600 not in kept


def _beat(host: str, number: int, age_ms: int = 0) -> None:
    scratchpad.write(
        "INSERT INTO heartbeat (host, part, pid, at_ms) VALUES (?, ?, ?, ?)",
        (host, f"{health.DELIVERING}{number}", number, clock.now_ms() - age_ms),
    )


def test_processes_that_deliver_are_counted_on_every_host(store: str) -> None:
    assert health.delivering() == 0
    health.beat(f"{health.DELIVERING}71")
    health.beat("deliver")
    for number in (1, 2):
        _beat("another.test", number)
    _beat("gone.test", 1, health.ALIVE_MS + 1000)
    assert health.delivering() == 3
    assert health.silent(["deliver"]) == [] and socket.gethostname() != "another.test"


@pytest.fixture
def sink(store: str, tmp_path: Path) -> Iterator[SmtpSink]:
    with SmtpSink() as peer:
        use_settings(tmp_path, DELIVERY=peer.url)
        yield peer


def _destination(engine: deliveries.Engine, group: str = "host.test") -> deliveries.Dispatcher:
    return next(place for (name, _), place in engine._dispatcher._table.known.items() if name == group)  # type: ignore[return-value]


def test_connections_and_rates_are_shared_with_other_hosts(far: SmtpSink) -> None:  # noqa: F811
    shaping.add(caller=None, scope="mx", target="host.test", kind="rate", value=240)
    messages.accept(cast.sender().caller, cast.draft(to=[Mailbox("a@far.test")]))
    deliveries.engine().drain(0.5)
    place = _destination(deliveries.engine())
    assert (place.processes, place.cap, place._interval_s) == (2, 5, 0.5)  # as configured: nobody else is known
    for host in ("one.test", "two.test"):
        for number in range(4):
            _beat(host, number)
    deliveries.engine()._watch._processes_at = 0.0
    deliveries.engine().drain(0.5)
    assert (place.processes, place.cap, place._interval_s) == (8, 1, 2.0)
    scratchpad.write("UPDATE heartbeat SET at_ms = 0 WHERE host = ?", ("two.test",))
    deliveries.engine()._watch._processes_at = 0.0
    deliveries.engine().drain(0.5)
    assert (place.processes, place.cap, place._interval_s) == (4, 2, 1.0)


def test_two_hosts_keep_one_rate(far: SmtpSink) -> None:  # noqa: F811
    """Four engines as those of two hosts with two processes each, each of which knows of the others."""
    for host in ("one.test", "two.test"):
        for number in range(2):
            _beat(host, number)
    shaping.add(caller=None, scope="mx", target="host.test", kind="rate", value=120)  # two a second
    for start in range(0, 100, 50):
        messages.accept(
            cast.sender(f"who{start}", f"shop{start}.test").caller,
            cast.draft(domain=f"shop{start}.test", to=[Mailbox(f"r{start + n}@far.test") for n in range(50)]),
        )
    engines = [deliveries.Engine(config.settings()) for _ in range(4)]

    def work(engine: deliveries.Engine) -> None:
        try:
            while time.monotonic() < began + 5:
                engine.drain(0.5)
        finally:
            db.close()

    began = time.monotonic()
    threads = [threading.Thread(target=work, args=(engine,)) for engine in engines]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
        sent = far.count
    finally:
        for engine in engines:
            engine.close()
    # Each begins with one, and may make up for a second; without the others each would send twice as much. One that
    # claimed everything before the others began sends alone, once in two seconds.
    assert 3 <= sent <= 2 * took + 2 * len(engines)
    assert all(_destination(engine).processes == 4 for engine in engines if engine._dispatcher._table.known)


def _refuse_all(far: SmtpSink) -> None:  # noqa: F811
    far.always("rcpt", say("550 5.1.1 no such user"))


def _send(who: cast.Sender, count: int, name: str) -> None:
    for start in range(0, count, 50):
        to = [Mailbox(f"{name}{n}@far.test") for n in range(start, min(start + 50, count))]
        messages.accept(who.caller, cast.draft(to=to))


def _drain(engine: deliveries.Engine, until: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not until():  # type: ignore[operator]
        assert time.monotonic() < end, "it never came to that"
        engine.drain(0.1)


def test_a_process_that_just_started_knows_the_past_of_the_others(far: SmtpSink) -> None:  # noqa: F811
    who = cast.sender()
    first = deliveries.Engine(config.settings())
    _send(who, 60, "r")
    _drain(first, lambda: far.count == 60)
    first.close()
    assert sum(one.taken for one in destination_past.read({"host.test"})["host.test"]) == 60
    _refuse_all(far)
    # A minute later by the roll-up: in the same one nobody can tell what came first.
    scratchpad.write("UPDATE destination_minute SET minute = minute - 2")
    second = deliveries.Engine(config.settings())
    try:
        _send(who, 1000, "s")
        _drain(second, shaping.active)
        (limit,) = shaping.active()
        assert (limit.target, limit.rule, limit.kind) == ("host.test", breaker.RULE, "pause")
        assert second.wait_idle(20)
        wait_for(lambda: not models.Suppression.select().count(), "what the surge did is taken back")
        bounced = models.Delivery.select().where(models.Delivery.state == DeliveryState.BOUNCED)
        assert bounced.count() < 900, "it was told of the past before all were refused"
    finally:
        second.close()


def test_refusals_that_no_process_alone_has_enough_of_are_a_surge(far: SmtpSink) -> None:  # noqa: F811
    now = _now()
    destination_past.add({("host.test", now - age): (4, 0) for age in range(5, 40)})
    # The other hosts saw these, and one of their recipients was believed to be unknown.
    destination_past.add({("host.test", now - 1): (2, 30), ("host.test", now): (3, 30)})
    who = cast.sender()
    models.Suppression.create(
        account_id=who.owner.account_id, domain_id=0, address="x@far.test", reason="bounce", rule="bounce:recipient",
        mx="mx9.host.test", created_ms=clock.now_ms() - 500,
    )  # fmt: skip
    _refuse_all(far)
    engine = deliveries.Engine(config.settings())
    try:
        _send(who, 2, "a")
        bounced = models.Delivery.select().where(models.Delivery.state == DeliveryState.BOUNCED)
        _drain(engine, lambda: bounced.count() == 2)
        time.sleep(1.2)
        _send(who, 2, "b")
        _drain(engine, shaping.active)
        (limit,) = shaping.active()
        assert "of all processes were refused" in limit.cause and "550 5.1.1" in limit.cause
        wait_for(lambda: not models.Suppression.select().count(), "what the refusals did elsewhere is taken back too")
    finally:
        engine.close()
