"""Mail that comes to mailboxes: recognised, matched with what we sent, stored and told in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, ids
from gateway.mail import letters, recognise
from gateway.mail.letters import Letter
from gateway.mail.recognise import Kind
from gateway.services import ledger, mailbox_mail
from gateway.services.ledger import Fact
from gateway.services.mailbox_mail import AUTO_REPLY, MESSAGE, REPLY, REPORT, Answered, Place
from models import database as db
from models.vocabulary import EventKind, TallyFacet

IN_REPLY_TO, REFERENCES, RETURN_PATH = "in_reply_to", "references", "return_path"
_IDS_MOST = 20
_KINDS = {
    Kind.BOUNCE: REPORT,
    Kind.DELAY: REPORT,
    Kind.NOTICE: REPORT,
    Kind.COMPLAINT: REPORT,
    Kind.AUTO_REPLY: AUTO_REPLY,
}


def receive(*, places: Sequence[Place], mail_from: str, content: bytes, delivery_id: int | None = None) -> str:
    """Store one mail in every mailbox that it is for, or in none; durable when it returns. Its kind comes back.

    `delivery_id` is that of a return path that a person wrote to. A person's answer to a message of ours is a
    `replied` event of its delivery. Raises `NoSuchMailbox`, `MailboxFull`, `MailboxTooSmall`.
    """
    letter = letters.read(content)
    kind = _KINDS.get(recognise.recognise(content, mail_from=mail_from).kind, MESSAGE)
    reply = mailbox_mail.cleaned(letter)
    matched = {
        account_id: _matched(account_id, letter, delivery_id) for account_id in {place.account_id for place in places}
    }

    def work(tx: db.Transaction) -> str:
        facts: list[Fact] = []
        word = kind
        for place in places:
            answered = matched[place.account_id]
            word = REPLY if kind == MESSAGE and answered is not None else kind
            _, uuid = mailbox_mail.store(
                tx,
                place,
                kind=word,
                mail_from=mail_from,
                content=content,
                letter=letter,
                reply=reply,
                answered=answered,
            )
            mailbox_mail.announce(tx, place, uuid, kind=word)
            if word == REPLY and answered is not None:
                facts += _replied(tx, place, answered, uuid, letter)
        ledger.record(tx, facts)
        return word

    return str(db.in_transaction(work))


def _matched(account_id: int, letter: Letter, delivery_id: int | None) -> Answered | None:
    """The message that a letter answers: by In-Reply-To, by the last of References, by the return path it came to.

    Our Message-IDs have a part that nobody but their readers knows, so that a stranger cannot answer in their place.
    """
    for found_by, named in ((IN_REPLY_TO, letter.in_reply_to), (REFERENCES, letter.references)):
        for text in list(reversed(named))[:_IDS_MOST]:
            answered = _by_message_id(account_id, text, letter.sender.email.lower(), found_by)
            if answered is not None:
                return answered
    if delivery_id is not None:
        rows = db.rows("SELECT message_id FROM delivery WHERE id = ? AND account_id = ?", (delivery_id, account_id))
        if rows:
            return Answered(rows[0][0], delivery_id, RETURN_PATH)
    return None


def _by_message_id(account_id: int, text: str, writer: str, found_by: str) -> Answered | None:
    """`uuid@domain`, or `uuid.delivery@domain` where each recipient of a message had an id of their own."""
    uuid_text, _, number = text.partition("@")[0].partition(".")
    try:
        uuid = UUID(uuid_text)
    except ValueError:
        return None
    rows = db.rows("SELECT id FROM message WHERE uuid = ? AND account_id = ?", (uuid.bytes, account_id))
    if not rows:
        return None
    message_id = rows[0][0]
    if number.isascii() and number.isdigit() and len(number) < 19:
        own = db.rows("SELECT id FROM delivery WHERE id = ? AND message_id = ?", (int(number), message_id))
        if own:
            return Answered(message_id, own[0][0], found_by)
    deliveries = db.rows("SELECT id, rcpt FROM delivery WHERE message_id = ? ORDER BY id LIMIT 1001", (message_id,))
    theirs = [id_ for id_, rcpt in deliveries if rcpt.lower() == writer]
    if not theirs and len(deliveries) == 1:  # answered from another address: forwarded, or an alias
        theirs = [deliveries[0][0]]
    return Answered(message_id, theirs[0] if theirs else None, found_by)


def _replied(tx: db.Transaction, place: Place, answered: Answered, uuid: UUID, letter: Letter) -> list[Fact]:
    """The event of the answered delivery; of several recipients of which none wrote, that of the message."""
    rows = tx.rows(
        "SELECT m.domain_id, m.tags, m.metadata, m.origin FROM message m WHERE m.id = ? AND m.account_id = ?",
        (answered.message_id, place.account_id),
    )
    if not rows:
        return []
    domain_id, tags, metadata, origin = rows[0]
    rcpt, first = "", False
    if answered.delivery_id is not None:
        known = tx.rows("SELECT rcpt FROM delivery WHERE id = ?", (answered.delivery_id,))
        rcpt = known[0][0] if known else ""
        first = not tx.rows(
            "SELECT 1 FROM event WHERE message_id = ? AND delivery_id = ? AND kind = ? LIMIT 1",
            (answered.message_id, answered.delivery_id, int(EventKind.REPLIED)),
        )
    data: dict[str, Any] = {
        "mailbox": place.address,
        "received": ids.public_id(mailbox_mail.PREFIX, uuid),
        "from": letter.sender.email,
        "found_by": answered.found_by,
    }
    if not first:
        data["repeat"] = True
    if metadata:
        data["metadata"] = orjson.loads(metadata)
    return [
        Fact(
            place.account_id, domain_id, EventKind.REPLIED, clock.now_ms(), answered.message_id, answered.delivery_id,
            rcpt, data=data, tags=orjson.loads(tags or "[]"), origin=origin,
            firsts=(TallyFacet.FIRST,) if first else (),
        )
    ]  # fmt: skip
