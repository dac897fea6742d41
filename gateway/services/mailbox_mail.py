"""The mail in mailboxes: kept within bounds, listed, shown with its attachments, told to webhooks, deleted."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway import clock, config, errors, ids
from gateway.mail import letters, quotes
from gateway.mail.letters import Enclosure, Letter
from gateway.services import notices
from gateway.services.contents import PACK_FROM
from gateway.services.event_rows import EventRow
from gateway.services.notices import Notice
from models import database as db
from models.message import PART_SIZE
from models.vocabulary import Codec, NoticeKind

MESSAGE, REPLY, AUTO_REPLY, REPORT = "message", "reply", "auto_reply", "report"
KINDS = {
    MESSAGE: "it answers nothing that we sent",
    REPLY: "a person answers a message that we sent",
    AUTO_REPLY: "a machine answers for a person (RFC 3834)",
    REPORT: "a delivery report",
}
PREFIX = "inb"
"""Of the public ids of these mails."""

TOLD_TEXT = 65_536
"""Characters of each text that a webhook is told."""
_BATCH = 100
_PREVIEW = 200
_COLUMNS = (
    "i.id, i.uuid, i.mailbox_id, i.kind, i.rcpt, i.mail_from, i.header_from, i.from_name, i.subject, i.preview,"
    " i.attachments, i.size, i.codec, i.found_by, i.created_ms, m.uuid, d.rcpt"
)
_JOINS = (
    " FROM mailbox_message i LEFT JOIN message m ON m.id = i.message_id AND m.account_id = i.account_id"
    " LEFT JOIN delivery d ON d.id = i.delivery_id AND d.account_id = i.account_id"
)


@dataclass(frozen=True, slots=True)
class Answered:
    """What of ours a mail answers, and how that was found; `delivery_id` None: nobody knows which recipient's."""

    message_id: int
    delivery_id: int | None
    found_by: str


@dataclass(frozen=True, slots=True)
class Place:
    """A mailbox that a mail goes to."""

    mailbox_id: int
    account_id: int
    domain_id: int
    address: str


@dataclass(frozen=True, slots=True)
class Received:
    """One mail as it is listed; `answers` is the public id of the message that it answers, '' without one."""

    id: int
    uuid: UUID
    mailbox_id: int
    kind: str
    rcpt: str
    mail_from: str
    header_from: str
    from_name: str
    subject: str
    preview: str
    attachments: int
    size: int
    codec: int
    found_by: str
    created_ms: int
    answers: str
    answers_rcpt: str

    @property
    def public_id(self) -> str:
        return ids.public_id(PREFIX, self.uuid)


@dataclass(frozen=True, slots=True)
class Full:
    """One mail with what it says."""

    received: Received
    letter: Letter
    reply: quotes.Reply


def cleaned(letter: Letter) -> quotes.Reply:
    """The new words of a letter, without what it quotes and the signature under it."""
    marked = letter.unquoted_html
    own = quotes.split(letter.text)
    if marked and not own.quoted:  # the HTML knows what the text does not show
        from_html = quotes.split(marked)
        if from_html.text and len(from_html.text) < len(own.text):
            return from_html
    return own


def store(
    tx: db.Transaction,
    place: Place,
    *,
    kind: str,
    mail_from: str,
    content: bytes,
    letter: Letter,
    reply: quotes.Reply,
    answered: Answered | None,
) -> tuple[int, UUID]:
    """Keep one mail and tell the webhooks that ask for it; its number and UUID.

    Raises `NoSuchMailbox` (deleted meanwhile), `MailboxFull`, `MailboxTooSmall`.
    """
    settings = config.settings()
    if len(content) > settings.mailbox_bytes:
        raise errors.MailboxTooSmall
    moved = tx.execute(
        "UPDATE mailbox SET messages = messages + 1, bytes = bytes + ? WHERE id = ? AND messages < ? AND bytes <= ?"
        " AND deleted_ms IS NULL",
        (len(content), place.mailbox_id, settings.mailbox_messages, settings.mailbox_bytes - len(content)),
    )
    if not moved.rowcount:
        known = tx.rows("SELECT 1 FROM mailbox WHERE id = ? AND deleted_ms IS NULL", (place.mailbox_id,))
        raise errors.MailboxFull if known else errors.NoSuchMailbox
    codec = Codec.ZLIB if len(content) >= PACK_FROM else Codec.RAW
    packed = zlib.compress(content, 1) if codec is Codec.ZLIB else content
    uuid = ids.new_uuid()
    preview = " ".join(reply.text.split())
    made = tx.execute(
        "INSERT INTO mailbox_message (uuid, account_id, domain_id, mailbox_id, kind, rcpt, mail_from, header_from,"
        " from_name, subject, preview, attachments, size, codec, message_id, delivery_id, found_by, created_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            uuid.bytes,
            place.account_id,
            place.domain_id,
            place.mailbox_id,
            kind,
            place.address,
            _storable(mail_from)[:320],
            letter.sender.email.lower()[:320],
            letter.sender.name[:255],
            letter.subject,
            preview[:_PREVIEW],
            len(letter.enclosures),
            len(content),
            int(codec),
            answered.message_id if answered else None,
            answered.delivery_id if answered else None,
            answered.found_by if answered else "",
            clock.now_ms(),
        ),
    )
    number = int(made.lastrowid)
    for seq, start in enumerate(range(0, len(packed), PART_SIZE)):
        tx.execute(
            "INSERT INTO mailbox_message_part (mailbox_message_id, seq, body) VALUES (?, ?, ?)",
            (number, seq, packed[start : start + PART_SIZE]),
        )
    return number, uuid


