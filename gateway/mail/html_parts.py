"""The bodies, HTML and plain, of mail as submitted: taken out once, put back changed, the rest byte for byte."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.mail import parse, transfer
from gateway.mail.parse import Fields

LINE_MAX = 998
HTML, PLAIN = "text/html", "text/plain"
_DEPTH = 8
_PARTS_MOST = 50
_SEALED = ("multipart/signed", "multipart/encrypted", "multipart/report")
"""What a change would break, or what nobody reads as a letter."""
_ENCODINGS = ("", "7bit", "8bit", "binary", "quoted-printable", "base64")
_CTE = b"content-transfer-encoding"


@dataclass(frozen=True, slots=True)
class TextPart:
    """`text` (CRLF or LF line ends, as sent) stands encoded at `start` to `end`, the header fields included."""

    start: int
    end: int
    fields: Fields
    charset: str
    encoding: str
    text: str
    kind: str = HTML

    def encoded(self, text: str) -> bytes:
        """The whole part with another text: in its own encoding, or quoted-printable where lines grew too long."""
        data = text.encode(self.charset, "xmlcharrefreplace" if self.kind == HTML else "replace")
        encoding, fields = self.encoding, self.fields
        if encoding not in ("base64", "quoted-printable") and _long(data):
            encoding = "quoted-printable"
            fields = [field for field in fields if field[0] != _CTE]
            fields = [*fields, (_CTE, b"Content-Transfer-Encoding: quoted-printable\r\n")]
        if encoding == "base64":
            data = transfer.base64_lines(data)
        elif encoding == "quoted-printable":
            data = transfer.quoted_printable(data.replace(b"\r\n", b"\n"))
        return b"".join([*(line for _, line in fields), b"\r\n", data])


@dataclass(frozen=True, slots=True)
class Split:
    """A message and where its bodies are, as they stand in it."""

    message: bytes
    parts: tuple[TextPart, ...]

    def joined(self, texts: Sequence[str]) -> bytes:
        """The message with these texts in its parts; a part whose text is the same keeps its bytes."""
        out: list[bytes] = []
        at = 0
        for part, text in zip(self.parts, texts, strict=True):
            if text == part.text:
                continue
            out += (self.message[at : part.start], part.encoded(text))
            at = part.end
        return b"".join([*out, self.message[at:]])


def split(message: bytes) -> Split:
    """Find the bodies that may be changed: none that is attached, signed, encrypted, or cannot be read."""
    found: list[TextPart] = []
    for part in _walk(message, 0, len(message), _DEPTH):
        found.append(part)
        if len(found) == _PARTS_MOST:
            break
    return Split(message, tuple(found))


def _walk(message: bytes, start: int, end: int, depth: int) -> Iterator[TextPart]:
    fields, body = parse.split(message[start:end])
    kind, parameters = parse.media_type(parse.first(fields, "content-type"))
    if kind.startswith("multipart/"):
        if depth and kind not in _SEALED and parameters.get("boundary"):
            for first, last in _inside(body, parameters["boundary"]):
                yield from _walk(message, end - len(body) + first, end - len(body) + last, depth - 1)
        return
    disposition = parse.first(fields, "content-disposition").partition(";")[0].strip().lower()
    if kind in (HTML, PLAIN) and disposition != "attachment":
        part = _read(fields, body, parameters.get("charset") or "us-ascii", start, end, kind)
        if part is not None:
            yield part


def _inside(body: bytes, boundary: str) -> Iterator[tuple[int, int]]:
    """Where each body part begins and ends; one that has no end is none (it was cut off)."""
    start: int | None = None
    for found in parse.delimiters(boundary).finditer(body):
        if start is not None:
            yield start, found.start()
        if found[1]:
            return
        start = min(found.end() + 2, len(body))


def _read(fields: Fields, body: bytes, charset: str, start: int, end: int, kind: str) -> TextPart | None:
    """None unless decoding and encoding again gives the same text: then only the encoding may look different."""
    encoding = parse.first(fields, "content-transfer-encoding").strip().lower()
    if encoding not in _ENCODINGS:
        return None
    data = transfer.decode(body, encoding)
    try:
        name = codecs.lookup(charset).name
        if name == "ascii" and not data.isascii():
            return None
        text = data.decode(name)
        if not name.startswith(("utf-8", "ascii", "iso8859", "cp125", "koi8", "gb", "big5", "shift_jis", "euc")):
            return None  # UTF-16 and shifting escapes: what is put between would not be ASCII
        if text.encode(name) != data:
            return None
    except (LookupError, ValueError):
        return None
    if encoding == "quoted-printable" and b"\r" in data.replace(b"\r\n", b""):
        return None
    return TextPart(start, end, fields, name, encoding, text, kind)


def _long(data: bytes) -> bool:
    return max(map(len, data.split(b"\r\n"))) > LINE_MAX
