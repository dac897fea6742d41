"""One recipient is erased: nothing of the store says its address any more, and nothing of anybody else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

import models
from gateway import clock, errors
from gateway.mail.draft import Mailbox
from gateway.services import (
    erasing,
    erasures,
    event_marks,
    events,
    inbound_mail,
    ledger,
    lists,
    notices,
    search_index,
    subscribers,
    suppression_list,
    suppressions,
)
from models import database as db
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.test_events import happen, message

JANE = "Jane.Doe@friends.test"
LEFT = ("sealed", "erasure"), ("address", "suppression")


@pytest.fixture
def who(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cast.Sender:
    use_settings(tmp_path)
    ledger.forget_words()
    monkeypatch.setattr(event_marks, "_HORIZON_MS", 0)
    return cast.sender()


def told(who: cast.Sender, number: int, rcpt: str) -> None:
    """A bounce that names the recipient wherever a remote may name it."""
    ((delivery,),) = db.rows("SELECT id FROM delivery WHERE message_id = ? AND rcpt = ?", (number, rcpt))
    reply = f"550 5.1.1 {rcpt} unknown"
    happen(
        who, number, EventKind.BOUNCED, delivery_id=delivery, rcpt=rcpt, reply=reply, ip="192.0.2.9",
        data={"reason": reply, "user_agent": "Mail of Jane" if rcpt == JANE else "Mail of Jo"},
    )  # fmt: skip
    models.Attempt.create(
        delivery_id=delivery, no=1, transport="mx", outcome="bounced", started_ms=1, reply=reply,
        dialogue=f"RCPT TO:<{rcpt}>\r\n{reply}",
    )  # fmt: skip
    db.in_transaction(
        lambda tx: tx.execute(
            "UPDATE delivery SET state = ?, due_ms = NULL, lane_id = NULL, merge = ? WHERE id = ?",
            (int(DeliveryState.BOUNCED), '{"name": "Jane"}', delivery),
        )
    )


def finish() -> None:
    for _ in range(100):
        if not erasures.collect()[1]:
            return
    raise AssertionError("there is no end to it")


def naming(text: str) -> set[str]:
    """Columns in which any row of any durable table has the text."""
    found = set()
    for model in models.DURABLE:
        for row in model.select().dicts():
            for column, value in row.items():
                said = bytes(value).decode("utf-8", "replace") if isinstance(value, (bytes, memoryview)) else str(value)
                if text.lower() in said.lower():
                    found.add(f"{model._meta.table_name}.{column}")
    return found


def test_nothing_names_the_address_any_more_but_its_suppression(who: cast.Sender) -> None:
    joann = "JoJane.Doe@friends.test"  # ends with the same words
    alone, _ = message(who, to=[Mailbox(JANE, "Jane Doe")], subject=f"For {JANE}", metadata={"mail": JANE})
    shared, _ = message(who, to=[Mailbox(JANE, "Jane Doe"), Mailbox(joann, "Jo")])
    for number in (alone, shared):
        told(who, number, JANE)
    told(who, shared, joann)
    old = clock.now_ms() - 2 * clock.HOUR_MS
    models.Content.update(created_ms=old).execute()
    people = lists.add(caller=who.owner, name="Friends")
    for address in (JANE, joann):
        subscribers.add(caller=who.owner, list_id=people.id, email=address)
    suppression_list.add(caller=who.owner, addresses=[JANE], detail=f"{JANE} called us")
    inbound_mail.keep(
        kind=inbound_mail.AUTO_REPLY, why="", recipient="", mail_from=JANE, content=f"From: {JANE}\r\n\r\n".encode(),
        delivery_id=models.Delivery.get().id, refused=False,
    )  # fmt: skip
    for _ in range(3):
        search_index.run(5)
    assert events.search(caller=who.owner, domain_id=who.domain.id, query=f"to:{JANE}").total
    others = len(events.search(caller=who.owner, domain_id=who.domain.id, query=f"to:{joann}").rows)
    assert naming("friends.test") > {"event.rcpt", "message.headers", "attempt.dialogue", "subscriber.email"}

    begun = erasures.begin(caller=who.owner, address=f" {JANE} ")
    assert begun.ended_ms is None
    assert erasures.begin(caller=who.owner, address=JANE.lower()).id == begun.id
    finish()
    (done,) = erasures.list_(caller=who.owner)
    assert (done.pseudonym, done.deliveries, done.percent) == (begun.pseudonym, 2, 100)
    assert done.sealed is None

    db.in_transaction(lambda tx: tx.execute("UPDATE subscriber SET email = '', address = ''"))
    for table in ("event", "message", "delivery", "attempt"):
        assert any(column.startswith(f"{table}.") for column in naming(begun.pseudonym)), table
    # Of the other, whose address ends with the same words, all is as it was.
    assert len(events.search(caller=who.owner, domain_id=who.domain.id, query=f"to:{joann}").rows) == others
    for model, column in ((models.Event, "rcpt"), (models.Delivery, "rcpt"), (models.Attempt, "dialogue")):
        assert any(joann in getattr(row, column) for row in model.select())
    for sql in (
        "UPDATE event SET rcpt = '', data = REPLACE(data, ?, '')",
        "UPDATE delivery SET rcpt = REPLACE(rcpt, ?, '')",
        "UPDATE attempt SET reply = '', dialogue = REPLACE(dialogue, ?, '')",
        "UPDATE message SET headers = REPLACE(headers, ?, '')",
        "UPDATE reply SET text = REPLACE(text, ?, '')",
    ):
        values = (joann,) if "?" in sql else ()
        db.in_transaction(lambda tx, sql=sql, values=values: tx.execute(sql, values))  # type: ignore[misc]
    assert naming(JANE) == {"suppression.address"}
    assert naming("Mail of Jane") | naming("called us") == set()
    owner = who.owner.account_id
    assert db.in_transaction(
        lambda tx: suppressions.check(tx, account_id=owner, domain_id=who.domain.id, addresses=[JANE])
    )
    assert not models.InboundMail.select().exists()
    bodies = {row.id: row.content_id for row in models.Message.select()}
    assert (bodies[alone], bodies[shared] != 0) == (0, True)
    found = events.search(caller=who.owner, domain_id=who.domain.id, query=f"to:{begun.pseudonym}")
    assert {row.message_id for row in found.rows} >= {alone, shared}
    assert "address.erased" in {one.kind for one in notices.list_(caller=who.owner)}
    models.Delivery.get(models.Delivery.rcpt == begun.pseudonym)


def test_other_accounts_keep_theirs_and_waiting_mail_is_canceled(who: cast.Sender) -> None:
    other = cast.sender("other", "other.test")
    message(who)
    message(other)
    erasures.begin(caller=who.owner, address="jane@friends.test")
    finish()
    states = dict(db.rows("SELECT account_id, state FROM delivery"))
    assert states == {
        who.owner.account_id: DeliveryState.CANCELED,
        other.owner.account_id: DeliveryState.QUEUED,
    }
    assert [row.rcpt for row in models.Delivery.select() if row.account_id == other.owner.account_id] == [
        "jane@friends.test"
    ]
    first = erasures.list_(caller=who.owner)[0].pseudonym
    assert erasures.begin(caller=other.owner, address="jane@friends.test").pseudonym != first
    assert len(erasures.list_(caller=other.owner)) == 1


def test_one_that_is_being_sent_is_waited_for(who: cast.Sender) -> None:
    message(who)
    db.in_transaction(lambda tx: tx.execute("UPDATE delivery SET state = ?", (int(DeliveryState.CLAIMED),)))
    erasures.begin(caller=who.owner, address="jane@friends.test")
    finish()
    assert erasures.list_(caller=who.owner)[0].ended_ms is None
    assert models.Delivery.get().rcpt == "jane@friends.test"
    db.in_transaction(lambda tx: tx.execute("UPDATE delivery SET state = ?", (int(DeliveryState.DEFERRED),)))
    finish()
    assert models.Delivery.get().rcpt.endswith("@erased.invalid")


def test_one_that_broke_off_goes_on(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    message(who)
    erasures.begin(caller=who.owner, address="jane@friends.test")
    with monkeypatch.context() as broken:
        broken.setattr(erasing, "_deliveries", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish()
    assert erasures.list_(caller=who.owner)[0].ended_ms is None
    finish()
    (done,) = erasures.list_(caller=who.owner)
    assert (done.deliveries, done.percent) == (1, 100)
    assert naming("jane@friends.test") == set()


def test_what_is_no_address_is_refused(who: cast.Sender) -> None:
    with pytest.raises(errors.InvalidAddress):
        erasures.begin(caller=who.owner, address="nobody")
