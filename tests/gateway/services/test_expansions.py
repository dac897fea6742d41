"""A message to a list: everyone once, whatever is killed and whoever changes their mind meanwhile."""

from __future__ import annotations

import email
import email.policy
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

import models
from gateway import clock, errors, jobs
from gateway.mail.draft import Draft
from gateway.services import (
    deliveries,
    expansions,
    housekeeping,
    lists,
    messages,
    queues,
    subscribers,
    suppressions,
    templates,
)
from gateway.services.subscribers import New
from models import database as db
from models.vocabulary import DeliveryState, EventKind, Stream, SubscriberStatus
from tests import cast
from tests.conftest import use_settings
from tests.peers.smtp_sink import SmtpSink

pytestmark = pytest.mark.usefixtures("store")


def _list(who: cast.Sender, size: int) -> lists.MailList:
    made = lists.add(caller=who.owner, name="News")
    for start in range(0, size, subscribers.MOST_AT_ONCE):
        some = range(start, min(size, start + subscribers.MOST_AT_ONCE))
        new = [New(f"reader{n}@friends.test", {"firstName": f"R<{n}>"}) for n in some]
        assert all(one.refusal is None for one in subscribers.add_many(caller=who.owner, list_id=made.id, new=new))
    return made


def _draft(list_id: int, **changed: object) -> Draft:
    parts = {"subject": "Hi {{firstName}}", "html": "<p>{{firstName}} {{ city }}</p>", "text": "{{email}}"}
    return cast.draft(to=[], list_id=list_id, **(parts | changed))


def _states() -> dict[str, DeliveryState]:
    return {row.rcpt: DeliveryState(row.state) for row in models.Delivery.select()}


def _events(kind: EventKind) -> list[models.Event]:
    return list(models.Event.select().where(models.Event.kind == kind).order_by(models.Event.id))


def test_accepting_stores_a_message_and_what_is_needed_and_no_more(bells: list[str]) -> None:
    who = cast.sender()
    made = _list(who, 3)
    messages.accept(who.caller, _draft(made.id))
    assert models.Delivery.select().count() == 0
    assert bells == [jobs.EXPAND]
    message = models.Message.get()
    assert message.stream == Stream.BULK
    assert orjson.loads(models.Event.get().data) == {"recipients": 3, "list": made.id}
    assert expansions.drain(5) == 3
    rows = list(models.Delivery.select().order_by(models.Delivery.id))
    assert [row.rcpt for row in rows] == [f"reader{n}@friends.test" for n in range(3)]
    assert orjson.loads(rows[1].merge) == {"firstName": "R<1>"}
    assert jobs.DELIVER in bells
    assert expansions.drain(5) == 0


def test_batches_resume_without_duplicates_or_omissions(monkeypatch: pytest.MonkeyPatch) -> None:
    who = cast.sender()
    made = _list(who, 250)
    monkeypatch.setattr(expansions, "BATCH", 40)
    messages.accept(who.caller, _draft(made.id))
    insert, calls = expansions._insert_others, Counter[str]()

    def dies(*args: object) -> None:
        insert(*args)  # type: ignore[arg-type]
        calls["insert"] += 1
        if calls["insert"] % 2 == 0:  # after its rows, before its commit
            raise KeyboardInterrupt

    monkeypatch.setattr(expansions, "_insert_others", dies)
    for _ in range(20):
        try:
            expansions.drain(5)
            break
        except KeyboardInterrupt:
            pass
    assert calls["insert"] > 7
    assert sorted(_states()) == sorted(f"reader{n}@friends.test" for n in range(250))
    assert models.Delivery.select().count() == 250
    row = models.Expansion.get()
    assert (row.made, row.total, row.done_ms is not None) == (250, 250, True)


def test_two_workers_at_once_make_each_delivery_once(monkeypatch: pytest.MonkeyPatch) -> None:
    who = cast.sender()
    made = _list(who, 200)
    monkeypatch.setattr(expansions, "BATCH", 10)
    for _ in range(3):
        messages.accept(who.caller, _draft(made.id))

    def work() -> None:
        expansions.drain(20)
        db.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expansions.drain(20)
    counted = Counter((row.message_id, row.rcpt) for row in models.Delivery.select())
    assert len(counted) == 600 and set(counted.values()) == {1}


