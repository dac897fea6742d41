"""Automations: each trigger, each action, and that no step is done twice or left out whatever is killed when."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

import models
from gateway import clock, errors, ids
from gateway.services import (
    automation_actions,
    automation_runs,
    automation_signals,
    automation_steps,
    automation_triggers,
    automation_work,
    automations,
    erasures,
    housekeeping,
    identity,
    ledger,
    lists,
    messages,
    outcomes,
    segments,
    senders,
    subscribers,
)
from gateway.services.automations import Automation
from gateway.services.subscribers import New
from models import database as db
from models.vocabulary import DeliveryState, EventKind, NoticeKind, Stream, SubscriberStatus
from tests import cast
from tests.peers.http_sink import HttpSink

pytestmark = pytest.mark.usefixtures("store")

SEND = {"type": "send", "from": "The Shop <hello@shop.test>", "subject": "Hi {{ first }}", "text": "Hello {{ first }}"}


class World:
    def __init__(self, size: int = 0) -> None:
        self.who = cast.sender()
        self.owner = self.who.owner
        self.news = lists.add(caller=self.owner, name="News")
        if size:
            new = [New(f"reader{n}@friends.test", {"first": f"R{n}", "n": n}) for n in range(size)]
            subscribers.add_many(caller=self.owner, list_id=self.news.id, new=new)

    def add(self, *actions: Any, trigger: Any = None, **more: Any) -> Automation:
        given = {
            "name": "Welcome",
            "trigger": trigger or {"type": "event", "event": "signed_up"},
            "actions": list(actions) or [SEND],
        }
        return automations.add(caller=self.owner, given=given | more)

    def trigger(self, automation: Automation, email: str = "reader0@friends.test", **more: Any) -> automation_runs.Run:
        return automation_runs.trigger(caller=self.owner, automation=automation, subscriber=email, **more)

    def told(self, automation: Automation, **more: Any) -> list[automation_runs.Told]:
        return automation_runs.list_(caller=self.owner, automation=automation, **more)

    def outcomes(self, automation: Automation) -> list[tuple[str, str]]:
        return [(one.action, one.outcome) for one in self.told(automation)[0].outcomes]

    def reader(self, n: int = 0) -> subscribers.Subscriber:
        return subscribers.find(caller=self.owner, list_id=self.news.id, email=f"reader{n}@friends.test")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Moves the clock on by milliseconds."""
    real, moved = clock.now_ms, [0]
    monkeypatch.setattr(clock, "now_ms", lambda: real() + moved[0])

    def move(ms: int) -> None:
        moved[0] += ms

    return move


def drain() -> int:
    return automation_work.drain(10)


def _sent() -> list[str]:
    return sorted(row.rcpt for row in models.Delivery.select())


def test_a_triggered_run_sends_waits_and_ends(later: Any) -> None:
    world = World(1)
    automation = world.add(SEND, {"type": "wait", "duration": "3d"}, SEND | {"subject": "Still there?"})
    run = world.trigger(automation)
    assert run.state == "running"
    assert drain() >= 1
    message = models.Message.get()
    assert (message.subject, message.origin, message.stream) == ("Hi R0", automation.origin, Stream.BULK)
    assert world.outcomes(automation) == [("send", "sent"), ("wait", "waited")]
    assert drain() == 0
    later(3 * clock.DAY_MS + 1)
    assert drain() >= 1
    (told,) = world.told(automation)
    assert [(one.action, one.outcome) for one in told.outcomes] == [
        ("send", "sent"),
        ("wait", "waited"),
        ("send", "sent"),
    ]
    assert (told.run.state, told.run.due_ms) == ("completed", None)
    assert {one.message for one in told.outcomes if one.message} == {row.uuid for row in models.Message.select()}
    assert models.Automation.get().due_ms is None
    (notice,) = models.Notice.select().where(models.Notice.kind == NoticeKind.AUTOMATION_TRIGGERED)
    assert orjson.loads(notice.data)["run"] == told.run.public_id


def test_reentry_once_always_and_after_days(later: Any) -> None:
    world = World(1)
    once, always = world.add(), world.add(reentry="always")
    days = world.add(reentry={"after_days": 2})
    for automation in (once, always, days):
        world.trigger(automation)
    for automation in (once, days):
        with pytest.raises(errors.NotAgain):
            world.trigger(automation)
    world.trigger(always)
    later(2 * clock.DAY_MS + 1)
    world.trigger(days)
    with pytest.raises(errors.NotAgain):
        world.trigger(once)
    assert [len(world.told(one)) for one in (once, always, days)] == [1, 2, 2]


