"""The guarded HTTP client for URLs that others name: public addresses only, pinned, capped, never redirected."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import re
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from http.client import HTTPException, RemoteDisconnected
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import certifi
import idna
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError, SSLError

from gateway import clock
from gateway.config import Networks
from gateway.dns.resolver import DnsUnavailable, resolver
from gateway.errors import InvalidUrl, PrivateUrl
from gateway.transports.public_address import is_reachable, literal

SECONDS = 15.0
"""What one call may take in all: resolving, connecting, sending, and the whole answer."""

ANSWER_SIZE = 64 * 1024
"""Bytes of an answer that are read; the rest is not."""

_URL_SIZE = 2048
_CONNECT_SECONDS = 5.0
_POOLS = 512
_POOL_SIZE = 64
_RETRY_AFTER_MOST = 86_400
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_KEPT = "%/:=&?~+!$,;'@()*[]-._"  # beyond letters and digits; the rest of a path goes out percent-encoded
_HOST = re.compile(r"(?!.*\.\.)[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?\.?\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL, taken apart once so that check and call cannot read it differently."""

    scheme: str
    host: str  # lower-case A-labels or an address without brackets
    port: int
    path: str  # with the query
    authority: str  # for the Host header
    authorization: str = ""  # of a user name and password in the URL


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a call. `status` None: no answer came, and `error` says why."""

    status: int | None
    error: str = ""
    body: bytes = b""  # at most ANSWER_SIZE
    retry_after: int | None = None  # seconds
    ms: int = 0
    reached: bool = False  # the host took the request, whether or not it answered
    media_type: str = ""  # lower case, without parameters
    cut: bool = False  # there was more, or the answer broke off

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@functools.lru_cache(maxsize=4096)
def parse(url: str) -> Target:
    """Take an http or https URL apart; raises `InvalidUrl`."""
    if len(url) > _URL_SIZE:
        raise InvalidUrl(f"WebhookURL should have at most {_URL_SIZE} characters")
    if _UNSAFE.search(url):
        raise InvalidUrl()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidUrl() from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise InvalidUrl()
    path, query = quote(parts.path or "/", safe=_KEPT), quote(parts.query, safe=_KEPT)
    host = _ascii_host(host)
    port = port or (443 if parts.scheme == "https" else 80)
    shown = f"[{host}]" if ":" in host else host
    if port != (443 if parts.scheme == "https" else 80):
        shown = f"{shown}:{port}"
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = "Basic " + base64.b64encode(pair).decode("ascii")
    return Target(parts.scheme, host, port, f"{path}?{query}" if query else path, shown, authorization)


def check(url: str, allow: Networks) -> Target:
    """Check a URL that is about to be saved; raises `InvalidUrl` or `PrivateUrl`.

    A name that DNS does not know, or cannot tell now, passes: it is checked again at every call.
    """
    target = parse(url)
    try:
        addresses = addresses_of(target.host)
    except DnsUnavailable:
        return target
    if not all(is_reachable(address, allow) for address in addresses):
        raise PrivateUrl()
    return target


def post(url: str, body: bytes, headers: Mapping[str, str], *, allow: Networks, seconds: float = SECONDS) -> Reply:
    """POST `body` once; never raises for what the URL or its host does."""
    return _call("POST", url, body, headers, allow, seconds)


def get(url: str, *, allow: Networks, seconds: float = SECONDS) -> Reply:
    """GET once; never raises for what the URL or its host does."""
    return _call("GET", url, None, {}, allow, seconds)


def _call(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str], allow: Networks, seconds: float
) -> Reply:
    started = time.monotonic()
    deadline = started + seconds
    try:
        reply = _send(method, parse(url), body, headers, allow, deadline)
    except (InvalidUrl, PrivateUrl, DnsUnavailable) as error:
        reply = Reply(None, str(error))
    except (HTTPError, OSError, ValueError) as error:
        late = time.monotonic() >= deadline
        reached = not isinstance(error, (NewConnectionError, ConnectTimeoutError, SSLError))
        reply = Reply(None, f"no answer in {seconds:g} s" if late else reason(error), reached=reached)
    finally:
        _own().watchdog.disarm()
    ms = int((time.monotonic() - started) * 1000)
    return replace(reply, error=reply.error[:255], ms=ms)


def _send(
    method: str, target: Target, body: bytes | None, headers: Mapping[str, str], allow: Networks, deadline: float
) -> Reply:
    addresses = addresses_of(target.host)
    if not addresses:
        return Reply(None, f"{target.host} has no address")
    if not all(is_reachable(address, allow) for address in addresses):
        raise PrivateUrl()
    sent = {**headers, "Host": target.authority, "Accept-Encoding": "identity"}
    if target.authorization:
        sent["Authorization"] = target.authorization
    last: Exception | None = None
    for address in addresses:
        left = deadline - time.monotonic()
        if left <= 0.05:
            break
        try:
            return _exchange(method, target, address, body, sent, deadline, left)
        except (NewConnectionError, ConnectTimeoutError) as error:
            last = error  # nothing was sent: the next address may be asked
    if last is not None:
        raise last
    return Reply(None, "no address answered in time")


def _exchange(
    method: str,
    target: Target,
    address: str,
    body: bytes | None,
    headers: Mapping[str, str],
    deadline: float,
    left: float,
) -> Reply:
    watchdog = _own().watchdog
    watchdog.set_deadline(deadline)
    response = (
        _own()
        .pools.get(target, address)
        .urlopen(
            method,
            target.path,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=urllib3.Timeout(connect=min(left, _CONNECT_SECONDS), read=left),
            preload_content=False,
            decode_content=False,
        )
    )
    if time.monotonic() >= deadline:
        # The watchdog's cut reads like the end of the headers.
        response.close()
        raise TimeoutError
    retry_after = response.headers.get("Retry-After")
    status = int(response.status)
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    broken = False
    try:
        answer = response.read(ANSWER_SIZE + 1)
    except (HTTPError, OSError):
        # The status has come: an answer that breaks off afterwards, or drips, is still an answer.
        answer = b""
        broken = True
        response.close()
    else:
        if len(answer) > ANSWER_SIZE:
            response.close()
        else:
            response.release_conn()
    return Reply(
        status,
        body=answer[:ANSWER_SIZE],
        retry_after=retry_after_s(retry_after),
        reached=True,
        media_type=media_type,
        cut=broken or len(answer) > ANSWER_SIZE,
    )


def _ascii_host(host: str) -> str:
    address = literal(host)
    if address is not None:
        return address
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise InvalidUrl() from None
    host = host.lower()
    if not _HOST.match(host) or any(len(label) > 63 for label in host.rstrip(".").split(".")):
        raise InvalidUrl()
    return host


def addresses_of(host: str) -> list[str]:
    """Where a host of a `Target` leads; raises `DnsUnavailable`."""
    if literal(host) is not None:
        return [host]
    return resolver().addresses(host)


def retry_after_s(value: str | None) -> int | None:
    """Retry-After (RFC 9110 §10.2.3) in seconds, at most a day."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return min(int(value), _RETRY_AFTER_MOST)
    try:
        wanted = parsedate_to_datetime(value)
        return min(max(0, round(wanted.timestamp() - clock.now_ms() / 1000)), _RETRY_AFTER_MOST)
    except (ValueError, TypeError, OverflowError):
        return None


