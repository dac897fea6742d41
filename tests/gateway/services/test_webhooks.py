"""Who is told what: scopes, words, payloads, test keys, notices, secrets, disabling, samples, replays, numbers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks

from gateway import clock, errors
from gateway.config import Address
from gateway.dns import resolver as dns
from gateway.services import (
    domains,
    housekeeping,
    ledger,
    notices,
    webhook_calls,
    webhook_changes,
    webhook_log,
    webhook_outbox,
    webhook_replays,
    webhook_samples,
    webhooks,
)
from models import database as db
from models.vocabulary import EventKind, NoticeKind
from models.webhook import Webhook, WebhookAttempt, WebhookDelivery, WebhookReplay
from tests import cast
from tests.conftest import Bells, use_settings
from tests.gateway.services.webhook_world import Hands, happen, hook, message, states, told
from tests.gateway.transports.test_http_call import NOWHERE
from tests.peers.dns_server import DnsServer
from tests.peers.http_sink import Answer, HttpSink

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with HttpSink() as found:
        yield found


@pytest.fixture
def who(store: str, tmp_path: Path) -> cast.Sender:
    use_settings(tmp_path)
    ledger.forget_words()
    webhook_calls.forget()
    return cast.sender()


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    made = Hands()
    monkeypatch.setattr(clock, "now_ms", made.now_ms)
    return made


def native(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.body)
    return found


def second_domain(who: cast.Sender, name: str) -> cast.Sender:
    row = domains.add(caller=who.owner, name=name, trusted=True, dkim=cast.signing_keys())
    return cast.Sender(who.owner, replace(who.owner, domain_id=row.id, surface="octeth"), row)


def account_hook(who: cast.Sender, url: str, event: Any, **more: Any) -> webhooks.Hook:
    return webhooks.add(caller=who.owner, event=event, url=url, surface="native", **more)


def test_a_domain_a_group_and_the_account_hear_of_their_own(who: cast.Sender, sink: HttpSink) -> None:
    others = [second_domain(who, name) for name in ("mall.test", "fair.test")]
    stranger = cast.sender("stranger", "strange.test")
    hook(who, f"{sink.url}/domain", "all")
    account_hook(who, f"{sink.url}/group", "all", domain_ids=[who.domain.id, others[0].domain.id])
    account_hook(who, f"{sink.url}/account", "all")
    for one in (who, *others, stranger):
        happen(one, message(one)[0], EventKind.DELIVERED)
    webhooks.drain(5)
    heard = {
        path: sorted(
            native(request).get("data", {}).get("domain") or told(request)["Domain"]
            for request in sink.requests
            if request.path == path and b"deliver" in request.body
        )
        for path in ("/domain", "/group", "/account")
    }
    assert heard == {
        "/domain": ["shop.test"],
        "/group": ["mall.test", "shop.test"],
        "/account": ["fair.test", "mall.test", "shop.test"],
    }
    found = db.in_transaction(lambda tx: webhook_outbox.matching(tx, {who.domain.id}, {who.owner.account_id}))
    assert [one.domain_ids is None for one in found] == [False, False, True], "the account's hears last"


def test_a_group_is_of_own_domains_only(who: cast.Sender) -> None:
    stranger = cast.sender("stranger", "strange.test")
    with pytest.raises(errors.NotFound):
        account_hook(who, "https://example.com/", "all", domain_ids=[who.domain.id, stranger.domain.id])
    with pytest.raises(errors.Invalid):
        account_hook(who, "https://example.com/", "all", domain_ids=[])
    with pytest.raises(errors.NotFound):
        webhooks.add(caller=who.caller, event="all", url="https://example.com/")
    assert Webhook.select().count() == 0


@pytest.mark.parametrize(
    ("event", "surface", "kinds"),
    [
        ("delivered,opened", "octeth", {EventKind.DELIVERED, EventKind.OPENED}),
        (["bounce", "Click"], "octeth", {EventKind.BOUNCED, EventKind.FAILED, EventKind.CLICKED}),
        ("all", "octeth", set(EventKind) - {EventKind.ACCEPTED, EventKind.QUEUED, EventKind.DEFERRED,
                                            EventKind.SUPPRESSED, EventKind.CANCELED, EventKind.REPLIED}),
        ("all", "native", set(EventKind)),
        (["message.failed", "message.accepted"], "native", {EventKind.FAILED, EventKind.ACCEPTED}),
        ("message.*", "native", set(EventKind)),
        ("message.delivered", "octeth", None),
        ("notice.*", "octeth", None),
        ("message.nonsense", "native", None),
        ("notice.nonsense", "native", None),
        ("", "native", None),
    ],
)  # fmt: skip
def test_words(who: cast.Sender, event: Any, surface: str, kinds: set[EventKind] | None) -> None:
    if kinds is None:
        with pytest.raises(errors.InvalidEvent):
            webhooks.add(caller=who.owner, event=event, url="https://example.com/", surface=surface)
        return
    made = webhooks.add(caller=who.owner, event=event, url="https://example.com/", surface=surface)
    mask = Webhook.get_by_id(made.id).kinds
    assert {kind for kind in EventKind if mask >> kind & 1} == kinds
    assert made.events == (event.split(",") if isinstance(event, str) else event)


def test_the_native_payload(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    made = account_hook(who, sink.url, "message.bounced")
    number, uuid = message(who, tags=["spring"])
    sink.script("/", 500)
    happen(
        who, number, EventKind.BOUNCED, reply="550 5.1.1 no such user", mx="mx.friends.test",
        data={"code": 550, "enhanced": "5.1.1", "reason": "550 5.1.1 no such user"},
    )  # fmt: skip
    at = clock.rfc3339(clock.now_ms())[:13]
    webhooks.drain(5)
    hands.pass_s(6)
    webhooks.drain(5)
    first, second = sink.requests
    assert first.body == second.body, "a retry says the same"
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    payload = native(second)
    assert payload["type"] == "message.bounced"
    assert payload["timestamp"].startswith(at)
    assert payload["data"] == {
        "event_id": payload["data"]["event_id"],
        "sequence": 2,
        "message_id": uuid,
        "domain": "shop.test",
        "recipient": "jane@friends.test",
        "subject": "Your order",
        "tags": ["spring"],
        "reason": "550 5.1.1 no such user",
        "mx": "mx.friends.test",
        "code": 550,
        "enhanced": "5.1.1",
    }
    assert standardwebhooks.Webhook(made.secret).verify(first.body, first.headers) == payload


def test_messages_of_test_keys_are_told_to_those_that_ask(who: cast.Sender, sink: HttpSink) -> None:
    hook(who, f"{sink.url}/live")
    hook(who, f"{sink.url}/both", test_events=True)
    tester = cast.Sender(who.owner, replace(who.caller, live=False), who.domain)
    happen(who, message(tester)[0], EventKind.DELIVERED)
    happen(who, message(who)[0], EventKind.DELIVERED)
    webhooks.drain(5)
    seen = sorted((request.path, told(request).get("Test", False)) for request in sink.requests)
    assert seen == [("/both", False), ("/both", True), ("/live", False)]
    assert sorted(states()) == ["skipped", "told", "told", "told"]


def test_notices_are_told_to_the_accounts_webhooks_that_ask(who: cast.Sender, sink: HttpSink) -> None:
    other = second_domain(who, "mall.test")
    account_hook(who, f"{sink.url}/all", "notice.*")
    account_hook(who, f"{sink.url}/one", ["notice.domain.disabled", "message.delivered"])
    account_hook(who, f"{sink.url}/group", "notice.*", domain_ids=[other.domain.id])
    account_hook(who, f"{sink.url}/none", "all")
    with pytest.raises(errors.InvalidEvent):
        hook(who, sink.url, "notice.*", surface="native")

    def note(kind: NoticeKind, domain_id: int) -> None:
        db.in_transaction(
            lambda tx: notices.record(
                tx, kind, account_id=who.owner.account_id, domain_id=domain_id, data={"domain": "x.test"}
            )
        )

    note(NoticeKind.DOMAIN_RECORDS_DRIFTED, who.domain.id)
    note(NoticeKind.DOMAIN_DISABLED, who.domain.id)
    note(NoticeKind.DOMAIN_RECORDS_RESTORED, other.domain.id)
    webhooks.drain(5)
    heard: dict[str, list[str]] = {}
    for request in sink.requests:
        heard.setdefault(request.path, []).append(native(request)["type"])
    drifted, disabled = "notice.domain.records_drifted", "notice.domain.disabled"
    restored = "notice.domain.records_restored"
    assert set(heard) == {"/all", "/one", "/group"}
    assert [word for word in heard["/all"] if word != restored] == [drifted, disabled], "in order within a domain"
    assert restored in heard["/all"]
    assert (heard["/one"], heard["/group"]) == ([disabled], [restored])
    data = next(native(r)["data"] for r in sink.requests if r.path == "/one")
    assert data == {"notice_id": data["notice_id"], "domain_id": who.domain.id, "domain": "x.test"}


def test_both_secrets_sign_while_one_takes_over(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    made = hook(who, sink.url)
    changed = webhook_changes.rotate_secret(caller=who.owner, webhook_id=made.id, overlap_hours=1)
    assert changed.secret != made.secret
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED)
    webhooks.drain(5)
    (request,) = sink.requests
    assert request.headers["webhook-signature"].count("v1,") == 2
    for secret in (made.secret, changed.secret):
        standardwebhooks.Webhook(secret).verify(request.body, request.headers)
    hands.pass_s(3601)
    happen(who, number, EventKind.DELIVERED)
    webhooks.drain(5)
    signature = sink.requests[1].headers["webhook-signature"]
    signed = "{webhook-id}.{webhook-timestamp}.".format(**sink.requests[1].headers).encode() + sink.requests[1].body
    key = base64.b64decode(changed.secret.removeprefix("whsec_"))
    assert signature == "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert webhooks.shown(Webhook.get()).old_secret_until_ms is None
    at_once = webhook_changes.rotate_secret(caller=who.owner, webhook_id=made.id, overlap_hours=0)
    assert (at_once.old_secret_until_ms, Webhook.get().old_secret) == (None, None)
    with pytest.raises(errors.Invalid):
        webhook_changes.rotate_secret(caller=who.owner, webhook_id=made.id, overlap_hours=1000)


def test_days_of_failure_disable_with_a_notice(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    made = hook(who, f"{sink.url}/bad")
    account_hook(who, f"{sink.url}/ops", "notice.webhook.disabled")
    sink.always("/bad", Answer(500, b"broken"))
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED)
    webhooks.drain(5)
    assert Webhook.get_by_id(made.id).failing_ms is not None
    hands.pass_s(4.9 * 86_400)
    sink.script("/bad", 200)
    webhooks.drain(5)
    assert Webhook.get_by_id(made.id).failing_ms is None, "a success ends the failing"
    for days in (0, 4.9, 0.2):
        hands.pass_s(days * 86_400)
        assert Webhook.get_by_id(made.id).status == "active"
        happen(who, message(who)[0], EventKind.DELIVERED)
        webhooks.drain(5)
    row = Webhook.get_by_id(made.id)
    assert row.status == "disabled"
    assert "500" in row.disabled_cause
    webhooks.drain(5)
    (request,) = (one for one in sink.requests if one.path == "/ops")
    data = native(request)["data"]
    assert (native(request)["type"], data["webhook_id"]) == ("notice.webhook.disabled", made.id)
    assert data["dead_letters"] >= 1

    shown = webhook_changes.update(caller=who.owner, webhook_id=made.id, active=True)
    assert (shown.status, shown.failing_ms, shown.disabled_cause) == ("active", None, "")
    sink.clear()
    happen(who, message(who)[0], EventKind.DELIVERED)
    webhooks.drain(5)
    assert [one.path for one in sink.requests] == ["/bad"]
    kinds = [one.kind for one in notices.list_(caller=who.owner)]
    assert kinds[:2] == ["webhook.enabled", "webhook.disabled"]


def test_failing_disables_never_where_the_setting_says_so(
    who: cast.Sender, sink: HttpSink, hands: Hands, tmp_path: Path
) -> None:
    use_settings(tmp_path, WEBHOOK_DISABLE_DAYS="0")
    made = hook(who, sink.url)
    sink.always("/", 500)
    for _ in range(2):
        happen(who, message(who)[0], EventKind.DELIVERED)
        webhooks.drain(5)
        hands.pass_s(100 * 86_400)
    assert Webhook.get_by_id(made.id).status == "active"


def test_changes(who: cast.Sender, sink: HttpSink) -> None:
    made = hook(who, f"{sink.url}/old")
    with pytest.raises(errors.PrivateUrl):
        webhook_changes.update(caller=who.owner, webhook_id=made.id, url="http://10.0.0.1/")
    with pytest.raises(errors.InvalidEvent):
        webhook_changes.update(caller=who.owner, webhook_id=made.id, event="message.opened")
    changed = webhook_changes.update(caller=who.owner, webhook_id=made.id, url=f"{sink.url}/new", event="opened")
    assert (changed.url, changed.events, changed.secret) == (f"{sink.url}/new", ["opened"], made.secret)
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED, EventKind.OPENED)
    webhooks.drain(5)
    assert [(one.path, told(one)["Event"]) for one in sink.requests] == [("/new", "opened")]
    happen(who, number, EventKind.OPENED)
    webhook_changes.update(caller=who.owner, webhook_id=made.id, active=False)
    assert states() == ["told", "dead"]
    assert notices.list_(caller=who.owner, kind="webhook.disabled") == [], "who disables it knows"
    with pytest.raises(errors.WebhookDisabled):
        webhook_replays.many(caller=who.owner, webhook_id=made.id)


def test_a_sample_is_told_at_once_and_logged(who: cast.Sender, sink: HttpSink) -> None:
    made = hook(who, sink.url, "bounce")
    sink.script("/", Answer(200, b"thanks"), Answer(500, b"no " * 5000))
    sampled = webhook_samples.send(caller=who.owner, webhook_id=made.id)
    assert (sampled.ok, sampled.code, sampled.answer) == (True, 200, "thanks")
    request = sink.requests[0]
    standardwebhooks.Webhook(made.secret).verify(request.body, request.headers)
    assert told(request)["Event"] == "bounced"
    assert told(request)["Test"] is True
    failed = webhook_samples.send(caller=who.owner, webhook_id=made.id, event="clicked")
    assert (failed.ok, failed.code, len(failed.answer)) == (False, 500, 4096)
    found = webhook_log.deliveries(caller=who.owner, webhook_id=made.id)
    assert [(one.type, one.state, one.attempts) for one in found] == [("test", "dead", 1), ("test", "told", 1)]
    (attempt,) = webhook_log.attempts(caller=who.owner, delivery_id=failed.delivery_id)
    assert (attempt.code, len(attempt.answer)) == (500, 4096)
    with pytest.raises(errors.WebhookNotFound):
        webhook_replays.one(caller=who.owner, delivery_id=failed.delivery_id)
    stranger = cast.sender("stranger", "strange.test")
    for call in (
        lambda: webhook_samples.send(caller=stranger.owner, webhook_id=made.id),
        lambda: webhook_log.attempts(caller=stranger.owner, delivery_id=failed.delivery_id),
    ):
        with pytest.raises(errors.WebhookNotFound):
            call()


def test_dead_letters_are_listed_and_replayed_with_their_ids(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    made = hook(who, sink.url, "delivered,opened")
    (first, _), (second, _) = message(who), message(who)
    happen(who, first, EventKind.DELIVERED)
    webhook_changes.update(caller=who.owner, webhook_id=made.id, active=False)
    webhook_changes.update(caller=who.owner, webhook_id=made.id, active=True)
    hands.pass_s(3600)
    happen(who, second, EventKind.DELIVERED, EventKind.OPENED)
    webhook_changes.update(caller=who.owner, webhook_id=made.id, active=False)
    webhook_changes.update(caller=who.owner, webhook_id=made.id, active=True)
    dead = webhook_log.deliveries(caller=who.owner, webhook_id=made.id, state="dead")
    assert [one.type for one in dead] == ["message.opened", "message.delivered", "message.delivered"]
    assert [one.id for one in webhook_log.deliveries(caller=who.owner, webhook_id=made.id, before=dead[0].id)] == [
        one.id for one in dead[1:]
    ]
    old_ms = clock.now_ms() - 1_800_000
    assert [
        one.id for one in webhook_log.deliveries(caller=who.owner, webhook_id=made.id, to_ms=old_ms)
    ] == [dead[2].id]  # fmt: skip

    assert webhook_replays.one(caller=who.owner, delivery_id=dead[2].id) == webhook_replays.Replay(1, True)
    assert webhook_replays.one(caller=who.owner, delivery_id=dead[2].id).replayed == 0, "it waits already"
    webhooks.drain(5)
    assert [one.headers["webhook-id"] for one in sink.requests] == [dead[2].uuid]
    made_again = webhook_replays.many(caller=who.owner, webhook_id=made.id, event="opened", from_ms=old_ms)
    assert made_again == webhook_replays.Replay(1, True)
    webhooks.drain(5)
    assert sink.requests[1].headers["webhook-id"] == dead[0].uuid
    assert webhook_replays.many(caller=who.owner, webhook_id=made.id).replayed == 1
    webhooks.drain(5)
    assert webhook_replays.many(caller=who.owner, webhook_id=made.id, state="told", to_ms=old_ms).replayed == 1
    webhooks.drain(5)
    assert [one.headers["webhook-id"] for one in sink.requests] == [
        dead[2].uuid, dead[0].uuid, dead[1].uuid, dead[2].uuid,
    ]  # fmt: skip
    assert states() == ["told"] * 3
    with pytest.raises(errors.MissingWebhook):
        webhook_replays.begin(caller=who.owner)
    with pytest.raises(errors.Invalid):
        webhook_replays.many(caller=who.owner, webhook_id=made.id, state="live")


def test_a_large_replay_goes_on_behind_the_answer(
    who: cast.Sender, sink: HttpSink, bells: Bells, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hook(who, sink.url)
    number, _ = message(who)
    happen(who, number, *[EventKind.DELIVERED] * 25)
    webhook_changes.update(caller=who.owner, webhook_id=made.id, active=False)
    webhook_changes.update(caller=who.owner, webhook_id=made.id, active=True)
    monkeypatch.setattr(webhook_replays, "PIECE", 10)
    monkeypatch.setattr(webhook_replays, "WAITING_MOST", 15)
    bells.clear()
    begun = webhook_replays.many(caller=who.owner, webhook_id=made.id)
    assert begun == webhook_replays.Replay(20, False)
    assert "replay" in bells
    assert webhook_replays.drain(5) == 0, "what waits is told first"
    with pytest.raises(errors.ReplayRunning):
        webhook_replays.many(caller=who.owner, webhook_id=made.id)
    assert webhooks.drain(10) == 20
    assert webhook_replays.drain(5) == 5
    assert webhooks.drain(10) == 5
    assert len({one.headers["webhook-id"] for one in sink.requests}) == 25
    assert WebhookReplay.get().ended_ms is not None


def test_a_replay_of_a_webhook_that_is_disabled_meanwhile_ends(
    who: cast.Sender, sink: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hook(who, sink.url)
    happen(who, message(who)[0], *[EventKind.DELIVERED] * 4)
    webhook_changes.update(caller=who.owner, webhook_id=made.id, active=False)
    webhook_changes.update(caller=who.owner, webhook_id=made.id, active=True)
    monkeypatch.setattr(webhook_replays, "PIECE", 2)
    monkeypatch.setattr(webhook_replays, "WAITING_MOST", 2)
    assert webhook_replays.many(caller=who.owner, webhook_id=made.id) == webhook_replays.Replay(2, False)
    webhooks.delete(caller=who.owner, webhook_id=made.id)
    webhook_replays.drain(5)
    assert WebhookReplay.get().ended_ms is not None
    assert states() == ["dead"] * 4


def test_a_replayed_letter_has_the_whole_schedule_again(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    hook(who, sink.url)
    sink.always("/", 500)
    happen(who, message(who)[0], EventKind.DELIVERED)
    for seconds in (0, *webhook_calls.RETRIES_S):
        hands.pass_s(seconds * 1.2)
        webhooks.drain(5)
    (row,) = WebhookDelivery.select()
    assert (row.state, row.attempts) == ("dead", 10)
    webhook_replays.one(caller=who.owner, delivery_id=row.id)
    webhooks.drain(5)
    (row,) = WebhookDelivery.select()
    assert (row.state, row.attempts) == ("live", 1)
    numbers = [one.no for one in webhook_log.attempts(caller=who.owner, delivery_id=row.id)]
    assert numbers == [*range(1, 11), 1]


def test_the_numbers_of_a_day(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    made = hook(who, sink.url)
    sink.script("/", 200, 500, Answer(end="close"))
    for _ in range(3):
        happen(who, message(who)[0], EventKind.DELIVERED)
        webhooks.drain(5)
    (day,) = webhook_log.days(caller=who.owner, webhook_id=made.id)
    assert (day.calls, day.told, day.silent) == (3, 1, 1)
    assert day.average_ms is not None
    assert day.average_ms <= day.most_ms
    hands.pass_s(86_400 * 30)
    assert webhook_log.days(caller=who.owner, webhook_id=made.id) == []


def test_what_was_told_long_ago_goes(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    made = hook(who, sink.url)
    happen(who, message(who)[0], EventKind.DELIVERED)
    webhooks.drain(5)
    happen(who, message(who)[0], EventKind.DELIVERED)
    webhook_changes.update(caller=who.owner, webhook_id=made.id, active=False)
    assert states() == ["told", "dead"]
    webhook_log._Mark.owner = None
    housekeeping.sweep(5)
    assert states() == ["told", "dead"]
    hands.pass_s(31 * 86_400)
    housekeeping.sweep(5)
    assert states() == ["dead"]
    assert WebhookAttempt.select().count() == 0
    hands.pass_s(60 * 86_400)
    housekeeping.sweep(5)
    assert states() == []


ODD = ("１２７.0.0.1", "①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.１", "[fe80::1%25eth0]", "0x7f.1", "127.0.0.1.")


@pytest.mark.parametrize("host", [*NOWHERE, *ODD])
def test_no_way_in_saves_a_private_url(who: cast.Sender, tmp_path: Path, host: str) -> None:
    use_settings(tmp_path, WEBHOOK_ALLOW="")
    made = hook(who, "https://8.8.8.8/")  # no name: nobody outside is asked for it
    for call in (
        lambda: hook(who, f"http://{host}/"),
        lambda: account_hook(who, f"http://{host}/", "all"),
        lambda: webhook_changes.update(caller=who.owner, webhook_id=made.id, url=f"http://{host}/"),
    ):
        with pytest.raises((errors.PrivateUrl, errors.InvalidUrl)):
            call()
    assert Webhook.select().count() == 1


def test_a_name_that_turns_private_is_called_by_no_way(who: cast.Sender, sink: HttpSink, tmp_path: Path) -> None:
    use_settings(tmp_path, WEBHOOK_ALLOW="")
    with DnsServer() as zone:
        dns.use(dns.Resolver((Address("127.0.0.1", zone.port),), lifetime=1.0))
        try:
            zone.add("rebind.test", "A", "8.8.8.8")
            made = hook(who, f"http://rebind.test:{sink.port}/")
            zone.set("rebind.test", "A", "127.0.0.1")
            happen(who, message(who)[0], EventKind.DELIVERED)
            webhooks.drain(5)
            sampled = webhook_samples.send(caller=who.owner, webhook_id=made.id)
        finally:
            dns.use(None)
    assert (sampled.code, "public" in sampled.error) == (None, True)
    assert sink.requests == []
    assert states() == ["live", "dead"]
    assert all("public" in one.error for one in WebhookAttempt.select())
