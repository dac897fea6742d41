"""An HTTP listener on loopback that keeps what it is sent, with scripted answers."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.peers.certificate import Certificate


@dataclass(frozen=True)
class Request:
    """One request; header names are in lower case, `at` is the Unix time of its arrival."""

    method: str
    path: str  # with the query
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass(frozen=True)
class Answer:
    """What to answer after `pause` seconds; `end` instead of an answer: `close`, `reset` or `hang`."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    end: str = ""


class HttpSink:
    """Answers 200 with an empty body unless scripted. `port` 0 lets the system choose; a fixed one is for restarts."""

    def __init__(self, *, port: int = 0, tls: Certificate | None = None) -> None:
        self.requests: list[Request] = []
        self._scripts: dict[str, deque[Answer]] = {}
        self._always: dict[str, Answer] = {}
        self._arrived = threading.Condition()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        if tls is not None:  # the handshake is each connection's own thread's: a client that stalls holds nobody up
            self._server.socket = tls.server_context().wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.owner = self
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def script(self, path: str, *answers: Answer | int) -> None:
        """Give these answers (a number is a status) to the next requests of `path` (no query), one each."""
        with self._arrived:
            self._scripts.setdefault(path, deque()).extend(_answer(a) for a in answers)

    def always(self, path: str, answer: Answer | int) -> None:
        """Answer so on `path` once its script is used up."""
        self._always[path] = _answer(answer)

    def redirect(self, path: str, target: str, status: int = 302) -> None:
        self.always(path, Answer(status, headers={"Location": target}))

    def wait_for(self, n: int, timeout: float = 10.0, path: str | None = None) -> list[Request]:
        """The requests (of `path`) once there are `n`; AssertionError after `timeout` seconds."""

        def found() -> list[Request]:
            return [r for r in self.requests if path is None or r.path.partition("?")[0] == path]

        with self._arrived:
            if not self._arrived.wait_for(lambda: len(found()) >= n, timeout):
                raise AssertionError(f"{len(found())} of {n} requests arrived in {timeout} s")
            return found()

    def clear(self) -> None:
        """Forget requests and scripts."""
        with self._arrived:
            self.requests.clear()
            self._scripts.clear()
            self._always.clear()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self, request: Request) -> Answer:
        """Keep the request; what to answer."""
        path = request.path.partition("?")[0]
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
            script = self._scripts.get(path)
            return script.popleft() if script else self._always.get(path, Answer())

    def hang(self, seconds: float | None) -> None:
        """Sleep, but wake when the sink closes."""
        self._closing.wait(seconds)


def _answer(answer: Answer | int) -> Answer:
    return Answer(answer) if isinstance(answer, int) else answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    owner: HttpSink


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.owner.take(Request(self.command, self.path, headers, body, time.time()))
        if answer.pause:
            self.server.owner.hang(answer.pause)
        if answer.end:
            self._end(answer.end)
            return
        self.send_response_only(answer.status)
        if answer.status >= 200 and answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and answer.status not in (204, 304):
            self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_any  # noqa: N815

    def _end(self, how: str) -> None:
        self.close_connection = True
        if how == "hang":
            self.server.owner.hang(None)
        elif how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())  # the files made of the socket would keep it open

    def log_message(self, format: str, *args: Any) -> None:
        """Silence: the requests are kept."""
