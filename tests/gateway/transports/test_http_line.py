"""A provider's line against servers that answer too early, too slowly, too much, or under another's name."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from gateway.config import Address, Networks, _networks
from gateway.dns import resolver as dns
from gateway.transports import http_call, http_line
from gateway.transports.http_line import Line, Unanswered, Unreached
from tests.conftest import use_settings
from tests.peers.certificate import self_signed
from tests.peers.dns_server import DnsServer
from tests.peers.http_sink import Answer, HttpSink

LOOPBACK: Networks = _networks("127.0.0.0/8")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path) -> Iterator[None]:
    use_settings(tmp_path)
    yield
    dns.use(None)


@pytest.fixture
def zone() -> Iterator[DnsServer]:
    with DnsServer() as server:
        dns.use(dns.Resolver((Address("127.0.0.1", server.port),), lifetime=1.0))
        yield server


class Server:
    """Hands each connection to `serve` and counts them."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self.connections = 0
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._serve(connection)
            except OSError:
                return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], Server]]:
    made: list[Server] = []

    def start(handler: Callable[[socket.socket], None]) -> Server:
        made.append(Server(handler))
        return made[-1]

    yield start
    for server in made:
        server.close()


def _request(size: int = 2) -> requests.Request:
    return requests.Request("POST", "/send", data=b"x" * size)


def _line(port: int, seconds: float = 5.0, scheme: str = "http", host: str = "127.0.0.1") -> Line:
    return Line(f"{scheme}://{host}:{port}", allow=LOOPBACK, seconds=seconds)


def _keep(connection: socket.socket) -> None:
    while connection.recv(65_536):
        connection.sendall(OK)


Serve = Callable[[Callable[[socket.socket], None]], Server]


def test_a_connection_is_kept_and_given_up_when_it_was_idle(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(_keep)
    line = _line(server.port)
    assert [line.call(_request()).status for _ in range(3)] == [200] * 3
    assert server.connections == 1
    monkeypatch.setattr(http_line, "IDLE_S", 0.0)
    time.sleep(0.01)
    assert line.call(_request()).status == 200
    assert server.connections == 2


def test_one_that_was_closed_meanwhile_is_dialled_anew(serve: Serve) -> None:
    def once(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(OK)

    server = serve(once)
    line = _line(server.port)
    assert line.call(_request()).status == 200
    time.sleep(0.05)
    assert line.call(_request()).status == 200
    assert server.connections == 2


def test_a_refusal_before_the_body_is_read_is_never_in_doubt(serve: Serve) -> None:
    def early(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    line = _line(serve(early).port)
    try:
        assert line.call(_request(20_000_000)).status == 413
    except Unreached as error:  # the reset overtook the answer
        assert not error.ours


def test_a_body_that_nobody_reads_did_not_arrive(serve: Serve) -> None:
    def unwilling(connection: socket.socket) -> None:
        connection.recv(10)
        time.sleep(0.2)

    line = _line(serve(unwilling).port)
    with pytest.raises(Unreached):
        line.call(_request(20_000_000))


@pytest.mark.parametrize("drip", [b"HTTP/1.1 200 OK\r\nX-A: ", b""])
def test_headers_that_drip_end_at_the_time_limit(serve: Serve, drip: bytes) -> None:
    def slowly(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(drip)
        while True:
            connection.sendall(b"a")
            time.sleep(0.1)

    started = time.monotonic()
    with pytest.raises(Unanswered):
        _line(serve(slowly).port, seconds=1.0).call(_request())
    assert time.monotonic() - started < 5


def test_an_answer_that_drips_keeps_its_status(serve: Serve) -> None:
    def slowly(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100000\r\n\r\n")
        while True:
            connection.sendall(b"a")
            time.sleep(0.1)

    answer = _line(serve(slowly).port, seconds=1.0).call(_request())
    assert answer.status == 202


@pytest.mark.parametrize("raw", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_no_http_leaves_it_in_doubt(serve: Serve, raw: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(raw)

    with pytest.raises(Unanswered):
        _line(serve(talk).port).call(_request())


def test_a_long_answer_is_cut() -> None:
    with HttpSink() as sink:
        sink.always("/send", Answer(200, b"x" * 300_000))
        line = _line(sink.port)
        assert [len(line.call(_request()).body) for _ in range(2)] == [http_line.ANSWER_SIZE] * 2


def test_the_next_address_is_asked_where_one_does_not_answer(zone: DnsServer, serve: Serve) -> None:
    server = serve(_keep)
    zone.add("api.test", "A", "127.0.0.2")  # nobody listens there
    zone.add("api.test", "A", "127.0.0.1")
    called: list[int] = []
    answer = _line(server.port, host="api.test").call(_request(), lambda: called.append(1))
    assert (answer.status, answer.remote, called) == (200, f"api.test[127.0.0.1]:{server.port}", [1])


@pytest.mark.parametrize(("records", "ours"), [([], True), (["10.0.0.1"], True)])
def test_a_name_that_leads_nowhere(zone: DnsServer, records: list[str], ours: bool) -> None:
    for record in records:
        zone.add("api.test", "A", record)
    with pytest.raises(Unreached) as caught:
        _line(80, host="api.test").call(_request())
    assert caught.value.ours is ours


def test_a_public_address_is_not_told_a_key_in_the_clear(zone: DnsServer) -> None:
    zone.add("api.test", "A", "8.8.8.8")
    with pytest.raises(Unreached, match="https only") as caught:
        _line(80, host="api.test").call(_request())
    assert caught.value.ours


def test_the_certificate_is_about_the_name(
    zone: DnsServer, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.add("api.test", "A", "127.0.0.1")
    zone.add("other.test", "A", "127.0.0.1")
    made = self_signed(tmp_path, "api.test")
    context = made.server_context()

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            _keep(tls)

    client = ssl.create_default_context(cafile=str(made.chain))
    monkeypatch.setattr(http_call, "tls_context", lambda: client)
    server = serve(talk)
    answer = _line(server.port, scheme="https", host="api.test").call(_request())
    assert (answer.status, answer.tls) == (200, "TLSv1.3")
    called: list[int] = []
    with pytest.raises(Unreached, match="TLS"):
        _line(server.port, scheme="https", host="other.test").call(_request(), lambda: called.append(1))
    assert called == []
