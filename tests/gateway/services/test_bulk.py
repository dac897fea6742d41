"""Many messages in one transaction: what a single one would get, one bad one alone, and no message twice."""

from __future__ import annotations

import threading
from dataclasses import fields, replace
from typing import Any
from uuid import UUID

import pytest

import models
from gateway import clock, config, errors
from gateway.mail.draft import Draft, Mailbox
from gateway.services import (
    bulk,
    gates,
    idempotency,
    messages,
    routing_rules,
    sending_servers,
    suppression_list,
    templates,
    verdicts,
)
from gateway.services.bulk import Item
from gateway.services.messages import Accepted
from models import database as db
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import Bells, use_settings

_READ_BY_THE_GATES = {
    "sender", "html", "text", "stream", "purpose", "server", "send_at_ms", "raw", "mail_from", "smtp_login_id",
    "attachments", "to", "cc", "bcc", "envelope_to",  # the last four by the number of recipients
}  # fmt: skip
_RENDERED_BEFORE = {"template_id", "list_id", "variables", "metered"}
_FOR_THE_SERVER_OF_EACH = {"tags"}
_ONLY_STORED = {
    "subject", "reply_to", "headers", "metadata", "track_opens", "track_links", "keep_body_days", "keep_metadata_days",
    "defaults", "origin", "own_lane", "idempotency_key", "idempotency_scope", "fingerprint",
}  # fmt: skip


def test_every_part_of_a_draft_is_known_to_the_shape() -> None:
    """A new part that a gate reads has to be in `gates.shape`; else one message would pass for another."""
    known = _READ_BY_THE_GATES | _RENDERED_BEFORE | _FOR_THE_SERVER_OF_EACH | _ONLY_STORED
    assert {field.name for field in fields(Draft)} == known


def _send(who: cast.Sender, *drafts: Draft, **more: Any) -> Any:
    return bulk.accept(caller=who.caller, items=[Item(who.caller, draft) for draft in drafts], **more)


def _keyed(draft: Draft, key: str, fingerprint: str = "a" * 64) -> Draft:
    return replace(draft, idempotency_key=key, idempotency_scope="POST /v1/send", fingerprint=fingerprint)


def _counts() -> tuple[int, int, int]:
    return models.Message.select().count(), models.Delivery.select().count(), models.Event.select().count()


@pytest.fixture
def who(store: str) -> cast.Sender:
    return cast.sender()


def test_each_row_is_what_a_single_send_writes(who: cast.Sender, bells: Bells) -> None:
    later = clock.now_ms() + 3_600_000
    drafts = [
        cast.draft(tags=["a", "b"], metadata={"order": 7}, headers=[("X-Shop", "1")]),
        cast.draft(to=[Mailbox("j@friends.test"), Mailbox("k@friends.test")], cc=[Mailbox("l@friends.test")]),
        cast.draft(send_at_ms=later),
        cast.draft(purpose="marketing", track_opens=False, reply_to=[Mailbox("answers@shop.test")]),
    ]
    suppression_list.add(caller=who.owner, addresses=["k@friends.test"])
    singles = [messages.accept(who.caller, replace(draft)) for draft in drafts]
    bells.clear()
    results = _send(who, *drafts)
    assert [result.suppressed for result in results] == [single.suppressed for single in singles]
    assert bells == ["deliver"]

    def stored(message_id: str) -> list[Any]:
        row = models.Message.select().where(models.Message.uuid == UUID(message_id)).dicts().get()
        deliveries = list(models.Delivery.select().where(models.Delivery.message_id == row["id"]).dicts())
        events = list(models.Event.select().where(models.Event.message_id == row["id"]).dicts())
        told = []
        for one in (row, *deliveries, *events):
            for name in ("id", "uuid", "message_id", "delivery_id", "logged_ms", "at_ms", "created_ms", "expires_ms"):
                one.pop(name, None)
            if one.get("due_ms") not in (None, later):
                one["due_ms"] = "now"
            if "verdicts" in one:
                one["verdicts"] = [
                    {**verdict, "due_ms": 0, "until_ms": 0} for verdict in verdicts.unpack(one["verdicts"])
                ]
            told.append(one)
        return told

    for single, result in zip(singles, results, strict=True):
        assert stored(result.message_id) == stored(single.message_id)


