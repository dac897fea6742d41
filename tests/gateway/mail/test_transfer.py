"""Transfer encodings: what is encoded travels and decodes to the same."""

from __future__ import annotations

import base64
import quopri

from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import transfer

_lines = st.lists(st.binary(max_size=200).map(lambda line: line.translate(None, b"\r\n\0")), max_size=8)


@given(_lines)
def test_quoted_printable(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    encoded = transfer.quoted_printable(data)
    assert encoded.isascii() and all(len(line) <= 76 for line in encoded.split(b"\r\n"))
    assert not encoded.startswith(b"From ") and b"\r\nFrom " not in encoded
    assert all(not line.endswith((b" ", b"\t")) for line in encoded.split(b"\r\n"))
    assert quopri.decodestring(encoded).replace(b"\r\n", b"\n") == data
    assert transfer.decode(encoded, "quoted-printable").replace(b"\r\n", b"\n") == data


@given(st.binary(max_size=500))
def test_base64(data: bytes) -> None:
    encoded = transfer.base64_lines(data)
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))
    assert base64.b64decode(encoded) == data == transfer.decode(encoded, "base64")


@given(st.binary(max_size=300), st.sampled_from(["base64", "quoted-printable", "7bit", "", "x-unknown"]))
def test_garbage_never_raises(data: bytes, encoding: str) -> None:
    assert isinstance(transfer.decode(data, encoding), bytes)