def announce(tx: db.Transaction, place: Place, uuid: UUID, *, kind: str) -> None:
    """`message.received` for the webhooks that ask for it; what it says is read when they are told."""
    notices.record(
        tx,
        NoticeKind.MESSAGE_RECEIVED,
        account_id=place.account_id,
        domain_id=place.domain_id,
        data={"id": ids.public_id(PREFIX, uuid), "mailbox": place.address, "kind": kind},
    )


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def list_(
    *, account_id: int, mailbox_id: int, kind: str = "", before: int | None = None, count: int = 50
) -> list[Received]:
    """The newest first, those below the number `before`; of one kind where that is asked for."""
    where, params = "i.account_id = ? AND i.mailbox_id = ?", [account_id, mailbox_id]
    values: list[Any] = [*params]
    if kind:
        where, values = f"{where} AND i.kind = ?", [*values, kind]
    if before is not None:
        where, values = f"{where} AND i.id < ?", [*values, before]
    rows = db.rows(f"SELECT {_COLUMNS}{_JOINS} WHERE {where} ORDER BY i.id DESC LIMIT ?", (*values, count))
    return [_received(row) for row in rows]


def show(*, account_id: int, mailbox_id: int, public_id: str) -> Full:
    """One mail, read; raises `InboundMailNotFound`."""
    received = find(account_id=account_id, mailbox_id=mailbox_id, public_id=public_id)
    return _full(received)


def find(*, account_id: int, mailbox_id: int, public_id: str) -> Received:
    uuid = ids.uuid_of(PREFIX, public_id)
    rows = (
        db.rows(
            f"SELECT {_COLUMNS}{_JOINS} WHERE i.uuid = ? AND i.account_id = ? AND i.mailbox_id = ?",
            (uuid.bytes, account_id, mailbox_id),
        )
        if uuid is not None
        else []
    )
    if not rows:
        raise errors.InboundMailNotFound
    return _received(rows[0])


def raw(received: Received) -> bytes:
    """The mail as it came, CRLF lines."""
    parts = db.rows("SELECT body FROM mailbox_message_part WHERE mailbox_message_id = ? ORDER BY seq", (received.id,))
    packed = b"".join(bytes(body) for (body,) in parts)
    return zlib.decompress(packed) if received.codec == Codec.ZLIB else packed


def enclosure(*, account_id: int, mailbox_id: int, public_id: str, index: int) -> Enclosure:
    """One attachment; raises `InboundMailNotFound`."""
    full = show(account_id=account_id, mailbox_id=mailbox_id, public_id=public_id)
    found = next((one for one in full.letter.enclosures if one.index == index), None)
    if found is None:
        raise errors.InboundMailNotFound("There is no such attachment.")
    return found


def delete(*, account_id: int, mailbox_id: int, public_id: str) -> None:
    """Delete one mail; raises `InboundMailNotFound`."""
    received = find(account_id=account_id, mailbox_id=mailbox_id, public_id=public_id)

    def work(tx: db.Transaction) -> None:
        if not _delete(tx, [received.id]):
            raise errors.InboundMailNotFound

    db.in_transaction(work)


