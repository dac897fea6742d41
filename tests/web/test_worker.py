"""How much of a request is waited for before a thread is spent on it."""

from __future__ import annotations

import socket
import time

import pytest

from web import worker

HEAD = b"POST /api.php HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        (b"", 1),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", 26),
        (HEAD + b"\r\n", len(HEAD) + 2),
        (HEAD + b"Content-Length: 7\r\n\r\nabc", len(HEAD) + 21 + 7),
        (HEAD + b"CONTENT-LENGTH:7\r\n\r\nabcdefg", len(HEAD) + 20 + 7),
        (HEAD + b"Content-Length: 9000000\r\n\r\n", worker.WHOLE),
        (HEAD + b"Content-Length: x\r\n\r\n", len(HEAD) + 21),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", len(HEAD) + 30 + 6),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", len(HEAD) + 30),
        (HEAD + b"Content-Length: 7\r\nExpect: 100-continue\r\n\r\n", len(HEAD) + 43),
        (b"x" * worker.WHOLE, worker.WHOLE),
    ],
)
def test_wanted(seen: bytes, wanted: int) -> None:
    assert worker.wanted(seen) == wanted


def test_the_least_is_of_the_workers_that_are_there() -> None:
    loads = worker._Loads()
    assert loads.least() == 0
    for age in range(1, 65):  # as many as there may be
        loads.tell(age, 5)
    assert loads.least() == 5
    loads.tell(2, 0)
    assert loads.least() == 0
    loads.forget(2)
    loads.tell(65, 3)  # started in its place, beside the first of all
    loads.tell(1, 7)
    assert loads.least() == 3
    for age in range(3, 65):
        loads.forget(age)
    loads.forget(65)
    assert loads.least() == 7


def test_a_drip_does_not_move_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ARRIVE_SECONDS", 0.3)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = worker._Reader(ours)
        begun = time.monotonic()
        with pytest.raises(ConnectionResetError):
            while time.monotonic() < begun + 5:
                theirs.sendall(b"x")
                reader.chunk()
                time.sleep(0.05)
            pytest.fail("it was read for ever")
        assert time.monotonic() - begun < 1
        ours.recv(10)  # the last drop
        reader.begin()
        theirs.sendall(b"next")
        assert reader.chunk() == b"next"
