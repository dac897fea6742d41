"""Segments: found by fields and behaviour on both databases, written to like lists, and list-level suppressions."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

import models
from gateway import clock, errors, ids
from gateway.services import (
    audiences,
    audit,
    audit_log,
    engagement,
    erasures,
    event_marks,
    expansions,
    ledger,
    list_counts,
    lists,
    messages,
    scoped_suppressions,
    segments,
    subscribers,
    suppressions,
)
from gateway.services.batches import blocked, stored
from gateway.services.lanes import Claimed
from gateway.services.ledger import Fact
from gateway.services.subscribers import New
from models import database as db
from models.vocabulary import DeliveryState, EventKind, ListKind, NoticeKind, SubscriberStatus
from tests import cast

pytestmark = pytest.mark.usefixtures("store")

BERLIN = {"field": "city", "op": "equals", "value": "Berlin"}


@pytest.fixture(autouse=True)
def no_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_marks, "_HORIZON_MS", 0)


def _news(who: cast.Sender, **cities: str) -> lists.MailList:
    made = lists.add(caller=who.owner, name="News")
    new = [New(f"{name}@friends.test", {"city": city}) for name, city in cities.items()]
    assert all(one.refusal is None for one in subscribers.add_many(caller=who.owner, list_id=made.id, new=new))
    return made


def _draft(target: int, **changed: object) -> Any:
    return cast.draft(to=[], list_id=target, **({"subject": "Hi", "html": "<p>Hi</p>", "text": "Hi"} | changed))


def _written_to() -> dict[str, DeliveryState]:
    return {row.rcpt.partition("@")[0]: DeliveryState(row.state) for row in models.Delivery.select()}


def _counts(list_id: int) -> dict[SubscriberStatus, int]:
    return {status: n for status, n in list_counts.of([list_id])[list_id].items() if n}


def _counted(list_id: int) -> dict[SubscriberStatus, int]:
    rows = db.rows("SELECT status, COUNT(*) FROM subscriber WHERE list_id = ? GROUP BY status", (list_id,))
    return {SubscriberStatus(status): int(n) for status, n in rows}


def test_a_message_to_a_segment_goes_to_those_in_it_and_is_the_lists() -> None:
    who = cast.sender()
    news = _news(who, jane="Berlin", joe="Bern", zoe="Berlin")
    segment = segments.add(caller=who.owner, name="Berliners", list_id=news.id, conditions=BERLIN)
    messages.accept(who.caller, _draft(segment.id))
    assert orjson.loads(models.Event.get().data) == {"recipients": 2, "list": news.id}
    # What is changed afterwards is for the next message.
    segments.update(caller=who.owner, segment=segment, conditions={"field": "city", "value": "Bern"})
    lists.delete(caller=who.owner, list_id=segment.id, kinds=segments.ANY)
    assert expansions.drain(5) == 2
    assert set(_written_to()) == {"jane", "zoe"}
    assert orjson.loads(models.Message.get().headers)["list"] == news.id


def test_a_segment_of_nobody_is_refused_and_so_is_one_whose_list_is_gone() -> None:
    who = cast.sender()
    news = _news(who, jane="Berlin")
    nobody = segments.add(caller=who.owner, name="Nobody", list_id=news.id, conditions={"field": "city", "value": "X"})
    with pytest.raises(errors.ListUnusable):
        messages.accept(who.caller, _draft(nobody.id))
    all_ = segments.add(caller=who.owner, name="All", list_id=news.id, conditions={})
    lists.delete(caller=who.owner, list_id=news.id)
    with pytest.raises(errors.ListUnusable):
        messages.accept(who.caller, _draft(all_.id))
    with pytest.raises(errors.NotFound):
        lists.find(caller=who.owner, list_id=all_.id, kinds=segments.ANY)
    assert models.Message.select().count() == 0


def test_a_segment_is_no_list_for_those_who_change_lists() -> None:
    who = cast.sender()
    news = _news(who, jane="Berlin")
    segment = segments.add(caller=who.owner, name="All", list_id=news.id, conditions={})
    with pytest.raises(errors.NotFound):
        subscribers.add(caller=who.owner, list_id=segment.id, email="a@friends.test")
    with pytest.raises(errors.NotFound):
        segments.add(caller=who.owner, name="Of a segment", list_id=segment.id, conditions={})
    assert [one.name for one in lists.list_(caller=who.owner)[0]] == ["News"]
    both = lists.page(caller=who.owner, count=10)
    assert [(one.name, one.kind) for one in both] == [("News", ListKind.LIST), ("All", ListKind.SEGMENT)]


def test_windows_do_not_cut_anybody_off(monkeypatch: pytest.MonkeyPatch) -> None:
    who = cast.sender()
    news = _news(who, **{f"r{n}": "Berlin" if n % 3 == 0 else "Bern" for n in range(25)})
    monkeypatch.setattr(audiences, "_WINDOW", 4)
    monkeypatch.setattr(segments, "_WINDOW", 4)
    monkeypatch.setattr(expansions, "BATCH", 4)
    segment = segments.add(caller=who.owner, name="Berliners", list_id=news.id, conditions=BERLIN)
    seen = segments.preview(caller=who.owner, list_id=news.id, conditions=BERLIN, sample=3)
    assert (seen.count, seen.exact, [email for _, _, email in seen.sample]) == (
        9, True, ["r0@friends.test", "r3@friends.test", "r6@friends.test"],
    )  # fmt: skip
    found = audiences.find(account_id=who.owner.account_id, target_id=segment.id)
    assert found is not None
    assert audiences.size(found) == 9
    messages.accept(who.caller, _draft(segment.id))
    assert expansions.drain(5) == 9
    assert set(_written_to()) == {f"r{n}" for n in range(0, 25, 3)}


def test_a_preview_that_takes_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    who = cast.sender()
    news = _news(who, **{f"r{n}": "Berlin" for n in range(9)})
    monkeypatch.setattr(segments, "_WINDOW", 4)
    monkeypatch.setattr(segments, "PREVIEW_SECONDS", -1.0)
    seen = segments.preview(caller=who.owner, list_id=news.id, conditions=BERLIN)
    assert (seen.count, seen.exact) == (4, False)


def _happened(who: cast.Sender, kind: EventKind, rcpt: str, at_ms: int, message_id: int, **data: Any) -> None:
    fact = Fact(who.owner.account_id, who.domain.id, kind, at_ms, message_id, None, rcpt, data=data or None)
    db.in_transaction(lambda tx: ledger.record(tx, [fact]))


def _settle() -> None:
    """On a server the first turn only notes how far the log reaches."""
    engagement.run(5)
    engagement.run(5)


def test_behaviour_is_known_once_the_log_was_read_and_machines_do_not_count() -> None:
    who = cast.sender()
    news = _news(who, jane="Berlin", joe="Bern", zoe="Berlin")
    messages.accept(who.caller, cast.draft(tags=["welcome"]))
    sent = models.Message.get().id
    now = clock.now_ms()
    _happened(who, EventKind.DELIVERED, "Jane@friends.test", now - 9 * clock.DAY_MS, sent)
    _happened(who, EventKind.OPENED, "jane@friends.test", now - 8 * clock.DAY_MS, sent, verdict="human")
    _happened(who, EventKind.OPENED, "zoe@friends.test", now, sent, verdict="machine")
    _happened(who, EventKind.CLICKED, "joe@friends.test", now, sent, verdict="unknown")

    def who_are(condition: dict[str, Any]) -> set[str]:
        seen = segments.preview(caller=who.owner, list_id=news.id, conditions=condition)
        return {email.partition("@")[0] for _, _, email in seen.sample}

    assert who_are({"behaviour": "opened"}) == set()
    _settle()
    assert who_are({"behaviour": "opened"}) == {"jane"}
    assert who_are({"behaviour": "opened", "within_days": 7}) == set()
    assert who_are({"behaviour": "not_opened", "within_days": 7}) == {"jane", "joe", "zoe"}
    assert who_are({"behaviour": "clicked", "tag": "welcome"}) == {"joe"}
    assert who_are({"behaviour": "clicked", "tag": "other"}) == set()
    # Read once more, as after a crash between the rows and the mark, nothing changes.
    before = db.rows("SELECT * FROM engagement ORDER BY address, mark")
    db.database.execute_sql("UPDATE search_mark SET event_id = 0 WHERE id = 2")
    _settle()
    assert db.rows("SELECT * FROM engagement ORDER BY address, mark") == before
    erasures.begin(caller=who.owner, address="jane@friends.test")
    assert {row[1] for row in db.rows("SELECT * FROM engagement")} == {"joe@friends.test"}
    assert _counts(news.id) == _counted(news.id)


def test_accounts_without_lists_leave_no_engagement_and_old_rows_go() -> None:
    who = cast.sender()
    messages.accept(who.caller, cast.draft())
    sent = models.Message.get().id
    _happened(who, EventKind.DELIVERED, "jane@friends.test", clock.now_ms(), sent)
    _settle()
    assert models.Engagement.select().count() == 0
    lists.add(caller=who.owner, name="News")
    _happened(who, EventKind.DELIVERED, "jane@friends.test", clock.now_ms(), sent)
    _happened(who, EventKind.DELIVERED, "joe@friends.test", 1, sent)
    _settle()
    assert models.Engagement.select().count() == 2
    engagement.collect()
    assert [row.address for row in models.Engagement.select()] == ["jane@friends.test"]


def test_an_unsubscribed_subscriber_is_suppressed_for_that_list_alone_even_in_the_queue() -> None:
    who = cast.sender()
    news, other = _news(who, jane="Berlin", joe="Bern"), _news(who, jane="Berlin")
    messages.accept(who.caller, _draft(news.id))
    messages.accept(who.caller, _draft(other.id))
    expansions.drain(5)
    jane = subscribers.find(caller=who.owner, list_id=news.id, email="jane@friends.test")
    subscribers.unsubscribe(caller=who.owner, subscriber=jane)
    claimed = [
        Claimed(row.id, row.message_id, row.account_id, row.domain_id, row.rcpt, None, 0, 1, 0, 1, "", 0,
                DeliveryState.QUEUED)
        for row in models.Delivery.select().order_by(models.Delivery.id)
    ]  # fmt: skip
    why = blocked(claimed, stored(claimed))
    assert [(row.rcpt.partition("@")[0], row.id in why) for row in claimed] == [
        ("jane", True), ("joe", False), ("jane", False),
    ]  # fmt: skip
    assert _counts(news.id) == _counted(news.id) == {SubscriberStatus.ACTIVE: 1, SubscriberStatus.UNSUBSCRIBED: 1}
    subscribers.update(caller=who.owner, subscriber=jane, status=SubscriberStatus.ACTIVE)
    assert blocked(claimed, stored(claimed)) == {}


def test_a_suppression_of_a_list_counts_when_its_deliveries_are_made() -> None:
    who = cast.sender()
    news, other = _news(who, jane="Berlin", joe="Bern"), _news(who, jane="Berlin")
    db.in_transaction(
        lambda tx: suppressions.add(
            tx, account_id=who.owner.account_id, domain_id=suppressions.list_scope(news.id),
            address="jane@friends.test", reason=suppressions.MANUAL,
        )
    )  # fmt: skip
    messages.accept(who.caller, _draft(news.id))
    expansions.drain(5)
    assert _written_to() == {"jane": DeliveryState.SUPPRESSED, "joe": DeliveryState.QUEUED}
    messages.accept(who.caller, cast.draft(to="jane@friends.test"))
    with pytest.raises(errors.SuppressedRecipient):
        joe = subscribers.find(caller=who.owner, list_id=news.id, email="joe@friends.test")
        subscribers.remove(caller=who.owner, subscriber=joe)
        messages.accept(who.caller, _draft(news.id))
    messages.accept(who.caller, _draft(other.id))


def test_who_is_put_again_is_changed_and_who_left_stays_away() -> None:
    who = cast.sender()
    news = _news(who, jane="Berlin")

    def put(*new: New) -> list[tuple[str, str]]:
        made = subscribers.put_many(caller=who.owner, list_id=news.id, new=list(new))
        return [("refused" if one.refusal else one.result.value, one.status.name) for one in made]

    jane = "jane@friends.test"
    assert put(New(jane, {"city": "Berlin"})) == [("unchanged", "ACTIVE")]
    assert put(New(jane, {"age": 30}), New("joe@friends.test"), New("joe@friends.test", {"a": 1}), New("no")) == [
        ("updated", "ACTIVE"), ("added", "ACTIVE"), ("updated", "ACTIVE"), ("refused", "ACTIVE"),
    ]  # fmt: skip
    found = subscribers.find(caller=who.owner, list_id=news.id, email=jane)
    assert found.fields == {"city": "Berlin", "age": 30}
    assert subscribers.find(caller=who.owner, list_id=news.id, email="joe@friends.test").fields == {"a": 1}
    subscribers.unsubscribe(caller=who.owner, subscriber=found)
    assert put(New(jane, {"age": None})) == [("updated", "UNSUBSCRIBED")]
    assert put(New(jane, None, SubscriberStatus.ACTIVE)) == [("updated", "ACTIVE")]
    assert models.Suppression.select().count() == 0
    assert subscribers.find(caller=who.owner, list_id=news.id, email=jane).fields == {"city": "Berlin"}
    assert put(New("gone@friends.test", None, SubscriberStatus.UNSUBSCRIBED)) == [("added", "UNSUBSCRIBED")]
    assert [row.address for row in models.Suppression.select()] == ["gone@friends.test"]
    assert _counts(news.id) == _counted(news.id)


def _told() -> list[dict[str, Any]]:
    kind = NoticeKind.SUBSCRIBER_UNSUBSCRIBED.value
    return [orjson.loads(row.data) for row in models.Notice.select().where(models.Notice.kind == kind)]


def test_counts_follow_every_change() -> None:
    who = cast.sender()
    news = _news(who, jane="Berlin", joe="Bern", zoe="Berlin")
    found = [
        subscribers.find(caller=who.owner, list_id=news.id, email=f"{name}@friends.test")
        for name in ("jane", "joe", "zoe")
    ]
    subscribers.remove(caller=who.owner, subscriber=found[0])
    subscribers.unsubscribe(caller=who.owner, subscriber=found[1])
    subscribers.unsubscribe(caller=who.owner, subscriber=found[1])
    assert _counts(news.id) == _counted(news.id)
    lists.collect()
    assert _counts(news.id) == _counted(news.id) == {SubscriberStatus.ACTIVE: 1, SubscriberStatus.UNSUBSCRIBED: 1}
    assert lists.find(caller=who.owner, list_id=news.id).active == 1
    (told,) = _told()
    assert (told["email"], told["list"]) == ("joe@friends.test", "News")
    erasures.begin(caller=who.owner, address="joe@friends.test")
    (told,) = _told()
    assert set(told) == {"list_id", "list"}
    assert models.Suppression.select().count() == 1
    lists.delete(caller=who.owner, list_id=news.id)
    while lists.collect()[1]:
        pass
    for model in (models.MailList, models.ListCount, models.Suppression, models.Subscriber):
        assert model.select().count() == 0, model


def test_what_was_opened_of_a_campaign() -> None:
    who = cast.sender()
    news = _news(who, jane="Berlin", joe="Bern")
    models.Campaign.create(
        id=7, uuid=ids.new_uuid(), account_id=who.owner.account_id, domain_id=who.domain.id, name="C", state="sent",
        content="{}", list_id=news.id, created_ms=1, updated_ms=1,
    )  # fmt: skip
    campaign = ids.public_id("cmp", models.Campaign.get().uuid)
    messages.accept(who.caller, cast.draft())
    sent = models.Message.get().id
    models.Message.update(origin="cmp:7").execute()
    _happened(who, EventKind.OPENED, "jane@friends.test", clock.now_ms(), sent, verdict="human")
    _settle()
    for condition, wanted in (
        ({"behaviour": "opened", "campaign": campaign}, 1), ({"behaviour": "not_opened", "campaign": campaign}, 1),
        ({"behaviour": "clicked", "campaign": campaign}, 0),
    ):  # fmt: skip
        assert segments.preview(caller=who.owner, list_id=news.id, conditions=condition).count == wanted
    stranger = cast.account("stranger")
    other = lists.add(caller=stranger, name="Theirs")
    with pytest.raises(errors.InvalidFields):
        segments.preview(caller=stranger, list_id=other.id, conditions={"behaviour": "opened", "campaign": campaign})


def test_changes_of_people_stand_in_the_audit_log_without_them() -> None:
    who = cast.sender()
    news = _news(who, jane="Berlin")
    jane = subscribers.find(caller=who.owner, list_id=news.id, email="jane@friends.test")
    subscribers.update(caller=who.owner, subscriber=jane, fields={"city": "Bern"})
    subscribers.unsubscribe(caller=who.owner, subscriber=jane)
    subscribers.remove(caller=who.owner, subscriber=jane)
    (row,) = scoped_suppressions.put(caller=who.owner, new=[scoped_suppressions.New("jane@friends.test")])
    assert row.row is not None
    scoped_suppressions.delete(caller=who.owner, suppression_id=row.row.id)
    found = audit_log.list_(caller=who.owner, wanted=audit_log.Wanted(kind="change"), count=200).entries
    told = [(entry["action"], entry["object"]) for entry in reversed(found)][-6:]
    person = audit.person(who.owner.account_id, "jane@friends.test")
    words = ("subscriber.put", "subscriber.update", "subscriber.unsubscribe", "subscriber.delete")
    assert told == [(word, person) for word in (*words, "suppression.create", "suppression.delete")]
    assert "jane" not in repr(found)
