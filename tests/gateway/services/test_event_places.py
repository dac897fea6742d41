"""The place of events among those of their message, by the index and never more than so many."""

from __future__ import annotations

import json

import pytest

from gateway.services import event_places, event_rows, webhook_calls, webhooks
from models import database as db
from models.event import Event
from models.vocabulary import EventKind
from tests import cast
from tests.gateway.services.webhook_world import happen, hook, message
from tests.peers.http_sink import HttpSink

pytestmark = pytest.mark.usefixtures("store")


def _rows() -> dict[int, event_rows.EventRow]:
    return event_rows.load([row.id for row in Event.select(Event.id).order_by(Event.id)])


def test_places_are_those_of_the_whole_message_whatever_is_asked_for() -> None:
    who = cast.sender()
    first, second = message(who)[0], message(who)[0]
    for kind in (EventKind.DELIVERED, EventKind.OPENED, EventKind.CLICKED):
        happen(who, second, kind)
        happen(who, first, kind)
    rows = _rows()
    event_places.assign(rows.values())
    assert [row.sequence for row in rows.values() if row.message_id == first] == [1, 2, 3, 4]
    again = event_rows.load([max(rows)])
    event_places.assign(again.values())
    assert [row.sequence for row in again.values()] == [4]
    event_places.assign([])


def test_a_message_with_more_events_than_are_counted_has_no_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_places, "MOST", 3)
    who = cast.sender()
    few, many = message(who)[0], message(who)[0]
    happen(who, few, EventKind.DELIVERED, EventKind.OPENED)
    happen(who, many, EventKind.DELIVERED, EventKind.OPENED, EventKind.CLICKED)
    rows = _rows()
    event_places.assign(rows.values())
    assert [row.sequence for row in rows.values() if row.message_id == few] == [1, 2, 3]
    assert {row.sequence for row in rows.values() if row.message_id == many} == {None}


def test_the_native_payload_has_it_and_the_others_do_not_ask() -> None:
    who = cast.sender()
    webhook_calls.forget()
    with HttpSink() as sink:
        webhooks.add(caller=who.owner, event="message.*", url=f"{sink.url}/native", surface="native")
        hook(who, f"{sink.url}/octeth", "all")
        message_id, _ = message(who)
        happen(who, message_id, EventKind.DELIVERED, EventKind.OPENED)
        webhooks.drain(5)
        told = [json.loads(request.body) for request in sink.wait_for(3, path="/native")]
    assert [(one["type"], one["data"]["sequence"]) for one in told] == [
        ("message.accepted", 1), ("message.delivered", 2), ("message.opened", 3),
    ]  # fmt: skip


def test_the_index_answers_it() -> None:
    message_id = message(cast.sender())[0]
    sql = (
        f"SELECT message_id, id FROM event {event_places.BY_MESSAGE[db.dialect()]} WHERE message_id = {message_id}"
        f" LIMIT {event_places.MOST + 1}"
    )
    if db.dialect() == "sqlite":
        plan = " ".join(str(row) for row in db.rows(f"EXPLAIN QUERY PLAN {sql}"))
        assert "COVERING INDEX event_message_id_delivery_id" in plan
    else:
        (row,) = db.rows(f"EXPLAIN {sql}")
        assert "event_message_id_delivery_id" in row and "Using index" in str(row[-1])