def test_counters_are_what_single_sends_count(who: cast.Sender) -> None:
    drafts = [cast.draft(tags=["a"]), cast.draft(tags=["a", "b"], cc=[Mailbox("x@y.test")]), cast.draft()]
    for draft in drafts:
        messages.accept(who.caller, replace(draft))
    once = {table: sorted(db.rows(f"SELECT * FROM {table}")) for table in ("counter", "facet")}
    _send(who, *drafts)
    for table, rows in once.items():
        assert sorted(db.rows(f"SELECT * FROM {table}")) == [(*row[:-1], 2 * row[-1]) for row in rows]


def test_a_bad_one_fails_alone(who: cast.Sender) -> None:
    suppression_list.add(caller=who.owner, addresses=["gone@friends.test"])
    results = _send(
        who,
        cast.draft(),
        cast.draft(to="gone@friends.test"),
        cast.draft(domain="elsewhere.test"),
        cast.draft(to=[]),
        cast.draft(template_id=12345),
        cast.draft(list_id=1),
        cast.draft(to="jack@friends.test"),
    )
    assert [type(result) for result in results] == [
        Accepted, errors.SuppressedRecipient, errors.NotAllowed, errors.Invalid, errors.TemplateNotFound,
        errors.Invalid, Accepted,
    ]  # fmt: skip
    assert _counts() == (2, 2, 2)


def test_errors_keep_their_place_and_nothing_good_is_nothing_stored(who: cast.Sender) -> None:
    bad = errors.Invalid("no")
    assert bulk.accept(caller=who.caller, items=[bad, bad]) == [bad, bad]
    assert _counts() == (0, 0, 0)
    with pytest.raises(errors.TooManyAtOnce):
        bulk.accept(caller=who.caller, items=[bad] * 1001)


def test_bodies_are_stored_once(who: cast.Sender) -> None:
    _send(who, *(cast.draft(to=f"r{n}@friends.test") for n in range(20)), cast.draft(html="<p>another</p>"))
    assert models.Content.select().count() == 2
    _send(who, cast.draft(to="again@friends.test"))
    assert models.Content.select().count() == 2


def test_large_bodies_go_ahead(who: cast.Sender) -> None:
    drafts = [cast.draft(html=f"<p>{n}</p>" + ("x" * 40 + str(n)) * 20_000) for n in range(3)]
    drafts += [cast.draft(html=f"<p>{n}</p>", attachments=[], text="é" * 4000 + str(n)) for n in range(400)]
    results = _send(who, *drafts)
    assert all(isinstance(result, Accepted) for result in results)
    assert models.Content.select().count() == 403
    sizes = db.rows("SELECT m.size, c.size FROM message m JOIN content c ON c.id = m.content_id")
    assert len(sizes) == 403 and all(of_message == of_content for of_message, of_content in sizes)


def test_each_message_goes_the_way_that_its_own_tags_and_recipient_choose(who: cast.Sender) -> None:
    use_settings(config.settings().data, DELIVERY="direct", DELIVERY_ALLOW="127.0.0.0/8")
    for name in ("first", "second", "third"):
        where = {"host": "127.0.0.1", "port": 2599}
        sending_servers.create(caller=who.owner, name=name, kind="smtp", config=where, credentials={})
    for name, match in (("second", {"tags": ["b"]}), ("third", {"recipient_domains": ["far.test"]})):
        routing_rules.create(caller=who.owner, name=f"to {name}", targets=[{"server": name}], match=match, priority=1)
    routing_rules.create(caller=who.owner, name="rest", targets=[{"server": "first"}], match={}, priority=9)
    drafts = [
        cast.draft(tags=["a"]),
        cast.draft(tags=["b"]),
        cast.draft(to="j@far.test"),
        cast.draft(to="k@near.test", html="another"),
        cast.draft(server="nowhere"),
    ]
    results = _send(who, *drafts)
    assert [type(result) for result in results] == [Accepted] * 4 + [errors.Invalid]
    singles = [messages.accept(who.caller, replace(draft)) for draft in drafts[:4]]
    ways = [
        [db.rows("SELECT l.route FROM delivery d JOIN lane l ON l.id = d.lane_id WHERE d.message_id = ?", (one.row_id,))
         for one in some]
        for some in (results[:4], singles)
    ]  # fmt: skip
    assert ways[0] == ways[1]
    assert ways[0][0] == ways[0][3] and len({str(way) for way in ways[0]}) == 3
    told = [verdicts.unpack(text) for (text,) in db.rows("SELECT verdicts FROM message ORDER BY id LIMIT 4")]
    assert [next(v for v in one if v["gate"] == "route")["server"] for one in told] == [
        "first", "second", "third", "first",
    ]  # fmt: skip


