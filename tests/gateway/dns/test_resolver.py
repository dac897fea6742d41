from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import time_machine

from gateway import config
from gateway.dns import resolver as module
from gateway.dns.resolver import DnsUnavailable, Found, MxHost, Resolver, Tlsa, resolver
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer() as running:
        yield running


@pytest.fixture
def dns(server: DnsServer) -> Resolver:
    return _resolver(server)


def _resolver(server: DnsServer, lifetime: float = 3.0) -> Resolver:
    return Resolver((config.Address("127.0.0.1", server.port),), lifetime=lifetime)


def test_txt_joins_the_strings_of_a_record_and_keeps_records_apart(server: DnsServer, dns: Resolver) -> None:
    long = "v=DKIM1; k=rsa; p=" + "A" * 400
    server.add("k._domainkey.example.com", "TXT", long)
    server.add("k._domainkey.example.com", "TXT", "other")
    assert sorted(dns.txt("k._domainkey.EXAMPLE.com.")) == ["other", long]


def test_an_answer_that_fits_no_datagram_comes_over_tcp(server: DnsServer, dns: Resolver) -> None:
    server.add("big.example.com", "TXT", *(f"{n} " + "x" * 240 for n in range(20)))
    assert len(dns.txt("big.example.com")) == 20


def test_mx_hosts_come_best_first_in_lower_case(server: DnsServer, dns: Resolver) -> None:
    server.add("example.com", "MX", "20 b.example.com", "10 A.Example.COM", "10 c.example.com")
    assert dns.mx("example.com") == [
        MxHost(10, "a.example.com"),
        MxHost(10, "c.example.com"),
        MxHost(20, "b.example.com"),
    ]


def test_a_null_mx_is_told_from_no_mx(server: DnsServer, dns: Resolver) -> None:
    server.add("refuses.example.com", "MX", "0 .")
    server.add("silent.example.com", "A", "127.0.0.9")
    assert [host.null for host in dns.mx("refuses.example.com")] == [True]
    assert dns.mx("silent.example.com") == []


def test_a_null_mx_beside_a_real_one_means_nothing(server: DnsServer, dns: Resolver) -> None:
    server.add("example.com", "MX", "0 .", "10 mx.example.com")
    assert dns.mx("example.com") == [MxHost(10, "mx.example.com")]


def test_cname_and_addresses_behind_it(server: DnsServer, dns: Resolver) -> None:
    server.add("bounce.example.com", "CNAME", "MX.gateway.test")
    server.add("mx.gateway.test", "A", "192.0.2.1")
    server.add("mx.gateway.test", "AAAA", "2001:db8::1")
    assert dns.cname("bounce.example.com") == "mx.gateway.test"
    assert dns.cname("mx.gateway.test") is None
    assert dns.addresses("bounce.example.com") == ["192.0.2.1", "2001:db8::1"]


def test_reverse(server: DnsServer, dns: Resolver) -> None:
    server.add("1.2.0.192.in-addr.arpa", "PTR", "Mail.example.com")
    assert dns.ptr("192.0.2.1") == "mail.example.com"
    assert dns.ptr("192.0.2.2") is None


def test_literal_addresses_and_localhost_are_never_asked_for(server: DnsServer, dns: Resolver) -> None:
    assert dns.addresses("192.0.2.7") == ["192.0.2.7"]
    assert dns.addresses("[2001:DB8::7]") == ["2001:db8::7"]
    assert dns.addresses("localhost") == ["127.0.0.1", "::1"]
    assert not server.queries


@pytest.mark.parametrize("name", ["absent.example.org", "a..b", "x" * 64 + ".example.com", "y." * 130 + "com"])
def test_what_does_not_exist_is_empty_not_an_error(server: DnsServer, dns: Resolver, name: str) -> None:
    assert dns.txt(name) == []
    assert dns.mx(name) == []
    assert dns.addresses(name) == []
    assert dns.cname(name) is None


def test_servfail_is_unavailable_not_absent(server: DnsServer, dns: Resolver) -> None:
    server.servfail("broken.example.com")
    for ask in (dns.txt, dns.mx, dns.addresses, dns.cname):
        with pytest.raises(DnsUnavailable, match=r"broken\.example\.com"):
            ask("broken.example.com")


def test_silence_is_unavailable_within_the_lifetime(server: DnsServer) -> None:
    server.silence("silent.example.com")
    with pytest.raises(DnsUnavailable, match="no answer in time"):
        _resolver(server, lifetime=0.3).txt("silent.example.com")


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(DnsUnavailable):
        Resolver((config.Address("127.0.0.1", port),), lifetime=0.5).mx("example.com")


def test_the_second_server_answers_for_a_first_that_fails(server: DnsServer) -> None:
    server.add("example.com", "TXT", "here")
    with DnsServer() as broken:
        broken.servfail("example.com")
        both = (config.Address("127.0.0.1", broken.port), config.Address("127.0.0.1", server.port))
        assert Resolver(both).txt("example.com") == ["here"]


