"""The engine against a real SMTP peer: what arrives, what is stored of it, and what a death leaves."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

import models
from gateway import clock, jobs
from gateway.mail import verp
from gateway.mail.draft import Mailbox
from gateway.services import (
    deliveries,
    journal,
    lanes,
    ledger,
    messages,
    outcome_flusher,
    outcomes,
    senders,
    suppressions,
    webhooks,
)
from gateway.services.ledger import Fact
from gateway.services.outcomes import Done
from gateway.transports import registry
from gateway.transports.outcome import Outcome, Result
from models import database as db
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import use_settings
from tests.peers.smtp_sink import SmtpSink, say


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as peer:
        yield peer


@pytest.fixture
def engine(store: str, sink: SmtpSink, tmp_path: Path) -> Iterator[None]:
    use_settings(tmp_path, DELIVERY=f"smtp://127.0.0.1:{sink.port}", DELIVER_CONNECTIONS="2")
    yield
    deliveries.close()


def _drain() -> int:
    """Deliver all that is due and end the engine, so that everything is written."""
    count = 0
    while claimed := deliveries.drain(0.1):
        count += claimed
    assert deliveries.engine().wait_idle(20)
    deliveries.close()
    return count


def _events() -> list[EventKind]:
    return [EventKind(row.kind) for row in models.Event.select().order_by(models.Event.id)]


@pytest.mark.usefixtures("engine")
class TestDelivery:
    def test_a_message_arrives_signed_with_our_return_path(self, sink: SmtpSink) -> None:
        accepted = messages.accept(cast.sender().caller, cast.draft(cc=[Mailbox("carl@friends.test")]))
        assert _drain() == 2
        received = sink.wait_for(2)
        assert sorted(r for one in received for r in one.rcpts) == ["carl@friends.test", "jane@friends.test"]
        parsed = email.message_from_bytes(received[0].data, policy=email.policy.default)
        assert parsed["Message-ID"] == f"<{accepted.message_id}@shop.test>"
        assert len(parsed.get_all("DKIM-Signature")) == 2
        assert parsed["Cc"] == "carl@friends.test"
        by_id = {row.id: row for row in models.Delivery.select()}
        for one in received:
            assert one.mail_from.endswith("@bounce.shop.test")
            delivery = by_id[verp.decode(one.mail_from) or 0]
            assert [delivery.rcpt] == one.rcpts
            assert (delivery.state, delivery.due_ms, delivery.lane_id) == (DeliveryState.DELIVERED, None, None)
        attempt = models.Attempt.select().first()
        assert (attempt.no, attempt.code, attempt.outcome) == (1, 250, "delivered")
        assert _events() == [EventKind.ACCEPTED, EventKind.DELIVERED, EventKind.DELIVERED]

    def test_one_connection_carries_many(self, sink: SmtpSink) -> None:
        who = cast.sender()
        for _ in range(40):
            messages.accept(who.caller, cast.draft())
        assert _drain() == 40
        assert len(sink.wait_for(40)) == 40
        assert len({one.connection for one in sink.messages}) <= 2
        counted = {(row.kind, row.n) for row in models.Counter.select()}
        assert counted == {(EventKind.ACCEPTED, 40), (EventKind.DELIVERED, 40)}

    def test_a_refusal_for_now_is_tried_again_on_the_schedule(self, sink: SmtpSink) -> None:
        sink.refuse("jane@friends.test", "451 4.3.0 later please", "250 2.1.5 ok", always=False)
        messages.accept(cast.sender().caller, cast.draft())
        before = clock.now_ms()
        _drain()
        row = models.Delivery.get()
        assert (row.state, row.attempts) == (DeliveryState.DEFERRED, 1)
        assert before + 48_000 <= row.due_ms <= clock.now_ms() + 72_000
        assert _events() == [EventKind.ACCEPTED, EventKind.DEFERRED]
        assert "451" in models.Attempt.get().dialogue
        models.Delivery.update(due_ms=clock.now_ms()).execute()
        _drain()
        assert models.Delivery.get().state == DeliveryState.DELIVERED
        assert [row.no for row in models.Attempt.select().order_by(models.Attempt.id)] == [1, 2]

    def test_an_unknown_recipient_bounces_and_is_suppressed(self, sink: SmtpSink) -> None:
        sink.refuse("jane@friends.test", "550 5.1.1 no such user")
        who = cast.sender()
        messages.accept(who.caller, cast.draft(tags=["t"]))
        _drain()
        assert models.Delivery.get().state == DeliveryState.BOUNCED
        assert _events() == [EventKind.ACCEPTED, EventKind.BOUNCED]
        data = orjson.loads(models.Event.get(models.Event.kind == EventKind.BOUNCED).data)
        assert (data["code"], data["enhanced"], data["category"]) == (550, "5.1.1", "recipient")
        found = models.Suppression.get()
        assert (found.address, found.reason, found.domain_id) == ("jane@friends.test", "bounce", who.domain.id)

    def test_a_policy_refusal_suppresses_nobody(self, sink: SmtpSink) -> None:
        sink.refuse("jane@friends.test", "550 5.7.1 not from you")
        messages.accept(cast.sender().caller, cast.draft())
        _drain()
        assert models.Delivery.get().state == DeliveryState.BOUNCED
        assert models.Suppression.select().count() == 0

    def test_time_used_up_fails(self, sink: SmtpSink) -> None:
        sink.refuse("jane@friends.test", "451 4.3.0 later please")
        messages.accept(cast.sender().caller, cast.draft())
        models.Delivery.update(expires_ms=clock.now_ms() + 1000).execute()
        _drain()
        assert models.Delivery.get().state == DeliveryState.FAILED
        assert _events() == [EventKind.ACCEPTED, EventKind.FAILED]

    def test_a_peer_that_is_away_defers(self, sink: SmtpSink) -> None:
        sink.stop()
        messages.accept(cast.sender().caller, cast.draft())
        _drain()
        row = models.Delivery.get()
        assert row.state == DeliveryState.DEFERRED
        assert models.Attempt.get().category == "network"

    def test_who_was_suppressed_meanwhile_is_not_written_to(self, sink: SmtpSink) -> None:
        who = cast.sender()
        messages.accept(who.caller, cast.draft())
        db.in_transaction(
            lambda tx: suppressions.add(
                tx, account_id=who.owner.account_id, domain_id=0, address="jane@friends.test", reason="complaint"
            )
        )
        _drain()
        assert models.Delivery.get().state == DeliveryState.SUPPRESSED
        assert _events() == [EventKind.ACCEPTED, EventKind.SUPPRESSED]
        assert sink.messages == []

    def test_mail_of_a_deleted_domain_is_canceled(self, sink: SmtpSink) -> None:
        who = cast.sender()
        messages.accept(who.caller, cast.draft())
        models.SenderDomain.update(deleted_ms=clock.now_ms()).where(models.SenderDomain.id == who.domain.id).execute()
        senders.forget()
        _drain()
        assert models.Delivery.get().state == DeliveryState.CANCELED
        assert _events() == [EventKind.ACCEPTED, EventKind.CANCELED]
        assert sink.messages == []

    def test_a_test_key_sends_nothing_and_tells_all(self, sink: SmtpSink) -> None:
        messages.accept(replace(cast.sender().caller, live=False), cast.draft())
        _drain()
        assert sink.messages == []
        assert models.Delivery.get().state == DeliveryState.DELIVERED
        assert models.CapturedMail.get().rcpt == "jane@friends.test"

    def test_a_webhook_row_goes_down_with_its_event(self, bells: list[str]) -> None:
        who = cast.sender()
        webhooks.add(caller=who.owner, domain_id=who.domain.id, event="delivered", url="http://127.0.0.1:1/hook")
        messages.accept(who.caller, cast.draft())
        _drain()
        row = models.WebhookDelivery.get()
        event = models.Event.get(models.Event.id == row.event_id)
        assert event.kind == EventKind.DELIVERED
        assert bells[-1] == jobs.WEBHOOKS

    def test_a_lost_reply_is_in_doubt_and_repeats_the_same_message_id(self, sink: SmtpSink) -> None:
        sink.script("end", say("", end="close"))
        accepted = messages.accept(cast.sender().caller, cast.draft())
        _drain()
        row = models.Delivery.get()
        assert (row.state, models.Attempt.get().outcome) == (DeliveryState.DEFERRED, "in_doubt")
        models.Delivery.update(due_ms=clock.now_ms()).execute()
        _drain()
        assert models.Delivery.get().state == DeliveryState.DELIVERED
        last = sink.wait_for(1)[-1]
        assert accepted.message_id.encode() in last.data


@pytest.mark.usefixtures("engine")
class TestRecovery:
    """A dead process's journal, written as it would have left it."""

    def _dead(self, tmp_path: Path, *, started: bool, answered: Outcome | None = None) -> lanes.Claimed:
        messages.accept(cast.sender().caller, cast.draft())
        dead = journal.Journal(tmp_path / "journal")
        (claimed,) = lanes.claim(lanes.Rounds(), dead.claimed)
        pair = (claimed.id, claimed.fence)
        if started:
            dead.sending(pair)
        if answered is not None:
            dead.answered(pair, Done(*pair, answered, "smarthost", clock.now_ms(), 3).dump())
        dead.close()
        return claimed

    def test_what_was_not_started_is_given_back(self, tmp_path: Path, sink: SmtpSink) -> None:
        self._dead(tmp_path, started=False)
        assert _drain() == 1
        assert models.Delivery.get().state == DeliveryState.DELIVERED
        assert [row.outcome for row in models.Attempt.select()] == ["delivered"]

    def test_what_was_answered_is_not_sent_again(self, tmp_path: Path, sink: SmtpSink) -> None:
        self._dead(tmp_path, started=True, answered=Outcome(Result.DELIVERED, 250, "2.0.0", "ok", remote="mx.test[1]"))
        assert _drain() == 0
        assert models.Delivery.get().state == DeliveryState.DELIVERED
        assert sink.messages == []
        assert _events() == [EventKind.ACCEPTED, EventKind.DELIVERED]

    def test_what_was_in_flight_is_in_doubt(self, tmp_path: Path, sink: SmtpSink) -> None:
        self._dead(tmp_path, started=True)
        assert _drain() == 0
        assert models.Delivery.get().state == DeliveryState.DEFERRED
        assert models.Attempt.get().outcome == "in_doubt"

    def test_in_doubt_may_be_held(self, tmp_path: Path, sink: SmtpSink) -> None:
        use_settings(tmp_path, DELIVERY=sink.url, IN_DOUBT="hold")
        self._dead(tmp_path, started=True)
        assert _drain() == 0
        row = models.Delivery.get()
        assert row.state == DeliveryState.HELD
        assert row.due_ms == row.expires_ms

    def test_a_late_outcome_of_another_claim_changes_nothing(self) -> None:
        messages.accept(cast.sender().caller, cast.draft())
        (claimed,) = lanes.claim(lanes.Rounds())
        late = Done(claimed.id, claimed.fence + 1, Outcome(Result.DELIVERED, 250), "smarthost", 0, 0)
        outcomes.apply([late])
        assert models.Delivery.get().state == DeliveryState.CLAIMED
        assert models.Attempt.select().count() == 0
        assert _events() == [EventKind.ACCEPTED]

    def test_an_answer_that_cannot_be_read_is_in_doubt_and_keeps_nobody(self, tmp_path: Path, sink: SmtpSink) -> None:
        messages.accept(cast.sender().caller, cast.draft())
        dead = journal.Journal(tmp_path / "journal")
        (claimed,) = lanes.claim(lanes.Rounds(), dead.claimed)
        dead.answered((claimed.id, claimed.fence), b'{"o":{"result":"deli')
        dead.close()
        assert _drain() == 0
        assert models.Attempt.get().outcome == "in_doubt"

    def test_settling_is_for_the_holder_only(self) -> None:
        messages.accept(cast.sender().caller, cast.draft())
        (claimed,) = lanes.claim(lanes.Rounds())
        end = (DeliveryState.CANCELED, EventKind.CANCELED, {"reason": "test"})
        assert outcomes.settle([claimed.id], *end, fences={claimed.id: claimed.fence - 1}) == 0
        assert models.Delivery.get().state == DeliveryState.CLAIMED
        assert outcomes.settle([claimed.id], *end, fences={claimed.id: claimed.fence}) == 1


