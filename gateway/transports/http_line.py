"""One thread's line to a provider's API: `requests` over a pinned connection that tells how far a request came."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from gateway.config import Networks
from gateway.dns.resolver import DnsUnavailable
from gateway.transports import http_call
from gateway.transports.public_address import is_reachable

IDLE_S = 15.0
"""A connection that was idle for longer is not used again: one that dies under a request leaves it in doubt."""

ANSWER_SIZE = 64 * 1024
"""Bytes of an answer that are read; the rest is not."""

_CONNECT_S = 10.0
_SLOWEST = 64 * 1024  # bytes a second that a large request has to go out with


class Unreached(Exception):
    """Nothing of the request can have arrived; `ours`: because of our settings, not of the network."""

    def __init__(self, why: str, *, ours: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.ours = ours


class Unanswered(Exception):
    """The request left as a whole and no answer came: nobody knows what became of it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    remote: str  # host[ip]:port
    tls: str

    @property
    def retry_after(self) -> int | None:
        """Seconds that the API asked for."""
        return http_call.retry_after_s(self.headers.get("retry-after"))


class _Stopped(Exception):
    """`on_data` raised, so nothing leaves."""


class _Progress:
    """How far the request under way came."""

    def __init__(self) -> None:
        self.on_data: Callable[[], None] | None = None
        self.begun = self.sent = False
        self.refusal: BaseException | None = None
        self.tls = ""

    def expect(self, on_data: Callable[[], None] | None) -> None:
        self.on_data, self.begun, self.sent, self.refusal = on_data, False, False, None

    def begin(self, sock: Any) -> None:
        self.tls = sock.version() if hasattr(sock, "version") else ""
        try:
            if self.on_data is not None:
                self.on_data()
        except BaseException as error:
            self.refusal = error
            raise _Stopped from error
        self.begun = True


class _Told:
    """Mixin of both connection classes: dials first, then says that the request leaves, and that it has left."""

    sock: Any

    def __init__(self, *args: Any, progress: _Progress, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._progress = progress

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        self._progress.begin(self.sock)
        super().request(*args, **kwargs)  # type: ignore[misc]
        self._progress.sent = True


class _HttpConnection(_Told, http_call.HttpConnection):
    pass


class _HttpsConnection(_Told, http_call.HttpsConnection):
    pass


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class _Adapter(HTTPAdapter):
    """Sends over the pool of the checked address, whatever the URL's name would resolve to now."""

    pool: urllib3.HTTPConnectionPool

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self.pool

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """The pool has its TLS context."""


class Line:
    """Belongs to one thread. `allow` None reaches any address; networks restrict it to public ones and those.

    `seconds` is what one call may take in all, beside the time that a large request needs to go out.
    """

    def __init__(self, base: str, *, allow: Networks | None, seconds: float) -> None:
        self._target = http_call.parse(base)
        self._base = base.rstrip("/")
        self._allow = allow
        self._seconds = seconds
        self._progress = _Progress()
        self._adapter = _Adapter(max_retries=0)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)
        self._address = ""
        self._used = 0.0

    def call(self, request: requests.Request, on_data: Callable[[], None] | None = None) -> Answer:
        """Send a request whose URL is a path of the API; raises `Unreached` and `Unanswered`.

        What `on_data` raises is passed on, and nothing leaves.
        """
        request.url = self._base + request.url
        request.headers = {**request.headers, "Host": self._target.authority, "Accept-Encoding": "identity"}
        prepared = self._session.prepare_request(request)
        body = prepared.body if isinstance(prepared.body, bytes | str) else b""
        deadline = time.monotonic() + self._seconds + len(body) / _SLOWEST
        if self._address and time.monotonic() - self._used > IDLE_S:
            self.close()
        try:
            return self._send(prepared, deadline, on_data)
        finally:
            http_call.watch(None)
            self._used = time.monotonic()

    def close(self) -> None:
        """Hang up; the next call dials anew."""
        if self._address:
            self._adapter.pool.close()
            self._address = ""

    def _send(self, prepared: requests.PreparedRequest, deadline: float, on_data: Callable[[], None] | None) -> Answer:
        why = ""
        for address in [self._address] if self._address else self._reachable():
            if address != self._address:
                self._adapter.pool = self._pool(address)
                self._address = address
            try:
                return self._exchange(prepared, deadline, on_data)
            except Unreached as error:
                self.close()
                if self._progress.begun:
                    raise
                why = error.why
            except BaseException:
                self.close()
                raise
        raise Unreached(why)

    def _reachable(self) -> list[str]:
        host = self._target.host
        try:
            addresses = http_call.addresses_of(host)
        except DnsUnavailable as error:
            raise Unreached(str(error)) from None
        if not addresses:
            raise Unreached(f"{host} has no address", ours=True)
        if self._allow is None:
            return addresses
        found = [address for address in addresses if is_reachable(address, self._allow)]
        if not found:
            text = f"{host} leads to the private address {addresses[0]}, outside COMMANDPOST_DELIVERY_ALLOW"
            raise Unreached(text, ours=True)
        if self._target.scheme == "http" and any(is_reachable(address, ()) for address in found):
            raise Unreached(f"{host} is public: an API key goes there over https only", ours=True)
        return found

    def _pool(self, address: str) -> urllib3.HTTPConnectionPool:
        if self._target.scheme == "http":
            return _HttpPool(address, self._target.port, maxsize=1, progress=self._progress)
        return _HttpsPool(
            address,
            self._target.port,
            maxsize=1,
            ssl_context=http_call.tls_context(),
            server_hostname=self._target.host.rstrip("."),
            progress=self._progress,
        )

    def _exchange(
        self, prepared: requests.PreparedRequest, deadline: float, on_data: Callable[[], None] | None
    ) -> Answer:
        progress = self._progress
        progress.expect(on_data)
        left = max(0.05, deadline - time.monotonic())
        http_call.watch(deadline)
        try:
            response = self._session.send(
                prepared,
                timeout=(min(left, _CONNECT_S), left),
                allow_redirects=False,
                stream=True,
            )
        except _Stopped:
            raise progress.refusal or RuntimeError("nothing was refused") from None
        except (requests.RequestException, HTTPError, OSError) as error:
            late = time.monotonic() >= deadline
            why = "no answer in time" if late else _reason(error)
            raise (Unanswered(why) if progress.sent else Unreached(why)) from None
        if time.monotonic() >= deadline:
            # The cut of what drips reads like the end of the headers.
            response.close()
            raise Unanswered("no answer in time")
        try:
            # The status has come: an answer that breaks off afterwards is still an answer.
            body = response.raw.read(ANSWER_SIZE + 1) or b""
        except (HTTPError, OSError):
            body = b""
            response.close()
        else:
            if len(body) > ANSWER_SIZE:
                response.close()
            else:
                response.raw.release_conn()
        remote = f"{self._target.host}[{self._address}]:{self._target.port}"
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, body[:ANSWER_SIZE], remote, progress.tls)


def _reason(error: Exception) -> str:
    """The innermost cause in words that do not change from run to run."""
    inner: Any = error.args[0] if isinstance(error, requests.RequestException) and error.args else error
    inner = getattr(inner, "reason", None) or inner
    return http_call.reason(inner) if isinstance(inner, Exception) else str(error)
