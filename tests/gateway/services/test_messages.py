"""Accepting: what is stored, what is refused, and that a refusal leaves nothing."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from uuid import UUID

import orjson
import pytest

import models
from gateway import clock, errors, jobs
from gateway.mail import container
from gateway.mail.draft import Attachment, Draft, Mailbox
from gateway.services import (
    audiences,
    contents,
    domains,
    lists,
    messages,
    subscribers,
    suppressions,
    templates,
    verdicts,
)
from models import database as db
from models.vocabulary import DeliveryState, EventKind, FacetKind
from tests import cast

pytestmark = pytest.mark.usefixtures("store")


def _counts() -> dict[str, int]:
    tables = (models.Message, models.Delivery, models.Event, models.Content, models.IdempotencyKey, models.QuotaUsage)
    return {model.__name__: model.select().count() for model in tables}


def test_one_message_becomes_a_delivery_for_each_recipient(bells: list[str]) -> None:
    who = cast.sender()
    draft = cast.draft(
        cc=[Mailbox("carl@friends.test")],
        bcc=[Mailbox("bea@friends.test"), Mailbox("jane@friends.test")],
        tags=["orders"],
    )
    accepted = messages.accept(who.caller, draft)
    message = models.Message.get(models.Message.uuid == UUID(accepted.message_id))
    rcpts = [row.rcpt for row in models.Delivery.select().order_by(models.Delivery.id)]
    assert rcpts == ["jane@friends.test", "carl@friends.test", "bea@friends.test"]
    assert "bea@" not in message.headers
    assert {row.state for row in models.Delivery.select()} == {DeliveryState.QUEUED}
    assert [row.kind for row in models.Event.select()] == [EventKind.ACCEPTED]
    assert {(row.kind, row.tag, row.n) for row in models.Counter.select()} == {
        (EventKind.ACCEPTED, "", 1),
        (EventKind.ACCEPTED, "orders", 1),
    }
    facets = [row for row in models.Facet.select() if row.facet != FacetKind.HOUR]
    assert {(row.facet, row.value, row.n) for row in facets} == {
        (FacetKind.RECIPIENTS, "", 2),  # beyond the first
        (FacetKind.RECIPIENTS, "orders", 2),
    }
    assert bells == [jobs.DELIVER]
    gates = [gate for gate in verdicts.ACCEPTING if gate != verdicts.RISK]  # weighed only where there is a policy
    assert [verdict["gate"] for verdict in verdicts.unpack(message.verdicts)] == gates
    assert len(message.verdicts) < 150, message.verdicts


def test_a_scheduled_message_waits_and_says_so(bells: list[str]) -> None:
    who = cast.sender()
    later = clock.now_ms() + 3_600_000
    messages.accept(who.caller, cast.draft(send_at_ms=later))
    assert models.Delivery.get().due_ms == later
    assert [row.kind for row in models.Event.select().order_by(models.Event.id)] == [
        EventKind.ACCEPTED,
        EventKind.QUEUED,
    ]
    assert bells == []


def test_a_past_time_sends_now(bells: list[str]) -> None:
    messages.accept(cast.sender().caller, cast.draft(send_at_ms=1_000))
    assert models.Delivery.get().due_ms <= clock.now_ms()
    assert bells == [jobs.DELIVER]


def test_a_large_body_is_stored_in_parts() -> None:
    who = cast.sender()
    attachment = Attachment("noise.bin", "application/octet-stream", os.urandom(1_500_000))  # cannot be packed
    messages.accept(who.caller, cast.draft(attachments=[attachment]))
    assert models.ContentPart.select().count() >= 3
    content_id = models.Message.get().content_id
    _, _, attachments = container.deserialise(contents.load([content_id])[content_id][1])
    assert attachments[0].content == attachment.content


def test_equal_bodies_are_stored_once() -> None:
    who = cast.sender()
    for _ in range(3):
        messages.accept(who.caller, cast.draft())
    assert models.Content.select().count() == 1
    assert models.Message.select().count() == 3


REFUSALS = [
    ("disabled account", {"status": "disabled"}, {}, errors.AccountDisabled),
    ("unverified account", {"status": "unverified"}, {}, errors.AccountUnverified),
    ("no domain", {"domain_id": None}, {}, errors.DomainGone),
    ("absent domain", {"domain_id": 999_999}, {}, errors.DomainGone),
    ("foreign From", {}, {"sender": Mailbox("hello@other.test")}, errors.NotAllowed),
    ("lookalike From", {}, {"sender": Mailbox("hello@notshop.test")}, errors.NotAllowed),
    ("no recipient", {}, {"to": []}, errors.Invalid),
    ("too large", {}, {"html": "x" * 27_000_000}, errors.TooLarge),
]


@pytest.mark.parametrize(("who", "what", "error"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_a_refusal_stores_nothing(who: dict[str, object], what: dict[str, object], error: type[Exception]) -> None:
    caller = replace(cast.sender().caller, **who)  # type: ignore[arg-type]
    with pytest.raises(error):
        messages.accept(caller, cast.draft(**what))
    assert set(_counts().values()) == {0}


def test_a_domain_that_is_not_enabled_sends_nothing() -> None:
    owner = cast.account()
    row = domains.add(caller=owner, name="new.test", dkim=cast.signing_keys())
    with pytest.raises(errors.DomainNotActive):
        messages.accept(replace(owner, domain_id=row.id), cast.draft(domain="new.test"))


def test_a_subdomain_may_send() -> None:
    messages.accept(cast.sender().caller, cast.draft(sender=Mailbox("hello@mail.shop.test")))
    assert models.Message.select().count() == 1


def _suppress(who: cast.Sender, address: str) -> None:
    db.in_transaction(
        lambda tx: suppressions.add(
            tx, account_id=who.owner.account_id, domain_id=who.domain.id, address=address, reason="bounce"
        )
    )


def test_suppressed_recipients_are_told_and_the_rest_is_sent() -> None:
    who = cast.sender()
    _suppress(who, "Jane@friends.test")
    accepted = messages.accept(who.caller, cast.draft(cc=[Mailbox("carl@friends.test")]))
    assert accepted.suppressed == ["jane@friends.test"]
    states = {row.rcpt: row.state for row in models.Delivery.select()}
    assert states == {"jane@friends.test": DeliveryState.SUPPRESSED, "carl@friends.test": DeliveryState.QUEUED}
    event = models.Event.get(models.Event.kind == EventKind.SUPPRESSED)
    assert (event.rcpt, orjson.loads(event.data)["reason"]) == ("jane@friends.test", "bounce")


def test_nobody_left_is_a_refusal() -> None:
    who = cast.sender()
    _suppress(who, "jane@friends.test")
    with pytest.raises(errors.SuppressedRecipient):
        messages.accept(who.caller, cast.draft())
    assert set(_counts().values()) == {0}


def test_a_quota_is_never_passed_and_a_refusal_is_not_counted() -> None:
    who = cast.sender()
    caller = replace(who.caller, plan=replace(who.caller.plan, emails_day=3))
    messages.accept(caller, cast.draft(cc=[Mailbox("a@friends.test")]))
    with pytest.raises(errors.QuotaReached):
        messages.accept(caller, cast.draft(cc=[Mailbox("a@friends.test")]))
    messages.accept(caller, cast.draft())
    with pytest.raises(errors.QuotaReached):
        messages.accept(caller, cast.draft())
    assert models.Message.select().count() == 2
    assert models.QuotaUsage.get().n == 3


def _idempotent(key: str = "k-1", fingerprint: str = "f" * 64, **changed: object) -> Draft:
    return cast.draft(idempotency_key=key, idempotency_scope="send", fingerprint=fingerprint, **changed)


def test_the_same_key_and_payload_make_one_message() -> None:
    who = cast.sender()
    first = messages.accept(who.caller, _idempotent())
    again = messages.accept(who.caller, _idempotent())
    assert (again.message_id, again.replayed, first.replayed) == (first.message_id, True, False)
    assert models.Message.select().count() == 1


def test_the_same_request_is_answered_when_its_template_is_gone() -> None:
    who = cast.sender()
    made = templates.add(caller=who.owner, name="T", subject="Hi", html="<p>Hi</p>", text=None)
    first = messages.accept(who.caller, _idempotent(template_id=made.id))
    templates.delete(caller=who.owner, template_id=made.id)
    again = messages.accept(who.caller, _idempotent(template_id=made.id))
    assert (again.message_id, again.replayed) == (first.message_id, True)
    with pytest.raises(errors.TemplateNotFound):
        messages.accept(who.caller, _idempotent("k-2", template_id=made.id))


def _list(who: cast.Sender, *names: str) -> int:
    made = lists.add(caller=who.owner, name="Friends")
    for name in names:
        subscribers.add(caller=who.owner, list_id=made.id, email=f"{name}@friends.test")
    return made.id


def test_a_list_of_which_everybody_is_suppressed_is_a_refusal() -> None:
    who, stranger = cast.sender(), cast.sender("stranger", "other.test")
    friends = _list(who, "Jane", "carl")
    _suppress(who, "jane@friends.test")
    _suppress(stranger, "carl@friends.test")
    messages.accept(who.caller, cast.draft(to=[], list_id=friends))
    _suppress(who, "carl@friends.test")
    before = _counts()
    with pytest.raises(errors.SuppressedRecipient):
        messages.accept(who.caller, cast.draft(to=[], list_id=friends))
    with pytest.raises(errors.ListUnusable):
        messages.accept(who.caller, cast.draft(to=[], list_id=_list(who)))
    assert _counts() == before


def test_a_suppression_that_ended_or_another_domains_keeps_nobody_from_a_list() -> None:
    who = cast.sender()
    friends = _list(who, "jane")
    _suppress(who, "jane@friends.test")
    models.Suppression.update(expires_ms=clock.now_ms() - 1).execute()
    messages.accept(who.caller, cast.draft(to=[], list_id=friends))
    models.Suppression.update(expires_ms=None, domain_id=who.domain.id + 1).execute()
    messages.accept(who.caller, cast.draft(to=[], list_id=friends))
    models.Suppression.update(domain_id=0).execute()
    with pytest.raises(errors.SuppressedRecipient):
        messages.accept(who.caller, cast.draft(to=[], list_id=friends))


def test_looking_for_somebody_to_reach_reads_the_list_and_not_the_suppressions() -> None:
    who = cast.sender()
    values = (1, 1, -1, 1, _list(who, "jane"), 1, 1)
    plan = db.rows(
        "EXPLAIN " + ("QUERY PLAN " if db.dialect() == "sqlite" else "") + audiences.REACHED[db.dialect()], values
    )
    if db.dialect() == "sqlite":
        assert ["subscriber_list_id_status_id" in plan[0][3], "account_id_address_domain_id" in plan[1][3]] == [
            True
        ] * 2
    else:
        assert [row[2] for row in plan] == ["s", "x"]
        assert [row[5] for row in plan] == [
            "subscriber_list_id_status_id", "suppression_account_id_address_domain_id_reason",
        ]  # fmt: skip


def test_the_same_key_with_another_payload_is_refused() -> None:
    who = cast.sender()
    messages.accept(who.caller, _idempotent())
    with pytest.raises(errors.IdempotencyMismatch):
        messages.accept(who.caller, _idempotent(fingerprint="0" * 64))


def test_a_refused_request_leaves_its_key_free() -> None:
    who = cast.sender()
    _suppress(who, "jane@friends.test")
    with pytest.raises(errors.SuppressedRecipient):
        messages.accept(who.caller, _idempotent())
    messages.accept(who.caller, _idempotent(to=[Mailbox("carl@friends.test")]))
    assert models.Message.select().count() == 1


def test_parallel_twins_make_one_message_each() -> None:
    who = cast.sender()
    answers: list[str] = []
    problems: list[BaseException] = []

    def twin(key: str) -> None:
        try:
            answers.append(messages.accept(who.caller, _idempotent(key)).message_id)
        except BaseException as error:
            problems.append(error)
        finally:
            db.close()

    threads = [threading.Thread(target=twin, args=(f"key-{n % 10}",)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(answers) == 50
    assert len(set(answers)) == 10
    assert models.Message.select().count() == 10
