"""GetEventFeed through the command table."""

from __future__ import annotations

import pytest

from gateway.services import event_feed
from models.vocabulary import EventKind
from tests import cast
from tests.commands.conftest import Call
from tests.gateway.services.test_events import happen, message


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "HORIZON_MS", -1000)


def test_a_reader_comes_back_for_what_is_new(who: cast.Sender, call: Call) -> None:
    number, uuid = message(who)
    happen(who, number, EventKind.OPENED, data={"verdict": "human"})
    first = call("GetEventFeed", RetrieveCount=1)
    assert (first["Success"], first["HasMore"], len(first["Events"])) == (True, True, 1)
    assert (first["Events"][0]["EventType"], first["Events"][0]["Sequence"]) == ("accepted", 1)
    second = call("GetEventFeed", After=first["After"], DomainID=who.domain.id)
    (opened,) = second["Events"]
    assert (opened["EventType"], opened["Sequence"], opened["MessageId"]) == ("open", 2, uuid)
    assert second["HasMore"] is False
    last = call("GetEventFeed", After=second["After"])
    assert (last["Events"], last["After"]) == ([], second["After"])
    assert [row["EventType"] for row in call("GetEventFeed", Event="open,click")["Events"]] == ["open"]


def test_what_is_wrong_is_said(who: cast.Sender, call: Call) -> None:
    assert call("GetEventFeed", DomainID=987_654)["ErrorCode"] == 2
    for wrong in ({"After": "nonsense"}, {"Event": "nonsense"}, {"RetrieveCount": "many"}):
        answer = call("GetEventFeed", **wrong)
        assert answer["Success"] is False, wrong
