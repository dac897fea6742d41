"""Replies within bounds of time and size."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from gateway.transports.smtp_reply import MAX_LINE, Broken, Reader, Reply


@pytest.fixture
def pair() -> Iterator[tuple[Reader, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Reader(ours), theirs


def test_lines_codes_and_what_follows(pair: tuple[Reader, socket.socket]) -> None:
    reader, server = pair
    server.sendall(b"250-first\r\n250-\r\n250 last \r\n354\r\n220 caf\xe9 \x1b[1m\r\n25")
    assert reader.read(1, "X") == Reply(250, "first\n\nlast")
    assert reader.read(1, "X") == Reply(354, "")
    assert reader.read(1, "X") == Reply(220, "caf\ufffd ?[1m")
    assert reader.pending == b"25"


@pytest.mark.parametrize(
    ("text", "enhanced"),
    [
        ("5.1.1 unknown", "5.1.1"),
        ("5.1.1", "5.1.1"),
        ("5.1.10 null MX", "5.1.10"),
        ("4.1.1 of another class", ""),
        ("unknown 5.1.1", ""),
        ("5.1.1.1 an address", ""),
        ("5.1.1234 too long", ""),
        ("", ""),
    ],
)
def test_enhanced_codes(text: str, enhanced: str) -> None:
    assert Reply(550, text).enhanced == enhanced


def test_a_server_that_drips_gets_the_time_of_one_reply(pair: tuple[Reader, socket.socket]) -> None:
    reader, server = pair
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.02):
            server.send(b"2")

    dripping = threading.Thread(target=drip)
    dripping.start()
    began = time.monotonic()
    try:
        with pytest.raises(Broken, match=r"no reply to RCPT within 0\.2 s"):
            reader.read(0.2, "RCPT")
    finally:
        stop.set()
        dripping.join()
    assert time.monotonic() - began < 5, "each drip started the clock anew"


def test_a_line_of_the_longest_length_is_read(pair: tuple[Reader, socket.socket]) -> None:
    reader, server = pair
    server.sendall(b"250 " + b"x" * (MAX_LINE - 5) + b"\r\n")
    assert len(reader.read(1, "X").text) == MAX_LINE - 5
    server.sendall(b"250 " + b"x" * MAX_LINE + b"\r\n")
    with pytest.raises(Broken, match="a line of more than") as broken:
        reader.read(1, "X")
    assert broken.value.category == "protocol"


def test_a_hundred_lines_are_read(pair: tuple[Reader, socket.socket]) -> None:
    reader, server = pair
    server.sendall(b"250-x\r\n" * 99 + b"250 y\r\n")
    assert reader.read(1, "X").text.endswith("\ny")
    server.sendall(b"250-x\r\n" * 100 + b"250 y\r\n")
    with pytest.raises(Broken, match="more than 100 lines"):
        reader.read(1, "X")
