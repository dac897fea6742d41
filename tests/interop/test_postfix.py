"""Debian's Postfix takes what the engine sends: as the exchanger of a domain and as a smarthost."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dkim as dkimpy
import pytest

import models
from benchmarks.postfix import Postfix, missing
from gateway import clock
from gateway.dns.resolver import resolver
from gateway.mail.draft import Mailbox
from gateway.services import deliveries, domains, messages
from models.vocabulary import DeliveryState
from tests import cast
from tests.conftest import use_settings
from tests.interop.messages import drafts
from tests.peers.certificate import self_signed
from tests.peers.dns_server import DnsServer
from tests.peers.greylist import Greylist
from tests.peers.smtp_sink import SmtpSink, Transaction

_WHY_NOT = missing(signing=False)
pytestmark = [
    pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT or "-"),
    # What is under test is the conversation, which no database changes.
    pytest.mark.parametrize("store_url", ["sqlite"], indirect=True),
]

Start = Callable[..., Postfix]
SETTINGS = {"DELIVERY_ALLOW": "127.0.0.0/8"}


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    """Where Postfix relays to: what arrives there went through it."""
    with SmtpSink() as peer:
        yield peer


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as peer:
        peer.add("friends.test", "MX", "10 mx.friends.test")
        peer.add("mx.friends.test", "A", "127.0.0.1")
        yield peer


@pytest.fixture
def start(sink: SmtpSink, tmp_path: Path) -> Iterator[Start]:
    """Starts a Postfix with lines of main.cf of its own; it ends with the test."""
    with ExitStack() as running:

        def begin(**settings: str) -> Postfix:
            return running.enter_context(Postfix(tmp_path / "postfix", sink=sink.port, settings=settings))

        yield begin
        deliveries.close()


def _with_tls(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "certificate"
    folder.mkdir()
    made = self_signed(folder, "mx.friends.test")
    return {
        "smtpd_tls_security_level": "may",
        "smtpd_tls_cert_file": str(made.chain),
        "smtpd_tls_key_file": str(made.key),
        "smtpd_tls_received_header": "yes",
    }


def _direct(tmp_path: Path, postfix: Postfix, dns: DnsServer) -> None:
    use_settings(tmp_path, DELIVERY="direct", MX_PORT=str(postfix.port), DNS=dns.address, **SETTINGS)


def _drain() -> None:
    while deliveries.drain(0.5):
        pass
    assert deliveries.engine().wait_idle(60)
    deliveries.close()


def _states() -> dict[str, DeliveryState]:
    return {row.rcpt: DeliveryState(row.state) for row in models.Delivery.select()}


def _subject(one: Transaction) -> str:
    return str(email.message_from_bytes(one.data, policy=email.policy.default)["Subject"])


def test_as_the_exchanger_of_a_domain_over_tls(
    store: str, start: Start, sink: SmtpSink, dns: DnsServer, tmp_path: Path
) -> None:
    _direct(tmp_path, start(**_with_tls(tmp_path)), dns)
    who = cast.sender()
    for record in domains.records(who.domain):
        dns.set(record.host, record.type, record.value)
    sent = [draft for name, draft in drafts() if "signed before" not in name]
    for draft in sent:
        messages.accept(who.caller, draft)
    _drain()
    assert set(_states().values()) == {DeliveryState.DELIVERED}
    attempts = list(models.Attempt.select())
    assert len(attempts) == len(sent)
    assert {(row.transport, row.code, row.outcome) for row in attempts} == {("direct", 250, "delivered")}
    assert all(row.tls.startswith("TLSv1.3") for row in attempts), {row.tls for row in attempts}
    found = sink.wait_for(len(sent), 60)
    assert all(b"using TLSv1.3" in one.data for one in found)
    assert all(one.mail_from.endswith("@bounce.shop.test") for one in found)

    def look_up(name: bytes, timeout: int = 5) -> bytes:
        return resolver().txt(name.decode())[0].encode()

    # Both signatures stand what another MTA does to a message on its way.
    broken = [
        one.data for one in found if not all(dkimpy.DKIM(one.data).verify(idx=at, dnsfunc=look_up) for at in range(2))
    ]
    assert broken == []


def test_as_a_smarthost_with_a_certificate_nobody_knows(
    store: str, start: Start, sink: SmtpSink, tmp_path: Path
) -> None:
    postfix = start(**_with_tls(tmp_path))
    use_settings(tmp_path, DELIVERY=f"smtp://127.0.0.1:{postfix.port}")
    who = cast.sender()
    for n in range(20):
        messages.accept(who.caller, cast.draft(to=f"r{n}@far{n}.test", subject=f"Order {n}"))
    _drain()
    assert set(_states().values()) == {DeliveryState.DELIVERED}
    assert all(row.tls.startswith("TLSv1.3") for row in models.Attempt.select())
    found = sink.wait_for(20, 30)
    assert sorted(_subject(one) for one in found) == sorted(f"Order {n}" for n in range(20))
    assert sorted(rcpt for one in found for rcpt in one.rcpts) == sorted(f"r{n}@far{n}.test" for n in range(20))


def test_as_a_smarthost_without_tls(store: str, start: Start, sink: SmtpSink, tmp_path: Path) -> None:
    use_settings(tmp_path, DELIVERY=f"smtp://127.0.0.1:{start().port}")
    messages.accept(cast.sender().caller, cast.draft())
    _drain()
    assert [row.tls for row in models.Attempt.select()] == [""]
    assert sink.wait_for(1)


def test_an_internationalised_recipient(
    store: str, start: Start, sink: SmtpSink, dns: DnsServer, tmp_path: Path
) -> None:
    _direct(tmp_path, start(smtputf8_enable="yes"), dns)
    who = cast.sender()
    messages.accept(who.caller, cast.draft(to=[Mailbox("jürgen@friends.test", "Jürgen")]))
    messages.accept(who.caller, cast.draft(to="jane@friends.test", subject="Grüße"))
    _drain()
    assert set(_states().values()) == {DeliveryState.DELIVERED}
    found = {one.rcpts[0]: one for one in sink.wait_for(2, 30)}
    assert "SMTPUTF8" in found["jürgen@friends.test"].mail_parameters
    assert b"with UTF8SMTP" in found["jürgen@friends.test"].data
    # Who does not need the extension is not sent with it.
    assert "SMTPUTF8" not in found["jane@friends.test"].mail_parameters
    assert b"with UTF8SMTP" not in found["jane@friends.test"].data


def test_an_internationalised_recipient_where_nobody_takes_it(
    store: str, start: Start, sink: SmtpSink, dns: DnsServer, tmp_path: Path
) -> None:
    _direct(tmp_path, start(smtputf8_enable="no"), dns)
    messages.accept(cast.sender().caller, cast.draft(to=[Mailbox("jürgen@friends.test")]))
    _drain()
    assert set(_states().values()) == {DeliveryState.BOUNCED}
    assert sink.count == 0


def test_greylisting_defers_and_then_delivers(
    store: str, start: Start, sink: SmtpSink, dns: DnsServer, tmp_path: Path
) -> None:
    with Greylist() as greylist:
        policy = f"check_policy_service inet:127.0.0.1:{greylist.port}, permit_mynetworks, reject"
        _direct(tmp_path, start(smtpd_recipient_restrictions=policy), dns)
        who = cast.sender()
        for name in ("jane", "carl"):
            messages.accept(who.caller, cast.draft(to=f"{name}@friends.test"))
        _drain()
        assert set(_states().values()) == {DeliveryState.DEFERRED}
        assert sorted(greylist.deferred) == ["carl@friends.test", "jane@friends.test"]
        assert [(row.code, row.enhanced, row.outcome) for row in models.Attempt.select()] == [
            (450, "4.2.0", "deferred")
        ] * 2
        assert sink.count == 0
        due = [row.due_ms for row in models.Delivery.select()]
        assert all(at > clock.now_ms() for at in due)

        models.Delivery.update(due_ms=clock.now_ms()).execute()
        _drain()
        assert set(_states().values()) == {DeliveryState.DELIVERED}
        assert sink.wait_for(2, 30)
        assert [row.attempts for row in models.Delivery.select()] == [2, 2]
        assert models.Suppression.select().count() == 0


def test_a_recipient_that_is_refused_bounces(
    store: str, start: Start, sink: SmtpSink, dns: DnsServer, tmp_path: Path
) -> None:
    access = tmp_path / "access"
    access.write_text("/^nobody@/ 550 5.1.1 User unknown\n")
    rules = f"check_recipient_access regexp:{access}, permit_mynetworks, reject"
    _direct(tmp_path, start(smtpd_recipient_restrictions=rules), dns)
    who = cast.sender()
    messages.accept(who.caller, cast.draft(to="nobody@friends.test", cc=[Mailbox("jane@friends.test")]))
    _drain()
    assert _states() == {
        "nobody@friends.test": DeliveryState.BOUNCED,
        "jane@friends.test": DeliveryState.DELIVERED,
    }
    assert [one.rcpts for one in sink.wait_for(1, 30)] == [["jane@friends.test"]]
    assert [row.address for row in models.Suppression.select()] == ["nobody@friends.test"]
