"""Dry runs: they decide as the real send does, tell where it would go, and leave nothing behind."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import models
from gateway import clock, errors
from gateway.mail import dkim
from gateway.mail.draft import Attachment, Draft, Mailbox
from gateway.services import (
    domain_changes,
    dry_runs,
    lists,
    messages,
    senders,
    shaping,
    subscribers,
    suppressions,
    templates,
    tls_forecasts,
    tls_policies,
    verdicts,
)
from gateway.services.identity import Caller
from gateway.transports.mta_sts import Policy
from models import database as db
from tests import cast
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer

NOW = 1_774_000_000_000
SENDS = 60


@pytest.fixture
def dns(store: str, tmp_path: Path) -> Iterator[DnsServer]:
    with DnsServer() as running:
        use_settings(tmp_path, DNS=running.address)
        yield running


@pytest.fixture
def who(dns: DnsServer) -> cast.Sender:
    return cast.sender()


def _fingerprint() -> str:
    """Every row of every table that survives."""
    digest = hashlib.sha256()
    for model in models.DURABLE:
        for row in sorted(map(repr, db.rows(f"SELECT * FROM {model._meta.table_name}"))):
            digest.update(row.encode())
    return digest.hexdigest()


def _suppress(who: cast.Sender, address: str, reason: str = "bounce") -> None:
    db.in_transaction(
        lambda tx: suppressions.add(
            tx, account_id=who.owner.account_id, domain_id=0, address=address, reason=reason, detail="550 no"
        )
    )


def _list(who: cast.Sender, *names: str) -> int:
    made = lists.add(caller=who.owner, name="Friends")
    for name in names:
        subscribers.add(caller=who.owner, list_id=made.id, email=f"{name}@friends.test", fields={"firstName": name})
    return made.id


class World:
    """Sends of every kind, some good and some not, over few people, keys, lists and templates."""

    def __init__(self, who: cast.Sender) -> None:
        self._random = random.Random(17)
        self._who = who
        for name in ("dora", "emil"):
            _suppress(who, f"{name}@friends.test")
        self._lists = [_list(who, "anna", "dora"), _list(who, "dora", "emil"), _list(who), 999_999]
        good, bad = ("{{ firstName }}", "{{ 1 | divided_by: n }}")
        self._templates = [
            *(templates.add(caller=who.owner, name="T", subject="S", html=text, text=None).id for text in (good, bad)),
            999_999,
        ]
        self._earlier: list[Draft] = []

    def next(self) -> tuple[Caller, Draft]:
        if self._earlier and self._random.random() < 0.15:
            draft = self._random.choice(self._earlier)
            return self._caller(), replace(draft, fingerprint=self._random.choice([draft.fingerprint, "0" * 64]))
        pick = self._random
        people = pick.sample(["anna", "bert", "dora", "emil"], pick.randint(0, 3))
        boxes = [Mailbox(f"{name}@friends.test") for name in people]
        cut = pick.randint(0, len(boxes))
        changed: dict[str, Any] = {"to": boxes[:cut], "cc": boxes[cut:]}
        if pick.random() < 0.25:
            changed |= {"to": [], "cc": [], "list_id": pick.choice(self._lists)}
        if pick.random() < 0.25:
            changed |= {"template_id": pick.choice(self._templates), "html": None, "text": None}
        if pick.random() < 0.2:
            changed["sender"] = Mailbox(pick.choice(["a@mail.shop.test", "a@other.test"]))
        if pick.random() < 0.2:
            changed["send_at_ms"] = NOW + pick.choice([-1, 1]) * 3_600_000
        if pick.random() < 0.1:
            changed["attachments"] = [Attachment("a.bin", "application/octet-stream", pick.randbytes(1_500_000))]
        draft = cast.draft(**changed)
        if pick.random() < 0.4:
            draft.idempotency_key, draft.idempotency_scope = f"k-{len(self._earlier)}", "send"
            draft.fingerprint = f"{len(self._earlier):064d}"
            self._earlier.append(draft)
        return self._caller(), draft

    def _caller(self) -> Caller:
        pick, caller = self._random, self._who.caller
        chance = pick.random()
        if chance < 0.05:
            return replace(caller, status=pick.choice(["disabled", "unverified"]))
        if chance < 0.1:
            return replace(caller, domain_id=999_999)
        size = 1_000_000 if pick.random() < 0.5 else None
        return replace(caller, plan=replace(caller.plan, name="Small", emails_day=25, max_size=size))


def test_a_dry_run_decides_as_the_send_does_and_changes_nothing(
    who: cast.Sender, monkeypatch: pytest.MonkeyPatch, bells: list[str]
) -> None:
    monkeypatch.setattr(clock, "now_ms", lambda: NOW)
    world = World(who)
    seen: dict[str, int] = {}
    for _ in range(SENDS):
        caller, draft = world.next()
        rung, before = list(bells), _fingerprint()
        dry = dry_runs.run(caller=caller, draft=draft)
        assert (_fingerprint(), bells) == (before, rung)
        try:
            accepted = messages.accept(caller, draft)
        except errors.GatewayError as refusal:
            assert dry.refusal is not None
            assert (type(dry.refusal), dry.refusal.message, dry.refusal.data) == (
                type(refusal), refusal.message, refusal.data,
            )  # fmt: skip
            assert [one["decision"] for one in dry.verdicts if one.get("decision") == "refused"] == ["refused"]
            seen[refusal.slug] = seen.get(refusal.slug, 0) + 1
            continue
        assert dry.refusal is None, dry.refusal
        if accepted.replayed:
            assert dry.replays == accepted.message_id
            seen["replayed"] = seen.get("replayed", 0) + 1
            continue
        message = models.Message.select().order_by(models.Message.id.desc()).get()
        assert verdicts.unpack(message.verdicts) == [one for one in dry.verdicts if one["gate"] != verdicts.SIGNING]
        assert dry.transport == "capture"
        if draft.list_id is None:
            suppressed = [one.address for one in dry.recipients if one.suppressed is not None]
            assert suppressed == accepted.suppressed
            assert dry.total == models.Delivery.select().where(models.Delivery.message_id == message.id).count()
        seen["accepted"] = seen.get("accepted", 0) + 1
    wanted = {"accepted", "replayed", "recipient_suppressed", "quota_reached", "idempotency_mismatch", "not_allowed"}
    assert wanted <= seen.keys(), seen
    assert seen["accepted"] >= 8, seen


def _publish(dns: DnsServer, who: cast.Sender) -> None:
    for key in senders.signing_keys(who.domain.id):
        dns.add(f"{key.selector}._domainkey.shop.test", "TXT", dkim.dns_value(key.algorithm, key.public))
    dns.add("_dmarc.shop.test", "TXT", "v=DMARC1; p=reject; sp=quarantine")


def test_headers_size_and_fates(who: cast.Sender) -> None:
    _suppress(who, "bea@friends.test", "complaint")
    found = dry_runs.run(caller=who.caller, draft=cast.draft(bcc=[Mailbox("bea@friends.test")]))
    fields = found.headers.split("\r\n")
    assert sum(line.startswith("DKIM-Signature:") for line in fields) == 2
    assert "Subject: Your order" in fields
    assert "bea@" not in found.headers
    assert found.size > len(found.headers)
    assert found.return_path == senders.sender(who.domain.id).return_path_host  # type: ignore[union-attr]
    fates = {one.address: one.suppressed and (one.suppressed.reason, one.suppressed.detail) for one in found.recipients}
    assert fates == {"jane@friends.test": None, "bea@friends.test": ("complaint", "550 no")}


def test_of_a_list_the_first_who_is_written_to_is_shown(who: cast.Sender) -> None:
    _suppress(who, "anna@friends.test")
    made = _list(who, "anna", "bert", "carl")
    draft = cast.draft(to=[], list_id=made, subject="Hi {{ firstName }}")
    found = dry_runs.run(caller=who.caller, draft=draft)
    assert "Subject: Hi bert\r\n" in found.headers
    assert "To: bert@friends.test\r\n" in found.headers
    assert (found.total, [one.suppressed is None for one in found.recipients]) == (3, [False, True, True])


def test_alignment_of_a_domain_in_order(who: cast.Sender, dns: DnsServer) -> None:
    _publish(dns, who)
    dns.add(senders.sender(who.domain.id).return_path_host, "TXT", "v=spf1 a -all")  # type: ignore[union-attr]
    found = dry_runs.run(caller=who.caller, draft=cast.draft(sender=Mailbox("a@mail.shop.test"))).forecast
    assert found is not None
    assert (found.result, found.policy, found.policy_domain) == ("pass", "quarantine", "shop.test")
    assert (found.dkim.result, found.dkim.aligned, found.spf.result, found.spf.aligned) == (
        "pass",
        True,
        "unknown",
        True,
    )
    assert [key.result for key in found.selectors] == ["pass", "pass"]


def test_strict_alignment_and_organisations(who: cast.Sender, dns: DnsServer) -> None:
    _publish(dns, who)
    dns.add("_dmarc.mail.shop.test", "TXT", "v=DMARC1; p=reject; adkim=s")
    draft = cast.draft(sender=Mailbox("a@mail.shop.test"))
    found = dry_runs.run(caller=who.caller, draft=draft).forecast
    assert found is not None
    assert (found.policy, found.policy_domain) == ("reject", "mail.shop.test")
    assert (found.dkim.strict, found.dkim.aligned, found.spf.strict, found.spf.aligned) == (True, False, False, True)
    assert (found.result, found.spf.result) == ("fail", "fail")
    # A subdomain that says that it is an organisation of its own is aligned with nothing above it.
    dns.set("_dmarc.mail.shop.test", "TXT", "v=DMARC1; p=reject; psd=n")
    found = dry_runs.run(caller=who.caller, draft=draft).forecast
    assert found is not None
    assert (found.dkim.strict, found.dkim.aligned, found.spf.aligned, found.result) == (False, False, False, "fail")


def test_without_an_answer_of_dns_it_is_unknown(who: cast.Sender, dns: DnsServer) -> None:
    for name in (
        "_dmarc.shop.test",
        *(f"{key.selector}._domainkey.shop.test" for key in senders.signing_keys(who.domain.id)),
    ):
        dns.servfail(name)
    found = dry_runs.run(caller=who.caller, draft=cast.draft()).forecast
    assert found is not None
    assert (found.result, found.dkim.result, found.dkim.aligned, found.policy) == ("unknown", "unknown", True, "")
    assert "not known" in found.reason


def test_the_exchangers_of_direct_delivery(who: cast.Sender, dns: DnsServer, tmp_path: Path) -> None:
    use_settings(tmp_path, DNS=dns.address, DELIVERY="direct", MX_PORT="2500")
    dns.add("friends.test", "MX", "20 b.friends.test", "10 a.friends.test")
    dns.add("deaf.test", "MX", "0 .")
    dns.servfail("broken.test")
    boxes = [Mailbox(f"jane@{name}.test") for name in ("friends", "deaf", "broken")]
    found = dry_runs.run(caller=who.caller, draft=cast.draft(to=boxes))
    assert found.transport == "direct"
    assert [(one.domain, one.hosts) for one in found.destinations] == [
        ("friends.test", ["a.friends.test:2500", "b.friends.test:2500"]), ("deaf.test", []), ("broken.test", []),
    ]  # fmt: skip
    assert "null MX" in found.destinations[1].reason
    assert found.destinations[2].reason


def test_a_destination_that_is_paused(who: cast.Sender, dns: DnsServer, tmp_path: Path) -> None:
    dns.add("friends.test", "MX", "10 mx.host.test")
    shaping.add(caller=None, scope="mx", target="relay.test", kind="pause", cause="they asked for a rest")
    shaping.add(caller=None, scope="mx", target="host.test", kind="pause", minutes=9, cause="too many refusals")
    shaping.add(caller=None, scope="domain", target="friends.test", kind="rate", value=9)
    use_settings(tmp_path, DNS=dns.address, DELIVERY="direct")
    (direct,) = dry_runs.run(caller=who.caller, draft=cast.draft()).destinations
    assert direct.hosts and direct.reason.startswith("held back until 20")
    assert "(too many refusals, limit " in direct.reason
    use_settings(tmp_path, DNS=dns.address, DELIVERY="smtp://relay.test:587")
    (relayed,) = dry_runs.run(caller=who.caller, draft=cast.draft()).destinations
    assert relayed.reason.startswith("held back until it is canceled (they asked for a rest, limit ")


def test_a_smarthost_is_named_without_its_credentials(who: cast.Sender, dns: DnsServer, tmp_path: Path) -> None:
    use_settings(tmp_path, DNS=dns.address, DELIVERY="smtp://user:secret@relay.test:587")
    found = dry_runs.run(caller=who.caller, draft=cast.draft())
    assert (found.transport, found.destinations[0].hosts) == ("smarthost", ["relay.test:587"])
    assert "secret" not in repr(found)
    tested = dry_runs.run(caller=replace(who.caller, live=False), draft=cast.draft())
    assert (tested.transport, tested.destinations[0].hosts) == ("capture", [])


def test_a_domain_without_a_dkim_key_is_told(who: cast.Sender) -> None:
    models.DkimKey.delete().execute()
    senders.forget()
    found = dry_runs.run(caller=who.caller, draft=cast.draft())
    assert found.verdicts[-1]["decision"] == "no_key"
    assert found.headers.startswith("From: ")
    assert found.forecast is not None
    assert found.forecast.dkim.result == "fail"


def test_a_large_body_is_not_stored_ahead(who: cast.Sender) -> None:
    body = random.Random(1).randbytes(1_500_000)
    draft = cast.draft(attachments=[Attachment("noise.bin", "application/octet-stream", body)])
    before = _fingerprint()
    assert dry_runs.run(caller=who.caller, draft=draft).size > len(body)
    assert _fingerprint() == before


@pytest.mark.parametrize(
    ("delivery", "required", "policy", "said"),
    [
        ("direct", False, "opportunistic", "else clear text"),
        ("direct", True, "required", "RequireTLS of the sender's domain"),
        ("smtp://relay.test", True, "required", "to the smarthost only"),
        ("smtp://relay.test", False, "opportunistic", "to the smarthost only"),
        ("smtps://relay.test", True, "implicit", "from the first byte"),
        ("capture", True, "none", "no mail leaves this machine"),
    ],
)
def test_what_is_owed_to_encryption(
    who: cast.Sender, dns: DnsServer, tmp_path: Path, delivery: str, required: bool, policy: str, said: str
) -> None:
    dns.add("friends.test", "MX", "10 mx.friends.test")
    use_settings(tmp_path, DNS=dns.address, DELIVERY=delivery)
    domain_changes.update(caller=who.owner, domain_id=who.domain.id, require_tls=required)
    found = dry_runs.run(caller=who.caller, draft=cast.draft())
    (place,) = found.destinations
    assert found.require_tls is required
    assert place.tls is not None and place.tls.policy == policy
    assert said in place.tls.detail


@pytest.mark.parametrize(
    ("mode", "pattern", "policy", "said"),
    [
        ("enforce", "*.friends.test", "mta-sts", "MTA-STS requires TLS at mx.friends.test"),
        ("enforce", "mx.other.test", "mta-sts", "it gets nothing"),
        ("testing", "*.friends.test", "opportunistic", "else clear text"),
        ("none", "*.friends.test", "opportunistic", "else clear text"),
    ],
)
def test_a_kept_policy_of_the_recipients_domain_counts(
    who: cast.Sender, dns: DnsServer, tmp_path: Path, mode: str, pattern: str, policy: str, said: str
) -> None:
    dns.add("friends.test", "MX", "10 mx.friends.test")
    use_settings(tmp_path, DNS=dns.address, DELIVERY="direct")
    now = clock.now_ms()
    tls_policies.save("friends.test", Policy("1", mode, (pattern,), now, now + 60_000))
    (place,) = dry_runs.run(caller=who.caller, draft=cast.draft()).destinations
    assert place.tls is not None and (place.tls.policy, said in place.tls.detail) == (policy, True), place.tls


@pytest.mark.parametrize(
    ("endpoint", "required", "policy"),
    [
        ("https://api.provider.test/v1", True, "implicit"),
        ("https://api.provider.test/v1", False, "implicit"),
        ("http://127.0.0.1:8025/v1", True, "required"),
        ("http://127.0.0.1:8025/v1", False, "none"),
    ],
)
def test_what_is_owed_on_the_way_to_a_provider(endpoint: str, required: bool, policy: str) -> None:
    tls = tls_forecasts.to_provider(endpoint, required=required)
    assert tls.policy == policy
    assert tls.detail.startswith("to the provider only")
