"""Tracking domains from their making to a click over TLS, against DNS and an authority of the test's own."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from werkzeug.serving import make_server

import models
from gateway import clock, errors
from gateway.services import deliveries, mailbox, messages, rechecks, senders, tracking_domains
from models.vocabulary import DeliveryState
from tests import cast
from tests.application import application
from tests.conftest import use_settings
from tests.peers.dns_server import DnsServer
from tests.peers.tls_front import Authority, TlsFront

HOST = "track.shop.test"


@pytest.fixture
def dns(store: str) -> Iterator[DnsServer]:
    with DnsServer() as server:
        server.add("mx.gateway.test", "A", "127.0.0.1")
        yield server


@pytest.fixture
def front(dns: DnsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsFront]:
    """The application behind a TLS front, both on loopback."""
    use_settings(tmp_path, DNS=dns.address, HOSTNAME="mx.gateway.test", PUBLIC_URL="https://mx.gateway.test")
    server = make_server("127.0.0.1", 0, application(), threaded=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    ask = f"http://127.0.0.1:{server.port}/tls/allowed"
    with TlsFront(authority, ask=ask, upstream=("127.0.0.1", server.port)) as made:
        use_settings(
            tmp_path, DNS=dns.address, HOSTNAME="mx.gateway.test", PUBLIC_URL="https://mx.gateway.test",
            WEBHOOK_ALLOW="127.0.0.0/8", TRACKING_TLS_PORT=str(made.port), DELIVERY="capture",
        )  # fmt: skip
        senders.forget()
        yield made
    server.shutdown()


@pytest.fixture
def who(front: TlsFront) -> cast.Sender:
    return cast.sender()


def _verified(who: cast.Sender, dns: DnsServer, name: str = HOST) -> models.TrackingDomain:
    made = tracking_domains.create(caller=who.owner, name=name)
    dns.set(name, "CNAME", "mx.gateway.test")
    return tracking_domains.verify(caller=who.owner, domain_id=str(made.uuid))


def test_from_its_making_to_a_click_over_tls(who: cast.Sender, dns: DnsServer, front: TlsFront) -> None:
    made = tracking_domains.create(caller=who.owner, name="Track.Shop.test.")
    assert (made.name, made.verified_name, made.ssl_enabled) == (HOST, None, False)
    missing = tracking_domains.verify(caller=who.owner, domain_id=str(made.uuid))
    assert (missing.verified_name, missing.ssl_error) == (None, "it does not lead to us")
    assert not tracking_domains.is_allowed(HOST)
    dns.set(HOST, "CNAME", "mx.gateway.test")
    found = tracking_domains.verify(caller=who.owner, domain_id=str(made.uuid))
    assert (found.verified_name, found.ssl_enabled, found.ssl_error) == (HOST, True, "")
    tracking_domains.assign(caller=who.owner, sender_domain_id=who.domain.id, tracking_domain_id=str(made.uuid))

    messages.accept(who.caller, cast.draft(html='<a href="https://friends.test/x">Go</a>', track_links=True))
    while deliveries.drain(0.1):
        pass
    assert deliveries.engine().wait_idle(20)
    deliveries.close()
    assert models.Delivery.get().state == DeliveryState.DELIVERED
    body = mailbox.show(models.CapturedMail.get().id)
    (link,) = set(re.findall(rb"https://track\.shop\.test/t/c/[A-Za-z0-9_-]+", re.sub(rb"=\r\n", b"", body)))
    parts = urlsplit(link.decode())
    with (
        socket.create_connection(("127.0.0.1", front.port)) as plain,
        ssl.create_default_context().wrap_socket(plain, server_hostname=HOST) as inside,
    ):
        inside.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        answer = b""
        while piece := inside.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 302")
    assert b"Location: https://friends.test/x\r\n" in answer


def test_a_name_nobody_verified_gets_no_certificate(who: cast.Sender, dns: DnsServer, front: TlsFront) -> None:
    tracking_domains.create(caller=who.owner, name="other.shop.test")
    for name in ("other.shop.test", "evil.test"):
        with socket.create_connection(("127.0.0.1", front.port)) as plain, pytest.raises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(plain, server_hostname=name)
    assert front.refused == ["other.shop.test", "evil.test"]
    for name in ("", "mx.gateway.test.", "MX.gateway.test", "x" * 300):
        assert tracking_domains.is_allowed(name) is ("gateway" in name)


def test_its_links_go_in_the_clear_until_tls_answers(who: cast.Sender, dns: DnsServer, front: TlsFront) -> None:
    found = _verified(who, dns)
    front.__exit__()
    tracking_domains.assign(caller=who.owner, sender_domain_id=who.domain.id, tracking_domain_id=str(found.uuid))
    found = tracking_domains.verify(caller=who.owner, domain_id=str(found.uuid))
    assert found.verified_name == HOST
    assert not found.ssl_enabled
    assert found.ssl_error
    sender = senders.sender(who.domain.id)
    assert sender is not None
    assert (sender.tracking_host, sender.tracking_tls) == (HOST, False)
    # It is tried again in a minute, not in a day.
    assert found.next_check_ms <= clock.now_ms() + tracking_domains.SOON_MS


def test_a_record_that_is_gone_is_graced(who: cast.Sender, dns: DnsServer) -> None:
    found = _verified(who, dns)
    tracking_domains.assign(caller=who.owner, sender_domain_id=who.domain.id, tracking_domain_id=str(found.uuid))
    dns.servfail(HOST)
    assert tracking_domains.verify(caller=who.owner, domain_id=str(found.uuid)).failures == 0
    dns.heal(HOST)
    dns.remove(HOST)
    for _ in range(tracking_domains.GRACE):
        models.TrackingDomain.update(next_check_ms=1).execute()
        assert rechecks.run(5) >= 1
    row = models.TrackingDomain.get()
    assert (row.verified_name, row.failures) == (None, tracking_domains.GRACE)
    assert not tracking_domains.is_allowed(HOST)


def test_whose_it_is(who: cast.Sender, dns: DnsServer) -> None:
    stranger = cast.sender("stranger", "other.test")
    theirs = tracking_domains.create(caller=stranger.owner, name=HOST)
    ours = _verified(who, dns)
    with pytest.raises(errors.TrackingDomainExists):
        tracking_domains.verify(caller=stranger.owner, domain_id=str(theirs.uuid))
    for call in (tracking_domains.find, tracking_domains.delete, tracking_domains.verify):
        with pytest.raises(errors.NotFound):
            call(caller=stranger.owner, domain_id=str(ours.uuid))
    with pytest.raises(errors.NotFound):
        tracking_domains.assign(
            caller=stranger.owner, sender_domain_id=stranger.domain.id, tracking_domain_id=str(ours.uuid)
        )
    with pytest.raises(errors.TrackingDomainNotVerified):
        tracking_domains.assign(
            caller=stranger.owner, sender_domain_id=stranger.domain.id, tracking_domain_id=str(theirs.uuid)
        )
    with pytest.raises(errors.TrackingDomainExists):
        tracking_domains.create(caller=who.owner, name=HOST)
    with pytest.raises(errors.NotAllowed):
        tracking_domains.create(caller=who.caller, name="x.shop.test")
    for name in ("", "localhost", "a b.test", "mx.gateway.test", "-x.test", "x" * 260):
        with pytest.raises(errors.Invalid):
            tracking_domains.create(caller=who.owner, name=name)


def test_deleted(who: cast.Sender, dns: DnsServer) -> None:
    found = _verified(who, dns)
    tracking_domains.assign(caller=who.owner, sender_domain_id=who.domain.id, tracking_domain_id=str(found.uuid))
    assert tracking_domains.of_sender(models.SenderDomain.get_by_id(who.domain.id)) == found.uuid
    tracking_domains.delete(caller=who.owner, domain_id=str(found.uuid))
    row = models.SenderDomain.get_by_id(who.domain.id)
    assert (row.tracking_host, row.tracking_tls) == (None, None)
    assert tracking_domains.list_(caller=who.owner) == []
    assert tracking_domains.of_sender(row) is None
