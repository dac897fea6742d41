"""The SMTP part: its listeners, and their life until SIGTERM.

A login needs STARTTLS or the SMTPS listener, but for clients in SMTP_CLEAR_AUTH. Without TLS_CERT the certificate in
DATA is shown, which `serve --demo` makes, and which is made here where submission is open to more than loopback: nobody
else could log in there.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gateway import config
from gateway.mail import parse
from gateway.services import audit_calls, audit_chain, certificates, pulse
from models import database as db
from smtp.inbound import Inbound
from smtp.protocol import Door
from smtp.submission import Submission

THREADS = 8
"""Threads that work on the database, each with its own connection."""

STOP_SECONDS = 8.0
"""How long a clean stop waits for messages that are being taken in."""

_BACKLOG = 256
_STALE_SECONDS = 10.0

_log = logging.getLogger("commandpost.smtp")


class Server:
    """The listeners of one process; `start`, then `stop`, on one event loop."""

    def __init__(self, settings: config.Settings) -> None:
        self._settings = settings
        self._tls = certificates.server_context(settings, needed=not config.is_loopback(settings.smtp.host))
        if settings.smtps is not None and self._tls is None:
            raise config.ConfigError(f"{config.PREFIX}SMTPS: should be off, or {config.PREFIX}TLS_CERT be set")
        if self._tls is not None and settings.tls_cert is None:
            _log.warning("smtp_certificate_is_self_signed", extra={"file": str(settings.data / certificates.FILE)})
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="smtp")
        self._listeners: list[asyncio.Server] = []
        self.doors: list[Door] = []

    async def start(self) -> None:
        """Listen; raises `OSError` when an address cannot be bound."""
        settings = self._settings
        submission = self._door("submission", Submission(), auth=True, starttls=self._tls)
        await self._listen(submission, settings.smtp)
        if settings.smtps is not None:
            implicit = self._door("smtps", Submission(), auth=True, encrypted=True)
            await self._listen(implicit, settings.smtps, tls=self._tls)
        inbound = self._door("inbound", Inbound(), starttls=self._tls, keep=parse.SIZE_MAX)
        await self._listen(inbound, settings.mx)

    def _door(self, name: str, handler: Any, **options: Any) -> Door:
        door = Door(
            name=name,
            handler=handler,
            executor=self._executor,
            settings=self._settings,
            max_connections=self._settings.smtp_connections,
            most_of_host=self._settings.smtp_connections_per_address,
            **options,
        )
        self.doors.append(door)
        return door

    async def _listen(self, door: Door, where: config.Address, tls: ssl.SSLContext | None = None) -> None:
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(door.connection, where.host, where.port, ssl=tls, backlog=_BACKLOG)
        self._listeners.append(listener)
        door.port = listener.sockets[0].getsockname()[1]
        _log.info("smtp_listening", extra={"listener": door.name, "host": where.host, "port": door.port})

    async def stop(self) -> None:
        """Take no more connections, let the messages being taken in be answered, then hang up."""
        for listener in self._listeners:
            listener.close()
        for door in self.doors:
            door.stopping = True
            for connection in list(door.connections):
                if not connection.busy:
                    await connection.close("421 4.3.2 Shutting down")
        deadline = time.monotonic() + STOP_SECONDS
        while any(door.connections for door in self.doors) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for door in self.doors:
            for connection in list(door.connections):
                connection.abort()
        self._executor.shutdown(wait=False, cancel_futures=True)


async def _serve(settings: config.Settings) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = Server(settings)
    await server.start()
    ticked = time.monotonic()
    beating = pulse.start("smtp", lambda: time.monotonic() - ticked < _STALE_SECONDS)
    neglected = audit_calls.place.look_after(audit_chain.run)
    try:
        while not ended.is_set():
            ticked = time.monotonic()
            try:
                await asyncio.wait_for(ended.wait(), 1.0)
            except TimeoutError:
                continue
    finally:
        beating.set()
        neglected.set()
        await server.stop()


def main() -> int:
    """Serve submission, SMTPS where it is set, and inbound until SIGTERM; returns the exit status."""
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # the library's own, a line for every command
    settings = config.settings()
    if db.database.obj is None:
        db.connect(settings.database_url, settings.data)
    try:
        asyncio.run(_serve(settings))
    except (OSError, config.ConfigError) as error:
        _log.error("smtp_cannot_serve: %s", error)
        return 1
    return 0
