"""DANE: which TLSA records count, which certificates fulfil them, and what that does to a delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway import config
from gateway.dns import resolver as dns_resolver
from gateway.dns.resolver import Tlsa
from gateway.transports import dane
from gateway.transports.mta_sts import Policy
from gateway.transports.mx import Direct
from gateway.transports.outcome import Result
from tests.conftest import use_settings
from tests.gateway.transports.conftest import PATIENT, Sender
from tests.peers.certificate import Authority, Certificate
from tests.peers.dns_server import DnsServer
from tests.peers.smtp_sink import SmtpSink

Sinks = Callable[..., SmtpSink]
MX = "mx.example.net"


class World:
    def __init__(self, dns: DnsServer, settings: config.Settings) -> None:
        self.dns, self.settings, self.port = dns, settings, 1
        self._opened: list[Sender] = []
        dns.sign("example.net")

    def sender(self, **options: object) -> Sender:
        direct = Direct(
            hostname="mx.gateway.test",
            port=self.port,
            allow=self.settings.delivery_allow,
            timeouts=PATIENT,
            **{"dane": True} | options,  # type: ignore[arg-type]
        )
        self._opened.append(Sender(direct.open()))
        return self._opened[-1]

    def exchanger(
        self, sinks: Sinks, certificate: Certificate | None, *tlsa: str, name: str = MX, address: str = "127.0.0.2"
    ) -> SmtpSink:
        sink = sinks(host=address, port=self.port if self.port > 1 else 0, tls=certificate)
        self.port = sink.port
        self.dns.add("example.net", "MX", f"{address[-1]}0 {name}")
        self.dns.add(name, "A", address)
        if tlsa:
            self.publish(*tlsa, name=name)
        return sink

    def publish(self, *tlsa: str, name: str = MX) -> None:
        self.dns.set(f"_{self.port}._tcp.{name}", "TLSA", *tlsa)

    def close(self) -> None:
        for sender in self._opened:
            sender.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with DnsServer() as dns:
        settings = use_settings(tmp_path, DNS=dns.address, DELIVERY_ALLOW="127.0.0.0/8")
        monkeypatch.setattr(dns_resolver, "_used", dns_resolver.Resolver(settings.dns).uncached(0.5))
        world = World(dns, settings)
        yield world
        world.close()
        config.use(None)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _tlsa(text: str) -> Tlsa:
    usage, selector, matching, data = text.split()
    return Tlsa(int(usage), int(selector), int(matching), bytes.fromhex(data))


# -- records and certificates


def test_which_records_can_be_used(certificate: Certificate) -> None:
    good = [_tlsa(certificate.tlsa(u, s, m)) for u in (2, 3) for s in (0, 1) for m in (0, 1, 2)]
    bad = [_tlsa(certificate.tlsa(u, 0, 1)) for u in (0, 1)]
    bad += [Tlsa(3, 2, 1, b"x" * 32), Tlsa(3, 1, 3, b"x" * 32), Tlsa(3, 1, 1, b"x" * 31), Tlsa(3, 1, 2, b"x" * 32)]
    bad += [Tlsa(4, 1, 1, b"x" * 32), Tlsa(3, 1, 0, b"")]
    assert dane.usable([*bad, *good]) == tuple(good)


@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("selector", [0, 1])
def test_the_servers_own_certificate(
    certificate: Certificate, authority: Authority, selector: int, matching: int
) -> None:
    record = _tlsa(certificate.tlsa(3, selector, matching))
    assert dane.match(certificate.der, [record], ["any.name.test"]) == record
    assert dane.match(authority.issue(MX).der, [record], [MX]) is None
    assert dane.match([], [record], [MX]) is None


def test_neither_name_nor_date_matter_to_the_servers_own(authority: Authority) -> None:
    old = authority.issue("other.test", days=-1)
    assert dane.match(old.der, [_tlsa(old.tlsa(3, 1, 1))], [MX]) is not None


@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("selector", [0, 1])
def test_a_trust_anchor(authority: Authority, tmp_path: Path, selector: int, matching: int) -> None:
    served = authority.issue(MX)
    record = _tlsa(served.tlsa(2, selector, matching, at=1))
    assert dane.match(served.der, [record], [MX]) == record
    assert dane.match(served.der, [record], ["other.test", MX]) == record
    assert dane.match(served.der, [record], ["other.test"]) is None
    assert dane.match(authority.issue(MX, days=-1).der, [record], [MX]) is None
    assert dane.match(authority.issue("*.example.net").der, [record], [MX]) == record
    # A chain that only shows the anchor, without leading to it.
    stranger = Authority(tmp_path, "Stranger").issue(MX)
    assert dane.match([stranger.der[0], served.der[1]], [record], [MX]) is None
    # A server that leaves the anchor out is trusted only where the record is the anchor itself.
    assert dane.match(served.der[:1], [record], [MX]) == (record if (selector, matching) == (0, 0) else None)


def test_any_record_will_do(certificate: Certificate, authority: Authority) -> None:
    served = authority.issue(MX)
    wrong, right = _tlsa(certificate.tlsa(3, 1, 1)), _tlsa(served.tlsa(2, 0, 1, at=1))
    assert dane.match(served.der, [wrong, right], [MX]) == right


# -- delivering


def test_a_matching_certificate(world: World, sinks: Sinks, certificate: Certificate) -> None:
    sink = world.exchanger(sinks, certificate)
    world.publish(certificate.tlsa(3, 1, 1))
    outcome = world.sender().send()
    assert (outcome.result, sink.messages[0].tls) == (Result.DELIVERED, "TLSv1.3")
    assert outcome.verdicts[1] == {
        "gate": "tls", "policy": "dane", "result": "TLSv1.3, certificate matches TLSA 3 1 1",
        "certificate": "CN=mx.example.net, issued by CN=mx.example.net",
    }  # fmt: skip


def test_a_trust_anchor_over_the_wire(world: World, sinks: Sinks, authority: Authority) -> None:
    served = authority.issue(MX)
    world.exchanger(sinks, served)
    world.publish(served.tlsa(2, 1, 1, at=1))
    assert world.sender().send().result is Result.DELIVERED


@pytest.mark.parametrize("fault", ["another certificate", "no TLS", "STARTTLS refused"])
def test_never_without(world: World, sinks: Sinks, certificate: Certificate, authority: Authority, fault: str) -> None:
    sink = world.exchanger(sinks, None if fault == "no TLS" else certificate)
    world.publish((authority.issue(MX) if fault == "another certificate" else certificate).tlsa(3, 1, 1))
    if fault == "STARTTLS refused":
        sink.always("starttls", "454 4.7.0 not now")
    outcome = world.sender().send()
    assert outcome.result is Result.DEFERRED
    assert not [line for _, line in sink.commands if line.startswith("MAIL")]
    assert outcome.verdicts[1]["policy"] == "dane"
    if fault != "STARTTLS refused":
        assert (outcome.category, outcome.reply[:17]) == ("policy", "DANE requires TLS")


def test_the_next_exchanger_is_tried(
    world: World, sinks: Sinks, certificate: Certificate, authority: Authority
) -> None:
    bad = world.exchanger(sinks, certificate)
    world.publish(authority.issue(MX).tlsa(3, 1, 1))
    good = world.exchanger(sinks, certificate, name="second.example.net", address="127.0.0.3")
    assert world.sender().send().result is Result.DELIVERED
    assert (bad.count, good.count) == (0, 1)


@pytest.mark.parametrize("record", ["1 1 1 " + "00" * 32, "3 1 9 " + "00" * 32])
def test_records_of_no_use_ask_for_tls_and_no_more(
    world: World, sinks: Sinks, certificate: Certificate, record: str
) -> None:
    sink = world.exchanger(sinks, certificate)
    world.publish(record)
    outcome = world.sender().send()
    assert (outcome.result, outcome.tls, outcome.verdicts[1]["policy"]) == (Result.DELIVERED, "TLSv1.3", "dane")
    sink.always("starttls", "454 4.7.0 not now")
    assert world.sender().send().result is Result.DEFERRED
    assert sink.count == 1


def test_an_exchanger_whose_records_cannot_be_had_is_passed_over(
    world: World, sinks: Sinks, certificate: Certificate
) -> None:
    broken = world.exchanger(sinks, certificate)
    world.dns.servfail(f"_{world.port}._tcp.{MX}")
    outcome = world.sender().send()
    assert (outcome.result, outcome.enhanced, outcome.category) == (Result.DEFERRED, "4.4.3", "network")
    assert outcome.verdicts[0]["skipped"][0].startswith(f"{MX}: TLSA _{world.port}._tcp.{MX}")
    world.exchanger(sinks, certificate, name="second.example.net", address="127.0.0.3")
    assert world.sender().send().result is Result.DELIVERED
    assert broken.connections == 0


@pytest.mark.parametrize("unproved", ["mx", "address", "tlsa", "all"])
def test_what_the_resolver_did_not_validate_counts_for_nothing(
    world: World, sinks: Sinks, certificate: Certificate, authority: Authority, unproved: str
) -> None:
    world.exchanger(sinks, certificate)
    world.publish(authority.issue(MX).tlsa(3, 1, 1))
    world.dns.unsign("example.net")
    names = {"mx": "example.net", "address": MX, "tlsa": f"_{world.port}._tcp.{MX}"}
    for kind, name in names.items():
        if unproved not in (kind, "all"):
            world.dns.sign_alone(name)
    outcome = world.sender().send()
    assert (outcome.result, outcome.verdicts[1]["policy"]) == (Result.DELIVERED, "opportunistic")


def test_it_can_be_off(world: World, sinks: Sinks, certificate: Certificate, authority: Authority) -> None:
    world.exchanger(sinks, certificate)
    world.publish(authority.issue(MX).tlsa(3, 1, 1))
    assert world.sender(dane=False).send().result is Result.DELIVERED
    assert world.dns.asked(f"_{world.port}._tcp.{MX}", "TLSA") == 0


def test_a_domain_that_is_its_own_exchanger(
    world: World, sinks: Sinks, certificate: Certificate, authority: Authority
) -> None:
    sink = sinks(host="127.0.0.2", tls=certificate)
    world.port = sink.port
    world.dns.add("example.net", "A", "127.0.0.2")
    world.publish(authority.issue(MX).tlsa(3, 1, 1), name="example.net")
    assert world.sender().send().result is Result.DEFERRED
    world.publish(certificate.tlsa(3, 1, 1), name="example.net")
    assert world.sender().send().result is Result.DELIVERED


def test_an_alias_counts_under_its_target_then_under_its_own_name(
    world: World, sinks: Sinks, certificate: Certificate, authority: Authority
) -> None:
    sink = sinks(host="127.0.0.2", tls=certificate)
    world.port = sink.port
    world.dns.add("example.net", "MX", "10 alias.example.net")
    world.dns.add("alias.example.net", "CNAME", "real.example.net")
    world.dns.add("real.example.net", "A", "127.0.0.2")
    world.publish(authority.issue(MX).tlsa(3, 1, 1), name="alias.example.net")
    assert world.sender().send().result is Result.DEFERRED
    world.publish(certificate.tlsa(3, 1, 1), name="real.example.net")
    assert world.sender().send().result is Result.DELIVERED


def test_an_alias_into_an_unsigned_zone_counts_under_its_own_name(
    world: World, sinks: Sinks, certificate: Certificate, authority: Authority
) -> None:
    sink = sinks(host="127.0.0.2", tls=certificate)
    world.port = sink.port
    world.dns.add("example.net", "MX", "10 alias.example.net")
    world.dns.add("alias.example.net", "CNAME", "real.elsewhere.test")
    world.dns.add("real.elsewhere.test", "A", "127.0.0.2")
    world.publish(authority.issue(MX).tlsa(3, 1, 1), name="alias.example.net")
    assert world.sender().send().result is Result.DEFERRED


def test_it_goes_before_mta_sts(world: World, sinks: Sinks, certificate: Certificate) -> None:
    class Strict:
        def policy(self, domain: str) -> object:
            return Policy("1", "enforce", ("other.example.net",), 0, 0)

    world.exchanger(sinks, certificate)
    assert world.sender(sts=Strict()).send().category == "policy"
    world.publish(certificate.tlsa(3, 1, 1))
    outcome = world.sender(sts=Strict()).send()
    assert (outcome.result, outcome.verdicts[1]["policy"]) == (Result.DELIVERED, "dane")


@pytest.mark.parametrize(
    ("variables", "used"),
    [
        ({"DNS": "127.0.0.1:53"}, True),
        ({"DNS": "[::1]:53,127.0.0.53:53"}, True),
        ({"DNS": "127.0.0.1:53,192.0.2.1:53"}, False),
        ({"DNS": "192.0.2.1:53"}, False),
        ({"DNS": "192.0.2.1:53", "DNS_TRUSTED": "1"}, True),
        ({}, False),
        ({"DNS_TRUSTED": "1"}, True),
        ({"DNS": "127.0.0.1:53", "DANE": "off"}, False),
        ({"DNS_TRUSTED": "1", "DANE": "off"}, False),
    ],
)
def test_whose_word_about_validation_is_believed(tmp_path: Path, variables: dict[str, str], used: bool) -> None:
    assert use_settings(tmp_path, **variables).validates_tlsa is used
    config.use(None)