def test_who_must_not_be_written_to_gets_an_event_instead() -> None:
    who = cast.sender()
    made = _list(who, 5)
    left = subscribers.find(caller=who.owner, list_id=made.id, email="reader0@friends.test")
    subscribers.unsubscribe(caller=who.owner, subscriber=left)
    models.Subscriber.update(status_ms=1).where(models.Subscriber.id == left.id).execute()
    db.in_transaction(
        lambda tx: suppressions.add(
            tx, account_id=who.owner.account_id, domain_id=0, address="reader1@friends.test", reason="complaint"
        )
    )
    messages.accept(who.caller, _draft(made.id, tags=["news"]))
    for number, change in ((2, subscribers.unsubscribe), (3, subscribers.remove)):
        one = subscribers.find(caller=who.owner, list_id=made.id, email=f"reader{number}@friends.test")
        change(caller=who.owner, subscriber=one)
    again = subscribers.add(caller=who.owner, list_id=made.id, email="reader3@friends.test")
    subscribers.add(caller=who.owner, list_id=made.id, email="late@friends.test")
    expansions.drain(5)
    assert _states() == {
        "reader1@friends.test": DeliveryState.SUPPRESSED,
        "reader2@friends.test": DeliveryState.SUPPRESSED,
        "reader3@friends.test": DeliveryState.CANCELED,
        "reader4@friends.test": DeliveryState.QUEUED,
    }
    reasons = {event.rcpt: orjson.loads(event.data)["reason"] for event in _events(EventKind.SUPPRESSED)}
    assert reasons == {"reader1@friends.test": "complaint", "reader2@friends.test": "unsubscribe"}
    assert [event.rcpt for event in _events(EventKind.CANCELED)] == ["reader3@friends.test"]
    by_id = {row.id: row.rcpt for row in models.Delivery.select()}
    assert all(by_id[event.delivery_id] == event.rcpt for event in models.Event.select() if event.delivery_id)
    assert again.id > models.Expansion.get().upto


def test_a_list_that_is_deleted_meanwhile_is_sent_to_the_end_and_then_collected() -> None:
    who = cast.sender()
    made = _list(who, 4)
    messages.accept(who.caller, _draft(made.id))
    lists.delete(caller=who.owner, list_id=made.id)
    housekeeping.sweep(5)
    assert models.Subscriber.select().count() == 4
    assert expansions.drain(5) == 4
    assert set(_states().values()) == {DeliveryState.QUEUED}
    housekeeping.sweep(5)
    assert (models.Subscriber.select().count(), models.MailList.select().count()) == (0, 0)


def test_a_scheduled_one_waits_for_its_time(bells: list[str]) -> None:
    who = cast.sender()
    made = _list(who, 2)
    later = clock.now_ms() + 3_600_000
    messages.accept(who.caller, _draft(made.id, send_at_ms=later))
    expansions.drain(5)
    assert {row.due_ms for row in models.Delivery.select()} == {later}
    assert [event.rcpt for event in _events(EventKind.QUEUED)] == ["reader0@friends.test", "reader1@friends.test"]
    assert jobs.DELIVER not in bells


def test_what_is_taken_back_before_its_deliveries_are_made_is_told_of_each() -> None:
    who = cast.sender()
    made = _list(who, 3)
    accepted = messages.accept(who.caller, _draft(made.id))
    queues.cancel_message(caller=who.owner, message_id=accepted.message_id)
    expansions.drain(5)
    assert set(_states().values()) == {DeliveryState.CANCELED}
    assert len(_events(EventKind.CANCELED)) == 3


def test_a_cleared_queue_takes_what_is_not_yet_made_with_it() -> None:
    who = cast.sender()
    made = _list(who, 3)
    messages.accept(who.caller, _draft(made.id))
    assert queues.clear_domain(caller=who.owner, domain_id=who.domain.id) == 3
    expansions.drain(5)
    assert set(_states().values()) == {DeliveryState.FAILED}
    assert len(_events(EventKind.FAILED)) == 3


def test_a_rescheduled_one_takes_its_new_time_along() -> None:
    who = cast.sender()
    made = _list(who, 2)
    accepted = messages.accept(who.caller, _draft(made.id))
    later = clock.now_ms() + 3_600_000
    queues.reschedule_message(caller=who.owner, message_id=accepted.message_id, at_ms=later)
    expansions.drain(5)
    assert {row.due_ms for row in models.Delivery.select()} == {later}


