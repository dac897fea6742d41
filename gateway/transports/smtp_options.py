"""How to speak SMTP: names, limits and times of one transport."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Tls = Literal["opportunistic", "required", "implicit", "off"]


@dataclass(frozen=True)
class Timeouts:
    """Seconds; each is for one whole reply, `block` for one write of message data."""

    connect: float = 30
    greeting: float = 60  # banner, EHLO, STARTTLS, AUTH
    command: float = 60  # MAIL, RCPT, RSET
    data: float = 60
    block: float = 180
    end: float = 300  # the reply to the message
    quit: float = 2
    slowest: int = 16_384  # bytes a second that a reader of a long message has to keep up


@dataclass(frozen=True)
class Options:
    """How to speak; one for all connections of a transport."""

    hostname: str  # what EHLO says
    tls: Tls = "opportunistic"
    user: str = ""
    password: str = field(default="", repr=False)
    timeouts: Timeouts = Timeouts()
    max_messages: int = 100  # on one connection
    max_idle: float = 10  # seconds before an idle connection is replaced
