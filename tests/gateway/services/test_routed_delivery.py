"""Mail over an account's own sending servers: real relays on loopback, shares, failover, quotas, doubt."""

from __future__ import annotations

import email
import email.policy
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

import models
from gateway import clock
from gateway.dns import resolver as dns_resolver
from gateway.mail.draft import Mailbox
from gateway.services import (
    claiming,
    deliveries,
    dry_runs,
    expansions,
    explanations,
    journal,
    lanes,
    lists,
    messages,
    routing_rules,
    routing_tables,
    sending_servers,
    server_checks,
    server_health,
    server_usage,
    shaping,
    subscribers,
)
from gateway.services.sending_servers import SendingServer
from models import database as db
from models.vocabulary import DeliveryState
from tests import cast
from tests.conftest import ROOT, use_settings
from tests.peers.dns_server import DnsServer
from tests.peers.http_sink import Answer, HttpSink
from tests.peers.smtp_sink import HANG, SmtpSink, say


class World:
    """A sender, and relays of which each is a sending server of the account."""

    def __init__(self, who: cast.Sender) -> None:
        self.who = who
        self.sinks: dict[str, SmtpSink] = {}
        self.servers: dict[str, SendingServer] = {}

    def relay(self, name: str, *, login: bool = False, **changed: Any) -> SmtpSink:
        sink = self.sinks[name] = SmtpSink(users={"me": "secret"} if login else None)
        credentials = {"username": "me", "password": "secret"} if login else {}
        config = {"host": "127.0.0.1", "port": sink.port} | changed.pop("config", {})
        self.servers[name] = sending_servers.create(
            caller=self.who.owner, name=name, kind="smtp", config=config, credentials=credentials, **changed
        )
        return sink

    def rule(self, *targets: Any, **match: Any) -> routing_rules.RoutingRule:
        named = [target if isinstance(target, dict) else {"server": target} for target in targets]
        return routing_rules.create(
            caller=self.who.owner, name=f"rule {len(match)}", targets=named, match=match, priority=10 - len(match)
        )

    def send(self, count: int = 1, **changed: Any) -> list[str]:
        return [messages.accept(self.who.caller, cast.draft(**changed)).message_id for _ in range(count)]

    def change(self, name: str, **changes: Any) -> None:
        server = self.servers[name]
        sending_servers.update(caller=self.who.owner, server_id=server.public_id, changes=changes)

    def explain(self, message_id: str) -> explanations.Explanation:
        return explanations.explain(caller=self.who.owner, message_id=message_id)


@pytest.fixture
def world(store: str, tmp_path: Path) -> Iterator[World]:
    use_settings(tmp_path, DELIVERY="capture", DELIVERY_ALLOW="127.0.0.0/8", DELIVER_CONNECTIONS="2")
    made = World(cast.sender())
    yield made
    for sink in made.sinks.values():
        sink.close()
    deliveries.close()


_SOON = (
    "SELECT 1 FROM delivery d JOIN lane l ON l.id = d.lane_id WHERE d.due_ms <= ? AND l.paused_until_ms <= ? LIMIT 1"
)


def _drain() -> None:
    """Deliver all that is due, what comes back to be sent over another server included, and end the engine."""
    soon = True
    while soon:
        while deliveries.drain(0.1):
            assert deliveries.engine().wait_idle(20)
        # To a server that has not answered yet only some go, the others a moment later.
        now = clock.now_ms()
        soon = bool(db.rows(_SOON, (now + 600, now)))
    deliveries.close()


def _states() -> dict[DeliveryState, int]:
    return {DeliveryState(state): int(n) for state, n in db.rows("SELECT state, COUNT(*) FROM delivery GROUP BY state")}


def _attempts() -> list[tuple[str, str]]:
    return [(row.transport, row.outcome) for row in models.Attempt.select().order_by(models.Attempt.id)]


def test_without_servers_mail_goes_the_way_of_the_installation(world: World) -> None:
    (message_id,) = world.send()
    _drain()
    assert models.CapturedMail.select().count() == 1
    route = next(gate for gate in world.explain(message_id).gates if gate.gate == "route")
    assert (route.decision, route.rule) == ("capture", "COMMANDPOST_DELIVERY")