def test_answers_are_cached_for_their_ttl_and_at_most_five_minutes() -> None:
    with DnsServer(ttl=86_400) as server, time_machine.travel("2026-01-01T00:00:00Z", tick=False) as traveller:
        server.add("example.com", "TXT", "one")
        dns = _resolver(server)
        assert dns.txt("example.com") == ["one"]
        server.set("example.com", "TXT", "two")
        traveller.shift(299)
        assert dns.txt("Example.com.") == ["one"]
        assert server.asked("example.com", "TXT") == 1
        assert dns.uncached().txt("example.com") == ["two"]
        traveller.shift(2)
        assert dns.txt("example.com") == ["two"]


def test_absence_is_cached_for_a_short_time(server: DnsServer, dns: Resolver) -> None:
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False) as traveller:
        assert dns.txt("new.example.com") == []
        assert dns.txt("new.example.com") == []
        assert server.asked("new.example.com", "TXT") == 1
        server.add("new.example.com", "TXT", "now")
        traveller.shift(31)
        assert dns.txt("new.example.com") == ["now"]


def test_an_outage_is_not_cached_and_a_ttl_of_zero_neither(server: DnsServer, dns: Resolver) -> None:
    server.add("example.com", "TXT", "here")
    server.servfail("example.com")
    with pytest.raises(DnsUnavailable):
        dns.txt("example.com")
    server.heal("example.com")
    assert dns.txt("example.com") == ["here"]
    server.set("example.com", "TXT", "changed")
    assert dns.txt("example.com") == ["changed"]


def test_a_caller_cannot_change_what_is_cached() -> None:
    with DnsServer(ttl=60) as server:
        server.add("example.com", "TXT", "here")
        dns = _resolver(server)
        dns.txt("example.com").clear()
        dns.txt("example.com").clear()
        assert dns.txt("example.com") == ["here"]


def test_the_cache_is_bounded_and_drops_what_was_used_least() -> None:
    cache = module._Cache(2)
    for key in ("a", "b"):
        cache.put((key, "TXT"), (key,), 60)
    cache.get(("a", "TXT"))
    cache.put(("c", "TXT"), ("c",), 60)
    assert cache.get(("b", "TXT")) is None
    assert cache.get(("a", "TXT")) == ("a",)


def test_the_resolver_follows_the_settings(tmp_path: Path) -> None:
    try:
        with DnsServer() as one, DnsServer() as two:
            one.add("example.com", "TXT", "one")
            two.add("example.com", "TXT", "two")
            use_settings(tmp_path, DNS=one.address)
            assert resolver().txt("example.com") == ["one"]
            assert resolver() is resolver()
            use_settings(tmp_path, DNS=two.address)
            assert resolver().txt("example.com") == ["two"]
            module.use(_resolver(one))
            assert resolver().txt("example.com") == ["one"]
    finally:
        module.use(None)
        config.use(None)


def test_without_servers_addresses_come_from_the_system() -> None:
    host = socket.gethostname()
    try:
        expected = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except socket.gaierror:
        pytest.skip("this system does not know its own name")
    assert set(Resolver().addresses(host)) == expected


def test_whether_an_answer_was_validated(server: DnsServer, dns: Resolver) -> None:
    server.sign("example.com")
    for zone in ("example.com", "example.org"):
        server.add(zone, "MX", f"10 mx.{zone}")
        server.add(f"mx.{zone}", "A", "192.0.2.1")
    assert dns.exchangers("example.com").authentic
    assert not dns.exchangers("example.org").authentic
    # That there is nothing may be validated too.
    assert dns.exchangers("mx.example.com") == Found((), True, "mx.example.com")
    assert dns.exchangers("nowhere.example.com") == Found((), True, "nowhere.example.com")
    assert not dns.exchangers("nowhere.example.org").authentic
    assert dns.exchangers("example.com").authentic, "and it stays so in the cache"


def test_tlsa_records(server: DnsServer, dns: Resolver) -> None:
    server.add("_25._tcp.mx.example.com", "TLSA", "3 1 1 " + "ab" * 32, "2 0 2 " + "cd" * 64)
    found = dns.tlsa("_25._tcp.mx.example.com")
    assert set(found.values) == {Tlsa(3, 1, 1, b"\xab" * 32), Tlsa(2, 0, 2, b"\xcd" * 64)}
    assert dns.tlsa("_25._tcp.other.example.com").values == ()
    server.servfail("_25._tcp.broken.example.com")
    with pytest.raises(DnsUnavailable):
        dns.tlsa("_25._tcp.broken.example.com")


def test_the_names_that_tlsa_records_count_under(server: DnsServer, dns: Resolver) -> None:
    server.sign("example.com")
    server.add("four.example.com", "A", "192.0.2.1")
    server.add("six.example.com", "AAAA", "2001:db8::1")
    server.add("alias.example.com", "CNAME", "four.example.com")
    server.add("away.example.com", "CNAME", "mx.example.org")
    server.add("mx.example.org", "A", "192.0.2.1")
    assert dns.tlsa_bases("four.example.com") == ("four.example.com",)
    assert dns.tlsa_bases("six.example.com") == ("six.example.com",)
    assert dns.tlsa_bases("alias.example.com") == ("four.example.com", "alias.example.com")
    assert dns.tlsa_bases("away.example.com") == ("away.example.com",)
    assert dns.tlsa_bases("mx.example.org") == ()
