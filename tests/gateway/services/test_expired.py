"""What goes when its days are over, what stays because it is not through, and what is known afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import models
from gateway import clock, errors, ids
from gateway.services import event_marks, events, expired, explanations, ledger, retention, search_index, statistics
from gateway.services.retention import Retention
from models import database as db
from models.vocabulary import DeliveryState, EventKind, RetentionPart
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.test_events import happen, message

DAY = clock.DAY_MS
NOW = 20_000 * DAY + DAY // 2
Move = Callable[[float], None]


@pytest.fixture
def days(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Set the clock to so many days after the start."""
    use_settings(tmp_path, KEEP_BODY_DAYS="30", KEEP_METADATA_DAYS="90", KEEP_COUNTER_DAYS="400")
    ledger.forget_words()
    monkeypatch.setattr(event_marks, "_HORIZON_MS", 0)

    def move(days: float) -> None:
        monkeypatch.setattr(clock, "now_ms", lambda: NOW + int(days * DAY))

    move(0)
    return move


@pytest.fixture
def who(days: Move) -> cast.Sender:
    return cast.sender()


def finish(message_id: int) -> None:
    db.in_transaction(
        lambda tx: tx.execute(
            "UPDATE delivery SET state = ?, due_ms = NULL, lane_id = NULL WHERE message_id = ?",
            (int(DeliveryState.DELIVERED), message_id),
        )
    )


def finished(who: cast.Sender, **changed: object) -> tuple[int, str]:
    number, uuid = message(who, **changed)
    delivery = db.rows("SELECT id FROM delivery WHERE message_id = ?", (number,))[0][0]
    happen(who, number, EventKind.DELIVERED, delivery_id=delivery)
    models.Attempt.create(delivery_id=delivery, no=1, transport="mx", outcome="delivered", started_ms=clock.now_ms())
    finish(number)
    return number, uuid


def sweep() -> None:
    for _ in range(200):
        if not expired.collect()[1]:
            return
    raise AssertionError("there is no end to it")


def count(table: str) -> int:
    return int(db.rows(f"SELECT COUNT(*) FROM {table}")[0][0])


def contents_there() -> tuple[int, int]:
    return count("content"), count("content_part")


def test_a_body_goes_first_and_the_message_can_still_be_explained(who: cast.Sender, days: Move) -> None:
    number, uuid = finished(who, subject="Spring")
    db.in_transaction(lambda tx: tx.execute("UPDATE delivery SET merge = '{}'"))
    delivery = models.Delivery.get()
    models.CapturedMail.create(
        delivery_id=delivery.id, message_id=number, account_id=who.owner.account_id,
        content_id=models.Message.get().content_id, mail_from="", rcpt="", created_ms=NOW,
    )  # fmt: skip
    days(29.9)
    sweep()
    assert contents_there() == (1, 1)
    days(30.1)
    sweep()
    assert contents_there() == (0, 0)
    assert (models.Message.get().content_id, models.Delivery.get().merge, count("captured_mail")) == (0, None, 0)
    assert events.search(caller=who.owner, domain_id=who.domain.id, query="subject:spring").total == 2
    assert explanations.explain(caller=who.owner, message_id=uuid)


def test_after_its_days_nothing_of_a_message_is_left_but_numbers(who: cast.Sender, days: Move) -> None:
    finished(who, subject="Spring", tags=["sale"])
    finished(who, subject="Spring again")
    days(50)
    finished(who, subject="Summer")
    for _ in range(3):
        search_index.run(5)
    terms = count("search_term")
    assert terms
    days(90.5)
    sweep()
    page = events.search(caller=who.owner, domain_id=who.domain.id)
    assert (page.total, len(page.rows), {row.subject for row in page.rows}) == (2, 2, {"Summer"})
    assert events.search(caller=who.owner, domain_id=who.domain.id, event="delivery").total == 1
    assert [count(table) for table in ("message", "delivery", "attempt", "event")] == [1, 1, 1, 2]
    assert 0 < count("search_term") < terms
    assert contents_there() == (0, 0)
    assert db.rows("SELECT COUNT(*) FROM search_term WHERE domain_id <> 0 AND message_id <> ?", (
        models.Message.get().id,)) == [(0,)]  # fmt: skip
    period = statistics.period(NOW, NOW)
    shown = statistics.of_domain(caller=who.owner, domain_id=who.domain.id, days=period)
    assert shown.counts[EventKind.DELIVERED] == 2

    days(401)
    sweep()
    assert [count(table) for table in ("message", "event", "search_term", "retention_due")] == [0, 0, 0, 0]
    shown = statistics.of_domain(caller=who.owner, domain_id=who.domain.id, days=period)
    assert shown.counts.get(EventKind.DELIVERED) is None
    assert events.search(caller=who.owner, domain_id=who.domain.id).total == 0


