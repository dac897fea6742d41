"""From stored message to signed bytes: loaded in batches, rendered once for all or once for each."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from gateway import clock
from gateway.mail import compose, container, dkim
from gateway.mail.draft import Attachment, Mailbox
from gateway.services import contents, gates, personal, senders
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
    _parts: tuple[str | None, str | None, list[Attachment]] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def personal(self) -> bool:
        """Whether each recipient gets a message of their own: it went to a list."""
        return "list" in self.headers

    def rendered(self, delivery_id: int, rcpt: str, fields: str | None) -> bytes:
        """The whole signed message, CRLF lines; made once, whichever thread asks first.

        To a list it is made for each, `rcpt` with the JSON of their `fields`, and has an id of its own
        (RFC 5322 §3.6.4). Raises `InvalidTemplate` where a subscriber's fields make the template fail.
        """
        if self.personal:
            return _sign(self.domain_id, self.composed(delivery_id, rcpt, fields))
        with self._lock:
            if self._bytes is None:
                self._bytes = _sign(self.domain_id, self.composed(delivery_id, rcpt, fields))
            return self._bytes

    def composed(self, delivery_id: int, rcpt: str, fields: str | None) -> bytes:
        """The message that `rendered` signs."""
        return self._personal(delivery_id, rcpt, orjson.loads(fields or "{}")) if self.personal else self._render()

    def _personal(self, delivery_id: int, rcpt: str, fields: dict[str, Any]) -> bytes:
        with self._lock:
            if self._parts is None:
                self._parts = container.deserialise(self.content)
            html, text, attachments = self._parts
        variables = {**self.headers.get("variables", {}), **fields, "email": rcpt}
        made = personal.render(self.subject, html, text, variables)
        parts = made["html"], made["text"], attachments
        return self._compose(f"{self.uuid}.{delivery_id}", made["subject"], *parts, [Mailbox(rcpt)])

    def _render(self) -> bytes:
        if self.kind == gates.KIND_MIME:
            return self.content
        to = [_box(pair) for pair in self.headers.get("to", ())]
        return self._compose(str(self.uuid), self.subject, *container.deserialise(self.content), to)

    def _compose(
        self,
        message_id: str,
        subject: str,
        html: str | None,
        text: str | None,
        attachments: list[Attachment],
        to: list[Mailbox],
    ) -> bytes:
        sender = senders.sender(self.domain_id)
        found = self.headers
        return compose.render(
            body=compose.build_body(html, text, attachments),
            message_id=f"{message_id}@{sender.name if sender else 'localhost'}",
            date_ms=self.created_ms,
            sender=_box(found["from"]),
            to=to,
            cc=[_box(pair) for pair in found.get("cc", ())],
            reply_to=[_box(pair) for pair in found.get("reply_to", ())],
            subject=subject,
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
        kind, body = bodies.get(content_id, (gates.KIND_PARTS, b""))
        found[message_id] = Stored(
            message_id, UUID(bytes=bytes(uuid)), domain_id, subject, orjson.loads(headers), created_ms, bool(live),
            kind, body,
        )  # fmt: skip
    return found
