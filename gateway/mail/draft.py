"""The normalised request before it is accepted: what every door makes of its own words."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from models.vocabulary import Stream

STREAMS = {"transactional": Stream.TRANSACTIONAL, "bulk": Stream.BULK, "broadcast": Stream.BULK}
"""The words of a request for the stream that a message goes in."""

PURPOSES = STREAMS | {"marketing": Stream.BULK}
"""Purposes that say the stream too, where the request names none."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with an optional display name; `email` is checked and its domain lower-case A-labels."""

    email: str
    name: str = ""

    @property
    def domain(self) -> str:
        return self.email.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Attachment:
    """`content_id` without angle brackets; inline ones are shown where the HTML names their cid."""

    filename: str
    content_type: str
    content: bytes
    inline: bool = False
    content_id: str = ""


@dataclass(slots=True)
class Draft:
    sender: Mailbox
    subject: str = ""
    html: str | None = None
    text: str | None = None
    to: list[Mailbox] = field(default_factory=list)
    cc: list[Mailbox] = field(default_factory=list)
    bcc: list[Mailbox] = field(default_factory=list)
    reply_to: list[Mailbox] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)  # checked names and values
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] | None = None
    track_opens: bool | None = None  # None: as the domain says
    track_links: bool | None = None
    send_at_ms: int | None = None
    stream: Stream | None = None  # None: as the purpose says, else bulk to a list and transactional to others
    purpose: str = ""  # what routing rules match, any word; empty: that of the stream
    server: str = ""  # the sending server asked for: its public id or name, or the kind of a provider
    raw: bytes | None = None  # a whole MIME message as submitted over SMTP, CRLF lines
    envelope_to: list[str] | None = None  # with raw: the RCPT TO addresses
    mail_from: str | None = None  # with raw: the envelope sender, noted and replaced by our return path
    smtp_login_id: int | None = None
    template_id: int | None = None  # fills subject, html and text where they are empty
    list_id: int | None = None  # every active subscriber of the list instead of To, Cc and Bcc
    variables: dict[str, Any] = field(default_factory=dict)  # of the template; on a list under a subscriber's fields
    metered: bool = False  # to a list: the quota is spent as its deliveries are made, and waited for
    own_lane: int = 0  # of the campaign with that number, to be held and let go by itself; 0: the shared one
    origin: str | None = None  # what sends it: its events are counted for that too
    keep_body_days: int | None = None  # None: as the account says
    keep_metadata_days: int | None = None
    defaults: dict[str, str] = field(default_factory=dict)  # ListID, SubscriberID, JourneyID, ActionID
    idempotency_key: str | None = None
    idempotency_scope: str = ""  # the endpoint
    fingerprint: str = ""  # hex SHA-256 of the payload, where there is an idempotency key

    def moved(self, stream: Stream) -> Draft:
        """The same draft for that stream; `dataclasses.replace` takes several times as long."""
        copy = Draft(*_values(self))
        copy.stream = stream
        return copy

    def maker(self) -> Callable[[Mailbox, str, str | None, str | None, list[Mailbox]], Draft]:
        """Makes drafts that differ from this one in sender, subject, HTML, text and To, the first fields, at most.

        They have its very lists and objects, so none may be changed in place.
        """
        rest = _values(self)[5:]
        return lambda *own: Draft(*own, *rest)

    @property
    def in_stream(self) -> Stream:
        """The stream it goes in; transactional until somebody decided."""
        return self.stream or Stream.TRANSACTIONAL


_values = operator.attrgetter(*(one.name for one in fields(Draft)))
