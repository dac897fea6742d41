"""The HTTP worker: a thread is spent on a request only once it has arrived, so slow clients cannot hold them all."""

from __future__ import annotations

import contextlib
import errno
import mmap
import re
import socket
import time
from collections import deque
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import ThreadWorker

ARRIVE_SECONDS = 20.0
"""What a request may take to arrive before a thread looks at it, and again while a thread reads what is left."""

LEAST_RATE = 32 * 1024
"""Bytes in a second that a large body should keep up with beyond `ARRIVE_SECONDS`."""

ANSWER_SECONDS = 30.0
"""How long a client may take to take its answer."""

WHOLE = 32 * 1024
"""Bytes of a request that are waited for without a thread; the kernel keeps that much for every connection."""

_PASSES = 10
_PASS_SECONDS = 0.0002
"""How often, and for how long, a worker leaves a new connection to another that has fewer."""

_SWEEP_SECONDS = 1.0
_STOPPING_SECONDS = 2.0
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding[ \t]*:[^\r\n]*chunked", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect[ \t]*:", re.IGNORECASE)


def wanted(seen: bytes) -> int:
    """How many bytes a request that begins with `seen` should have before a thread takes it up; at most `WHOLE`."""
    head = seen.find(b"\r\n\r\n")
    if head < 0:
        return min(len(seen) + 1, WHOLE)
    fields, begun = seen[: head + 2], head + 4
    if _EXPECTS.search(fields):  # such a body comes only after our answer to the head
        return begun
    if _CHUNKED.search(fields):
        return begun if seen.endswith(b"0\r\n\r\n") else min(len(seen) + 1, WHOLE)
    length = _LENGTH.search(fields)
    return min(begun + int(length[1]), WHOLE) if length else begun


def _is_whole(seen: bytes) -> bool:
    """Whether a thread would wait for nothing more of the request."""
    if len(seen) >= WHOLE or b"\r\n\r\n" not in seen:
        return False
    return not _EXPECTS.search(seen[: seen.find(b"\r\n\r\n") + 2])


class _Reader(SocketUnreader):
    """Reads a socket with one deadline for the whole request, which only real progress moves."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.begin()

    def begin(self) -> None:
        self._started = time.monotonic()
        self._received = 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        left = self._started + ARRIVE_SECONDS + self._received / LEAST_RATE - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self.sock.settimeout(left)
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the request did not arrive in time") from None
        finally:
            with contextlib.suppress(OSError):
                self.sock.settimeout(ANSWER_SECONDS)
        self._received += len(data)
        return data


class _Loads:
    """How many connections each worker has, in memory that they share: made before the fork."""

    _SLOTS = 256  # four times the most workers: one that is started anew has the next number

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * self._SLOTS)).cast("I")  # one more each; 0: no such worker

    def tell(self, age: int, connections: int) -> None:
        self._counts[age % self._SLOTS] = connections + 1

    def forget(self, age: int) -> None:
        self._counts[age % self._SLOTS] = 0

    def least(self) -> int:
        return min([count for count in self._counts if count], default=1) - 1


loads = _Loads()


class PatientWorker(ThreadWorker):
    """Gunicorn's threads behind a gate: requests wait in the poller until they are there.

    What is larger than `WHOLE` is read by threads, but by half of them at most. Of several workers the one with
    the fewest connections takes the next: clients keep theirs, and a few with much to send would share one core.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most_unfinished = max(1, self.cfg.threads // 2)
        self._unfinished = 0
        self._waiting: deque[Any] = deque()
        self._swept = 0.0
        self._passed = 0

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        loads.tell(self.age, self.nr_conns)
        super().wait_for_and_dispatch_events(timeout)

    def accept(self, listener: Any) -> None:
        if self._passed < _PASSES and self.nr_conns > loads.least():
            self._passed += 1
            time.sleep(_PASS_SECONDS)
            return
        self._passed = 0
        super().accept(listener)
        loads.tell(self.age, self.nr_conns)

    def enqueue_req(self, conn: Any) -> None:
        """Give the connection to a thread if its request is there, else park it."""
        if conn.parser is not None and conn.parser.unreader.buf.getvalue():
            self._admit(conn, whole=False)  # read ahead by the request before: the poller sees only what is left
            return
        try:
            seen = conn.sock.recv(WHOLE, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._park(conn, 1)
            return
        except OSError:
            seen = b""
        need = wanted(seen)
        if seen and len(seen) >= need:
            self._admit(conn, whole=_is_whole(seen))
        elif not seen:
            self._drop(conn)
        elif len(seen) <= getattr(conn, "seen", 0):  # awake although nothing came: that was all, so let it be answered
            self._admit(conn, whole=False)
        else:
            conn.seen = len(seen)
            self._park(conn, need)

    def _park(self, conn: Any, need: int) -> None:
        if getattr(conn, "parked", None) is None:
            conn.parked = time.monotonic()
        conn.timeout = conn.parked + ARRIVE_SECONDS
        conn.sock.setblocking(False)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, need)
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _admit(self, conn: Any, *, whole: bool) -> None:
        conn.whole = whole
        if not whole:
            if self._unfinished >= self._most_unfinished:
                self._waiting.append(conn)
                return
            self._unfinished += 1
        if getattr(conn, "parked", None) is not None:
            conn.parked, conn.seen = None, 0
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        conn.data_ready = True
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        conn.init()
        if isinstance(conn.parser.unreader, _Reader):
            conn.parser.unreader.begin()
        else:
            conn.parser.unreader = _Reader(conn.sock)
        return super().handle(conn)

    def finish_request(self, conn: Any, fs: Any) -> None:
        if not conn.whole:
            self._unfinished -= 1
            if self._waiting:
                self._admit(self._waiting.popleft(), whole=False)
        super().finish_request(conn, fs)

    def _drop(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Close what did not arrive in time, and the longest idle where there is no room for another connection."""
        now = time.monotonic()
        if self.nr_conns >= self.worker_connections:
            for idle in (self.pending_conns, self.keepalived_conns):
                if idle:
                    self._let_go(idle, idle[0])
        if now - self._swept < _SWEEP_SECONDS and self.alive:
            return
        self._swept = now
        for conn in list(self.pending_conns):
            if now >= (conn.timeout if self.alive else min(conn.timeout, conn.parked + _STOPPING_SECONDS)):
                self._let_go(self.pending_conns, conn)

    def _let_go(self, among: deque[Any], conn: Any) -> None:
        among.remove(conn)
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self._drop(conn)