def test_mail_to_the_simulator_leaves_over_no_server(world: World) -> None:
    relay = world.relay("relay")
    world.rule("relay")
    world.send(to="bounce@simulator.test")
    world.send(to="delivered@simulator.test", server="relay")
    (mixed,) = world.send(to=[Mailbox("bounce+2@simulator.test"), Mailbox("jane@friends.test")])
    ways = next(gate for gate in world.explain(mixed).gates if gate.gate == "route").details["ways"]
    assert [(way["decision"], way["rule"]) for way in ways] == [("installation", "simulator"), ("server", "rule 0")]
    people = lists.add(caller=world.who.owner, name="People")
    for address in ("bounce+3@simulator.test", "joan@friends.test"):
        subscribers.add(caller=world.who.owner, list_id=people.id, email=address)
    world.send(to=[], list_id=people.id)
    expansions.drain(5)
    _drain()
    assert sorted(one.rcpts[0] for one in relay.messages) == ["jane@friends.test", "joan@friends.test"]
    assert _states() == {DeliveryState.DELIVERED: 3, DeliveryState.BOUNCED: 3}


def test_weights_share_the_mail_of_equals(world: World) -> None:
    first, second = world.relay("first"), world.relay("second")
    world.rule({"server": "first", "weight": 70}, {"server": "second", "weight": 30})
    world.send(300)
    _drain()
    assert first.count + second.count == 300
    # Seven standard deviations of a share of 70 % in 300.
    assert 154 <= first.count <= 266
    assert _states() == {DeliveryState.DELIVERED: 300}


def test_the_lower_priority_goes_first(world: World) -> None:
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    world.send(20)
    _drain()
    assert (first.count, second.count) == (20, 0)


def test_the_message_arrives_whole_and_logged_in(world: World) -> None:
    sink = world.relay("mine", login=True)
    (message_id,) = world.send()
    _drain()
    (taken,) = sink.wait_for(1)
    assert taken.user == "me"
    assert (
        email.message_from_bytes(taken.data, policy=email.policy.default)["Message-ID"] == f"<{message_id}@shop.test>"
    )
    (attempt,) = models.Attempt.select()
    assert attempt.transport == f"smtp:{world.servers['mine'].id}"
    verdict = orjson.loads(attempt.verdicts)[0]
    assert (verdict["gate"], verdict["server"], verdict["rule"], verdict["host"]) == (
        "route", "mine", "no_rule", "127.0.0.1",
    )  # fmt: skip


def test_a_rule_by_recipient_domain_splits_one_message(world: World) -> None:
    shops, others = world.relay("shops"), world.relay("others")
    world.rule("shops", recipient_domain="*.shops.test")
    world.rule("others")
    to = [Mailbox("a@one.shops.test"), Mailbox("b@two.shops.test"), Mailbox("c@friends.test")]
    (message_id,) = world.send(to=to)
    route = next(gate for gate in world.explain(message_id).gates if gate.gate == "route")
    assert route.decision == "by_recipient"
    assert [(way["server"], way["recipients"]) for way in route.details["ways"]] == [("shops", 2), ("others", 1)]
    _drain()
    assert sorted(rcpt for one in shops.messages for rcpt in one.rcpts) == ["a@one.shops.test", "b@two.shops.test"]
    assert [rcpt for one in others.messages for rcpt in one.rcpts] == ["c@friends.test"]


def test_a_dry_run_says_the_same(world: World) -> None:
    world.relay("shops")
    world.relay("off", priority=1, status="paused")
    world.rule({"server": "off", "priority": 1}, "shops", recipient_domain="shops.test")
    to = [Mailbox("a@shops.test"), Mailbox("c@friends.test")]
    found = dry_runs.run(caller=world.who.caller, draft=cast.draft(to=to))
    route = next(one for one in found.verdicts if one["gate"] == "route")
    assert [(way["rule"], way["server"], way["passed_over"]) for way in route["ways"]] == [
        ("rule 1", "shops", ["off: it is paused"]), ("no_rule", "shops", ["off: it is paused"]),
    ]  # fmt: skip
    shops = world.servers["shops"]
    assert found.transport == f"smtp:{shops.id}"
    assert [one.hosts for one in found.destinations] == [[f"127.0.0.1:{world.sinks['shops'].port}"]] * 2
    assert models.Message.select().count() == 0


