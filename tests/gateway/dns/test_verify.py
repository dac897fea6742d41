from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import config
from gateway.dns.records import PublicKey, Purpose, WantedRecord, wanted
from gateway.dns.verify import Checked, check
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer

HOST = "mx.gateway.test"
RSA = "A" * 392  # longer than one string of a TXT record


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as running:
        use_settings(tmp_path, DNS=running.address)
        yield running
    config.use(None)


def _wanted(domain: str = "example.com") -> list[WantedRecord]:
    keys = [PublicKey("r", "rsa", RSA), PublicKey("e", "ed25519", "BBBB")]
    return wanted(domain=domain, token="abc", keys=keys, return_path=f"bounce.{domain}", hostname=HOST)


def _publish(server: DnsServer, records: list[WantedRecord]) -> None:
    for record in records:
        server.set(record.host, record.type, record.value)


def _by_purpose(checked: list[Checked], purpose: Purpose) -> Checked:
    return next(item for item in checked if item.record.purpose is purpose)


def test_published_records_are_verified_in_their_order(server: DnsServer) -> None:
    records = _wanted()
    _publish(server, records)
    checked = check(records)
    assert [item.record for item in checked] == records
    assert [item.verified for item in checked] == [True] * 7
    assert [item.value for item in checked] == [record.value for record in records]


def test_absent_records_are_results(server: DnsServer) -> None:
    checked = check(_wanted())
    assert [item.verified for item in checked] == [False] * 7
    assert all("no " in item.note for item in checked)


def test_other_records_at_the_name_do_not_disturb(server: DnsServer) -> None:
    records = _wanted()
    for record in records:
        if record.type == "TXT":
            server.add(record.host, "TXT", "google-site-verification=x")
            server.add(record.host, "TXT", record.value)
    assert all(item.verified for item in check(records) if item.record.type == "TXT")


def test_a_wrong_value_is_shown(server: DnsServer) -> None:
    records = _wanted()
    server.set("bounce.example.com", "CNAME", "elsewhere.test")
    server.set("r._domainkey.example.com", "TXT", "v=DKIM1; k=rsa; p=")
    checked = check(records)
    assert "elsewhere.test" in _by_purpose(checked, Purpose.RETURN_PATH).note
    dkim = _by_purpose(checked, Purpose.DKIM)
    assert dkim.verified is False
    assert "v=DKIM1; k=rsa; p=" in dkim.note


def test_an_existing_spf_record_is_merged(server: DnsServer) -> None:
    server.set("example.com", "TXT", "v=spf1 mx -all")
    spf = _by_purpose(check(_wanted()), Purpose.SPF)
    assert (spf.verified, spf.value) == (False, f"v=spf1 mx include:{HOST} -all")
    server.set("example.com", "TXT", spf.value)
    assert _by_purpose(check(_wanted()), Purpose.SPF).verified is True


def test_two_spf_records_are_none_even_when_one_is_right(server: DnsServer) -> None:
    server.set("example.com", "TXT", "v=spf1 mx -all", f"v=spf1 include:{HOST} ~all")
    spf = _by_purpose(check(_wanted()), Purpose.SPF)
    assert spf.verified is False
    assert "2 SPF records" in spf.note
    assert sorted(spf.value.split()) == sorted(f"v=spf1 mx include:{HOST} -all".split())


def test_a_policy_above_the_domain_counts(server: DnsServer) -> None:
    records = _wanted("a.b.example.com")
    server.set("_dmarc.example.com", "TXT", "v=DMARC1; p=reject")
    dmarc = _by_purpose(check(records), Purpose.DMARC)
    assert (dmarc.verified, dmarc.value) == (True, "v=DMARC1; p=none")
    assert server.asked("_dmarc.com", "TXT") == 0


def test_the_published_policy_is_shown(server: DnsServer) -> None:
    server.set("_dmarc.example.com", "TXT", "v=DMARC1; p=reject")
    assert _by_purpose(check(_wanted()), Purpose.DMARC).value == "v=DMARC1; p=reject"


def test_an_outage_is_neither_true_nor_false(server: DnsServer) -> None:
    records = _wanted()
    _publish(server, records)
    server.servfail("_commandpost.example.com")
    checked = check(records)
    assert _by_purpose(checked, Purpose.OWNERSHIP).verified is None
    assert "no usable answer" in _by_purpose(checked, Purpose.OWNERSHIP).note
    assert [item.verified for item in checked].count(True) == 6


def test_silence_delays_no_longer_than_the_timeout(server: DnsServer) -> None:
    records = _wanted()
    _publish(server, records)
    for record in records[1:]:
        server.silence(record.host)
    checked = check(records, timeout=0.8)
    assert [item.verified for item in checked] == [True] + [None] * 6


def test_a_change_is_seen_at_once(tmp_path: Path) -> None:
    with DnsServer(ttl=3600) as server:
        use_settings(tmp_path, DNS=server.address)
        records = _wanted()
        assert not any(item.verified for item in check(records))
        _publish(server, records)
        assert all(item.verified for item in check(records))
    config.use(None)
