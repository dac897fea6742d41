"""Limits of a plan under twenty threads and four processes, and a key that is revoked meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.conftest import RUN_ID, mariadb_answers, mysql_admin, mysql_url
from tests.installation import Installation

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

THREADS, PROCESSES = 20, 4
EMAIL = "jane@people.test"
SEND = {"from": "hello@shop.test", "to": "delivered@simulator.test", "subject": "Hi", "text": "Hello"}


@dataclass
class Place:
    installation: Installation
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def plan(self, *limits: str) -> None:
        """Put the account on a plan with these limits and nothing else."""
        named = [part for limit in limits for part in ("--limit", limit)]
        self.installation.cli("plan", "save", "Proof", *named)
        self.installation.cli("plan", "set", "--user", EMAIL, "--plan", "Proof")
        time.sleep(1.2)  # what processes know of a plan is a second old at most

    def flood(self, each: int) -> Counter[int]:
        """The statuses of `each` requests of every thread at once."""
        statuses: Counter[int] = Counter()
        lock = threading.Lock()
        ready = threading.Barrier(THREADS)

        def work() -> None:
            with requests.Session() as session:
                ready.wait()
                for _ in range(each):
                    answer = session.post(
                        f"{self.installation.url}/api/v1/emails", json=SEND, headers=self.headers, timeout=60
                    )
                    with lock:
                        statuses[answer.status_code] += 1

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statuses


@pytest.fixture(params=["sqlite", "mariadb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with contextlib.ExitStack() as ending:
        settings = {}
        if request.param == "mariadb":
            if why_not := mariadb_answers():
                pytest.skip(why_not)
            name = f"commandpost_test_limits_{RUN_ID}"
            mysql_admin(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            ending.callback(mysql_admin, f"DROP DATABASE `{name}`")
            settings = {"DATABASE_URL": mysql_url(name)}
        installation = ending.enter_context(
            Installation(tmp_path / "var", WEB_WORKERS=str(PROCESSES), WEB_THREADS="8", **settings)
        )
        installation.cli("user", "add", "--email", EMAIL, "--password", "a long password")
        installation.cli("domain", "add", "shop.test", "--user", EMAIL, "--trusted")
        key = installation.cli("key", "add", "--user", EMAIL, "--surface", "maillayer")["key"]
        yield Place(installation, key)


def test_limits_are_exact_and_a_revoked_key_stops(place: Place) -> None:
    place.plan("requests=100", "request_window=60", "emails_month=-")
    statuses = place.flood(10)
    assert statuses[202] == 100, statuses
    assert statuses[429] == THREADS * 10 - 100

    place.plan("requests=1000000", "emails_month=150")
    statuses = place.flood(10)
    # What was sent while there was no limit of a month is not counted.
    assert statuses[202] == 150, statuses
    assert statuses[429] == THREADS * 10 - 150

    place.plan("emails_month=-")
    until = time.monotonic() + 3.0
    answers: list[tuple[float, int]] = []
    lock = threading.Lock()

    def send_on() -> None:
        with requests.Session() as session:
            while time.monotonic() < until:
                began = time.monotonic()
                code = session.post(
                    f"{place.installation.url}/api/v1/emails", json=SEND, headers=place.headers, timeout=60
                ).status_code
                with lock:
                    answers.append((began, code))

    threads = [threading.Thread(target=send_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    root = f"{place.installation.url}/api/v1/api-keys"
    listed = requests.get(root, headers=place.headers, timeout=30).json()["data"]
    (own,) = [one["id"] for one in listed if place.key.startswith(one["prefix"])]
    assert requests.delete(f"{root}/{own}", headers=place.headers, timeout=30).status_code == 204
    revoked = time.monotonic()
    for thread in threads:
        thread.join()
    late = [code for began, code in answers if began > revoked + 1.0]
    assert late and set(late) == {401}
    assert {code for _, code in answers} == {202, 401}