def test_a_body_that_is_too_large_fails_alone(who: cast.Sender) -> None:
    small = replace(who.caller, plan=replace(who.caller.plan, max_size=500))
    drafts = [cast.draft(html="x" * size) for size in (100, 600, 200, 100, 700)]
    for some in (drafts, drafts[::-1]):
        results = bulk.accept(caller=small, items=[Item(small, draft) for draft in some])
        large = [isinstance(result, errors.TooLarge) for result in results]
        assert large == [len(draft.html or "") > 500 for draft in some]
    sizes = db.rows("SELECT m.size, m.verdicts FROM message m")
    assert len(sizes) == 6 and all(_bytes(told) == size for size, told in sizes)


def _bytes(packed: str) -> Any:
    return next(one["bytes"] for one in verdicts.unpack(packed) if one["gate"] == verdicts.VALIDATION)


def test_templates_and_variables_are_rendered_for_each(who: cast.Sender) -> None:
    made = templates.add(caller=who.owner, name="Hi", subject="Hi {{ name }}", html="<p>{{ name }}</p>", text=None)
    results = _send(
        who,
        *(
            Draft(Mailbox("hello@shop.test"), to=[Mailbox(f"r{n}@friends.test")], template_id=made.id,
                  variables={"name": f"N{n} <b>"})
            for n in range(3)
        ),
    )  # fmt: skip
    assert all(isinstance(result, Accepted) for result in results)
    assert sorted(db.rows("SELECT subject FROM message")) == [("Hi N0 <b>",), ("Hi N1 <b>",), ("Hi N2 <b>",)]
    assert models.Content.select().count() == 3


def test_a_quota_lets_those_pass_that_fit(who: cast.Sender) -> None:
    few = replace(who.caller, plan=replace(who.caller.plan, emails_day=5))
    two = [Mailbox("a@friends.test"), Mailbox("b@friends.test")]
    drafts = [cast.draft(to=two), cast.draft(to=two), cast.draft(to=two), cast.draft(), cast.draft()]
    results = bulk.accept(caller=few, items=[Item(few, draft) for draft in drafts])
    assert [type(result) for result in results] == [
        Accepted, Accepted, errors.QuotaReached, Accepted, errors.QuotaReached,
    ]  # fmt: skip
    assert db.rows("SELECT n FROM quota_usage WHERE period LIKE 'day:%'") == [(5,)]
    assert results[2].data["limit"] == 5 and results[2].data["retry_after"] >= 1


def test_keys_of_items(who: cast.Sender) -> None:
    first = _send(who, _keyed(cast.draft(), "k1"), _keyed(cast.draft(), "k2"), _keyed(cast.draft(), "k1"))
    assert [one.replayed for one in first] == [False, False, True]
    assert first[0].message_id == first[2].message_id != first[1].message_id
    again = _send(
        who, _keyed(cast.draft(), "k1"), _keyed(cast.draft(), "k2", "b" * 64), _keyed(cast.draft(), "k3"),
        _keyed(cast.draft(), "k3", "c" * 64),
    )  # fmt: skip
    assert (again[0].message_id, again[0].replayed) == (first[0].message_id, True)
    assert isinstance(again[1], errors.IdempotencyMismatch) and isinstance(again[3], errors.IdempotencyMismatch)
    assert _counts()[0] == 3
    # Sent alone it is the same message.
    assert messages.accept(who.caller, _keyed(cast.draft(), "k3")).message_id == again[2].message_id


