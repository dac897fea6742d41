"""Content transfer encodings (RFC 2045 §6)."""

from __future__ import annotations

import binascii
import quopri
import re

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")


def quoted_printable(data: bytes) -> bytes:
    """RFC 2045 §6.7 of text with LF line ends; the result has CRLF and lines of at most 76."""
    encoded = binascii.b2a_qp(data, istext=True)
    # Mailbox files turn `From ` at the start of a line into `>From `, which breaks signatures.
    if encoded.startswith(b"From "):
        encoded = b"=46" + encoded[1:]
    return encoded.replace(b"\nFrom ", b"\n=46rom ").replace(b"\n", b"\r\n")


def base64_lines(data: bytes) -> bytes:
    """RFC 2045 §6.8 in lines of 76."""
    lines = [binascii.b2a_base64(data[start : start + 57], newline=False) for start in range(0, len(data), 57)]
    return b"\r\n".join(lines) + b"\r\n" if lines else b""


def decode(data: bytes, encoding: str) -> bytes:
    """The octets behind a transfer encoding, as far as they can be read; never raises."""
    if encoding == "quoted-printable":
        return quopri.decodestring(data)
    if encoding == "base64":
        clean = _NOT_BASE64.sub(b"", data)
        clean = clean[: len(clean) - (len(clean) % 4 == 1)]
        return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
    return data
