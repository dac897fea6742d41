"""Direct delivery against a DNS server and exchangers on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway import config
from gateway.dns import resolver as dns_resolver
from gateway.transports.mx import Direct
from gateway.transports.outcome import Result
from tests.conftest import use_settings
from tests.gateway.transports.conftest import PATIENT, Sender
from tests.peers.certificate import Certificate
from tests.peers.dns_server import DnsServer
from tests.peers.smtp_sink import SmtpSink

Sinks = Callable[..., SmtpSink]


class World:
    """One port on which exchangers listen on different loopback addresses, and senders that reach them."""

    def __init__(self, dns: DnsServer, settings: config.Settings) -> None:
        self.dns = dns
        self.settings = settings
        self.port = 1
        self._opened: list[Sender] = []

    def sender(self, allow: bool = True, **options: object) -> Sender:
        networks = self.settings.delivery_allow if allow else ()
        direct = Direct(
            hostname="mx.gateway.test",
            port=self.port,
            allow=networks,
            timeouts=PATIENT,
            **options,  # type: ignore[arg-type]
        )
        self._opened.append(Sender(direct.open()))
        return self._opened[-1]

    def exchanger(self, name: str, *addresses: str) -> None:
        self.dns.add(name, "A", *addresses)

    def close(self) -> None:
        for sender in self._opened:
            sender.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with DnsServer() as dns:
        settings = use_settings(tmp_path, DNS=dns.address, DELIVERY_ALLOW="127.0.0.0/8")
        monkeypatch.setattr(dns_resolver, "_used", dns_resolver.Resolver(settings.dns, lifetime=0.5))
        world = World(dns, settings)
        yield world
        world.close()


def _listen(world: World, sinks: Sinks, *hosts: str, **options: object) -> list[SmtpSink]:
    made = [sinks(host=hosts[0], **options)]
    world.port = made[0].port
    made += [sinks(host=host, port=world.port, **options) for host in hosts[1:]]
    return made


def test_the_best_exchanger_first_then_the_next(world: World, sinks: Sinks) -> None:
    best, second = _listen(world, sinks, "127.0.0.2", "127.0.0.3")
    world.dns.add("example.net", "MX", "20 second.example.net", "10 best.example.net")
    world.exchanger("best.example.net", "127.0.0.2")
    world.exchanger("second.example.net", "127.0.0.3")
    sender = world.sender()
    outcome = sender.send()
    assert (outcome.result, outcome.remote) == (Result.DELIVERED, f"best.example.net[127.0.0.2]:{world.port}")
    assert (best.count, second.connections) == (1, 0)
    best.stop()
    assert sender.send().remote == f"second.example.net[127.0.0.3]:{world.port}"
    assert second.count == 1


def test_equals_share_the_load(world: World, sinks: Sinks) -> None:
    equals = _listen(world, sinks, "127.0.0.2", "127.0.0.3")
    world.dns.add("example.net", "MX", "10 a.example.net", "10 b.example.net")
    world.exchanger("a.example.net", "127.0.0.2")
    world.exchanger("b.example.net", "127.0.0.3")
    # Forty fair coins all on one side: once in 5 × 10^11 runs.
    for _ in range(40):
        sender = world.sender()
        assert sender.send().result is Result.DELIVERED
        sender.close()
        if all(sink.count for sink in equals):
            break
    assert all(sink.count for sink in equals)


def test_a_busy_exchanger_leads_to_the_next(world: World, sinks: Sinks) -> None:
    busy, free = _listen(world, sinks, "127.0.0.2", "127.0.0.3")
    busy.always("banner", "421 4.3.2 too busy")
    world.dns.add("example.net", "MX", "10 busy.example.net", "20 free.example.net")
    world.exchanger("busy.example.net", "127.0.0.2")
    world.exchanger("free.example.net", "127.0.0.3")
    assert world.sender().send().result is Result.DELIVERED
    assert free.count == 1


def test_without_mx_the_domain_itself(world: World, sinks: Sinks) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2")
    world.exchanger("example.net", "127.0.0.2")
    assert world.sender().send().result is Result.DELIVERED
    assert sink.count == 1


def test_an_exchanger_that_is_an_alias(world: World, sinks: Sinks) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2")
    world.dns.add("example.net", "MX", "10 alias.example.net")
    world.dns.add("alias.example.net", "CNAME", "real.example.org")
    world.exchanger("real.example.org", "127.0.0.2")
    assert world.sender().send().result is Result.DELIVERED
    assert sink.count == 1


def test_a_domain_that_is_an_alias(world: World, sinks: Sinks) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2")
    world.dns.add("example.net", "CNAME", "example.org")
    world.dns.add("example.org", "MX", "10 mx.example.org")
    world.exchanger("mx.example.org", "127.0.0.2")
    assert world.sender().send().result is Result.DELIVERED
    assert sink.messages[0].rcpts == ["john@example.net"]


def test_address_literals(world: World, sinks: Sinks) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2")
    assert world.sender().send("john@[127.0.0.2]").result is Result.DELIVERED
    assert sink.count == 1
    outcome = world.sender().send("john@[999.1.1.1]")
    assert (outcome.result, outcome.enhanced) == (Result.BOUNCED, "5.1.2")


@pytest.mark.parametrize(
    ("records", "result", "enhanced", "category"),
    [
        ({("example.net", "MX"): ["0 ."]}, Result.BOUNCED, "5.1.10", "recipient"),
        ({}, Result.BOUNCED, "5.1.2", "recipient"),
        ({("example.net", "TXT"): ["only a text"]}, Result.BOUNCED, "5.1.2", "recipient"),
        ({("example.net", "MX"): ["10 nowhere.example.net"]}, Result.BOUNCED, "5.4.4", "network"),
        ({("example.net", "MX"): ["10 mx.gateway.test"]}, Result.BOUNCED, "5.4.6", "ours"),
        (
            {("example.net", "MX"): ["10 mx.gateway.test", "20 other.net"], ("other.net", "A"): ["127.0.0.2"]},
            Result.BOUNCED,
            "5.4.6",
            "ours",
        ),
    ],
)
def test_domains_that_take_no_mail(
    world: World, records: dict[tuple[str, str], list[str]], result: Result, enhanced: str, category: str
) -> None:
    for (name, type_), values in records.items():
        world.dns.add(name, type_, *values)
    sender = world.sender()
    outcome = sender.send()
    assert (outcome.result, outcome.code, outcome.enhanced, outcome.category) == (result, None, enhanced, category)
    assert "example.net" in outcome.reply
    assert sender.announced == 0


def test_an_exchanger_worse_than_this_host_is_left_out(world: World, sinks: Sinks) -> None:
    better, worse = _listen(world, sinks, "127.0.0.2", "127.0.0.3")
    world.dns.add("example.net", "MX", "10 better.net", "20 mx.gateway.test", "30 worse.net")
    world.exchanger("better.net", "127.0.0.2")
    world.exchanger("worse.net", "127.0.0.3")
    better.stop()
    assert world.sender().send().result is Result.DEFERRED
    assert worse.connections == 0


@pytest.mark.parametrize("how", ["servfail", "silence"])
@pytest.mark.parametrize("name", ["example.net", "mx.example.net"])
def test_dns_that_does_not_answer_defers(world: World, how: str, name: str) -> None:
    world.dns.add("example.net", "MX", "10 mx.example.net")
    world.exchanger("mx.example.net", "127.0.0.2")
    getattr(world.dns, how)(name)
    outcome = world.sender().send()
    assert (outcome.result, outcome.enhanced, outcome.category) == (Result.DEFERRED, "4.4.3", "network")


def test_an_exchanger_that_dns_does_not_know_now_leads_to_the_next(world: World, sinks: Sinks) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2")
    world.dns.add("example.net", "MX", "10 broken.example.net", "20 mx.example.net")
    world.dns.servfail("broken.example.net")
    world.exchanger("mx.example.net", "127.0.0.2")
    assert world.sender().send().result is Result.DELIVERED
    assert sink.count == 1


@pytest.mark.parametrize("address", ["127.0.0.2", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0"])
def test_private_addresses_are_not_dialled(world: World, sinks: Sinks, address: str) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2")
    world.dns.add("example.net", "MX", "10 mx.example.net")
    world.exchanger("mx.example.net", address)
    outcome = world.sender(allow=False).send()
    assert (outcome.result, outcome.category, outcome.enhanced) == (Result.BOUNCED, "policy", "5.4.4")
    assert f"mx.example.net[{address}]" in outcome.reply
    assert "COMMANDPOST_DELIVERY_ALLOW" in outcome.reply
    assert sink.connections == 0
    assert world.sender(allow=False).send(f"john@[{address}]").category == "policy"


def test_domains_with_the_same_exchangers_share_a_connection(world: World, sinks: Sinks) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2")
    for domain in ("a.example", "b.example"):
        world.dns.add(domain, "MX", "10 mx.example.net")
    world.dns.add("c.example", "MX", "20 mx.example.net")
    world.exchanger("mx.example.net", "127.0.0.2")
    sender = world.sender()
    for rcpt in ("x@a.example", "y@b.example", "z@a.example", "x@c.example"):
        assert sender.send(rcpt).result is Result.DELIVERED
    assert [t.connection for t in sink.messages] == [1, 1, 1, 2]


def test_idle_connections_to_others_are_left(world: World, sinks: Sinks) -> None:
    one, other = _listen(world, sinks, "127.0.0.2", "127.0.0.3")
    world.exchanger("a.example", "127.0.0.2")
    world.exchanger("b.example", "127.0.0.3")
    sender = world.sender(max_idle=0.0)
    assert sender.send("x@a.example").result is Result.DELIVERED
    assert sender.send("x@b.example").result is Result.DELIVERED
    assert [line for _, line in one.commands][-1] == "QUIT"
    assert other.count == 1


def test_tls_is_used_where_offered_and_never_given_up_where_required(
    world: World, sinks: Sinks, certificate: Certificate
) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2", tls=certificate)
    world.exchanger("example.net", "127.0.0.2")
    assert world.sender().send().tls == "TLSv1.3"
    sink.always("starttls", "454 4.7.0 not now")
    assert world.sender().send().tls == ""
    assert world.sender(tls="required").send().result is Result.DEFERRED
    assert sink.count == 2
