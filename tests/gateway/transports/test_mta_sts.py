"""MTA-STS: reading, fetching and keeping policies, and what they do to a delivery."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import time_machine

from gateway import clock, config
from gateway.dns import resolver as dns_resolver
from gateway.transports import http_call, mta_sts, tls
from gateway.transports.mta_sts import BadPolicy, MtaSts, Policy
from gateway.transports.mx import Direct
from gateway.transports.outcome import Result
from tests.conftest import use_settings
from tests.gateway.transports.conftest import PATIENT, Sender
from tests.peers.certificate import Authority, Certificate
from tests.peers.dns_server import DnsServer
from tests.peers.http_sink import Answer, HttpSink
from tests.peers.smtp_sink import Act, SmtpSink

PATH = "/.well-known/mta-sts.txt"
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}
Sinks = Callable[..., SmtpSink]


def _text(mode: str = "enforce", mx: tuple[str, ...] = ("mx.example.net",), age: int = 86_400) -> bytes:
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {pattern}" for pattern in mx), f"max_age: {age}", ""]
    return "\r\n".join(lines).encode()


class Kept(dict[str, Policy]):
    """A store that several processes share."""

    def load(self, domain: str) -> Policy | None:
        return self.get(domain)

    def save(self, domain: str, policy: Policy) -> None:
        self[domain] = policy


class World:
    def __init__(self, dns: DnsServer, settings: config.Settings, authority: Authority, host: HttpSink) -> None:
        self.dns, self.settings, self.authority, self.host = dns, settings, authority, host
        self.store = Kept()
        self.port = 1
        self._opened: list[Sender] = []
        dns.add("mta-sts.example.net", "A", "127.0.0.1")
        self.publish()

    def publish(self, body: bytes | None = None, *, id: str = "1", answer: Answer | None = None) -> None:
        self.dns.set("_mta-sts.example.net", "TXT", f"v=STSv1; id={id};")
        self.host.always(PATH, answer or Answer(200, body or _text(), PLAIN))

    def sts(self) -> MtaSts:
        """As another process would make it."""
        return MtaSts(self.store, allow=self.settings.delivery_allow, port=self.host.port)

    def sender(self, sts: MtaSts | None = None) -> Sender:
        direct = Direct(
            hostname="mx.gateway.test",
            port=self.port,
            allow=self.settings.delivery_allow,
            timeouts=PATIENT,
            sts=sts or self.sts(),
        )
        self._opened.append(Sender(direct.open()))
        return self._opened[-1]

    def exchanger(
        self, sinks: Sinks, name: str, address: str, certificate: Certificate | None, n: int = 10
    ) -> SmtpSink:
        sink = sinks(host=address, port=self.port if self.port > 1 else 0, tls=certificate)
        self.port = sink.port
        self.dns.add("example.net", "MX", f"{n} {name}")
        self.dns.add(name, "A", address)
        return sink

    def close(self) -> None:
        for sender in self._opened:
            sender.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: Authority) -> Iterator[World]:
    trusting = ssl.create_default_context(cafile=str(authority.trust))
    monkeypatch.setattr(http_call, "tls_context", lambda: trusting)
    monkeypatch.setattr(tls, "verifying_context", lambda: trusting)
    with DnsServer() as dns, HttpSink(tls=authority.issue("mta-sts.example.net")) as host:
        settings = use_settings(tmp_path, DNS=dns.address, DELIVERY_ALLOW="127.0.0.0/8")
        monkeypatch.setattr(dns_resolver, "_used", dns_resolver.Resolver(settings.dns, lifetime=0.5))
        world = World(dns, settings, authority, host)
        yield world
        world.close()
        config.use(None)


# -- reading


def test_a_policy_is_read_as_the_rfc_writes_it() -> None:
    lines = ("version: STSv1", "mode: enforce", "mx: mail.example.com", "mx: *.Example.net", "mx: backup.example.com")
    policy = mta_sts.parse("\n".join((*lines, "max_age: 604800", "")).encode())
    assert (policy.mode, policy.mx) == ("enforce", ("mail.example.com", "*.example.net", "backup.example.com"))
    assert policy.expires_ms - policy.fetched_ms == 604_800_000


def test_what_a_policy_may_also_hold() -> None:
    body = b"version: STSv1\r\nfuture: thing\r\nmode:testing\r\nmode: none\r\nmx:  a.example \r\nmax_age: 9999999999"
    policy = mta_sts.parse(body)
    assert (policy.mode, policy.mx) == ("testing", ("a.example",))
    assert policy.expires_ms - policy.fetched_ms == mta_sts.LONGEST_AGE * 1000
    assert mta_sts.parse(b"version: STSv1\nmode: none\nmax_age: 60\n").mx == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"mode: enforce\nmx: a.example\nmax_age: 60\n",
        b"version: STSv2\nmode: enforce\nmx: a.example\nmax_age: 60\n",
        b"version: STSv1\nmode: maybe\nmx: a.example\nmax_age: 60\n",
        b"version: STSv1\nmode: enforce\nmx: a.example\n",
        b"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1\n",
        b"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: soon\n",
        b"version: STSv1\nmode: enforce\nmax_age: 60\n",
        b"version: STSv1\nmode: enforce\nmx: *\nmax_age: 60\n",
        b"version: STSv1\nmode: enforce\nmx: a.*.example\nmax_age: 60\n",
        b"<html>\xff\xfe</html>",
    ],
)
def test_what_is_no_policy(body: bytes) -> None:
    with pytest.raises(BadPolicy):
        mta_sts.parse(body)


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("mx.example.net", True),
        ("a.mail.example.net", True),
        ("mail.example.net", False),
        ("b.a.mail.example.net", False),
        ("xmail.example.net", False),
        ("example.net", False),
    ],
)
def test_a_wildcard_stands_for_one_label(host: str, covered: bool) -> None:
    assert Policy("1", "enforce", ("mx.example.net", "*.mail.example.net"), 0, 0).covers(host) is covered


@pytest.mark.parametrize(
    ("records", "id_"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=1"], "1"),
        (["v=spf1 -all", "v=STSv1; id=1; x=y"], "1"),
        (["v=STSv1; id=1", "v=STSv1; id=2"], ""),
        (["v=STSv1; id=no-good"], ""),
        (["v=STSv1; id=" + "1" * 33], ""),
        (["v=STSv1"], ""),
        (["v=STSv10; id=1"], ""),
        ([], ""),
    ],
)
def test_the_id_of_the_record(world: World, records: list[str], id_: str) -> None:
    world.dns.set("_mta-sts.example.net", "TXT", *records)
    assert mta_sts.published("example.net") == id_


# -- fetching and keeping


def test_a_policy_is_fetched_once_for_all_processes(world: World) -> None:
    first = world.sts().policy("example.net")
    assert first is not None
    assert (first.id, first.mode, first.mx) == ("1", "enforce", ("mx.example.net",))
    assert world.sts().policy("example.net") == first
    (request,) = world.host.requests
    assert (request.method, request.path, request.headers["host"]) == (
        "GET", PATH, f"mta-sts.example.net:{world.host.port}",
    )  # fmt: skip


def test_a_domain_without_a_record_is_not_asked(world: World) -> None:
    world.dns.remove("_mta-sts.example.net")
    assert world.sts().policy("example.net") is None
    assert world.host.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, _text(), PLAIN),
        Answer(500, _text(), PLAIN),
        Answer(301, _text(), {**PLAIN, "Location": "/elsewhere"}),
        Answer(200, _text(), {"Content-Type": "text/html"}),
        Answer(200, _text(), {}),
        Answer(200, _text() + b"x: y\r\n" * 12_000, PLAIN),
        Answer(200, b"nothing of the kind", PLAIN),
        Answer(end="close"),
        Answer(end="reset"),
    ],
    ids=["404", "500", "redirect", "html", "no type", "too long", "no policy", "close", "reset"],
)
def test_what_cannot_be_had_counts_for_nothing_and_is_not_asked_for_with_each_message(
    world: World, answer: Answer
) -> None:
    world.publish(answer=answer)
    sts = world.sts()
    assert sts.policy("example.net") is None
    assert sts.policy("example.net") is None
    assert len(world.host.requests) == 1
    assert world.store == {}
    with time_machine.travel(datetime.datetime.now() + datetime.timedelta(seconds=301), tick=True):
        world.publish()
        assert sts.policy("example.net") is not None


@pytest.mark.parametrize("names", [("other.example.net",), ("*.net",)])
def test_the_policy_host_proves_its_name(world: World, names: tuple[str, ...]) -> None:
    with HttpSink(tls=world.authority.issue(*names)) as host:
        host.always(PATH, Answer(200, _text(), PLAIN))
        world.host = host
        assert world.sts().policy("example.net") is None
        assert host.requests == []


def test_private_policy_hosts_are_not_asked(world: World) -> None:
    assert MtaSts(world.store, allow=(), port=world.host.port).policy("example.net") is None
    assert world.host.requests == []


def test_another_id_means_another_policy(world: World) -> None:
    sts = world.sts()
    assert sts.policy("example.net") is not None
    world.publish(_text("testing", ("*.example.net",)), id="2")
    found = sts.policy("example.net")
    assert found is not None
    assert (found.id, found.mode, found.mx) == ("2", "testing", ("*.example.net",))


def test_a_new_policy_that_cannot_be_had_leaves_the_old_one_until_it_runs_out(world: World) -> None:
    assert world.sts().policy("example.net") is not None
    world.publish(id="2", answer=Answer(503))
    assert world.sts().policy("example.net") == world.store["example.net"]
    world.dns.remove("_mta-sts.example.net")
    assert world.sts().policy("example.net") == world.store["example.net"]
    world.dns.servfail("_mta-sts.example.net")
    assert world.sts().policy("example.net") == world.store["example.net"]
    with time_machine.travel(datetime.datetime.now() + datetime.timedelta(days=1, seconds=1), tick=True):
        assert world.sts().policy("example.net") is None


def test_mode_none_takes_a_policy_back(world: World) -> None:
    assert world.sts().policy("example.net") is not None
    world.publish(b"version: STSv1\nmode: none\nmax_age: 86400\n", id="2")
    sts = world.sts()
    assert sts.policy("example.net") is None
    assert sts.policy("example.net") is None
    assert len(world.host.requests) == 2


def test_a_policy_in_use_is_asked_for_before_it_runs_out(world: World) -> None:
    sts = world.sts()
    assert sts.policy("example.net") is not None
    with time_machine.travel(datetime.datetime.now() + datetime.timedelta(hours=13), tick=True):
        found = sts.policy("example.net")
        assert found is not None
        assert found.expires_ms > clock.now_ms() + 23 * 3_600_000
    assert len(world.host.requests) == 2


def test_a_zone_that_drops_the_question_is_not_asked_with_each_message(world: World) -> None:
    world.dns.silence("_mta-sts.example.net")
    sts = world.sts()
    assert sts.policy("example.net") is None
    asked = world.dns.asked("_mta-sts.example.net", "TXT")
    assert sts.policy("example.net") is None
    assert world.dns.asked("_mta-sts.example.net", "TXT") == asked


# -- delivering


def _tls(outcome: object) -> dict[str, str]:
    return next(v for v in outcome.verdicts if v["gate"] == "tls")  # type: ignore[attr-defined]


def test_enforced_delivery_over_a_valid_certificate(world: World, sinks: Sinks) -> None:
    sink = world.exchanger(sinks, "mx.example.net", "127.0.0.2", world.authority.issue("mx.example.net"))
    outcome = world.sender().send()
    assert (outcome.result, outcome.tls, sink.messages[0].tls) == (Result.DELIVERED, "TLSv1.3", "TLSv1.3")
    assert outcome.verdicts == (
        {"gate": "route", "host": "mx.example.net"},
        {
            "gate": "tls",
            "policy": "mta-sts",
            "result": "TLSv1.3, certificate verified",
            "certificate": ", issued by CN=Test Authority",
        },
    )


@pytest.mark.parametrize("fault", ["no TLS", "STARTTLS refused", "self-signed", "expired", "another name", "handshake"])
def test_enforced_delivery_never_goes_on_without(
    world: World, sinks: Sinks, certificate: Certificate, fault: str
) -> None:
    served = {
        "no TLS": None,
        "self-signed": certificate,
        "expired": world.authority.issue("mx.example.net", days=-1),
        "another name": world.authority.issue("other.example.net"),
    }.get(fault, world.authority.issue("mx.example.net"))
    sink = world.exchanger(sinks, "mx.example.net", "127.0.0.2", served)
    if fault == "STARTTLS refused":
        sink.always("starttls", "454 4.7.0 not now")
    if fault == "handshake":
        sink.always("starttls", Act(b"220 go\r\n", "close"))
    sender = world.sender()
    outcome = sender.send()
    assert outcome.result is Result.DEFERRED
    assert outcome.category in ("policy", "network")
    assert sender.announced == 0
    assert not [line for _, line in sink.commands if line.startswith("MAIL")]
    assert sink.transactions == []
    assert _tls(outcome)["policy"] == "mta-sts"
    if fault in ("no TLS", "self-signed", "expired", "another name"):
        assert outcome.category == "policy"
        assert outcome.reply.startswith("MTA-STS requires TLS")


def test_the_next_exchanger_is_tried(world: World, sinks: Sinks) -> None:
    world.publish(_text(mx=("*.example.net",)))
    bad = world.exchanger(sinks, "bad.example.net", "127.0.0.2", world.authority.issue("no.example.net"))
    good = world.exchanger(sinks, "good.example.net", "127.0.0.3", world.authority.issue("good.example.net"), 20)
    outcome = world.sender().send()
    assert (outcome.result, bad.count, good.count) == (Result.DELIVERED, 0, 1)
    (skipped,) = outcome.verdicts[0]["skipped"]
    assert skipped.startswith(f"bad.example.net[127.0.0.2]:{world.port}: MTA-STS requires TLS with a valid certificate")


def test_an_exchanger_outside_the_policy_is_not_used(world: World, sinks: Sinks) -> None:
    other = world.exchanger(sinks, "mx.elsewhere.test", "127.0.0.2", world.authority.issue("mx.elsewhere.test"))
    outcome = world.sender().send()
    assert (outcome.result, outcome.category, outcome.enhanced) == (Result.DEFERRED, "policy", "4.7.5")
    assert "MTA-STS of example.net" in outcome.reply
    assert other.connections == 0
    assert outcome.verdicts[0]["skipped"] == ["mx.elsewhere.test: it is not in the MTA-STS policy"]
    named = world.exchanger(sinks, "mx.example.net", "127.0.0.3", world.authority.issue("mx.example.net"), 20)
    assert world.sender().send().result is Result.DELIVERED
    assert (other.connections, named.count) == (0, 1)


def test_testing_tells_what_enforcing_would_have_done(world: World, sinks: Sinks, certificate: Certificate) -> None:
    world.publish(_text("testing"))
    world.exchanger(sinks, "mx.example.net", "127.0.0.2", certificate)
    outcome = world.sender().send()
    assert (outcome.result, _tls(outcome)["policy"]) == (Result.DELIVERED, "opportunistic")
    assert _tls(outcome)["mta_sts_testing"] == "no valid certificate"
    world.publish(_text("testing", ("other.example.net",)), id="2")
    outcome = world.sender().send()
    assert (outcome.result, _tls(outcome)["mta_sts_testing"]) == (
        Result.DELIVERED, "it is not in the MTA-STS policy",
    )  # fmt: skip


def test_testing_passes(world: World, sinks: Sinks) -> None:
    world.publish(_text("testing"))
    world.exchanger(sinks, "mx.example.net", "127.0.0.2", world.authority.issue("mx.example.net"))
    assert _tls(world.sender().send())["mta_sts_testing"] == "passes"


def test_connections_are_shared_only_under_equal_policies(world: World, sinks: Sinks) -> None:
    sink = world.exchanger(sinks, "mx.example.net", "127.0.0.2", world.authority.issue("mx.example.net"))
    world.dns.add("without.test", "MX", "10 mx.example.net")
    sender = world.sender()
    for rcpt in ("a@example.net", "b@without.test", "c@example.net", "d@without.test"):
        assert sender.send(rcpt).result is Result.DELIVERED
    assert [t.connection for t in sink.messages] == [1, 2, 1, 2]
