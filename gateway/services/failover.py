"""Which refusals were meant for us, so that another server may take the message at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from gateway.mail import classify
from gateway.transports import base
from gateway.transports.outcome import Outcome, Result

_OUR_RATE = re.compile(
    r"throttling failure|maximum sending rate|(daily|hourly|monthly) (message |sending )?(quota|limit)|"
    r"(sending|account|message|email) (quota|limit|rate)( has been| was| is)? (exceeded|reached)|"
    r"(exceeded|reached) (your|the) .{0,30}(sending|account|hourly|daily|monthly) .{0,20}(quota|limit|rate)",
    re.IGNORECASE,
)
"""Words of relays about the quota of their customer; `454 Throttling failure: Maximum sending rate exceeded.`"""

_MEDIA = "5.6."
"""RFC 3463 §3.7: the form of the message, which no server has to take."""


def moves(outcome: Outcome) -> bool:
    """Whether another server may be tried at once after what a relay answered.

    True for what says that this server, or our account on it, cannot take the message; false for what is said of the
    recipient or the message, and for whatever may have arrived.
    """
    if outcome.result is Result.BOUNCED:
        return outcome.category == classify.OURS
    if outcome.result is not Result.DEFERRED:
        return False
    code = outcome.code
    if code is None or code == 421 or code >= 500:
        # Without a reply it was not reached; a 5xx that defers was said before the message or of the session.
        return True
    return outcome.category in (classify.OURS, classify.NETWORK, classify.PROTOCOL) or bool(
        _OUR_RATE.search(outcome.reply)
    )


def fails(outcome: Outcome) -> bool:
    """Whether it counts against the health of the server: what moves, and silence in the middle of a message.

    That it has no words for a message does not: the next one may be of another kind.
    """
    if outcome.result is Result.IN_DOUBT:
        return True
    if outcome.result is Result.BOUNCED and (outcome.category != classify.OURS or outcome.enhanced.startswith(_MEDIA)):
        return False
    return outcome.ours_to_move


class RelayConnection:
    """A connection to a relay whose outcomes say whether another server may be tried."""

    def __init__(self, inner: base.Connection) -> None:
        self._inner = inner

    def send(
        self, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None], tls_required: bool = False
    ) -> Outcome:
        outcome = self._inner.send(
            mail_from=mail_from, rcpt=rcpt, message=message, on_data=on_data, tls_required=tls_required
        )
        return replace(outcome, ours_to_move=True) if moves(outcome) else outcome

    def close(self) -> None:
        self._inner.close()
