"""What providers told our hooks of a message, in their own words."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from gateway import ids
from gateway.services import message_rows, server_kinds
from gateway.services.identity import Caller
from gateway.services.sending_servers import PREFIX
from models import database as db
from models.vocabulary import EventKind

MOST = 200


@dataclass(frozen=True, slots=True)
class Told:
    """`event` is our word, '' for one that means nothing here; `what` is one of `provider_reports`' words."""

    id: int
    server_id: str
    provider: str
    type: str
    event: str
    what: str
    recipient: str
    at_ms: int
    received_ms: int
    raw: str


def of_message(*, caller: Caller, message_id: str, after: int | None = None, count: int = MOST) -> list[Told]:
    """The oldest first, from behind the row `after` on; raises `NotFound` for a message that is not the caller's."""
    uuid = ids.uuid_of("msg", message_id)
    message = message_rows.find(caller=caller, message_id=message_id if uuid is None else str(uuid))
    rows = db.rows(
        "SELECT p.id, s.uuid, s.kind, p.type, p.kind, p.what, d.rcpt, p.at_ms, p.created_ms, p.raw"
        " FROM provider_event p JOIN sending_server s ON s.id = p.server_id JOIN delivery d ON d.id = p.delivery_id"
        " WHERE p.message_id = ? AND p.id > ? ORDER BY p.id LIMIT ?",
        (message.id, after or 0, count),
    )
    return [
        Told(
            id_, ids.public_id(PREFIX, UUID(bytes=bytes(server))), server_kinds.provider_word(kind), type_,
            "" if event is None else EventKind(event).word, what, rcpt, at_ms, received_ms, raw,
        )
        for id_, server, kind, type_, event, what, rcpt, at_ms, received_ms, raw in rows
    ]  # fmt: skip
