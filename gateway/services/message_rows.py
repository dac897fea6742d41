"""Accepted messages as their owner asks for them by id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from gateway import errors, ids
from gateway.services import verdicts
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import Stream


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message without its content; `domain` is the name of its sender domain, deleted or not."""

    id: int
    uuid: UUID
    account_id: int
    domain_id: int
    domain: str
    stream: Stream
    live: bool
    from_addr: str
    subject: str
    tags: list[str]
    size: int
    send_at_ms: int | None
    created_ms: int
    verdicts: list[dict[str, Any]]
    origin: str | None = None  # what sent it: a campaign, an automation
    headers: dict[str, Any] = field(default_factory=dict)  # `from` [name, email], `to`, `cc`, `reply_to` lists of these
    metadata: dict[str, Any] | None = None


def find(*, caller: Caller, message_id: str) -> MessageRow:
    """The caller's message with that UUID, also written as a Message-ID, as `msg_…` or as 24 hex digits.

    Raises `NotFound`, for a foreign one too.
    """
    text = message_id.strip().removeprefix("<").removesuffix(">").partition("@")[0]
    uuid, short = ids.uuid_of("msg", text), ids.range_of_short(text)
    if uuid is not None:
        found = db.rows(f"{SELECT} WHERE m.uuid = ? AND m.account_id = ?", (uuid.bytes, caller.account_id))
    elif short is not None:
        found = db.rows(
            f"{SELECT} WHERE m.uuid BETWEEN ? AND ? AND SUBSTR(m.uuid, 11) = ? AND m.account_id = ?",
            (*short, caller.account_id),
        )
    else:
        raise _absent()
    if not found or not caller.covers(found[0][3]):
        raise _absent()
    return row(found[0])


SELECT = (
    "SELECT m.id, m.uuid, m.account_id, m.domain_id, d.name, m.stream, m.live, m.from_addr, m.subject, m.tags, m.size,"
    " m.send_at_ms, m.created_ms, m.verdicts, m.origin, m.headers, m.metadata"
    " FROM message m JOIN sender_domain d ON d.id = m.domain_id"
)


def row(columns: Sequence[Any]) -> MessageRow:
    """The message of a row that `SELECT` gave."""
    id_, uuid, account_id, domain_id, domain, stream, live, from_addr, subject, tags, size, *rest = columns
    send_at, created, decided, origin, headers, metadata = rest
    return MessageRow(
        id=id_,
        uuid=UUID(bytes=bytes(uuid)),
        account_id=account_id,
        domain_id=domain_id,
        domain=domain,
        stream=Stream(stream),
        live=bool(live),
        from_addr=from_addr,
        subject=subject,
        tags=list(orjson.loads(tags or "[]")),
        size=size,
        send_at_ms=send_at,
        created_ms=created,
        verdicts=verdicts.unpack(decided),
        origin=origin,
        headers=orjson.loads(headers or "{}"),
        metadata=orjson.loads(metadata) if metadata else None,
    )


def _absent() -> errors.NotFound:
    return errors.NotFound("There is no such message.", what="message")