def test_each_subscriber_of_a_list_goes_its_own_way(world: World) -> None:
    shops, others = world.relay("shops"), world.relay("others")
    list_ = lists.add(caller=world.who.owner, name="Friends")
    for address in ("a@shops.test", "b@shops.test", "c@friends.test"):
        subscribers.add(caller=world.who.owner, list_id=list_.id, email=address)
    world.rule("shops", recipient_domain="shops.test", purpose="marketing", list=list_.id)
    world.rule("others")
    (message_id,) = world.send(to=[], list_id=list_.id)
    expansions.drain(5)
    _drain()
    assert (shops.count, others.count) == (2, 1)
    route = next(gate for gate in world.explain(message_id).gates if gate.gate == "route")
    assert (route.decision, route.rule) == ("for_each", "list")


def _a_dead_peer(sink: SmtpSink) -> None:
    sink.stop()


def _a_peer_that_goes_down(sink: SmtpSink) -> None:
    sink.always("banner", "421 4.3.2 going down")


def _a_peer_that_refuses_us(sink: SmtpSink) -> None:
    sink.always("auth", "535 5.7.8 wrong")


def _a_peer_without_our_account(sink: SmtpSink) -> None:
    sink.always("mail", "550 5.7.1 your account has been suspended")


def _a_peer_that_has_enough(sink: SmtpSink) -> None:
    sink.always("end", "454 Throttling failure: Maximum sending rate exceeded.")


@pytest.mark.parametrize(
    "spoil",
    [
        _a_dead_peer, _a_peer_that_goes_down, _a_peer_that_refuses_us, _a_peer_without_our_account,
        _a_peer_that_has_enough,
    ],
)  # fmt: skip
def test_what_is_meant_for_us_moves_the_message_on_at_once(world: World, spoil: Any) -> None:
    first, second = world.relay("first", login=True, priority=1), world.relay("second", priority=2)
    spoil(first)
    (message_id,) = world.send()
    _drain()
    assert second.count == 1
    assert _states() == {DeliveryState.DELIVERED: 1}
    assert [who for who, _ in _attempts()] == [f"smtp:{world.servers[name].id}" for name in ("first", "second")]
    told = world.explain(message_id)
    assert "arrived at attempt 2" in told.text
    assert "over second" in told.text
    deferred = [event for event in told.fates[0].events if event.data.get("failover")]
    assert [event.data["failover"] for event in deferred] == ["second"]


@pytest.mark.parametrize(
    ("answer", "moved"),
    [
        (Answer(401, b"Forbidden"), True),
        (Answer(429, b'{"message": "too many"}'), True),
        (Answer(503), True),
        (Answer(end="close"), False),
        (Answer(200, b'{"id": "<1@mg>", "message": "Queued"}'), False),
    ],
)
def test_an_http_provider_that_cannot_hands_over_to_a_relay(world: World, answer: Answer, moved: bool) -> None:
    with HttpSink() as api:
        api.always("/v3/mg.shop.test/messages.mime", answer)
        world.servers["mg"] = sending_servers.create(
            caller=world.who.owner, name="mg", kind="mailgun", priority=1, credentials={"api_key": "k"},
            config={"domain": "mg.shop.test", "endpoint": api.url},
        )  # fmt: skip
        relay = world.relay("relay", priority=2)
        world.send()
        _drain()
        assert len(api.requests) == 1
    assert relay.count == moved
    ends = ["deferred", "delivered"] if moved else ["in_doubt" if answer.end else "delivered"]
    assert [outcome for _, outcome in _attempts()] == ends
    assert _attempts()[0][0] == f"mailgun:{world.servers['mg'].id}"


def test_a_server_that_asks_for_time_gets_it(world: World) -> None:
    with HttpSink() as api:
        api.always("/v3/mg.shop.test/messages.mime", Answer(429, headers={"Retry-After": "120"}))
        sending_servers.create(
            caller=world.who.owner, name="mg", kind="mailgun", priority=1, credentials={"api_key": "k"},
            config={"domain": "mg.shop.test", "endpoint": api.url, "connections": 1},
        )  # fmt: skip
        relay = world.relay("relay", priority=2)
        before = clock.now_ms()
        world.send(10)
        _drain()
        assert len(api.requests) == 1
    assert relay.count == 10
    (limit,) = shaping.server_pauses()
    assert limit.ends_ms is not None and before + 115_000 < limit.ends_ms < before + 140_000
    assert "429" in limit.cause


