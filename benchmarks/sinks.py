"""What takes the mail and the webhooks: lean servers in a process of their own, which only count."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_STALLED = 120.0
_ANSWERS = {
    b"EHLO": b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000000\r\n",
    b"DATA": b"354 go\r\n",
}


class _Smtp(asyncio.Protocol):
    """Says yes to everything; far less than a mail server, so that the sender is what is measured."""

    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count
        self._buffer = bytearray()
        self._in_data = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(b"220 sink.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        out, closing = b"", False
        while True:
            if self._in_data:
                end = buffer.find(b"\r\n.\r\n")
                if end < 0:
                    break
                del buffer[: end + 5]
                self._in_data = False
                self._count()
                out += b"250 2.0.0 taken\r\n"
                continue
            end = buffer.find(b"\r\n")
            if end < 0:
                break
            verb = bytes(buffer[:4]).upper()
            del buffer[: end + 2]
            out += _ANSWERS.get(verb, b"250 2.0.0 ok\r\n")
            if verb == b"DATA":
                self._in_data = True
            closing = verb == b"QUIT"
        if out:
            self._transport.write(out)
        if closing:
            self._transport.close()


class _Http(asyncio.Protocol):
    """Answers every POST with 200."""

    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count
        self._buffer = bytearray()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            at = head.find(b"content-length:")
            length = end + 4 + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
            if len(self._buffer) < length:
                return
            del self._buffer[:length]
            self._count()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def _serve(kind: type[asyncio.Protocol], port: Any, count: Any, closing: Any) -> None:
    async def serve() -> None:
        def taken() -> None:
            count.value += 1  # this process alone writes it

        server = await asyncio.get_running_loop().create_server(lambda: kind(taken), "127.0.0.1", 0, backlog=512)  # type: ignore[call-arg]
        port.put(server.sockets[0].getsockname()[1])
        while not closing.is_set():
            await asyncio.sleep(0.1)

    asyncio.run(serve())


class Sink:
    """A running sink: its port, and how much it took."""

    def __init__(self, port: int, count: Any) -> None:
        self.port = port
        self._count = count

    @property
    def count(self) -> int:
        return int(self._count.value)

    def wait(self, wanted: int) -> None:
        """Until `wanted` came in all; raises `TimeoutError` once nothing more comes."""
        seen, since = self.count, time.monotonic()
        while (now := self.count) < wanted:
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > _STALLED:
                raise TimeoutError(f"{now} of {wanted} arrived")
            time.sleep(0.002)


@contextmanager
def _running(kind: type[asyncio.Protocol]) -> Iterator[Sink]:
    context = multiprocessing.get_context("fork")
    port, count, closing = context.Queue(), context.Value("l", 0, lock=False), context.Event()
    process = context.Process(target=_serve, args=(kind, port, count, closing), daemon=True)
    process.start()
    try:
        yield Sink(port.get(timeout=20), count)
    finally:
        closing.set()
        process.join(10)


def smtp() -> Any:
    """A context with an SMTP server that takes everything."""
    return _running(_Smtp)


def http() -> Any:
    """A context with an HTTP server that answers 200."""
    return _running(_Http)
