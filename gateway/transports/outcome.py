"""What became of one attempt: a value, never an exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Result(StrEnum):
    DELIVERED = "delivered"  # the next hop answered 250 to the message
    HANDED_OVER = "handed_over"  # a provider took it, and will report what becomes of it
    DEFERRED = "deferred"  # refused for now, or not reached: try again
    BOUNCED = "bounced"  # refused for good
    IN_DOUBT = "in_doubt"  # the message was sent and no reply came


@dataclass(frozen=True, slots=True)
class Outcome:
    """`category` is one of recipient, mailbox_full, policy, reputation, content, network, protocol, ours or ''.

    `ours_to_move`: it says nothing against message or recipient, but that this server cannot take it now (its key,
    account, quota, sender identity, a fault or silence before the message was sent) or not at all (its interface
    has no words for this message): another server may be tried at once. Never with an outcome in doubt.
    """

    result: Result
    code: int | None = None  # SMTP reply code
    enhanced: str = ""  # RFC 3463, e.g. 5.1.1
    reply: str = ""  # the remote's text, or what went wrong
    category: str = ""
    remote: str = ""  # host[ip]:port
    tls: str = ""  # e.g. TLSv1.3, '' for clear text
    dialogue: str = ""  # what was said, at most 4 kB
    retry_after: int | None = None  # seconds that the remote asked for
    verdicts: tuple[dict[str, Any], ...] = ()  # what the transport decided, each with its `gate`: route, tls, source
    ours_to_move: bool = False

    @property
    def taken(self) -> bool:
        """Whether the next hop has the message now."""
        return self.result in (Result.DELIVERED, Result.HANDED_OVER)
