"""What one client may take: connections, recipients, failed logins, and who may log in without TLS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import smtplib
import socket
import ssl
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import models
from gateway import config
from gateway.services import identity
from smtp.protocol import Door
from tests.conftest import use_settings
from tests.peers import certificate
from tests.smtp.conftest import Customer, Running
from tests.smtp.test_protocol import wait_for
from tests.smtp.test_submission import mail

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


def test_connections_of_one_address(start: Callable[..., Running]) -> None:
    part = start(SMTP_CONNECTIONS="50", SMTP_CONNECTIONS_PER_ADDRESS="3")
    clients = [part.client() for _ in range(3)]
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        part.client()
    assert (refused.value.smtp_code, refused.value.smtp_error) == (421, b"4.7.0 Too many connections, come back later")
    for client in clients:
        assert client.noop()[0] == 250
        client.quit()


async def _count() -> None:
    door = Door("submission", None, ThreadPoolExecutor(1), config.settings(), max_connections=100, most_of_host=2)
    for network in ("192.0.2.1", "192.0.2.1", "2001:db8::/64", "2001:db8::/64"):
        connection = door.connection()
        connection.network = network
        door.connections.add(connection)
    assert not door.admits("192.0.2.1")
    assert not door.admits("::ffff:192.0.2.1")
    assert not door.admits("2001:db8::5")
    assert door.admits("192.0.2.2")
    assert door.admits("2001:db8:0:1::5")


def test_addresses_are_counted_as_their_owners(store: str) -> None:
    asyncio.run(_count())


@pytest.mark.parametrize(
    ("networks", "host", "trusted"),
    [
        (None, "127.0.0.1", True),
        (None, "127.9.9.9", True),
        (None, "::1", True),
        (None, "::ffff:127.0.0.1", True),
        (None, "192.0.2.1", False),
        (None, "10.0.0.1", False),
        (None, "2001:db8::1", False),
        (None, "", False),
        ("", "127.0.0.1", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "127.0.0.1", False),
    ],
)
def test_who_may_log_in_without_tls(store: str, tmp_path: Path, networks: str | None, host: str, trusted: bool) -> None:
    settings = use_settings(tmp_path, **({} if networks is None else {"SMTP_CLEAR_AUTH": networks}))
    assert Door("submission", None, ThreadPoolExecutor(1), settings).trusts_clear_text(host) is trusted


def test_without_tls_nobody_else_is_asked_for_a_password(start: Callable[..., Running], customer: Customer) -> None:
    part = start(SMTP_CLEAR_AUTH="192.0.2.0/24")
    with part.client() as client:
        client.ehlo()
        assert "auth" not in client.esmtp_features
        secret = base64.b64encode(f"\0{customer.login.username}\0{customer.password}".encode()).decode()
        assert client.docmd("AUTH", f"PLAIN {secret}") == (
            538, b"5.7.11 Encryption required for requested authentication mechanism",
        )  # fmt: skip
        assert client.mail("hello@shop.test")[0] == 530


def test_a_login_on_loopback_needs_no_tls_although_there_is_a_certificate(
    start: Callable[..., Running], customer: Customer, tmp_path: Path
) -> None:
    pem = certificate.self_signed(tmp_path, "localhost", "127.0.0.1")
    part = start(TLS_CERT=str(pem.chain), TLS_KEY=str(pem.key))
    with customer.log_in(part) as client:
        assert {"auth", "starttls"} <= set(client.esmtp_features)
        client.sendmail("a@shop.test", ["jane@friends.test"], mail().as_bytes())


def test_what_was_said_before_starttls_is_forgotten(
    start: Callable[..., Running], customer: Customer, tmp_path: Path
) -> None:
    """RFC 3207 §4.2, and no command that somebody put into the clear text behind STARTTLS is carried out."""
    pem = certificate.self_signed(tmp_path, "localhost", "127.0.0.1")
    part = start(TLS_CERT=str(pem.chain), TLS_KEY=str(pem.key))
    with customer.log_in(part) as client:
        client.starttls()
        client.ehlo()
        assert client.mail("hello@shop.test")[0] == 530
    with part.client() as client:
        client.ehlo()
        client.send(b"STARTTLS\r\nNOOP injected\r\n")
        assert client.getreply()[0] == 220
        # The bytes behind STARTTLS are no TLS, or are thrown away: in both cases nobody answers them.
        try:
            client.sock = distrusting().wrap_socket(client.sock, server_hostname="localhost")
            client.file = None
            assert client.ehlo()[1].startswith(b"mx.gateway.test")
        except OSError:
            client.close()


@pytest.mark.parametrize("ending", ["fin", "reset", "garbage", "hello then fin", "distrust", "silence"])
def test_a_handshake_that_fails_holds_no_connection(
    start: Callable[..., Running], tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ending == "silence":
        monkeypatch.setattr("smtp.protocol.STRANGER_SECONDS", 0.3)
    pem = certificate.self_signed(tmp_path, "localhost", "127.0.0.1")
    part = start(TLS_CERT=str(pem.chain), TLS_KEY=str(pem.key), SMTP_CONNECTIONS_PER_ADDRESS="2")
    for _ in range(5):
        client = part.client()
        client.ehlo()
        assert client.docmd("STARTTLS")[0] == 220
        sock = client.sock
        assert sock is not None
        if ending == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif ending == "garbage":
            sock.sendall(b"EHLO again\r\n" * 10)
        elif ending == "hello then fin":
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            with contextlib.suppress(ssl.SSLWantReadError):
                distrusting().wrap_bio(incoming, outgoing).do_handshake()
            sock.sendall(outgoing.read()[:100])
        elif ending == "distrust":
            with pytest.raises(ssl.SSLError):
                ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
        if ending != "silence":
            client.close()
        wait_for(lambda: not part.server.doors[0].connections)
        client.close()
    part.client().quit()


def distrusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_recipients_by_plan(part: Running, customer: Customer) -> None:
    plan = models.Plan.create(name="Small", max_to=2, max_cc=1, max_bcc=0)
    models.Account.update(plan_id=plan.id).execute()
    identity.forget()
    with customer.log_in(part) as client:
        for _ in range(2):
            client.mail("hello@shop.test")
            codes = [client.docmd(f"RCPT TO:<jane{number}@friends.test>") for number in range(4)]
            assert [code for code, _ in codes] == [250, 250, 250, 452]
            assert codes[-1][1] == b"4.5.3 Too many recipients"
            assert client.data(mail().as_bytes())[0] == 250
        # The plan of a moment ago is believed for one more message at most.
        models.Plan.update(max_cc=0).where(models.Plan.id == plan.id).execute()
        identity.forget()
        client.sendmail("hello@shop.test", ["jane@friends.test"], mail().as_bytes())
        client.mail("hello@shop.test")
        assert [client.rcpt(f"jane{number}@friends.test")[0] for number in range(3)] == [250, 250, 452]
    assert models.Delivery.select().count() == 7


def test_one_address_may_not_guess_at_many_names(start: Callable[..., Running], customer: Customer) -> None:
    part = start(LOGIN_ATTEMPTS="2")
    codes = []
    for number in range(22):
        with part.client() as client:
            client.ehlo()
            secret = base64.b64encode(f"\0nobody{number}\0wrong".encode()).decode()
            codes.append(client.docmd("AUTH", f"PLAIN {secret}")[0])
    assert codes == [535] * 20 + [451] * 2
    with part.client() as client, pytest.raises(smtplib.SMTPAuthenticationError) as limited:
        client.login(customer.login.username, customer.password)
    assert limited.value.smtp_code == 451
