"""What comes back to our return paths: reports become events, letters go to mailboxes, the rest is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, config, errors
from gateway.mail import arf, dsn, parse, recognise, verp
from gateway.mail.recognise import Kind
from gateway.services import (
    arrivals,
    inbound_mail,
    ledger,
    mailboxes,
    suppression_rules,
    suppressions,
    unsubscribe_links,
    unsubscribes,
)
from gateway.services.ledger import Fact
from gateway.services.mailbox_mail import Place
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
    """What one mail was: an event word, or `repeated`, `notice`, `auto_reply`, `unrecognised`, `unknown`."""

    word: str
    delivery_id: int | None = None


@dataclass(frozen=True, slots=True)
class _News:
    """What a report says about one delivery."""

    kind: EventKind
    data: dict[str, Any]
    reply: str = ""
    mx: str = ""


def takes(recipient: str) -> bool:
    """Whether mail to that envelope recipient is let in.

    A return path or an address to unsubscribe that we made, or a complaint mailbox.
    """
    return (
        verp.decode(recipient) is not None
        or unsubscribe_links.read_address(recipient) is not None
        or _is_complaint_mailbox(recipient)
    )


def _is_complaint_mailbox(recipient: str) -> bool:
    local, _, host = recipient.strip("<>").lower().rpartition("@")
    return local in COMPLAINT_MAILBOXES and host == config.settings().hostname


def receive(*, recipient: str, mail_from: str, content: bytes) -> Received:
    """Record what one mail to one envelope recipient says; durable when it returns, and harmless when repeated.

    A delivery's state stays what it is: a later report is a fact of its own. What is no report is kept
    for people to look at. A letter to a return path goes to the mailbox that the message was sent from. Where there
    is none it is refused all the same, with `NotAllowed`: its writer learns of it from the own server
    (RFC 5321 §3.6.3), and nobody waits for an answer that never comes.
    What reporters and machines send is taken, understood or not: a refusal would only bounce to them, who
    end feedback loops that bounce.
    """
    leaves = unsubscribe_links.read_address(recipient)
    if leaves is not None:
        return _leave(leaves, recipient, mail_from, content)
    delivery_id = verp.decode(recipient)
    if delivery_id is None and not _is_complaint_mailbox(recipient):
        raise errors.NotAllowed("This address takes reports about mail sent from here only.")
    found = recognise.recognise(content, mail_from=mail_from)
    letter = False
    if found.complaint is not None:
        named = delivery_id or found.complaint.delivery_id
        about, by = (named, "return path") if named else (_complained_of(found.complaint), "message id")
        if about is not None:
            return _record(about, _complained(found.complaint, by))
        kind, why = inbound_mail.COMPLAINT, "The complaint names no delivery of ours."
    elif delivery_id is None:
        kind, why = inbound_mail.UNRECOGNISED, "It came to a complaint mailbox and is no feedback report (RFC 5965)."
    elif found.report is not None:
        return _record(delivery_id, found.report)
    elif found.kind is Kind.AUTO_REPLY:
        kind, why = inbound_mail.AUTO_REPLY, "A machine answered for a person (RFC 3834)."
    elif found.kind is Kind.LETTER and (place := _sent_from(delivery_id)) is not None:
        word = arrivals.receive(places=[place], mail_from=mail_from, content=content, delivery_id=delivery_id)
        return Received(word, delivery_id)
    elif found.kind is Kind.LETTER:
        kind, why, letter = (
            inbound_mail.LETTER,
            "It is no report and has a sender, who was told that it was refused.",
            True,
        )
    else:
        kind, why = inbound_mail.UNRECOGNISED, "It came from the null sender, and nothing in it says that mail bounced."
    inbound_mail.keep(
        kind=kind,
        why=why,
        recipient=recipient,
        mail_from=mail_from,
        content=content,
        delivery_id=delivery_id,
        refused=letter,
    )
    if letter:
        raise errors.NotAllowed("This address takes delivery reports only; please write to the sender of the message.")
    return Received("auto_reply" if kind == inbound_mail.AUTO_REPLY else "unrecognised", delivery_id)


def _sent_from(delivery_id: int) -> Place | None:
    """The mailbox that the message of a delivery was sent from; raises `MailboxFull`."""
    rows = db.rows(
        "SELECT d.account_id, m.from_addr FROM delivery d JOIN message m ON m.id = d.message_id WHERE d.id = ?",
        (delivery_id,),
    )
    for account_id, address in rows:
        try:
            found = mailboxes.receiving(address)
        except (errors.NoSuchMailbox, errors.MailboxAsleep):
            return None
        if found is not None and found.account_id == account_id:
            return Place(found.id, found.account_id, found.domain_id, found.address)
    return None


def _leave(delivery_id: int, recipient: str, mail_from: str, content: bytes) -> Received:
    """Whoever has the message may write here, and need not say anything; a report about mail is no wish of anybody."""
    report = recognise.recognise(content, mail_from=mail_from)
    if not mail_from or report.report is not None or report.complaint is not None:
        inbound_mail.keep(
            kind=inbound_mail.UNRECOGNISED,
            why="It came to an address that unsubscribes, and was written by no one.",
            recipient=recipient,
            mail_from=mail_from,
            content=content,
            delivery_id=delivery_id,
            refused=False,
        )
        return Received("unrecognised", delivery_id)
    news = unsubscribes.by_mail(delivery_id)
    if news is None:
        raise errors.NotAllowed("That message is too old to unsubscribe by mail; please use the link in it.")
    return Received(EventKind.UNSUBSCRIBED.word if news else "repeated", delivery_id)


def noted(*, mail_from: str, content: bytes) -> Received | None:
    """Record what a report says that came to a mailbox, to where some hosts send theirs; None for what proves nothing.

    It must quote one of our return paths, which nobody can forge.
    """
    report = recognise.recognise(content, mail_from=mail_from).report
    delivery_id = verp.find(content[: parse.SIZE_MAX].decode("latin-1")) if report is not None else None
    return _record(delivery_id, report) if delivery_id is not None else None


def _complained_of(complaint: arf.Complaint) -> int | None:
    """The delivery of a complaint without a return path, by our Message-ID, which nobody but its readers knows.

    Of a message to several the complaint must name the recipient as we wrote to it.
    """
    try:
        uuid = UUID(complaint.message_id.partition("@")[0])
    except ValueError:
        return None
    rows = db.rows("SELECT id FROM message WHERE uuid = ?", (uuid.bytes,))
    if not rows:
        return None
    sent = "SELECT id FROM delivery WHERE message_id = ?"
    ids = [number for (number,) in db.rows(f"{sent} ORDER BY id LIMIT 2", rows[0])]
    if len(ids) > 1:
        names = list({spelled for one in complaint.recipients for spelled in (one, one.lower())})
        marks = ",".join("?" * len(names))
        found = db.rows(f"{sent} AND rcpt IN ({marks}) ORDER BY id LIMIT 2", (*rows[0], *names)) if names else []
        ids = [number for (number,) in found]
    return ids[0] if len(ids) == 1 else None


def _complained(complaint: arf.Complaint, by: str) -> _News | None:
    if complaint.feedback_type in NO_COMPLAINTS:
        return None
    data = {"feedback_type": complaint.feedback_type, "reporter": complaint.user_agent[:255], "found_by": by}
    return _News(EventKind.COMPLAINED, data)


def _reported(report: dsn.Report, rcpt: str) -> _News | None:
    status = _about(report, rcpt)
    outcome = recognise.outcome(status)
    if not outcome.word:
        return None
    kind = EventKind[outcome.word.upper()]
    codes = {"code": status.code, "enhanced": outcome.enhanced, "category": outcome.category}
    data: dict[str, Any] = {"transport": "report", "reason": status.diagnostic[:_REASON_LENGTH]}
    data |= {name: value for name, value in codes.items() if value}
    host = _HOST.match(status.remote_mta) or _HOST.match(report.reporting_mta)
    return _News(kind, data, reply=status.diagnostic, mx=host.group(0) if host else "")


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
    tags, metadata, origin = tx.rows("SELECT tags, metadata, origin FROM message WHERE id = ?", (message_id,))[0]
    if news.kind is not EventKind.DEFERRED:
        draw = suppression_rules.complained if news.kind is EventKind.COMPLAINED else suppression_rules.refused
        draw(
            tx,
            suppression_rules.Refused(
                account_id=account_id,
                domain_id=domain_id,
                address=rcpt,
                message_id=message_id,
                bounced=news.kind is EventKind.BOUNCED,
                category=news.data.get("category", ""),
                code=news.data.get("code"),
                enhanced=news.data.get("enhanced", ""),
                reply=news.reply or str(news.data.get("feedback_type", "")),
                mx=news.mx,
            ),
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
        origin=origin,
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