def test_loops_end_at_a_limit() -> None:
    """Two automations whose mail starts the other go round and round, and end."""
    world = World(1)
    for _ in range(2):
        world.add(trigger={"type": "event", "event": "delivered"}, reentry="always")
    messages.accept(world.who.caller, cast.draft(to="reader0@friends.test"))
    for _ in range(3 * automation_runs.A_DAY_MOST):
        live = [row.id for row in models.Delivery.select().where(models.Delivery.due_ms.is_null(False))]
        if not live:
            break
        outcomes.settle(live, DeliveryState.DELIVERED, EventKind.DELIVERED, {})
        drain()
    assert models.AutomationRun.select().count() == 2 * automation_runs.A_DAY_MOST
    assert models.Message.select().count() == 1 + 2 * automation_runs.A_DAY_MOST
    assert sum(row.refused for row in models.Automation.select()) > 0


def test_an_automation_is_not_started_by_what_it_sent_itself() -> None:
    world = World(1)
    automation = world.add(trigger={"type": "event", "event": "delivered"}, reentry="always")
    world.trigger(automation)
    drain()
    live = [row.id for row in models.Delivery.select()]
    outcomes.settle(live, DeliveryState.DELIVERED, EventKind.DELIVERED, {})
    drain()
    assert models.AutomationRun.select().count() == 1
    assert models.AutomationSignal.select().count() == 0


def test_events_of_messages_start_where_the_filters_fit() -> None:
    world = World(2)
    tagged = world.add(trigger={"type": "event", "event": "message.delivered", "tag": "spring"})
    clicked = world.add(trigger={"type": "event", "event": "clicked", "url": "/shoes"})
    for tags in (["spring"], ["autumn"]):
        messages.accept(world.who.caller, cast.draft(to=f"{tags[0]}@friends.test", tags=tags))
    rows = list(models.Delivery.select().order_by(models.Delivery.id))
    outcomes.settle([row.id for row in rows], DeliveryState.DELIVERED, EventKind.DELIVERED, {})
    facts = [
        ledger.Fact(
            world.owner.account_id, world.who.domain.id, EventKind.CLICKED, clock.now_ms(), row.message_id, row.id,
            row.rcpt, data={"url": url},
        )
        for row, url in zip(rows, ("https://shop.test/hats", "https://shop.test/shoes"), strict=True)
    ]  # fmt: skip
    db.in_transaction(lambda tx: ledger.record(tx, facts))
    drain()
    assert [told.run.email for told in world.told(tagged)] == ["spring@friends.test"]
    (run,) = world.told(clicked)
    assert (run.run.email, run.run.data["url"]) == ("autumn@friends.test", "https://shop.test/shoes")


def test_what_a_test_key_does_starts_nothing_live() -> None:
    world = World()
    tester = replace(world.who.caller, live=False)
    trigger = {"type": "event", "event": "message.delivered"}
    live = [world.add(trigger=trigger), world.add(), world.add(trigger=trigger | {"event": "subscriber.added"})]
    given = {"name": "Tried", "trigger": trigger, "actions": [{"type": "exit"}]}
    tried = automations.add(caller=replace(world.owner, live=False), given=given)
    messages.accept(tester, cast.draft(to="ann@friends.test"))
    outcomes.settle([models.Delivery.get().id], DeliveryState.DELIVERED, EventKind.DELIVERED, {})
    everywhere = replace(world.owner, live=False)
    assert automation_runs.announce(caller=everywhere, event="signed_up", subscriber="ann@friends.test") == 0
    subscribers.add(caller=everywhere, list_id=world.news.id, email="ann@friends.test")
    for refused in (
        lambda: automation_runs.trigger(caller=everywhere, automation=live[1], subscriber="ann@friends.test"),
        lambda: automations.pause(caller=everywhere, automation=live[1]),
        lambda: automations.update(caller=everywhere, automation=live[1], given={"name": "Other"}),
        lambda: automations.delete(caller=everywhere, automation=live[1]),
    ):
        with pytest.raises(errors.NotAllowed):
            refused()  # type: ignore[no-untyped-call]
    drain()
    assert [world.told(one) for one in live] == [[], [], []]
    assert [told.run.email for told in world.told(tried)] == ["ann@friends.test"]
    assert models.Message.select().count() == 1
    messages.accept(world.who.caller, cast.draft(to="bob@friends.test"))
    outcomes.settle(
        [row.id for row in models.Delivery.select() if row.rcpt.startswith("bob")],
        DeliveryState.DELIVERED, EventKind.DELIVERED, {},
    )  # fmt: skip
    drain()
    assert [told.run.email for told in world.told(live[0])] == ["bob@friends.test"]


