"""What became of a message, told from what is stored of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

import models
from gateway import clock, errors
from gateway.mail.draft import Mailbox
from gateway.services import explanations, lanes, ledger, messages, outcomes, queues, suppressions, verdicts
from gateway.services.explanations import Explanation
from gateway.services.ledger import Fact
from gateway.services.outcomes import Done
from gateway.transports.outcome import Outcome, Result
from models import database as db
from models.vocabulary import DeliveryState, EventKind
from tests import cast

NOW = 1_774_000_000_000  # 2026-03-20 09:46:40 UTC


@pytest.fixture
def who(store: str, monkeypatch: pytest.MonkeyPatch) -> cast.Sender:
    monkeypatch.setattr(clock, "now_ms", lambda: NOW)
    return cast.sender()


def _send(who: cast.Sender, *names: str, **changed: Any) -> str:
    to = [Mailbox(f"{name}@friends.test") for name in names or ("jane",)]
    return messages.accept(who.caller, cast.draft(to=to, **changed)).message_id


def _explain(who: cast.Sender, sent: str, **asked: Any) -> Explanation:
    found = explanations.explain(caller=who.owner, message_id=sent, **asked)
    assert explanations.explain(caller=who.owner, message_id=sent, **asked) == found
    return found


def _try(outcome: Outcome) -> None:
    claimed = lanes.claim(lanes.Rounds(), limit=1)[0]
    outcomes.apply([Done(claimed.id, claimed.fence, outcome, "mx", NOW, 12)])


BEGIN = "Accepted for shop.test at 2026-03-20 09:46:40 UTC; the delivery to jane@friends.test "


def test_before_the_first_attempt(who: cast.Sender) -> None:
    found = _explain(who, _send(who))
    assert found.text == BEGIN + "waits for its first attempt, due at 2026-03-20 09:46:40 UTC."
    gates = [verdict["gate"] for verdict in found.message.verdicts]
    # Risk is weighed only where the account has a policy.
    assert gates == [gate for gate in verdicts.ACCEPTING if gate != verdicts.RISK]
    assert [gate.gate for gate in found.fates[0].gates] == ["final"]
    assert found.total == 1


def test_scheduled_and_paused(who: cast.Sender) -> None:
    sent = _send(who, send_at_ms=NOW + 3_600_000)
    assert _explain(who, sent).text == BEGIN + "waits for the time it was scheduled for, 2026-03-20 10:46:40 UTC."
    models.Lane.update(paused_until_ms=NOW + 7_200_000, cause="the relay asked for a rest").execute()
    assert _explain(who, sent).text.endswith(
        ", but its queue is paused until 2026-03-20 11:46:40 UTC (the relay asked for a rest)."
    )


def test_in_flight(who: cast.Sender) -> None:
    sent = _send(who)
    (claimed,) = lanes.claim(lanes.Rounds())
    assert _explain(who, sent).text == BEGIN + (
        f"is being tried now, attempt 1, by a worker whose lease ends at {clock.sql_text(claimed.lease_ms)} UTC."
    )


def test_put_off_and_then_delivered(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = _send(who)
    _try(Outcome(Result.DEFERRED, 451, "4.3.0", "451 4.3.0 later please", remote="mx.friends.test[192.0.2.1]:25"))
    found = _explain(who, sent)
    (one,) = found.fates
    assert (one.state, one.attempt_count, one.reason) == (DeliveryState.DEFERRED, 1, "451 4.3.0 later please")
    assert found.text.startswith(
        BEGIN + "was put off after attempt 1 by mx.friends.test[192.0.2.1]:25 (451 4.3.0 later please), and is tried"
    )
    monkeypatch.setattr(clock, "now_ms", lambda: NOW + 100_000)
    _try(Outcome(Result.DELIVERED, 250, "2.0.0", "250 ok", remote="mx.friends.test[192.0.2.1]:25"))
    found = _explain(who, sent)
    assert found.text == BEGIN + (
        "arrived at attempt 2 at mx.friends.test[192.0.2.1]:25 at 2026-03-20 09:48:20 UTC (250 ok)."
    )
    assert [attempt.code for attempt in found.fates[0].attempts] == [451, 250]
    assert [event.kind.word for event in found.fates[0].events] == ["deferred", "delivered"]
    assert [event.kind.word for event in found.events] == ["accepted"]


def test_refused_for_good(who: cast.Sender) -> None:
    sent = _send(who)
    _try(Outcome(Result.BOUNCED, 550, "5.1.1", "550 5.1.1 no such user", remote="mx.friends.test[192.0.2.1]:25"))
    assert _explain(who, sent).text == BEGIN + (
        "was refused for good by mx.friends.test[192.0.2.1]:25 at 2026-03-20 09:46:40 UTC (550 5.1.1 no such user)."
    )


def test_given_up_and_canceled(who: cast.Sender) -> None:
    cleared, canceled = _send(who), None
    queues.clear_domain(caller=who.owner, domain_id=who.domain.id)
    assert _explain(who, cleared).text == BEGIN + (
        "was given up after 0 attempts at 2026-03-20 09:46:40 UTC (the queue of the domain was cleared)."
    )
    canceled = _send(who)
    queues.cancel_message(caller=who.owner, message_id=canceled)
    assert _explain(who, canceled).text == BEGIN + (
        "was canceled at 2026-03-20 09:46:40 UTC (the sender took it back)."
    )


def test_suppressed_among_several_and_one_alone(who: cast.Sender) -> None:
    db.in_transaction(
        lambda tx: suppressions.add(
            tx, account_id=who.owner.account_id, domain_id=0, address="carl@friends.test", reason="complaint"
        )
    )
    sent = _send(who, "jane", "carl", "zoe")
    found = _explain(who, sent)
    assert found.text == (
        "Accepted for shop.test at 2026-03-20 09:46:40 UTC; of 3 deliveries: 2 waiting for the first attempt,"
        " 1 not sent because the address is suppressed."
    )
    assert [len(_explain(who, sent, start=start, count=2).fates) for start in (0, 2, 3)] == [2, 1, 0]
    alone = _explain(who, sent, recipient="carl@friends.test")
    assert alone.text == (
        "Accepted for shop.test at 2026-03-20 09:46:40 UTC; the delivery to carl@friends.test was not sent"
        " at 2026-03-20 09:46:40 UTC, as the address is suppressed (complaint)."
    )
    assert _explain(who, sent, recipient="nobody@friends.test").text.endswith("; it has no such recipient.")


def test_held_and_a_test_key(who: cast.Sender) -> None:
    sent = messages.accept(cast.replace(who.caller, live=False), cast.draft()).message_id
    models.Delivery.update(state=DeliveryState.HELD, attempts=1, due_ms=NOW + 1000).execute()
    text = _explain(who, sent).text
    assert text.startswith("Accepted for shop.test at 2026-03-20 09:46:40 UTC with a test key")
    assert text.endswith("is held for a person, and fails at 2026-03-20 09:46:41 UTC unless it is rescheduled.")


def test_a_list_that_is_being_worked_through(who: cast.Sender) -> None:
    sent = _send(who)
    message = models.Message.get()
    models.Expansion.create(
        message_id=message.id, account_id=who.owner.account_id, domain_id=who.domain.id, list_id=1, lane_id=1,
        cursor=0, upto=9, total=5, made=1, due_ms=NOW, expires_ms=NOW + 1, accepted_ms=NOW, end_reason="",
    )  # fmt: skip
    assert _explain(who, sent).text == (
        "Accepted for shop.test at 2026-03-20 09:46:40 UTC, whose list has 4 deliveries to come; of 1 deliveries:"
        " 1 waiting for the first attempt."
    )
    assert queues.cancel_message(caller=who.owner, message_id=sent) == queues.Changed(5, 0)
    assert models.Expansion.get().ends_as == DeliveryState.CANCELED


def test_a_strangers_message_is_an_absent_one(who: cast.Sender) -> None:
    stranger = cast.sender("stranger", "other.test")
    theirs = messages.accept(stranger.caller, cast.draft(domain="other.test")).message_id
    for message_id in (theirs, "", "x", "0190163d-8694-739b-aea5-966c26f8ad91"):
        with pytest.raises(errors.NotFound):
            explanations.explain(caller=who.owner, message_id=message_id)


def _waits(cause: str, until_ms: int) -> None:
    waiting = {"gate": "shaping", "cause": cause, "limit": 3, "until_ms": until_ms}
    models.Delivery.update(waiting=orjson.dumps(waiting).decode(), due_ms=until_ms).execute()


SITUATIONS: list[tuple[str, list[Outcome], str]] = [
    (
        "nobody knows whether it arrived",
        [Outcome(Result.IN_DOUBT, reply="the connection broke after the last byte", remote="mx.a.test[192.0.2.1]:25")],
        "may have arrived: nobody knows what became of attempt 1 by mx.a.test[192.0.2.1]:25 (the connection broke after"
        " the last byte), and is tried again at ",
    ),
    (
        "delivered with the remote's words",
        [Outcome(Result.DELIVERED, 250, "2.0.0", "250 2.0.0 Ok: queued as 4X", remote="mx.a.test[192.0.2.1]:25")],
        "arrived at attempt 1 at mx.a.test[192.0.2.1]:25 at 2026-03-20 09:46:40 UTC (250 2.0.0 Ok: queued as 4X).",
    ),
    (
        "refused for its content",
        [Outcome(Result.BOUNCED, 554, "5.7.1", "554 5.7.1 spam", "content", remote="mx.a.test[192.0.2.1]:25")],
        "was refused for good by mx.a.test[192.0.2.1]:25 at 2026-03-20 09:46:40 UTC (554 5.7.1 spam).",
    ),
    (
        "the number of a reply, which is kept apart from its words",
        [Outcome(Result.BOUNCED, 554, "5.7.1", "5.7.1 spam", "content", remote="mx.a.test[192.0.2.1]:25")],
        "was refused for good by mx.a.test[192.0.2.1]:25 at 2026-03-20 09:46:40 UTC (554 5.7.1 spam).",
    ),
    (
        "what no server answered has no number, and no server in the sentence",
        [Outcome(Result.BOUNCED, None, "5.1.10", "a.test accepts no mail (null MX)", "recipient")],
        "was found undeliverable at 2026-03-20 09:46:40 UTC (a.test accepts no mail (null MX)).",
    ),
    (
        "put off before any server was asked",
        [Outcome(Result.DEFERRED, None, "4.4.3", "no server gave a usable answer", "network")],
        "was put off after attempt 1 (no server gave a usable answer), and is tried again at ",
    ),
]


@pytest.mark.parametrize(("outcomes_", "text"), [row[1:] for row in SITUATIONS], ids=[row[0] for row in SITUATIONS])
def test_situations(who: cast.Sender, outcomes_: list[Outcome], text: str) -> None:
    sent = _send(who)
    for outcome in outcomes_:
        _try(outcome)
    assert text in _explain(who, sent).text


def test_given_up_long_before_the_end_of_its_time_because_the_server_asked_for_more(who: cast.Sender) -> None:
    sent = _send(who)
    models.Delivery.update(expires_ms=NOW + 3_600_000).execute()
    later = "4.7.1 try again in 2 hours"
    _try(Outcome(Result.DEFERRED, 451, "4.7.1", later, remote="mx.a.test[192.0.2.1]:25", retry_after=7200))
    assert _explain(who, sent).text == BEGIN + (
        "was given up after 1 attempt at 2026-03-20 09:46:40 UTC, as the next one would have come after the end of its"
        " time, 2026-03-20 10:46:40 UTC (451 4.7.1 try again in 2 hours)."
    )


def test_what_was_reported_after_it_arrived(who: cast.Sender) -> None:
    sent = _send(who)
    _try(Outcome(Result.DELIVERED, 250, "2.0.0", "2.0.0 ok", remote="mx.a.test[192.0.2.1]:25"))
    delivery, message = models.Delivery.get(), models.Message.get()
    about = (who.owner.account_id, who.domain.id)
    facts = [
        Fact(*about, kind, NOW + ms, message.id, delivery.id, delivery.rcpt, reply=reply)
        for kind, ms, reply in ((EventKind.BOUNCED, 60_000, "550 5.1.1 who?"), (EventKind.COMPLAINED, 120_000, "abuse"))
    ]
    db.in_transaction(lambda tx: ledger.record(tx, facts))
    assert _explain(who, sent).text == BEGIN + (
        "arrived at attempt 1 at mx.a.test[192.0.2.1]:25 at 2026-03-20 09:46:40 UTC (250 2.0.0 ok), and was reported"
        " as undeliverable at 2026-03-20 09:47:40 UTC (550 5.1.1 who?), and its recipient complained about it"
        " at 2026-03-20 09:48:40 UTC."
    )


@pytest.mark.parametrize(("transport", "words"), [("capture", "was captured"), ("null", "was thrown away")])
def test_what_went_nowhere_did_not_arrive(who: cast.Sender, transport: str, words: str) -> None:
    sent = _send(who)
    claimed = lanes.claim(lanes.Rounds(), limit=1)[0]
    outcomes.apply([Done(claimed.id, claimed.fence, Outcome(Result.DELIVERED, 250, reply="250 ok"), transport, NOW, 1)])
    text = _explain(who, sent).text
    assert text.startswith(BEGIN + words)
    assert text.endswith("and not sent.")


def test_a_limit_that_holds_it_back_until_somebody_reschedules_it(who: cast.Sender) -> None:
    sent = _send(who)
    _waits("421 too many connections from you", NOW + 600_000)
    found = _explain(who, sent)
    assert found.text == BEGIN + (
        "waits for its first attempt, held back until 2026-03-20 09:56:40 UTC"
        " (421 too many connections from you, limit 3)."
    )
    shaping = found.fates[0].gates[0]
    assert (shaping.gate, shaping.decision, shaping.until_ms) == ("shaping", "waits", NOW + 600_000)
    assert shaping.details == {"cause": "421 too many connections from you", "limit": 3}
    queues.reschedule_message(caller=who.owner, message_id=sent, at_ms=NOW + 7_200_000)
    assert _explain(who, sent).text == BEGIN + "waits for the time it was scheduled for, 2026-03-20 11:46:40 UTC."


def test_the_gates_of_a_delivery_in_their_order(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = _send(who)
    route = {"gate": "route", "host": "mx.friends.test"}
    _try(Outcome(Result.DEFERRED, 451, "4.3.0", "451 4.3.0 later", "policy", verdicts=(route,)))
    monkeypatch.setattr(clock, "now_ms", lambda: NOW + 100_000)
    _try(Outcome(Result.BOUNCED, 550, "5.1.1", "550 5.1.1 who?", "recipient", verdicts=(route,)))
    gates = _explain(who, sent).fates[0].gates
    assert [(one.gate, one.decision, one.rule) for one in gates] == [
        ("route", "passed", ""),
        ("attempt", "deferred", "policy"),
        ("route", "passed", ""),
        ("attempt", "bounced", "recipient"),
        ("final", "bounced", "bounced"),
    ]
    assert gates[2].details == {"attempt": 2, "host": "mx.friends.test"}
    assert gates[3].details["reply"] == "550 5.1.1 who?"
    assert gates[4].details | {"attempts": 2, "reason": "550 5.1.1 who?", "code": 550} == gates[4].details


def test_suppression_right_before_sending(who: cast.Sender) -> None:
    sent = _send(who)
    ids = [row.id for row in models.Delivery.select()]
    outcomes.settle(ids, DeliveryState.SUPPRESSED, EventKind.SUPPRESSED, {"reason": "bounce", "detail": "550 no"})
    gates = _explain(who, sent).fates[0].gates
    assert [(one.gate, one.decision, one.rule) for one in gates] == [
        ("suppression", "refused", "bounce"), ("final", "suppressed", "suppressed"),
    ]  # fmt: skip
    assert gates[0].details == {"address": "jane@friends.test", "detail": "550 no"}


def test_every_gate_of_accepting_says_what_it_looked_at(who: cast.Sender) -> None:
    plan = cast.replace(who.caller.plan, name="Small", emails_day=10, emails_hour=5)
    caller = cast.replace(who.caller, plan=plan, key_id=7)
    draft = cast.draft(
        send_at_ms=NOW + 1000, idempotency_key="k", idempotency_scope="send", fingerprint="0" * 64,
        to=[Mailbox("a@friends.test"), Mailbox("b@friends.test")],
    )  # fmt: skip
    found = _explain(who, messages.accept(caller, draft).message_id)
    by_gate = {one.gate: one for one in found.gates}
    told = {gate: (one.decision, one.rule) for gate, one in by_gate.items()}
    assert told == {
        "auth": ("passed", "key"),
        "idempotency": ("first", "Idempotency-Key"),
        "validation": ("passed", "COMMANDPOST_MESSAGE_SIZE"),
        "sender_domain": ("passed", "from_in_domain"),
        "suppression": ("passed", ""),
        "quota": ("passed", "Small"),
        "schedule": ("later", "SendAt"),
        "stream": ("transactional", "default"),
        "route": ("capture", "COMMANDPOST_DELIVERY"),
    }
    assert by_gate["quota"].details == {"left": {"hour": 3, "day": 8}}
    assert by_gate["idempotency"].until_ms == NOW + 72 * 3_600_000
    assert by_gate["auth"].details == {"id": 7, "live": True}
