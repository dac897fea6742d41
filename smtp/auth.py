"""AUTH PLAIN (RFC 4616) and AUTH LOGIN against the logins of the SMTP service."""

from __future__ import annotations

import base64
import binascii
import logging
from typing import Any

from gateway import errors
from gateway.services import audit_calls, smtps
from smtp.protocol import Connection, reply

MAX_FAILURES = 3
"""Refused logins of one connection before it is closed."""

_log = logging.getLogger("commandpost.smtp")


class Answered(Exception):
    """The exchange went wrong and the client has been told."""


async def log_in(server: Connection, session: Any, envelope: Any, args: list[str]) -> str | None:
    """Carry out one AUTH command and return the reply; None when it was given already.

    After `MAX_FAILURES` refusals the connection is closed.
    """
    if envelope.mail_from:
        return "503 5.5.1 AUTH is not allowed during a mail transaction"  # RFC 4954 §4
    try:
        username, password = await (_plain(server, args) if args[0] == "PLAIN" else _login(server, args))
    except Answered:
        return None
    try:
        login, most = await server.door.run(_authenticate, username, password, server.host)
    except Exception as error:
        if not isinstance(error, errors.GatewayError):
            return reply(error)  # the store is away: no guess, and the client may try again on this connection
        _log.warning("smtp_login_refused", extra={"peer": server.host, "username": username, "why": error.slug})
        server.login_failures += 1
        if server.login_failures >= MAX_FAILURES:
            await server.push(reply(error))
            await server.close("421 4.7.0 Too many failed logins")
            return None
        return reply(error)
    server.recipients_most = most
    session.authenticated = True
    session.auth_data = login
    return "235 2.7.0 Authentication successful"


def _authenticate(username: str, password: str, ip: str) -> tuple[smtps.Login, int]:
    """The login and the recipients that its plan allows one message."""
    login = smtps.authenticate(username=username, password=password, ip=ip)
    audit_calls.logged_in(account_id=login.account_id, username=username, ip=ip)
    return login, smtps.most_recipients(login)


async def _plain(server: Connection, args: list[str]) -> tuple[str, str]:
    data = await _decode(server, args[1]) if len(args) > 1 else await _ask(server, "")
    parts = data.split(b"\0")
    if len(parts) != 3:
        await server.push("501 5.5.2 The credentials cannot be read")
        raise Answered
    authority, username, password = parts
    if authority not in (b"", username):
        # Nobody may act for somebody else here (RFC 4616 §2).
        await server.push("535 5.7.8 Authentication credentials invalid")
        raise Answered
    return _text(username), _text(password)


async def _login(server: Connection, args: list[str]) -> tuple[str, str]:
    first = await _decode(server, args[1]) if len(args) > 1 else await _ask(server, "Username:")
    return _text(first), _text(await _ask(server, "Password:"))


async def _ask(server: Connection, challenge: str) -> bytes:
    await server.push("334 " + base64.b64encode(challenge.encode()).decode("ascii"))
    try:
        line = await server.read_line()
    except ValueError:
        await server.push("500 5.5.6 Authentication exchange line is too long")
        raise Answered from None
    return await _decode(server, line.strip().decode("ascii", "replace"))


async def _decode(server: Connection, text: str) -> bytes:
    if text == "*":
        await server.push("501 5.7.0 Authentication cancelled")
        raise Answered
    try:
        return b"" if text == "=" else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        await server.push("501 5.5.2 Cannot decode base64")
        raise Answered from None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
