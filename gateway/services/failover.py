"""Whether a refusal was meant for us, so that another server may take the message at once."""

from __future__ import annotations

import re

from gateway.mail import classify
from gateway.transports.outcome import Outcome, Result

_OUR_RATE = re.compile(
    r"throttling failure|maximum sending rate|(daily|hourly|monthly) (message |sending )?(quota|limit)|"
    r"(sending|account|message|email) (quota|limit|rate)( has been| was| is)? (exceeded|reached)|"
    r"(exceeded|reached) (your|the) .{0,30}(sending|account|hourly|daily|monthly) .{0,20}(quota|limit|rate)",
    re.IGNORECASE,
)
"""Words of relays about the quota of their customer; `454 Throttling failure: Maximum sending rate exceeded.`"""


def moves(outcome: Outcome) -> bool:
    """Whether another server may be tried at once.

    True for what says that this server, or our account on it, cannot take the message; false for what is said of the
    recipient or the message, and for whatever may have arrived.
    """
    if outcome.result is Result.BOUNCED:
        return outcome.category == classify.OURS
    if outcome.result is not Result.DEFERRED or is_internal(outcome):
        return False
    code = outcome.code
    if code is None or code in (421, 429) or code >= 500:
        # Without a reply it was not reached; a 5xx that defers was said before the message or of the session.
        return True
    return outcome.category in (classify.OURS, classify.NETWORK, classify.PROTOCOL) or bool(
        _OUR_RATE.search(outcome.reply)
    )


def fails(outcome: Outcome) -> bool:
    """Whether it counts against the health of the server: what moves, and silence in the middle of a message."""
    return moves(outcome) or outcome.result is Result.IN_DOUBT


def is_internal(outcome: Outcome) -> bool:
    """A failure on this side of every server, such as a bug."""
    return outcome.category == classify.OURS and outcome.code is None and not (outcome.remote or outcome.enhanced)
