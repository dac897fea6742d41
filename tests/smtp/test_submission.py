"""Submission with smtplib over real sockets: from a login to a stored message."""

from __future__ import annotations

import base64
import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP as SMTP_POLICY
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

import models
from gateway import jobs
from gateway.services import audit_log, contents, gates, messages, smtps
from gateway.services.audit_log import Wanted
from models import database as db
from models.vocabulary import DeliveryState
from tests.peers import certificate
from tests.smtp.conftest import Customer, Running


def mail(**changed: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP_POLICY)
    fields = {"From": "The Shop <hello@shop.test>", "To": "jane@friends.test", "Subject": "Your order"} | changed
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    message.set_content("Thank you, Zoë!\n.\n..\nBye\n")
    return message


def submit(client: smtplib.SMTP, content: bytes, *recipients: str, sender: str = "bounces@elsewhere.test") -> str:
    """Send over an open connection and return the final reply."""
    client.ehlo_or_helo_if_needed()
    assert client.mail(sender)[0] == 250
    for recipient in recipients or ("jane@friends.test",):
        assert client.rcpt(recipient)[0] == 250
    code, text = client.data(content)
    return f"{code} {text.decode()}"


def only_message() -> Any:
    (message,) = models.Message.select()
    return message


def stored(message: Any) -> bytes:
    kind, body = contents.load([message.content_id])[message.content_id]
    assert kind == gates.KIND_MIME
    return body


def test_a_message_is_durable_when_it_is_answered(part: Running, customer: Customer, bells: list[str]) -> None:
    sent = mail(Cc="John <john@friends.test>")
    with customer.log_in(part) as client:
        answer = submit(client, sent.as_bytes(), "jane@friends.test", "john@friends.test", "secret@friends.test")
    message = only_message()
    assert answer == f"250 2.0.0 Accepted as {message.uuid}"
    assert (message.from_addr, message.subject, message.smtp_login_id) == (
        "hello@shop.test", "Your order", customer.login.id,
    )  # fmt: skip
    assert message.account_id == customer.sender.owner.account_id
    assert message.domain_id == customer.sender.domain.id
    rcpts = {row.rcpt: row.state for row in models.Delivery.select()}
    assert rcpts == dict.fromkeys(
        ("jane@friends.test", "john@friends.test", "secret@friends.test"), DeliveryState.QUEUED
    )
    assert bells == [jobs.DELIVER]
    body = stored(message)
    assert sent.as_bytes().partition(b"\r\n\r\n")[2] == body.partition(b"\r\n\r\n")[2]


def test_header_is_mended_and_nothing_else_changes(part: Running, customer: Customer) -> None:
    content = (
        b"From: hello@shop.test\r\nTO: jane@friends.test\r\nBcc: secret@friends.test,\r\n other@friends.test\r\n"
        b"X-Odd:   two  spaces\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n.leading dot\r\nend"
    )
    with customer.log_in(part) as client:
        submit(client, content)
    body = stored(only_message())
    assert b"secret@" not in body and b"other@" not in body
    assert b"\r\nTO: jane@friends.test\r\n" in body
    assert b"\r\nX-Odd:   two  spaces\r\n" in body
    assert body.endswith(b"\r\n\r\n.leading dot\r\nend\r\n")
    parsed = BytesParser(policy=default).parsebytes(body)
    assert parsed["Message-ID"].endswith("@shop.test>")
    assert parsed["Date"].datetime is not None
    assert "from client.test ([127.0.0.1])" in parsed["Received"]
    assert "with ESMTPA;" in parsed["Received"]
    assert only_message().subject == "Grüße"


def test_extensions_are_offered_and_the_version_is_not(part: Running) -> None:
    with part.client() as client:
        code, banner = client.connect("127.0.0.1", part.ports["submission"])
        assert (code, banner) == (220, b"mx.gateway.test ESMTP")
        client.ehlo()
        assert {"size", "8bitmime", "smtputf8", "pipelining", "enhancedstatuscodes", "auth"} <= set(
            client.esmtp_features
        )
        assert "starttls" not in client.esmtp_features
        assert client.esmtp_features["size"] == "26214400"
        assert set(client.esmtp_features["auth"].split()) == {"PLAIN", "LOGIN"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "plain", "login"])