def test_a_refused_item_does_not_use_up_its_key(who: cast.Sender) -> None:
    suppression_list.add(caller=who.owner, addresses=["jane@friends.test"])
    refused = _send(who, _keyed(cast.draft(), "k"), _keyed(cast.draft(), "k"))
    assert [type(one) for one in refused] == [errors.SuppressedRecipient] * 2
    assert models.IdempotencyKey.select().count() == 0
    models.Suppression.delete().execute()
    assert isinstance(_send(who, _keyed(cast.draft(), "k"))[0], Accepted)


def test_the_whole_request_has_a_key(who: cast.Sender) -> None:
    asked = idempotency.Request(who.owner.account_id, "POST /v1/send/bulk", "whole", "d" * 64)
    results = _send(who, cast.draft(), cast.draft(to=[]), request=asked, render=lambda found: f"{len(found)} results")
    assert len(results) == 2
    again = _send(who, cast.draft(), cast.draft(to=[]), request=asked, render=lambda found: "other")
    assert again == bulk.Replayed("2 results")
    with pytest.raises(errors.IdempotencyMismatch):
        _send(who, cast.draft(), request=replace(asked, fingerprint="e" * 64), render=lambda found: "")
    assert _counts()[0] == 1


def test_scheduled_and_test_messages(who: cast.Sender, bells: Bells) -> None:
    later = clock.now_ms() + 60_000
    _send(who, cast.draft(send_at_ms=later))
    assert bells == []
    assert db.rows("SELECT state, due_ms FROM delivery") == [(DeliveryState.QUEUED, later)]
    assert (EventKind.QUEUED,) in db.rows("SELECT kind FROM event")
    test = replace(who.caller, live=False)
    bulk.accept(caller=test, items=[Item(test, cast.draft())])
    lanes = db.rows("SELECT l.route FROM delivery d JOIN lane l ON l.id = d.lane_id ORDER BY d.id")
    assert lanes == [("",), ("test",)]


def test_a_key_raced_by_many_threads_makes_one_message(who: cast.Sender) -> None:
    """Each thread sends the same keys in one request, in an order of its own."""
    found: list[Any] = []

    def send(order: int) -> None:
        drafts = [_keyed(cast.draft(), f"key{n}") for n in range(40)]
        try:
            for _ in range(3):
                try:
                    found.append(sorted(one.message_id for one in _send(who, *(drafts if order % 2 else drafts[::-1]))))
                    return
                except errors.IdempotencyRunning:
                    continue
        finally:
            db.close()

    threads = [threading.Thread(target=send, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 5 and all(one == found[0] for one in found)
    assert _counts()[0] == 40


def test_on_sqlite_one_request_waits_for_another_and_no_single_send_does(who: cast.Sender) -> None:
    alone, many = threading.Event(), threading.Event()

    def accept(told: threading.Event) -> None:
        try:
            if told is many:
                _send(who, cast.draft(), cast.draft())
            else:
                messages.accept(who.caller, cast.draft())
            told.set()
        finally:
            db.close()

    threads = [threading.Thread(target=accept, args=(told,)) for told in (many, alone)]
    with bulk.turn():
        for thread in threads:
            thread.start()
        assert alone.wait(10)
        if db.dialect() == "sqlite":
            assert not many.wait(0.3)
            _send(who, cast.draft())  # whose turn it is may accept what it has read
        else:
            assert many.wait(10)
    assert many.wait(10)
    for thread in threads:
        thread.join()


def test_a_disabled_account_is_refused_as_a_whole(who: cast.Sender) -> None:
    for status, refusal in (("disabled", errors.AccountDisabled), ("unverified", errors.AccountUnverified)):
        with pytest.raises(refusal):
            bulk.accept(caller=replace(who.caller, status=status), items=[Item(who.caller, cast.draft())])
    assert gates.shape(cast.draft(), 1) == gates.shape(cast.draft(tags=["x"], subject="other"), 1)
    assert gates.shape(cast.draft(), 1) != gates.shape(cast.draft(purpose="other"), 1)
    assert gates.body_of(cast.draft()) != gates.body_of(cast.draft(html="other"))
