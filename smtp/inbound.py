"""Inbound mail: delivery reports and complaints that come back to our return paths, and nothing else."""

# ruff: noqa: N802 - aiosmtpd finds the methods by the names of the commands

from __future__ import annotations

import logging
from typing import Any

from gateway.services import inbound
from smtp.data import tidy
from smtp.protocol import Connection, reply
from smtp.submission import EXTENSIONS

MAX_RECIPIENTS = 20

_log = logging.getLogger("commandpost.smtp")


class Inbound:
    """The handler that the protocol calls for each command."""

    async def handle_EHLO(
        self, server: Connection, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        known = [line for line in responses[:-1] if not line.startswith("250-AUTH")]
        return [*known, *(f"250-{word}" for word in EXTENSIONS), responses[-1]]

    async def handle_MAIL(
        self, server: Connection, session: Any, envelope: Any, sender: str, options: list[str]
    ) -> str:
        envelope.mail_from = sender
        return "250 2.1.0 Sender noted"

    async def handle_RCPT(
        self, server: Connection, session: Any, envelope: Any, recipient: str, options: list[str]
    ) -> str:
        if not inbound.takes(recipient):
            return "550 5.1.1 Only reports about mail sent from here are taken at their return paths"
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        if recipient.lower() not in envelope.rcpt_tos:  # return paths and mailboxes ignore case
            envelope.rcpt_tos.append(recipient.lower())
        return "250 2.1.5 Recipient noted"

    async def handle_DATA(self, server: Connection, session: Any, envelope: Any) -> str:
        return str(await server.door.run(_receive, server, envelope))


def _receive(server: Connection, envelope: Any) -> str:
    """Record what one report says and return the reply; runs in a thread with a database connection of its own."""
    try:
        content = tidy(envelope.content)
        mail_from = envelope.mail_from.strip("<>")
        for recipient in envelope.rcpt_tos:
            received = inbound.receive(recipient=recipient, mail_from=mail_from, content=content)
            _log.info("inbound", extra={"peer": server.host, "what": received.word, "delivery": received.delivery_id})
    except Exception as error:
        return reply(error)
    return "250 2.0.0 Thank you"
