"""MTA-STS policies in the database, and what sender domains ask of TLS, on the way of whole deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

import models
from gateway import clock, config
from gateway.dns import resolver as dns_resolver
from gateway.services import deliveries, domain_changes, housekeeping, messages, tls_policies
from gateway.transports.mta_sts import Policy
from models import database as db
from models.vocabulary import DeliveryState
from tests import cast
from tests.conftest import use_settings
from tests.peers.certificate import self_signed
from tests.peers.dns_server import DnsServer
from tests.peers.smtp_sink import SmtpSink


def _policy(mode: str = "enforce", *, lasts_ms: int = 60_000) -> Policy:
    now = clock.now_ms()
    return Policy("20260101T000000Z", mode, ("mx.friends.test", "*.friends.test"), now, now + lasts_ms)


def test_a_policy_is_kept_as_it_was(store: str) -> None:
    assert tls_policies.load("friends.test") is None
    first = _policy()
    tls_policies.save("friends.test", first)
    assert tls_policies.load("friends.test") == first
    second = _policy("testing")
    tls_policies.save("friends.test", second)
    assert tls_policies.load("friends.test") == second
    assert models.TlsPolicy.select().count() == 1


def test_what_has_run_out_is_taken_out(store: str) -> None:
    tls_policies.save("old.test", _policy(lasts_ms=-1))
    tls_policies.save("friends.test", _policy())
    housekeeping.sweep(5)
    assert [row.domain for row in models.TlsPolicy.select()] == ["friends.test"]


def test_a_store_that_is_away_loses_the_copy_and_nothing_else(
    store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(work: object) -> None:
        raise db.StoreUnavailable("away")

    monkeypatch.setattr(db, "in_transaction", away)
    tls_policies.save("friends.test", _policy())
    assert "tls_policy_not_kept" in caplog.text


# -- whole deliveries


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink(host="127.0.0.2") as peer:
        yield peer


@pytest.fixture
def direct(store: str, sink: SmtpSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DnsServer]:
    with DnsServer() as dns:
        dns.add("friends.test", "MX", "10 mx.friends.test")
        dns.add("mx.friends.test", "A", "127.0.0.2")
        settings = use_settings(
            tmp_path,
            DELIVERY="direct",
            MX_PORT=str(sink.port),
            DNS=dns.address,
            DELIVERY_ALLOW="127.0.0.0/8",
            SOURCE_ADDRESSES="127.0.0.9=out.gateway.test",
        )
        monkeypatch.setattr(dns_resolver, "_used", dns_resolver.Resolver(settings.dns).uncached())
        yield dns
        deliveries.close()
        config.use(None)


def _drain() -> None:
    while deliveries.drain(0.1):
        pass
    assert deliveries.engine().wait_idle(20)
    deliveries.close()


def test_a_domain_that_requires_tls_waits_for_it(direct: DnsServer, sink: SmtpSink, tmp_path: Path) -> None:
    who = cast.sender()
    domain_changes.update(caller=who.owner, domain_id=who.domain.id, require_tls=True)
    messages.accept(who.caller, cast.draft())
    _drain()
    row = models.Delivery.get()
    assert row.state == DeliveryState.DEFERRED
    attempt = models.Attempt.get()
    assert (attempt.outcome, attempt.category) == ("deferred", "policy")
    assert attempt.reply == "TLS is required and the server does not offer it"
    assert [v for v in orjson.loads(attempt.verdicts) if v["gate"] != "route"] == [
        {"gate": "tls", "policy": "required", "result": "not offered"},
        {"gate": "source", "address": "127.0.0.9", "ehlo": "out.gateway.test"},
    ]
    assert sink.transactions == []

    sink.context = self_signed(tmp_path, "mx.friends.test").server_context()
    models.Delivery.update(due_ms=clock.now_ms()).execute()
    _drain()
    assert models.Delivery.get().state == DeliveryState.DELIVERED
    assert (sink.messages[0].tls, sink.messages[0].helo, set(sink.peers)) == (
        "TLSv1.3", "out.gateway.test", {"127.0.0.9"},
    )  # fmt: skip


def test_taking_the_option_back_acts_on_what_waits(direct: DnsServer, sink: SmtpSink) -> None:
    who = cast.sender()
    domain_changes.update(caller=who.owner, domain_id=who.domain.id, require_tls=True)
    messages.accept(who.caller, cast.draft())
    _drain()
    domain_changes.update(caller=who.owner, domain_id=who.domain.id, require_tls=False)
    models.Delivery.update(due_ms=clock.now_ms()).execute()
    _drain()
    assert models.Delivery.get().state == DeliveryState.DELIVERED
    assert sink.messages[0].tls == ""


def test_a_policy_in_the_database_holds_without_its_host(direct: DnsServer, sink: SmtpSink) -> None:
    """A process that has just started finds what another has fetched, though the record is gone."""
    tls_policies.save("friends.test", _policy())
    messages.accept(cast.sender().caller, cast.draft())
    _drain()
    attempt = models.Attempt.get()
    assert (attempt.outcome, attempt.reply) == ("deferred", "MTA-STS requires TLS and the server does not offer it")
    assert sink.transactions == []


def test_without_mta_sts_no_policy_is_asked_for(direct: DnsServer, sink: SmtpSink, tmp_path: Path) -> None:
    tls_policies.save("friends.test", _policy())
    use_settings(
        tmp_path,
        DELIVERY="direct",
        MX_PORT=str(sink.port),
        DNS=direct.address,
        DELIVERY_ALLOW="127.0.0.0/8",
        MTA_STS="0",
    )
    messages.accept(cast.sender().caller, cast.draft())
    _drain()
    assert models.Delivery.get().state == DeliveryState.DELIVERED
    assert direct.asked("_mta-sts.friends.test", "TXT") == 0
