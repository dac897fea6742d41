"""Undoing what rules did between two times: what goes, what stays, what is written down."""

from __future__ import annotations

from typing import Any

import pytest

import models
from gateway import clock, errors
from gateway.services import suppression_list, suppression_undo, suppressions
from models import database as db
from tests import cast

pytestmark = pytest.mark.usefixtures("store")

NOW = 1_800_000_000_000


def put(
    address: str, rule: str, at: int = NOW, *, account: int = 7, domain: int = 70, mx: str = "", **more: Any
) -> None:
    entry = suppressions.Entry(address, more.pop("reason", "bounce"), domain, rule=rule, mx=mx, created_ms=at, **more)
    db.in_transaction(lambda tx: suppressions.put(tx, account_id=account, entries=[entry]))


def left() -> list[str]:
    return sorted(row.address for row in models.Suppression.select())


def test_one_rule_between_two_times() -> None:
    put("early@x.test", "bounce:5.1.1", NOW - 1)
    put("first@x.test", "bounce:5.1.1")
    put("last@x.test", "bounce:5.2.1", NOW + 10)
    put("late@x.test", "bounce:5.1.1", NOW + 11)
    put("other@x.test", "complaint", reason="complaint")
    put("hand@x.test", "manual", reason="manual")
    wanted: dict[str, Any] = {"rule_prefix": "bounce", "from_ms": NOW, "to_ms": NOW + 10}
    assert suppressions.undo(**wanted, dry_run=True) == 2
    assert models.SuppressionUndo.select().count() == 0
    assert suppressions.undo(**wanted) == 2
    assert left() == ["early@x.test", "hand@x.test", "late@x.test", "other@x.test"]
    assert suppressions.undo(**wanted) == 0


@pytest.mark.parametrize(
    ("narrow", "gone"),
    [
        ({"mx_hosts": ["MX1.big.test"]}, {"a"}),
        ({"mx_suffix": "big.test"}, {"a", "b"}),
        ({"mx_suffix": ".big.test", "mx_hosts": ["mx.small.test"]}, {"a", "b", "c"}),
        ({"domain_id": 70}, {"a", "c", "d"}),
        ({"domain_id": 0}, set()),
        ({"account_id": 8}, {"e"}),
        ({"account_id": 7, "rule_prefix": "bounce:5.1.1"}, {"a", "b"}),
        ({"addresses": "@x.test", "account_id": 7}, {"a", "b", "c", "d"}),
        ({"addresses": "a@x.test"}, {"a"}),
        ({}, {"a", "b", "c", "d", "e"}),
    ],
)
def test_what_narrows_it(narrow: dict[str, Any], gone: set[str]) -> None:
    put("a@x.test", "bounce:5.1.1", mx="mx1.big.test")
    put("b@x.test", "bounce:5.1.10", mx="mx2.big.test", domain=71)
    put("c@x.test", "bounce:5.2.1", mx="mx.small.test")
    put("d@x.test", "bounce:5.2.1", mx="mx.notbig.test")
    put("e@x.test", "bounce:5.2.1", account=8, domain=80)
    put("stays@xx.test", "unsubscribe", reason="unsubscribe")
    suppressions.undo(**({"from_ms": NOW, "to_ms": NOW} | narrow))
    assert {address[0] for address in left() if address != "stays@xx.test"} == set("abcde") - gone
    assert "stays@xx.test" in left()


def test_more_than_a_batch_goes_and_the_record_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression_undo, "_BATCH", 7)
    for number in range(20):
        put(f"u{number}@x.test", "strikes:mailbox_full")
    put("other@x.test", "strikes:mailbox_full", account=8)
    assert suppressions.undo(rule_prefix="strikes", from_ms=NOW, to_ms=NOW, mx_suffix="", by="the breaker") == 21
    assert left() == []
    (record,) = suppression_undo.undos(account_id=7)
    assert (record.by, record.rules, record.from_ms, record.to_ms, record.removed) == (
        "the breaker", "strikes", NOW, NOW, 20,
    )  # fmt: skip
    assert record.ended_ms is not None
    assert [one.removed for one in suppression_undo.undos(account_id=8)] == [1]


def test_one_that_broke_off_is_finished_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression_undo, "_BATCH", 4)
    for number in range(10):
        put(f"u{number}@x.test", "bounce:5.1.1")
    whole, calls = db.in_transaction, iter(range(100))

    def breaking(work: Any) -> Any:
        if next(calls) == 2:
            raise db.StoreUnavailable("away")
        return whole(work)

    monkeypatch.setattr(db, "in_transaction", breaking)
    with pytest.raises(db.StoreUnavailable):
        suppressions.undo(rule_prefix="bounce", account_id=7, to_ms=NOW)
    monkeypatch.setattr(db, "in_transaction", whole)
    assert len(left()) == 6
    assert suppressions.undo(rule_prefix="bounce", account_id=7, to_ms=NOW) == 6
    done, broken = suppression_undo.undos(account_id=7)
    assert (done.removed, broken.removed) == (6, 4)
    assert done.ended_ms is not None
    assert broken.ended_ms is None


@pytest.mark.parametrize("rule", ["unsubscribe", "", "everything", "bounce:%", "strikes;drop"])
def test_an_owner_cannot_undo_what_people_wanted(rule: str) -> None:
    owner = cast.sender().owner
    with pytest.raises(errors.Invalid):
        suppression_list.undo(caller=owner, rule=rule)


def test_an_owner_undoes_their_own_only() -> None:
    one, other = cast.sender(), cast.sender("stranger", "else.test")
    for who in (one, other):
        put("jane@x.test", "bounce:5.1.1", clock.now_ms(), account=who.owner.account_id, domain=who.domain.id)
    assert suppression_list.undo(caller=one.owner, rule="automatic") == 1
    assert [row.account_id for row in models.Suppression.select()] == [other.owner.account_id]
    assert suppression_list.undos(caller=one.owner)[0].by == one.owner.email
    assert suppression_list.undos(caller=other.owner) == []


def test_a_sender_key_undoes_for_its_domain_only() -> None:
    who = cast.sender()
    for domain in (0, who.domain.id):
        put("jane@x.test", "bounce:5.1.1", clock.now_ms(), account=who.owner.account_id, domain=domain)
    assert suppression_list.undo(caller=who.caller, rule="bounce") == 1
    assert [row.domain_id for row in models.Suppression.select()] == [0]
