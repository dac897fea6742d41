"""What waits: cleared, canceled, rescheduled; what is in flight stays."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

import models
from gateway import clock, errors, jobs
from gateway.mail.draft import Mailbox
from gateway.services import lanes, messages, queues, waiting, webhooks
from models import database as db
from models.vocabulary import DeliveryState, EventKind
from tests import cast

pytestmark = pytest.mark.usefixtures("store")
HOUR = 3_600_000


@pytest.fixture
def who(store: str) -> cast.Sender:
    return cast.sender()


def _send(who: cast.Sender, *names: str, **changed: Any) -> str:
    to = [Mailbox(f"{name}@friends.test") for name in names or ("jane",)]
    return messages.accept(who.caller, cast.draft(to=to, domain=who.domain.name, **changed)).message_id


def _states() -> list[DeliveryState]:
    return [DeliveryState(row.state) for row in models.Delivery.select().order_by(models.Delivery.id)]


def _events(kind: EventKind) -> list[dict[str, Any]]:
    rows = models.Event.select().where(models.Event.kind == kind).order_by(models.Event.id)
    return [orjson.loads(row.data) | {"rcpt": row.rcpt} for row in rows]


def _claim(count: int) -> list[lanes.Claimed]:
    return lanes.claim(lanes.Rounds(), limit=count)


def test_what_waits_fails_and_what_is_in_flight_goes_on(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "BATCH", 2)
    _send(who, "a", "b", "c", "d", "e")
    _send(who, "later", send_at_ms=clock.now_ms() + HOUR, tags=["spring"])
    claimed = {row.rcpt for row in _claim(2)}
    assert queues.clear_domain(caller=who.owner, domain_id=who.domain.id) == 4
    rows = {row.rcpt: row for row in models.Delivery.select()}
    assert {rcpt for rcpt, row in rows.items() if row.state == DeliveryState.CLAIMED} == claimed
    assert all(row.state == DeliveryState.FAILED for rcpt, row in rows.items() if rcpt not in claimed)
    failed = _events(EventKind.FAILED)
    assert sorted(event["rcpt"] for event in failed) == sorted(set(rows) - claimed)
    assert {event["reason"] for event in failed} == {"the queue of the domain was cleared"}
    counted = {(row.tag, row.n) for row in models.Counter.select().where(models.Counter.kind == EventKind.FAILED)}
    assert counted == {("", 4), ("spring", 1)}
    assert queues.clear_domain(caller=who.owner, domain_id=who.domain.id) == 0


def test_a_claim_whose_holder_vanished_waits_and_is_told_as_in_doubt(who: cast.Sender) -> None:
    _send(who, "a", "b")
    taken = _claim(1)
    models.Delivery.update(due_ms=clock.now_ms() - 1).where(models.Delivery.id == taken[0].id).execute()
    assert queues.clear_domain(caller=who.owner, domain_id=who.domain.id) == 2
    assert {event["rcpt"]: event.get("in_doubt", False) for event in _events(EventKind.FAILED)} == {
        row.rcpt: row.rcpt == taken[0].rcpt for row in models.Delivery.select()
    }


def test_clearing_rings_no_webhook(who: cast.Sender) -> None:
    webhooks.add(caller=who.owner, domain_id=who.domain.id, event="bounce", url="http://127.0.0.1:1/hook")
    _send(who)
    assert queues.clear_domain(caller=who.owner, domain_id=who.domain.id) == 1
    assert models.WebhookDelivery.select().count() == 0


def test_other_domains_keep_their_queue(who: cast.Sender) -> None:
    stranger = cast.sender("stranger", "other.test")
    _send(stranger)
    for domain_id in (stranger.domain.id, 0, stranger.domain.id + 1000):
        with pytest.raises(errors.NotFound):
            queues.clear_domain(caller=who.owner, domain_id=domain_id)
    assert queues.clear_domain(caller=who.owner, domain_id=who.domain.id) == 0
    assert _states() == [DeliveryState.QUEUED]


def test_a_message_is_taken_back(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "BATCH", 2)
    sent = _send(who, "a", "b", "c", "d", "e")
    other = _send(who, "other")
    _claim(1)
    changed = queues.cancel_message(caller=who.owner, message_id=f"<{sent}@shop.test>")
    assert changed == queues.Changed(4, 1)
    assert sorted(_states()) == [DeliveryState.QUEUED, DeliveryState.CLAIMED] + [DeliveryState.CANCELED] * 4
    assert len(_events(EventKind.CANCELED)) == 4
    assert queues.cancel_message(caller=who.owner, message_id=sent).deliveries == 0
    assert queues.cancel_message(caller=who.owner, message_id=other).deliveries == 1


def test_a_message_gets_a_new_time(who: cast.Sender, monkeypatch: pytest.MonkeyPatch, bells: list[str]) -> None:
    monkeypatch.setattr(waiting, "BATCH", 2)
    sent = _send(who, "a", "b", "c", "d", "e", send_at_ms=clock.now_ms() + HOUR)
    first = models.Delivery.select().order_by(models.Delivery.id).first()
    models.Delivery.update(state=DeliveryState.DEFERRED, attempts=2).where(models.Delivery.id == first.id).execute()
    at_ms = clock.now_ms() + 5 * HOUR
    assert queues.reschedule_message(caller=who.owner, message_id=sent, at_ms=at_ms) == queues.Changed(5, 0, at_ms)
    rows = list(models.Delivery.select().order_by(models.Delivery.id))
    assert {row.due_ms for row in rows} == {at_ms}
    assert all(row.expires_ms > at_ms for row in rows)
    assert _states() == [DeliveryState.DEFERRED] + [DeliveryState.QUEUED] * 4
    assert models.Message.get().send_at_ms == at_ms
    told = [event for event in _events(EventKind.QUEUED) if event["reason"] == "rescheduled"]
    assert [event["until_ms"] for event in told] == [at_ms] * 5
    assert jobs.DELIVER not in bells

    changed = queues.reschedule_message(caller=who.owner, message_id=sent, at_ms=1)
    assert changed.deliveries == 5
    assert len(_claim(5)) == 5
    assert jobs.DELIVER in bells
    assert queues.reschedule_message(caller=who.owner, message_id=sent, at_ms=at_ms) == queues.Changed(0, 5, at_ms)


def test_what_was_held_is_let_go(who: cast.Sender) -> None:
    sent = _send(who)
    models.Delivery.update(state=DeliveryState.HELD, attempts=1, due_ms=clock.now_ms() + 9 * HOUR).execute()
    queues.reschedule_message(caller=who.owner, message_id=sent, at_ms=0)
    assert [row.was for row in _claim(1)] == [DeliveryState.DEFERRED]


def test_a_time_too_far_ahead_is_refused(who: cast.Sender) -> None:
    sent = _send(who)
    before = models.Delivery.get().due_ms
    with pytest.raises(errors.Invalid):
        queues.reschedule_message(caller=who.owner, message_id=sent, at_ms=clock.now_ms() + 367 * clock.DAY_MS)
    assert models.Delivery.get().due_ms == before


@pytest.mark.parametrize("act", [queues.cancel_message, lambda **kw: queues.reschedule_message(at_ms=0, **kw)])
def test_a_strangers_message_is_an_absent_one(who: cast.Sender, act: Any) -> None:
    stranger = cast.sender("stranger", "other.test")
    theirs = _send(stranger)
    for message_id in (theirs, "", "x", "0190163d-8694-739b-aea5-966c26f8ad91"):
        with pytest.raises(errors.NotFound):
            act(caller=who.owner, message_id=message_id)
    with pytest.raises(errors.NotFound):  # a key of another domain
        act(caller=cast.replace(stranger.caller, domain_id=stranger.domain.id + 1), message_id=theirs)
    assert _states() == [DeliveryState.QUEUED]


def test_the_lanes_index_is_used(who: cast.Sender) -> None:
    if db.dialect() != "sqlite":
        pytest.skip("the index is forced by name on MariaDB")
    plan = db.rows(
        "EXPLAIN QUERY PLAN SELECT id FROM delivery INDEXED BY delivery_lane_id_due_ms WHERE lane_id = 1 AND id <= 9"
        " AND due_ms IS NOT NULL AND (state <> 2 OR due_ms <= 1) ORDER BY due_ms LIMIT 500"
    )
    assert not any("TEMP B-TREE" in str(row) for row in plan)
