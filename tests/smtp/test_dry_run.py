"""`X-Dry-Run` over SMTP: the verdict and the route come back under a code that no client takes for an acceptance."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator

import pytest

import models
from gateway.services import domain_changes, suppressions
from models import database as db
from tests.peers.dns_server import DnsServer
from tests.smtp.conftest import Customer, Running
from tests.smtp.test_submission import mail, only_message, stored, submit


@pytest.fixture
def dns(store: str) -> Iterator[DnsServer]:
    with DnsServer() as running:
        running.add("friends.test", "MX", "10 mx.friends.test")
        yield running


@pytest.fixture
def direct(start: Callable[..., Running], dns: DnsServer) -> Running:
    return start(DNS=dns.address, DELIVERY="direct")


KEPT = (
    models.Message, models.Content, models.Delivery, models.Event, models.IdempotencyKey, models.QuotaUsage,
    models.Counter,
)  # fmt: skip


def _stored() -> dict[str, int]:
    return {model.__name__: model.select().count() for model in KEPT if model.select().count()}


@pytest.mark.parametrize("word", ["true", "1", "yes", "=?utf-8?q?on?="])
def test_it_tells_and_keeps_nothing(direct: Running, customer: Customer, word: str) -> None:
    sent = mail(X_Dry_Run=word, X_Idempotency_Key="order-1", X_Tags="a").as_bytes()
    with customer.log_in(direct) as client:
        for _ in range(2):  # it leaves no key behind either
            said = submit(client, sent)
            lines = said.split("\n")
            assert lines[0] == "554 5.3.0 Dry run: nothing was sent or stored"
            assert all(line.startswith("5.3.0 ") for line in lines[1:])
            assert "5.3.0 Verdict: it would be accepted" in lines
            assert "5.3.0 Gate suppression: " in said
            assert "5.3.0 Recipients: 1, of which 0 are suppressed" in lines
            assert "5.3.0 Route of friends.test: mx.friends.test:25" in lines
            assert "5.3.0 TLS to friends.test: opportunistic" in said
            assert "DMARC of shop.test: " in said and "Size: " in lines[-1]
    assert _stored() == {}


def test_no_client_takes_it_for_an_acceptance(direct: Running, customer: Customer) -> None:
    with customer.log_in(direct) as client, pytest.raises(smtplib.SMTPDataError) as refused:
        client.send_message(mail(X_Dry_Run="true"))
    assert refused.value.smtp_code == 554
    assert b"nothing was sent" in refused.value.smtp_error
    assert _stored() == {}


@pytest.mark.parametrize("word", ["false", "0", "no", ""])
def test_without_it_the_message_is_sent_and_the_header_goes(part: Running, customer: Customer, word: str) -> None:
    with customer.log_in(part) as client:
        assert submit(client, mail(X_Dry_Run=word).as_bytes()).startswith("250 2.0.0 Accepted")
    assert b"x-dry-run" not in stored(only_message()).lower()


@pytest.mark.parametrize("lines", [b"X-Dry-Run: perhaps", b"X-Dry-Run: true\r\nX-Dry-Run: true"])
def test_a_word_that_is_no_answer_sends_nothing(part: Running, customer: Customer, lines: bytes) -> None:
    with customer.log_in(part) as client:
        said = submit(client, mail().as_bytes().replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n\r\n", 1))
    assert said.startswith("550 5.6.0")
    assert _stored() == {}


def test_a_refusal_is_named_and_not_given(direct: Running, customer: Customer) -> None:
    sender = customer.sender
    db.in_transaction(
        lambda tx: suppressions.add(
            tx, account_id=sender.owner.account_id, domain_id=0, address="jane@friends.test", reason="bounce"
        )
    )
    with customer.log_in(direct) as client:
        alone = submit(client, mail(X_Dry_Run="true").as_bytes())
        beside = submit(client, mail(X_Dry_Run="true").as_bytes(), "jane@friends.test", "bea@friends.test")
        real = submit(client, mail().as_bytes())
    assert alone.startswith("554 5.3.0 Dry run") and "it would be refused with " + real in alone
    assert "of which 1 are suppressed" in beside and "Suppressed: jane@friends.test (bounce)" in beside
    assert _stored() == {}


def test_it_tells_of_require_tls(direct: Running, customer: Customer) -> None:
    domain_changes.update(caller=customer.sender.owner, domain_id=customer.sender.domain.id, require_tls=True)
    with customer.log_in(direct) as client:
        said = submit(client, mail(X_Dry_Run="true").as_bytes())
    assert "TLS to friends.test: required (RequireTLS of the sender's domain" in said


def test_the_next_message_on_the_connection_is_sent(part: Running, customer: Customer) -> None:
    with customer.log_in(part) as client:
        assert submit(client, mail(X_Dry_Run="1").as_bytes()).startswith("554")
        assert submit(client, mail().as_bytes()).startswith("250")
    only_message()