def reason(error: Exception) -> str:
    if isinstance(error, NewConnectionError):
        cause = error.__cause__
        return f"not reached: {(cause.strerror if isinstance(cause, OSError) else None) or cause or 'no connection'}"
    if isinstance(error, ConnectTimeoutError):
        return "connecting took too long"
    if isinstance(error, SSLError):
        return f"TLS failed: {error}"
    if isinstance(error, ReadTimeoutError):
        return "no answer in time"
    cause = next((one for one in error.args if isinstance(one, Exception)), error)
    if isinstance(cause, RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(cause, HTTPException):
        return "the answer is no HTTP"
    if isinstance(cause, OSError):
        return f"the connection broke: {cause.strerror or cause}"
    return f"{type(error).__name__}: {error}"


class _Watchdog:
    """Shuts the socket of a call that passes its deadline.

    A socket's time-out starts anew with each byte received, so a server that drips would hold a
    thread for hours.
    """

    def __init__(self) -> None:
        self._deadlines: dict[int, float] = {}
        self._sockets: dict[int, Any] = {}
        self._wake = threading.Event()
        threading.Thread(target=self._watch, name="http-watchdog", daemon=True).start()

    def set_deadline(self, deadline: float) -> None:
        self._deadlines[threading.get_ident()] = deadline

    def arm(self, sock: Any) -> None:
        self._sockets[threading.get_ident()] = sock
        self._wake.set()

    def disarm(self) -> None:
        self._sockets.pop(threading.get_ident(), None)

    def _watch(self) -> None:
        while True:
            if not self._sockets:
                self._wake.clear()
                if not self._sockets:
                    self._wake.wait()
            time.sleep(0.1)
            now = time.monotonic()
            for ident, sock in list(self._sockets.items()):
                if self._deadlines.get(ident, now + 1) <= now and self._sockets.pop(ident, None) is not None:
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)


