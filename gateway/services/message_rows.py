"""Accepted messages as their owner asks for them by id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import errors
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


def find(*, caller: Caller, message_id: str) -> MessageRow:
    """The caller's message with that UUID, also written as a Message-ID; raises `NotFound`, for a foreign one too."""
    text = message_id.strip().removeprefix("<").removesuffix(">").partition("@")[0]
    try:
        uuid = UUID(text)
    except ValueError:
        raise _absent() from None
    found = db.rows(
        "SELECT m.id, m.account_id, m.domain_id, d.name, m.stream, m.live, m.from_addr, m.subject, m.tags, m.size,"
        " m.send_at_ms, m.created_ms, m.verdicts, m.origin FROM message m JOIN sender_domain d ON d.id = m.domain_id"
        " WHERE m.uuid = ? AND m.account_id = ?",
        (uuid.bytes, caller.account_id),
    )
    if not found or not caller.covers(found[0][2]):
        raise _absent()
    id_, account_id, domain_id, domain, stream, live, from_addr, subject, tags, size, *rest = found[0]
    send_at, created, verdicts, origin = rest
    return MessageRow(
        id=id_,
        uuid=uuid,
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
        verdicts=list(orjson.loads(verdicts or "[]")),
        origin=origin,
    )


def _absent() -> errors.NotFound:
    return errors.NotFound("There is no such message.", what="message")
