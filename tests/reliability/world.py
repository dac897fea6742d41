"""A steady stream of messages through a whole installation, and the account of what became of each."""

from __future__ import annotations

import contextlib
import json
import re
import smtplib
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import requests

from models.vocabulary import TERMINAL, DeliveryState
from tests.cli.installation import alive, descendants
from tests.installation import ROOT, Installation
from tests.peers.mariadb import MariaDb
from tests.peers.smtp_sink import SmtpSink, say

_EMAIL, _DOMAIN = "jane@people.test", "shop.test"
ACCOUNT_KEY = "K-of-the-account-of-the-world"
CONNECTIONS = 4
PROCESSES = 2
Rows = Callable[[str], list[tuple[Any, ...]]]


@dataclass
class Answer:
    """What a door said to one message: `code` 0 where the connection broke before a reply."""

    token: str
    code: int
    at: float  # monotonic
    door: str
    text: str = ""
    retry_after: str | None = None
    first: float = 0.0  # monotonic; when the message was handed in for the first time


@dataclass
class Figures:
    """What the sink and the database say of the acknowledged messages."""

    acknowledged: int
    lost: list[str]
    duplicates: list[str]  # tokens that came more than once
    other_ids: list[str]  # of those, the ones whose Message-ID was not the same each time
    unasked: int  # arrived although no answer said so: the answer was lost
    live: int  # deliveries that are not ended
    events: int = 0  # `delivered` events of one delivery beyond the first
    twice: int = 0  # messages stored beyond the first under one idempotency key

    def __str__(self) -> str:
        return (
            f"acknowledged {self.acknowledged}, lost {len(self.lost)}, duplicates {len(self.duplicates)}"
            f" (other Message-ID {len(self.other_ids)}), stored twice {self.twice},"
            f" unanswered but sent {self.unasked}, live {self.live}"
        )


@dataclass
class Stream:
    """Threads that hand in numbered messages over both doors, at most `rate` a second each, until `stop`.

    What was refused for now or not answered is handed in again under the same idempotency key, as clients do.
    """

    installation: Installation
    key: str
    username: str
    password: str
    rate: float = 25.0
    answers: list[Answer] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _number: int = 0

    def __enter__(self) -> Self:
        for send in (self._http, self._http, self._smtp, self._smtp):
            thread = threading.Thread(target=self._run, args=(send,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)
            assert not thread.is_alive(), "a door never answered"

    def acknowledged(self) -> set[str]:
        with self._lock:
            return {answer.token for answer in self.answers if 200 <= answer.code < 300}

    def since(self, at: float) -> list[Answer]:
        with self._lock:
            return [answer for answer in self.answers if answer.at >= at]

    def accepted_since(self, at: float) -> int:
        return sum(200 <= answer.code < 300 for answer in self.since(at))

    def _run(self, send: Callable[[dict[str, Any], str], Answer]) -> None:
        kept: dict[str, Any] = {}
        while not self._stop.is_set():
            with self._lock:
                self._number += 1
                token = f"t{self._number:06d}"
            first = time.monotonic()
            while not self._stop.is_set():
                answer = send(kept, token)
                answer.first = first
                with self._lock:
                    self.answers.append(answer)
                if 200 <= answer.code < 300:
                    break
                self._stop.wait(0.1)
            self._stop.wait(1 / self.rate)

    def _http(self, kept: dict[str, Any], token: str) -> Answer:
        session = kept.setdefault("session", requests.Session())
        message = {
            "Subject": token,
            "ContentType": "plain",
            "PlainContent": f"This is {token}.",
            "From": {"email": f"hello@{_DOMAIN}", "name": "The Shop"},
            "To": [{"email": f"{token}@friends.test", "name": "Jane Doe"}],
        }
        try:
            reply = session.post(
                f"{self.installation.url}/api/v1/email",
                json=message,
                headers={"Authorization": f"Bearer {self.key}", "Idempotency-Key": token},
                timeout=30,
            )
        except requests.RequestException as error:
            kept.clear()
            return Answer(token, 0, time.monotonic(), "http", str(error))
        return Answer(
            token, reply.status_code, time.monotonic(), "http", reply.text[:300], reply.headers.get("Retry-After")
        )

    def _smtp(self, kept: dict[str, Any], token: str) -> Answer:
        code, text = 0, ""
        try:
            client = kept.get("client")
            if client is None:
                client = kept["client"] = smtplib.SMTP("127.0.0.1", self.installation.smtp, timeout=30)
                client.login(self.username, self.password)
            body = (
                f"From: hello@{_DOMAIN}\r\nTo: {token}@friends.test\r\nSubject: {token}\r\n"
                f"X-Idempotency-Key: {token}\r\n\r\nThis is {token}.\r\n"
            )
            client.sendmail(f"hello@{_DOMAIN}", [f"{token}@friends.test"], body)
            return Answer(token, 250, time.monotonic(), "smtp")
        except smtplib.SMTPResponseException as error:
            code, text = error.smtp_code, str(error.smtp_error)
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))[0], str(error.recipients)
        except (OSError, smtplib.SMTPException) as error:
            text = str(error)
        with contextlib.suppress(Exception):
            kept.pop("client").close()
        return Answer(token, max(code, 0), time.monotonic(), "smtp", text)


