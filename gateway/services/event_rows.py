"""Events as they are told: each joined with its message, the remote and the remote's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

import orjson

from models import database as db
from models.vocabulary import EventKind, Stream

_CHUNK = 500


@dataclass
class EventRow:
    """One event with what is needed to tell it; texts that are absent are empty."""

    id: int
    domain_id: int
    domain: str  # its name
    kind: EventKind
    at_ms: int
    delivery_id: int | None
    rcpt: str
    ip: str
    message_id: int
    message_uuid: UUID
    subject: str
    size: int
    live: bool  # False: made with a test key
    reply: str  # normalised
    mx: str
    data_json: str | None
    tags_json: str
    headers_json: str
    stream: Stream = Stream.TRANSACTIONAL
    sequence: int | None = None  # among the events of its message, from 1, once `event_places` has said so

    @cached_property
    def data(self) -> dict[str, Any]:
        found = orjson.loads(self.data_json) if self.data_json else {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def headers(self) -> dict[str, Any]:
        """`from` [name, email], `to`, `cc`, `reply_to` lists of these, `custom`, `defaults` of the key."""
        found = orjson.loads(self.headers_json) if self.headers_json else {}
        return found if isinstance(found, dict) else {}

    @property
    def is_report(self) -> bool:
        """Whether somebody told of it later: a bounce message, or a provider that had taken the message."""
        return "provider" in self.data or self.data.get("transport") == "report"

    @property
    def tags(self) -> list[str]:
        return list(orjson.loads(self.tags_json or "[]"))

    @property
    def recipient(self) -> str:
        """Whom it is about; of an event about the whole message its first To."""
        if self.rcpt:
            return self.rcpt
        boxes = self.headers.get("to") or []
        return str(boxes[0][1]) if boxes else ""

    @property
    def defaults(self) -> dict[str, str]:
        """ListID, SubscriberID, JourneyID, ActionID, where the message was sent with them."""
        if '"defaults"' not in self.headers_json:
            return {}
        found = self.headers.get("defaults")
        return found if isinstance(found, dict) else {}

    @property
    def reason(self) -> str:
        """What the remote or a gate said, in full where it was kept."""
        return str(self.data.get("reason") or self.reply or "")


def load(event_ids: Sequence[int]) -> dict[int, EventRow]:
    """The events with those ids; one that is gone is left out."""
    # The order of the joins is ours: the few events first, then what hangs on each.
    straight, primary = ("STRAIGHT_JOIN ", " FORCE INDEX (PRIMARY)") if db.dialect() == "mysql" else ("", "")
    found: dict[int, EventRow] = {}
    for start in range(0, len(event_ids), _CHUNK):
        some = event_ids[start : start + _CHUNK]
        for row in db.rows(
            f"SELECT {straight}e.id, e.domain_id, e.kind, e.at_ms, e.delivery_id, e.rcpt, e.ip, m.id, m.uuid,"
            " m.subject, m.size, m.live, r.text, x.name, e.data, m.tags, m.headers, s.name, m.stream"
            f" FROM event e{primary} JOIN message m{primary}"
            " ON m.id = e.message_id JOIN sender_domain s ON s.id = e.domain_id"
            " LEFT JOIN reply r ON r.id = e.reply_id"
            f" LEFT JOIN mx x ON x.id = e.mx_id WHERE e.id IN ({', '.join('?' * len(some))})",
            some,
        ):
            (
                id_,
                domain_id,
                kind,
                at_ms,
                delivery_id,
                rcpt,
                ip,
                message_id,
                uuid,
                subject,
                size,
                live,
                *texts,
                stream,
            ) = row
            reply, mx, data, tags, headers, domain = texts
            found[id_] = EventRow(
                id=id_,
                domain_id=domain_id,
                domain=domain,
                kind=EventKind(kind),
                at_ms=at_ms,
                delivery_id=delivery_id,
                rcpt=rcpt,
                ip=ip,
                message_id=message_id,
                message_uuid=UUID(bytes=bytes(uuid)),
                subject=subject,
                size=size,
                live=bool(live),
                reply=reply or "",
                mx=mx or "",
                data_json=data,
                tags_json=tags,
                headers_json=headers,
                stream=Stream(stream),
            )
    return found
