"""SIGKILL around a campaign: launched once at its time, everybody gets one, and nothing leaves while it is paused."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway import clock
from tests.cli.installation import wait_for
from tests.installation import Installation
from tests.reliability.conftest import times
from tests.reliability.test_list_kills import _command, _made, _peak_mb, _rows, _worker, kill_when

pytestmark = [pytest.mark.journey, pytest.mark.timeout(1800)]

SUBSCRIBERS = times(4_000, 100_000)
AT_ONCE = 1_000


def _captured(installation: Installation) -> int:
    return int(_rows(installation, "SELECT COUNT(*) FROM captured_mail")[0][0])


def _deliverers(installation: Installation) -> list[int]:
    found = re.findall(r"part=deliver pid=(\d+)", installation.log.read_text(errors="replace"))
    return [int(pid) for pid in found[-1:]]


def test_a_campaign_survives_whatever_is_killed(tmp_path: Path, report: Callable[[str], None]) -> None:
    with Installation(tmp_path / "var") as installation:
        email = "jane@people.test"
        account = installation.cli("user", "add", "--email", email, "--password", "a long password")["api_key"]
        installation.cli("plan", "set", "--user", email, "--unlimited")
        installation.cli("domain", "add", "shop.test", "--user", email, "--trusted")
        options = ("--user", email, "--domain", "shop.test", "--surface", "mailersio")
        headers = {"Authorization": f"Bearer {installation.cli('key', 'add', *options)['key']}"}
        news = _command(installation, account, "AddList", ListName="News")["NewListID"]
        for start in range(0, SUBSCRIBERS, AT_ONCE):
            people = [
                {"EmailAddress": f"reader{n}@friends{n % 7}.test", "Fields": {"first": f"R{n}"}}
                for n in range(start, start + AT_ONCE)
            ]
            _command(installation, account, "AddSubscribers", ListID=news, Subscribers=people)

        def call(method: str, path: str = "", **body: Any) -> dict[str, Any]:
            url = f"{installation.url}/v1/campaigns{path}"
            answer = requests.request(method, url, headers=headers, json=body or None, timeout=60)
            assert answer.ok, answer.text
            return dict(answer.json())

        campaign = call(
            "POST", name="Spring", list_id=str(news), subject="Hi {{ first }}", html="<p>{{ first }}</p>",
            scheduled_at=clock.rfc3339(clock.now_ms() + 3_000), **{"from": "The Shop <news@shop.test>"},
        )  # fmt: skip
        path = f"/{campaign['id']}"
        victim = _worker(installation)
        before = _peak_mb(victim)
        os.kill(victim, signal.SIGKILL)  # whoever would have launched it
        wait_for(lambda: _worker(installation) != victim, "a new worker", seconds=60)
        begun = time.monotonic()
        kills = kill_when(installation, SUBSCRIBERS // 10) < SUBSCRIBERS
        kills += kill_when(installation, SUBSCRIBERS // 2) < SUBSCRIBERS
        wait_for(lambda: _captured(installation) > 0, "the first mail", seconds=times(60, 300))
        call("POST", f"{path}/pause")
        for pid in _deliverers(installation):
            os.kill(pid, signal.SIGKILL)
        time.sleep(1.5)
        made, left = _made(installation), _captured(installation)
        time.sleep(1.5)
        assert (_made(installation), _captured(installation)) == (made, left)
        assert left < SUBSCRIBERS, "everything had left before it could be paused"
        call("POST", f"{path}/resume")
        wait_for(lambda: _captured(installation) >= SUBSCRIBERS, "all mail", seconds=times(120, 1200))
        delivered = time.monotonic() - begun
        wait_for(lambda: call("GET", path)["status"] == "sent", "the end of the campaign", seconds=60)
        assert _rows(installation, "SELECT COUNT(*) FROM message") == [(1,)]
        counts = "SELECT COUNT(*), COUNT(DISTINCT rcpt) FROM delivery"
        assert _rows(installation, counts) == [(SUBSCRIBERS, SUBSCRIBERS)]
        assert _rows(installation, counts.replace("delivery", "captured_mail")) == [(SUBSCRIBERS, SUBSCRIBERS)]
        told = call("GET", f"{path}/report")
        assert (told["recipients"], told["delivered"], told["pending"]) == (SUBSCRIBERS, SUBSCRIBERS, 0)
        assert kills, "the worker was done before it could be killed"
        report(
            f"a campaign to {SUBSCRIBERS}: {left} had left when it was paused, delivered in {delivered:.1f} s with"
            f" {kills + 2} kills and a pause of 3 s; the worker had {before:.0f} MB before,"
            f" {_peak_mb(_worker(installation)):.0f} MB at most"
        )