@pytest.mark.parametrize("reply", ["550 5.1.1 no such user", "450 4.2.1 greylisted, try again in 5 minutes"])
def test_what_is_said_of_the_recipient_does_not(world: World, reply: str) -> None:
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    first.refuse("jane@friends.test", reply)
    world.send()
    _drain()
    assert second.count == 0
    assert len(_attempts()) == 1
    state = DeliveryState.BOUNCED if reply.startswith("5") else DeliveryState.DEFERRED
    assert _states() == {state: 1}


def test_when_all_fail_the_schedule_holds_and_begins_with_the_first(world: World) -> None:
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    first.stop()
    second.stop()
    before = clock.now_ms()
    world.send()
    _drain()
    row = models.Delivery.get()
    assert (row.state, row.attempts) == (DeliveryState.DEFERRED, 2)
    assert before + 40_000 <= row.due_ms <= clock.now_ms() + 80_000
    first.start()
    models.Delivery.update(due_ms=clock.now_ms()).execute()
    _drain()
    assert (first.count, second.count) == (1, 0)


@pytest.mark.parametrize("silence", ["closes", "hangs"])
def test_silence_after_the_message_is_doubt_and_never_moves_it(world: World, silence: str) -> None:
    first = world.relay("first", priority=1, config={"timeout": 1})
    second = world.relay("second", priority=2)
    first.script("end", HANG if silence == "hangs" else say("", end="close"))
    (message_id,) = world.send()
    _drain()
    assert [outcome for _, outcome in _attempts()] == ["in_doubt"]
    assert second.count == 0
    # Nor later: the next attempt is the same server's, although another one could take it.
    models.Delivery.update(due_ms=clock.now_ms()).execute()
    first.always("banner", "421 4.3.2 going down")
    _drain()
    assert second.count == 0
    first.behave()
    models.Delivery.update(due_ms=clock.now_ms()).execute()
    _drain()
    assert first.count == 1
    assert message_id.encode() in first.messages[-1].data


def test_what_a_dead_process_was_sending_stays_with_its_server(world: World, tmp_path: Path) -> None:
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    world.send()
    dead = journal.Journal(tmp_path / "journal")
    (claimed,) = lanes.claim(lanes.Rounds(), dead.claimed)
    dead.sending((claimed.id, claimed.fence))
    dead.close()
    first.always("banner", "421 4.3.2 going down")
    for _ in range(2):
        _drain()
        models.Delivery.update(due_ms=clock.now_ms()).execute()
    assert [outcome for _, outcome in _attempts()] == ["in_doubt", "deferred"]
    assert second.count == 0
    first.behave()
    _drain()
    assert first.count == 1


def test_whose_lease_ran_out_stays_with_its_server(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "TAKE_OVER_AFTER_S", 0.0)
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    world.send()
    lanes.claim(lanes.Rounds())  # a host that was lost, journal and all
    models.Delivery.update(due_ms=clock.now_ms()).execute()
    first.always("banner", "421 4.3.2 going down")
    _drain()
    assert second.count == 0
    assert [outcome for _, outcome in _attempts()] == ["deferred"]
    first.behave()
    models.Delivery.update(due_ms=clock.now_ms()).execute()
    _drain()
    assert (first.count, second.count) == (1, 0)


def test_a_campaign_that_is_held_is_held_on_its_next_server(world: World) -> None:
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    world.send(own_lane=7, origin="cmp:7")
    first.always("banner", say("421 4.3.2 going down", pause=0.5))
    owner = {"account_id": world.who.owner.account_id, "domain_id": world.who.domain.id, "own": 7}
    worker = threading.Thread(target=lambda: (deliveries.drain(0.3), db.close()))
    worker.start()
    while not first.connections:  # it is being tried
        time.sleep(0.005)
    db.in_transaction(lambda tx: lanes.hold(tx, **owner, cause="paused"))
    worker.join()
    assert deliveries.engine().wait_idle(20)
    _drain()
    assert [outcome for _, outcome in _attempts()] == ["deferred"]
    assert second.count == 0
    db.in_transaction(lambda tx: lanes.let_go(tx, **owner))
    _drain()
    assert second.count == 1


