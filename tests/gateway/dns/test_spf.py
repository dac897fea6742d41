"""SPF as receivers count and evaluate it, against a real DNS server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway import config
from gateway.dns import spf
from gateway.dns.resolver import DnsUnavailable, Resolver
from tests.peers.dns_server import DnsServer

IP, OTHER, SIX = "192.0.2.10", "198.51.100.7", "2001:db8::5"


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


def walk(dns: DnsServer, name: str = "shop.test") -> spf.Walk:
    asked = Resolver((config.Address("127.0.0.1", dns.port),), lifetime=2)
    return spf.walk(name, dns=asked, addresses=[IP, OTHER, SIX])


@pytest.mark.parametrize(
    ("record", "passing"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", {IP}),
        ("v=spf1 ip4:192.0.2.10 ip6:2001:db8::/32 ~all", {IP, SIX}),
        ("v=spf1 -ip4:192.0.2.10 ip4:192.0.2.0/24 +all", {OTHER, SIX}),
        ("v=spf1 a -all", {IP}),
        ("v=spf1 a:other.test/24 -all", {OTHER}),
        ("v=spf1 mx ?all", {IP}),
        ("v=spf1 include:inner.test -all", {OTHER}),
        ("v=spf1 redirect=inner.test", {OTHER}),
        ("v=spf1 exists:other.test -all", {IP, OTHER, SIX}),
        ("V=SPF1 IP4:192.0.2.10 -ALL", {IP}),
    ],
)
def test_which_addresses_pass(dns: DnsServer, record: str, passing: set[str]) -> None:
    dns.add("shop.test", "TXT", record, "google-site-verification=x")
    dns.add("shop.test", "A", IP)
    dns.add("shop.test", "MX", "10 shop.test")
    dns.add("other.test", "A", "198.51.100.1")
    dns.add("inner.test", "TXT", "v=spf1 ip4:198.51.100.0/24 -all")
    found = walk(dns)
    assert (found.faults, found.passing) == ([], passing)


def test_lookups_are_counted_through_includes(dns: DnsServer) -> None:
    dns.add("shop.test", "TXT", "v=spf1 " + " ".join(f"include:i{n}.test" for n in range(5)) + " -all")
    for n in range(5):
        dns.add(f"i{n}.test", "TXT", "v=spf1 a:host.test -all")
    dns.add("host.test", "A", IP)
    assert (walk(dns).lookups, walk(dns).faults) == (10, [])
    dns.set("i4.test", "TXT", "v=spf1 a:host.test mx:host.test -all")
    found = walk(dns)
    assert (found.lookups, len(found.faults)) == (11, 1)
    assert "11 DNS lookups" in found.faults[0]


def test_void_lookups_are_counted(dns: DnsServer) -> None:
    dns.add("shop.test", "TXT", "v=spf1 a:no1.test a:no2.test -all")
    assert (walk(dns).voids, walk(dns).faults) == (2, [])
    dns.set("shop.test", "TXT", "v=spf1 a:no1.test a:no2.test mx:no3.test -all")
    assert walk(dns).voids == 3
    assert not walk(dns).valid


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 include:nobody.test -all", "v=spf1 include:shop.test -all", "v=spf1 ip4:300.1.1.1 -all",
        "v=spf1 nonsense -all", "v=spf1 ip4 -all", "v=spf1 redirect=nobody.test",
    ],
)  # fmt: skip
def test_what_is_an_error_to_receivers(dns: DnsServer, record: str) -> None:
    dns.add("shop.test", "TXT", record)
    assert not walk(dns).valid


def test_two_records_are_none_and_none_is_no_fault(dns: DnsServer) -> None:
    assert walk(dns) == spf.Walk()
    dns.add("shop.test", "TXT", "v=spf1 -all", "v=spf1 ~all")
    assert len(walk(dns).records) == 2
    assert not walk(dns).valid


def test_a_record_that_never_ends_does(dns: DnsServer) -> None:
    for n in range(50):
        dns.add(f"l{n}.test", "TXT", f"v=spf1 include:l{n + 1}.test include:l{n + 1}.test -all")
    found = walk(dns, "l0.test")
    assert found.lookups > spf.LOOKUPS_MOST
    assert sum(dns.queries.values()) < 100


def test_an_unavailable_dns_says_nothing(dns: DnsServer) -> None:
    dns.servfail("shop.test")
    with pytest.raises(DnsUnavailable):
        walk(dns)
