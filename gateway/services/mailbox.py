"""Reading back what the capture transport took."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from gateway import errors
from gateway.services import contents
from models import database as db

_COLUMNS = (
    "SELECT c.id, c.account_id, a.email, m.uuid, c.mail_from, c.rcpt, c.subject, c.created_ms, t.size"
    " FROM captured_mail c JOIN account a ON a.id = c.account_id JOIN message m ON m.id = c.message_id"
    " JOIN content t ON t.id = c.content_id"
)


@dataclass(frozen=True, slots=True)
class Captured:
    """One captured message to one recipient; `size` in bytes."""

    id: int
    account_id: int
    account: str
    message_id: str
    mail_from: str
    rcpt: str
    subject: str
    created_ms: int
    size: int


def list_(*, limit: int = 50, account_id: int | None = None) -> list[Captured]:
    """The newest captured messages first; of one account, or (for the operator) of all."""
    where, params = (" WHERE c.account_id = ?", (account_id,)) if account_id is not None else ("", ())
    found = db.rows(f"{_COLUMNS}{where} ORDER BY c.id DESC LIMIT ?", (*params, limit))
    return [
        Captured(i, owner, email, str(uuid.UUID(bytes=bytes(number))), sender, rcpt, subject, at, size)
        for i, owner, email, number, sender, rcpt, subject, at, size in found
    ]


def show(id: int, *, account_id: int | None = None) -> bytes:
    """The message as it would have gone out, headers and all, CRLF lines; raises `NotFound`."""
    found = db.rows("SELECT account_id, content_id FROM captured_mail WHERE id = ?", (id,))
    if not found or account_id not in (None, found[0][0]):
        raise errors.NotFound("There is no such captured message.", what="mail")
    content_id = found[0][1]
    return contents.load([content_id])[content_id][1]