def test_a_quota_is_kept_and_what_is_beyond_it_waits_and_says_so(world: World) -> None:
    sink = world.relay("small", quotas={"per_day": 7})
    world.send(20)
    _drain()
    assert sink.count == 7
    assert _states() == {DeliveryState.DELIVERED: 7, DeliveryState.QUEUED: 13}
    midnight = server_usage.start_ms(86_400, clock.now_ms()) + 86_400_000
    waiting = models.Delivery.select().where(models.Delivery.state == DeliveryState.QUEUED).first()
    verdict = orjson.loads(waiting.waiting)
    assert (verdict["gate"], verdict["until_ms"]) == ("route", midnight)
    uuid = str(models.Message.get(models.Message.id == waiting.message_id).uuid)
    text = world.explain(uuid).text
    assert "held back until" in text
    assert "small: it has had its 7 messages of this day" in text
    # Looked at again within the hour: somebody may have made room.
    due = [row.due_ms for row in models.Delivery.select().where(models.Delivery.state == DeliveryState.QUEUED)]
    assert max(due) <= clock.now_ms() + 3_600_000
    # More room is used at once.
    world.change("small", quotas={"per_day": 9})
    _drain()
    assert sink.count == 9
    assert sending_servers.used(caller=world.who.owner, servers=list(world.servers.values()))[
        world.servers["small"].id
    ]["per_day"] == 9  # fmt: skip


def test_a_full_server_leaves_the_rest_to_the_next(world: World) -> None:
    first, second = world.relay("first", priority=1, quotas={"per_day": 5}), world.relay("second", priority=2)
    world.send(12)
    _drain()
    assert (first.count, second.count) == (5, 7)
    passed = [
        verdict["passed_over"]
        for row in models.Attempt.select()
        for verdict in orjson.loads(row.verdicts)
        if verdict.get("passed_over")
    ]
    assert passed == [["first: it has had its 5 messages of this day"]] * 7


_WORKER = """
import pathlib, sys, time
from cli import opening
from gateway.services import deliveries
with opening.store():
    print("ready", flush=True)
    while not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.001)
    claimed = 0
    while count := deliveries.drain(0.3):
        claimed += count
        assert deliveries.engine().wait_idle(20)
    deliveries.close()
    print(claimed)
"""


