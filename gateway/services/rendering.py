"""From stored message to signed bytes: loaded in batches, rendered once for all its recipients."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from gateway import clock
from gateway.mail import compose, container, dkim
from gateway.mail.draft import Mailbox
from gateway.services import contents, messages, senders
from models import database as db


class Unrenderable(Exception):
    """The stored message cannot be made into bytes; it is kept and tried again."""


@dataclass(slots=True)
class Stored:
    """One message as the database has it, and its rendered bytes once somebody asked for them."""

    id: int
    uuid: UUID
    domain_id: int
    subject: str
    headers: dict[str, Any]
    created_ms: int
    live: bool
    kind: str
    content: bytes
    _bytes: bytes | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rendered(self) -> bytes:
        """The whole signed message, CRLF lines; made once, whichever thread asks first."""
        with self._lock:
            if self._bytes is None:
                self._bytes = _sign(self.domain_id, self._render())
            return self._bytes

    def _render(self) -> bytes:
        if self.kind == messages.KIND_MIME:
            return self.content
        sender = senders.sender(self.domain_id)
        html, text, attachments = container.deserialise(self.content)
        found = self.headers
        return compose.render(
            body=compose.build_body(html, text, attachments),
            message_id=f"{self.uuid}@{sender.name if sender else 'localhost'}",
            date_ms=self.created_ms,
            sender=_box(found["from"]),
            to=[_box(pair) for pair in found.get("to", ())],
            cc=[_box(pair) for pair in found.get("cc", ())],
            reply_to=[_box(pair) for pair in found.get("reply_to", ())],
            subject=self.subject,
            headers=[(name, value) for name, value in found.get("custom", ())],
        )


def _box(pair: list[str]) -> Mailbox:
    return Mailbox(name=pair[0], email=pair[1])


def _sign(domain_id: int, message: bytes) -> bytes:
    sender = senders.sender(domain_id)
    keys = senders.signing_keys(domain_id)
    if sender is None or not keys:
        raise Unrenderable(f"domain {domain_id} has no DKIM key")
    return dkim.sign(message, sender.name, keys, now_s=clock.now_ms() // 1000) + message


def load(message_ids: Iterable[int]) -> dict[int, Stored]:
    """The messages with those ids and their bodies, in two reads for each 500."""
    wanted = list(dict.fromkeys(message_ids))
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(wanted), 500):
        some = wanted[start : start + 500]
        rows += db.rows(
            "SELECT id, uuid, domain_id, subject, headers, created_ms, live, content_id FROM message"
            f" WHERE id IN ({','.join('?' * len(some))})",
            some,
        )
    bodies = contents.load(row[7] for row in rows)
    found: dict[int, Stored] = {}
    for message_id, uuid, domain_id, subject, headers, created_ms, live, content_id in rows:
        kind, body = bodies.get(content_id, (messages.KIND_PARTS, b""))
        found[message_id] = Stored(
            message_id, UUID(bytes=bytes(uuid)), domain_id, subject, orjson.loads(headers), created_ms, bool(live),
            kind, body,
        )  # fmt: skip
    return found
