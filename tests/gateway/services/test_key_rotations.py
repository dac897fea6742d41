"""The life of DKIM keys: published, seen, switched, retired; and what signs meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

import models
from gateway import clock, errors, jobs
from gateway.dns.resolver import resolver
from gateway.mail import dkim
from gateway.services import domain_changes, domain_keys, domains, key_rotations, notices, rechecks, senders
from gateway.services.identity import Caller
from gateway.services.key_rotations import KeyView
from models.domain import DkimKey, SenderDomain
from tests import cast
from tests.conftest import Bells, use_settings
from tests.peers.dns_server import DnsServer

pytestmark = pytest.mark.usefixtures("store")

MESSAGE = b"From: a@example.com\r\nTo: b@example.net\r\nSubject: Hi\r\n\r\nHello\r\n"


@pytest.fixture
def dns(store: str, tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as running:
        use_settings(tmp_path, DNS=running.address)
        yield running


@pytest.fixture
def owner(dns: DnsServer) -> Caller:
    return cast.account("owner")


@pytest.fixture
def domain(owner: Caller, dns: DnsServer) -> SenderDomain:
    """Enabled by its records; both keys sign."""
    made = domains.add(caller=owner, name="example.com", dkim=cast.signing_keys())
    for record in domains.records(made):
        dns.set(record.host, record.type, record.value)
    assert _verify(owner, made).status == "enabled"
    return made


@pytest.fixture(autouse=True)
def _quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """RSA keys of 1024 bits: these are made many times."""
    real = dkim.generate

    def generate(algorithm: str) -> dkim.KeyPair:
        if algorithm == dkim.RSA:
            return dkim._pair(rsa.generate_private_key(public_exponent=65537, key_size=1024))
        return real(algorithm)

    monkeypatch.setattr(dkim, "generate", generate)


def _verify(owner: Caller, domain: SenderDomain) -> SenderDomain:
    return domains.verify(caller=owner, domain_id=domain.id).domain


def _signing(domain: SenderDomain) -> list[str]:
    """The selectors that sign a message now."""
    senders.forget()
    return [key.selector for key in senders.signing_keys(domain.id)]


def _publish(dns: DnsServer, keys: list[KeyView], algorithm: str = "") -> None:
    for key in keys:
        if algorithm in ("", key.algorithm):
            dns.set(key.host, "TXT", key.record)


def _states(owner: Caller, domain: SenderDomain) -> dict[str, str]:
    return {key.selector: key.state for key in key_rotations.list_(caller=owner, domain_id=domain.id)}


def _kinds(owner: Caller) -> list[str]:
    return [one.kind for one in reversed(notices.list_(caller=owner))]


def _later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    moved = {"ms": 0}
    real = clock.now_ms
    monkeypatch.setattr(clock, "now_ms", lambda: real() + moved["ms"])

    def by(days: float) -> None:
        moved["ms"] += int(days * clock.DAY_MS)

    return by


def test_a_rotation_from_published_to_retired(
    owner: Caller, domain: SenderDomain, dns: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = _later(monkeypatch)
    made = key_rotations.rotate(caller=owner, domain_id=domain.id)
    assert [(key.algorithm, key.state, key.in_dns) for key in made] == [
        ("rsa", "pending", None),
        ("ed25519", "pending", None),
    ]
    records = {record.host: record for record in domains.records(domains.find(caller=owner, domain_id=domain.id))}
    assert all(records[key.host].value == key.record and not records[key.host].required for key in made)
    assert _signing(domain) == ["rsa", "ed25519"]

    # Not published yet: looking changes nothing.
    assert _verify(owner, domain).status == "enabled"
    assert _signing(domain) == ["rsa", "ed25519"]

    # Each key signs from when its own record is seen.
    _publish(dns, made, "rsa")
    result = _verify(owner, domain)
    assert (result.dkim_status, result.rotation_ms) == ("Verified", None)
    assert _signing(domain) == [made[0].selector, "ed25519"]
    _publish(dns, made, "ed25519")
    _verify(owner, domain)
    assert _signing(domain) == [made[0].selector, made[1].selector]
    assert _states(owner, domain) == {
        "rsa": "retiring",
        "ed25519": "retiring",
        made[0].selector: "active",
        made[1].selector: "active",
    }
    old = next(key for key in key_rotations.list_(caller=owner, domain_id=domain.id) if key.selector == "rsa")
    assert old.retire_ms is not None
    assert old.retire_ms - clock.now_ms() > 6.9 * clock.DAY_MS
    assert f"rsa._domainkey.{domain.name}" in {record.host for record in domains.records(domain)}

    later(6.9)
    rechecks.run(5)
    assert _states(owner, domain)["rsa"] == "retiring"
    later(0.2)
    rechecks.run(5)
    assert _states(owner, domain) | {"rsa": "retired", "ed25519": "retired"} == _states(owner, domain)
    shown = {key.selector: key for key in key_rotations.list_(caller=owner, domain_id=domain.id)}
    assert shown["rsa"].may_be_removed
    assert not shown[made[0].selector].may_be_removed
    assert bytes(DkimKey.get(DkimKey.selector == "rsa").private) == b""
    assert f"rsa._domainkey.{domain.name}" not in {record.host for record in domains.records(domain)}
    assert _signing(domain) == [made[0].selector, made[1].selector]
    told = [kind for kind in _kinds(owner) if kind.startswith("dkim.")]
    assert told == [
        "dkim.seen",  # the Ed25519 key of the new domain
        "dkim.switched",
        "dkim.rotation_started",
        *["dkim.seen", "dkim.switched"] * 2,
        *["dkim.retired"] * 2,
    ]


def test_every_signature_on_the_way_verifies(owner: Caller, domain: SenderDomain, dns: DnsServer) -> None:
    def signed() -> bytes:
        senders.forget()
        keys = senders.signing_keys(domain.id)
        return dkim.sign(MESSAGE, domain.name, keys, now_s=clock.now_ms() // 1000) + MESSAGE

    def look_up(name: bytes, timeout: int = 5) -> bytes | None:
        return (resolver().uncached().txt(name.decode()) or [""])[0].encode() or None

    def verified(message: bytes) -> list[bool]:
        checker = dkimpy.DKIM(message, minkey=1024)
        return [checker.verify(idx=at, dnsfunc=look_up) for at in range(2)]

    sent = [signed()]
    made = key_rotations.rotate(caller=owner, domain_id=domain.id)
    sent.append(signed())
    for algorithm in ("ed25519", "rsa"):
        _publish(dns, made, algorithm)
        _verify(owner, domain)
        sent.append(signed())
    assert [verified(message) for message in sent] == [[True, True]] * 4
    selectors = {f"s={key.selector};".encode() for key in made}
    assert all(selector in sent[-1] for selector in selectors)
    assert not any(selector in sent[0] for selector in selectors)


def test_one_rotation_at_a_time_and_it_can_be_taken_back(owner: Caller, domain: SenderDomain, dns: DnsServer) -> None:
    made = key_rotations.rotate(caller=owner, domain_id=domain.id)
    with pytest.raises(errors.RotationRunning, match="cancel"):
        key_rotations.rotate(caller=owner, domain_id=domain.id)
    with pytest.raises(errors.RotationRunning):
        key_rotations.import_key(
            caller=owner, domain_id=domain.id, selector="x", private_key=dkim.generate("ed25519").private
        )
    assert key_rotations.cancel(caller=owner, domain_id=domain.id) == [key.selector for key in made]
    assert key_rotations.cancel(caller=owner, domain_id=domain.id) == []
    _publish(dns, made)
    _verify(owner, domain)
    assert _signing(domain) == ["rsa", "ed25519"]
    assert _states(owner, domain) == {"rsa": "active", "ed25519": "active"}
    assert len(key_rotations.rotate(caller=owner, domain_id=domain.id)) == 2


def test_what_signs_already_is_not_taken_back(owner: Caller, domain: SenderDomain, dns: DnsServer) -> None:
    made = key_rotations.rotate(caller=owner, domain_id=domain.id)
    _publish(dns, made, "ed25519")
    _verify(owner, domain)
    assert key_rotations.cancel(caller=owner, domain_id=domain.id) == [made[0].selector]
    assert _signing(domain) == ["rsa", made[1].selector]


def test_an_old_key_comes_back_when_the_new_record_vanishes(
    owner: Caller, domain: SenderDomain, dns: DnsServer
) -> None:
    made = key_rotations.rotate(caller=owner, domain_id=domain.id)
    _publish(dns, made)
    _verify(owner, domain)
    dns.remove(made[0].host)
    assert _verify(owner, domain).dkim_status == "Verified"
    assert _signing(domain) == ["rsa", made[1].selector]
    assert _states(owner, domain)[made[0].selector] == "pending"
    _publish(dns, made)
    _verify(owner, domain)
    assert _signing(domain) == [made[0].selector, made[1].selector]
    assert _states(owner, domain)["rsa"] == "retiring"


def test_an_outage_switches_nothing(owner: Caller, domain: SenderDomain, dns: DnsServer) -> None:
    made = key_rotations.rotate(caller=owner, domain_id=domain.id)
    _publish(dns, made)
    for key in made:
        dns.servfail(key.host)
    _verify(owner, domain)
    assert _signing(domain) == ["rsa", "ed25519"]
    dns.servfail("rsa._domainkey.example.com")
    for key in made:
        dns.heal(key.host)
    _verify(owner, domain)
    assert _signing(domain) == [key.selector for key in made]


def test_without_any_record_the_rsa_key_goes_on(owner: Caller, domain: SenderDomain, dns: DnsServer) -> None:
    made = key_rotations.rotate(caller=owner, domain_id=domain.id)
    for record in domains.records(domain):
        dns.remove(record.host)
    _verify(owner, domain)
    assert _signing(domain) == ["rsa"]
    _publish(dns, made, "rsa")
    _verify(owner, domain)
    assert _signing(domain) == [made[0].selector]


def test_an_imported_key_signs_once_it_is_seen(
    owner: Caller, domain: SenderDomain, dns: DnsServer, bells: Bells
) -> None:
    bells.clear()
    pair = dkim.generate("rsa")
    taken = key_rotations.import_key(caller=owner, domain_id=domain.id, selector="Moved.2019", private_key=pair.private)
    assert (taken.selector, taken.bits, taken.state) == ("moved.2019", 1024, "pending")
    assert "2048" in taken.warning
    assert bells == [jobs.DOMAINS]
    assert _signing(domain) == ["rsa", "ed25519"]
    dns.set(taken.host, "TXT", taken.record)
    assert rechecks.run(5) == 1
    assert _signing(domain) == ["moved.2019", "ed25519"]
    assert b"PRIVATE" not in bytes(DkimKey.get(DkimKey.selector == "moved.2019").private)


@pytest.mark.parametrize(
    ("selector", "refusal"),
    [("rsa", errors.SelectorInUse), ("RSA ", errors.SelectorInUse), ("bad selector", errors.InvalidSelector)],
)
def test_an_import_that_cannot_be(
    owner: Caller, domain: SenderDomain, selector: str, refusal: type[errors.GatewayError]
) -> None:
    with pytest.raises(refusal):
        key_rotations.import_key(
            caller=owner, domain_id=domain.id, selector=selector, private_key=dkim.generate("rsa").private
        )
    with pytest.raises(errors.Invalid):
        key_rotations.import_key(caller=owner, domain_id=domain.id, selector="new", private_key="no key")
    assert _states(owner, domain) == {"rsa": "active", "ed25519": "active"}
    assert domains.find(caller=owner, domain_id=domain.id).rotation_ms is None


def test_retiring_by_hand(owner: Caller, domain: SenderDomain, dns: DnsServer) -> None:
    made = key_rotations.rotate(caller=owner, domain_id=domain.id)
    for selector, words in (("rsa", "signs"), (made[0].selector, "cancel")):
        with pytest.raises(errors.KeyNeeded, match=words):
            key_rotations.retire(caller=owner, domain_id=domain.id, selector=selector, now=True)
    _publish(dns, made)
    _verify(owner, domain)
    with pytest.raises(errors.KeyNeeded, match="until"):
        key_rotations.retire(caller=owner, domain_id=domain.id, selector="rsa")
    assert key_rotations.retire(caller=owner, domain_id=domain.id, selector="rsa", now=True).may_be_removed
    with pytest.raises(errors.NotFound):
        key_rotations.retire(caller=owner, domain_id=domain.id, selector="absent")
    with pytest.raises(errors.SelectorInUse):  # receivers may remember its record
        key_rotations.import_key(
            caller=owner, domain_id=domain.id, selector="rsa", private_key=dkim.generate("rsa").private
        )


def test_a_strangers_keys_are_not_there(owner: Caller, domain: SenderDomain) -> None:
    stranger = cast.account("stranger")
    for act in (key_rotations.list_, key_rotations.rotate, key_rotations.cancel):
        with pytest.raises(errors.NotFound):
            act(caller=stranger, domain_id=domain.id)
    with pytest.raises(errors.NotFound):
        key_rotations.retire(caller=stranger, domain_id=domain.id, selector="rsa", now=True)
    assert len(domain_keys.living([domain.id])) == 2
    assert models.Notice.select().where(models.Notice.account_id == stranger.account_id).count() == 0


def test_a_trusted_domain_that_comes_back_signs_with_no_key_that_waits(
    owner: Caller, domain: SenderDomain, dns: DnsServer
) -> None:
    made = key_rotations.rotate(caller=owner, domain_id=domain.id)
    domain_changes.delete(caller=owner, domain_id=domain.id)
    back = domains.add(caller=owner, name=domain.name, trusted=True)
    assert (back.id, back.rotation_ms) == (domain.id, None)
    assert _signing(domain) == ["rsa", "ed25519"]
    _publish(dns, made)
    _verify(owner, domain)
    assert _signing(domain) == [key.selector for key in made]
