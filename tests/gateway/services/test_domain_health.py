"""The health of a domain, read from a real DNS server: parts, score, records to publish, past and drift."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import time_machine

import models
from gateway import clock
from gateway.mail import dkim
from gateway.services import domain_health, domain_keys, health_checks, housekeeping, mailboxes
from gateway.services.domain_health import Health
from gateway.services.health_checks import PARTS, Finding, Record
from models.vocabulary import NoticeKind
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer

HOST, SOURCE = "mx.gateway.test", "192.0.2.10"


class World:
    """A domain and its DNS, in which everything is as it should be."""

    def __init__(self, dns: DnsServer, data: Path) -> None:
        self.dns, self.data = dns, data
        self.settings()
        self.sender = cast.sender()
        dns.add("shop.test", "TXT", f"v=spf1 include:{HOST} -all")
        dns.add(HOST, "TXT", f"v=spf1 ip4:{SOURCE} -all")
        dns.add(HOST, "A", SOURCE)
        dns.add("10.2.0.192.in-addr.arpa", "PTR", f"{HOST}.")
        dns.add("shop.test", "MX", f"10 {HOST}.")
        dns.add("_dmarc.shop.test", "TXT", "v=DMARC1; p=reject; rua=mailto:d@shop.test")
        dns.add("_smtp._tls.shop.test", "TXT", "v=TLSRPTv1; rua=mailto:t@shop.test")
        dns.add("default._bimi.shop.test", "TXT", "v=BIMI1; l=https://shop.test/logo.svg")
        for key in domain_keys.living([self.sender.domain.id]):
            value = dkim.dns_value(key.algorithm, key.public)
            dns.add(f"{key.selector}._domainkey.shop.test", "TXT", value)

    def settings(self, **changed: str) -> None:
        use_settings(
            self.data, DNS=self.dns.address, SOURCE_ADDRESSES=SOURCE, DNSBL_ZONES="bl.test",
            DNSBL_DOMAIN_ZONES="dbl.test", **changed,
        )  # fmt: skip

    def check(self) -> Health:
        """The next scheduled check."""
        models.DomainHealth.update(due_ms=0).execute()
        assert domain_health.run(10) == 1
        (found,) = domain_health.latest(caller=self.sender.caller)
        return found

    def part(self, name: str) -> Finding:
        return next(one for one in self.check().findings if one.part == name)


@pytest.fixture
def world(store: str, tmp_path: Path) -> Iterator[World]:
    with DnsServer() as dns:
        yield World(dns, tmp_path)


def test_a_domain_in_order(world: World) -> None:
    (found,) = domain_health.latest(caller=world.sender.caller)  # nobody had checked it: now
    statuses = {one.part: one.status for one in found.findings}
    assert statuses == {name: "pass" for name, _, _ in PARTS} | {"mta_sts": "warn"}
    assert (found.score, sum(most for _, most, _ in PARTS)) == (99, 100)
    assert len(found.past) == 1
    asked = sum(world.dns.queries.values())
    domain_health.latest(caller=world.sender.caller)
    assert sum(world.dns.queries.values()) == asked  # what is known is not asked again


def test_nothing_in_dns_gives_every_record_to_publish(world: World) -> None:
    for name in ("shop.test", "_dmarc.shop.test", "_smtp._tls.shop.test", "default._bimi.shop.test"):
        world.dns.remove(name)
    keys = domain_keys.living([world.sender.domain.id])
    for key in keys:
        world.dns.remove(f"{key.selector}._domainkey.shop.test")
    found = world.check()
    published = {record for one in found.findings for record in one.records}
    assert published == {
        Record("shop.test", "TXT", f"v=spf1 include:{HOST} ~all"),
        Record("_dmarc.shop.test", "TXT", "v=DMARC1; p=none"),
        Record("shop.test", "MX", f"10 {HOST}"),
        Record("_mta-sts.shop.test", "TXT", "v=STSv1; id=1"),
        Record("_smtp._tls.shop.test", "TXT", "v=TLSRPTv1; rua=mailto:postmaster@shop.test"),
        Record("default._bimi.shop.test", "TXT", "v=BIMI1; l=https://shop.test/logo.svg"),
        *(Record(f"{k.selector}._domainkey.shop.test", "TXT", dkim.dns_value(k.algorithm, k.public)) for k in keys),
    }
    assert found.score is not None
    assert found.score < 40


def test_two_spf_records_become_one(world: World) -> None:
    world.dns.set("shop.test", "TXT", "v=spf1 ip4:198.51.100.1 -all", "v=spf1 include:_spf.other.test ~all")
    part = world.part("spf")
    assert part.status == "fail"
    assert part.records == [
        Record("shop.test", "TXT", f"v=spf1 ip4:198.51.100.1 include:_spf.other.test include:{HOST} -all")
    ]


@pytest.mark.parametrize(
    ("name", "type_", "values", "part", "status"),
    [
        ("shop.test", "TXT", ["v=spf1 include:nobody.test -all"], "spf", "fail"),
        ("shop.test", "TXT", [f"v=spf1 include:{HOST} +all"], "spf", "warn"),
        ("shop.test", "TXT", ["v=spf1 ip4:198.51.100.1 -all"], "spf", "fail"),
        (HOST, "TXT", ["v=spf1 -all"], "spf", "warn"),
        ("_dmarc.shop.test", "TXT", ["v=DMARC1; p=none"], "dmarc", "warn"),
        ("_dmarc.shop.test", "TXT", ["v=DMARC1; p=reject", "v=DMARC1; p=none"], "dmarc", "fail"),
        ("shop.test", "MX", ["0 ."], "mx", "warn"),
        ("shop.test", "MX", ["10 dead.test."], "mx", "fail"),
        ("10.2.0.192.in-addr.arpa", "PTR", ["other.test."], "ptr", "fail"),
        ("10.2.0.192.bl.test", "A", ["127.0.0.2"], "blocklists", "fail"),
        ("shop.test.dbl.test", "A", ["127.0.1.2"], "blocklists", "fail"),
        ("10.2.0.192.bl.test", "A", ["127.255.255.254"], "blocklists", "pass"),  # that list does not answer us
        ("_mta-sts.shop.test", "TXT", ["v=STSv1; id=1"], "mta_sts", "fail"),  # a record without a policy
        ("_smtp._tls.shop.test", "TXT", ["v=TLSRPTv1"], "tls_rpt", "warn"),
    ],
)
def test_each_fault_is_found(world: World, name: str, type_: str, values: list[str], part: str, status: str) -> None:
    world.dns.set(name, type_, *values)
    assert world.part(part).status == status


def test_a_key_of_two_selectors_may_be_missing(world: World) -> None:
    first, *_ = domain_keys.living([world.sender.domain.id])
    world.dns.set(f"{first.selector}._domainkey.shop.test", "TXT", "v=DKIM1; k=rsa; p=AAAA")
    part = world.part("dkim")
    assert (part.status, [record.host for record in part.records]) == (
        "warn", [f"{first.selector}._domainkey.shop.test"],
    )  # fmt: skip
    assert sorted(one["status"] for one in part.facts["selectors"]) == ["fail", "pass"]


def test_a_policy_further_up_counts(world: World) -> None:
    sub = cast.domains.add(caller=world.sender.owner, name="mail.shop.test", trusted=True, dkim=cast.signing_keys())
    world.dns.add("mail.shop.test", "MX", f"10 {HOST}.")
    found = domain_health.latest(caller=world.sender.owner, name=sub.name)
    part = next(one for one in found[0].findings if one.part == "dmarc")
    assert (part.status, part.facts["policy"], part.facts["foundAt"]) == ("pass", "reject", "_dmarc.shop.test")


def test_mailboxes_want_their_mail_here(world: World) -> None:
    world.dns.set("shop.test", "MX", "10 elsewhere.test.")
    world.dns.add("elsewhere.test", "A", "198.51.100.2")
    assert world.part("mx").status == "pass"
    mailboxes.add(caller=world.sender.caller, address="hello")
    assert (world.part("mx").status, world.part("mx").records) == ("fail", [Record("shop.test", "MX", f"10 {HOST}")])


def test_what_dns_does_not_say_is_unknown_and_no_drift(world: World) -> None:
    world.check()
    world.dns.servfail("_dmarc.shop.test")
    part = world.part("dmarc")
    assert (part.status, part.points) == ("unknown", 0)
    assert world.check().score == 99
    world.dns.heal("_dmarc.shop.test")
    world.check()
    assert told() == []


def told() -> list[dict[str, object]]:
    rows = models.Notice.select().where(models.Notice.kind == NoticeKind.DOMAIN_HEALTH_CHANGED)
    return [orjson.loads(row.data) for row in rows.order_by(models.Notice.id)]


def test_a_zone_that_answers_slowly_holds_up_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "PATIENCE_S", 0.3)
    world.dns.silence("_dmarc.shop.test")
    found = {one.part: one.status for one in world.check().findings}
    assert (found["dmarc"], found["spf"]) == ("unknown", "pass")


def test_drift_is_told_once_and_so_is_its_end(world: World) -> None:
    world.check()
    world.dns.set("_dmarc.shop.test", "TXT", "v=DMARC1; p=none")
    for _ in range(2):
        world.check()
    world.dns.set("_dmarc.shop.test", "TXT", "v=DMARC1; p=reject")
    found = world.check()
    assert [(one["worse"], one["better"]) for one in told()] == [
        (["dmarc", "bimi"], []), ([], ["dmarc", "bimi"]),
    ]  # fmt: skip
    assert (told()[0]["previous_score"], told()[0]["score"]) == (99, 88)
    assert [score for _, score in found.past] == [99, 88, 88, 99]


def test_it_is_checked_on_schedule_and_the_past_goes(world: World) -> None:
    with time_machine.travel(clock.now(), tick=True) as traveller:
        assert (domain_health.run(10), domain_health.run(10)) == (1, 0)
        traveller.shift(14 * 3600)
        assert domain_health.run(10) == 1
        traveller.shift(91 * 86_400)
        models.SenderDomain.update(status="disabled").execute()
        assert domain_health.run(10) == 0
        housekeeping.sweep(5)
        assert models.DomainHealthPast.select().count() == 0
        assert models.DomainHealth.select().count() == 1


def test_many_domains_are_not_all_checked_in_one_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_health, "FIRST_SIGHT_MOST", 1)
    cast.domains.add(caller=world.sender.owner, name="second.test", trusted=True, dkim=cast.signing_keys())
    found = domain_health.latest(caller=world.sender.owner)
    assert [(one.domain, one.score is None, one.checked_ms is None) for one in found] == [
        ("shop.test", False, False), ("second.test", True, True),
    ]  # fmt: skip
    assert domain_health.run(10) == 1
    assert all(one.score is not None for one in domain_health.latest(caller=world.sender.owner))
