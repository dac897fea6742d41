"""The rows of limits: learned, added, pinned, canceled; what they held is let go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

import models
from gateway import clock, errors, jobs
from gateway.mail.draft import Mailbox
from gateway.services import lanes, messages, shaping
from gateway.services.lanes import PutOff
from gateway.services.shaping import Lesson
from models.vocabulary import DeliveryState
from tests import cast
from tests.conftest import Bells

pytestmark = pytest.mark.usefixtures("store")


def _lesson(**changed: Any) -> Lesson:
    now = clock.now_ms()
    return replace(
        Lesson("yahoo", "yahoo.tss04", "pause", 0, now + 7_200_000, "421 4.7.0 [TSS04] deferred", now), **changed
    )


def test_a_lesson_is_a_row_with_cause_scope_and_end() -> None:
    made = shaping.learn(_lesson())
    assert made is not None
    assert (made.scope, made.target, made.kind, made.origin, made.pinned) == ("mx", "yahoo", "pause", "auto", False)
    assert "[TSS04]" in made.cause and made.ends_ms is not None
    assert shaping.active() == (made,)
    assert shaping.figures() == {"limits": 1, "paused": 1}


def test_the_same_lesson_again_extends_it() -> None:
    first = shaping.learn(_lesson())
    again = shaping.learn(_lesson(until_ms=clock.now_ms() + 9_000_000))
    assert first is not None and again is not None
    assert again.id == first.id and (again.until_ms or 0) > (first.until_ms or 0)
    shaping.learn(_lesson(until_ms=clock.now_ms() + 1000))
    assert shaping.active() == (again,)


def test_fewer_connections_are_half_of_those_there_were_and_half_again() -> None:
    first = shaping.learn(_lesson(rule="connections", kind="connections", now=10, at_ms=clock.now_ms() - 5))
    assert first is not None and first.value == 5
    late = shaping.learn(_lesson(rule="connections", kind="connections", now=10, at_ms=first.changed_ms - 1))
    assert late is not None and late.value == 5  # it was on its way before the limit
    again = shaping.learn(_lesson(rule="connections", kind="connections", now=5, at_ms=first.changed_ms + 1))
    assert again is not None and again.value == 2


def test_a_limit_ends_at_its_time_unless_it_is_pinned() -> None:
    made = shaping.learn(_lesson())
    assert made is not None
    models.Limit.update(until_ms=clock.now_ms() - 1).execute()
    assert shaping.active() == ()
    with pytest.raises(errors.LimitEnded):
        shaping.pin(caller=None, limit_id=made.id)
    models.Limit.update(until_ms=clock.now_ms() + 60_000).execute()
    assert shaping.pin(caller=None, limit_id=made.id).ends_ms is None
    models.Limit.update(until_ms=clock.now_ms() - 1).execute()
    assert [one.id for one in shaping.active()] == [made.id]
    shaping.pin(caller=None, limit_id=made.id, pinned=False)
    assert shaping.active() == ()


def test_a_canceled_limit_is_not_made_again_by_what_was_on_its_way() -> None:
    made = shaping.learn(_lesson())
    assert made is not None
    before = clock.now_ms() - 1000
    shaping.cancel(caller=None, limit_id=made.id)
    assert shaping.learn(_lesson(at_ms=before)) is None
    assert shaping.active() == ()
    assert shaping.learn(_lesson(at_ms=clock.now_ms() + 1)) is not None
    with pytest.raises(errors.LimitEnded):
        shaping.cancel(caller=None, limit_id=made.id)
    assert [one.id for one in shaping.list_(caller=None, ended=True)][-1] == made.id


def test_canceling_makes_due_what_the_limit_held_and_nothing_else(bells: Bells) -> None:
    who = cast.sender()
    messages.accept(who.caller, cast.draft(to=[Mailbox(f"r{n}@yahoo.test") for n in range(4)]))
    made = shaping.learn(_lesson())
    assert made is not None
    now = clock.now_ms()
    rows = lanes.claim(lanes.Rounds())
    verdicts = [orjson.dumps({"gate": "shaping", "limit": id_, "until_ms": 1, "cause": "x"}).decode() for id_ in
                (made.id, made.id, made.id * 10 + 1, None)]  # fmt: skip
    later = [PutOff(row, now + 200_000, verdict, "x") for row, verdict in zip(rows, verdicts, strict=True)]
    assert lanes.put_off(later) == 4
    bells.clear()
    assert shaping.cancel(caller=None, limit_id=made.id) == 2
    assert bells == [jobs.DELIVER]
    due = {row.rcpt for row in models.Delivery.select() if row.due_ms <= clock.now_ms()}
    assert due == {rows[0].rcpt, rows[1].rcpt}
    assert {row.id for row in lanes.claim(lanes.Rounds())} == {rows[0].id, rows[1].id}


def test_putting_off_is_no_attempt_and_for_the_holder_only() -> None:
    messages.accept(cast.sender().caller, cast.draft())
    (row,) = lanes.claim(lanes.Rounds())
    due_ms = clock.now_ms() + 5000
    assert lanes.put_off([PutOff(replace(row, fence=row.fence + 1), due_ms, "{}", "")]) == 0
    assert lanes.put_off([PutOff(row, due_ms, '{"gate":"shaping"}', "")]) == 1
    stored = models.Delivery.get()
    assert (stored.state, stored.attempts, stored.due_ms) == (DeliveryState.QUEUED, 0, due_ms)
    assert stored.waiting == '{"gate":"shaping"}'
    assert models.Event.select().count() == 1  # accepted, and nothing for this
    models.Delivery.update(due_ms=1, attempts=2).execute()
    (again,) = lanes.claim(lanes.Rounds())
    assert models.Delivery.get().waiting is None
    lanes.put_off([PutOff(again, due_ms, "{}", "")])
    assert models.Delivery.get().state == DeliveryState.DEFERRED


def test_operators_add_limits_and_others_see_none() -> None:
    operator = cast.account("operator", role="operator")
    made = shaping.add(caller=operator, scope="domain", target=" Friends.TEST. ", kind="rate", value=30, minutes=10)
    assert (made.target, made.value, made.origin, made.rule) == ("friends.test", 30, "operator", "")
    assert made.cause == "set by operator@people.test"
    assert shaping.list_(caller=operator) == [made]
    stranger = cast.account("stranger")
    for call in (
        lambda who: shaping.list_(caller=who),
        lambda who: shaping.cancel(caller=who, limit_id=made.id),
        lambda who: shaping.pin(caller=who, limit_id=made.id),
        lambda who: shaping.add(caller=who, scope="mx", target="google", kind="pause"),
    ):
        with pytest.raises(errors.NotAllowed):
            call(stranger)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": "planet"},
        {"target": "jane@far.test"},
        {"target": " "},
        {"kind": "wish"},
        {"kind": "rate"},
        {"kind": "connections", "value": -1},
        {"value": 5},
        {"minutes": 0},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {"scope": "mx", "target": "google", "kind": "pause"}
    with pytest.raises(errors.Invalid):
        shaping.add(caller=None, **(good | wrong))
    assert models.Limit.select().count() == 0


def test_an_absent_limit_is_not_found() -> None:
    with pytest.raises(errors.LimitNotFound):
        shaping.cancel(caller=None, limit_id=987_654)


def test_what_ended_a_month_ago_is_collected() -> None:
    shaping.learn(_lesson())
    kept = shaping.add(caller=None, scope="mx", target="google", kind="pause")
    models.Limit.update(until_ms=clock.now_ms() - 31 * clock.DAY_MS).where(models.Limit.id != kept.id).execute()
    assert shaping.collect() == (1, False)
    assert shaping.active() == (kept,)
