"""Inbound mail that is no event: kept within bounds, listed, shown and deleted.

The bounds hold for each account and kind, so that a thousand absence notes do not push out the one letter; what came
without naming an account is the operator's, who passes no `caller`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway import clock, config, errors
from gateway.mail import parse as mime
from gateway.services import message_rows
from gateway.services.contents import PACK_FROM
from gateway.services.identity import Caller
from models import database as db
from models.message import PART_SIZE
from models.vocabulary import Codec

NOBODY = 0
"""The `account_id` of mail that names no delivery."""

AUTO_REPLY, LETTER, COMPLAINT, UNRECOGNISED = "auto_reply", "letter", "complaint", "unrecognised"
KINDS = (AUTO_REPLY, LETTER, COMPLAINT, UNRECOGNISED)
MOST_LISTED = 100

_ADDRESS_LENGTH = 320
_SUBJECT_LENGTH = 998
_WHY_LENGTH = 255
_BATCH = 100

_COLUMNS = (
    "SELECT i.id, i.account_id, i.delivery_id, m.uuid, i.kind, i.rcpt, i.mail_from, i.header_from, i.subject, i.size,"
    " i.why, i.refused, i.created_ms, i.codec, d.rcpt FROM inbound_mail i LEFT JOIN message m ON m.id = i.message_id"
    " LEFT JOIN delivery d ON d.id = i.delivery_id"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """One kept mail. `about` is the recipient of the delivery that it answers, '' where it names none."""

    id: int
    account_id: int
    delivery_id: int | None
    message_id: str  # the UUID of the message that it answers, '' where it names none
    kind: str
    rcpt: str
    mail_from: str
    header_from: str
    subject: str
    size: int
    why: str
    refused: bool
    created_ms: int
    about: str


def keep(
    *, kind: str, why: str, recipient: str, mail_from: str, content: bytes, delivery_id: int | None, refused: bool
) -> int:
    """Keep one mail and return its number; the oldest of its account and kind go where the bounds are passed."""
    top = mime.read(content)
    header_from = mime.decoded_words(mime.first(top.fields, "from"))
    subject = mime.decoded_words(mime.first(top.fields, "subject"))
    codec = Codec.ZLIB if len(content) >= PACK_FROM else Codec.RAW
    packed = zlib.compress(content, 1) if codec is Codec.ZLIB else content
    texts = [
        _plain(text)[:length]
        for text, length in (
            (recipient, _ADDRESS_LENGTH),
            (mail_from, _ADDRESS_LENGTH),
            (header_from, _ADDRESS_LENGTH),
            (subject, _SUBJECT_LENGTH),
        )
    ]

    def work(tx: db.Transaction) -> int:
        rows = tx.rows("SELECT account_id, domain_id, message_id FROM delivery WHERE id = ?", (delivery_id or 0,))
        account_id, domain_id, message_id = rows[0] if rows else (NOBODY, NOBODY, None)
        cursor = tx.execute(
            "INSERT INTO inbound_mail (account_id, domain_id, message_id, delivery_id, kind, rcpt, mail_from,"
            " header_from, subject, size, why, refused, codec, created_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                account_id, domain_id, message_id, delivery_id if rows else None, kind, *texts, len(content),
                why[:_WHY_LENGTH], refused, int(codec), clock.now_ms(),
            ),
        )  # fmt: skip
        number = int(cursor.lastrowid)
        for seq, start in enumerate(range(0, len(packed), PART_SIZE)):
            tx.execute(
                "INSERT INTO inbound_mail_part (inbound_mail_id, seq, body) VALUES (?, ?, ?)",
                (number, seq, packed[start : start + PART_SIZE]),
            )
        _trim(tx, account_id, kind, number)
        return number

    number: int = db.in_transaction(work)
    return number


def _plain(text: str) -> str:
    """Text that every database takes: a client may send octets that are no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _trim(tx: db.Transaction, account_id: int, kind: str, newest: int) -> None:
    """Let the oldest go until the bounds hold; the newest stays whatever its size."""
    settings = config.settings()
    of_kind = "FROM inbound_mail WHERE account_id = ? AND kind = ?"
    count, size = tx.rows(f"SELECT COUNT(*), COALESCE(SUM(size), 0) {of_kind}", (account_id, kind))[0]
    while count > settings.inbound_keep or size > settings.inbound_keep_bytes:
        gone = []
        for number, octets in tx.rows(f"SELECT id, size {of_kind} ORDER BY id LIMIT {_BATCH}", (account_id, kind)):
            if number == newest or (count <= settings.inbound_keep and size <= settings.inbound_keep_bytes):
                break
            gone.append(number)
            count, size = count - 1, size - octets
        if not gone:
            return
        _delete(tx, gone)


