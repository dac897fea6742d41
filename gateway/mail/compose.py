"""The MIME composer: a body that many deliveries share, then the message around it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.mail import attachments as parts
from gateway.mail import headers as fields
from gateway.mail import transfer
from gateway.mail.address import format_mailbox
from gateway.mail.draft import Attachment, Mailbox

LINE_MAX = 998
"""Octets of a line without its CRLF (RFC 5322 §2.1.1)."""

_ASCII = bytes(range(128))


@dataclass(frozen=True, slots=True)
class Body:
    """`headers` is the content header, its lines with CRLF; `content` what follows the blank line."""

    headers: bytes
    content: bytes


def build_body(html: str | None, text: str | None, attachments: Sequence[Attachment] = ()) -> Body:
    """The MIME body: a single part, alternative, related with the HTML's images, mixed with the rest.

    The same arguments give the same bytes. Every part decodes to what was given; in texts LF and
    CRLF both mean a line end and arrive as CRLF, and a text that is the whole body ends with one.
    Lines have at most 998 octets, 7-bit only.
    """
    inline = [part for part in attachments if part.inline and part.content_id] if html is not None else []
    apart = [part for part in attachments if part not in inline] if inline else list(attachments)
    alternatives: list[Body] = []
    if text is not None or html is None:
        alternatives.append(_text("plain", text or ""))
    if html is not None:
        shown = _text("html", html)
        if inline:
            shown = _multipart("related", [shown, *map(_attached, inline)], ';\r\n type="text/html"')
        alternatives.append(shown)
    body = alternatives[0] if len(alternatives) == 1 else _multipart("alternative", alternatives)
    if apart:
        return _multipart("mixed", [body, *map(_attached, apart)])
    if not body.content.endswith(b"\r\n"):
        # The dot that ends DATA stands on a line of its own: this line end comes before the signature, not after it.
        return Body(body.headers, body.content + b"\r\n")
    return body


def _text(subtype: str, text: str) -> Body:
    data = text.encode("utf-8", "replace").replace(b"\r\n", b"\n")
    wide = len(data.translate(None, _ASCII))
    charset = "utf-8" if wide else "us-ascii"
    if b"\r" in data or b"\0" in data:
        # A bare CR or a NUL may not travel as it is, and quoted-printable has no room for a bare CR beside line ends.
        encoding, content = "base64", transfer.base64_lines(data.replace(b"\n", b"\r\n"))
    elif not wide and max(map(len, data.split(b"\n"))) <= LINE_MAX and not _from_line(data):
        encoding, content = "7bit", data.replace(b"\n", b"\r\n")
    elif 5 * (wide + data.count(b"=")) < len(data):
        encoding, content = "quoted-printable", transfer.quoted_printable(data)
    else:
        encoding, content = "base64", transfer.base64_lines(data.replace(b"\n", b"\r\n"))
    header = f"Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return Body(header.encode("ascii"), content)


def _from_line(data: bytes) -> bool:
    """Mailbox files turn `From ` at the start of a line into `>From `, which breaks the signature."""
    return data.startswith(b"From ") or b"\nFrom " in data


def _attached(part: Attachment) -> Body:
    return Body(parts.fields(part), transfer.base64_lines(part.content))


def _multipart(subtype: str, bodies: Sequence[Body], parameters: str = "") -> Body:
    hashed = hashlib.blake2b(subtype.encode("ascii"), digest_size=15)
    for body in bodies:
        hashed.update(b"%d %d\n" % (len(body.headers), len(body.content)))
        hashed.update(body.headers)
        hashed.update(body.content)
    boundary = f"=_{subtype[0]}{hashed.hexdigest()}"
    while any(boundary.encode("ascii") in body.content for body in bodies):
        hashed.update(b"again")
        boundary = f"=_{subtype[0]}{hashed.hexdigest()}"
    line = b"--" + boundary.encode("ascii")
    pieces: list[bytes] = []
    for body in bodies:
        pieces += (line, b"\r\n", body.headers, b"\r\n", body.content, b"\r\n")
    pieces += (line, b"--\r\n")
    header = f'Content-Type: multipart/{subtype}{parameters};\r\n boundary="{boundary}"\r\n'
    return Body(header.encode("ascii"), b"".join(pieces))


@functools.lru_cache(maxsize=256)
def _date(second: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime("Date: %a, %d %b %Y %H:%M:%S +0000\r\n").encode("ascii")


def render(
    *,
    body: Body,
    message_id: str,
    date_ms: int,
    sender: Mailbox,
    subject: str,
    reply_to: Sequence[Mailbox] = (),
    to: Sequence[Mailbox] = (),
    cc: Sequence[Mailbox] = (),
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """The whole message with its headers in a fixed order; there is never a Bcc.

    `message_id` is `id@domain` without brackets, `headers` are checked custom ones, `date_ms` since 1970.
    """
    pieces = [fields.listed("From", [format_mailbox(sender)])]
    if to:
        pieces.append(fields.listed("To", map(format_mailbox, to)))
    elif not cc:
        pieces.append(b"To: undisclosed-recipients:;\r\n")
    if cc:
        pieces.append(fields.listed("Cc", map(format_mailbox, cc)))
    if reply_to:
        pieces.append(fields.listed("Reply-To", map(format_mailbox, reply_to)))
    pieces += (fields.fold("Subject", subject), _date(date_ms // 1000), _message_id(message_id))
    pieces.append(header_lines(headers))
    pieces += (b"MIME-Version: 1.0\r\n", body.headers, b"\r\n", body.content)
    return b"".join(pieces)


def header_lines(headers: Iterable[tuple[str, str]]) -> bytes:
    """Checked fields, folded, each with its CRLF."""
    return b"".join(
        fields.structured(name, value) if fields.is_structured(name) else fields.fold(name, value)
        for name, value in headers
    )


def _message_id(message_id: str) -> bytes:
    return fields.structured("Message-ID", f"<{message_id.strip('<>')}>")


def needs_smtputf8(message: bytes) -> bool:
    """Whether a header is not ASCII (an internationalised address), so that the next hop must offer SMTPUTF8."""
    end = message.find(b"\r\n\r\n")
    return not message[: end if end >= 0 else len(message)].isascii()
