"""Direct delivery against a DNS server and exchangers on loopback."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import time_machine

from gateway import config
from gateway.config import Source
from gateway.dns import resolver as dns_resolver
from gateway.transports.mx import Direct
from gateway.transports.outcome import Result
from tests.conftest import use_settings
from tests.gateway.transports.conftest import IMPATIENT, PATIENT, Sender
from tests.peers.certificate import Certificate
from tests.peers.dns_server import DnsServer
from tests.peers.smtp_sink import HANG, SmtpSink

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
        return self.open(
            Direct(
                hostname="mx.gateway.test",
                port=self.port,
                allow=networks,
                **{"timeouts": PATIENT} | options,  # type: ignore[arg-type]
            )
        )

    def open(self, direct: Direct) -> Sender:
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
        settings = use_settings(tmp_path, DNS=dns.address, DELIVERY_ALLOW="127.0.0.0/8,::1/128")
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


def test_the_route_is_told(world: World, sinks: Sinks) -> None:
    best, _second = _listen(world, sinks, "127.0.0.2", "127.0.0.3")
    world.dns.add("example.net", "MX", "10 best.example.net", "20 second.example.net", "5 broken.example.net")
    world.exchanger("best.example.net", "127.0.0.2")
    world.exchanger("second.example.net", "127.0.0.3")
    world.dns.servfail("broken.example.net")
    best.always("banner", "554 5.3.2 not you")
    outcome = world.sender().send()
    assert outcome.verdicts == (
        {
            "gate": "route",
            "host": "second.example.net",
            "skipped": [
                "broken.example.net: A broken.example.net: no server gave a usable answer",
                f"best.example.net[127.0.0.2]:{world.port}: 5.3.2 not you",
            ],
        },
        {"gate": "tls", "policy": "opportunistic", "result": "not offered"},
    )


def test_a_refused_route_is_told(world: World, sinks: Sinks) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2")
    world.dns.add("example.net", "MX", "10 a.example.net", "20 b.example.net")
    world.exchanger("a.example.net", "127.0.0.3")
    world.exchanger("b.example.net", "127.0.0.2")
    sink.always("banner", "554 5.3.2 not you")
    outcome = world.sender().send()
    assert (outcome.code, outcome.verdicts[0]) == (
        554,
        {
            "gate": "route",
            "host": "b.example.net",
            "skipped": [
                f"a.example.net[127.0.0.3]:{world.port}: no connection to a.example.net[127.0.0.3]:{world.port}:"
                " connection refused"
            ],
        },
    )


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "end"])
def test_421_leads_to_the_next_exchanger(world: World, sinks: Sinks, phase: str) -> None:
    busy, free = _listen(world, sinks, "127.0.0.2", "127.0.0.3")
    busy.always(phase, "421 4.3.2 going down")
    world.dns.add("example.net", "MX", "10 busy.example.net", "20 free.example.net")
    world.exchanger("busy.example.net", "127.0.0.2")
    world.exchanger("free.example.net", "127.0.0.3")
    sender = world.sender()
    outcome = sender.send()
    assert (outcome.result, busy.count, free.count) == (Result.DELIVERED, 0, 1)
    assert busy.connections == 1
    assert sender.announced == (2 if phase == "end" else 1)
    assert "4.3.2 going down" in outcome.dialogue
    assert outcome.verdicts[0]["skipped"] == [f"busy.example.net[127.0.0.2]:{world.port}: 4.3.2 going down"]
    free.stop()
    outcome = sender.send()
    assert (outcome.result, outcome.code, outcome.remote) == (
        Result.DEFERRED, 421, f"busy.example.net[127.0.0.2]:{world.port}",
    )  # fmt: skip


def test_an_exchanger_that_stays_silent_costs_its_time_out_once(world: World, sinks: Sinks) -> None:
    dead, alive = _listen(world, sinks, "127.0.0.2", "127.0.0.3")
    dead.always("banner", HANG)
    world.dns.add("example.net", "MX", "10 dead.example.net", "20 alive.example.net")
    world.dns.add("only.test", "MX", "10 dead.example.net")
    world.exchanger("dead.example.net", "127.0.0.2")
    world.exchanger("alive.example.net", "127.0.0.3")
    direct = Direct(
        hostname="mx.gateway.test", port=world.port, allow=world.settings.delivery_allow, timeouts=IMPATIENT
    )
    for _ in range(3):
        assert world.open(direct).send().result is Result.DELIVERED
    assert (dead.connections, alive.count) == (1, 3)
    outcome = world.open(direct).send("john@only.test")
    assert (outcome.result, outcome.enhanced, outcome.category) == (Result.DEFERRED, "4.4.1", "network")
    assert outcome.reply == "a moment ago: no reply to the connection within 0.3 s"
    assert dead.connections == 1
    dead.behave()
    with time_machine.travel(datetime.datetime.now() + datetime.timedelta(seconds=46), tick=True):
        assert world.open(direct).send("john@only.test").result is Result.DELIVERED


def test_a_refused_connection_is_tried_anew_each_time(world: World, sinks: Sinks) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2")
    world.exchanger("example.net", "127.0.0.2")
    sender = world.sender()
    sink.stop()
    assert sender.send().result is Result.DEFERRED
    sink.start()
    assert sender.send().result is Result.DELIVERED


def test_ipv6_where_there_is_no_other_and_after_ipv4_where_there_is(world: World, sinks: Sinks) -> None:
    six = sinks(host="::1")
    world.port = six.port
    four = sinks(host="127.0.0.2", port=world.port)
    world.dns.add("six.test", "AAAA", "::1")
    world.dns.add("both.test", "AAAA", "::1")
    world.dns.add("both.test", "A", "127.0.0.2")
    outcome = world.sender().send("x@six.test")
    assert (outcome.result, outcome.remote) == (Result.DELIVERED, f"six.test[::1]:{world.port}")
    assert world.sender().send("x@both.test").result is Result.DELIVERED
    four.stop()
    assert world.sender().send("x@both.test").result is Result.DELIVERED
    assert (six.count, four.count) == (2, 1)
    assert world.sender().send("x@[IPv6:::1]").result is Result.DELIVERED


# -- source addresses


def test_mail_leaves_from_the_addresses_that_are_named(world: World, sinks: Sinks) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2")
    domains = [f"d{n}.test" for n in range(12)]
    for domain in domains:
        world.dns.add(domain, "MX", "10 mx.example.net")
    world.exchanger("mx.example.net", "127.0.0.2")
    sources = (Source("127.0.0.11", "one.gateway.test"), Source("127.0.0.12"), Source("::1"))
    used: dict[str, str] = {}
    for _ in range(2):
        sender = world.sender(sources=sources)
        for domain in domains:
            outcome = sender.send(f"x@{domain}")
            assert outcome.result is Result.DELIVERED
            gate = outcome.verdicts[2]
            assert gate["gate"] == "source"
            assert used.setdefault(domain, gate["address"]) == gate["address"]
            assert gate["ehlo"] == {"127.0.0.11": "one.gateway.test", "127.0.0.12": "mx.gateway.test"}[gate["address"]]
            assert sink.messages[-1].helo == gate["ehlo"]
        sender.close()
    assert set(used.values()) == {"127.0.0.11", "127.0.0.12"} == set(sink.peers)
    # Domains with the same exchangers and the same source share a connection.
    assert sink.connections == 4


def test_a_source_that_is_not_ours_defers_and_says_so(world: World, sinks: Sinks) -> None:
    (sink,) = _listen(world, sinks, "127.0.0.2")
    world.exchanger("example.net", "127.0.0.2")
    outcome = world.sender(sources=(Source("192.0.2.1"),)).send()
    assert (outcome.result, outcome.category) == (Result.DEFERRED, "ours")
    assert "COMMANDPOST_SOURCE_ADDRESSES: 192.0.2.1" in outcome.reply
    assert sink.connections == 0


def test_an_exchanger_under_the_name_of_a_source_is_this_host(world: World, sinks: Sinks) -> None:
    world.dns.add("example.net", "MX", "10 one.gateway.test")
    outcome = world.sender(sources=(Source("127.0.0.11", "one.gateway.test"),)).send()
    assert (outcome.result, outcome.enhanced) == (Result.BOUNCED, "5.4.6")


# -- TLS that a message asks for


def test_a_message_that_needs_tls_never_leaves_in_the_clear(
    world: World, sinks: Sinks, certificate: Certificate
) -> None:
    clear, safe = _listen(world, sinks, "127.0.0.2", "127.0.0.3")
    safe.context = certificate.server_context()
    world.exchanger("clear.test", "127.0.0.2")
    world.dns.add("mixed.test", "MX", "10 clear.test", "20 safe.test")
    world.exchanger("safe.test", "127.0.0.3")
    sender = world.sender()
    assert sender.send("a@clear.test").result is Result.DELIVERED
    outcome = sender.send("b@clear.test", tls_required=True)
    assert (outcome.result, outcome.category) == (Result.DEFERRED, "policy")
    assert outcome.reply == "TLS is required and the server does not offer it"
    assert outcome.verdicts[1] == {"gate": "tls", "policy": "required", "result": "not offered"}
    assert clear.count == 1
    outcome = sender.send("c@mixed.test", tls_required=True)
    assert (outcome.result, outcome.tls) == (Result.DELIVERED, "TLSv1.3")
    # What is encrypted already serves both.
    assert sender.send("d@mixed.test").result is Result.DELIVERED
    assert (clear.count, safe.count, safe.connections) == (1, 2, 1)


# -- names


def test_a_domain_in_any_script(world: World, sinks: Sinks) -> None:
    sink = sinks(host="127.0.0.2", extensions=("PIPELINING",))
    world.port = sink.port
    world.dns.add("xn--bcher-kva.example", "MX", "10 mx.example.net")
    world.exchanger("mx.example.net", "127.0.0.2")
    sender = world.sender()
    assert sender.send("john@Bücher.example").result is Result.DELIVERED
    assert sink.messages[0].rcpts == ["john@xn--bcher-kva.example"]
    assert sender.send("jürgen@bücher.example").enhanced == "5.6.7"
    assert sender.send("john@bü\u2024cher.example").enhanced == "5.1.2"


def test_aliases_that_go_round_defer_or_bounce_and_end(world: World) -> None:
    world.dns.add("example.net", "MX", "10 a.example.net")
    world.dns.add("a.example.net", "CNAME", "b.example.net")
    world.dns.add("b.example.net", "CNAME", "a.example.net")
    assert world.sender().send().result in (Result.DEFERRED, Result.BOUNCED)