class Arrivals:
    """Token → Message-ID of each arrival at the sink, read as they come."""

    _SUBJECT = re.compile(rb"^Subject: (t\d+)\r?$", re.MULTILINE)
    _ID = re.compile(rb"^Message-ID:\s*(\S+)\r?$", re.MULTILINE | re.IGNORECASE)

    def __init__(self, sink: SmtpSink) -> None:
        self._sink = sink
        self._seen = 0
        self._found: dict[str, list[str]] = {}

    def now(self) -> dict[str, list[str]]:
        """Sent whole and not answered counts too: the remote has it."""
        end = len(self._sink.transactions)
        for one in self._sink.transactions[self._seen : end]:
            head = one.data.partition(b"\r\n\r\n")[0]
            subject, message_id = self._SUBJECT.search(head), self._ID.search(head)
            assert subject and message_id, head
            self._found.setdefault(subject[1].decode(), []).append(message_id[1].decode())
        self._seen = end
        return self._found


class World:
    """An installation that delivers to a sink, and who may send in it. `rows` reads its database."""

    def __init__(self, data: Path, rows: Rows | None = None, write: Callable[[str], None] | None = None, **more: str):
        self.sink = SmtpSink()
        # A little slow, so that a kill finds messages in flight.
        self.sink.always("end", say("250 2.0.0 taken", pause=0.02))
        self.installation = Installation(
            data,
            DELIVERY=self.sink.url,
            DELIVER_CONNECTIONS=str(CONNECTIONS),
            DELIVER_PROCESSES=str(PROCESSES),
            **more,
        )
        self.arrivals = Arrivals(self.sink)
        self.database = data / "commandpost.db"
        self.rows = rows or self._rows
        self.write = write or self._write

    def __enter__(self) -> Self:
        try:
            self.installation.start()
            key, login = self._account()
        except BaseException:
            self.__exit__()
            raise
        self.stream = Stream(self.installation, key, login["username"], login["password"])
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.installation.stop()
        finally:
            self.sink.close()

    def _account(self) -> tuple[str, dict[str, str]]:
        """Sender key and SMTP login of a new account; all verbs in one process, which saves seconds."""
        verbs = (
            ("user", "add", "--email", _EMAIL, "--password", "a long password", "--api-key", ACCOUNT_KEY),
            ("plan", "set", "--user", _EMAIL, "--unlimited"),
            ("domain", "add", _DOMAIN, "--user", _EMAIL, "--trusted"),
            ("key", "add", "--user", _EMAIL, "--domain", _DOMAIN),
            ("smtp", "add", "--user", _EMAIL, "--domain", _DOMAIN),
        )
        script = (
            "import contextlib, io, json, sys; from cli.main import main\n"
            "for verb in json.loads(sys.argv[1]):\n"
            "    with contextlib.redirect_stdout(io.StringIO()) as said:\n"
            "        assert main([*verb, '--json']) == 0, verb\n"
            "    print(json.dumps(json.loads(said.getvalue())))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, json.dumps(verbs)],
            env=self.installation.environment, cwd=ROOT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        *_, key, login = map(json.loads, done.stdout.splitlines())
        return key["key"], login

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=20)) as connection:
            return connection.execute(sql).fetchall()

    def _write(self, sql: str) -> None:
        with contextlib.closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute(sql)

    def parts(self) -> dict[str, int]:
        """Part → process id, as last started."""
        text = self.installation.log.read_text(errors="replace")
        return {name: int(pid) for name, pid in re.findall(r"part=(\w+) pid=(\d+)", text)}

    def children(self, part: str) -> list[int]:
        """The processes below a part's main one."""
        return sorted(descendants(self.parts()[part]))

    def overdue(self) -> float:
        """Seconds that the oldest live delivery is beyond its due time, or the end of its lease."""
        oldest = self.rows("SELECT MIN(due_ms) FROM delivery WHERE due_ms IS NOT NULL")[0][0]
        return max(0.0, time.time() - oldest / 1000) if oldest is not None else 0.0

    def signs(self) -> dict[str, int]:
        """Part → the process that gave its last sign of life."""
        statement = "SELECT part, pid FROM heartbeat"
        if not self.database.exists():
            return dict(self.rows(statement))  # type: ignore[arg-type]
        with contextlib.closing(sqlite3.connect(self.database.with_name("scratch.db"), timeout=20)) as scratch:
            return dict(scratch.execute(statement))

    def doctor(self) -> dict[str, bool]:
        """What `commandpost doctor` finds of the queue, check → whether all is well."""
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "doctor", "--json"],
            env=self.installation.environment, cwd=ROOT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        found = {check["name"]: check["ok"] for check in json.loads(done.stdout)["checks"]}
        return {name: found[name] for name in ("deliveries", "webhooks", "lanes", "due times", "parts")}

    def metric(self, name: str) -> float:
        """A figure of `/metrics`."""
        text = requests.get(f"{self.installation.url}/metrics", timeout=20).text
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found, text
        return float(found[1])

    def survivors(self) -> set[int]:
        """Every living process of this installation, whoever its parent is: its settings tell it."""
        mark = f"COMMANDPOST_DATA={self.installation.data}\0".encode()
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes() + b"\0":
                        found.add(int(entry.name))
        return alive(found)

    def settle(self, seconds: float = 30.0) -> Figures:
        """Let everything that was acknowledged end, retries at once, and say what became of it."""
        acknowledged = self.stream.acknowledged()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # What was in doubt waits for a minute; nothing here needs that time.
            self.write(f"UPDATE delivery SET due_ms = 1 WHERE state = {int(DeliveryState.DEFERRED)}")
            if not self._live() and acknowledged <= self.arrivals.now().keys():
                break
            time.sleep(0.25)
        arrived = self.arrivals.now()
        duplicates = [token for token, found in arrived.items() if len(found) > 1]
        return Figures(
            acknowledged=len(acknowledged),
            lost=sorted(acknowledged - arrived.keys()),
            duplicates=duplicates,
            other_ids=[token for token in duplicates if len(set(arrived[token])) > 1],
            unasked=len(arrived.keys() - acknowledged),
            live=self._live(),
            events=sum(
                n - 1
                for (n,) in self.rows(
                    "SELECT COUNT(*) FROM event WHERE kind = 4 GROUP BY delivery_id HAVING COUNT(*) > 1"
                )
            ),
            twice=sum(n - 1 for (n,) in self.rows("SELECT COUNT(*) FROM message GROUP BY subject HAVING COUNT(*) > 1")),
        )

    def _live(self) -> int:
        return int(self.rows(f"SELECT COUNT(*) FROM delivery WHERE state < {TERMINAL}")[0][0])

    def arrives_within(self, seconds: float, since: float) -> float:
        """Seconds from the monotonic `since` until a message handed in after it is at the sink."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            later = {one.token for one in self.stream.since(since) if 200 <= one.code < 300 and one.first > since}
            if later & self.arrivals.now().keys():
                return time.monotonic() - since
            time.sleep(0.02)
        raise AssertionError(f"nothing accepted after the kill arrived within {seconds} s")


def on_server(server: MariaDb, data: Path, **more: str) -> World:
    """A world whose database is a server of the test's own."""

    def rows(sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def write(sql: str) -> None:
        rows(sql)

    return World(data, rows, write, DATABASE_URL=server.url, **more)


def refusals(answers: Iterable[Answer]) -> Counter[tuple[str, int]]:
    """(door, code) of the answers that were no acknowledgement; broken connections are code 0."""
    return Counter((one.door, one.code) for one in answers if not 200 <= one.code < 300)