def test_login_by_each_mechanism(part: Running, customer: Customer, mechanism: str) -> None:
    with part.client() as client:
        client.ehlo()
        client.user, client.password = customer.login.username, customer.password
        assert client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))[0] == 235


def test_login_with_the_user_name_in_the_first_line(part: Running, customer: Customer) -> None:
    with part.client() as client:
        client.ehlo()
        name = base64.b64encode(customer.login.username.encode()).decode()
        assert client.docmd("AUTH", f"LOGIN {name}") == (334, b"UGFzc3dvcmQ6")
        assert client.docmd(base64.b64encode(customer.password.encode()).decode())[0] == 235


@pytest.mark.parametrize(
    ("exchange", "code"),
    [
        (["AUTH PLAIN !!!!"], 501),
        (["AUTH PLAIN =", ], 501),
        (["AUTH PLAIN", "*"], 501),
        (["AUTH LOGIN", "*"], 501),
        (["AUTH LOGIN", "YWJj", "*"], 501),
        (["AUTH PLAIN", "A" * 4000], 500),
        (["AUTH CRAM-MD5"], 504),
        (["AUTH"], 501),
        (["AUTH PLAIN " + base64.b64encode(b"boss\0nobody\0x").decode()], 535),
        (["AUTH PLAIN " + base64.b64encode(b"\0nobody\0x").decode()], 535),
        (["AUTH PLAIN " + base64.b64encode(b"\0\xff\xfe\0x").decode()], 535),
        (["AUTH PLAIN " + base64.b64encode(b"\0" + b"n" * 300 + b"\0x").decode()], 535),
    ],
)  # fmt: skip
def test_bad_logins_are_refused_and_the_connection_lives(part: Running, exchange: list[str], code: int) -> None:
    with part.client() as client:
        client.ehlo()
        for line in exchange:
            answer = client.docmd(line)
        assert answer[0] == code
        assert client.noop()[0] == 250
        assert client.mail("hello@shop.test")[0] == 530


def test_guessing_ends_the_connection_and_then_the_guesses(start: Callable[..., Running], customer: Customer) -> None:
    part = start(LOGIN_ATTEMPTS="4")
    codes = []
    for _ in range(2):
        client = part.client()
        for _ in range(3):
            try:
                client.login(customer.login.username, "wrong")
            except smtplib.SMTPAuthenticationError as error:
                codes.append(error.smtp_code)
            except smtplib.SMTPServerDisconnected:
                break
        client.close()
    assert 535 in codes
    with part.client() as client, pytest.raises(smtplib.SMTPAuthenticationError) as limited:
        client.login(customer.login.username, customer.password)
    assert limited.value.smtp_code == 451


def test_nothing_goes_without_a_login(part: Running, customer: Customer) -> None:
    with part.client() as client:
        client.ehlo()
        assert client.mail("hello@shop.test")[0] == 530
        assert client.docmd("DATA")[0] == 530
    assert not models.Message.select().count()


def test_a_login_that_is_taken_away_ends_at_once(part: Running, customer: Customer) -> None:
    client = customer.log_in(part)
    smtps.delete(caller=customer.sender.owner, smtp_id=customer.login.id)
    assert submit(client, mail().as_bytes()).startswith("535 5.7.8")
    client.quit()
    with part.client() as again, pytest.raises(smtplib.SMTPAuthenticationError):
        again.login(customer.login.username, customer.password)


@pytest.mark.parametrize(
    ("sender", "answer"),
    [
        ("hello@shop.test", "250"),
        ("Shop <hello@NEWS.Shop.Test>", "250"),
        ("hello@shop.test (The Shop)", "250"),
        ('"boss@bank.test" <hello@shop.test>', "250"),
        ("hello@bank.test", "550 5.7.1"),
        ("hello@notshop.test", "550 5.7.1"),
        ("boss@bank.test, hello@shop.test", "550 5.6.0"),
        ("Boss <boss@bank.test> <hello@shop.test>", "550 5.6.0"),
        ("=?utf-8?q?boss=40bank=2Etest=2C?= <hello@shop.test>", "250"),
        ("nobody", "550 5.6.0"),
        ("", "550 5.6.0"),
    ],
)
def test_from_must_belong_to_the_domain(part: Running, customer: Customer, sender: str, answer: str) -> None:
    with customer.log_in(part) as client:
        content = f"From: {sender}\r\nTo: jane@friends.test\r\nSubject: s\r\n\r\nbody\r\n".encode()
        assert submit(client, content).startswith(answer)
    assert models.Message.select().count() == (answer == "250")


