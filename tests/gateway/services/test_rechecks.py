"""DNS checks that nobody asks for: when they are made, what drift does and what it does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import clock, config, errors
from gateway.dns.records import Purpose
from gateway.services import domain_changes, domains, messages, notices, rechecks, senders
from gateway.services.identity import Caller
from models import database as db
from models.domain import SenderDomain
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer

pytestmark = pytest.mark.usefixtures("store")

HOUR = 1 / 24
Later = Callable[[float], None]


@pytest.fixture
def dns(store: str, tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as running:
        use_settings(tmp_path, DNS=running.address)
        yield running


@pytest.fixture
def owner(dns: DnsServer) -> Caller:
    return cast.account("owner")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Move the clock on by so many days."""
    moved = {"ms": 0}
    real = clock.now_ms
    monkeypatch.setattr(clock, "now_ms", lambda: real() + moved["ms"])

    def by(days: float) -> None:
        moved["ms"] += int(days * clock.DAY_MS)

    return by


def _publish(dns: DnsServer, domain: SenderDomain, *purposes: Purpose) -> None:
    for record in domains.records(domain):
        if not purposes or record.purpose in purposes:
            dns.set(record.host, record.type, record.value)


def _enabled(owner: Caller, dns: DnsServer, name: str = "example.com") -> SenderDomain:
    made = domains.add(caller=owner, name=name, dkim=cast.signing_keys())
    _publish(dns, made)
    return domains.verify(caller=owner, domain_id=made.id).domain


def _now(domain: SenderDomain) -> SenderDomain:
    found: SenderDomain = SenderDomain.get_by_id(domain.id)
    return found


def _kinds(owner: Caller, domain: SenderDomain) -> list[str]:
    """Of the domain's records, the oldest first."""
    told = [one.kind for one in reversed(notices.list_(caller=owner, domain_id=domain.id))]
    return [kind for kind in told if kind.startswith("domain.")]


def _pause(domain: SenderDomain) -> float:
    """Hours until the next check."""
    due = _now(domain).next_check_ms
    assert due is not None
    return float((due - clock.now_ms()) / 3_600_000)


def _days(later: Later, days: float) -> int:
    """Let time pass in steps of an hour, with a sweep in each; returns how many checks there were."""
    count = 0
    for _ in range(round(days * 24)):
        later(HOUR)
        count += rechecks.run(5)
    return count


# When


def test_published_records_enable_a_domain_without_a_button(owner: Caller, dns: DnsServer, later: Later) -> None:
    domain = domains.add(caller=owner, name="example.com", dkim=cast.signing_keys())
    assert rechecks.run(5) == 0  # not due yet
    assert _pause(domain) < 0.11
    later(HOUR / 6)
    assert rechecks.run(5) == 1
    # Nothing is there: that is no failure of a domain that was just added.
    assert (_now(domain).status, domains.verification_status(_now(domain))) == ("pending", "Pending")
    _publish(dns, domain)
    later(HOUR / 6)
    assert rechecks.run(5) == 1
    assert (_now(domain).status, domains.verification_status(_now(domain))) == ("enabled", "Verified")
    assert _kinds(owner, domain) == ["domain.enabled"]
    assert 19 < _pause(domain) < 29


def test_pending_domains_are_checked_less_and_less(owner: Caller, dns: DnsServer, later: Later) -> None:
    domain = domains.add(caller=owner, name="example.com", dkim=cast.signing_keys())
    pauses = []
    for days in (1 * HOUR, 11 * HOUR, 2.5, 37):
        later(days)
        assert rechecks.run(5) == 1
        pauses.append(_pause(domain))
    for pause, wanted in zip(pauses, (1 / 6, 2, 12, 7 * 24), strict=True):
        assert wanted * 0.79 < pause < wanted * 1.25


def test_an_enabled_domain_is_checked_about_daily(owner: Caller, dns: DnsServer, later: Later) -> None:
    domain = _enabled(owner, dns)
    before = dns.asked("_commandpost.example.com", "TXT")
    assert 4 <= _days(later, 5) <= 7
    assert 4 <= dns.asked("_commandpost.example.com", "TXT") - before <= 7
    assert _kinds(owner, domain) == ["domain.enabled"]


