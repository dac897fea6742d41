"""Statistics and buckets from the roll-ups, against counting the events themselves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway import clock, errors
from gateway.mail.draft import Mailbox
from gateway.services import domains, event_buckets, ledger, statistics
from gateway.services.statistics import RECIPIENTS, Period
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.test_events import happen, message

pytestmark = pytest.mark.usefixtures("store")
DAY = clock.DAY_MS
TODAY = 20_000
NOON = TODAY * DAY + DAY // 2


@pytest.fixture
def who(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cast.Sender:
    use_settings(tmp_path)
    ledger.forget_words()
    monkeypatch.setattr(clock, "now_ms", lambda: NOON)
    return cast.sender()


@pytest.fixture
def world(who: cast.Sender) -> cast.Sender:
    number, _ = message(who, tags=["spring", "sale"], to=[Mailbox("jane@friends.test"), Mailbox("zoe@others.test")])
    other, _ = message(who, tags=["spring"])
    for n, day in enumerate((0, -1, -27, -28, -55, -56)):
        at = NOON + day * DAY
        happen(
            who,
            number,
            EventKind.DELIVERED,
            at,
            rcpt="jane@friends.test",
            mx="mx1.friends.test",
            tags=["spring", "sale"],
        )
        happen(
            who, number, EventKind.BOUNCED, at, rcpt="Zoe@Others.test", mx="mx.others.test", tags=["spring", "sale"],
            reply="550 no such user", data={"code": 550, "enhanced": "5.1.1", "category": "unknown", "transport": "mx"},
        )  # fmt: skip
        for _ in range(n):
            happen(who, other, EventKind.CLICKED, at, ip="192.0.2.7", tags=["spring"], data={"url": "https://a.test/"})
    happen(who, other, EventKind.FAILED, NOON, rcpt="jane@friends.test", reply="421 later", data={"code": 421})
    return who


def counted(who: cast.Sender, days: Period) -> Counter[int]:
    rows = db.rows(
        "SELECT kind, COUNT(*) FROM event WHERE domain_id = ? AND at_ms >= ? AND at_ms < ? GROUP BY kind",
        (who.domain.id, days.first * DAY, (days.last + 1) * DAY),
    )
    return Counter(dict(rows))


def no_recipients(counts: dict[int, int]) -> dict[int, int]:
    return {kind: n for kind, n in counts.items() if kind != RECIPIENTS}


def test_the_last_28_days_and_those_before(world: cast.Sender) -> None:
    days = statistics.period(None, None)
    assert (days.first, days.last) == (TODAY - 27, TODAY)
    assert days.previous == Period(TODAY - 55, TODAY - 28)
    found = statistics.of_domain(caller=world.owner, domain_id=world.domain.id, days=days)
    assert no_recipients(found.counts) == counted(world, days)
    assert no_recipients(found.previous) == counted(world, days.previous)
    assert found.counts[RECIPIENTS] == 3
    assert found.counts[EventKind.DELIVERED] == 3
    assert found.previous[EventKind.DELIVERED] == 2
    assert list(found.tags) == ["spring", "sale"]
    assert found.tags["sale"] == {RECIPIENTS: 2, 1: 1, EventKind.DELIVERED: 3, EventKind.BOUNCED: 3}
    assert found.tags["spring"][RECIPIENTS] == 3


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "first", "last"),
    [
        (None, NOON - 30 * DAY, TODAY - 57, TODAY - 30),
        (NOON - 3 * DAY, None, TODAY - 3, TODAY),
        (NOON, NOON - 5 * DAY, TODAY, TODAY - 1),
        (NOON - 56 * DAY, NOON, TODAY - 56, TODAY),
    ],
)
def test_periods(world: cast.Sender, from_ms: int | None, to_ms: int | None, first: int, last: int) -> None:
    days = statistics.period(from_ms, to_ms)
    assert days == Period(first, last)
    found = statistics.of_domain(caller=world.owner, domain_id=world.domain.id, days=days)
    assert no_recipients(found.counts) == counted(world, days)
    series = statistics.series(caller=world.owner, domain_id=world.domain.id, days=days)
    assert [day for day, _ in series] == list(days.days)
    assert statistics.add(pair for _, counts in series for pair in counts.items()) == found.counts


def test_a_period_without_end_is_refused() -> None:
    with pytest.raises(errors.Invalid):
        statistics.period(-(10**15), 10**15)


def test_the_account_has_all_its_domains_and_nobody_else_s(world: cast.Sender) -> None:
    days = statistics.period(None, None)
    second = domains.add(caller=world.owner, name="second.test", trusted=True, dkim=cast.signing_keys())
    stranger = cast.sender("stranger", "other.test")
    message(stranger)
    found = statistics.of_account(caller=world.owner, days=days)
    assert no_recipients(found.counts) == counted(world, days)
    assert [(id_, name) for id_, name, _ in found.domains] == [
        (world.domain.id, "shop.test"),
        (second.id, "second.test"),
    ]
    assert found.domains[1][2] == {}
    keyed = statistics.of_account(caller=world.caller, days=days)
    assert [id_ for id_, _, _ in keyed.domains] == [world.domain.id]
    whole = statistics.series(caller=world.owner, domain_id=None, days=days)
    assert statistics.add(pair for _, counts in whole for pair in counts.items()) == found.counts
    for ask in (statistics.of_domain, event_buckets.buckets, statistics.recipient_domains, statistics.series):
        with pytest.raises(errors.NotFound):
            ask(caller=stranger.owner, domain_id=world.domain.id, days=days)


def test_recipient_domains(world: cast.Sender) -> None:
    def ask(**wanted: Any) -> Any:
        days = statistics.period(None, None)
        return statistics.recipient_domains(caller=world.owner, domain_id=world.domain.id, days=days, **wanted)

    total, rows = ask()
    assert total == 2
    assert rows[0][0] == "friends.test"
    assert dict(rows)["others.test"] == {EventKind.BOUNCED: 3}
    assert ask(start=1, count=1) == (2, rows[1:])
    assert ask(name="Others.TEST") == (1, [("others.test", {EventKind.BOUNCED: 3})])
    assert ask(name="nowhere.test") == (0, [])


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", [("accepted", 2), ("bounce", 4), ("click", 3), ("delivery", 3)]),
        ("event_type", [("accepted", 2), ("bounce", 4), ("click", 3), ("delivery", 3)]),
        ("Event", [("accepted", 2), ("bounced", 4), ("clicked", 3), ("delivered", 3)]),
        ("BounceType", [("Permanent", 3), ("Transient", 1)]),
        ("tags", [("sale", 7), ("spring", 11)]),
        ("Recipient-Domain", [("friends.test", 7), ("others.test", 3)]),
        ("MX", [("mx.others.test", 3), ("mx1.friends.test", 3)]),
        ("response", [("421 later", 1), ("550 no such user", 3)]),
        ("category", [("unknown", 3)]),
        ("code", [("421", 1), ("550", 3)]),
        ("EnhancedCode", [("5.1.1", 3)]),
        ("url", [("https://a.test/", 3)]),
        ("ip", [("192.0.2.7", 3)]),
        ("hour", [("12", 12)]),
        ("subject", [("Your order", 12)]),
        ("from", [("hello@shop.test", 12)]),
    ],
)
def test_buckets(world: cast.Sender, field: str, expected: list[tuple[str, int]]) -> None:
    days = statistics.period(None, None)

    def ask(size: int) -> Any:
        return event_buckets.buckets(caller=world.owner, domain_id=world.domain.id, field=field, size=size, days=days)

    found, partial = ask(10)
    assert sorted(found) == expected
    assert [n for _, n in found] == sorted((n for _, n in found), reverse=True)
    assert not partial
    assert ask(1)[0] == found[:1]


def test_every_named_field_can_be_asked_for(world: cast.Sender) -> None:
    for field in event_buckets.FIELDS:
        event_buckets.buckets(caller=world.owner, domain_id=world.domain.id, field=field, days=Period(0, TODAY))
    with pytest.raises(errors.Invalid):
        event_buckets.buckets(caller=world.owner, domain_id=world.domain.id, field="nonsense", days=Period(0, TODAY))


def test_a_walk_ends_at_its_budget_and_says_so(world: cast.Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_buckets, "_WALKED", 2)
    days = statistics.period(None, None)
    monkeypatch.setattr(event_buckets, "_BUDGET_S", 60.0)
    whole = event_buckets.buckets(caller=world.owner, domain_id=world.domain.id, field="subject", days=days)
    assert whole == ([("Your order", 12)], False)
    monkeypatch.setattr(event_buckets, "_BUDGET_S", 0.0)
    found, partial = event_buckets.buckets(caller=world.owner, domain_id=world.domain.id, field="subject", days=days)
    assert partial
    assert sum(n for _, n in found) < 12