def test_subscribers_who_come_and_go_start_runs() -> None:
    world = World()
    other = lists.add(caller=world.owner, name="Other")
    trigger = {"type": "event", "event": "subscriber.added", "list_id": str(world.news.id)}
    came = world.add(trigger=trigger)
    left = world.add({"type": "notice", "name": "left"}, trigger={"type": "event", "event": "subscriber.unsubscribed"})
    subscribers.add(caller=world.owner, list_id=world.news.id, email="ann@friends.test", fields={"first": "Ann"})
    subscribers.add(caller=world.owner, list_id=other.id, email="bob@friends.test")
    drain()
    assert [told.run.email for told in world.told(came)] == ["ann@friends.test"]
    assert models.Message.get().subject == "Hi Ann"
    one = subscribers.find(caller=world.owner, list_id=other.id, email="bob@friends.test")
    subscribers.unsubscribe(caller=world.owner, subscriber=one)
    drain()
    assert [told.run.email for told in world.told(left)] == ["bob@friends.test"]
    assert models.Notice.select().where(models.Notice.kind == NoticeKind.AUTOMATION_NOTICE).count() == 1


def test_an_account_without_automations_writes_no_signal() -> None:
    world = World(1)
    other = cast.sender("stranger", "other.test")
    automations.add(
        caller=other.owner,
        given={
            "name": "Theirs",
            "trigger": {"type": "event", "event": "delivered"},
            "actions": [SEND | {"from": "a@other.test"}],
        },
    )
    messages.accept(world.who.caller, cast.draft())
    outcomes.settle([models.Delivery.get().id], DeliveryState.DELIVERED, EventKind.DELIVERED, {})
    assert automation_signals.heard(world.owner.account_id) == frozenset()
    assert models.AutomationSignal.select().count() == 0
    drain()
    assert models.AutomationRun.select().count() == 0


def test_an_event_of_ones_own_is_announced() -> None:
    world = World(1)
    automation = world.add(SEND | {"text": "{{ plan }}"})
    count = automation_runs.announce(
        caller=world.owner, event="signed_up", subscriber="reader0@friends.test", data={"plan": "gold"}
    )
    assert count == 1
    assert automation_runs.announce(caller=world.owner, event="nobody_hears", subscriber="x@friends.test") == 0
    for event in ("delivered", "with space", ""):
        with pytest.raises(errors.InvalidFields):
            automation_runs.announce(caller=world.owner, event=event, subscriber="x@friends.test")
    drain()
    assert world.told(automation)[0].run.data == {"plan": "gold", "event": "signed_up"}


def test_a_date_comes_for_the_whole_list_once_after_an_outage(later: Any) -> None:
    world = World(automation_work.BATCH + 5)
    automation = world.add(
        trigger={"type": "time", "at": clock.rfc3339(clock.now_ms() + 3_600_000), "list_id": str(world.news.id)}
    )
    drain()
    assert models.AutomationRun.select().count() == 0
    later(30 * clock.DAY_MS)
    identity.forget()
    drain()
    drain()
    assert models.AutomationRun.select().count() == automation_work.BATCH + 5
    assert len(_sent()) == len(set(_sent())) == automation_work.BATCH + 5
    assert models.Automation.get().next_ms is None
    assert len(world.told(automation, state="completed", count=500)) == automation_work.BATCH + 5


def test_recurring_times_come_again_and_one_for_all_that_passed(later: Any) -> None:
    world = World(2)
    world.add(
        {"type": "notice", "name": "tick"},
        trigger={"type": "time", "every": "day", "at": "09:00", "list_id": str(world.news.id)},
    )
    for days, runs in ((1, 2), (5, 4), (1, 6)):
        later(days * clock.DAY_MS)
        drain()
        assert models.AutomationRun.select().count() == runs
    assert models.Automation.get().next_ms > clock.now_ms()