def test_a_check_is_made_once_and_again_after_a_death(owner: Caller, dns: DnsServer, later: Later) -> None:
    domain = _enabled(owner, dns)
    later(2)
    assert [row.id for row in rechecks._claim()] == [domain.id]
    assert rechecks._claim() == []
    assert rechecks.run(5) == 0
    later(HOUR / 3)
    assert rechecks.run(5) == 1


def test_only_what_is_due_is_asked_and_many_are_done_in_one_run(owner: Caller, dns: DnsServer, later: Later) -> None:
    due = [_enabled(owner, dns, f"due{n}.test") for n in range(11)]
    other = _enabled(owner, dns, "other.test")
    SenderDomain.update(next_check_ms=clock.now_ms() - 1).where(SenderDomain.id.in_([d.id for d in due])).execute()
    before = dns.asked("_commandpost.other.test", "TXT")
    assert rechecks.run(30) == 11
    assert dns.asked("_commandpost.other.test", "TXT") == before
    assert _pause(other) > 0


def test_a_deleted_domain_is_not_asked_and_comes_back_with_its_checks(
    owner: Caller, dns: DnsServer, later: Later
) -> None:
    domain = _enabled(owner, dns)
    domain_changes.delete(caller=owner, domain_id=domain.id)
    later(30)
    assert rechecks.run(5) == 0
    domains.add(caller=owner, name="example.com")
    later(HOUR)
    assert rechecks.run(5) == 1
    assert _now(domain).status == "enabled"


