"""`commandpost events`, `commandpost retention` and `commandpost erase`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from gateway import clock
from gateway.services import event_feed
from gateway.services import events as service
from models.vocabulary import EventKind
from tests import cast
from tests.cli.test_verbs import Run, ask, refused, run, world
from tests.gateway.services.test_events import happen, message

__all__ = ["ask", "run", "world"]

USER = ("--user", "owner@people.test")


@pytest.fixture
def who(world: None) -> cast.Sender:
    found = cast.sender()
    number, _ = message(found, subject="Spring")
    for _ in range(6):
        happen(found, number, EventKind.OPENED)
    return found


def test_an_export_is_written_piece_by_piece(
    who: cast.Sender, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(service, "EXPORTED_MOST", 3)
    status, out, _ = run("events", "export", *USER, "--domain", "shop.test")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["EventType"] for row in rows] == ["open"] * 6 + ["accepted"]
    file = tmp_path / "events.jsonl"
    words = ("--format", "jsonl", "--event", "open", "--output", str(file))
    assert run("events", "export", *USER, "--domain", "shop.test", *words)[0] == 0
    assert [json.loads(line)["EventType"] for line in file.read_text().splitlines()] == ["open"] * 6
    today = clock.rfc3339(clock.now_ms())[:10]
    for first, last, lines in ((today, today, 8), ("2001-01-01", "2001-01-02", 1)):
        out = run("events", "export", *USER, "--domain", "shop.test", "--from", first, "--to", last)[1]
        assert len(out.splitlines()) == lines
    assert run("events", "export", *USER, "--domain", "else.test")[0] == 1


def test_a_feed_goes_on_where_it_ended(who: cast.Sender, ask: Run, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "HORIZON_MS", -1000)
    first = ask("events", "feed", *USER, "--count", "5")
    assert (len(first["Events"]), first["HasMore"]) == (5, True)
    status, out, _ = run("events", "feed", *USER, "--after", first["After"])
    lines = out.splitlines()
    assert (status, len(lines), json.loads(lines[0])["Sequence"]) == (0, 3, 6)
    assert lines[2].startswith("go on with --after ")
    assert refused(run, "events", "feed", *USER, "--after", "nonsense") == (1, "invalid_parameter")


def test_retention(who: cast.Sender, ask: Run, run: Run) -> None:
    assert ask("retention", "show", *USER)["body_days"] == 30
    assert ask("retention", "set", *USER, "--body", "7", "--metadata", "60") == {
        "email": "owner@people.test",
        "body_days": 7,
        "metadata_days": 60,
    }
    assert "bodies 7 days" in run("retention", "show", *USER)[1]
    assert ask("retention", "set", *USER, "--reset")["metadata_days"] == 365
    assert refused(run, "retention", "show", "--user", "nobody@people.test") == (1, "not_found")


def test_erase(who: cast.Sender, ask: Run, run: Run) -> None:
    begun = ask("erase", "jane@friends.test", *USER)
    assert begun["pseudonym"].endswith("@erased.invalid")
    assert begun["pseudonym"] in run("erase", "Jane@Friends.test", *USER)[1]
    assert refused(run, "erase", "nobody", *USER) == (1, "invalid_address")
    assert refused(run, "erase", "jane@friends.test", "--user", "nobody@people.test") == (1, "not_found")
