"""What no server may be sent, found before one is dialled."""

from __future__ import annotations

import re

from gateway.dns import names
from gateway.transports.outcome import Outcome, Result

_UNQUOTED = r"[^\s\"<>@\\,;:()\[\]\x00-\x1f\x7f]+"
_QUOTED = r"\"(?:[^\"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*\""
_DOMAIN = r"(?:[^\s\"<>@\\,;:()\[\]\x00-\x1f\x7f]+|\[[0-9A-Za-z:.]+\])"
_MAILBOX = re.compile(rf"(?:{_UNQUOTED}|{_QUOTED})@{_DOMAIN}")

END = b".\r\n"
"""What follows the last CRLF of a message on the wire."""

_LONGEST = 500 - len("MAIL FROM:<> SIZE=1000000000 BODY=8BITMIME SMTPUTF8")
"""Octets of an address so that its command fits in 512 with CRLF (RFC 5321 §4.5.3.1.4)."""


def is_path(address: str) -> bool:
    """Whether `address` can stand between the angle brackets of MAIL or RCPT and end nothing early."""
    return len(address.encode()) <= _LONGEST and _MAILBOX.fullmatch(address) is not None


def has_bare_bytes(message: bytes) -> bool:
    """A CR or LF that is not half of a CRLF, or a NUL: what smuggling is made of."""
    pairs = message.count(b"\r\n")
    return message.count(b"\n") != pairs or message.count(b"\r") != pairs or b"\0" in message


def unsendable(mail_from: str, rcpt: str, message: bytes) -> Outcome | None:
    """Why this can be sent nowhere, else None."""
    if mail_from and not is_path(mail_from):
        return Outcome(Result.BOUNCED, None, "5.1.7", "the envelope sender is no address", "ours")
    if not is_path(rcpt):
        return Outcome(Result.BOUNCED, None, "5.1.3", "the recipient is no address", "recipient")
    if has_bare_bytes(message):
        return Outcome(Result.BOUNCED, None, "5.6.0", "the message has a bare CR, LF or NUL", "ours")
    return None


def on_the_wire(address: str) -> str:
    """With the domain in A-labels where that makes all of it ASCII: then no server needs SMTPUTF8 for it."""
    local, at, domain = address.rpartition("@")
    if address.isascii() or not local.isascii():
        return address
    try:
        return f"{local}{at}{names.a_labels(domain)}"
    except UnicodeError:
        return address


def stuffed(message: bytes) -> bytes:
    """The message as it goes on the wire: dots doubled at line starts, ended by CRLF.CRLF (RFC 5321 §4.5.2)."""
    if b"\r\n." in message:
        message = message.replace(b"\r\n.", b"\r\n..")
    if message.startswith(b"."):
        message = b"." + message
    if message and not message.endswith(b"\r\n"):
        message += b"\r\n"
    return message + END