def test_one_domains_trouble_is_not_the_others(
    owner: Caller, dns: DnsServer, later: Later, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = _enabled(owner, dns, "bad.test"), _enabled(owner, dns, "good.test")
    SenderDomain.update(checks="{no json").where(SenderDomain.id == bad.id).execute()
    later(2)
    assert rechecks.run(5) == 2
    assert "recheck_failed" in caplog.text
    assert _now(good).checked_ms == pytest.approx(clock.now_ms(), abs=60_000)
    assert 0 < _pause(bad) <= 1  # its lease


# Drift


def test_a_lost_spf_record_is_told_and_fails_after_its_grace(owner: Caller, dns: DnsServer, later: Later) -> None:
    domain = _enabled(owner, dns)
    dns.remove("example.com", "TXT")
    _days(later, 1.3)
    assert _now(domain).spf_status == "Verified"  # in its grace
    assert _kinds(owner, domain) == ["domain.enabled", "domain.records_drifted"]
    told = notices.list_(caller=owner, kind="domain.records_drifted")[0]
    assert [(record["purpose"], record["host"]) for record in told.data["records"]] == [("spf", "example.com")]
    assert "no SPF" in told.data["records"][0]["note"]
    assert told.data["failed_ms"] > clock.now_ms()
    _days(later, 2.5)
    assert (_now(domain).spf_status, _now(domain).status) == ("Failed", "enabled")
    assert domains.verification_status(_now(domain)) == "Verified"
    _publish(dns, domain, Purpose.SPF)
    _days(later, 0.5)
    assert _now(domain).spf_status == "Verified"
    assert _kinds(owner, domain)[1:] == ["domain.records_drifted", "domain.records_restored"]


def test_a_changed_record_is_drift_too(owner: Caller, dns: DnsServer, later: Later) -> None:
    domain = _enabled(owner, dns)
    dns.set("bounce.example.com", "CNAME", "elsewhere.test")
    _days(later, 6)
    assert _now(domain).status == "enabled"  # bounces would miss us; what is sent arrives all the same
    told = notices.list_(caller=owner, kind="domain.records_drifted")
    assert [one.data["records"][0]["purpose"] for one in told] == ["return_path"]
    assert "elsewhere.test" in told[0].data["records"][0]["note"]


@pytest.mark.parametrize("purpose", [Purpose.OWNERSHIP, Purpose.DKIM])
def test_a_domain_without_its_proof_stops_after_the_grace_and_comes_back(
    owner: Caller, dns: DnsServer, later: Later, purpose: Purpose
) -> None:
    domain = _enabled(owner, dns)
    sender = replace(owner, domain_id=domain.id, surface="octeth")
    for record in domains.records(domain):
        if record.purpose is purpose:
            dns.remove(record.host)
    _days(later, 2.4)
    assert _now(domain).status == "enabled"
    _days(later, 2.5)
    stopped = _now(domain)
    assert (stopped.status, stopped.enabled_name) == ("pending", None)
    assert domains.verification_status(stopped) == "Failed"
    assert _kinds(owner, domain)[1:] == ["domain.records_drifted", "domain.disabled"]
    assert "72 hours" in notices.list_(caller=owner, kind="domain.disabled")[0].data["cause"]
    senders.forget()
    with pytest.raises(errors.DomainNotActive):
        messages.accept(sender, cast.draft(domain="example.com"))
    _publish(dns, domain)
    _days(later, 0.5)
    assert (_now(domain).status, domains.verification_status(_now(domain))) == ("enabled", "Verified")
    # Ed25519 went and came with the DKIM records; the domain's own story is this.
    assert _kinds(owner, domain)[-2:] == ["domain.records_restored", "domain.enabled"]


def test_an_outage_of_dns_is_no_drift(owner: Caller, dns: DnsServer, later: Later) -> None:
    domain = _enabled(owner, dns)
    for record in domains.records(domain):
        dns.servfail(record.host)
    later(2)
    assert rechecks.run(20) == 1
    assert 0.3 < _pause(domain) < 0.7  # asked again soon
    _days(later, 1)
    assert _now(domain).status == "enabled"
    assert domains.verification_status(_now(domain)) == _now(domain).spf_status == "Verified"
    assert _kinds(owner, domain) == ["domain.enabled"]


def test_a_slip_of_one_check_does_nothing(owner: Caller, dns: DnsServer, later: Later) -> None:
    domain = _enabled(owner, dns)
    dns.remove("_commandpost.example.com")
    due = _now(domain).next_check_ms
    for _ in range(10):  # a person who presses the button does not shorten the grace
        domains.verify(caller=owner, domain_id=domain.id)
        later(0.4)
    assert _now(domain).status == "enabled"
    assert _now(domain).next_check_ms <= due  # nor does it hold up what is due
    _publish(dns, domain)
    rechecks.run(5)
    assert _now(domain).status == "enabled"
    assert _kinds(owner, domain) == ["domain.enabled", "domain.records_drifted", "domain.records_restored"]


def test_a_trusted_domain_never_had_records_to_lose(owner: Caller, dns: DnsServer, later: Later) -> None:
    domain = domains.add(caller=owner, name="trusted.test", trusted=True, dkim=cast.signing_keys())
    _days(later, 8)
    assert (_now(domain).status, domains.verification_status(_now(domain))) == ("enabled", "Verified")
    assert _kinds(owner, domain) == ["domain.enabled"]
    senders.forget()
    assert [key.algorithm for key in senders.signing_keys(domain.id)] == ["rsa"]


def test_the_settings_rule_the_grace(owner: Caller, dns: DnsServer, later: Later, tmp_path: Path) -> None:
    use_settings(tmp_path, DNS=dns.address, DRIFT_CHECKS="1", DRIFT_HOURS="0", DISABLE_HOURS="0", RECHECK_HOURS="1")
    assert config.settings().recheck_hours == 1
    domain = _enabled(owner, dns)
    assert _pause(domain) < 1.3
    dns.remove("_commandpost.example.com")
    later(2 * HOUR)
    assert rechecks.run(5) == 1
    assert _now(domain).status == "pending"


def test_a_row_of_the_version_before_drifts_as_well(owner: Caller, dns: DnsServer, later: Later) -> None:
    domain = _enabled(owner, dns)
    kept = db.rows("SELECT checks FROM sender_domain WHERE id = ?", (domain.id,))[0][0]
    old = [{k: item[k] for k in ("host", "wanted", "value", "verified", "note")} for item in json.loads(kept)]
    SenderDomain.update(checks=json.dumps(old)).execute()
    dns.remove("example.com", "TXT")
    later(1.3)
    assert rechecks.run(5) == 1
    assert _kinds(owner, domain) == ["domain.enabled", "domain.records_drifted"]
