"""The guarded client: where it refuses to go, what it pins, when it gives up."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import Address
from gateway.dns import resolver as dns
from gateway.errors import InvalidUrl, PrivateUrl
from gateway.transports import http_call
from gateway.transports.public_address import is_reachable, literal
from tests.conftest import use_settings
from tests.peers.certificate import self_signed
from tests.peers.dns_server import DnsServer
from tests.peers.http_sink import Answer, HttpSink

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
NOWHERE = (
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "192.168.255.255", "169.254.169.254", "169.254.0.1", "100.64.0.1",
    "100.127.255.255", "192.0.0.1", "192.0.0.8", "192.0.0.170", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "224.0.1.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "127.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001",
    "10.1", "0xa9fea9fe", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:a9fe:a9fe]",
    "[::127.0.0.1]", "[::10.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b:1::a9fe:a9fe]",
    "[2002:7f00:1::]", "[2002:a00:1::1]", "[2002:a9fe:a9fe::]", "[2001:0:53aa:64c::1]", "[2001:10::1]",
    "[2001:db8::1]", "[3fff::1]", "[fc00::1]", "[fd12:3456::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[ff0e::1]",
    "[100::1]", "[5f00::1]", "[2a00::5efe:127.0.0.1]", "[2a00::200:5efe:10.0.0.1]", "[4000::1]", "localhost",
    "x.localhost", "LOCALHOST.",
)  # fmt: skip
SOMEWHERE = (
    "8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "198.17.0.1",
    "223.255.255.255", "2606:4700::1111", "2002:808:808::1", "64:ff9b::808:808", "::ffff:8.8.8.8", "2a00:1450::1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path) -> Iterator[None]:
    use_settings(tmp_path)
    yield
    dns.use(None)


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with HttpSink() as found:
        yield found


@pytest.fixture
def zone() -> Iterator[DnsServer]:
    with DnsServer() as server:
        dns.use(dns.Resolver((Address("127.0.0.1", server.port),), lifetime=1.0))
        yield server


@pytest.mark.parametrize("host", NOWHERE)
def test_private_and_special_addresses_are_refused_at_save_and_at_call(host: str) -> None:
    url = f"http://{host}/hook"
    with pytest.raises(PrivateUrl):
        http_call.check(url, ())
    reply = http_call.post(url, b"{}", {}, allow=(), seconds=2)
    assert reply.status is None
    assert not reply.reached
    assert "public" in reply.error


def test_the_list_is_long_enough() -> None:
    assert len(set(NOWHERE)) >= 60


@pytest.mark.parametrize("address", SOMEWHERE)
def test_public_addresses_are_let_through(address: str) -> None:
    assert is_reachable(address, ())
    assert literal(address) is not None


def test_a_carried_address_is_judged_by_the_allowed_networks_too() -> None:
    assert is_reachable("::ffff:127.0.0.1", LOOPBACK)
    assert is_reachable("::1", LOOPBACK)
    assert not is_reachable("::ffff:10.0.0.1", LOOPBACK)
    assert not is_reachable("fe80::1%eth0", (ipaddress.ip_network("::/0"),))


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com/hook", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/",
        "javascript:alert(1)",
        "http://", "https:///path", "http://example.com:0/", "http://example.com:99999/", "http://example.com:x/",
        "http://exa mple.com/", "http://example.com/a b", "http://example.com/\r\nX: y", "http://example.com\\@127.0.0.1/",
        "http://[::1", "http://a..b/", "http://-/", "http://" + "a" * 64 + ".com/", "https://example.com/" + "a" * 2048,
        "http://exa\u2044mple.com/\x00",
    ],
)  # fmt: skip
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrl):
        http_call.check(url, ())


def test_urls_are_taken_apart_once() -> None:
    target = http_call.parse("https://jane:s%40fe@Bücher.example:8443/grüße?x=ä&y=1#part")
    assert (target.scheme, target.host, target.port) == ("https", "xn--bcher-kva.example", 8443)
    assert target.path == "/gr%C3%BC%C3%9Fe?x=%C3%A4&y=1"
    assert target.authority == "xn--bcher-kva.example:8443"
    assert target.authorization == "Basic amFuZTpzQGZl"
    assert http_call.parse("http://example.com").path == "/"


def test_a_name_is_judged_by_every_address_that_it_has(zone: DnsServer, sink: HttpSink) -> None:
    zone.add("good.test", "A", "8.8.8.8")
    zone.add("mixed.test", "A", "8.8.8.8", "127.0.0.1")
    zone.add("mapped.test", "AAAA", "::ffff:7f00:1")
    http_call.check("http://good.test/", ())
    for name in ("mixed.test", "mapped.test"):
        with pytest.raises(PrivateUrl):
            http_call.check(f"http://{name}/", ())
        reply = http_call.post(f"http://{name}:{sink.port}/", b"{}", {}, allow=())
        assert reply.status is None
    assert sink.requests == []


def test_an_unknown_name_may_be_saved_but_not_called(zone: DnsServer) -> None:
    http_call.check("https://yourdomain.test/webhook", ())
    assert "no address" in http_call.post("https://yourdomain.test/", b"", {}, allow=()).error
    zone.servfail("broken.test")
    http_call.check("https://broken.test/webhook", ())
    assert http_call.post("https://broken.test/", b"", {}, allow=()).status is None


def test_a_name_that_turns_private_after_it_was_saved_is_not_called(zone: DnsServer, sink: HttpSink) -> None:
    zone.add("rebind.test", "A", "8.8.8.8")
    http_call.check(f"http://rebind.test:{sink.port}/", ())
    zone.set("rebind.test", "A", "127.0.0.1")
    assert http_call.post(f"http://rebind.test:{sink.port}/", b"{}", {}, allow=()).status is None
    assert sink.requests == []


def test_the_call_goes_to_the_address_with_the_name_in_the_host_header(zone: DnsServer, sink: HttpSink) -> None:
    zone.add("hooks.test", "A", "127.0.0.1")
    url = f"http://u:p@hooks.test:{sink.port}/in?a=1"
    reply = http_call.post(url, b"body", {"X-Own": "yes"}, allow=LOOPBACK)
    assert reply.ok
    (request,) = sink.requests
    assert request.path == "/in?a=1"
    assert request.body == b"body"
    assert request.headers["host"] == f"hooks.test:{sink.port}"
    assert request.headers["x-own"] == "yes"
    assert request.headers["authorization"] == "Basic dTpw"


def test_proxies_of_the_environment_are_ignored(sink: HttpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert http_call.post(sink.url, b"", {}, allow=LOOPBACK).status == 200


def test_redirects_are_answers(sink: HttpSink) -> None:
    sink.redirect("/", "http://127.0.0.1:1/", 307)
    reply = http_call.post(sink.url, b"", {}, allow=LOOPBACK)
    assert (reply.status, reply.ok) == (307, False)


def test_the_connection_is_kept(sink: HttpSink) -> None:
    seen: set[int] = set()
    original = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        seen.add(id(self))
        original(self, address)  # type: ignore[arg-type]

    socket.socket.connect = connect  # type: ignore[method-assign]
    try:
        for _ in range(20):
            assert http_call.post(sink.url, b"{}", {}, allow=LOOPBACK).ok
    finally:
        socket.socket.connect = original  # type: ignore[method-assign]
    assert len(seen) == 1


def test_of_a_long_answer_64_kb_are_read(sink: HttpSink) -> None:
    sink.always("/", Answer(500, b"x" * 1_000_000))
    reply = http_call.post(sink.url, b"", {}, allow=LOOPBACK)
    assert (reply.status, len(reply.body)) == (500, 65536)
    sink.clear()
    assert http_call.post(sink.url, b"", {}, allow=LOOPBACK).ok


@pytest.mark.parametrize(
    ("value", "seconds"), [("120", 120), ("999999999", 86400), ("soon", None), ("-5", None), ("", None)]
)
def test_retry_after_in_seconds(sink: HttpSink, value: str, seconds: int | None) -> None:
    sink.script("/", Answer(503, headers={"Retry-After": value}))
    assert http_call.post(sink.url, b"", {}, allow=LOOPBACK).retry_after == seconds


def test_retry_after_as_a_date(sink: HttpSink) -> None:
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 300))
    sink.script("/", Answer(429, headers={"Retry-After": at}))
    found = http_call.post(sink.url, b"", {}, allow=LOOPBACK).retry_after
    assert found is not None
    assert 290 <= found <= 301


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    reply = http_call.post(f"http://127.0.0.1:{port}/", b"", {}, allow=LOOPBACK)
    assert (reply.status, reply.reached) == (None, False)
    assert "refused" in reply.error.lower()


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("close", "the connection was closed without an answer"),
        ("reset", "the connection broke: Connection reset by peer"),
    ],
)
def test_a_connection_that_ends_without_an_answer(sink: HttpSink, end: str, why: str) -> None:
    sink.script("/", Answer(end=end))
    reply = http_call.post(sink.url, b"", {}, allow=LOOPBACK)
    assert (reply.status, reply.reached, reply.error) == (None, True, why)


def _serve_once(answer: object) -> int:
    """A raw server: `answer(connection)` after the first request's bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                with contextlib.suppress(OSError):
                    answer(connection)  # type: ignore[operator]

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def _drip(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def test_a_server_that_drips_is_cut_off() -> None:
    port = _serve_once(_drip)
    started = time.monotonic()
    reply = http_call.post(f"http://127.0.0.1:{port}/", b"", {}, allow=LOOPBACK, seconds=1.0)
    assert reply.status is None
    assert "1 s" in reply.error
    assert time.monotonic() - started < 4


def test_a_body_that_drips_keeps_the_status() -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\n")
        _drip(connection)

    started = time.monotonic()
    reply = http_call.post(f"http://127.0.0.1:{_serve_once(answer)}/", b"", {}, allow=LOOPBACK, seconds=1.0)
    assert reply.status == 202
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("raw", [b"garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 100_000])
def test_what_is_no_http_is_an_error_and_no_exception(raw: bytes) -> None:
    port = _serve_once(lambda connection: connection.sendall(raw))
    reply = http_call.post(f"http://127.0.0.1:{port}/", b"", {}, allow=LOOPBACK, seconds=3)
    assert (reply.status, reply.error) == (None, "the answer is no HTTP")


def test_the_certificate_is_about_the_name(zone: DnsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone.add("hooks.test", "A", "127.0.0.1")
    zone.add("other.test", "A", "127.0.0.1")
    made = self_signed(tmp_path, "hooks.test")
    server = made.server_context()
    names: list[str | None] = []
    server.sni_callback = lambda _sock, name, _context: names.append(name)  # type: ignore[assignment]
    client = ssl.create_default_context(cafile=str(made.chain))
    monkeypatch.setattr(http_call, "tls_context", lambda: client)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with server.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(65536)
                    tls.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            except OSError:
                if listener.fileno() < 0:
                    return

    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    assert http_call.post(f"https://hooks.test:{port}/", b"", {}, allow=LOOPBACK).status == 204
    assert names == ["hooks.test"]
    wrong = http_call.post(f"https://other.test:{port}/", b"", {}, allow=LOOPBACK)
    assert (wrong.status, wrong.reached) == (None, False)
    assert "TLS" in wrong.error
    listener.close()
