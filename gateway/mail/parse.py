"""Reading messages that anybody may have written: bounded in depth, parts and size, never raising."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.mail import transfer

SIZE_MAX = 2 * 1024 * 1024
"""Octets looked at: reports put what matters before the message that they quote."""
DEPTH_MAX = 6
PARTS_MAX = 50

Fields = list[tuple[bytes, bytes]]
"""The lower-case name and the field's bytes, folds and last CRLF included."""

_BREAK = re.compile(rb"\r\n|\r|\n")
_FIELD = re.compile(rb"([!-9;-~]{1,200})[ \t]{0,80}:")
_PARAMETER = re.compile(r";\s*([^\s=;\"]{1,60})\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;\s\"]*)")
_ENCODED = re.compile(r"=\?([!-<>@-~]{1,40})\?([bBqQ])\?([!->@-~]*)\?=")
_BETWEEN = re.compile(r"(?<=\?=)\s+(?==\?)")
_QUADRATIC = ("punycode", "idna")
"""Codecs that a megabyte keeps busy for hours; no mail has them."""
_TYPE = re.compile(r"\s*([!#-'*+.0-9A-Z^-z|~-]{1,127}/[!#-'*+.0-9A-Z^-z|~-]{1,127})\s*(?:;|\Z)")


def line_ends(raw: bytes) -> bytes:
    """Every CR, LF and CRLF as CRLF; NUL octets are dropped (RFC 5321 §2.3.8, RFC 5322 §4)."""
    if b"\0" in raw:
        raw = raw.replace(b"\0", b"")
    pairs = raw.count(b"\r\n")
    if raw.count(b"\r") != pairs or raw.count(b"\n") != pairs:
        raw = _BREAK.sub(b"\r\n", raw)
    return raw


def split(message: bytes) -> tuple[Fields, bytes]:
    """The fields and the body of a message with CRLF line ends; what is no field begins the body."""
    fields: Fields = []
    position, size = 0, len(message)
    while position < size:
        end = message.find(b"\r\n", position)
        end = size if end < 0 else end
        if end == position:
            return fields, message[position + 2 :]
        while message[end + 2 : end + 3] in (b" ", b"\t"):
            following = message.find(b"\r\n", end + 2)
            end = size if following < 0 else following
        line = message[position:end]
        found = _FIELD.match(line)
        if found:
            fields.append((found[1].lower(), line + b"\r\n"))
        elif not (position == 0 and line.startswith((b"From ", b">From "))):  # the separator of mailbox files
            return fields, message[position:]
        position = end + 2
    return fields, b""


def value(field: bytes) -> str:
    """The unfolded value of a field's bytes, UTF-8 or else Latin-1."""
    data = field.partition(b":")[2].replace(b"\r\n", b"").strip(b" \t")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def first(fields: Fields, name: str) -> str:
    """The value of the first field of that name, '' without one."""
    wanted = name.lower().encode("ascii")
    return next((value(line) for key, line in fields if key == wanted), "")


def _characters(octets: bytes, charset: str) -> str:
    """The octets in that charset, else in Latin-1, which reads anything."""
    try:
        if codecs.lookup(charset).name not in _QUADRATIC:
            # UTF-7 and the escapes can spell lone surrogates, which no database takes.
            return octets.decode(charset).encode("utf-8", "replace").decode("utf-8")
    except (LookupError, ValueError):
        pass
    return octets.decode("latin-1")


def decoded_words(text: str) -> str:
    """The text with its RFC 2047 encoded words decoded, in Latin-1 where the charset is not known."""

    def decode(found: re.Match[str]) -> str:
        octets = found[3].encode("utf-8")
        octets = (
            transfer.decode(octets, "base64")
            if found[2] in "bB"
            else transfer.decode(octets.replace(b"_", b" "), "quoted-printable")
        )
        return _characters(octets, found[1].partition("*")[0])

    return _ENCODED.sub(decode, _BETWEEN.sub("", text)) if "=?" in text else text


def media_type(text: str) -> tuple[str, dict[str, str]]:
    """The lower-case type and the parameters of a Content-Type value; text/plain where it cannot be read."""
    found = _TYPE.match(text)
    parameters: dict[str, str] = {}
    for name, raw in _PARAMETER.findall(text[:4096]):
        if raw.startswith('"'):
            raw = re.sub(r"\\(.)", r"\1", raw[1:-1], flags=re.DOTALL)
        parameters.setdefault(name.lower(), raw)
    return found[1].lower() if found else "text/plain", parameters


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf of a message; `body` is still encoded."""

    kind: str
    parameters: dict[str, str]
    fields: Fields
    body: bytes

    def content(self) -> bytes:
        """The decoded octets with CRLF line ends."""
        return line_ends(transfer.decode(self.body, first(self.fields, "content-transfer-encoding").strip().lower()))

    def text(self) -> str:
        """The decoded text with LF line ends."""
        return _characters(self.content(), self.parameters.get("charset") or "utf-8").replace("\r\n", "\n")


def part(message: bytes) -> Part:
    """The message or body part as one part, whatever its type; CRLF line ends."""
    fields, body = split(message)
    kind, parameters = media_type(first(fields, "content-type"))
    return Part(kind, parameters, fields, body)


def read(raw: bytes) -> Part:
    """The whole message as one part, line ends mended, cut at `SIZE_MAX`."""
    return part(line_ends(raw[:SIZE_MAX]))


def leaves(top: Part) -> list[Part]:
    """The parts that are no multiparts, in order; at most `PARTS_MAX`, and multiparts deeper than `DEPTH_MAX` whole."""
    found: list[Part] = []
    waiting = [(top, 0)]
    while waiting and len(found) < PARTS_MAX:
        one, depth = waiting.pop()
        boundary = one.parameters.get("boundary", "") if one.kind.startswith("multipart/") else ""
        if boundary and depth < DEPTH_MAX:
            inside = [part(piece) for piece in pieces(one.body, boundary)]
            waiting.extend((child, depth + 1) for child in reversed(inside))
        else:
            found.append(one)
    return found


def pieces(body: bytes, boundary: str) -> Iterator[bytes]:
    """The body parts between delimiter lines (RFC 2046 §5.1.1), at most `PARTS_MAX`; the last may lack its end."""
    start: int | None = None
    count = 0
    for found in delimiters(boundary).finditer(body):
        if start is not None:
            yield body[start : found.start()]
            count += 1
        start = None if found[1] or count >= PARTS_MAX else min(found.end() + 2, len(body))
        if found[1]:
            return
    if start is not None:
        yield body[start:]


def delimiters(boundary: str) -> re.Pattern[bytes]:
    """Matches a delimiter line with the CRLF before it, which belongs to it; group 1 is `--` on the last one."""
    return re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary.encode("utf-8", "replace")) + rb"(--)?[ \t]*(?=\r\n|\Z)")
