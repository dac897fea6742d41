"""What the fate of a message does to its recipient: nothing, a strike, or a place on the suppression list."""

from __future__ import annotations

from dataclasses import dataclass

from gateway import clock, config
from gateway.mail import classify
from gateway.services import allow_list, simulated, strikes, suppressions
from models import database as db

COMPLAINT_RULE = "complaint"
_PASSING = frozenset({"", classify.RECIPIENT, classify.NETWORK})
"""Causes of used-up time that may lie with the address; the others lie with the receiver's rules or with us."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that ended badly: `bounced` at once, or after its time was used up."""

    account_id: int
    domain_id: int
    address: str
    message_id: int
    bounced: bool
    category: str
    code: int | None
    enhanced: str
    reply: str
    mx: str


def refused(tx: db.Transaction, what: Refused) -> str:
    """Draw the conclusion from a refusal and name the rule that suppressed the recipient, '' for none."""
    rule, expires_ms = "", None
    if what.bounced and classify.suppresses(what.category, what.enhanced):
        rule = f"bounce:{what.enhanced or what.code or 'report'}"
    else:
        kind = "" if simulated.is_simulated(what.address) else _strike(what)
        settings = config.settings()
        if kind and settings.strikes:
            days = strikes.note(
                tx, account_id=what.account_id, address=what.address, kind=kind, days=settings.strike_days
            )
            if days >= settings.strikes:
                rule, expires_ms = f"strikes:{kind}", clock.now_ms() + settings.strike_hold_days * clock.DAY_MS
    if not rule or not _suppress(tx, what, suppressions.BOUNCE, rule, expires_ms):
        return ""
    strikes.forget(tx, account_id=what.account_id, addresses=[what.address])
    return rule


def complained(tx: db.Transaction, what: Refused) -> str:
    """The same for a complaint, whose words are in `reply`."""
    return COMPLAINT_RULE if _suppress(tx, what, suppressions.COMPLAINT, COMPLAINT_RULE, None) else ""


def _strike(what: Refused) -> str:
    if what.category == classify.MAILBOX_FULL:
        return strikes.MAILBOX_FULL
    return strikes.TIME_USED_UP if not what.bounced and what.category in _PASSING else ""


def _suppress(tx: db.Transaction, what: Refused, reason: str, rule: str, expires_ms: int | None) -> bool:
    address = suppressions.normalise(what.address)
    if simulated.is_simulated(address):  # it is there to be written to again
        return False
    if allow_list.allows(tx, account_id=what.account_id, domain_id=what.domain_id, address=address):
        return False
    suppressions.add(
        tx,
        account_id=what.account_id,
        domain_id=what.domain_id,
        address=address,
        reason=reason,
        detail=what.reply,
        message_id=what.message_id,
        expires_ms=expires_ms,
        rule=rule,
        mx=what.mx,
    )
    return True
