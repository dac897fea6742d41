"""Sequences over simulated weeks: each step once, in its thread, to those who still want it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
import time_machine

import models
from gateway import clock, errors, jobs
from gateway.mail import verp
from gateway.services import (
    arrivals,
    deliveries,
    enrolments,
    inbound,
    mailboxes,
    messages,
    rendering,
    sequence_runs,
    sequences,
    suppressions,
    unsubscribes,
)
from gateway.services.mailbox_mail import Place
from gateway.services.unsubscribe_links import Leaving
from models import database as db
from models.vocabulary import DeliveryState, EnrolmentStatus
from tests import cast

DAY = 86_400_000
STEPS = [
    {"type": "send_email", "subject": "Welcome {{firstName}}", "html": "<p>Hello {{ firstName }}!</p>"},
    {"type": "delay", "delayMs": 3 * DAY},
    {"type": "send_email", "html": "<p>Checking in, {{email}}</p>", "text": "Checking in"},
    {"type": "delay", "delayMs": 4 * DAY},
    {"type": "delay", "delayMs": 3 * DAY},
    {"type": "send_email", "subject": "Last one", "text": "Bye"},
]
BOUNCE = (
    "From: MAILER-DAEMON@mx.friends.test\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
    "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    "Reporting-MTA: dns; mx.friends.test\r\n\r\nFinal-Recipient: rfc822; {}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 unknown user\r\n\r\n--b--\r\n"
)
COMPLAINT = (
    "From: fbl@provider.test\r\nSubject: Complaint\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
    "--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: P/1\r\nVersion: 1\r\n"
    "\r\n--b--\r\n"
)


class Weeks:
    """A sequence on a clock of its own."""

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self.traveller = traveller
        self.sender = cast.sender()
        self.caller = replace(self.sender.caller, surface="mailmark")
        self.mailbox = mailboxes.add(caller=self.caller, address="hello", display_name="Hello Team")
        self.sequence = sequences.add(caller=self.caller, name="Welcome", from_="hello@shop.test", steps=STEPS)

    def enrol(self, *names: str) -> enrolments.Enrolled:
        contacts = [{"email": f"{name}@friends.test", "mergeFields": {"firstName": name.title()}} for name in names]
        return enrolments.enrol(caller=self.caller, sequence_id=self.sequence.public_id, contacts=contacts)

    def go(self, days: float = 0) -> int:
        """Let time pass, then send what is due, and have it delivered."""
        self.traveller.shift(timedelta(days=days))
        sent = sequence_runs.drain(5)
        models.Delivery.update(state=DeliveryState.DELIVERED, due_ms=None, lane_id=None).where(
            models.Delivery.due_ms.is_null(False)
        ).execute()
        return sent

    def sent_to(self, name: str) -> list[models.Message]:
        rows = models.Delivery.select().where(models.Delivery.rcpt == f"{name}@friends.test")
        return [models.Message.get_by_id(row.message_id) for row in rows.order_by(models.Delivery.id)]

    def path(self, name: str) -> str:
        row = models.Delivery.select().where(models.Delivery.rcpt == f"{name}@friends.test")
        return verp.encode(row.order_by(models.Delivery.id.desc()).first().id, "bounce.shop.test")

    def stand(self) -> dict[str, str]:
        return {row.email.partition("@")[0]: EnrolmentStatus(row.status).word for row in models.Enrolment.select()}

    def counts(self) -> dict[str, int]:
        found = sequences.statistics([self.sequence.id])[self.sequence.id]
        return {"total": found.total, **{status.word: n for status, n in found.by_status.items()}}

    def set(self, status: str) -> None:
        sequences.set_status(caller=self.caller, sequence_id=self.sequence.public_id, status=status)


@pytest.fixture
def weeks(store: str) -> Iterator[Weeks]:
    with time_machine.travel(clock.now(), tick=False) as traveller:
        yield Weeks(traveller)


def test_weeks_of_replies_bounces_complaints_and_partings(weeks: Weeks) -> None:
    made = weeks.enrol("ann", "bob", "carl", "dora", "emil")
    assert (len(made.ids), made.skipped) == (5, [])
    assert weeks.go() == 5
    assert [message.subject for message in weeks.sent_to("ann")] == ["Welcome Ann"]
    assert (weeks.go(), weeks.go(1)) == (0, 0)
    place = Place(weeks.mailbox.id, weeks.mailbox.account_id, weeks.mailbox.domain_id, weeks.mailbox.address)
    (first,) = weeks.sent_to("bob")
    answer = f"From: bob@friends.test\r\nTo: hello@shop.test\r\nIn-Reply-To: <{first.uuid}@shop.test>\r\n\r\nYes\r\n"
    assert arrivals.receive(places=[place], mail_from="bob@friends.test", content=answer.encode()) == "reply"
    assert inbound.receive(
        recipient=weeks.path("carl"), mail_from="", content=BOUNCE.format("carl@friends.test").encode()
    ).word == "bounced"  # fmt: skip
    assert inbound.receive(recipient=weeks.path("dora"), mail_from="f@p.test", content=COMPLAINT.encode()).word == (
        "complained"
    )
    delivery = models.Delivery.get(models.Delivery.rcpt == "emil@friends.test")
    leaving = Leaving(delivery.id, weeks.sender.domain.id, 0, "emil@friends.test")
    assert unsubscribes.unsubscribe(leaving=leaving, method=unsubscribes.ONE_CLICK)
    assert weeks.stand() == {
        "ann": "active", "bob": "replied", "carl": "bounced", "dora": "complained", "emil": "unsubscribed",
    }  # fmt: skip
    assert weeks.go(2) == 1  # the third day: ann's follow-up, nobody else's
    assert weeks.go(6.9) == 0
    assert weeks.go(0.1) == 1
    assert weeks.stand()["ann"] == "completed"
    assert weeks.go(30) == 0
    assert [message.subject for message in weeks.sent_to("ann")] == ["Welcome Ann", "Re: Welcome Ann", "Last one"]
    assert weeks.counts() == {
        "total": 5, "completed": 1, "replied": 1, "bounced": 1, "complained": 1, "unsubscribed": 1,
    }  # fmt: skip
    found = sequences.find(caller=weeks.caller, sequence_id=weeks.sequence.public_id)
    assert (found.sent, models.Sequence.get_by_id(found.id).next_due_ms) == (7, None)


def test_follow_ups_are_in_the_thread_and_can_be_left(weeks: Weeks) -> None:
    weeks.enrol("ann")
    for days in (0, 3, 7):
        weeks.go(days)
    uuids = [message.uuid for message in weeks.sent_to("ann")]
    delivery = models.Delivery.select().order_by(models.Delivery.id.desc()).first()
    stored = rendering.load([delivery.message_id])[delivery.message_id]
    text = stored.composed(delivery.id, delivery.rcpt, None).decode().replace("\r\n ", " ")
    assert f"\r\nIn-Reply-To: <{uuids[1]}@shop.test>\r\n" in text
    assert f"\r\nReferences: <{uuids[0]}@shop.test> <{uuids[1]}@shop.test>\r\n" in text
    assert "From: Hello Team <hello@shop.test>\r\n" in text
    assert "\r\nList-Unsubscribe: <" in text
    metadata = orjson.loads(models.Message.get_by_id(delivery.message_id).metadata)
    assert metadata["sequenceId"] == weeks.sequence.public_id


def test_after_an_outage_each_step_is_sent_once(weeks: Weeks, monkeypatch: pytest.MonkeyPatch) -> None:
    weeks.enrol("ann", "bob")
    assert weeks.go(20) == 2  # nobody ran for three weeks: one step each, not all of them
    real, failures = messages.store, []

    def killed(tx: db.Transaction, ready: messages.Ready) -> messages.Accepted:
        done = real(tx, ready)
        if len(failures) < 2:
            failures.append(done.message_id)
            raise db.StoreUnavailable("killed before the commit")
        return done

    monkeypatch.setattr(messages, "store", killed)
    for _ in range(2):
        with pytest.raises(db.StoreUnavailable):
            weeks.go(3)
    assert len(failures) == 2
    assert [len(weeks.sent_to(name)) for name in ("ann", "bob")] == [1, 1]
    assert weeks.go(0.01) == 2  # the lease of who was killed has run out
    assert [len(weeks.sent_to(name)) for name in ("ann", "bob")] == [2, 2]


def test_two_at_once_send_it_once(weeks: Weeks) -> None:
    weeks.enrol("ann")
    due = sequence_runs._due(weeks.sequence.id)
    found, caller = sequences.load(weeks.sequence.id), weeks.caller
    assert found is not None
    assert [sequence_runs._advance(found, caller, one) for one in due * 2] == [1, 0]
    assert len(weeks.sent_to("ann")) == 1


def test_one_sequences_trouble_is_not_that_of_the_others(weeks: Weeks) -> None:
    broken = sequences.add(caller=weeks.caller, name="Broken", from_="hello@shop.test", steps=STEPS)
    enrolments.enrol(caller=weeks.caller, sequence_id=broken.public_id, contacts=[{"email": "bob@friends.test"}])
    weeks.enrol("ann")
    models.Sequence.update(steps="no JSON").where(models.Sequence.id == broken.id).execute()
    assert weeks.go() == 1
    assert len(weeks.sent_to("ann")) == 1


def test_a_paused_sequence_sends_nothing_and_goes_on_where_it_was(weeks: Weeks) -> None:
    weeks.enrol("ann")
    weeks.go()
    weeks.set("paused")
    with pytest.raises(errors.SequencePaused):
        weeks.enrol("bob")
    assert weeks.go(10) == 0
    due = sequence_runs._due(weeks.sequence.id)  # somebody had read it before it was paused
    assert [sequence_runs._advance(weeks.sequence, weeks.caller, one) for one in due] == [0]
    weeks.set("active")
    assert (weeks.go(), weeks.go()) == (1, 0)
    assert len(weeks.sent_to("ann")) == 2


def test_cancelling_ends_everybody_for_good(weeks: Weeks, bells: list[str]) -> None:
    weeks.enrol("ann", "bob", "carl")
    weeks.go()
    assert sequences.cancel(caller=weeks.caller, sequence_id=weeks.sequence.public_id) == 3
    assert sequences.cancel(caller=weeks.caller, sequence_id=weeks.sequence.public_id) == 0
    assert set(weeks.stand().values()) == {"cancelled"}
    assert weeks.go(30) == 0
    for status in ("active", "paused"):
        with pytest.raises(errors.SequenceEnded):
            weeks.set(status)
    with pytest.raises(errors.SequencePaused):
        weeks.enrol("dora")
    assert bells.count(jobs.SEQUENCES) == 1


def test_a_cancel_that_was_killed_is_finished(weeks: Weeks) -> None:
    weeks.enrol("ann", "bob")
    models.Sequence.update(status="completed", next_due_ms=clock.now_ms()).execute()
    assert weeks.go() == 0
    assert set(weeks.stand().values()) == {"cancelled"}
    assert models.Sequence.get().next_due_ms is None


def test_who_is_active_is_skipped_and_may_come_again_later(weeks: Weeks) -> None:
    weeks.enrol("ann")
    again = weeks.enrol("ann", "bob", "bob")
    assert (len(again.ids), [email for email, _ in again.skipped]) == (1, ["ann@friends.test", "bob@friends.test"])
    for days in (0, 3, 7):
        weeks.go(days)
    assert len(weeks.enrol("ann").ids) == 1


def test_who_must_not_be_written_to_is_not(weeks: Weeks) -> None:
    weeks.enrol("ann", "bob")
    weeks.go()
    for name, reason in (("ann", "unsubscribe"), ("carl", "manual")):
        db.in_transaction(
            lambda tx, name=name, reason=reason: suppressions.add(  # type: ignore[misc]
                tx, account_id=weeks.caller.account_id, domain_id=weeks.sender.domain.id,
                address=f"{name}@friends.test", reason=reason,
            )
        )  # fmt: skip
    assert weeks.enrol("carl").skipped == [("carl@friends.test", enrolments.SUPPRESSED)]
    assert weeks.go(3) == 1
    assert weeks.stand() == {"ann": "unsubscribed", "bob": "active"}


def test_what_cannot_go_on_waits_for_its_owner(weeks: Weeks) -> None:
    weeks.enrol("ann")
    models.SenderDomain.update(status="disabled").execute()
    from gateway.services import senders

    senders.forget()
    assert weeks.go() == 0
    assert models.Sequence.get().next_due_ms == clock.now_ms() + 900_000
    models.SenderDomain.update(status="enabled").execute()
    assert weeks.go(0.02) == 1
    mailboxes.delete(caller=weeks.caller, address="hello")
    assert weeks.go(3) == 0
    found = sequences.find(caller=weeks.caller, sequence_id=weeks.sequence.public_id)
    assert (found.status, found.cause) == ("paused", "its mailbox was deleted")
    with pytest.raises(errors.MailboxNeeded):
        weeks.set("active")


def test_the_scheduler_reads_only_what_is_due(weeks: Weeks) -> None:
    """A plan, not a stopwatch: neither sequences nor people who are not due are looked at."""
    weeks.enrol("ann")
    explain = "EXPLAIN QUERY PLAN " if db.dialect() == "sqlite" else "EXPLAIN "
    for sql, index in (
        ("SELECT id FROM sequence WHERE next_due_ms <= 5 ORDER BY next_due_ms LIMIT 50", "sequence_next_due_ms"),
        (
            "SELECT id FROM enrolment WHERE sequence_id = 1 AND due_ms <= 5 ORDER BY due_ms LIMIT 100",
            "enrolment_sequence_id_due_ms",
        ),
    ):
        plan = " ".join(str(value) for row in db.rows(explain + sql) for value in row)
        assert index in plan, plan


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ([], "steps"),
        ("x", "steps"),
        ([{"type": "delay", "delayMs": DAY}], "steps.0.type"),
        ([{"type": "sms"}], "steps.0.type"),
        ([{"type": "send_email", "subject": "x"}], "steps.0.html"),
        ([{"type": "send_email", "html": "x"}], "steps.0.subject"),
        ([{"type": "send_email", "subject": "{{ x", "html": "x"}], "steps.0"),
        ([STEPS[0], {"type": "delay", "delayMs": 0}], "steps.1.delayMs"),
        ([STEPS[0], {"type": "delay", "delayMs": True}], "steps.1.delayMs"),
        ([STEPS[0], {"type": "delay", "delayMs": 400 * DAY}], "steps.1.delayMs"),
        ([STEPS[0]] * 51, "steps"),
    ],
)
def test_bad_steps_are_named(store: str, steps: object, field: str) -> None:
    caller = cast.sender().caller
    mailboxes.add(caller=caller, address="hello")
    with pytest.raises(errors.Invalid) as refused:
        sequences.add(caller=caller, name="x", from_="hello@shop.test", steps=steps)
    assert refused.value.data["field"] == field
    assert models.Sequence.select().count() == 0


def test_captured_by_a_worker(weeks: Weeks) -> None:
    """The messages of a sequence are messages like any other."""
    weeks.enrol("ann")
    sequence_runs.drain(5)
    deliveries.drain(5)
    assert models.CapturedMail.select().count() == 1
