"""One SMTP connection: what both listeners hold every client to, and how a refusal is said."""

# ruff: noqa: N802 - aiosmtpd finds the methods by the names of the commands

from __future__ import annotations

import asyncio
import collections
import contextlib
import ipaddress
import logging
import re
import ssl
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, TLSSetupException

from gateway import config, errors
from gateway.services import limits
from models.database import StoreFull, StoreUnavailable
from smtp import data

IDLE_SECONDS = 300  # RFC 5321 §4.5.3.2.7
STRANGER_SECONDS = 60
"""How long a client may be silent before it has logged in."""

COMMAND_LIMITS = {
    "MAIL": 10_000,
    "RCPT": 1_000_000,
    "DATA": 10_000,
    "RSET": 20_000,
    "NOOP": 1000,
    "EHLO": 20,
    "HELO": 20,
    "AUTH": 5,
    "STARTTLS": 2,
    "*": 20,
}
"""How often one connection may say a command; who needs more comes again."""

_log = logging.getLogger("commandpost.smtp")

# RFC 2034 wants an enhanced code on every reply but the greeting, HELO and EHLO; the library has them on some.
_ENHANCED = {
    "220": "2.0.0",
    "221": "2.0.0",
    "250": "2.0.0",
    "252": "2.1.5",
    "454": "4.7.0",
    "500": "5.5.2",
    "501": "5.5.4",
    "502": "5.5.1",
    "503": "5.5.1",
    "504": "5.5.4",
    "552": "5.3.4",
    "553": "5.1.3",
    "554": "5.5.1",
    "555": "5.5.4",
}
_HAS_ENHANCED = re.compile(r"\d{3}[ -][245]\.\d{1,3}\.\d{1,3}(?: |$)")
_AUTH_PARAMETER = re.compile(r"\sAUTH=\S*", re.IGNORECASE)


def reply(error: BaseException) -> str:
    """The one place where a refusal becomes an SMTP reply; what is no refusal is logged and asked for again."""
    if isinstance(error, StoreUnavailable):
        error = errors.StorageFull() if isinstance(error, StoreFull) else errors.Unavailable()
    if isinstance(error, errors.GatewayError):
        text = re.sub(r"[^\x20-\x7e]+", " ", error.message).strip()[:400]
        return f"{error.smtp} {text}"
    _log.error("smtp_failure", exc_info=error)
    return "451 4.3.0 An unforeseen failure; nothing was stored."