@pytest.mark.usefixtures("engine")
class TestMishaps:
    """What goes wrong with one delivery must not hold or repeat the others."""

    def test_an_outcome_that_cannot_be_stored_is_stored_without_its_words(
        self, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = ledger.record

        def picky(tx: db.Transaction, facts: Sequence[Fact]) -> None:
            if any("poison" in fact.reply for fact in facts):
                raise ValueError("cannot be stored")
            record(tx, facts)

        monkeypatch.setattr(ledger, "record", picky)
        sink.refuse("carl@friends.test", "550 5.1.1 poison")
        messages.accept(cast.sender().caller, cast.draft(cc=[Mailbox("carl@friends.test")]))
        assert _drain() == 2
        states = {row.rcpt: row.state for row in models.Delivery.select()}
        assert states == {"jane@friends.test": DeliveryState.DELIVERED, "carl@friends.test": DeliveryState.BOUNCED}
        assert "could not be stored" in models.Attempt.get(models.Attempt.outcome == "bounced").reply

    def test_a_message_that_cannot_be_read_keeps_no_other(self, sink: SmtpSink) -> None:
        who = cast.sender()
        messages.accept(who.caller, cast.draft(html="<p>" + "x" * 20_000))
        models.ContentPart.update(body=b"not what was packed").execute()
        messages.accept(who.caller, cast.draft(subject="whole"))
        assert _drain() == 2
        (received,) = sink.wait_for(1)
        assert b"Subject: whole" in received.data
        assert [row.state for row in models.Delivery.select().order_by(models.Delivery.id)] == [
            DeliveryState.DEFERRED,
            DeliveryState.DELIVERED,
        ]
        assert models.Attempt.get(models.Attempt.outcome == "deferred").category == "ours"

    def test_a_batch_that_breaks_off_while_it_is_prepared_is_sent_once(
        self, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        who = cast.sender()
        messages.accept(who.caller, cast.draft())
        messages.accept(who.caller, cast.draft(to=[Mailbox("carl@friends.test")]))
        db.in_transaction(
            lambda tx: suppressions.add(
                tx, account_id=who.owner.account_id, domain_id=0, address="carl@friends.test", reason="complaint"
            )
        )
        settle, failures = outcomes.settle, iter([db.StoreUnavailable("away")])

        def broken(*args: Any, **kwargs: Any) -> int:
            for failure in failures:
                raise failure
            return settle(*args, **kwargs)

        monkeypatch.setattr(outcomes, "settle", broken)
        assert _drain() == 2
        assert sink.messages == []
        assert _drain() == 2
        assert [one.rcpts for one in sink.wait_for(1)] == [["jane@friends.test"]]
        assert _events() == [EventKind.ACCEPTED, EventKind.ACCEPTED, EventKind.SUPPRESSED, EventKind.DELIVERED]

    def test_a_route_that_cannot_be_built_ends_no_sender(self, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch) -> None:
        build, failures = registry.build, iter([ValueError("no such transport")] * 3)

        def broken(*args: Any, **named: Any) -> Any:
            for failure in failures:
                raise failure
            return build(*args, **named)

        monkeypatch.setattr(registry, "build", broken)
        who = cast.sender()
        for _ in range(4):
            messages.accept(who.caller, cast.draft())
        assert _drain() == 4
        states = sorted(row.state for row in models.Delivery.select())
        assert states == [DeliveryState.DEFERRED] * 3 + [DeliveryState.DELIVERED]

    def test_a_lost_lease_is_not_sent(self, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch) -> None:
        """The process stood still for longer than its lease; another has the delivery."""
        monkeypatch.setattr(outcome_flusher, "RENEW_EVERY_S", 0.0)
        sink.always("end", say("250 2.0.0 taken", pause=0.6))
        who = cast.sender()
        for _ in range(6):
            messages.accept(who.caller, cast.draft())
        deliveries.drain(0.1)
        taken = max(row.id for row in models.Delivery.select())
        models.Delivery.update(fence=77).where(models.Delivery.id == taken).execute()
        assert deliveries.engine().wait_idle(20)
        deliveries.close()
        assert len(sink.messages) == 5
        assert models.Delivery.get_by_id(taken).state == DeliveryState.CLAIMED