def _delete(tx: db.Transaction, numbers: Sequence[int]) -> None:
    marks = ",".join("?" * len(numbers))
    tx.execute(f"DELETE FROM inbound_mail_part WHERE inbound_mail_id IN ({marks})", numbers)
    tx.execute(f"DELETE FROM inbound_mail WHERE id IN ({marks})", numbers)


def collect() -> tuple[int, bool]:
    """Delete a batch of what is older than the bound; how many rows went, and whether there may be more."""
    before_ms = clock.now_ms() - config.settings().inbound_keep_days * clock.DAY_MS
    numbers = [n for (n,) in db.rows(f"SELECT id FROM inbound_mail WHERE created_ms < ? LIMIT {_BATCH}", (before_ms,))]
    if numbers:
        db.in_transaction(lambda tx: _delete(tx, numbers))
    return len(numbers), len(numbers) == _BATCH


def list_(
    *, caller: Caller | None, kind: str = "", message_id: str = "", start: int = 0, count: int = MOST_LISTED
) -> tuple[list[Kept], int]:
    """The newest first, and how many there are; of one kind or about one message where that is asked for.

    `caller` None is the operator, who sees everybody's and looks up no message. Raises `NotFound` for
    a message that is not the caller's.
    """
    where, values = _scope(caller, message_id)
    if kind:
        where, values = f"{where} AND i.kind = ?", [*values, kind]
    total = int(db.rows(f"SELECT COUNT(*) FROM inbound_mail i WHERE {where}", values)[0][0])
    rows = db.rows(f"{_COLUMNS} WHERE {where} ORDER BY i.id DESC LIMIT ? OFFSET ?", (*values, count, start))
    return [_kept(row) for row in rows], total


def show(*, caller: Caller | None, number: int, message_id: str = "") -> tuple[Kept, bytes]:
    """One kept mail and its content as it came, CRLF lines; raises `InboundMailNotFound`, and as `list_` does."""
    where, values = _scope(caller, message_id)
    rows = db.rows(f"{_COLUMNS} WHERE {where} AND i.id = ?", (*values, number))
    if not rows:
        raise errors.InboundMailNotFound
    parts = db.rows("SELECT body FROM inbound_mail_part WHERE inbound_mail_id = ? ORDER BY seq", (number,))
    packed = b"".join(bytes(body) for (body,) in parts)
    return _kept(rows[0]), zlib.decompress(packed) if rows[0][13] == Codec.ZLIB else packed


def delete(*, caller: Caller | None, number: int) -> None:
    """Delete one kept mail; raises `InboundMailNotFound`."""
    where, values = _scope(caller)

    def work(tx: db.Transaction) -> None:
        if not tx.rows(f"SELECT 1 FROM inbound_mail i WHERE {where} AND i.id = ?", (*values, number)):
            raise errors.InboundMailNotFound
        _delete(tx, [number])

    db.in_transaction(work)


def _scope(caller: Caller | None, message_id: str = "") -> tuple[str, list[int | str]]:
    if caller is None:
        return "1 = 1", []
    where, values = "i.account_id = ?", [caller.account_id]
    if caller.domain_id is not None:
        where, values = f"{where} AND i.domain_id = ?", [*values, caller.domain_id]
    if message_id:
        message = message_rows.find(caller=caller, message_id=message_id)
        where, values = f"{where} AND i.message_id = ?", [*values, message.id]
    return where, [*values]


def _kept(row: tuple[object, ...]) -> Kept:
    number, owner, delivery, uuid, kind, rcpt, sender, written_by, subject, size, why, refused, at, _, about = row
    return Kept(
        id=number,  # type: ignore[arg-type]
        account_id=owner,  # type: ignore[arg-type]
        delivery_id=delivery,  # type: ignore[arg-type]
        message_id=str(UUID(bytes=bytes(uuid))) if uuid else "",  # type: ignore[call-overload]
        kind=str(kind),
        rcpt=str(rcpt),
        mail_from=str(sender),
        header_from=str(written_by),
        subject=str(subject),
        size=size,  # type: ignore[arg-type]
        why=str(why),
        refused=bool(refused),
        created_ms=at,  # type: ignore[arg-type]
        about=str(about or ""),
    )
