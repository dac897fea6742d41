"""Inbound mail: reports that come back to our return paths, complaints, and letters to mailboxes."""

# ruff: noqa: N802 - aiosmtpd finds the methods by the names of the commands

from __future__ import annotations

import logging
from typing import Any

from gateway.services import arrivals, inbound, mailbox_mail, mailboxes
from gateway.services.mailbox_mail import Place
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
        envelope.places = {}
        return "250 2.1.0 Sender noted"

    async def handle_RCPT(
        self, server: Connection, session: Any, envelope: Any, recipient: str, options: list[str]
    ) -> str:
        recipient = recipient.lower()  # return paths and mailboxes ignore case
        places: dict[str, Place] = envelope.places
        place: Place | None = None
        if not inbound.takes(recipient):
            found = await server.door.run(_mailbox, recipient)
            if isinstance(found, str):
                return found
            place = found
        if envelope.rcpt_tos and (place is None) is bool(places):
            return "452 4.5.3 Reports and letters come in transactions of their own"
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        if recipient not in envelope.rcpt_tos:
            envelope.rcpt_tos.append(recipient)
            if place is not None:
                places[recipient] = place
                envelope.whole = True  # a letter is kept with all that is attached to it
        return "250 2.1.5 Recipient noted"

    async def handle_DATA(self, server: Connection, session: Any, envelope: Any) -> str:
        return str(await server.door.run(_receive, server, envelope))


def _mailbox(recipient: str) -> Place | str:
    """Where a letter to that recipient goes, or the reply that refuses it."""
    try:
        found = mailboxes.receiving(recipient)
    except Exception as error:
        return reply(error)
    if found is None:
        return "550 5.1.1 Only reports about mail sent from here are taken at their return paths"
    return Place(found.id, found.account_id, found.domain_id, found.address)


def _receive(server: Connection, envelope: Any) -> str:
    """Record what one mail says and return the reply; runs in a thread with a database connection of its own."""
    try:
        content = tidy(envelope.content)
        mail_from = envelope.mail_from.strip("<>")
        if envelope.places:
            word = arrivals.receive(places=list(envelope.places.values()), mail_from=mail_from, content=content)
            if word == mailbox_mail.REPORT:
                inbound.noted(mail_from=mail_from, content=content)
            _log.info("inbound", extra={"peer": server.host, "what": word, "mailboxes": len(envelope.places)})
            return "250 2.0.0 Thank you"
        for recipient in envelope.rcpt_tos:
            received = inbound.receive(recipient=recipient, mail_from=mail_from, content=content)
            _log.info("inbound", extra={"peer": server.host, "what": received.word, "delivery": received.delivery_id})
    except Exception as error:
        return reply(error)
    return "250 2.0.0 Thank you"