def test_nothing_that_is_not_through_goes(who: cast.Sender, days: Move) -> None:
    waits, _ = message(who)
    told, _ = finished(who)
    hook = models.Webhook.create(
        uuid=ids.new_uuid(), account_id=who.owner.account_id, domain_id=who.domain.id, surface="octeth", events="[]",
        url="https://hooks.example.com/", kinds=1, secret="", lane_id=1, created_ms=NOW,
    )  # fmt: skip
    call = models.WebhookDelivery.create(
        uuid=ids.new_uuid(), webhook_id=hook.id, message_id=told, event_id=1, due_ms=NOW, created_ms=NOW
    )
    days(200)
    sweep()
    assert [row.id for row in models.Message.select().order_by(models.Message.id)] == [waits, told]
    assert contents_there()[0] == 1  # of both
    finish(waits)
    models.WebhookDelivery.update(state="told", due_ms=None).where(models.WebhookDelivery.id == call.id).execute()
    sweep()
    assert count("message") == 2  # looked at again after a day
    days(201.1)
    sweep()
    assert [count(table) for table in ("message", "event", "delivery", "retention_due")] == [0, 0, 0, 0]


def test_a_body_that_another_message_has_too_stays(who: cast.Sender, days: Move) -> None:
    finished(who)
    days(20)
    finished(who)
    shared = models.Message.select().order_by(models.Message.id)[1]
    models.Message.update(content_id=models.Message.select().order_by(models.Message.id)[0].content_id).where(
        models.Message.id == shared.id
    ).execute()
    days(35)
    sweep()
    assert models.ContentPart.get_or_none(content_id=models.Message.get_by_id(shared.id).content_id) is not None
    days(51)
    sweep()
    assert [m.content_id for m in models.Message.select()] == [0, 0]


def test_an_account_and_a_message_have_days_of_their_own(who: cast.Sender, days: Move) -> None:
    assert retention.change(caller=who.owner, changed=Retention(body=2)) == Retention(2, 90)
    other = cast.sender("other", "other.test")
    finished(who)
    finished(other)
    longer, _ = finished(who)
    shorter, _ = finished(other)

    def ask(tx: db.Transaction) -> None:
        retention.ask(tx, message_id=longer, wanted=Retention(body=10), now_ms=NOW)
        retention.ask(tx, message_id=shorter, wanted=Retention(1, 3), now_ms=NOW)

    db.in_transaction(ask)
    kept = lambda: [m.content_id != 0 for m in models.Message.select().order_by(models.Message.id)]  # noqa: E731
    days(1.5)
    sweep()
    assert kept() == [True, True, True, False]
    days(2.5)
    sweep()
    assert kept() == [False, True, True, False]
    days(4)
    sweep()
    assert kept() == [False, True, True]
    assert count("retention_due") == 1
    days(10.5)
    sweep()
    assert kept() == [False, True, False]
    assert count("retention_due") == 0
    assert retention.change(caller=who.owner, changed=Retention(), reset=True) == Retention(30, 90)
    with pytest.raises(errors.Invalid):
        retention.change(caller=who.owner, changed=Retention(metadata=0))


def test_days_that_are_none_keep_a_body_for_an_hour(who: cast.Sender, days: Move) -> None:
    retention.change(caller=who.owner, changed=Retention(body=0))
    finished(who)
    sweep()
    assert contents_there() == (1, 1)
    days(1 / 12)
    sweep()
    assert contents_there() == (0, 0)


def test_a_step_that_broke_off_is_gone_through_again(
    who: cast.Sender, days: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(who)
    finished(who)
    days(100)
    with monkeypatch.context() as broken:
        broken.setattr(expired, "_messages", lambda ids: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sweep()
    assert (count("message"), count("event"), count("delivery")) == (2, 0, 0)
    expired._Round.owner = None
    sweep()
    assert count("message") == 0
    assert events.search(caller=who.owner, domain_id=who.domain.id).total == 0
    marks = db.rows("SELECT part, message_id FROM retention_mark ORDER BY part")
    assert [part for part, _ in marks] == [RetentionPart.BODY, RetentionPart.METADATA]
