"""A message for hops that take ASCII only: 8-bit parts are encoded anew, every other byte stays."""

from __future__ import annotations

from gateway.mail import parse, transfer
from gateway.mail.parse import Fields
from gateway.mail.structured import unsupported

_DEPTH = 8
_CODED = ("base64", "quoted-printable")


def sevenbit(message: bytes) -> bytes:
    """The same content in ASCII; raises `Unsupported` for 8-bit fields, and for parts that are signed as they are."""
    if message.isascii():
        return message
    fields, body = parse.split(message)
    fields, body = _part(fields, body, _DEPTH)
    return b"".join([*(line for _, line in fields), b"\r\n", body])


def _part(fields: Fields, body: bytes, depth: int) -> tuple[Fields, bytes]:
    if not all(line.isascii() for _, line in fields):
        unsupported("header fields that are not ASCII")
    if body.isascii():
        return fields, body
    kind, parameters = parse.media_type(parse.first(fields, "content-type"))
    if kind in ("multipart/signed", "multipart/encrypted") or depth == 0:
        unsupported(f"8-bit lines in {kind}")
    # RFC 2045 §6.4: what holds other parts has no encoding of its own.
    if kind.startswith("multipart/") and parameters.get("boundary"):
        return _labelled(fields, "7bit"), _multipart(body, parameters["boundary"], depth)
    if kind == "message/rfc822":
        inner, text = _part(*parse.split(body), depth - 1)
        return _labelled(fields, "7bit"), b"".join([*(line for _, line in inner), b"\r\n", text])
    encoding = parse.first(fields, "content-transfer-encoding").strip().lower()
    if encoding in _CODED:
        unsupported(f"8-bit lines in {encoding}")
    if kind.startswith("text/"):
        return _labelled(fields, "quoted-printable"), transfer.quoted_printable(body.replace(b"\r\n", b"\n"))
    return _labelled(fields, "base64"), transfer.base64_lines(body)


def _labelled(fields: Fields, encoding: str) -> Fields:
    others = [(name, line) for name, line in fields if name != b"content-transfer-encoding"]
    label = b"Content-Transfer-Encoding: " + encoding.encode("ascii") + b"\r\n"
    return [*others, (b"content-transfer-encoding", label)]


def _multipart(body: bytes, boundary: str, depth: int) -> bytes:
    """Delimiters stay where they are; the text before the first and behind the last says nothing to anybody."""
    pieces: list[bytes] = []
    end = 0
    for index, found in enumerate([*parse.delimiters(boundary).finditer(body), None]):
        part = body[end : found.start() if found else len(body)]
        if not part.isascii():
            if index and found:
                fields, text = _part(*parse.split(part.removeprefix(b"\r\n")), depth - 1)
                part = b"\r\n" + b"".join([*(line for _, line in fields), b"\r\n", text])
            else:
                part = b""
        pieces.append(part)
        if found:
            pieces.append(found[0])
            end = found.end()
    return b"".join(pieces)
