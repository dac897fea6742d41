"""A message that a customer composed, mended until it may travel: line ends, header, long lines."""

from __future__ import annotations

import re
from email.utils import formatdate, getaddresses, parseaddr

from gateway import clock, ids
from gateway.mail import address, headers, parse, transfer
from gateway.mail.draft import Mailbox
from gateway.mail.parse import Fields, split, value

LINE_MAX = 998
DEPTH = 8
"""Multiparts inside each other whose long lines are mended; deeper ones nobody writes."""

_ADDRESS_LENGTH = 320
_DROPPED = frozenset({b"bcc", b"resent-bcc", b"return-path"})
_ADDRESSES = frozenset({b"from", b"to", b"cc", b"reply-to", b"sender"})
_KEPT = re.compile(rb"content-|dkim-|received|message-id|date|mime-version|references|in-reply-to|resent-|list-|arc-")


def normalise_raw(raw: bytes, *, message_id: str | None = None, date_ms: int | None = None) -> bytes:
    """The message with CRLF line ends, no NUL, no Bcc or Return-Path, a Date, a Message-ID and lines of at most 998.

    What is missing is added: `message_id` (`id@domain`; by default a new one at the domain of From)
    and `date_ms` (by default now). Header fields that are not ASCII are encoded, parts with long
    lines become quoted-printable; every other byte stays. Doing it twice changes nothing.
    """
    fields, body = split(parse.line_ends(raw))
    fields = [(name, _sevenbit(name, line)) for name, line in fields if name not in _DROPPED]
    known = {name for name, _ in fields}
    if b"date" not in known:
        stamp = formatdate((clock.now_ms() if date_ms is None else date_ms) // 1000)
        fields.append((b"date", f"Date: {stamp.replace('-0000', '+0000')}\r\n".encode("ascii")))
    if b"message-id" not in known:
        identity = message_id or f"{ids.new_uuid()}@{_from_domain(fields) or 'localhost'}"
        fields.append((b"message-id", headers.structured("Message-ID", f"<{identity}>")))
    if _long(body):
        fields, body = _mended(fields, body, DEPTH)
    return _joined(fields, body)


def _sevenbit(name: bytes, line: bytes) -> bytes:
    """The field as RFC 2047 wants it; one with an internationalised address stays UTF-8 (RFC 6532)."""
    if not line.startswith(b":", len(name)):
        line = line[: len(name)] + line[line.index(b":") :]  # space before the colon: receivers disagree on it
    if line.isascii() or _KEPT.match(name):
        return line
    label = line.partition(b":")[0].strip().decode("ascii")
    if name not in _ADDRESSES:
        return headers.fold(label, value(line))
    boxes = [Mailbox(email, text) for text, email in getaddresses([value(line)]) if email]
    if not boxes or not all(_is_line(box.email) for box in boxes):
        return headers.fold(label, value(line))
    return headers.listed(label, map(address.format_mailbox, boxes))


def _is_line(email: str) -> bool:
    """Whether it is no longer than an address may be (RFC 5321 §4.5.3.1), so that no fold falls into it."""
    return headers.one_line(email) == email and len(email.encode()) <= _ADDRESS_LENGTH


def _from_domain(fields: Fields) -> str:
    for name, line in fields:
        if name == b"from":
            domain = parseaddr(value(line))[1].rpartition("@")[2]
            return domain if re.fullmatch(r"[A-Za-z0-9.-]{1,253}", domain) else ""
    return ""


def _joined(fields: Fields, body: bytes) -> bytes:
    head = [_refolded(line) if len(line) > LINE_MAX else line for _, line in fields]
    return b"".join([*head, b"\r\n", body])


def _refolded(line: bytes) -> bytes:
    """Long lines of a field broken before white space, else anywhere: a receiver would cut them off."""
    pieces: list[bytes] = []
    for part in line.removesuffix(b"\r\n").split(b"\r\n"):
        while len(part) > LINE_MAX:
            cut = max(part.rfind(b" ", 1, LINE_MAX), part.rfind(b"\t", 1, LINE_MAX))
            if cut <= 0 or not part[:cut].strip(b" \t"):
                pieces.append(part[: LINE_MAX - 8])
                part = b" " + part[LINE_MAX - 8 :]
            else:
                pieces.append(part[:cut])
                part = part[cut:]
        pieces.append(part)
    return b"\r\n".join(pieces) + b"\r\n"


def _long(body: bytes) -> bool:
    return len(body) > LINE_MAX and max(map(len, body.split(b"\r\n"))) > LINE_MAX


def _mended(fields: Fields, body: bytes, depth: int) -> tuple[Fields, bytes]:
    """The part without lines over 998: parts of multiparts one by one, anything else encoded anew."""
    kind, parameters = parse.media_type(parse.first(fields, "content-type"))
    if kind.startswith("multipart/") and depth and parameters.get("boundary"):
        return fields, _mended_parts(body, parameters["boundary"], depth)
    if kind == "message/rfc822" and depth:
        inner, text = _mended(*split(body), depth - 1)
        return fields, b"".join(
            [_refolded(line) if len(line) > LINE_MAX else line for _, line in inner]
        ) + b"\r\n" + text
    encoding = parse.first(fields, "content-transfer-encoding").strip().lower()
    others = [(name, line) for name, line in fields if name != b"content-transfer-encoding"]
    if encoding == "base64":
        return fields, transfer.base64_lines(transfer.decode(body, encoding))
    text = transfer.decode(body, encoding).replace(b"\r\n", b"\n")
    encoded = transfer.quoted_printable(text)
    return [*others, (b"content-transfer-encoding", b"Content-Transfer-Encoding: quoted-printable\r\n")], encoded


def _mended_parts(body: bytes, boundary: str, depth: int) -> bytes:
    pieces: list[bytes] = []
    end = 0
    for index, found in enumerate([*parse.delimiters(boundary).finditer(body), None]):
        part = body[end : found.start() if found else len(body)]
        if _long(part):
            if index and found:
                fields, text = split(part.removeprefix(b"\r\n"))
                fields, text = _mended(fields, text, depth - 1)
                part = b"\r\n" + _joined(fields, text)
            else:  # the preamble and the epilogue say nothing to anybody
                part = b""
        pieces.append(part)
        if found:
            pieces.append(found[0])
            end = found.end()
    return b"".join(pieces)
