"""What came to a return path: a bounce, a delay, a complaint, an automatic answer, a letter or nothing known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.mail import arf, autoreply, bounce_prose, classify, dsn
from gateway.mail.arf import Complaint
from gateway.mail.dsn import RecipientStatus, Report


class Kind(StrEnum):
    BOUNCE = "bounce"  # delivery was given up for a recipient at least
    DELAY = "delay"  # the next hop still tries
    NOTICE = "notice"  # good news that nobody asked for: delivered, relayed, expanded
    COMPLAINT = "complaint"  # a feedback report, of any type
    AUTO_REPLY = "auto_reply"  # a machine answers for a person (RFC 3834)
    LETTER = "letter"  # has a sender, so a person may wait for an answer
    UNRECOGNISED = "unrecognised"  # from the null sender, and no report that can be read


@dataclass(frozen=True, slots=True)
class Recognised:
    kind: Kind
    report: Report | None = None
    complaint: Complaint | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a report says of one recipient: `word` is deferred, failed or bounced, '' for good news."""

    word: str
    category: str = ""
    enhanced: str = ""  # the RFC 3463 code; '' for one that says nothing, such as 5.0.0
    dead: bool = False  # the address itself will not work tomorrow either


def recognise(raw: bytes, *, mail_from: str) -> Recognised:
    """Tell one message, `mail_from` its envelope sender without brackets; never raises.

    Forms come before words, and reports before automatic answers, whose marks they carry too.
    """
    complaint = arf.parse(raw)
    if complaint is not None:
        return Recognised(Kind.COMPLAINT, complaint=complaint)
    report = dsn.parse(raw)
    if report is None and not autoreply.answers_for_a_person(raw):
        report = bounce_prose.parse(raw, null_sender=not mail_from)
    if report is not None:
        return Recognised(_kind(report), report)
    if autoreply.is_auto_reply(raw):
        return Recognised(Kind.AUTO_REPLY)
    return Recognised(Kind.LETTER if mail_from else Kind.UNRECOGNISED)


def _kind(report: Report) -> Kind:
    actions = {status.action for status in report.recipients}
    if dsn.FAILED in actions:
        return Kind.BOUNCE
    return Kind.DELAY if dsn.DELAYED in actions else Kind.NOTICE


def outcome(status: RecipientStatus) -> Outcome:
    """What became of one recipient.

    4.x.x on a failure: the next hop's retries were used up, which says nothing about the address.
    """
    vague = not status.status or status.status.endswith(".0.0")
    enhanced = "" if vague else status.status
    category = classify.category(status.code, enhanced, status.diagnostic)
    if status.action == dsn.DELAYED:
        return Outcome("deferred", category, enhanced)
    if status.action != dsn.FAILED:
        return Outcome("")
    if status.status.startswith("4") or (vague and status.code is not None and status.code < 500):
        return Outcome("failed", category, enhanced)
    return Outcome("bounced", category, enhanced, classify.suppresses(category, enhanced))
