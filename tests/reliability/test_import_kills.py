"""SIGKILL in the middle of a file of subscribers: every good row is on the list once, every bad one told once."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cli.installation import wait_for
from tests.installation import Installation
from tests.reliability.conftest import times

pytestmark = [pytest.mark.journey, pytest.mark.timeout(1800)]

ROWS = times(20_000, 200_000)
BAD_EVERY = 100
KILLED_AT = (0.1, 0.5)
"""Parts of the file that are dealt with when the worker dies."""


def _rows(installation: Installation, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(installation.data / "commandpost.db", timeout=20)) as store:
        return store.execute(sql).fetchall()


def _worker(installation: Installation) -> int:
    """The process that imports, as last started."""
    return int(re.findall(r"part=aside pid=(\d+)", installation.log.read_text(errors="replace"))[-1])


def test_every_row_of_a_file_is_dealt_with_once(tmp_path: Path, report: Callable[[str], None]) -> None:
    with Installation(tmp_path / "var") as installation:
        email = "jane@people.test"
        installation.cli("user", "add", "--email", email, "--password", "a long password")
        installation.cli("plan", "set", "--user", email, "--unlimited")
        key = installation.cli("key", "add", "--user", email, "--surface", "mailersio")["key"]
        headers = {"Authorization": f"Bearer {key}"}
        news = requests.post(f"{installation.url}/v1/lists", headers=headers, json={"name": "News"}, timeout=30).json()
        path = f"{installation.url}/v1/lists/{news['id']}/imports"
        text = "email,name\n" + "".join(
            f"bad{n},\n" if n % BAD_EVERY == 0 else f"reader{n}@friends.test,Reader {n}\n" for n in range(ROWS)
        )
        begun = time.monotonic()
        answer = requests.post(path, headers=headers | {"Content-Type": "text/csv"}, data=text.encode(), timeout=60)
        assert answer.status_code == 202, answer.text
        one = f"{path}/{answer.json()['id']}"

        def now() -> dict[str, Any]:
            return dict(requests.get(one, headers=headers, timeout=30).json())

        kills = 0
        for part in KILLED_AT:
            wait_for(lambda part=part: now()["done"] >= ROWS * part, "rows", seconds=times(60, 300))  # type: ignore[misc]
            victim = _worker(installation)
            kills += now()["state"] == "running"
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda victim=victim: _worker(installation) != victim, "a new worker", seconds=60)  # type: ignore[misc]
            # The lease of the dead runs out by itself; nobody has to wait for that here.
            with contextlib.closing(sqlite3.connect(installation.data / "commandpost.db", timeout=20)) as store:
                store.execute("UPDATE list_import SET due_ms = 1 WHERE due_ms IS NOT NULL")
                store.commit()
        wait_for(lambda: now()["state"] == "done", "the end of the file", seconds=times(120, 900))
        took = time.monotonic() - begun
        bad = ROWS // BAD_EVERY
        done = now()
        assert kills, "the worker was done before it could be killed"
        assert (done["total"], done["done"], done["added"], done["failed"]) == (ROWS, ROWS, ROWS - bad, bad)
        assert _rows(installation, "SELECT COUNT(*), COUNT(DISTINCT address) FROM subscriber") == [
            (ROWS - bad, ROWS - bad)
        ]
        assert _rows(installation, "SELECT n FROM list_count WHERE status = 1") == [(ROWS - bad,)]
        lines = requests.get(f"{one}/errors", headers=headers, timeout=30).text.splitlines()[1:]
        assert [int(line.partition(",")[0]) for line in lines] == list(range(2, ROWS + 2, BAD_EVERY))
        report(f"a file of {ROWS} rows, {bad} of them bad: imported in {took:.1f} s with {kills} kills")
