"""A steady stream of messages through a whole installation, and the account of what became of each."""

from __future__ import annotations

import contextlib
import email
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
from tests.cli.installation import descendants
from tests.installation import ROOT, Installation
from tests.peers.smtp_sink import SmtpSink, say

_EMAIL, _DOMAIN = "jane@people.test", "shop.test"
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

    def __str__(self) -> str:
        return (
            f"acknowledged {self.acknowledged}, lost {len(self.lost)}, duplicates {len(self.duplicates)}"
            f" (other Message-ID {len(self.other_ids)}), unanswered but sent {self.unasked}, live {self.live}"
        )


@dataclass
class Stream:
    """Threads that hand in numbered messages over both doors, at most `rate` a second each, until `stop`."""

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
            answer = send(kept, token)
            with self._lock:
                self.answers.append(answer)
            self._stop.wait(1 / self.rate if answer.code else 0.1)

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
                headers={"Authorization": f"Bearer {self.key}"},
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
            body = f"From: hello@{_DOMAIN}\r\nTo: {token}@friends.test\r\nSubject: {token}\r\n\r\nThis is {token}.\r\n"
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
            ("user", "add", "--email", _EMAIL, "--password", "a long password"),
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

    def settle(self, seconds: float = 30.0) -> Figures:
        """Let everything that was acknowledged end, retries at once, and say what became of it."""
        acknowledged = self.stream.acknowledged()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # What was in doubt waits for a minute; nothing here needs that time.
            self.write(f"UPDATE delivery SET due_ms = 1 WHERE state = {int(DeliveryState.DEFERRED)}")
            if not self._live() and acknowledged <= self._arrived().keys():
                break
            time.sleep(0.25)
        arrived = self._arrived()
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
        )

    def _live(self) -> int:
        return int(self.rows(f"SELECT COUNT(*) FROM delivery WHERE state < {TERMINAL}")[0][0])

    def _arrived(self) -> dict[str, list[str]]:
        """Token → Message-ID of each arrival."""
        found: dict[str, list[str]] = {}
        for one in list(self.sink.transactions):
            # Sent whole and not answered counts too: the remote has it.
            head = email.message_from_bytes(one.data.partition(b"\r\n\r\n")[0])
            found.setdefault(str(head["Subject"]), []).append(str(head["Message-ID"]))
        return found

    def arrives_within(self, seconds: float, since: float) -> float:
        """Seconds from the monotonic `since` until a message handed in after it is at the sink."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            later = {answer.token for answer in self.stream.since(since) if 200 <= answer.code < 300}
            if later & self._arrived().keys():
                return time.monotonic() - since
            time.sleep(0.02)
        raise AssertionError(f"nothing accepted after the kill arrived within {seconds} s")


def refusals(answers: Iterable[Answer]) -> Counter[tuple[str, int]]:
    """(door, code) of the answers that were no acknowledgement; broken connections are code 0."""
    return Counter((one.door, one.code) for one in answers if not 200 <= one.code < 300)
