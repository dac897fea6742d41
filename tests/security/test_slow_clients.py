"""Clients that hold connections open without ending their requests: everybody else is served meanwhile."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.security.conftest import Target

HELD = 60
"""More than all threads of all workers."""


@contextmanager
def held(port: int, request: bytes) -> Iterator[list[socket.socket]]:
    """Connections that have sent that much and no more."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(HELD):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            connection.sendall(request)
            opened.append(connection)
        time.sleep(0.3)
        yield opened


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"POST /api.php HTTP/1.1\r\nHost: x\r\nX-A: ",
        b"POST /api.php HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nCommand=",
        b"POST /api/v1/email HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST /api.php HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 40_000,
        b"POST /api.php HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
        b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\nGET /ready HTTP/1.1\r\nHost: x\r\nX-A: ",
    ],
    ids=["nothing", "head", "body", "chunks", "large body", "expect", "pipelined"],
)
def test_others_are_served(target: Target, request_: bytes) -> None:
    with held(target.installation.http, request_):
        for _ in range(5):
            begun = time.monotonic()
            answer = requests.post(
                f"{target.installation.url}/api.php",
                data={"Command": "User.Get", "APIKey": target.account_key},
                timeout=10,
            )
            assert answer.json()["Success"]
            assert time.monotonic() - begun < 5


def test_a_request_in_pieces_is_answered(target: Target) -> None:
    body = f"Command=User.Get&APIKey={target.account_key}&Filler=".encode() + b"x" * 100_000
    whole = (
        b"POST /api.php HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    )
    whole += b"Content-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(("127.0.0.1", target.installation.http), timeout=10) as connection:
        for cut in ((0, 10), (10, 150), (150, 200), (200, 30_000), (30_000, 60_000), (60_000, len(whole))):
            connection.sendall(whole[slice(*cut)])
            time.sleep(0.05)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"Success":true' in answer


def test_half_a_request_of_a_client_that_stops_sending_is_answered(target: Target) -> None:
    with socket.create_connection(("127.0.0.1", target.installation.http), timeout=10) as connection:
        connection.sendall(b"POST /api/v1/email HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.1)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 422")
