"""What is refused leaves no trace: not one commit to the database between a wrong request and its refusal."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from tests.installation import ROOT, Installation
from tests.security.hostile_requests import Hostile
from tests.security.test_hostile_requests import ANSWERS, LONG, SEED, exchange

REQUESTS = 10_000 * LONG or 1000


class WebAlone(Installation):
    """Only the HTTP part: nobody but a request writes to the database."""

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "web"],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        end = time.monotonic() + 40
        while time.monotonic() < end:
            try:
                requests.get(f"{self.url}/ready", timeout=5)
                return
            except requests.RequestException:
                time.sleep(0.1)
        raise RuntimeError(f"does not answer:\n{self.log.read_text(errors='replace')[-4000:]}")


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[tuple[WebAlone, Hostile]]:
    installation = WebAlone(tmp_path / "var")
    installation.data.mkdir()
    email = "owner@people.test"
    user = installation.cli("user", "add", "--email", email, "--password", "correct horse battery")
    installation.cli("plan", "set", "--user", email, "--unlimited")
    domain = installation.cli("domain", "add", "shop.test", "--user", email, "--trusted")
    key = installation.cli("key", "add", "--user", email, "--domain", "shop.test")
    with installation:
        yield installation, Hostile(user["api_key"], key["key"], domain["id"])


def refused(answer: bytes) -> bool:
    """Whether it says that the request was not done."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if int(head[9:12]) >= 400:
        return True
    try:
        said = json.loads(body)
    except ValueError:
        return b"<Success>false" in body or b'"Success":false' in body
    return isinstance(said, dict) and said.get("Success") is False


@pytest.mark.timeout(1800)
def test_a_refusal_writes_nothing(hostile: tuple[WebAlone, Hostile]) -> None:
    installation, requests_ = hostile
    random_ = random.Random(SEED - 1)
    statuses: Counter[int] = Counter()
    told: Counter[bool] = Counter()
    wrote: list[tuple[bytes, bytes]] = []
    with closing(sqlite3.connect(installation.data / "commandpost.db")) as store:

        def version() -> int:
            """Changes with every commit of another connection that changed something."""
            return int(store.execute("PRAGMA data_version").fetchone()[0])

        for _ in range(REQUESTS):
            request, stops = requests_.request(random_)
            before = version()
            answer = exchange(installation.http, request, stops)
            if not answer:
                told[False] += 1
                continue
            statuses[int(answer[9:12])] += 1
            assert int(answer[9:12]) in ANSWERS, (request[:2000], answer[:1000])
            if refused(answer):
                told[True] += 1
                if version() != before:
                    wrote.append((request[:1500], answer[:600]))
    assert wrote == []
    assert told[True] > REQUESTS // 2, "the requests are not hostile"
    assert told[False] < REQUESTS // 100 + 5
    assert len(statuses) > 4
    log = installation.log.read_text(errors="replace")
    assert "Traceback" not in log, log[log.index("Traceback") - 1000 :][:4000]
