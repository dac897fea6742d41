"""A load generator: kept connections in one thread, each sending its next request once the last was answered."""

from __future__ import annotations

import base64
import selectors
import socket
import time
from collections.abc import Callable, Generator, Iterator, Sequence

from benchmarks.figures import Measured

Steps = Generator[tuple[bytes, int], list[bytes], str]
"""Yields (bytes to send, number of replies to wait for), gets the replies, returns why it failed or nothing."""

_STALLED = 60.0


def http(host: str, port: int, *, requests: int, connections: int, make: Callable[[int], bytes]) -> Measured:
    """Send `requests` requests over `connections` connections; `make(n)` gives the bytes of request n."""

    def exchange(number: int) -> Steps:
        replies = yield make(number), 1
        return "" if replies[0][9:10] == b"2" else repr(replies[0][:300])

    return _run(host, port, requests, connections, exchange, _http_reply)


def smtp(
    host: str,
    port: int,
    *,
    messages: int,
    connections: int,
    mail_from: str,
    make: Callable[[int], tuple[Sequence[str], bytes]],
    login: tuple[str, str] | None = None,
) -> Measured:
    """Submit messages; `make(n)` gives recipients and content (CRLF lines, dots doubled) of message n."""

    def opening() -> Steps:
        yield b"", 1
        yield b"EHLO bench.test\r\n", 1
        if login is not None:
            plain = base64.b64encode(f"\0{login[0]}\0{login[1]}".encode())
            replies = yield b"AUTH PLAIN " + plain + b"\r\n", 1
            if replies[0][:3] != b"235":
                return repr(replies[0])
        return ""

    def exchange(number: int) -> Steps:
        recipients, content = make(number)
        named = "".join([f"RCPT TO:<{rcpt}>\r\n" for rcpt in recipients])
        replies = yield f"MAIL FROM:<{mail_from}>\r\n{named}DATA\r\n".encode(), 2 + len(recipients)
        if replies[-1][:3] != b"354" or any(reply[:3] != b"250" for reply in replies[:-1]):
            return repr([reply for reply in replies if reply[:3] != b"250"])
        replies = yield content + b".\r\n", 1
        return "" if replies[0][:1] == b"2" else repr(replies[0])

    return _run(host, port, messages, connections, exchange, _smtp_reply, opening)


def _http_reply(buffer: bytearray) -> int:
    """Length of the first whole answer; 0 while it is not there."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = bytes(buffer[:end]).lower()
    at = head.find(b"content-length:")
    length = end + 4 + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
    return length if len(buffer) >= length else 0


def _smtp_reply(buffer: bytearray) -> int:
    start = 0
    while (end := buffer.find(b"\r\n", start)) >= 0:
        if buffer[start + 3 : start + 4] != b"-":
            return end + 2
        start = end + 2
    return 0


class _Connection:
    def __init__(self, host: str, port: int, whole: Callable[[bytearray], int]) -> None:
        self.sock = socket.create_connection((host, port), timeout=_STALLED)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._whole = whole
        self._buffer = bytearray()
        self._replies: list[bytes] = []
        self._wanted = 0
        self._steps: Steps | None = None
        self.started = 0.0

    def begin(self, steps: Steps) -> None:
        self.started = time.perf_counter()
        self._steps = steps
        self._send(next(steps))

    def _send(self, step: tuple[bytes, int]) -> None:
        raw, self._wanted = step
        self._replies = []
        if raw:
            self.sock.sendall(raw)

    def receive(self) -> str | None:
        """Take what came; why the exchange failed (empty: it did not) once it is over, else None."""
        chunk = self.sock.recv(65536)
        if not chunk:
            raise ConnectionError("closed")
        self._buffer += chunk
        while length := self._whole(self._buffer):
            self._replies.append(bytes(self._buffer[:length]))
            del self._buffer[:length]
            if len(self._replies) == self._wanted and self._steps is not None:
                try:
                    self._send(self._steps.send(self._replies))
                except StopIteration as end:
                    self._steps = None
                    return str(end.value)
        return None


def _run(
    host: str,
    port: int,
    count: int,
    connections: int,
    exchange: Callable[[int], Steps],
    whole: Callable[[bytearray], int],
    opening: Callable[[], Steps] | None = None,
) -> Measured:
    measured = Measured()
    numbers = iter(range(count))
    with selectors.DefaultSelector() as ready:
        opened = [_Connection(host, port, whole) for _ in range(connections)]
        if opening is not None:
            for connection in opened:
                connection.begin(opening())
                while (fault := connection.receive()) is None:
                    pass
                if fault:
                    raise ConnectionError(fault)
        started = time.perf_counter()
        live = sum(_next(connection, numbers, exchange) for connection in opened)
        for connection in opened:
            ready.register(connection.sock, selectors.EVENT_READ, connection)
        while live:
            events = ready.select(_STALLED)
            if not events:
                raise TimeoutError(f"nothing was answered for {_STALLED:g} s")
            for key, _ in events:
                connection = key.data
                try:
                    fault = connection.receive()
                except OSError as error:
                    measured.failures.append(str(error))
                    ready.unregister(connection.sock)
                    live -= 1
                    continue
                if fault is None:
                    continue
                if fault:
                    measured.failures.append(fault)
                else:
                    measured.latencies.append(time.perf_counter() - connection.started)
                live -= not _next(connection, numbers, exchange)
        measured.seconds = time.perf_counter() - started
        for connection in opened:
            connection.sock.close()
    return measured


def _next(connection: _Connection, numbers: Iterator[int], exchange: Callable[[int], Steps]) -> bool:
    number = next(numbers, None)
    if number is None:
        return False
    connection.begin(exchange(number))
    return True