def test_a_field_with_a_date_starts_on_its_day(later: Any) -> None:
    world = World(3)
    born = clock.from_ms(clock.now_ms() + 4 * clock.DAY_MS).replace(year=1988)
    subscribers.update(caller=world.owner, subscriber=world.reader(1), fields={"born": born.strftime("%Y-%m-%d")})
    subscribers.update(caller=world.owner, subscriber=world.reader(2), fields={"born": "soon"})
    automation = world.add(
        trigger={
            "type": "time", "field": "born", "offset_days": -2, "yearly": True, "at": "00:00",
            "list_id": str(world.news.id),
        }
    )  # fmt: skip
    later(clock.DAY_MS)
    drain()
    assert models.AutomationRun.select().count() == 0
    later(4 * clock.DAY_MS)  # a worker was away on the day itself
    drain()
    assert [told.run.email for told in world.told(automation)] == ["reader1@friends.test"]


def test_a_date_of_today_counts_where_its_time_is_still_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(2)
    morning = clock.now_ms() // clock.DAY_MS * clock.DAY_MS + clock.DAY_MS + 7 * clock.HOUR_MS
    monkeypatch.setattr(clock, "now_ms", lambda: morning)
    for n in range(2):
        born = clock.from_ms(morning + n * clock.DAY_MS).strftime("%Y-%m-%d")
        subscribers.update(caller=world.owner, subscriber=world.reader(n), fields={"born": born})
    automation = world.add(
        trigger={"type": "time", "field": "born", "at": "09:00", "list_id": str(world.news.id)}, reentry="always"
    )
    for hours, readers in ((0, 0), (3, 1), (18, 1), (27, 2)):  # in the small hours nobody's day has come
        monkeypatch.setattr(clock, "now_ms", lambda hours=hours: morning + hours * clock.HOUR_MS)
        identity.forget()
        drain()
        told = sorted(one.run.email for one in world.told(automation))
        assert told == [f"reader{n}@friends.test" for n in range(readers)], hours


