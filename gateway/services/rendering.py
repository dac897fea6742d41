"""From stored message to signed bytes: loaded in batches, rendered once for all or once for each."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from gateway import clock
from gateway.mail import compose, container, dkim, html_parts, parse, rewrite
from gateway.mail.draft import Attachment, Mailbox
from gateway.services import contents, gates, personal, senders, tracking_links, unsubscribe_links
from gateway.services.unsubscribe_links import Leaving
from models import database as db
from models.vocabulary import Stream


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
    track_links: bool = False
    track_opens: bool = False
    stream: Stream = Stream.TRANSACTIONAL
    _bytes: bytes | None = None
    _parts: tuple[str | None, str | None, list[Attachment]] | None = None
    _split: html_parts.Split | None = None
    _mentions: bool | None = None
    _theirs: frozenset[str] | None = None
    _compiled: dict[tuple[str, bool, bool], rewrite.Compiled | None] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.RLock)

    @property
    def list_id(self) -> int:
        """The list that it went to, 0 for none."""
        return int(self.headers.get("list", 0))

    @property
    def personal(self) -> bool:
        """Whether each recipient gets a message of their own: it went to a list."""
        return "list" in self.headers

    @property
    def individual(self) -> bool:
        """Whether the bytes of each delivery are its own."""
        return self.personal or self._offers_leave() or self._mentions_leave() or self._tracked()

    def rendered(self, delivery_id: int, rcpt: str, fields: str | None) -> bytes:
        """The whole signed message, CRLF lines; made once for all, whichever thread asks first, where it may be.

        What is tracked or has an unsubscribe link is made for each. To a list it is made for each too, `rcpt` with
        the JSON of their `fields`, and has an id of its own (RFC 5322 §3.6.4). Raises `InvalidTemplate` where a
        subscriber's fields make the template fail.
        """
        if self.individual:
            return _sign(self.domain_id, self.composed(delivery_id, rcpt, fields))
        with self._lock:
            if self._bytes is None:
                self._bytes = _sign(self.domain_id, self.composed(delivery_id, rcpt, fields))
            return self._bytes

    def composed(self, delivery_id: int, rcpt: str, fields: str | None) -> bytes:
        """The message that `rendered` signs."""
        if self.kind == gates.KIND_MIME:
            return self._mime(delivery_id, rcpt)
        html, text, attachments = self._own_parts()
        subject, message_id = self.subject, str(self.uuid)
        to = [_box(pair) for pair in self.headers.get("to", ())]
        if self.personal:
            variables = {**self.headers.get("variables", {}), **orjson.loads(fields or "{}"), "email": rcpt}
            made = personal.render(self.subject, html, text, variables)
            subject, html, text = made["subject"], made["html"], made["text"]
            message_id, to = f"{self.uuid}.{delivery_id}", [Mailbox(rcpt)]
        htmls, texts, headers = self._variant(
            delivery_id, rcpt, [] if html is None else [html], [] if text is None else [text]
        )
        html, text = (htmls[0] if htmls else None), (texts[0] if texts else None)
        return self._compose(message_id, subject, html, text, attachments, to, headers)

    def _variant(
        self, delivery_id: int, rcpt: str, htmls: list[str], texts: list[str]
    ) -> tuple[list[str], list[str], list[tuple[str, str]]]:
        """The bodies and the further header fields of one delivery; what differs between two makes `individual`.

        The link to unsubscribe comes after tracking, which leaves the places for it alone.
        """
        sender = senders.sender(self.domain_id)
        list_id = self.list_id
        mentioned = unsubscribe_links.mentioned([*htmls, *texts])
        offered = self._offers_leave()
        if sender is not None and sender.unsubscribe_link and not mentioned:
            htmls, texts = unsubscribe_links.with_footer(htmls, texts)
            mentioned = True
        htmls = [
            self._tracking(delivery_id, html, opens=self.track_opens and not index) for index, html in enumerate(htmls)
        ]
        if self._tracks_text():
            texts = [self._tracking(delivery_id, text, plain=True) for text in texts]
        headers: list[tuple[str, str]] = []
        theirs = self._their_fields() if offered or list_id else frozenset()
        if mentioned or offered:
            leaving = Leaving(delivery_id, self.domain_id, list_id, rcpt)
            link = unsubscribe_links.url(tracking_links.base_url(sender), leaving)
            htmls = [unsubscribe_links.fill(html, link) for html in htmls]
            texts = [unsubscribe_links.fill(text, link) for text in texts]
            if offered:
                mail = unsubscribe_links.address(delivery_id, sender.return_path_host) if sender is not None else ""
                headers += unsubscribe_links.fields(link, mail, theirs)
        if list_id and sender is not None:
            headers += unsubscribe_links.list_field(list_id, sender.name, theirs)
        return htmls, texts, headers

    def _offers_leave(self) -> bool:
        """Whether the header says how to unsubscribe: in bulk, and where the domain has the switch on."""
        sender = senders.sender(self.domain_id)
        return self.stream is Stream.BULK or (sender is not None and sender.unsubscribe_link)

    def _mentions_leave(self) -> bool:
        """Whether a body has a place for the link; the same for all recipients of a message to no list."""
        if self._mentions is None:
            if self.kind == gates.KIND_MIME:
                texts = [part.text for part in self._own_split().parts] if self._may_mention() else []
            else:
                texts = [text for text in self._own_parts()[:2] if text is not None]
            self._mentions = unsubscribe_links.mentioned(texts)
        return self._mentions

    def _may_mention(self) -> bool:
        """A look at the bytes spares most mail from being taken apart; encoded bodies hide what they say."""
        low = self.content.lower()
        return b"unsubscribe_" in low or b"base64" in low or b"=\r\n" in low

    def _their_fields(self) -> frozenset[str]:
        """The lower-case names of the fields that the customer set."""
        if self._theirs is None:
            if self.kind == gates.KIND_MIME:
                found, _ = parse.split(self.content)
                self._theirs = frozenset(name.decode("ascii", "replace").lower() for name, _ in found)
            else:
                self._theirs = frozenset(name.lower() for name, _ in self.headers.get("custom", ()))
        return self._theirs

    def _tracks_text(self) -> bool:
        """Whether the links of plain text are tracked too, as the domain says."""
        sender = senders.sender(self.domain_id)
        return self.track_links and sender is not None and sender.track_text

    def _tracking(self, delivery_id: int, text: str, *, opens: bool = False, plain: bool = False) -> str:
        compiled = self._compile(text, opens=opens, plain=plain)
        if compiled is None:
            return text
        return tracking_links.fill(compiled, tracking_links.base_url(senders.sender(self.domain_id)), delivery_id)

    def _compile(self, text: str, *, opens: bool = False, plain: bool = False) -> rewrite.Compiled | None:
        """Remembered where the text is the same for everybody."""
        if not (self.track_links or opens):
            return None
        sender = senders.sender(self.domain_id)
        own = tracking_links.base_url(sender) + tracking_links.PATH
        trap = sender is not None and sender.honeypot

        def make() -> rewrite.Compiled | None:
            if plain:
                return rewrite.compile_plain(text, own=own)
            return rewrite.compile(text, links=self.track_links, opens=opens, own=own, trap=trap)

        if self.personal:
            return make()
        with self._lock:
            key = (text, opens, plain)
            if key not in self._compiled:
                self._compiled[key] = make()
            return self._compiled[key]

    def _tracked(self) -> bool:
        if not (self.track_links or self.track_opens):
            return False
        if self.kind == gates.KIND_MIME:
            htmls = [part.text for part in self._own_split().parts if part.kind == html_parts.HTML]
            texts = [part.text for part in self._own_split().parts if part.kind == html_parts.PLAIN]
        else:
            html, text, _ = self._own_parts()
            htmls, texts = [] if html is None else [html], [] if text is None else [text]
        return any(
            self._compile(html, opens=self.track_opens and not index) is not None for index, html in enumerate(htmls)
        ) or (self._tracks_text() and any(self._compile(text, plain=True) is not None for text in texts))

    def _mime(self, delivery_id: int, rcpt: str) -> bytes:
        """As it was submitted, but for what is this delivery's: its header fields stand on top."""
        read = self.track_links or self.track_opens or self._offers_leave() or self._mentions_leave()
        parts = self._own_split().parts if read else ()
        htmls, texts, headers = self._variant(
            delivery_id,
            rcpt,
            [part.text for part in parts if part.kind == html_parts.HTML],
            [part.text for part in parts if part.kind == html_parts.PLAIN],
        )
        message = self.content
        if parts:
            html, text = iter(htmls), iter(texts)
            message = self._own_split().joined([next(html if part.kind == html_parts.HTML else text) for part in parts])
        return compose.header_lines(headers) + message

    def _own_parts(self) -> tuple[str | None, str | None, list[Attachment]]:
        with self._lock:
            if self._parts is None:
                self._parts = container.deserialise(self.content)
            return self._parts

    def _own_split(self) -> html_parts.Split:
        with self._lock:
            if self._split is None:
                self._split = html_parts.split(self.content)
            return self._split

    def _compose(
        self,
        message_id: str,
        subject: str,
        html: str | None,
        text: str | None,
        attachments: list[Attachment],
        to: list[Mailbox],
        headers: list[tuple[str, str]],
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
            headers=[*((name, value) for name, value in found.get("custom", ())), *headers],
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
            "SELECT id, uuid, domain_id, subject, headers, created_ms, live, content_id,"
            " track_links, track_opens, stream FROM message"
            f" WHERE id IN ({','.join('?' * len(some))})",
            some,
        )
    bodies = contents.load(row[7] for row in rows)
    found: dict[int, Stored] = {}
    for message_id, uuid, domain_id, subject, headers, created_ms, live, content_id, links, opens, stream in rows:
        kind, body = bodies.get(content_id, (gates.KIND_PARTS, b""))
        found[message_id] = Stored(
            message_id, UUID(bytes=bytes(uuid)), domain_id, subject, orjson.loads(headers), created_ms, bool(live),
            kind, body, bool(links), bool(opens), Stream(stream),
        )  # fmt: skip
    return found
