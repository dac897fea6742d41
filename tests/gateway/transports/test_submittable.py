"""Dot-stuffing, and what is refused before anybody is dialled."""

from __future__ import annotations

import re
import socket

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.transports.submittable import has_bare_bytes, stuffed
from tests.peers.smtp_sink import SmtpSink

BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
LINES = st.lists(st.text(alphabet=".a\x7f ü", max_size=6).map(str.encode), max_size=8)


def _received(wire: bytes) -> bytes:
    """What the sink's own reader makes of the bytes."""
    sink = SmtpSink()
    try:
        with socket.create_connection((sink.host, sink.port)) as sock, sock.makefile("rb") as lines:
            sock.sendall(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<john@example.net>\r\nDATA\r\n")
            while not lines.readline().startswith(b"354"):
                pass
            sock.sendall(wire + b"QUIT\r\n")
            assert lines.readline().startswith(b"250"), "more or fewer ends of data than one"
            assert lines.readline().startswith(b"221"), "more or fewer ends of data than one"
        return sink.wait_for(1)[0].data
    finally:
        sink.close()


@given(LINES)
@example([b"."])
@example([b".", b"", b"..", b"."])
@example([])
def test_stuffing_comes_back_as_it_was(lines: list[bytes]) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    assert _received(stuffed(message)) == message


def test_a_last_line_without_its_end_gets_one() -> None:
    assert stuffed(b"a\r\nb") == b"a\r\nb\r\n.\r\n"
    assert stuffed(b".") == b"..\r\n.\r\n"
    assert stuffed(b"") == b".\r\n"


@given(st.binary(max_size=40), st.sampled_from([b"", b"\r", b"\n", b"\0", b"\r\n", b"\n\r", b"\r\r\n"]))
def test_bare_bytes_are_found_wherever_they_are(around: bytes, inserted: bytes) -> None:
    message = around[:20] + inserted + around[20:]
    assert has_bare_bytes(message) == (BARE.search(message) is not None)
