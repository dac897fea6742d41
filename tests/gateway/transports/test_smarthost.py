"""A relay by name: its addresses, and what happens when it has none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.transports.outcome import Result
from gateway.transports.smarthost import Smarthost
from tests.conftest import use_settings
from tests.gateway.transports.conftest import PATIENT, Sender
from tests.peers.dns_server import DnsServer
from tests.peers.smtp_sink import SmtpSink


@pytest.fixture
def dns(tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as server:
        use_settings(tmp_path, DNS=server.address)
        yield server


def _sender(port: int) -> Sender:
    return Sender(Smarthost(f"smtp://relay.example.net:{port}", hostname="mx.gateway.test", timeouts=PATIENT).open())


def test_by_name(dns: DnsServer, sink: SmtpSink) -> None:
    dns.add("relay.example.net", "CNAME", "a.example.net")
    dns.add("a.example.net", "A", "127.0.0.1")
    sender = _sender(sink.port)
    outcome = sender.send()
    assert (outcome.result, outcome.remote) == (Result.DELIVERED, f"relay.example.net[127.0.0.1]:{sink.port}")
    sender.close()


def test_without_an_address_mail_waits(dns: DnsServer, sink: SmtpSink) -> None:
    outcome = _sender(sink.port).send()
    assert (outcome.result, outcome.category) == (Result.DEFERRED, "ours")
    assert "relay.example.net has no address" in outcome.reply


def test_without_dns_mail_waits(dns: DnsServer, sink: SmtpSink) -> None:
    dns.servfail("relay.example.net")
    sender = _sender(sink.port)
    outcome = sender.send()
    assert (outcome.result, outcome.category, outcome.enhanced) == (Result.DEFERRED, "network", "4.4.3")
    dns.heal("relay.example.net")
    dns.add("relay.example.net", "A", "127.0.0.1")
    assert sender.send().result is Result.DELIVERED
    sender.close()


def test_credentials_are_nowhere_in_the_name() -> None:
    relay = Smarthost("smtp://jane:secret@" + "a" * 60 + ".example.net:587", hostname="x")
    assert "secret" not in relay.name
    assert len(relay.name) <= 64
