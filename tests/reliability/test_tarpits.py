"""Tarpits: domains whose servers keep every connection for minutes, with a long queue, delay nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import models
from gateway.dns import resolver as dns_resolver
from gateway.mail.draft import Mailbox
from gateway.services import deliveries, messages
from models import database as db
from models.vocabulary import DeliveryState
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer
from tests.peers.smtp_sink import SmtpSink, say
from tests.reliability.conftest import LONG, times

TARPITS = 20
EVERY_S = 0.2
BOUND_S = 2.0
"""Seconds, of the 95th percentile."""

Report = Callable[[str], None]


@pytest.fixture
def healthy(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmtpSink]:
    """The server of `healthy.test`; half of the tarpits greet after minutes, half answer to the message so late."""
    monkeypatch.setattr(dns_resolver, "_used", None)
    with ExitStack() as stack:
        dns = stack.enter_context(DnsServer(ttl=60))
        sink = stack.enter_context(SmtpSink(host="127.0.2.200", keep=False))
        use_settings(
            tmp_path, DELIVERY="direct", DNS=dns.address, MX_PORT=str(sink.port), DELIVERY_ALLOW="127.0.0.0/8",
            MTA_STS="0",
        )  # fmt: skip
        dns.add("healthy.test", "MX", "10 mx.healthy.test")
        dns.add("mx.healthy.test", "A", sink.host)
        for number in range(1, TARPITS + 1):
            tarpit = stack.enter_context(SmtpSink(host=f"127.0.2.{number}", port=sink.port, keep=False))
            tarpit.always("banner" if number % 2 else "end", say("220 tarpit" if number % 2 else "250 ok", pause=240))
            dns.add(f"tar{number}.test", "MX", f"10 mx.tar{number}.test")
            dns.add(f"mx.tar{number}.test", "A", tarpit.host)
        yield sink
        # What stands in a tarpit would be waited for.
        monkeypatch.setattr(deliveries, "_CLOSE_S", 0.5)
        deliveries.close()


def _fill(who: cast.Sender, count: int) -> None:
    """A queue of `count` deliveries, over all tarpits in turn."""
    for start in range(0, count, 50):
        to = [Mailbox(f"r{n}@tar{n % TARPITS + 1}.test") for n in range(start, start + 50)]
        messages.accept(who.caller, cast.draft(to=to))


def _work(ended: threading.Event) -> None:
    while not ended.is_set():
        deliveries.drain(1.0)
    db.close()


def test_twenty_tarpits_with_a_long_queue_delay_a_healthy_domain_by_nothing(healthy: SmtpSink, report: Report) -> None:
    who = cast.sender()
    queued = 10_000 if LONG else 2_000
    _fill(who, queued)
    ended = threading.Event()
    worker = threading.Thread(target=_work, args=(ended,))
    sent: dict[str, float] = {}
    arrived: dict[str, float] = {}

    def watch() -> None:
        while not ended.is_set():
            for row in models.Delivery.select(models.Delivery.rcpt).where(
                models.Delivery.domain_id == who.domain.id, models.Delivery.state == DeliveryState.DELIVERED
            ):
                arrived.setdefault(row.rcpt, time.monotonic())
            time.sleep(0.05)
        db.close()

    watcher = threading.Thread(target=watch)
    try:
        for thread in (worker, watcher):
            thread.start()
        # The healthy messages stand in the very lane of the long queue.
        for number in range(times(60, 300)):
            rcpt = f"h{number}@healthy.test"
            sent[rcpt] = time.monotonic()
            messages.accept(who.caller, cast.draft(to=rcpt))
            time.sleep(max(0.0, sent[rcpt] + EVERY_S - time.monotonic()))
        deadline = time.monotonic() + 30
        while len(arrived) < len(sent) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        ended.set()
        worker.join()
        watcher.join()
    took = sorted(arrived.get(rcpt, float("inf")) - at for rcpt, at in sent.items())
    p95 = took[int(len(took) * 0.95)]
    report(
        f"{queued} queued for {TARPITS} tarpits: a healthy domain has p50 {took[len(took) // 2]:.2f} s,"
        f" p95 {p95:.2f} s, at most {took[-1]:.2f} s"
    )
    assert p95 < BOUND_S, (p95, took[-5:])
    assert took[-1] < float("inf"), "some never arrived"
    # Nothing of the long queue is lost, ended or tried out of turn, and every row says why it waits.
    rows = db.rows(
        "SELECT state, COUNT(*), SUM(CASE WHEN waiting IS NULL THEN 1 ELSE 0 END) FROM delivery"
        " WHERE rcpt LIKE '%@tar%' GROUP BY state ORDER BY state"
    )
    states = {DeliveryState(state): (int(n), int(unsaid)) for state, n, unsaid in rows}
    assert sum(n for n, _ in states.values()) == queued
    assert set(states) <= {DeliveryState.QUEUED, DeliveryState.CLAIMED, DeliveryState.DEFERRED}
    assert states[DeliveryState.QUEUED][0] > queued * 0.8
    assert states[DeliveryState.QUEUED][1] < queued * 0.1
