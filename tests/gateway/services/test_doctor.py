"""No stuck mail: the database refuses it, the metric shows it, doctor fails on it."""

from __future__ import annotations

import peewee
import pytest

import models
from gateway import clock
from gateway.services import automations, campaigns, deliveries, doctor, health, lanes, lists, messages
from models import database as db
from models.vocabulary import DeliveryState
from tests import cast

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def waiting(store: str) -> models.Delivery:
    """A delivery that nobody has claimed."""
    messages.accept(cast.sender().caller, cast.draft())
    return models.Delivery.get()


def _found(name: str) -> doctor.Finding:
    (finding,) = (one for one in doctor.examine() if one.name == name)
    return finding


def test_a_live_row_without_a_due_time_is_refused_by_the_database(waiting: models.Delivery) -> None:
    for state in (DeliveryState.QUEUED, DeliveryState.CLAIMED, DeliveryState.DEFERRED, DeliveryState.HELD):
        with pytest.raises((peewee.IntegrityError, peewee.OperationalError)):
            models.Delivery.update(state=state, due_ms=None).execute()
    with pytest.raises((peewee.IntegrityError, peewee.OperationalError)):
        models.Delivery.update(lane_id=None).execute()
    assert models.Delivery.get().due_ms is not None


def test_doctor_finds_one_where_the_constraint_is_gone(waiting: models.Delivery) -> None:
    assert _found("due times").ok
    if db.dialect() == "sqlite":
        statement, without, again = "PRAGMA ignore_check_constraints = {}", 1, 0
    else:
        statement, without, again = "SET check_constraint_checks = {}", 0, 1
    db.database.execute_sql(statement.format(without))
    try:
        models.Delivery.update(due_ms=None).execute()
    finally:
        db.database.execute_sql(statement.format(again))
    finding = _found("due times")
    assert not finding.ok
    assert finding.detail.startswith("1 deliveries")


@pytest.mark.parametrize("state", [DeliveryState.QUEUED, DeliveryState.CLAIMED, DeliveryState.DEFERRED])
def test_what_nobody_comes_for_shows(waiting: models.Delivery, state: DeliveryState) -> None:
    assert health.snapshot()["overdue_seconds"] < 60
    assert _found("deliveries").ok
    models.Delivery.update(state=state, due_ms=clock.now_ms() - 300_000).execute()
    assert 300 <= health.snapshot()["overdue_seconds"] < 400
    finding = _found("deliveries")
    assert not finding.ok
    assert "overdue by 30" in finding.detail


def test_what_waits_for_its_time_and_what_is_held_is_not_overdue(waiting: models.Delivery) -> None:
    later = clock.now_ms() + 3_600_000
    for state in (DeliveryState.QUEUED, DeliveryState.DEFERRED, DeliveryState.HELD):
        models.Delivery.update(state=state, due_ms=later).execute()
        assert health.snapshot()["overdue_seconds"] == 0
        assert _found("deliveries").detail == "nothing is overdue"
    assert _found("held") == doctor.Finding("held", True, "1 wait for a person: see `commandpost queue held`")


def test_a_claim_is_overdue_only_after_its_lease(waiting: models.Delivery) -> None:
    lanes.claim(lanes.Rounds())
    assert health.snapshot()["overdue_seconds"] == 0


def test_once_it_was_delivered_all_is_well(waiting: models.Delivery) -> None:
    models.Delivery.update(due_ms=clock.now_ms() - 300_000).execute()
    while deliveries.drain(0.1):
        pass
    assert deliveries.engine().wait_idle(20)
    deliveries.close()
    assert models.Delivery.get().state == DeliveryState.DELIVERED
    assert health.snapshot()["overdue_seconds"] == 0
    assert all(_found(name).ok for name in ("deliveries", "lanes", "due times"))


def test_campaigns_and_automations_that_nobody_looks_at_are_found(store: str) -> None:
    who = cast.sender()
    news = lists.add(caller=who.owner, name="News")
    letter = {"from": "a@shop.test", "subject": "Hi", "text": "Hi"}
    campaigns.add(caller=who.owner, given={"name": "C", "list_id": str(news.id), **letter})
    automations.add(
        caller=who.owner,
        given={"name": "A", "trigger": {"type": "event", "event": "go"}, "actions": [{"type": "exit"}]},
    )
    assert _found("campaigns").ok and _found("automations").ok
    for model, name in ((models.Campaign, "campaigns"), (models.Automation, "automations")):
        model.update(due_ms=clock.now_ms() - 300_000).execute()
        finding = _found(name)
        assert not finding.ok
        assert "overdue by 30" in finding.detail
