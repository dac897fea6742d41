"""The same request five times at once, key after key, over both doors: each key makes exactly one message."""

from __future__ import annotations

import contextlib
import re
import smtplib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
import pytest
import requests

from tests.conftest import RUN_ID, _server_options, mariadb_answers, mysql_admin, mysql_url
from tests.installation import Installation
from tests.reliability.conftest import times

pytestmark = [pytest.mark.journey, pytest.mark.timeout(1800)]

KEYS = times(100, 1_000)
AT_ONCE = 5
PATIENCE = 60.0
EMAIL = "jane@people.test"

Rows = Callable[[str], list[tuple[Any, ...]]]


@dataclass
class Place:
    """A running installation, a reader of its database, and what is needed to send there."""

    installation: Installation
    rows: Rows
    key: str
    login: dict[str, str]


@pytest.fixture(params=["sqlite", "mariadb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with contextlib.ExitStack() as ending:
        settings, rows = {}, _sqlite(tmp_path / "var" / "commandpost.db")
        if request.param == "mariadb":
            if why_not := mariadb_answers():
                pytest.skip(why_not)
            name = f"commandpost_test_replays_{RUN_ID}"
            mysql_admin(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            ending.callback(mysql_admin, f"DROP DATABASE `{name}`")
            settings, rows = {"DATABASE_URL": mysql_url(name)}, _mysql(name)
        installation = ending.enter_context(Installation(tmp_path / "var", **settings))
        installation.cli("user", "add", "--email", EMAIL, "--password", "a long password")
        installation.cli("plan", "set", "--user", EMAIL, "--unlimited")
        installation.cli("domain", "add", "shop.test", "--user", EMAIL, "--trusted")
        key = installation.cli("key", "add", "--user", EMAIL, "--domain", "shop.test")["key"]
        login = installation.cli("smtp", "add", "--user", EMAIL, "--domain", "shop.test")
        yield Place(installation, rows, key, login)


def _sqlite(path: Path) -> Rows:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as connection:
            return connection.execute(sql).fetchall()

    return rows


def _mysql(name: str) -> Rows:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        connection = pymysql.connect(database=name, **_server_options())  # type: ignore[arg-type]
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    return rows


@dataclass
class Client:
    """One of the five: `send` hands a token's message in and returns (code, MessageID or text)."""

    place: Place
    kept: dict[str, Any] = field(default_factory=dict)

    def http(self, token: str) -> tuple[int, str]:
        session = self.kept.setdefault("session", requests.Session())
        reply = session.post(
            f"{self.place.installation.url}/api/v1/email",
            headers={"Authorization": f"Bearer {self.place.key}", "Idempotency-Key": token},
            json={
                "From": {"email": "hello@shop.test", "name": "The Shop"},
                "To": [{"email": f"{token}@friends.test", "name": "Jane Doe"}],
                "Subject": token,
                "ContentType": "plain",
                "PlainContent": f"This is {token}.",
            },
            timeout=60,
        )
        return reply.status_code, reply.json().get("MessageID", reply.text)

    def smtp(self, token: str) -> tuple[int, str]:
        client: smtplib.SMTP | None = self.kept.get("client")
        if client is None:
            client = self.kept["client"] = smtplib.SMTP("127.0.0.1", self.place.installation.smtp, timeout=60)
            client.login(self.place.login["username"], self.place.login["password"])
        client.rset()
        assert client.mail("app@shop.test")[0] == client.rcpt(f"{token}@friends.test")[0] == 250
        # A client that tries again makes Date and Message-ID anew.
        at = f"Date: Mon, 05 Jan 2026 10:00:00 +0000\r\nMessage-ID: <{time.monotonic_ns()}@shop.test>\r\n"
        code, text = client.data(
            f"From: hello@shop.test\r\nTo: {token}@friends.test\r\nSubject: {token}\r\n{at}"
            f"X-Idempotency-Key: {token}\r\n\r\nThis is {token}.\r\n"
        )
        found = re.fullmatch(r"2\.0\.0 Accepted as (\S+)", text.decode())
        return code, found[1] if found else text.decode()


@pytest.mark.parametrize("door", ["http", "smtp"])
def test_one_message_for_each_key(place: Place, door: str, report: Callable[[str], None]) -> None:
    barrier = threading.Barrier(AT_ONCE)
    answers: dict[str, list[str]] = {f"{door}{n:05d}": [] for n in range(KEYS)}
    put_off: Counter[int] = Counter()
    failures: list[BaseException] = []

    def work() -> None:
        client = Client(place)
        send = getattr(client, door)
        try:
            for token, found in answers.items():
                barrier.wait(PATIENCE)
                end = time.monotonic() + PATIENCE
                while True:
                    code, text = send(token)
                    if code // 100 == 2:
                        found.append(text)
                        break
                    # Still running, or the database would not have both now: the only other answers there are.
                    assert code in (409, 451, 503), (code, text)
                    assert time.monotonic() < end, (code, text)
                    put_off[code] += 1
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    begun = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert all(len(found) == AT_ONCE and len(set(found)) == 1 for found in answers.values())
    assert len({found[0] for found in answers.values()}) == KEYS
    for table in ("message", "delivery", "idempotency_key"):
        assert place.rows(f"SELECT COUNT(*) FROM {table}") == [(KEYS,)], table
    assert place.rows("SELECT COUNT(DISTINCT subject) FROM message") == [(KEYS,)]
    report(
        f"{door}: {KEYS} keys by {AT_ONCE} at once made {KEYS} messages in {time.monotonic() - begun:.1f} s,"
        f" put off {dict(put_off)}"
    )
