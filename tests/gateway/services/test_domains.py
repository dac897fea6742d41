from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway import clock, errors, vault
from gateway.dns.records import Purpose
from gateway.mail import dkim
from gateway.services import domains
from gateway.services.identity import Caller
from models import database as db
from models.domain import DkimKey, SenderDomain
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer

HOST = "mx.gateway.test"

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def dns(store: str, tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as running:
        use_settings(tmp_path, DNS=running.address)
        yield running


@pytest.fixture
def owner(store: str) -> Caller:
    return cast.account("owner")


@pytest.fixture
def stranger(store: str) -> Caller:
    return cast.account("stranger")


def _add(caller: Caller, name: str = "example.com") -> SenderDomain:
    """Without the wait for a new RSA key."""
    return domains.add(caller=caller, name=name, dkim=cast.signing_keys())


def _publish(dns: DnsServer, domain: SenderDomain, *purposes: Purpose) -> None:
    for record in domains.records(domain):
        if not purposes or record.purpose in purposes:
            dns.set(record.host, record.type, record.value)


def _delete(domain: SenderDomain) -> None:
    SenderDomain.update(deleted_ms=clock.now_ms(), status="disabled", enabled_name=None).where(
        SenderDomain.id == domain.id
    ).execute()


def _limited(caller: Caller, most: int) -> Caller:
    return replace(caller, plan=replace(caller.plan, max_domains=most))


# Adding


def test_a_new_domain_has_keys_token_and_records(owner: Caller, tmp_path: Path) -> None:
    use_settings(tmp_path, HOSTNAME=HOST)
    domain = domains.add(caller=owner, name="Example.COM")
    assert (domain.name, domain.status, domain.enabled_name) == ("example.com", "pending", None)
    assert domains.verification_status(domain) == domain.dkim_status == domain.spf_status == "Pending"
    records = {record.purpose: record for record in domains.records(domain)}
    assert records[Purpose.OWNERSHIP].value == f"commandpost-verification={domain.ownership_token}"
    assert records[Purpose.RETURN_PATH].host == domains.return_path_host(domain) == "bounce.example.com"
    assert records[Purpose.SPF].value == f"v=spf1 include:{HOST} ~all"
    assert records[Purpose.DMARC].value == "v=DMARC1; p=none"
    assert records[Purpose.TRACKING].host == "track.example.com"
    assert len(domains.signing_key(domain)) == 64


def test_the_published_keys_belong_to_the_private_ones(owner: Caller) -> None:
    domain = domains.add(caller=owner, name="example.com", trusted=True)
    published = {record.host: record.value for record in domains.records(domain) if record.purpose is Purpose.DKIM}
    keys = domains.dkim_keys(domain.id)
    assert [algorithm for _, algorithm, _ in keys] == ["rsa", "ed25519"]
    for selector, algorithm, pem in keys:
        private = load_pem_private_key(pem.encode(), None)
        assert isinstance(private, (rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey))
        if isinstance(private, rsa.RSAPrivateKey):
            assert private.key_size == 2048
        public = dkim.adopt(pem).public
        assert published[f"{selector}._domainkey.example.com"] == f"v=DKIM1; k={algorithm}; p={public}"
        base64.b64decode(public, validate=True)


def test_secrets_are_sealed_each_to_its_row(owner: Caller) -> None:
    domain = _add(owner)
    other = _add(owner, "example.org")
    key = DkimKey.get(DkimKey.domain_id == domain.id)
    assert b"PRIVATE KEY" not in bytes(key.private)
    assert domains.signing_key(domain) not in domain.signing_key
    with pytest.raises(vault.SealBroken):
        vault.unseal(domain.signing_key, other.uuid.hex)


def test_two_domains_never_share_a_selector(owner: Caller, stranger: Caller) -> None:
    first = domains.add(caller=owner, name="example.com")
    second = domains.add(caller=stranger, name="example.com")
    hosts = [{r.host for r in domains.records(d) if r.purpose is Purpose.DKIM} for d in (first, second)]
    assert len(hosts[0]) == 2
    assert not hosts[0] & hosts[1]


def test_a_name_that_is_there_is_refused_in_every_spelling(owner: Caller) -> None:
    _add(owner, "bücher.example")
    for name in ("bücher.example", "XN--BCHER-KVA.example", "bücher.example."):
        with pytest.raises(errors.DomainExists):
            _add(owner, name)
    assert len(domains.list_(caller=owner)) == 1


def test_an_invalid_name_leaves_nothing(owner: Caller) -> None:
    for name in ("co.uk", "192.0.2.1", "not a domain"):
        with pytest.raises(errors.InvalidDomainName):
            domains.add(caller=owner, name=name)
    assert domains.list_(caller=owner) == []
    assert DkimKey.select().count() == 0


def test_the_plan_limits_domains_and_deleted_ones_do_not_count(owner: Caller) -> None:
    limited = _limited(owner, 2)
    first = _add(limited, "one.example.com")
    _add(limited, "two.example.com")
    with pytest.raises(errors.DomainLimitReached):
        _add(limited, "three.example.com")
    _delete(first)
    _add(limited, "three.example.com")
    with pytest.raises(errors.DomainLimitReached):
        _add(limited, "one.example.com")
    assert [domain.name for domain in domains.list_(caller=owner)] == ["two.example.com", "three.example.com"]


def test_the_limit_holds_when_many_ask_at_once(owner: Caller) -> None:
    limited = _limited(owner, 2)
    outcomes: list[str] = []

    def one(number: int) -> None:
        try:
            _add(limited, f"d{number}.example.com")
            outcomes.append("added")
        except errors.DomainLimitReached:
            outcomes.append("limited")
        finally:
            db.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["added"] * 2 + ["limited"] * 4


def test_the_same_name_twice_at_once_is_added_once(owner: Caller) -> None:
    outcomes: list[str] = []

    def one() -> None:
        try:
            _add(owner)
            outcomes.append("added")
        except errors.DomainExists:
            outcomes.append("exists")
        finally:
            db.close()

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["added"] + ["exists"] * 3


def test_a_deleted_domain_comes_back_pending_with_its_keys(owner: Caller, dns: DnsServer) -> None:
    domain = _add(owner)
    _publish(dns, domain)
    domains.verify(caller=owner, domain_id=domain.id)
    before = (domains.dkim_keys(domain.id), domains.signing_key(domain), domain.ownership_token)
    _delete(domain)
    again = domains.add(caller=owner, name="example.com")
    assert (again.id, again.status, again.deleted_ms) == (domain.id, "pending", None)
    assert domains.verification_status(again) == "Pending"
    assert not any(record.verified for record in domains.records(again))
    assert (domains.dkim_keys(again.id), domains.signing_key(again), again.ownership_token) == before
    assert domains.verify(caller=owner, domain_id=again.id).domain.status == "enabled"


# Imports and trust


def test_a_trusted_domain_is_enabled_without_dns(owner: Caller) -> None:
    domain = _add(owner)
    trusted = domains.add(caller=owner, name="trusted.test", trusted=True, dkim=cast.signing_keys())
    assert (trusted.status, trusted.enabled_name) == ("enabled", "trusted.test")
    assert domains.verification_status(trusted) == "Verified"
    assert domain.status == "pending"


def test_trust_does_not_take_a_name_from_its_owner(owner: Caller, stranger: Caller) -> None:
    domains.add(caller=owner, name="example.com", trusted=True, dkim=cast.signing_keys())
    with pytest.raises(errors.DomainExists, match="another account"):
        domains.add(caller=stranger, name="example.com", trusted=True, dkim=cast.signing_keys())
    assert domains.list_(caller=stranger) == []


def test_what_clients_hold_is_imported(owner: Caller) -> None:
    pem = dict(cast.signing_keys())["rsa"]
    domain = domains.add(
        caller=owner, name="example.com", trusted=True, id=4711, signing_key="key-from-before", dkim=[("Old1", pem)]
    )
    assert domain.id == 4711
    assert domains.signing_key(domain) == "key-from-before"
    assert domains.dkim_keys(4711) == [("old1", "rsa", pem)]
    assert domains.find(caller=owner, domain_id=4711).name == "example.com"


def test_beside_an_imported_ed25519_key_an_rsa_key_is_made(owner: Caller) -> None:
    pem = dict(cast.signing_keys())["ed25519"]
    domain = domains.add(caller=owner, name="example.com", trusted=True, dkim=[("old", pem)])
    assert [algorithm for _, algorithm, _ in domains.dkim_keys(domain.id)] == ["rsa", "ed25519"]


def test_an_import_that_cannot_be_is_refused(owner: Caller, stranger: Caller) -> None:
    pem = dict(cast.signing_keys())["rsa"]
    _add(stranger, "example.org")
    taken = domains.list_(caller=stranger)[0].id
    for options in (
        {"id": taken},
        {"id": 0},
        {"id": 2**31},
        {"signing_key": ""},
        {"dkim": [("bad selector", pem)]},
        {"dkim": [("one", pem), ("ONE", pem)]},
        {"dkim": [("one", "not a key")]},
    ):
        with pytest.raises(errors.Invalid):
            domains.add(caller=owner, name="example.com", **options)
    assert domains.list_(caller=owner) == []


def test_imported_keys_replace_those_of_a_deleted_domain(owner: Caller) -> None:
    domain = domains.add(caller=owner, name="example.com", trusted=True)
    _delete(domain)
    pem = dict(cast.signing_keys())["rsa"]
    domains.add(caller=owner, name="example.com", trusted=True, dkim=[("moved", pem)])
    keys = domains.dkim_keys(domain.id)
    assert ("moved", "rsa", pem) in keys
    assert [algorithm for _, algorithm, _ in keys] == ["rsa", "ed25519"]


# Finding


def test_absent_deleted_and_foreign_are_not_told_apart(owner: Caller, stranger: Caller) -> None:
    foreign, deleted = _add(stranger, "foreign.test"), _add(owner, "deleted.test")
    _delete(deleted)
    told = set()
    for domain_id in (0, -1, foreign.id, deleted.id, deleted.id + 1000, 2**31, 2**63 - 1):
        for ask in (domains.find, domains.verify):
            with pytest.raises(errors.NotFound) as refusal:
                ask(caller=owner, domain_id=domain_id)
            told.add((str(refusal.value), str(refusal.value.data)))
    for name in ("foreign.test", "deleted.test", "absent.test", "not a name"):
        with pytest.raises(errors.NotFound) as refusal:
            domains.find_by_name(caller=owner, name=name)
        told.add((str(refusal.value), str(refusal.value.data)))
    assert len(told) == 1


def test_a_sender_key_sees_its_own_domain_only(owner: Caller) -> None:
    one, two = _add(owner, "one.test"), _add(owner, "two.test")
    sender = replace(owner, domain_id=one.id)
    assert domains.list_(caller=sender) == [one]
    assert domains.find_by_name(caller=sender, name="ONE.test") == one
    with pytest.raises(errors.NotFound):
        domains.find(caller=sender, domain_id=two.id)
    with pytest.raises(errors.NotFound):
        domains.find_by_name(caller=sender, name="two.test")


# Verifying


def test_ownership_and_rsa_enable_a_domain(owner: Caller, dns: DnsServer) -> None:
    domain = _add(owner)
    assert domains.verify(caller=owner, domain_id=domain.id).domain.status == "pending"
    assert domains.verification_status(domains.find(caller=owner, domain_id=domain.id)) == "Failed"
    _publish(dns, domain, Purpose.OWNERSHIP)
    assert domains.verify(caller=owner, domain_id=domain.id).domain.status == "pending"
    rsa_record = next(r for r in domains.records(domain) if r.purpose is Purpose.DKIM and r.required)
    dns.set(rsa_record.host, "TXT", rsa_record.value)
    result = domains.verify(caller=owner, domain_id=domain.id)
    assert (result.domain.status, result.domain.enabled_name, result.problem) == ("enabled", "example.com", "")
    assert domains.verification_status(result.domain) == result.domain.dkim_status == "Verified"
    assert result.domain.spf_status == "Failed"
    assert [r.purpose for r in result.records if r.verified] == [Purpose.OWNERSHIP, Purpose.DKIM]
    stored = domains.find(caller=owner, domain_id=domain.id)
    assert domains.records(stored) == result.records


def test_an_ed25519_key_signs_while_it_is_published(owner: Caller, dns: DnsServer) -> None:
    domain = _add(owner)

    def signing() -> list[str]:
        domains.verify(caller=owner, domain_id=domain.id)
        return [algorithm for _, algorithm, _ in domains.dkim_keys(domain.id)]

    ed = next(r for r in domains.records(domain) if r.purpose is Purpose.DKIM and not r.required)
    _publish(dns, domain, Purpose.OWNERSHIP, Purpose.DKIM)
    dns.remove(ed.host)
    assert signing() == ["rsa"]
    dns.set(ed.host, "TXT", ed.value)
    assert signing() == ["rsa", "ed25519"]
    dns.servfail(ed.host)
    assert signing() == ["rsa", "ed25519"]
    dns.heal(ed.host)
    dns.remove(ed.host)
    assert signing() == ["rsa"]


def test_an_enabled_domain_stays_enabled_when_records_go(owner: Caller, dns: DnsServer) -> None:
    domain = _add(owner)
    _publish(dns, domain)
    domains.verify(caller=owner, domain_id=domain.id)
    for record in domains.records(domain):
        dns.remove(record.host)
    result = domains.verify(caller=owner, domain_id=domain.id)
    assert result.domain.status == "enabled"
    assert domains.verification_status(result.domain) == "Failed"
    assert not any(record.verified for record in result.records)
    assert [algorithm for _, algorithm, _ in domains.dkim_keys(domain.id)] == ["rsa"]


def test_an_outage_leaves_everything_as_it_was_and_says_so(owner: Caller, dns: DnsServer) -> None:
    domain = _add(owner)
    for record in domains.records(domain):
        dns.servfail(record.host)
    result = domains.verify(caller=owner, domain_id=domain.id)
    assert domains.verification_status(result.domain) == result.domain.spf_status == "Pending"
    assert "_commandpost.example.com" in result.problem
    for record in domains.records(domain):
        dns.heal(record.host)
    _publish(dns, domain)
    before = domains.verify(caller=owner, domain_id=domain.id)
    for record in before.records:
        dns.servfail(record.host)
    after = domains.verify(caller=owner, domain_id=domain.id)
    assert after.domain.status == "enabled"
    assert domains.verification_status(after.domain) == after.domain.spf_status == "Verified"
    assert [record.verified for record in after.records] == [True] * 7
    assert "stays as it was" in after.problem


@pytest.mark.parametrize("status", ["disabled", "suspended"])
def test_records_do_not_lift_a_suspension(owner: Caller, dns: DnsServer, status: str) -> None:
    domain = _add(owner)
    SenderDomain.update(status=status).where(SenderDomain.id == domain.id).execute()
    _publish(dns, domain)
    result = domains.verify(caller=owner, domain_id=domain.id)
    assert (result.domain.status, result.domain.enabled_name) == (status, None)
    assert domains.verification_status(result.domain) == "Verified"


def test_only_one_account_has_a_name_enabled(owner: Caller, stranger: Caller, dns: DnsServer) -> None:
    first = _add(owner)
    second = domains.add(caller=stranger, name="example.com")
    for domain in (first, second):
        for record in domains.records(domain):
            if record.required:
                dns.add(record.host, record.type, record.value)
    assert domains.verify(caller=owner, domain_id=first.id).domain.status == "enabled"
    refused = domains.verify(caller=stranger, domain_id=second.id)
    assert (refused.domain.status, refused.domain.enabled_name) == ("pending", None)
    assert "another account" in refused.problem
    assert domains.verification_status(refused.domain) == "Failed"
    assert [r.verified for r in refused.records if r.purpose is Purpose.OWNERSHIP] == [False]
    _delete(first)
    assert domains.verify(caller=stranger, domain_id=second.id).domain.status == "enabled"


def test_two_accounts_that_verify_at_once_leave_one_enabled(owner: Caller, stranger: Caller, dns: DnsServer) -> None:
    pairs = [(owner, _add(owner)), (stranger, domains.add(caller=stranger, name="example.com"))]
    for _, domain in pairs:
        for record in domains.records(domain):
            if record.required:
                dns.add(record.host, record.type, record.value)
    found: list[str] = []

    def one(caller: Caller, domain_id: int) -> None:
        try:
            found.append(domains.verify(caller=caller, domain_id=domain_id).domain.status)
        finally:
            db.close()

    threads = [threading.Thread(target=one, args=(caller, domain.id)) for caller, domain in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["enabled", "pending"]


def test_a_merged_spf_record_is_advised_and_remembered(owner: Caller, dns: DnsServer) -> None:
    domain = _add(owner)
    dns.set("example.com", "TXT", "v=spf1 mx -all")
    domains.verify(caller=owner, domain_id=domain.id)
    spf = next(
        r for r in domains.records(domains.find_by_name(caller=owner, name="example.com")) if r.purpose is Purpose.SPF
    )
    assert (spf.value, spf.verified) == (f"v=spf1 mx include:{HOST} -all", False)
    dns.set("example.com", "TXT", spf.value)
    assert domains.verify(caller=owner, domain_id=domain.id).domain.spf_status == "Verified"


def test_a_new_host_name_makes_its_records_unchecked(owner: Caller, dns: DnsServer, tmp_path: Path) -> None:
    domain = _add(owner)
    _publish(dns, domain)
    domains.verify(caller=owner, domain_id=domain.id)
    use_settings(tmp_path, DNS=dns.address, HOSTNAME="mx2.gateway.test")
    records = domains.records(domains.find(caller=owner, domain_id=domain.id))
    verified = {record.purpose: record.verified for record in records}
    assert verified[Purpose.OWNERSHIP] is True
    assert verified[Purpose.SPF] is verified[Purpose.RETURN_PATH] is verified[Purpose.TRACKING] is False


def test_records_of_many_domains_keep_apart(owner: Caller) -> None:
    made = [_add(owner, f"d{number}.example.com") for number in range(3)]
    many = domains.records_of(made)
    assert many == {domain.id: domains.records(domain) for domain in made}
    assert domains.records_of([]) == {}