def watch(deadline: float | None) -> None:
    """Shut what this thread has on the wire at that monotonic time; None: it is done."""
    if deadline is None:
        _own().watchdog.disarm()
    else:
        _own().watchdog.set_deadline(deadline)


class _Watched:
    """Mixin of both connection classes: shows the watchdog a duplicate of the socket.

    A duplicate, because TLS takes the first socket object apart; shutting either shuts the connection.
    """

    _twin: Any = None
    _held: list[bytes] | None = None

    def _new_conn(self) -> Any:
        sock = super()._new_conn()  # type: ignore[misc]
        self._twin = sock.dup()
        _own().watchdog.arm(self._twin)
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self._twin is not None:
            _own().watchdog.arm(self._twin)
        self._held = []
        try:
            super().request(*args, **kwargs)  # type: ignore[misc]
            whole = b"".join(self._held)
        finally:
            self._held = None
        self.send(whole)

    def send(self, data: Any) -> None:
        """Head and body leave in one write: two would be two packets and twice the price."""
        if self._held is not None and isinstance(data, bytes):
            self._held.append(data)
        else:
            super().send(data)  # type: ignore[misc]

    def close(self) -> None:
        twin, self._twin = self._twin, None
        if twin is not None:
            twin.close()
        super().close()  # type: ignore[misc]


class HttpConnection(_Watched, HTTPConnection):
    pass


class HttpsConnection(_Watched, HTTPSConnection):
    pass


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = HttpsConnection


class _Pools:
    """Kept connections by URL host and pinned address, the least recently used closed first."""

    def __init__(self) -> None:
        self._pools: OrderedDict[tuple[str, str, str, int], urllib3.HTTPConnectionPool] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, target: Target, address: str) -> urllib3.HTTPConnectionPool:
        key = (target.scheme, target.host, address, target.port)
        with self._lock:
            pool = self._pools.get(key)
            if pool is not None:
                self._pools.move_to_end(key)
                return pool
            pool = self._pools[key] = self._make(target, address)
            dropped = self._pools.popitem(last=False)[1] if len(self._pools) > _POOLS else None
        if dropped is not None:
            dropped.close()
        return pool

    @staticmethod
    def _make(target: Target, address: str) -> urllib3.HTTPConnectionPool:
        if target.scheme == "http":
            return _HttpPool(address, target.port, maxsize=_POOL_SIZE)
        name = target.host.rstrip(".")
        # The connection goes to the checked address; SNI and the certificate are about the URL's name.
        return _HttpsPool(
            address,
            target.port,
            maxsize=_POOL_SIZE,
            ssl_context=tls_context(),
            server_hostname=name,
        )


@functools.lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(certifi.where())  # slim systems have no store of their own
    return context


class _Process:
    """What one process holds open: made after the fork, once."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.pools = _Pools()
        self.watchdog = _Watchdog()


_process: _Process | None = None
_process_lock = threading.Lock()


def _own() -> _Process:
    global _process
    found = _process
    if found is None or found.pid != os.getpid():
        with _process_lock:
            found = _process
            if found is None or found.pid != os.getpid():
                found = _process = _Process()
    return found