def test_a_worker_that_was_away_over_midnight_begins_no_day_early(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(2)
    morning = clock.now_ms() // clock.DAY_MS * clock.DAY_MS + clock.DAY_MS + 7 * clock.HOUR_MS
    monkeypatch.setattr(clock, "now_ms", lambda: morning)
    for n in range(2):
        born = clock.from_ms(morning + n * clock.DAY_MS).strftime("%Y-%m-%d")
        subscribers.update(caller=world.owner, subscriber=world.reader(n), fields={"born": born})
    automation = world.add(trigger={"type": "time", "field": "born", "at": "09:00", "list_id": str(world.news.id)})
    for hours, readers in ((18, 1), (27, 2)):
        monkeypatch.setattr(clock, "now_ms", lambda hours=hours: morning + hours * clock.HOUR_MS)
        identity.forget()
        drain()
        assert len(world.told(automation)) == readers, hours


def test_a_condition_that_becomes_true_starts_and_one_that_was_does_not(later: Any) -> None:
    world = World(3)
    automation = world.add(
        trigger={"type": "condition", "list_id": str(world.news.id), "if": {"field": "n", "op": "greater", "value": 1}},
        reentry="always",
    )
    drain()
    assert models.AutomationRun.select().count() == 0  # reader2 was so before
    for value, runs in ((9, 1), (9, 1), (0, 1), (9, 2)):
        subscribers.update(caller=world.owner, subscriber=world.reader(0), fields={"n": value})
        later(automation_triggers.CHECK_MINUTES * 60_000 + 1)
        drain()
        assert len(world.told(automation)) == runs, value
    assert {told.run.email for told in world.told(automation)} == {"reader0@friends.test"}


def test_a_segment_may_be_the_condition(later: Any) -> None:
    world = World(2)
    segment = segments.add(
        caller=world.owner, name="Gold", list_id=world.news.id, conditions={"field": "plan", "value": "gold"}
    )
    automation = world.add(trigger={"type": "condition", "segment_id": str(segment.id), "check_minutes": 1})
    drain()
    subscribers.update(caller=world.owner, subscriber=world.reader(1), fields={"plan": "gold"})
    later(61_000)
    drain()
    assert [told.run.email for told in world.told(automation)] == ["reader1@friends.test"]


def test_branches_fields_tags_and_lists() -> None:
    world = World(2)
    other = lists.add(caller=world.owner, name="Other")
    automation = world.add(
        {
            "type": "branch",
            "if": {"field": "n", "value": 0},
            "then": [{"type": "add_tag", "tag": "first"}, {"type": "set_field", "field": "seen", "value": True}],
            "else": [{"type": "subscribe", "list_id": str(other.id)}, {"type": "unsubscribe"}],
        },
        {"type": "remove_field", "field": "first"},
    )
    for n in range(2):
        world.trigger(automation, f"reader{n}@friends.test")
    drain()
    zero, one = world.reader(0), world.reader(1)
    assert zero.fields == {"n": 0, "tags": ["first"], "seen": True}
    assert (one.fields, one.status) == ({"n": 1}, SubscriberStatus.UNSUBSCRIBED)
    assert subscribers.find(caller=world.owner, list_id=other.id, email="reader1@friends.test").status == 1
    by_email = {told.run.email: [one.outcome for one in told.outcomes] for told in world.told(automation)}
    assert by_email["reader0@friends.test"] == ["then", "added", "set", "removed"]
    assert by_email["reader1@friends.test"] == ["else", "subscribed", "unsubscribed", "removed"]


def test_a_branch_asks_what_came_of_what_was_sent(later: Any) -> None:
    world = World(2)
    automation = world.add(
        SEND,
        {"type": "wait", "days": 1},
        {"type": "branch", "if": {"sent": "opened"}, "then": [{"type": "exit"}], "else": []},
        SEND | {"subject": "Again"},
    )
    for n in range(2):
        world.trigger(automation, f"reader{n}@friends.test")
    drain()
    row = models.Delivery.get(models.Delivery.rcpt == "reader0@friends.test")
    fact = ledger.Fact(
        world.owner.account_id, world.who.domain.id, EventKind.OPENED, clock.now_ms(), row.message_id, row.id, row.rcpt
    )
    db.in_transaction(lambda tx: ledger.record(tx, [fact]))
    later(clock.DAY_MS + 1)
    drain()
    assert Counter(_sent()) == {"reader0@friends.test": 1, "reader1@friends.test": 2}
    assert {told.run.state for told in world.told(automation)} == {"completed"}


def test_a_webhook_is_called_again_until_it_answers(later: Any) -> None:
    world = World(1)
    with HttpSink() as sink:
        sink.script("/hook", 500, 200)
        automation = world.add({"type": "webhook", "url": f"{sink.url}/hook"}, {"type": "notice", "name": "after"})
        world.trigger(automation)
        drain()
        later(61_000)
        drain()
        calls = sink.requests
    assert world.outcomes(automation) == [("webhook", "called"), ("notice", "told")]
    assert (len(calls), len({call.headers["webhook-id"] for call in calls})) == (2, 1)
    assert orjson.loads(calls[0].body)["data"]["subscriber"]["email"] == "reader0@friends.test"


def test_a_crash_between_accept_and_step_sends_once(monkeypatch: pytest.MonkeyPatch, later: Any) -> None:
    world = World(1)
    automation = world.add(SEND, SEND | {"subject": "Second"})
    world.trigger(automation)
    write = automation_steps._write
    calls = Counter[str]()

    def dies(*args: Any) -> Any:
        result = write(*args)
        calls["write"] += 1
        if calls["write"] <= 3:  # after its statements, before the commit
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(automation_steps, "_write", dies)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            drain()
        assert drain() == 0  # the lease of who died holds
        later(automation_work.LEASE_MS + 1)
    drain()
    assert [row.subject for row in models.Message.select().order_by(models.Message.id)] == ["Hi R0", "Second"]
    assert world.told(automation)[0].run.state == "completed"


def test_a_worker_that_is_killed_leaves_nobody_out_and_writes_to_nobody_twice(later: Any) -> None:
    world = World(150)
    automation = world.add(SEND, {"type": "add_tag", "tag": "seen"}, trigger={"type": "event", "event": "go"})
    for n in range(150):
        automation_runs.announce(caller=world.owner, event="go", subscriber=f"reader{n}@friends.test")
    kills = 0
    for wanted in (10, 70):
        db.close()  # a connection belongs to one process
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                automation_work.drain(60)
            os._exit(0)
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if models.AutomationStep.select().count() >= wanted:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                kills += 1
                break
        later(automation_work.LEASE_MS + 1)
    drain()
    assert kills
    assert Counter(_sent()) == Counter(f"reader{n}@friends.test" for n in range(150))
    assert len(world.told(automation, state="completed", count=200)) == 150
    steps = Counter((row.run_id, row.path) for row in models.AutomationStep.select())
    assert (len(steps), set(steps.values())) == (300, {1})


def test_workers_at_once_do_each_step_once() -> None:
    world = World(60)
    automation = world.add(SEND, {"type": "add_tag", "tag": "seen"}, trigger={"type": "event", "event": "go"})
    for n in range(60):
        automation_runs.announce(caller=world.owner, event="go", subscriber=f"reader{n}@friends.test")

    def work() -> None:
        automation_work.drain(20)
        db.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drain()
    assert Counter(_sent()) == Counter(f"reader{n}@friends.test" for n in range(60))
    assert len(world.told(automation, state="completed", count=100)) == 60
    assert models.AutomationStep.select().count() == 120


def test_a_paused_one_sends_nothing_and_goes_on_when_resumed(later: Any) -> None:
    world = World(1)
    automation = world.add({"type": "wait", "hours": 1}, SEND)
    world.trigger(automation)
    drain()
    paused = automations.pause(caller=world.owner, automation=automation)
    assert (paused.state, models.Automation.get().due_ms) == ("paused", None)
    with pytest.raises(errors.AutomationPaused):
        world.trigger(paused, "else@friends.test")
    later(2 * clock.HOUR_MS)
    assert drain() == 0
    assert _sent() == []
    automations.resume(caller=world.owner, automation=paused)
    drain()
    assert _sent() == ["reader0@friends.test"]


def test_pausing_holds_a_step_that_is_just_being_done(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    automation = world.add()
    world.trigger(automation)
    ready = automation_steps.messages.make_ready

    def paused_meanwhile(*args: Any) -> Any:
        made = ready(*args)
        automations.pause(caller=world.owner, automation=automation)
        return made

    monkeypatch.setattr(automation_steps.messages, "make_ready", paused_meanwhile)
    drain()
    assert (_sent(), world.told(automation)[0].run.step) == ([], 0)
    monkeypatch.undo()
    automations.resume(caller=world.owner, automation=automation)
    drain()
    assert _sent() == ["reader0@friends.test"]


def test_refusals_of_a_send_are_outcomes_or_waits(later: Any) -> None:
    world = World(3)
    automation = world.add(SEND, {"type": "notice", "name": "on"})
    subscribers.unsubscribe(caller=world.owner, subscriber=world.reader(0))
    plan = models.Plan.create(name="Small", emails_day=1)
    try:
        for n in range(3):
            world.trigger(automation, f"reader{n}@friends.test")
        models.Account.update(plan_id=plan.id).execute()
        identity.forget()
        drain()
        told = {one.run.email.partition("@")[0]: one for one in world.told(automation)}
        assert [one.outcome for one in told["reader0"].outcomes] == ["skipped", "told"]
        waits = [one for one in told.values() if one.run.state == "running"]
        assert len(waits) == 1 and "limit" in waits[0].run.cause
        later(clock.DAY_MS)
        identity.forget()
        drain()
        assert _sent() == ["reader1@friends.test", "reader2@friends.test"]
    finally:
        models.Plan.delete().where(models.Plan.id == plan.id).execute()


def test_a_domain_that_may_not_send_now_is_waited_for(later: Any) -> None:
    world = World(1)
    automation = world.add()
    models.SenderDomain.update(status="disabled").execute()
    senders.forget()
    world.trigger(automation)
    drain()
    assert world.told(automation)[0].run.cause == "Domain is not activated"
    models.SenderDomain.update(status="enabled").execute()
    senders.forget()
    later(16 * 60_000)
    drain()
    assert _sent() == ["reader0@friends.test"]


def test_a_run_is_canceled_once_and_fails_alone() -> None:
    world = World(2)
    automation = world.add({"type": "wait", "days": 1}, SEND)
    run = world.trigger(automation)
    canceled = automation_runs.cancel(caller=world.owner, automation=automation, run_id=run.public_id)
    assert canceled.run.state == "canceled"
    with pytest.raises(errors.RunEnded):
        automation_runs.cancel(caller=world.owner, automation=automation, run_id=run.public_id)
    broken = world.add(SEND | {"text": "{{ 1 | divided_by: n }}"})
    for n in range(2):
        world.trigger(broken, f"reader{n}@friends.test")
    drain()
    states = {told.run.email: told.run.state for told in world.told(broken)}
    assert states == {"reader0@friends.test": "failed", "reader1@friends.test": "completed"}


def test_what_is_broken_keeps_nobody_else(monkeypatch: pytest.MonkeyPatch, later: Any) -> None:
    world = World(3)
    automation = world.add(trigger={"type": "event", "event": "go"})
    start, advance = automation_runs.start, automation_steps.advance

    def starts(tx: Any, one: Any, people: Any, **more: Any) -> Any:
        if any(person.email.startswith("reader0") for person, _ in people):
            raise ZeroDivisionError
        return start(tx, one, people, **more)

    def advances(one: Any, program: Any, run: Any) -> None:
        if run.email.startswith("reader1"):
            raise ZeroDivisionError
        advance(one, program, run)

    monkeypatch.setattr(automation_runs, "start", starts)
    monkeypatch.setattr(automation_steps, "advance", advances)
    for n in range(3):
        automation_runs.announce(caller=world.owner, event="go", subscriber=f"reader{n}@friends.test")
    drain()
    assert _sent() == ["reader2@friends.test"]
    for _ in range(5):
        later(3 * clock.HOUR_MS)
        drain()
    states = {told.run.email: (told.run.state, told.run.cause) for told in world.told(automation)}
    assert states == {
        "reader1@friends.test": ("failed", "internal error: ZeroDivisionError"),
        "reader2@friends.test": ("completed", ""),
    }


def test_runs_go_on_with_the_actions_they_began_with(later: Any) -> None:
    world = World(2)
    automation = world.add({"type": "wait", "hours": 1}, SEND)
    world.trigger(automation)
    drain()
    changed = automations.update(
        caller=world.owner, automation=automation, given={"actions": [SEND | {"subject": "New"}], "name": "Other"}
    )
    assert (changed.version, changed.name) == (2, "Other")
    world.trigger(changed, "reader1@friends.test")
    later(2 * clock.HOUR_MS)
    drain()
    assert sorted(row.subject for row in models.Message.select()) == ["Hi R0", "New"]


def test_a_deleted_one_ends_and_its_rows_go_but_not_its_number() -> None:
    world = World(1)
    automation = world.add({"type": "wait", "hours": 1})
    world.trigger(automation)
    drain()
    automations.delete(caller=world.owner, automation=automation)
    housekeeping.sweep(5)
    assert models.AutomationRun.select().count() == models.AutomationVersion.select().count() == 0
    with pytest.raises(errors.AutomationNotFound):
        automations.find(caller=world.owner, automation_id=automation.public_id)
    assert world.add().id != automation.id


def test_outcomes_go_after_long_and_runs_stay(later: Any) -> None:
    world = World(1)
    automation = world.add()
    world.trigger(automation)
    drain()
    later(300 * clock.DAY_MS)
    assert automation_work.collect() == (0, False)
    later(101 * clock.DAY_MS)
    assert automation_work.collect() == (1, False)
    (told,) = world.told(automation)
    assert (told.outcomes, told.run.state) == ([], "completed")


def test_an_erased_address_leaves_no_run() -> None:
    world = World(2)
    automation = world.add()
    for n in range(2):
        world.trigger(automation, f"reader{n}@friends.test")
    drain()
    erasures.begin(caller=world.owner, address="reader0@friends.test")
    assert [told.run.email for told in world.told(automation)] == ["reader1@friends.test"]
    assert not any("reader0" in row.data for row in models.Notice.select())


TIMED = {"type": "time", "list_id": "{list}"}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"),
        ({"trigger": None}, "trigger.type"),
        ({"trigger": {"type": "moon"}}, "trigger.type"),
        ({"trigger": {"type": "event"}}, "trigger.event"),
        ({"trigger": {"type": "event", "event": "x", "list_id": "9999"}}, "trigger.list_id"),
        ({"trigger": {"type": "event", "event": "x", "campaign": "cmp_1"}}, "trigger.campaign"),
        ({"trigger": {"type": "time", "every": "day"}}, "trigger.list_id"),
        ({"trigger": {"type": "time", "list_id": "{list}"}}, "trigger.at"),
        ({"trigger": TIMED | {"at": "2020-01-01T00:00:00Z"}}, "trigger.at"),
        ({"trigger": TIMED | {"cron": "0 9 31 2 *"}}, "trigger.cron"),
        ({"trigger": TIMED | {"cron": "61 9 * * *"}}, "trigger"),
        ({"trigger": TIMED | {"every": "week", "weekday": "someday"}}, "trigger"),
        ({"trigger": TIMED | {"field": "born", "offset_days": 999}}, "trigger.offset_days"),
        ({"trigger": {"type": "condition", "list_id": "{list}"}}, "trigger.if"),
        ({"trigger": TIMED | {"type": "condition", "if": {"field": "x", "op": "like"}}}, "trigger.if.op"),
        ({"actions": []}, "actions"),
        ({"actions": "send"}, "actions"),
        ({"actions": [{"type": "fly"}]}, "actions.0.type"),
        ({"actions": [{"type": ["send"]}]}, "actions.0.type"),
        ({"actions": [{"type": {"send": 1}}]}, "actions.0.type"),
        ({"actions": [{"type": "send", "from": "a@shop.test"}]}, "actions.0.subject"),
        ({"actions": [SEND | {"text": "{% for %}"}]}, "actions.0.text"),
        ({"actions": [{"type": "wait"}]}, "actions.0.duration"),
        ({"actions": [{"type": "wait", "duration": "9999d"}]}, "actions.0.duration"),
        ({"actions": [{"type": "branch", "if": {"sent": "eaten"}, "then": []}]}, "actions.0.if.sent"),
        ({"actions": [{"type": "branch", "then": [{"type": "wait", "duration": "x"}]}]}, "actions.0.then.0.duration"),
        ({"actions": [{"type": "webhook", "url": "http://10.0.0.1/"}]}, "actions.0.url"),
        ({"actions": [{"type": "subscribe", "list_id": "9999"}]}, "actions.0.list_id"),
        ({"actions": [{"type": "set_field", "field": "x"}]}, "actions.0.value"),
        ({"actions": [{"type": "exit"}] * 101}, "actions"),
        ({"reentry": "sometimes"}, "reentry"),
        ({"reentry": {"after_days": 0}}, "reentry"),
        ({"status": "asleep"}, "status"),
    ],
)  # fmt: skip
def test_bad_input_names_its_field_and_stores_nothing(changed: dict[str, Any], field: str) -> None:
    world = World(1)
    given = {"name": "W", "trigger": {"type": "event", "event": "go"}, "actions": [SEND]} | changed
    if isinstance(given["trigger"], dict) and given["trigger"].get("list_id") == "{list}":
        given["trigger"] = given["trigger"] | {"list_id": str(world.news.id)}
    with pytest.raises(errors.InvalidFields) as refused:
        automations.add(caller=world.owner, given=given)
    assert field in [one["field"] for one in refused.value.data["fields"]]  # type: ignore[attr-defined]
    assert models.Automation.select().count() == models.AutomationVersion.select().count() == 0


