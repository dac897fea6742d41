"""Reports that come back to our return paths: bounces, delays and complaints become events and suppressions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from gateway import clock, config, errors
from gateway.mail import arf, autoreply, classify, dsn, verp
from gateway.services import ledger, suppressions
from gateway.services.ledger import Fact
from models import database as db
from models.vocabulary import DeliveryState, EventKind

COMPLAINT_MAILBOXES = ("complaints", "fbl")
"""Local parts at our own host name where feedback loops may send; the report must quote one of our return paths."""

NO_COMPLAINTS = frozenset({"not-spam", "auth-failure"})
"""Feedback types (RFC 5965 §7.3, RFC 6591) that are not about an unwilling recipient."""

_REASON_LENGTH = 1000
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_ENDED_BADLY = (DeliveryState.BOUNCED, DeliveryState.FAILED, DeliveryState.SUPPRESSED, DeliveryState.CANCELED)


@dataclass(frozen=True, slots=True)
class Received:
    """What one report was: an event word, or `repeated`, `notice`, `auto_reply`, `unrecognised`, `unknown`."""

    word: str
    delivery_id: int | None = None


@dataclass(frozen=True, slots=True)
class _News:
    """What a report says about one delivery."""

    kind: EventKind
    data: dict[str, Any]
    reply: str = ""
    mx: str = ""
    suppress: str = ""  # the reason, '' for none


def takes(recipient: str) -> bool:
    """Whether mail to that envelope recipient is let in: a return path that we made, or a complaint mailbox."""
    return verp.decode(recipient) is not None or _is_complaint_mailbox(recipient)


def _is_complaint_mailbox(recipient: str) -> bool:
    local, _, host = recipient.strip("<>").lower().rpartition("@")
    return local in COMPLAINT_MAILBOXES and host == config.settings().hostname


def receive(*, recipient: str, mail_from: str, content: bytes) -> Received:
    """Record what a report to one envelope recipient says; durable when it returns, and harmless when repeated.

    A delivery's state stays what it is: a later report is a fact of its own. Raises `NotAllowed` for
    letters that people write to a return path, so that they learn of it, and for complaints that name no
    delivery of ours.
    """
    delivery_id = verp.decode(recipient)
    complaint = arf.parse(content)
    if complaint is not None:
        delivery_id = delivery_id if delivery_id is not None else complaint.delivery_id
        if delivery_id is None:
            raise errors.NotAllowed("The complaint quotes no return path of ours.")
        return _record(delivery_id, _complained(complaint))
    if delivery_id is None:
        raise errors.NotAllowed("This address takes complaints in the abuse reporting format only.")
    report = dsn.parse(content)
    if report is not None:
        return _record(delivery_id, report)
    if autoreply.is_auto_reply(content):
        return Received("auto_reply", delivery_id)
    if mail_from:
        raise errors.NotAllowed("This address takes delivery reports only; please write to the sender of the message.")
    return Received("unrecognised", delivery_id)


def _complained(complaint: arf.Complaint) -> _News | None:
    if complaint.feedback_type in NO_COMPLAINTS:
        return None
    data = {"feedback_type": complaint.feedback_type, "reporter": complaint.user_agent[:255]}
    return _News(EventKind.COMPLAINED, data, suppress=suppressions.COMPLAINT)


def _reported(report: dsn.Report, rcpt: str) -> _News | None:
    status = _about(report, rcpt)
    if status.action == dsn.DELAYED:
        kind = EventKind.DEFERRED
    elif status.action == dsn.FAILED:
        # 4.x.x on a failure: the next hop's retries were used up, which says nothing about the address.
        kind = EventKind.FAILED if status.status.startswith("4") else EventKind.BOUNCED
    else:
        return None
    category = classify.category(status.code, status.status, status.diagnostic)
    codes = {"code": status.code, "enhanced": status.status, "category": category}
    data: dict[str, Any] = {"transport": "report", "reason": status.diagnostic[:_REASON_LENGTH]}
    data |= {name: value for name, value in codes.items() if value}
    host = _HOST.match(status.remote_mta) or _HOST.match(report.reporting_mta)
    dead = kind is EventKind.BOUNCED and classify.suppresses(category, status.status)
    return _News(
        kind,
        data,
        reply=status.diagnostic,
        mx=host.group(0) if host else "",
        suppress=suppressions.BOUNCE if dead else "",
    )


def _about(report: dsn.Report, rcpt: str) -> dsn.RecipientStatus:
    """The report's word on our recipient; a next hop that forwards reports on an address we never wrote to."""
    ours = suppressions.normalise(rcpt)
    for status in report.recipients:
        if ours in (suppressions.normalise(status.recipient), suppressions.normalise(status.original_recipient)):
            return status
    return next((status for status in report.recipients if status.action == dsn.FAILED), report.recipients[0])


def _record(delivery_id: int, found: dsn.Report | _News | None) -> Received:
    return db.in_transaction(lambda tx: _write(tx, delivery_id, found))


def _write(tx: db.Transaction, delivery_id: int, found: dsn.Report | _News | None) -> Received:
    # The lock makes two reports that arrive together one after the other; SQLite has a single writer.
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    rows = tx.rows(
        f"SELECT message_id, account_id, domain_id, rcpt, state FROM delivery WHERE id = ?{lock}", (delivery_id,)
    )
    if not rows:
        return Received("unknown", delivery_id)
    message_id, account_id, domain_id, rcpt, state = rows[0]
    news = _reported(found, rcpt) if isinstance(found, dsn.Report) else found
    if news is None:
        return Received("notice", delivery_id)
    if _known(tx, message_id, delivery_id, news.kind, state):
        return Received("repeated", delivery_id)
    tags, metadata = tx.rows("SELECT tags, metadata FROM message WHERE id = ?", (message_id,))[0]
    if news.suppress:
        suppressions.add(
            tx,
            account_id=account_id,
            domain_id=domain_id,
            address=rcpt,
            reason=news.suppress,
            detail=news.reply or str(news.data.get("feedback_type", "")),
            message_id=message_id,
        )
    data = news.data | ({"metadata": orjson.loads(metadata)} if metadata else {})
    fact = Fact(
        account_id,
        domain_id,
        news.kind,
        clock.now_ms(),
        message_id,
        delivery_id,
        rcpt,
        mx=news.mx,
        reply=news.reply,
        data=data,
        tags=orjson.loads(tags),
    )
    ledger.record(tx, [fact])
    return Received(news.kind.word, delivery_id)


def _known(tx: db.Transaction, message_id: int, delivery_id: int, kind: EventKind, state: int) -> bool:
    """Whether this was said before, by an earlier report or by the delivery itself."""
    kinds = [int(kind)]
    if kind is not EventKind.COMPLAINED:
        if state in _ENDED_BADLY:
            return True
        kinds = [int(EventKind.BOUNCED), int(EventKind.FAILED)]
        if kind is EventKind.DEFERRED:
            kinds.append(int(EventKind.DEFERRED))
    marks = ",".join("?" * len(kinds))
    return bool(
        tx.rows(
            f"SELECT 1 FROM event WHERE message_id = ? AND delivery_id = ? AND kind IN ({marks}) LIMIT 1",
            (message_id, delivery_id, *kinds),
        )
    )