@pytest.mark.parametrize("case", ["absent", "empty", "foreign", "deleted", "unsubscribed"])
def test_a_list_that_nobody_can_be_reached_by_is_refused(case: str) -> None:
    who = cast.sender()
    other = cast.sender("stranger", "other.test")
    made = _list(other if case == "foreign" else who, 0 if case == "empty" else 1)
    if case == "deleted":
        lists.delete(caller=who.owner, list_id=made.id)
    if case == "unsubscribed":
        one = subscribers.find(caller=who.owner, list_id=made.id, email="reader0@friends.test")
        subscribers.update(caller=who.owner, subscriber=one, status=SubscriberStatus.UNSUBSCRIBED)
    with pytest.raises(errors.ListUnusable):
        messages.accept(who.caller, _draft(999_999 if case == "absent" else made.id))
    assert models.Message.select().count() == 0


def test_a_quota_counts_everyone_and_refuses_before_accepting() -> None:
    who = cast.sender()
    made = _list(who, 6)
    caller = replace(who.caller, plan=replace(who.caller.plan, emails_day=10))
    messages.accept(caller, _draft(made.id))
    with pytest.raises(errors.QuotaReached):
        messages.accept(caller, _draft(made.id))
    assert models.Message.select().count() == 1
    messages.accept(caller, replace(cast.draft(), to=cast.draft().to))


def test_other_recipients_beside_a_list_are_refused() -> None:
    who = cast.sender()
    made = _list(who, 1)
    with pytest.raises(errors.Invalid, match="TargetListID"):
        messages.accept(who.caller, replace(_draft(made.id), to=cast.draft().to))


@pytest.fixture
def sink(store: str, tmp_path: Path) -> Iterator[SmtpSink]:
    with SmtpSink() as peer:
        use_settings(tmp_path, DELIVERY=f"smtp://127.0.0.1:{peer.port}", DELIVER_CONNECTIONS="2")
        yield peer
        deliveries.close()


def _drain() -> None:
    while deliveries.drain(0.1):
        pass
    assert deliveries.engine().wait_idle(20)
    deliveries.close()


def test_each_gets_their_own_and_sees_nobody_else(sink: SmtpSink) -> None:
    who = cast.sender()
    made = _list(who, 3)
    template = templates.add(
        caller=who.owner, name="T", subject="Hi {{firstName}}", html="<b>{{firstName}}</b> {{city}}", text=None
    )
    subscribers.add(caller=who.owner, list_id=made.id, email="ann@friends.test", fields={"city": "Own"})
    draft = _draft(
        made.id,
        subject="",
        html=None,
        text=None,
        template_id=template.id,
        variables={"city": "Rome"},
        track_opens=False,
    )
    accepted = messages.accept(who.caller, draft)
    expansions.drain(5)
    _drain()
    received = {
        one.rcpts[0]: email.message_from_bytes(one.data, policy=email.policy.default) for one in sink.wait_for(4)
    }
    assert len(received) == 4
    for rcpt, parsed in received.items():
        assert parsed["To"] == rcpt
        assert len(parsed.get_all("DKIM-Signature")) == 2
        assert accepted.message_id in parsed["Message-ID"]
    assert len({parsed["Message-ID"] for parsed in received.values()}) == 4
    one = received["reader1@friends.test"]
    assert one["Subject"] == "Hi R<1>"
    assert one.get_content().strip() == "<b>R&lt;1&gt;</b> Rome"
    assert received["ann@friends.test"].get_content().strip() == "<b></b> Own"


def test_fields_that_make_a_template_fail_fail_only_their_own(sink: SmtpSink) -> None:
    who = cast.sender()
    made = _list(who, 2)
    subscribers.add(caller=who.owner, list_id=made.id, email="zero@friends.test", fields={"parts": 0})
    html = "{{ 10 | divided_by: parts }}"
    messages.accept(who.caller, _draft(made.id, html=html, variables={"parts": 2}))
    expansions.drain(5)
    _drain()
    assert len(sink.wait_for(2)) == 2
    assert _states()["zero@friends.test"] == DeliveryState.FAILED
    event = _events(EventKind.FAILED)[0]
    assert (event.rcpt, "divide" in orjson.loads(event.data)["reason"]) == ("zero@friends.test", True)