def test_two_from_fields_are_refused(part: Running, customer: Customer) -> None:
    with customer.log_in(part) as client:
        content = b"From: hello@shop.test\r\nFrom: boss@bank.test\r\nTo: jane@friends.test\r\n\r\nbody\r\n"
        assert submit(client, content).startswith("550 5.6.0")


def test_a_repeated_idempotency_key_is_one_message(part: Running, customer: Customer) -> None:
    first = mail(X_Idempotency_Key="order-17")
    first.add_alternative("<p>Thank you</p>", subtype="html")
    again = mail(X_Idempotency_Key="order-17", Date="Mon, 05 Jan 2026 10:00:00 +0000", Message_ID="<other@shop.test>")
    again.add_alternative("<p>Thank you</p>", subtype="html")
    assert first.as_bytes() != again.as_bytes()
    with customer.log_in(part) as client:
        answers = [submit(client, message.as_bytes()) for message in (first, again)]
        other = submit(client, mail(X_Idempotency_Key="order-17", Subject="Another").as_bytes())
    assert answers[0] == answers[1]
    assert other.startswith("550 5.7.1")
    assert models.Message.select().count() == 1


def test_internationalised_addresses(part: Running, customer: Customer) -> None:
    with customer.log_in(part) as client:
        client.ehlo()
        assert client.docmd("MAIL FROM:<hello@shop.test> SMTPUTF8 BODY=8BITMIME SIZE=1000")[0] == 250
        client.command_encoding = "utf-8"
        assert client.docmd("RCPT TO:<zoë@bücher.test>")[0] == 250
        assert client.data(mail().as_bytes())[0] == 250
    (delivery,) = models.Delivery.select()
    assert delivery.rcpt == "zoë@xn--bcher-kva.test"
    assert b" with UTF8SMTPA;" in stored(only_message())


@pytest.mark.parametrize("bad", ["<nobody>", "<a b@friends.test>", "<@friends.test>", "<jane@friends..test>", "<>"])
def test_bad_recipients_are_refused_one_by_one(part: Running, customer: Customer, bad: str) -> None:
    with customer.log_in(part) as client:
        client.ehlo()
        client.mail("hello@shop.test")
        assert 500 <= client.docmd(f"RCPT TO:{bad}")[0] < 560
        assert client.rcpt("jane@friends.test")[0] == 250
        assert client.data(mail().as_bytes())[0] == 250
    assert [row.rcpt for row in models.Delivery.select()] == ["jane@friends.test"]


def test_too_many_recipients_are_put_off(part: Running, customer: Customer) -> None:
    with customer.log_in(part) as client:
        client.ehlo()
        client.mail("hello@shop.test")
        codes = [client.rcpt(f"jane{number}@friends.test")[0] for number in range(151)]
        assert codes == [250] * 150 + [452]
        assert client.data(mail().as_bytes())[0] == 250
    assert models.Delivery.select().count() == 150


def test_size_is_checked_before_and_after(start: Callable[..., Running], customer: Customer) -> None:
    part = start(MESSAGE_SIZE="20000")
    big = mail().as_bytes() + b"x" * 70 * 300 + b"\r\n"
    with customer.log_in(part) as client:
        client.ehlo()
        assert client.docmd("MAIL FROM:<hello@shop.test> SIZE=20001") == (
            552, b"5.3.4 Error: message size exceeds fixed maximum message size",
        )  # fmt: skip
        assert submit(client, big).startswith("552 5.3.4")
        assert submit(client, mail().as_bytes()).startswith("250")
    assert models.Message.select().count() == 1


def test_a_domain_that_is_not_enabled_sends_nothing(part: Running, customer: Customer) -> None:
    with customer.log_in(part) as client:
        models.SenderDomain.update(status="suspended", enabled_name=None).execute()
        from gateway.services import senders

        senders.forget()
        assert submit(client, mail().as_bytes()).startswith("550 5.7.1")
    assert not models.Message.select().count()


