"""Thousands of wrong requests at every HTTP door: none is a failure of ours, none leaves half of something."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.security.conftest import Target
from tests.security.hostile_requests import Hostile

LONG = int(os.environ.get("COMMANDPOST_TEST_LONG") or 0)
REQUESTS = 10_000 * LONG or 2000
AT_ONCE = 4
SEED = 20240601

ANSWERS = {200, 400, 401, 403, 404, 405, 409, 413, 414, 422, 429, 431}
"""Everything that a request may be told while the database is there."""

_MESSAGE_ID = re.compile(rb'"MessageID":"([0-9a-f-]{36})"')


def exchange(port: int, request: bytes, stops: bool) -> bytes:
    """Send and read the answer; b"" where the server hung up on what it would not read to its end."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection, contextlib.suppress(ConnectionError):
        with contextlib.suppress(OSError):  # it may be gone before all is sent, and have answered
            connection.sendall(request)
            if stops:
                connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def some(target: Target, number: int) -> list[tuple[bytes, bytes]]:
    random_ = random.Random(SEED + number)
    hostile = Hostile(target.account_key, target.sender_key, target.domain_id)
    found = []
    for _ in range(REQUESTS // AT_ONCE):
        request, stops = hostile.request(random_)
        found.append((request, exchange(target.installation.http, request, stops)))
    return found


@pytest.mark.timeout(1800)
def test_nothing_breaks_and_nothing_is_half_stored(target: Target) -> None:
    begun = time.monotonic()
    # One that is in order comes first: a hostile one may end the domain, as its owner may.
    sound = Hostile(target.account_key, target.sender_key, target.domain_id).sound()
    exchanges = [(sound, exchange(target.installation.http, sound, False))]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        exchanges += [pair for found in pool.map(lambda number: some(target, number), range(AT_ONCE)) for pair in found]
    accepted = set()
    silent = 0
    for request, answer in exchanges:
        if not answer:
            silent += 1
            continue
        status = int(answer[9:12])
        assert status in ANSWERS, (request[:2000], answer[:1000])
        body = answer.partition(b"\r\n\r\n")[2]
        if b"\r\nContent-Type: application/json" in answer and body:
            json.loads(body)
        accepted |= set(_MESSAGE_ID.findall(answer)) if request.startswith(b"POST /api/v1/email") else set()
    assert silent < REQUESTS // 100
    assert len({answer[9:12] for _, answer in exchanges}) > 6, "the requests are not hostile in many ways"
    assert time.monotonic() - begun < 60 * REQUESTS / 2000, "a request was held up"
    counts = target.counts()
    assert counts["message"] == len(accepted) > 0
    assert counts["message"] <= counts["delivery"]
    log = target.log
    assert "part_died" not in log
    assert "Traceback" not in log, log[log.index("Traceback") - 1000 :][:4000]
    assert target.account_key not in log
    assert target.sender_key not in log