def told(public_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What a webhook is told of each of these mails, by its public id; one that is gone is left out."""
    wanted = {uuid.bytes: text for text in public_ids if (uuid := ids.uuid_of(PREFIX, text)) is not None}
    if not wanted:
        return {}
    rows = db.rows(f"SELECT {_COLUMNS}{_JOINS} WHERE i.uuid IN ({','.join('?' * len(wanted))})", list(wanted))
    found = [_received(row) for row in rows]
    return {wanted[one.uuid.bytes]: _told(_full(one)) for one in found}


def attach(events: Iterable[EventRow], said: Iterable[Notice]) -> None:
    """Give `replied` events and `message.received` notices what the mail says, as `message`."""
    wanted = [(row.data, str(row.data["received"])) for row in events if row.data.get("received")]
    wanted += [(one.data, str(one.data["id"])) for one in said if one.kind == NoticeKind.MESSAGE_RECEIVED]
    found = told([public_id for _, public_id in wanted])
    for data, public_id in wanted:
        if public_id in found:
            data["message"] = found[public_id]


def _told(full: Full) -> dict[str, Any]:
    received, letter = full.received, full.letter
    return {
        "id": received.public_id,
        "mailbox": received.rcpt,
        "kind": received.kind,
        "from": {"email": letter.sender.email, "name": letter.sender.name},
        "to": [{"email": box.email, "name": box.name} for box in letter.to],
        "cc": [{"email": box.email, "name": box.name} for box in letter.cc],
        "subject": letter.subject,
        "reply_text": full.reply.text[:TOLD_TEXT],
        "text": letter.text[:TOLD_TEXT],
        "html": letter.html[:TOLD_TEXT],
        "in_reply_to": received.answers,
        "found_by": received.found_by,
        "attachments": [
            {"index": one.index, "filename": one.filename, "content_type": one.content_type, "size": len(one.content)}
            for one in letter.enclosures
        ],
        "received_ms": received.created_ms,
    }


def empty(mailbox_id: int) -> int:
    """Delete all mail of a mailbox that is deleted already, in batches, then the mailbox; how many mails."""
    gone = 0
    while True:
        rows = db.rows("SELECT id FROM mailbox_message WHERE mailbox_id = ? ORDER BY id LIMIT ?", (mailbox_id, _BATCH))
        if not rows:
            break
        gone += db.in_transaction(lambda tx, rows=rows: _delete(tx, [id_ for (id_,) in rows]))  # type: ignore[misc]
    last = "DELETE FROM mailbox WHERE id = ? AND deleted_ms IS NOT NULL"
    db.in_transaction(lambda tx: tx.execute(last, (mailbox_id,)))
    return gone


def collect() -> tuple[int, bool]:
    """Delete what is left of a deleted mailbox; how many mails went, and whether there may be more."""
    rows = db.rows("SELECT id FROM mailbox WHERE deleted_ms IS NOT NULL LIMIT 1")
    return (empty(rows[0][0]), True) if rows else (0, False)


def forget_person(tx: db.Transaction, *, account_id: int, address: str) -> None:
    """Delete what a person wrote to the account's mailboxes; part of an erasure."""
    while True:
        rows = tx.rows(
            "SELECT id FROM mailbox_message WHERE account_id = ? AND (header_from = ? OR LOWER(mail_from) = ?) LIMIT ?",
            (account_id, address, address, _BATCH),
        )
        if not rows:
            return
        _delete(tx, [id_ for (id_,) in rows])


def _delete(tx: db.Transaction, numbers: Sequence[int]) -> int:
    marks = ",".join("?" * len(numbers))
    freed = tx.rows(
        f"SELECT mailbox_id, COUNT(*), SUM(size) FROM mailbox_message WHERE id IN ({marks}) GROUP BY mailbox_id",
        numbers,
    )
    tx.execute(f"DELETE FROM mailbox_message_part WHERE mailbox_message_id IN ({marks})", numbers)
    gone = int(tx.execute(f"DELETE FROM mailbox_message WHERE id IN ({marks})", numbers).rowcount)
    for mailbox_id, count, size in sorted(freed):
        tx.execute(
            "UPDATE mailbox SET messages = messages - ?, bytes = bytes - ? WHERE id = ?",
            (int(count), int(size), mailbox_id),
        )
    return gone


def _full(received: Received) -> Full:
    letter = letters.read(raw(received))
    return Full(received, letter, cleaned(letter))


def _received(row: tuple[Any, ...]) -> Received:
    values = list(row)
    values[1] = UUID(bytes=bytes(row[1]))
    values[15] = ids.public_id("msg", UUID(bytes=bytes(row[15]))) if row[15] else ""
    values[16] = row[16] or ""
    return Received(*values)
