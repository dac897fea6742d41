"""A load generator: keep-alive connections that repeat prepared requests, and what they measured."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Measured:
    """Latencies in seconds of the requests that were answered with 200, and the wall time of all."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds that `share` (0…1) of the requests stayed within."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")

    def line(self) -> str:
        p50, p95, p99 = (self.percentile(share) for share in (0.5, 0.95, 0.99))
        text = f"{self.rate:8.0f}/s   p50 {p50:6.1f} ms   p95 {p95:6.1f} ms   p99 {p99:6.1f} ms"
        return text + (f"   FAILED {len(self.failures)}: {self.failures[0]}" if self.failures else "")


class _Connection:
    """One HTTP/1.1 keep-alive connection; just enough of the protocol to be cheap."""

    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.create_connection((host, port), timeout=60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        self.sock.sendall(request)
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._some()
        head = data[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        while len(data) < end + 4 + length:
            data += self._some()
        return int(data[9:12]), data[end + 4 :]

    def _some(self) -> bytes:
        some = self.sock.recv(65536)
        if not some:
            raise ConnectionError("closed")
        return some


def http(host: str, port: int, *, requests: int, connections: int, make: Callable[[int], bytes]) -> Measured:
    """Send `requests` requests over `connections` connections; `make(n)` gives the bytes of request n."""
    measured = Measured()
    lock = threading.Lock()
    numbers = iter(range(requests))

    def run() -> None:
        connection = _Connection(host, port)
        mine: list[float] = []
        problems: list[str] = []
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            request = make(number)
            started = time.perf_counter()
            try:
                status, body = connection.exchange(request)
            except OSError as error:
                problems.append(str(error))
                connection = _Connection(host, port)
                continue
            if status == 200:
                mine.append(time.perf_counter() - started)
            else:
                problems.append(f"{status} {body[:200]!r}")
        with lock:
            measured.latencies += mine
            measured.failures += problems

    threads = [threading.Thread(target=run) for _ in range(connections)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    measured.seconds = time.perf_counter() - started
    return measured
