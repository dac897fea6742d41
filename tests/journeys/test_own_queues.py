"""Webhooks and everything else aside have workers of their own: what hangs in one is not felt in the other."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from email import message_from_bytes
from email import policy as email_policy
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway import clock, config, jobs
from tasks.app import QUEUE_OF, app, configure, queue_name, task_name
from tests.cli.installation import wait_for
from tests.installation import Installation
from tests.journeys.conftest import Start
from tests.peers.http_sink import Answer, HttpSink
from tests.peers.smtp_sink import SmtpSink

pytestmark = pytest.mark.journey

HANGING = 20
"""Endpoints: more than the threads that look for webhooks, and more than may be tried at once without an answer."""
SOON_S = 9.0
"""Less than a call that hangs may last, so that nothing below was done after one of them."""


@pytest.fixture
def shop(start: Start, sink: SmtpSink) -> Shop:
    return Shop(start(DELIVERY=sink.url), sink)


class Shop:
    """An account with a domain in an installation that runs."""

    def __init__(self, installation: Installation, sink: SmtpSink) -> None:
        self.installation, self.sink = installation, sink
        installation.cli("user", "add", "--email", "jane@people.test", "--password", "a long password")
        self.domain_id = installation.cli("domain", "add", "shop.test", "--user", "jane@people.test", "--trusted")["id"]
        self.key = installation.cli("key", "add", "--user", "jane@people.test", "--domain", "shop.test")["key"]
        login = installation.command("User.Login", Username="jane@people.test", Password="a long password")
        self.session = login["SessionID"]

    def hook(self, url: str, event: str) -> None:
        answer = self.installation.command(
            "EmailGateway.AddWebhook", SessionID=self.session, DomainID=self.domain_id, Event=event, WebhookURL=url
        )
        assert answer["Success"] is True, answer

    def send(self, subject: str) -> str:
        """Send with a tracked link; the address behind it as the recipient sees it."""
        before = self.sink.count
        answer = requests.post(
            f"{self.installation.url}/api/v1/email",
            json={
                "Subject": subject,
                "ContentType": "html",
                "HtmlContent": '<p>Thank you. <a href="https://example.com/order">Your order</a></p>',
                "From": {"email": "hello@shop.test", "name": "The Shop"},
                "To": [{"email": "carl@friends.test", "name": "Carl"}],
                "TrackLinks": True,
            },
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=20,
        )
        assert answer.status_code == 200, answer.text
        mail = message_from_bytes(self.sink.wait_for(before + 1, timeout=20)[-1].data, policy=email_policy.default)
        page = mail.get_body(("html",))
        assert page is not None
        found = re.search(r'href="([^"]+)"', page.get_content())
        assert found
        return found[1]

    def events(self, **query: str) -> list[dict[str, Any]]:
        answer = self.installation.command(
            "EmailGateway.GetEvents",
            SessionID=self.session,
            DomainID=self.domain_id,
            StartFrom=0,
            RetrieveCount=100,
            **query,
        )
        assert answer["Success"] is True, answer
        return list(answer["Events"])

    def stop(self, part: str) -> contextlib.AbstractContextManager[None]:
        """The part does not go on inside: as slow as work can be."""
        log = self.installation.log.read_text(errors="replace")
        pid = int(re.findall(rf"part={part} pid=(\d+)", log)[-1])
        return _stopped(pid, self.installation.data)

    def forgets_sessions(self) -> bool:
        """Whether housekeeping takes out a session that ran out long ago."""
        with contextlib.closing(sqlite3.connect(self.installation.data / "commandpost.db", timeout=20)) as store:
            row = store.execute("SELECT COUNT(*) FROM session WHERE expires_ms < 1000").fetchone()
        return int(row[0]) == 0

    def old_session(self) -> None:
        """A session that ran out long ago, and the bell of housekeeping."""
        self.installation.command("User.Login", Username="jane@people.test", Password="a long password")
        with contextlib.closing(sqlite3.connect(self.installation.data / "commandpost.db", timeout=20)) as store, store:
            store.execute("UPDATE session SET expires_ms = 1 WHERE id = (SELECT MAX(id) FROM session)")
        config.use(config.load(_own(self.installation.environment)))
        try:
            with configure(config.settings()).connection_for_write() as connection:
                queue = queue_name(QUEUE_OF[jobs.HOUSEKEEPING])
                app.send_task(task_name(jobs.HOUSEKEEPING), (clock.now_ms(),), queue=queue, connection=connection)
        finally:
            config.use(None)


def _own(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(config.PREFIX)}


@contextlib.contextmanager
def _stopped(pid: int, data: Path) -> Iterator[None]:
    """Stopped where it holds no lock: slow work holds none, and a writer that stands still would stop everybody."""
    end = time.monotonic() + 20
    while True:
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: all(_state(task) == "T" for task in Path(f"/proc/{pid}/task").iterdir()), "it stands still", 5)
        if all(_is_free(data / name) for name in ("commandpost.lock", "scratch.lock")):
            break
        os.kill(pid, signal.SIGCONT)
        assert time.monotonic() < end, "it always holds a lock"
        time.sleep(0.05)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def _is_free(lock: Path) -> bool:
    """Whether nobody keeps it; those who write hold it for a moment."""
    with lock.open("a") as file:
        for _ in range(10):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(0.02)
    return False


def _everything_aside_goes_on(shop: Shop, word: str) -> None:
    """A hit, a search and housekeeping, all within the time that one hanging call takes."""
    began = time.monotonic()
    assert requests.get(shop.send(f"about {word}"), allow_redirects=False, timeout=10).status_code == 302
    shop.old_session()
    wait_for(lambda: any(row["EventType"] == "click" for row in shop.events()), "the click is an event", SOON_S)
    wait_for(lambda: shop.events(Query=f"subject:{word}"), "the subject is found", SOON_S)
    wait_for(shop.forgets_sessions, "housekeeping ran", SOON_S)
    assert time.monotonic() - began < 2 * SOON_S


def test_hanging_endpoints_delay_neither_hits_nor_search_nor_housekeeping(shop: Shop, listener: HttpSink) -> None:
    for number in range(HANGING):
        listener.always(f"/hangs{number}", Answer(end="hang"))
        shop.hook(f"{listener.url}/hangs{number}", "delivery")
    shop.send("first")
    wait_for(lambda: len({request.path for request in listener.requests}) >= 10, "endpoints hang", 20)
    _everything_aside_goes_on(shop, "turnips")


def test_webhooks_go_on_while_everything_else_aside_stands_still(shop: Shop, listener: HttpSink) -> None:
    shop.hook(f"{listener.url}/told", "delivery")
    assert "webhooks" in requests.get(f"{shop.installation.url}/health", timeout=10).json()["parts"]
    with shop.stop("aside"):
        for number in range(3):
            shop.send(f"order {number}")
            listener.wait_for(number + 1, timeout=SOON_S, path="/told")
    with shop.stop("webhooks"):
        _everything_aside_goes_on(shop, "carrots")
        shop.send("order 4")
    listener.wait_for(5, timeout=20, path="/told")