def test_a_store_that_is_away_is_asked_again(
    part: Running, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = customer.log_in(part)

    def away(*_: object) -> None:
        raise db.StoreUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(db.database.obj, "begin_write", away)
        assert submit(client, mail().as_bytes()).startswith("451 4.3.0")
    assert submit(client, mail().as_bytes()).startswith("250")
    client.quit()
    assert models.Message.select().count() == 1


def test_a_store_that_is_away_is_no_wrong_password(
    part: Running, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    smtps.forget()

    def away(*_: object, **__: object) -> None:
        raise db.StoreUnavailable("gone")

    with part.client() as client:
        client.ehlo()
        with monkeypatch.context() as patched:
            patched.setattr(db, "rows", away)
            secret = base64.b64encode(f"\0{customer.login.username}\0{customer.password}".encode()).decode()
            assert [client.docmd("AUTH", f"PLAIN {secret}")[0] for _ in range(4)] == [451] * 4
        client.login(customer.login.username, customer.password)
        assert submit(client, mail().as_bytes()).startswith("250")


def test_a_bug_shows_nothing_of_itself(part: Running, customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    client = customer.log_in(part)
    with monkeypatch.context() as patched:
        patched.setattr(messages, "accept", broken)
        answer = submit(client, mail().as_bytes())
    assert answer.startswith("451 4.3.0")
    assert "secret" not in answer
    assert client.noop()[0] == 250


def test_suppressed_recipients(part: Running, customer: Customer) -> None:
    from gateway.services import suppressions

    db.in_transaction(
        lambda tx: suppressions.add(
            tx,
            account_id=customer.sender.owner.account_id,
            domain_id=customer.sender.domain.id,
            address="jane@friends.test",
            reason="bounce",
        )
    )
    with customer.log_in(part) as client:
        assert submit(client, mail().as_bytes(), "jane@friends.test").startswith("550")
        assert submit(client, mail().as_bytes(), "jane@friends.test", "john@friends.test").startswith("250")
    states = {row.rcpt: row.state for row in models.Delivery.select()}
    assert states == {"jane@friends.test": DeliveryState.SUPPRESSED, "john@friends.test": DeliveryState.QUEUED}


def trusting(pem: certificate.Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pem.chain))


def test_starttls_and_implicit_tls(start: Callable[..., Running], customer: Customer, tmp_path: Path) -> None:
    pem = certificate.self_signed(tmp_path, "localhost", "127.0.0.1")
    part = start(TLS_CERT=str(pem.chain), TLS_KEY=str(pem.key), SMTPS="127.0.0.1:0", SMTP_CLEAR_AUTH="")
    with part.client() as client:
        client.ehlo()
        assert "starttls" in client.esmtp_features
        assert "auth" not in client.esmtp_features
        assert client.docmd("AUTH", "PLAIN")[0] == 538
        client.starttls(context=trusting(pem))
        client.login(customer.login.username, customer.password)
        assert submit(client, mail().as_bytes()).startswith("250")
    with part.client() as distrustful:
        with pytest.raises(ssl.SSLError):
            distrustful.starttls(context=ssl.create_default_context())
        distrustful.close()
    with smtplib.SMTP_SSL("localhost", part.ports["smtps"], context=trusting(pem), timeout=10) as client:
        client.ehlo()
        assert "starttls" not in client.esmtp_features
        client.login(customer.login.username, customer.password)
        assert submit(client, mail().as_bytes()).startswith("250")
    bodies = [stored(message) for message in models.Message.select()]
    assert len(bodies) == 2
    assert all(b"with ESMTPSA;" in body for body in bodies)


def test_spaces_around_a_user_name_are_no_new_name_to_guess_at(
    start: Callable[..., Running], customer: Customer
) -> None:
    part = start(LOGIN_ATTEMPTS="2")
    answers = []
    for spaces in range(4):
        with part.client() as client:
            client.ehlo()
            secret = base64.b64encode(f"\0{customer.login.username}{' ' * spaces}\0wrong".encode()).decode()
            answers.append(client.docmd("AUTH", f"PLAIN {secret}")[0])
    assert answers == [535, 535, 451, 451]


def test_a_login_is_told_to_the_audit_log_once_an_hour(part: Running, customer: Customer) -> None:
    for _ in range(3):
        customer.log_in(part).quit()
    (entry,) = audit_log.list_(caller=customer.sender.owner, wanted=Wanted(action="smtp.login")).entries
    assert (entry["door"], entry["actor"], entry["ip"]) == ("smtp", f"smtp:{customer.login.username}", "127.0.0.1")
