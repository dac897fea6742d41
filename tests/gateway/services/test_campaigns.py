"""Campaigns: what may be done with them when, and that nobody is left out or written to twice whatever happens."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import models
from gateway import clock, errors, ids, jobs
from gateway.services import (
    campaign_launches,
    campaign_origins,
    campaign_reports,
    campaign_states,
    campaigns,
    deliveries,
    expansions,
    hit_spool,
    housekeeping,
    identity,
    lanes,
    lists,
    queues,
    sending_servers,
    subscribers,
    suppressions,
    tracking,
)
from gateway.services.campaigns import Campaign
from gateway.services.subscribers import New
from models import database as db
from models.vocabulary import CAMPAIGN_STATES, DeliveryState, EventKind
from tests import cast
from tests.conftest import use_settings
from tests.peers.smtp_sink import SmtpSink, say

pytestmark = pytest.mark.usefixtures("store")


def news(who: cast.Sender, size: int) -> lists.MailList:
    made = lists.add(caller=who.owner, name="News")
    for start in range(0, size, subscribers.MOST_AT_ONCE):
        some = range(start, min(size, start + subscribers.MOST_AT_ONCE))
        new = [New(f"reader{n}@friends{n % 3}.test", {"first": f"R<{n}>"}) for n in some]
        subscribers.add_many(caller=who.owner, list_id=made.id, new=new)
    return made


def given(list_id: int, **changed: Any) -> dict[str, Any]:
    return {
        "name": "Spring",
        "from": "The Shop <news@shop.test>",
        "subject": "Hi {{ first }}",
        "html": "<p>Hello {{ first }}</p>",
        "list_id": list_id,
    } | changed


def made(who: cast.Sender, size: int = 3, **changed: Any) -> Campaign:
    return campaigns.add(caller=who.owner, given={**given(news(who, size).id), **changed})


def again(campaign: Campaign) -> Campaign:
    caller = identity.for_account(campaign.account_id)
    return campaigns.find(caller=caller, campaign_id=campaign.public_id)


def launched(who: cast.Sender, campaign: Campaign) -> Campaign:
    return campaign_launches.launch(caller=who.owner, campaign=campaign)


def _states() -> Counter[DeliveryState]:
    return Counter(DeliveryState(row.state) for row in models.Delivery.select())


def _hurry(campaign: Campaign) -> None:
    """Have a worker look at it now."""
    models.Campaign.update(due_ms=clock.now_ms()).where(models.Campaign.id == campaign.id).execute()
    campaign_launches.drain(5)


def test_a_campaign_is_launched_expanded_and_finished(bells: list[str]) -> None:
    who = cast.sender()
    campaign = made(who)
    assert (campaign.state, models.Message.select().count()) == ("draft", 0)
    campaign = launched(who, campaign)
    assert (campaign.state, campaign.recipients) == ("sending", 3)
    assert jobs.EXPAND in bells
    assert expansions.drain(5) == 3
    row = models.Message.get()
    assert (row.origin, row.id) == (f"cmp:{campaign.id}", campaign.message_id)
    (lane,) = {delivery.lane_id for delivery in models.Delivery.select()}
    assert models.Lane.get_by_id(lane).endpoint_id == campaign.id
    _hurry(campaign)
    assert again(campaign).state == "sending"  # nobody was written to yet
    models.Delivery.update(state=int(DeliveryState.DELIVERED), lane_id=None, due_ms=None).execute()
    _hurry(campaign)
    found = again(campaign)
    assert (found.state, found.ended_ms is not None) == ("sent", True)
    housekeeping.sweep(5)
    assert not models.Lane.select().where(models.Lane.endpoint_id == campaign.id).exists()


ACTIONS = {
    campaign_states.CHANGE: lambda who, one: campaigns.update(caller=who.owner, campaign=one, given={"name": "Other"}),
    campaign_states.SCHEDULE: lambda who, one: campaigns.schedule(
        caller=who.owner, campaign=one, at_ms=clock.now_ms() + 3_600_000
    ),
    campaign_states.LAUNCH: lambda who, one: launched(who, one),
    campaign_states.PAUSE: lambda who, one: campaigns.pause(caller=who.owner, campaign=one),
    campaign_states.RESUME: lambda who, one: campaigns.resume(caller=who.owner, campaign=one),
    campaign_states.CANCEL: lambda who, one: campaigns.cancel(caller=who.owner, campaign=one),
    campaign_states.DELETE: lambda who, one: campaigns.delete(caller=who.owner, campaign=one),
}


@pytest.mark.parametrize("state", CAMPAIGN_STATES)
def test_only_what_the_table_allows_can_be_done(state: str) -> None:
    who = cast.sender()
    for action, act in ACTIONS.items():
        campaign = made(who, 1)
        if state in ("sending", "paused"):
            campaign = launched(who, campaign)
        models.Campaign.update(state=state, paused_ms=clock.now_ms()).where(models.Campaign.id == campaign.id).execute()
        campaign = again(campaign)
        after = campaign_states.TRANSITIONS.get((state, action))
        if after is None:
            with pytest.raises(errors.CampaignState) as refused:
                act(who, campaign)
            assert refused.value.status == 409
            assert models.Campaign.get_by_id(campaign.id).state == state
        else:
            act(who, campaign)
            assert models.Campaign.get_by_id(campaign.id).state == after, action


def test_a_scheduled_one_is_launched_once_whatever_the_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    who = cast.sender()
    at_ms = clock.now_ms() + 3_600_000
    campaign = made(who, scheduled_at=at_ms)
    assert campaign.state == "scheduled"
    campaign_launches.drain(5)
    assert again(campaign).state == "scheduled"
    monkeypatch.setattr(clock, "now_ms", lambda: at_ms + 9 * clock.DAY_MS)
    identity.forget()
    start = threading.Barrier(3)

    def work() -> None:
        start.wait()
        campaign_launches.drain(10)
        db.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert models.Message.select().count() == 1
    assert again(campaign).state == "sending"
    assert expansions.drain(5) == 3


def test_a_worker_that_dies_between_its_statements_has_launched_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    who = cast.sender()
    campaign = made(who, scheduled_at=clock.now_ms())
    store = campaign_launches.messages.store

    def dies(*args: Any) -> Any:
        store(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(campaign_launches.messages, "store", dies)
    with pytest.raises(KeyboardInterrupt):
        campaign_launches.drain(5)
    assert (again(campaign).state, models.Message.select().count()) == ("scheduled", 0)
    monkeypatch.undo()
    campaign_launches.drain(5)
    assert (again(campaign).state, models.Message.select().count()) == ("sending", 1)


@pytest.mark.parametrize("cause", ["empty", "suppressed", "disabled", "template", "exploding"])
def test_what_cannot_be_launched_says_why_and_stays(cause: str) -> None:
    who = cast.sender()
    campaign = made(who, 1)
    wanted: type[errors.GatewayError] = errors.InvalidTemplate
    match cause:
        case "empty":
            one = subscribers.find(caller=who.owner, list_id=campaign.list_id, email="reader0@friends0.test")
            subscribers.unsubscribe(caller=who.owner, subscriber=one)
            wanted = errors.AudienceEmpty
        case "suppressed":
            db.in_transaction(
                lambda tx: suppressions.add(
                    tx, account_id=who.owner.account_id, domain_id=0, address="reader0@friends0.test", reason="manual"
                )
            )
            wanted = errors.SuppressedRecipient
        case "disabled":
            models.SenderDomain.update(status="disabled").execute()
            wanted = errors.DomainNotActive
            from gateway.services import senders

            senders.forget()
        case "template":
            campaigns.update(caller=who.owner, campaign=campaign, given={"html": "{{ 1 | divided_by: 0 }}"})
        case _:
            loops = "{% for a in (1..9000) %}{% for b in (1..9000) %}x{% endfor %}{% endfor %}"
            campaigns.update(caller=who.owner, campaign=campaign, given={"html": loops})
    with pytest.raises(wanted):
        launched(who, again(campaign))
    assert (again(campaign).state, models.Message.select().count()) == ("draft", 0)
    models.Campaign.update(state="scheduled", due_ms=clock.now_ms()).execute()
    campaign_launches.drain(5)
    found = again(campaign)
    assert (found.state, found.cause.partition(":")[0]) == ("failed", wanted.slug)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"list_id": None}, "list_id"),
        ({"segment_id": "seg_01KAV3R9T7E4Q8N2M6P0S5W1XY"}, "list_id"),
        ({"scheduled_at": 1_000}, "scheduled_at"),
        ({"from": "nobody"}, "from"),
        ({"from": None}, "from"),
        ({"subject": "two\nlines"}, "subject"),
        ({"html": None}, "html"),
        ({"html": ""}, "html"),
        ({"html": "x" * 300_000}, "html"),
        ({"template": "tpl_01KAV3R9T7E4Q8N2M6P0S5W1XY", "subject": ""}, "template"),
        ({"variables": [1]}, "variables"),
        ({"headers": {"Bcc": "x@y.test"}}, "headers"),
        ({"tags": "a" * 200}, "tags"),
        ({"track_opens": "yes"}, "track_opens"),
        ({"reply_to": ["nobody"]}, "reply_to"),
        ({"routing": "fast"}, "routing"),
        ({"name": " "}, "name"),
    ],
)
def test_bad_input_names_its_field_and_stores_nothing(changed: dict[str, Any], field: str) -> None:
    who = cast.sender()
    with pytest.raises(errors.InvalidFields) as refused:
        made(who, 1, **changed)
    assert field in [one["field"] for one in refused.value.data["fields"]]  # type: ignore[attr-defined]
    assert models.Campaign.select().count() == 0


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"list_id": 987_654}, "list_id"),
        ({"list_id": None, "segment_id": "seg_01KAV3R9T7E4Q8N2M6P0S5W1XY"}, "segment_id"),
        ({"template": "tpl_01KAV3R9T7E4Q8N2M6P0S5W1XY"}, "template"),
        ({"template": "nothing", "subject": None, "html": None}, "template"),
    ],
)
def test_what_is_named_and_absent_is_told_as_absent(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.NotFound) as refused:
        made(cast.sender(), 1, **changed)
    assert refused.value.data["field"] == field
    assert models.Campaign.select().count() == 0


def test_bad_templates_and_foreign_domains_are_refused() -> None:
    who = cast.sender()
    with pytest.raises(errors.InvalidTemplate, match="HTML"):
        made(who, 1, html="{% if %}")
    with pytest.raises(errors.DomainNotVerified):
        made(who, 1, **{"from": "a@elsewhere.test"})
    cast.sender("stranger", "other.test")
    with pytest.raises(errors.DomainNotVerified):
        made(who, 1, **{"from": "a@other.test"})
    with pytest.raises(errors.NotAllowed):
        campaigns.add(caller=replace(who.owner, domain_id=999_999), given=given(news(who, 1).id))
    models.SenderDomain.update(status="pending").where(models.SenderDomain.id == who.domain.id).execute()
    with pytest.raises(errors.DomainNotActive):
        made(who, 1, scheduled_at=clock.now_ms() + 60_000)


def test_strangers_find_nothing() -> None:
    who, other = cast.sender(), cast.sender("stranger", "other.test")
    campaign = made(who, 1)
    for caller in (other.owner, replace(who.owner, domain_id=987_654)):
        with pytest.raises(errors.CampaignNotFound):
            campaigns.find(caller=caller, campaign_id=campaign.public_id)
        assert campaigns.list_(caller=caller) == []
    with pytest.raises(errors.NotFound):  # their list
        campaigns.add(caller=other.owner, given=given(campaign.list_id, **{"from": "a@other.test"}))


def test_a_quota_is_waited_for_and_said_and_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    who = cast.sender()
    monkeypatch.setattr(expansions, "BATCH", 4)
    plan = models.Plan.create(name="Small", emails_day=5)
    models.Account.update(plan_id=plan.id).execute()
    identity.forget()
    try:
        db.in_transaction(
            lambda tx: suppressions.add(
                tx, account_id=who.owner.account_id, domain_id=0, address="reader1@friends1.test", reason="manual"
            )
        )
        campaign = launched(who, made(who, 12))
        assert expansions.drain(5) == 6  # five, and one that costs nothing
        report = campaign_reports.of(again(campaign))
        assert (report.recipients, report.pending, report.waiting) == (12, 11, "the plan allows 5 emails a day")
        assert expansions.drain(5) == 0
        now = clock.now_ms()
        total = 6
        for day in (1, 2):
            monkeypatch.setattr(clock, "now_ms", lambda day=day: now + day * clock.DAY_MS)
            identity.forget()
            total += expansions.drain(5)
        assert total == 12
        assert Counter(row.rcpt for row in models.Delivery.select()) == Counter(
            f"reader{n}@friends{n % 3}.test" for n in range(12)
        )
        assert _states() == {DeliveryState.QUEUED: 11, DeliveryState.SUPPRESSED: 1}
        assert models.Expansion.get().done_ms is not None
    finally:
        models.Plan.delete().where(models.Plan.id == plan.id).execute()


def test_canceling_takes_back_what_waits_and_what_was_still_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    who = cast.sender()
    monkeypatch.setattr(expansions, "BATCH", 4)
    campaign = launched(who, made(who, 10))
    monkeypatch.setattr(expansions.time, "monotonic", iter([0.0, 0.0, 9.0, 9.0]).__next__)
    assert expansions.drain(5) == 4
    monkeypatch.undo()
    (claimed,) = lanes.claim(lanes.Rounds(), limit=1)
    campaigns.cancel(caller=who.owner, campaign=again(campaign))
    assert lanes.claim(lanes.Rounds()) == []
    expansions.drain(5)
    campaign_launches.drain(1)
    assert _states() == {DeliveryState.CANCELED: 9, DeliveryState.CLAIMED: 1}
    lanes.give_back([(claimed.id, claimed.fence)])
    _hurry(campaign)
    assert _states() == {DeliveryState.CANCELED: 10}
    assert models.Campaign.get().due_ms is None
    assert models.Event.select().where(models.Event.kind == EventKind.CANCELED).count() == 10
    assert campaign_reports.of(again(campaign)).of(EventKind.CANCELED) == 10


def test_a_paused_one_makes_and_claims_nothing_and_goes_on_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    who = cast.sender()
    monkeypatch.setattr(expansions, "BATCH", 4)
    campaign = launched(who, made(who, 10))
    monkeypatch.setattr(expansions.time, "monotonic", iter([0.0, 0.0, 9.0, 9.0]).__next__)
    assert expansions.drain(5) == 4
    monkeypatch.undo()
    (tried,) = lanes.claim(lanes.Rounds(), limit=1)
    expires_ms = clock.now_ms() + clock.HOUR_MS
    models.Delivery.update(
        state=int(DeliveryState.DEFERRED), attempts=1, due_ms=clock.now_ms() + 60_000, expires_ms=expires_ms
    ).where(models.Delivery.id == tried.id).execute()
    campaigns.pause(caller=who.owner, campaign=again(campaign))
    assert expansions.drain(5) == 0
    assert lanes.claim(lanes.Rounds()) == []
    assert lanes.paused()
    now = clock.now_ms()
    monkeypatch.setattr(clock, "now_ms", lambda: now + 3 * clock.DAY_MS)
    campaigns.resume(caller=who.owner, campaign=again(campaign))
    assert models.Delivery.get_by_id(tried.id).expires_ms > expires_ms + 3 * clock.DAY_MS - 60_000
    assert expansions.drain(5) == 6
    assert len(lanes.claim(lanes.Rounds())) == 10
    assert Counter(row.rcpt for row in models.Delivery.select()).most_common(1)[0][1] == 1
    # Never tried and over its time: it is tried as long as any other.
    assert min(row.expires_ms for row in models.Delivery.select()) > now + 3 * clock.DAY_MS


@pytest.fixture
def sink(store: str, tmp_path: Path) -> Iterator[SmtpSink]:
    with SmtpSink() as peer:
        use_settings(tmp_path, DELIVERY=f"smtp://127.0.0.1:{peer.port}", DELIVER_CONNECTIONS="2")
        yield peer
        deliveries.close()


def _drain() -> None:
    while deliveries.drain(0.1):
        pass
    assert deliveries.engine().wait_idle(20)


def test_what_is_in_the_hands_of_a_worker_is_held_too(sink: SmtpSink) -> None:
    who = cast.sender()
    campaign = launched(who, made(who, 40))
    expansions.drain(5)
    sink.always("data", say("354 go on", pause=0.25))  # four a second on each of two connections
    deliveries.drain(0.3)
    assert models.Delivery.select().where(models.Delivery.state == int(DeliveryState.CLAIMED)).count()
    campaigns.pause(caller=who.owner, campaign=again(campaign))
    assert deliveries.engine().wait_idle(10)
    sent = len(sink.messages)
    assert sent < 30
    assert deliveries.drain(1.5) == 0
    assert len(sink.messages) == sent
    sink.behave()
    campaigns.resume(caller=who.owner, campaign=again(campaign))
    _drain()
    deliveries.close()
    assert Counter(one.rcpts[0] for one in sink.messages) == Counter(
        f"reader{n}@friends{n % 3}.test" for n in range(40)
    )


def test_over_several_sending_servers_all_of_it_is_held(store: str, tmp_path: Path) -> None:
    who = cast.sender()
    use_settings(tmp_path, DELIVERY="capture", DELIVERY_ALLOW="127.0.0.0/8", DELIVER_CONNECTIONS="2")
    with SmtpSink() as first, SmtpSink() as second:
        for name, sink in (("first", first), ("second", second)):
            sending_servers.create(
                caller=who.owner, name=name, kind="smtp", config={"host": "127.0.0.1", "port": sink.port}
            )
        campaign = launched(who, made(who, 40))
        expansions.drain(5)
        own = {row.route for row in models.Lane.select().where(models.Lane.endpoint_id == campaign.id)}
        assert len({row.lane_id for row in models.Delivery.select()}) == 2 <= len(own)
        campaigns.pause(caller=who.owner, campaign=again(campaign))
        assert lanes.claim(lanes.Rounds()) == []
        campaigns.resume(caller=who.owner, campaign=again(campaign))
        _drain()
        deliveries.close()
        everybody = Counter(f"reader{n}@friends{n % 3}.test" for n in range(40))
        assert Counter(one.rcpts[0] for one in (*first.messages, *second.messages)) == everybody
        assert first.messages and second.messages
    _hurry(campaign)
    housekeeping.sweep(5)
    assert again(campaign).state == "sent"
    assert not models.Lane.select().where(models.Lane.endpoint_id == campaign.id).exists()


def test_a_report_counts_what_came_of_it(sink: SmtpSink) -> None:
    who = cast.sender()
    campaign = launched(who, made(who, 6, html='<a href="https://shop.test/a">a</a>', tags=["spring"]))
    expansions.drain(5)
    _drain()
    deliveries.close()
    rows = list(models.Delivery.select().order_by(models.Delivery.id))
    for delivery_id, url in ((rows[0].id, ""), (rows[0].id, ""), (rows[1].id, "https://shop.test/a")):
        tracking.note(delivery_id=delivery_id, url=url, agent="Mozilla/5.0 (X11; Linux) Firefox/140.0", ip="192.0.2.1")
    hit_spool.seal()
    real = clock.now_ms
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now_ms", lambda: real() + tracking.HOLD_MS + 1_000)
        tracking.drain(3)
    queues.cancel_message(caller=who.owner, message_id=str(models.Message.get_by_id(campaign.message_id).uuid))
    report = campaign_reports.of(again(campaign))
    assert (report.recipients, report.pending, report.sent, report.of(EventKind.DELIVERED)) == (6, 0, 6, 6)
    assert (report.of(EventKind.OPENED), report.unique[EventKind.OPENED]) == (2, 1)
    assert (report.of(EventKind.CLICKED), report.unique[EventKind.CLICKED]) == (1, 1)
    assert report.links == [("https://shop.test/a", {int(EventKind.CLICKED): 1})]
    assert [name for name, _ in report.domains][:3] == ["friends0.test", "friends1.test", "friends2.test"]
    assert sum(some.get(int(EventKind.DELIVERED), 0) for _, some in report.hours) == 6
    assert sum(some.get(int(EventKind.DELIVERED), 0) for _, some in report.days) == 6
    other = launched(who, made(who, 1))
    assert campaign_reports.of(again(other)).counts == {}


def test_a_deleted_one_is_gone_and_its_number_is_not_given_again() -> None:
    who = cast.sender()
    campaign = made(who, 1)
    campaigns.delete(caller=who.owner, campaign=campaign)
    with pytest.raises(errors.CampaignNotFound):
        again(campaign)
    assert made(who, 1).id != campaign.id
    assert campaign_origins.of(who.owner.account_id, ids.public_id("cmp", campaign.uuid)) == campaign.origin


def test_campaigns_of_a_sender_take_one_turn_and_others_have_theirs() -> None:
    who, other = cast.sender(), cast.sender("stranger", "other.test")
    for _ in range(12):
        launched(who, made(who, 1))
    theirs = campaigns.add(caller=other.owner, given=given(news(other, 1).id, **{"from": "a@other.test"}))
    launched(other, theirs)
    expansions.drain(5)
    assert len(lanes.ready_lanes(clock.now_ms())) == 2
    claimed = lanes.claim(lanes.Rounds())
    assert {row.account_id for row in claimed} == {who.owner.account_id, other.owner.account_id}
