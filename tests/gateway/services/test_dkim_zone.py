"""DKIM by CNAMEs into the operator's zone: three of them, verified through the zone, rotated without the customer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import models
from gateway import errors
from gateway.dns.records import Purpose
from gateway.services import dkim_zone, domains, key_rotations, key_states, rechecks
from models.domain import SenderDomain
from models.vocabulary import KEY_ACTIVE, KEY_PENDING, KEY_RETIRING, KEY_STANDBY
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer

ZONE = "dkim.gateway.test"


@pytest.fixture
def dns(store: str, tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as server:
        use_settings(tmp_path, DNS=server.address, HOSTNAME="mx.gateway.test", DKIM_ZONE=ZONE)
        yield server


def _publish_zone(dns: DnsServer) -> None:
    for name, value in dkim_zone.records():
        dns.set(name, "TXT", value)


def _dkim(domain: SenderDomain) -> list[tuple[str, str, str]]:
    return [(one.type, one.host, one.value) for one in domains.records(domain) if one.purpose is Purpose.DKIM]


def _states() -> dict[str, str]:
    return {key.selector: key.state for key in models.DkimKey.select().order_by(models.DkimKey.id)}


def test_three_cnames_and_a_rotation_without_the_customer(dns: DnsServer) -> None:
    owner = cast.account()
    domain = domains.add(caller=owner, name="shop.test")
    wanted = _dkim(domain)
    assert [kind for kind, _, _ in wanted] == ["CNAME"] * 3
    for _, host, value in wanted:
        selector = host.partition(".")[0]
        assert (host, value) == (f"{selector}._domainkey.shop.test", f"{selector}.{ZONE}")
    for record in domains.records(domain):
        if record.purpose in (Purpose.OWNERSHIP, Purpose.DKIM):
            dns.add(record.host, record.type, record.value)
    early = domains.verify(caller=owner, domain_id=domain.id)
    notes = [one.note for one in early.records if one.purpose is Purpose.DKIM]
    assert all("has no key yet" in note for note in notes)
    _publish_zone(dns)
    found = domains.verify(caller=owner, domain_id=domain.id)
    assert found.domain.status == "enabled"
    rsa, ed, following = _states()
    assert _states() == {rsa: KEY_ACTIVE, ed: KEY_ACTIVE, following: KEY_STANDBY}

    (view,) = key_rotations.rotate(caller=owner, domain_id=domain.id)
    assert view.selector == following
    assert _states()[following] == KEY_PENDING
    rechecks.run(5)
    states = _states()
    assert (states[rsa], states[following]) == (KEY_RETIRING, KEY_ACTIVE)
    assert list(states.values()).count(KEY_STANDBY) == 1
    assert models.SenderDomain.get_by_id(domain.id).rotation_ms is None
    # The one that stands by from now on has a CNAME of its own to publish; the others stay as they were.
    hosts = {host for _, host, _ in _dkim(models.SenderDomain.get_by_id(domain.id))}
    assert {host for _, host, _ in wanted} < hosts
    assert len(hosts) == 4


def test_a_key_published_by_the_customer_counts_too(dns: DnsServer) -> None:
    owner = cast.account()
    domain = domains.add(caller=owner, name="shop.test")
    zone = dict(dkim_zone.records())
    for record in domains.records(domain):
        if record.purpose is Purpose.OWNERSHIP:
            dns.add(record.host, record.type, record.value)
        elif record.purpose is Purpose.DKIM:
            dns.add(record.host, "TXT", zone[record.value])
    assert domains.verify(caller=owner, domain_id=domain.id).domain.status == "enabled"


def test_the_lines_of_the_zone(dns: DnsServer) -> None:
    domains.add(caller=cast.account(), name="shop.test")
    for _, value in dkim_zone.records():
        text = dkim_zone.quoted(value)
        assert text.replace('" "', "") == f'"{value}"'
        assert all(len(part) <= 255 for part in text.strip('"').split('" "'))


@pytest.mark.usefixtures("store")
def test_without_a_zone_domains_publish_their_keys_themselves(tmp_path: Path) -> None:
    use_settings(tmp_path)
    owner = cast.account()
    domain = domains.add(caller=owner, name="shop.test")
    assert [kind for kind, _, _ in _dkim(domain)] == ["TXT", "TXT"]
    with pytest.raises(errors.Invalid):
        dkim_zone.records()
    assert key_states.waiting(domain, []) == []
