"""SIGKILL in the middle of a message to a long list: everybody on it gets one delivery, and nobody two."""

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

from models.vocabulary import DeliveryState
from tests.cli.installation import wait_for
from tests.installation import Installation
from tests.reliability.conftest import times

pytestmark = [pytest.mark.journey, pytest.mark.timeout(1800)]

SUBSCRIBERS = times(8_000, 100_000)
AT_ONCE = 1_000
KILLED_AT = (0.1, 0.5)
"""Parts of the list that have their delivery when the worker dies."""


def _rows(installation: Installation, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(installation.data / "commandpost.db", timeout=20)) as store:
        return store.execute(sql).fetchall()


def _made(installation: Installation) -> int:
    return int(_rows(installation, "SELECT COALESCE(SUM(made), 0) FROM expansion")[0][0])


def _worker(installation: Installation) -> int:
    """The process that makes the deliveries, as last started."""
    found = re.findall(r"part=aside pid=(\d+)", installation.log.read_text(errors="replace"))
    return int(found[-1])


def kill_when(installation: Installation, wanted: int) -> int:
    """Kill the worker once so many deliveries are made; how many those were.

    It is stopped for every look: a batch takes less time than looking does.
    """
    victim = _worker(installation)
    end = time.monotonic() + times(60, 300)
    while time.monotonic() < end:
        os.kill(victim, signal.SIGSTOP)
        made = _made(installation)
        if made >= wanted:
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: _worker(installation) != victim, "a new worker", seconds=60)
            return made
        os.kill(victim, signal.SIGCONT)
        time.sleep(0.004)
    raise AssertionError("no delivery is made")


def _peak_mb(pid: int) -> float:
    """The most memory that the process ever had."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0
    return 0.0


def _command(installation: Installation, key: str, name: str, **params: object) -> dict[str, Any]:
    body = {"APIKey": key, "Command": f"EmailGateway.{name}", **params}
    answer = requests.post(f"{installation.url}/api.php", json=body, timeout=60).json()
    assert answer["Success"] is True, answer
    return dict(answer)


def test_everybody_on_a_long_list_gets_one(tmp_path: Path, report: Callable[[str], None]) -> None:
    with Installation(tmp_path / "var") as installation:
        email = "jane@people.test"
        account = installation.cli("user", "add", "--email", email, "--password", "a long password")["api_key"]
        installation.cli("plan", "set", "--user", email, "--unlimited")
        installation.cli("domain", "add", "shop.test", "--user", email, "--trusted")
        key = installation.cli("key", "add", "--user", email, "--domain", "shop.test")["key"]
        news = _command(installation, account, "AddList", ListName="News")["NewListID"]
        for start in range(0, SUBSCRIBERS, AT_ONCE):
            people = [{"EmailAddress": f"reader{n}@friends.test"} for n in range(start, start + AT_ONCE)]
            assert (
                _command(installation, account, "AddSubscribers", ListID=news, Subscribers=people)["Added"] == AT_ONCE
            )
        before = _peak_mb(_worker(installation))
        begun = time.monotonic()
        answer = requests.post(
            f"{installation.url}/api/v1/email",
            headers={"Authorization": f"Bearer {key}"},
            json={
                "From": {"email": "news@shop.test", "name": "The Shop"},
                "Subject": "News",
                "ContentType": "html",
                "HtmlContent": "<p>News</p>",
                "TargetListID": news,
            },
            timeout=60,
        )
        answered = time.monotonic() - begun
        assert answer.status_code == 200, answer.text
        kills = 0
        for part in KILLED_AT:
            kills += kill_when(installation, round(SUBSCRIBERS * part)) < SUBSCRIBERS
        done = "SELECT COUNT(*) FROM expansion WHERE done_ms IS NOT NULL"
        wait_for(lambda: _rows(installation, done) == [(1,)], "the end of the list", seconds=times(120, 900))
        expanded = time.monotonic() - begun
        peak = _peak_mb(_worker(installation))
        assert _rows(installation, "SELECT COUNT(*) FROM message") == [(1,)]
        counts = "SELECT COUNT(*), COUNT(DISTINCT rcpt), COUNT(DISTINCT message_id) FROM delivery"
        assert _rows(installation, counts) == [(SUBSCRIBERS, SUBSCRIBERS, 1)]
        assert _rows(installation, "SELECT made, total FROM expansion") == [(SUBSCRIBERS, SUBSCRIBERS)]
        assert kills, "the worker was done before it could be killed"
        live = f"SELECT COUNT(*) FROM delivery WHERE state <> {int(DeliveryState.DELIVERED)}"
        wait_for(lambda: _rows(installation, live) == [(0,)], "everything delivered", seconds=times(120, 1200))
        delivered = time.monotonic() - begun
        assert _rows(installation, "SELECT COUNT(*), COUNT(DISTINCT rcpt) FROM captured_mail") == [
            (SUBSCRIBERS, SUBSCRIBERS)
        ]
        report(
            f"a list of {SUBSCRIBERS}: answered in {answered * 1000:.0f} ms, expanded in {expanded:.1f} s with"
            f" {kills} kills, delivered in {delivered:.1f} s;"
            f" the worker had {before:.0f} MB before, {peak:.0f} MB at most"
        )