@dataclass(eq=False)
class Door:
    """One listener: what it serves with, its connections and whether it is closing."""

    name: str
    handler: Any
    executor: Executor
    settings: config.Settings
    starttls: ssl.SSLContext | None = None
    encrypted: bool = False  # TLS from the first byte
    auth: bool = False
    max_connections: int = 500
    most_of_host: int = 100
    keep: int | None = None  # bytes of a report that are looked at; None: all of them
    port: int = 0
    stopping: bool = False
    connections: set[Connection] = field(default_factory=set)

    def connection(self) -> Connection:
        return Connection(self)

    def admits(self, host: str) -> bool:
        """Whether one more connection from `host` is allowed.

        No single host may hold more than half of them; of an IPv6 address its /64 counts as one host.
        """
        if self.stopping or len(self.connections) >= self.max_connections:
            return False
        network = limits.network(host)
        of_host = sum(1 for connection in self.connections if connection.network == network)
        return of_host < min(self.most_of_host, max(1, self.max_connections // 2))

    def trusts_clear_text(self, host: str) -> bool:
        """Whether a client there may send its password without TLS."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.settings.smtp_clear_auth)

    async def run(self, function: Any, *args: Any) -> Any:
        """Call what works on the database in a thread of its own: the event loop never waits for it."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, function, *args)


class Connection(SMTP):
    """aiosmtpd's state machine with our limits, our DATA and enhanced status codes."""

    session: Any
    envelope: Any
    transport: Any

    def __init__(self, door: Door) -> None:
        # The library shares this dictionary between all connections and lets it grow.
        self.command_size_limits = collections.defaultdict(lambda: 1000)
        self.door = door
        self.host = ""
        self.network = ""
        self.recipients_most = 0  # what the plan of who has logged in allows
        self.busy = False
        self.login_failures = 0
        self._turned_away = False
        self._greeting = True
        super().__init__(
            door.handler,
            data_size_limit=door.settings.message_size,
            enable_SMTPUTF8=True,
            hostname=door.settings.hostname,
            ident="ESMTP",
            tls_context=door.starttls,
            command_call_limit=COMMAND_LIMITS,
            timeout=IDLE_SECONDS,
            loop=asyncio.get_running_loop(),
        )
        # Not as an argument: the library would warn, on every connection, that there may be no TLS.
        self._auth_required = door.auth
        if not door.auth:
            self._smtp_methods.pop("AUTH")

    # The life of a connection

    def connection_made(self, transport: Any) -> None:
        if self._original_transport is None:
            peer = transport.get_extra_info("peername")
            self.host = str(peer[0]) if peer else ""
            self.network = limits.network(self.host)
            if not self.door.admits(self.host):
                self._turned_away = True
                transport.write(b"421 4.7.0 Too many connections, come back later\r\n")
                transport.close()
                return
            self._auth_require_tls = not (self.door.encrypted or self.door.trusts_clear_text(self.host))
            self.door.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._turned_away:
            return
        self.door.connections.discard(self)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if not self._turned_away:
            super().data_received(data)

    def eof_received(self) -> bool | None:
        """Let what was already sent be answered; the library would drop it."""
        if self._turned_away or self.session is None or self.session.ssl is not None:
            return False
        return asyncio.StreamReaderProtocol.eof_received(self)

    def _reset_timeout(self, duration: float | None = None) -> None:
        stranger = self.door.auth and not (self.session is not None and self.session.authenticated)
        super()._reset_timeout(duration or (STRANGER_SECONDS if stranger else IDLE_SECONDS))

    @property
    def encrypted(self) -> bool:
        return self.door.encrypted or (self.session is not None and self.session.ssl is not None)

    def abort(self) -> None:
        """Hang up without another word."""
        if self.transport is not None:
            self.transport.abort()

    async def read_line(self) -> bytes:
        """One more line of a command; raises `ValueError` when it is too long."""
        return await self._reader.readline()

    async def close(self, line: str) -> None:
        """Say a last line, if somebody still listens, and hang up."""
        if self.transport is None or self.transport.is_closing():
            return
        with contextlib.suppress(ConnectionError):
            await self.push(line)
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()

    async def handle_exception(self, error: Exception) -> str:
        if isinstance(error, (asyncio.IncompleteReadError, ConnectionError)):
            if self.transport is not None:
                self.transport.close()
            return "421 4.4.2 Connection lost"
        if isinstance(error, TLSSetupException):  # a scanner, or a client that does not trust the certificate
            return "421 4.7.0 No TLS, no further"
        return reply(error)

    async def push(self, status: str | bytes) -> None:
        text = status.decode("utf-8", "replace") if isinstance(status, bytes) else status
        code = text[:3]
        if not self._greeting and code in _ENHANCED and not _HAS_ENHANCED.match(text):
            text = f"{text[:4]}{_ENHANCED[code]} {text[4:]}"
        if code == "220":
            self._greeting = False
        await super().push(text)

    # Commands

    async def smtp_HELO(self, hostname: str) -> None:
        self._greeting = True
        await super().smtp_HELO(hostname)
        self._greeting = False

    async def smtp_EHLO(self, hostname: str) -> None:
        self._greeting = True
        await super().smtp_EHLO(hostname)
        self._greeting = False

    async def smtp_STARTTLS(self, arg: str) -> None:
        await super().smtp_STARTTLS(arg)
        if self._tls_protocol is not None and self.session.ssl is None:
            # Our time-out closed it within the handshake: asyncio ends that like one that succeeded, and never tells
            # of the loss, so that the connection would be counted for ever.
            raise TLSSetupException

    async def smtp_AUTH(self, arg: str) -> None:
        mechanism, space, rest = (arg or "").partition(" ")
        await super().smtp_AUTH(mechanism.upper() + space + rest)  # names ignore case (RFC 4422 §3.1)

    async def smtp_MAIL(self, arg: str | None) -> None:
        # Who offers AUTH must take its parameter and may ignore it (RFC 4954 §5).
        await super().smtp_MAIL(_AUTH_PARAMETER.sub("", arg) if arg else arg)

    async def smtp_VRFY(self, arg: str) -> None:
        await self.push("252 2.1.5 Send some mail, I will try my best")

    async def smtp_DATA(self, arg: str) -> None:
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        if not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 No recipient was accepted: need RCPT command")
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        self.busy = True
        try:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            answer = await self._take_data()
        finally:
            self.busy = False
            self.envelope = self._create_envelope()
        await self.push(answer)
        if self.door.stopping:
            await self.close("421 4.3.2 Shutting down")

    async def _take_data(self) -> str:
        try:
            limit = self.door.settings.message_size
            keep = None if getattr(self.envelope, "whole", False) else self.door.keep
            self.envelope.content = await data.read(self._reader, limit, self._reset_timeout, keep)
            return str(await self.event_handler.handle_DATA(self, self.session, self.envelope))
        except (errors.GatewayError, StoreUnavailable) as error:
            return reply(error)
