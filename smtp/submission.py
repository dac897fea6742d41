"""Submission (RFC 6409): what a logged-in customer hands in becomes a draft, is accepted, and then answered."""

# ruff: noqa: N802 - aiosmtpd finds the methods by the names of the commands

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from gateway import clock, errors
from gateway.mail import address
from gateway.services import dry_runs, identity, messages, smtps
from smtp import auth, drafting, forecast
from smtp.data import tidy
from smtp.protocol import Connection, reply

EXTENSIONS = ("PIPELINING", "ENHANCEDSTATUSCODES")

_log = logging.getLogger("commandpost.smtp")


class Submission:
    """The handler that the protocol calls for each command."""

    async def handle_EHLO(
        self, server: Connection, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], *(f"250-{word}" for word in EXTENSIONS), responses[-1]]

    async def handle_AUTH(self, server: Connection, session: Any, envelope: Any, args: list[str]) -> str | None:
        return await auth.log_in(server, session, envelope, args)

    async def handle_MAIL(
        self, server: Connection, session: Any, envelope: Any, sender: str, options: list[str]
    ) -> str:
        envelope.mail_from = sender
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender noted"

    async def handle_RCPT(
        self, server: Connection, session: Any, envelope: Any, recipient: str, options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= server.recipients_most:
            return "452 4.5.3 Too many recipients"
        try:
            envelope.rcpt_tos.append(address.check(recipient))
        except errors.Invalid:
            return "553 5.1.3 The recipient's address is not valid"
        return "250 2.1.5 Recipient noted"

    async def handle_DATA(self, server: Connection, session: Any, envelope: Any) -> str:
        return str(await server.door.run(_submit, server, session, envelope))


def _protocol(server: Connection, envelope: Any) -> str:
    """RFC 3848, and RFC 6531 §4.3 where the client asked for SMTPUTF8."""
    return ("UTF8SMTP" if envelope.smtp_utf8 else "ESMTP") + ("SA" if server.encrypted else "A")


def _submit(server: Connection, session: Any, envelope: Any) -> str:
    """Accept one message and return the reply; runs in a thread with a database connection of its own."""
    login: smtps.Login = session.auth_data
    try:
        if not smtps.still_valid(login):
            raise errors.LoginFailed("The login is no longer valid")
        trace = drafting.Trace(
            client_name=str(session.host_name or ""),
            client_ip=server.host,
            hostname=server.door.settings.hostname,
            protocol=_protocol(server, envelope),
            at_ms=clock.now_ms(),
        )
        draft, dry = drafting.read(tidy(envelope.content), recipients=envelope.rcpt_tos, trace=trace)
        draft.smtp_login_id = login.id
        draft.mail_from = drafting.noted(envelope.mail_from)
        server.recipients_most = smtps.most_recipients(login)  # plans change while a connection lives
        caller = dataclasses.replace(identity.for_account(login.account_id), domain_id=login.domain_id)
        if dry:
            return forecast.reply(dry_runs.run(caller=caller, draft=draft))
        accepted = messages.accept(caller, draft)
    except Exception as error:
        if isinstance(error, errors.GatewayError):
            _log.info("submission_refused", extra={"smtp_login_id": login.id, "why": error.slug})
        return reply(error)
    return f"250 2.0.0 Accepted as {accepted.message_id}"
