"""`commandpost webhook`: add, show, change, test, read the log, replay."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from gateway import config, jobs
from tests.conftest import use_settings
from tests.peers.http_sink import Answer, HttpSink

Ask = Callable[..., Any]
JANE = ("--user", "jane@example.com")


@pytest.fixture(autouse=True)
def world(store: str, tmp_path: Path) -> Iterator[None]:
    use_settings(tmp_path, DATABASE_URL=store)
    yield
    jobs.bind(None)
    config.use(None)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """The exit status and the JSON answer, or error, of a command line."""

    def call(*words: str, status: int = 0) -> Any:
        capsys.readouterr()
        assert main(("webhook", *words, *JANE, "--json")) == status
        said = capsys.readouterr()
        return json.loads(said.out or said.err)

    return call


@pytest.fixture
def hook(ask: Ask, sink: HttpSink) -> str:
    assert main(("user", "add", "--email", "jane@example.com")) == 0
    assert main(("domain", "add", "example.com", *JANE, "--trusted")) == 0
    return str(ask("add", "--domain", "example.com", "--event", "delivered", "--url", sink.url)["id"])


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with HttpSink() as found:
        yield found


def test_of_one_domain_several_and_all(ask: Ask, hook: str, sink: HttpSink) -> None:
    assert main(("domain", "add", "example.net", *JANE, "--trusted")) == 0
    both = ("--domain", "example.com", "--domain", "example.net")
    native = ("--payload", "native", "--url", sink.url)
    group = ask("add", *both, "--event", "message.delivered,message.bounced", *native)
    account = ask("add", "--event", "all", "--event", "notice.*", *native)
    assert [one["id"] for one in ask("list")] == [group["id"], account["id"]]
    shown = ask("show", str(group["id"]))
    assert len(shown["domain_ids"]) == 2
    assert shown["events"] == ["message.delivered", "message.bounced"]
    assert ask("show", str(account["id"]))["domain_ids"] is None
    ask("delete", str(group["id"]))
    assert ask("show", str(group["id"]), status=1)["error"] == "not_found"
    assert ask("add", "--event", "message.opened", "--url", sink.url, status=1)["error"] == "invalid_event"


def test_changes(ask: Ask, hook: str) -> None:
    before = ask("show", hook)["secret"]
    rotated = ask("rotate", hook, "--overlap-hours", "2")
    assert rotated["secret"] != before
    assert rotated["old_secret_until"] is not None
    assert ask("disable", hook)["status"] == "disabled"
    assert ask("replay", "--webhook", hook, status=1)["error"] == "webhook_disabled"
    assert ask("enable", hook)["status"] == "active"


def test_the_log(ask: Ask, hook: str, sink: HttpSink, capsys: pytest.CaptureFixture[str]) -> None:
    sink.script("/", Answer(500, b"broken"))
    tested = ask("test", hook, status=1)
    assert (tested["told"], tested["code"], tested["answer"]) == (False, 500, "broken")
    assert ask("test", hook, "--event", "opened")["told"] is True
    rows = ask("deliveries", hook)
    assert [row["state"] for row in rows] == ["told", "dead"]
    assert ask("deliveries", hook, "--state", "dead", "--since", "2020-01-01") == rows[1:]
    assert ask("deliveries", hook, "--until", "2020-01-01") == []
    (attempt,) = ask("attempts", str(tested["delivery"]))
    assert (attempt["code"], attempt["answer"]) == (500, "broken")
    (day,) = ask("stats", hook)
    assert (day["calls"], day["told"]) == (2, 1)
    assert ask("replay", "--webhook", hook, "--state", "told") == {"replayed": 0, "done": True}
    assert ask("replay", status=1)["error"] == "missing_webhook"
    for words in (("deliveries", hook), ("attempts", str(tested["delivery"])), ("stats", hook), ("show", hook)):
        capsys.readouterr()
        assert main(("webhook", *words, *JANE)) == 0
        assert capsys.readouterr().out.strip()


def test_dead_letters_of_the_whole_account(ask: Ask, hook: str, sink: HttpSink) -> None:
    assert ask("dead") == []
    sink.always("/", Answer(500))
    ask("test", hook, status=1)
    (letter,) = ask("dead")
    assert (letter["webhook"], letter["status"], letter["code"], letter["url"]) == (int(hook), "active", 500, sink.url)
    assert ask("dead", "--domain", "example.com") == [letter]
    assert ask("dead", "--before", str(letter["id"])) == []
    ask("dead", "--domain", "nobody.test", status=1)