def test_quotas_hold_over_two_processes(world: World, store_url: str, tmp_path: Path) -> None:
    sink = world.relay("small", quotas={"per_day": 90, "per_second": 60})
    world.send(200)
    # Of mail that is due in a second of its own, one second's quota alone would be the limit.
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "COMMANDPOST_DATA": str(tmp_path), "COMMANDPOST_DATABASE_URL": store_url,
        "COMMANDPOST_SECRET": "a-secret-for-tests", "COMMANDPOST_DELIVERY": "capture",
        "COMMANDPOST_DELIVERY_ALLOW": "127.0.0.0/8", "COMMANDPOST_HOSTNAME": "mx.gateway.test",
    }  # fmt: skip
    go = tmp_path / "go"
    command = [sys.executable, "-c", _WORKER, str(go)]
    workers = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        go.touch()
        claimed = [int(worker.communicate(timeout=60)[0].split()[-1]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert min(claimed) > 0
    deadline = time.monotonic() + 20
    while sink.count < 90 and time.monotonic() < deadline:
        _drain()
        time.sleep(0.1)
    _drain()
    assert sink.count == 90
    assert _states() == {DeliveryState.DELIVERED: 90, DeliveryState.QUEUED: 110}
    counted = dict(db.rows("SELECT span, n FROM server_usage"))
    assert counted[86_400] == 90
    assert counted[1] <= 60


def test_a_second_has_its_quota(world: World) -> None:
    sink = world.relay("slow", quotas={"per_second": 5})
    world.send(18)
    end = time.monotonic() + 15
    while sink.count < 18 and time.monotonic() < end:
        deliveries.drain(0.3)
    assert sink.count == 18
    # As it was counted: the sink's own clock may see the end of one second and the beginning of the next together.
    starts = sorted(row.started_ms // 1000 for row in models.Attempt.select())
    assert len(set(starts)) >= 3
    rows = db.rows("SELECT n FROM server_usage WHERE span = 1")
    assert rows[0][0] <= 5


def test_a_paused_server_is_passed_over_and_alone_it_is_waited_for(world: World) -> None:
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    world.change("first", status="paused")
    (message_id,) = world.send()
    route = next(gate for gate in world.explain(message_id).gates if gate.gate == "route")
    assert (route.decision, route.details["server"]) == ("server", "second")
    assert route.details["passed_over"] == ["first: it is paused"]
    world.change("second", status="paused")
    _drain()
    assert (first.count, second.count) == (0, 0)
    assert "it is paused" in world.explain(message_id).text
    world.change("second", status="active")
    _drain()
    assert second.count == 1


def test_a_run_of_failures_opens_the_breaker_and_a_probe_closes_it(world: World) -> None:
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    first.always("banner", "421 4.3.2 going down")
    world.send(30)
    _drain()
    assert second.count == 30
    (limit,) = shaping.server_pauses()
    assert (limit.scope, limit.target) == ("server", routing_tables.target_of(world.servers["first"].id))
    assert limit.rule == server_health.RULE
    assert "421" in limit.cause
    tried = sum(who == f"smtp:{world.servers['first'].id}" for who, _ in _attempts())
    assert server_health.RUN <= tried < 20
    # While it is open the server is not tried, and acceptance knows it as well.
    routing_tables.forget()
    (message_id,) = world.send()
    route = next(gate for gate in world.explain(message_id).gates if gate.gate == "route")
    assert route.details["server"] == "second"
    assert "going down" in route.details["passed_over"][0]
    _drain()
    assert sum(who == f"smtp:{world.servers['first'].id}" for who, _ in _attempts()) == tried
    first.behave()
    shaping.cancel(caller=None, limit_id=limit.id)
    routing_tables.forget()
    world.send(5)
    _drain()
    assert first.count == 5


def test_an_operator_pauses_a_server_as_any_destination(world: World) -> None:
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    target = routing_tables.target_of(world.servers["first"].id)
    world.send(4)
    limit = shaping.add(caller=None, scope="server", target=target, kind="pause", cause="maintenance")
    _drain()
    assert (first.count, second.count) == (0, 4)
    shaping.cancel(caller=None, limit_id=limit.id)
    routing_tables.forget()
    world.send(4)
    _drain()
    assert (first.count, second.count) == (4, 4)


def test_alone_and_broken_it_is_waited_for(world: World) -> None:
    sink = world.relay("only")
    sink.always("banner", "421 4.3.2 going down")
    ids = world.send(12)
    _drain()
    (limit,) = shaping.server_pauses()
    waiting = [row for row in models.Delivery.select() if row.waiting]
    assert waiting
    assert orjson.loads(waiting[0].waiting)["limit"] == limit.id
    assert any("going down" in world.explain(one).text for one in ids)
    sink.behave()
    shaping.cancel(caller=None, limit_id=limit.id)
    models.Delivery.update(due_ms=clock.now_ms()).where(models.Delivery.due_ms.is_null(False)).execute()
    _drain()
    assert sink.count == 12


def test_what_waits_for_a_deleted_server_goes_over_what_is_left(world: World) -> None:
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    world.send(3)
    sending_servers.delete(caller=world.who.owner, server_id=world.servers["first"].public_id)
    _drain()
    assert (first.count, second.count) == (0, 3)
    world.send(2)
    sending_servers.delete(caller=world.who.owner, server_id=world.servers["second"].public_id)
    _drain()
    assert models.CapturedMail.select().count() == 2


def test_a_changed_server_is_dialled_anew(world: World) -> None:
    first, other = world.relay("first"), SmtpSink()
    with other:
        world.send()
        while deliveries.drain(0.1):
            pass
        assert first.count == 1
        world.change("first", config={"host": "127.0.0.1", "port": other.port})
        deliveries.engine()._transports._servers._stamps.forget()  # as after a second
        world.send()
        while deliveries.drain(0.1):
            pass
        assert other.count == 1


def test_what_another_process_changes_holds_for_the_next_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process knows of the account is from before, as where another one took the request."""
    monkeypatch.setattr(routing_tables, "TRUST_MS", 3_600_000)
    monkeypatch.setattr(routing_tables._tables, "_trust_ms", 3_600_000)
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    world.send()
    monkeypatch.setattr(routing_tables, "forget", lambda: None)
    time.sleep(0.01)
    world.rule("second", tag="now")
    world.send(tags=["now"])
    world.change("first", status="paused")
    time.sleep(0.01)
    (message_id,) = world.send()
    route = next(gate for gate in world.explain(message_id).gates if gate.gate == "route")
    assert route.details["server"] == "second"
    _drain()
    assert (first.count, second.count) == (0, 3)


def test_a_server_that_the_engine_does_not_know_yet_is_new_to_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert routing_tables.of(world.who.owner.account_id) is None
    monkeypatch.setattr(routing_tables._tables, "_trust_ms", 3_600_000)
    with monkeypatch.context() as other_process:
        table = routing_tables.Recent(routing_tables._load, trust_ms=0)
        other_process.setattr(routing_tables, "_tables", table)
        sink = world.relay("mine", quotas={"per_day": 2})
        world.send(3)
    _drain()
    assert sink.count == 2
    assert models.CapturedMail.select().count() == 0


def test_a_request_may_name_its_server_or_a_kind(world: World) -> None:
    first, second = world.relay("first", priority=1), world.relay("second", priority=2)
    world.send(server="second")
    world.send(server=world.servers["second"].public_id)
    second.always("banner", "421 4.3.2 going down")
    world.send(server="second")
    world.send(server="smtp")
    _drain()
    assert second.count == 0 or second.count == 2
    assert first.count == 1


def test_a_server_may_be_the_mail_exchangers_themselves(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns_resolver, "_used", None)
    with DnsServer(ttl=60) as dns, SmtpSink(host="127.0.3.1") as sink:
        use_settings(
            tmp_path, DELIVERY="capture", DNS=dns.address, MX_PORT=str(sink.port), DELIVERY_ALLOW="127.0.0.0/8",
            MTA_STS="0",
        )  # fmt: skip
        for name in ("friends.test", "shop.test"):
            dns.add(name, "MX", "10 mx.friends.test")
        dns.add("mx.friends.test", "A", sink.host)
        server = sending_servers.create(caller=world.who.owner, name="direct", kind="mx", quotas={"per_day": 3})
        assert server_checks.check(caller=world.who.owner, server_id=server.public_id).ok
        world.send(5)
        end = time.monotonic() + 20
        while sink.count < 3 and time.monotonic() < end:
            _drain()
        _drain()
        assert sink.count == 3
        assert {who for who, _ in _attempts()} == {f"mx:{server.id}"}
        assert _states() == {DeliveryState.DELIVERED: 3, DeliveryState.QUEUED: 2}


def test_servers_that_keep_their_connections_delay_nobody_else(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant's relays are no more to be trusted with the threads of a process than strangers' mail exchangers."""
    monkeypatch.setattr(deliveries, "_CLOSE_S", 0.5)  # what hangs would be waited for
    with SmtpSink() as other:
        use_settings(
            tmp_path, DELIVERY=f"smtp://127.0.0.1:{other.port}", DELIVERY_ALLOW="127.0.0.0/8",
            DELIVER_CONNECTIONS="2", DELIVER_THREADS="8",
        )  # fmt: skip
        for number in range(6):
            world.relay(f"tarpit {number}").always("banner", say("220 tarpit", pause=240))
        world.send(300)
        neighbour = cast.sender("neighbour", "neighbour.test")
        worker = threading.Thread(target=lambda: (deliveries.drain(20), db.close()))
        worker.start()
        time.sleep(1.0)
        for _ in range(20):
            messages.accept(neighbour.caller, cast.draft(domain="neighbour.test"))
        engine = deliveries.engine()
        try:
            other.wait_for(20, timeout=15)
        finally:
            deliveries.close()
            for sink in world.sinks.values():
                sink.close()
            worker.join()
            assert engine.wait_idle(20)
        assert _states()[DeliveryState.DELIVERED] == 20


def test_a_test_key_goes_nowhere(world: World) -> None:
    sink = world.relay("mine")
    messages.accept(replace(world.who.caller, live=False), cast.draft())
    _drain()
    assert sink.count == 0
    assert models.CapturedMail.select().count() == 1