def test_strangers_find_nothing() -> None:
    world = World(1)
    automation = world.add()
    run = world.trigger(automation)
    other = cast.sender("stranger", "other.test").owner
    for caller in (other, replace(world.owner, domain_id=987_654)):
        with pytest.raises(errors.AutomationNotFound):
            automations.find(caller=caller, automation_id=automation.public_id)
        assert automations.list_(caller=caller) == []
    theirs = automations.add(
        caller=other, given={"name": "T", "trigger": {"type": "event", "event": "go"}, "actions": [{"type": "exit"}]}
    )
    with pytest.raises(errors.RunNotFound):
        automation_runs.find(caller=other, automation=theirs, run_id=run.public_id)
    sub = ids.numbered("sub", world.reader().created_ms, world.reader().id)
    with pytest.raises(errors.SubscriberNotFound):
        automation_runs.trigger(caller=other, automation=theirs, subscriber=sub)
    assert (
        automation_runs.trigger(caller=world.owner, automation=world.add(), subscriber={"id": sub}).email == run.email
    )


def test_other_spellings_mean_the_same() -> None:
    world = World()
    automation = world.add(
        {"type": "delay", "duration": "1d"}, SEND | {"type": "send_email"},
        trigger={"type": "event", "event": "Subscriber.Created"},
    )  # fmt: skip
    assert automation.trigger["event"] == automation_signals.ADDED
    assert [step["do"] for step in automations.program_of(automation.id, 1)] == ["wait", "send"]


def test_durations() -> None:
    known = {"3d": 259_200, "90 minutes": 5400, "2w": 1_209_600, "45s": 45}
    for value, seconds in (*known.items(), (60, 60), ({"days": 1, "hours": 2}, 93_600)):
        assert automation_actions.duration_s(value) == seconds
    for value in ("soon", "3 moons", True, None, {}, {"moons": 1}, 1.5, "-1d"):
        assert automation_actions.duration_s(value) is None
