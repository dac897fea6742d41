"""The scale of delivery times, and the numbers of an hour, against the deliveries themselves."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway import clock, errors
from gateway.mail.draft import Mailbox
from gateway.services import delivery_times, ledger, outcomes, statistics
from gateway.services.statistics import RECIPIENTS
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.test_events import happen, message

DAY = clock.DAY_MS
NOON = 20_000 * DAY + DAY // 2


@pytest.fixture
def who(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cast.Sender:
    use_settings(tmp_path)
    ledger.forget_words()
    monkeypatch.setattr(clock, "now_ms", lambda: NOON)
    return cast.sender()


def test_a_time_lies_below_the_bound_of_its_step_and_above_the_one_before() -> None:
    for ms in (*range(2, 3000), 10**5, 10**7, 3 * 86_400_000):
        step = delivery_times.step(ms)
        assert 2 ** ((step - 1) / 4) - 1e-6 < ms <= 2 ** (step / 4) + 1e-6, ms
    assert delivery_times.step(0) == delivery_times.step(1) == 0


def test_percentiles_are_at_most_a_fifth_above_the_truth() -> None:
    dice = random.Random(7)
    times = sorted(int(dice.lognormvariate(6, 1.5)) + 5 for _ in range(5000))
    steps: dict[int, int] = {}
    for ms in times:
        steps[delivery_times.step(ms)] = steps.get(delivery_times.step(ms), 0) + 1
    found = delivery_times.of(steps)
    assert found.count == 5000
    for part, told in ((0.5, found.p50_ms), (0.95, found.p95_ms), (0.99, found.p99_ms)):
        true = times[int(part * 5000) - 1]
        assert told is not None
        assert true - 1 <= told <= true * 1.2
    assert delivery_times.of({}) == delivery_times.Times(0, None, None, None, [])


def test_a_delivery_is_timed_from_acceptance_to_the_250(who: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    message(who)
    message(who, send_at_ms=NOON + 3_600_000)
    now = NOON + 3_600_000 + 5000
    monkeypatch.setattr(clock, "now_ms", lambda: now)
    rows = db.rows("SELECT id, fence FROM delivery ORDER BY id")
    db.in_transaction(lambda tx: tx.execute("UPDATE delivery SET state = 2"))
    outcomes.apply(
        [
            outcomes.Done(id_, fence, outcomes.Outcome(outcomes.Result.DELIVERED, 250), "mx", now - 1000, 400)
            for id_, fence in rows
        ]
    )
    day = clock.day_number(now)
    found = delivery_times.count([who.domain.id], day, day)
    assert found == {delivery_times.step(4400): 1, delivery_times.step(3_604_400): 1}
    shown = statistics.of_domain(caller=who.owner, domain_id=who.domain.id, days=statistics.period(None, None))
    assert (shown.times.count, shown.times.p50_ms) == (2, delivery_times.bound_ms(delivery_times.step(4400)))
    assert delivery_times.of_all() == shown.times


def test_hours_hold_what_happened_in_them(who: cast.Sender) -> None:
    number, _ = message(who, to=[Mailbox("jane@friends.test"), Mailbox("zoe@others.test")])
    message(who)
    for at in (NOON - 1, NOON, NOON + 3_599_999, NOON - 30 * 3_600_000):
        happen(who, number, EventKind.OPENED, at, data={"verdict": "human" if at == NOON else "machine"})
    found = dict(statistics.hours(caller=who.owner, domain_id=None, from_ms=None, to_ms=None))
    assert len(found) == 48
    hour = 3_600_000
    assert found[NOON] == {EventKind.ACCEPTED: 2, EventKind.OPENED: 2, RECIPIENTS: 3}
    assert found[NOON - hour] == found[NOON - 30 * hour] == {EventKind.OPENED: 1}
    assert found[NOON - 2 * hour] == {}
    assert statistics.hours(caller=who.owner, domain_id=who.domain.id, from_ms=NOON, to_ms=NOON) == [
        (NOON, found[NOON])
    ]
    days = statistics.period(None, None)
    verdicts = statistics.of_account(caller=who.owner, days=days).verdicts
    assert verdicts == {EventKind.OPENED: {"human": 1, "machine": 3}, EventKind.CLICKED: {}}
    with pytest.raises(errors.Invalid):
        statistics.hours(caller=who.owner, domain_id=None, from_ms=NOON - 61 * DAY, to_ms=NOON)
    with pytest.raises(errors.NotFound):
        statistics.hours(caller=cast.account("stranger"), domain_id=who.domain.id, from_ms=None, to_ms=None)
