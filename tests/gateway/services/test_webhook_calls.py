"""Endpoints hear of their events: signed, in order, retried, and none waits for another that is dead."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import standardwebhooks

from gateway import clock, config, errors
from gateway.dns import resolver as dns
from gateway.services import (
    domains,
    ledger,
    webhook_calls,
    webhook_changes,
    webhook_claims,
    webhook_results,
    webhook_words,
    webhooks,
)
from models.delivery import Lane
from models.vocabulary import EventKind
from models.webhook import Webhook, WebhookAttempt
from tests import cast
from tests.conftest import use_settings
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


def test_the_body_the_signature_and_the_headers(who: cast.Sender, sink: HttpSink) -> None:
    made = hook(who, f"{sink.url}/hook?a=b", "delivery")
    number, uuid = message(who)
    happen(who, number, EventKind.DELIVERED, ip="192.0.2.7")
    assert webhooks.drain(5) == 1
    (request,) = sink.requests
    assert (request.method, request.path) == ("POST", "/hook?a=b")
    assert request.headers["content-type"] == "application/json"
    payload = json.loads(request.body)
    assert payload["EventData"] == {
        "Event": "delivered",
        "Domain": "shop.test",
        "MessageID": uuid,
        "To": "jane@friends.test",
        "IPAddress": "192.0.2.7",
    }
    block = payload["Signature"]
    signed = f"{block['Timestamp']}{block['Token']}".encode()
    key = domains.signing_key(who.domain).encode()
    assert block["Signature"] == hmac.new(key, signed, hashlib.sha256).hexdigest()
    assert standardwebhooks.Webhook(made.secret).verify(request.body, request.headers) == payload
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(made.secret).verify(request.body + b" ", request.headers)
    (shown,) = webhooks.list_(caller=who.owner, domain_id=who.domain.id)
    assert (shown.last_code, shown.last_tries) == (200, 1)
    assert states() == ["told"]
    (attempt,) = WebhookAttempt.select()
    assert (attempt.no, attempt.code, attempt.error) == (1, 200, "")


@pytest.mark.parametrize("kind", [EventKind.BOUNCED, EventKind.FAILED])
def test_a_bounce_says_why(who: cast.Sender, sink: HttpSink, kind: EventKind) -> None:
    hook(who, sink.url, "bounce")
    number, _ = message(who)
    happen(
        who, number, kind, reply="550 5.1.1 no such user",
        data={"code": 550, "enhanced": "5.1.1", "reason": "550 5.1.1 no such user"},
    )  # fmt: skip
    assert webhooks.drain(5) == 1
    data = told(sink.requests[0])
    assert data["Event"] == "bounced"
    assert data["EventType"] == "failed"
    assert data["Code"] == 550
    assert data["Reason"] == "550 5.1.1 no such user"
    assert data["BouncedEmailAddress"] == {
        "EmailAddress": "jane@friends.test",
        "Status": "5.1.1",
        "DiagnosticCode": "550 5.1.1 no such user",
    }


def test_only_what_was_asked_for(who: cast.Sender, sink: HttpSink) -> None:
    hook(who, f"{sink.url}/opens", "open")
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED, EventKind.OPENED, EventKind.CLICKED, EventKind.DEFERRED)
    webhooks.drain(5)
    assert [told(request)["Event"] for request in sink.requests] == ["opened"]


def test_the_whole_schedule_with_one_id_then_the_dead_letters(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    hook(who, sink.url)
    sink.always("/", Answer(500, b"x" * 10_000))
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED)
    assert webhooks.drain(5) == 1
    for n, seconds in enumerate(webhook_calls.RETRIES_S, start=1):
        hands.pass_s(seconds * 0.89)
        assert webhooks.drain(5) == 0, f"retry {n} came too early"
        hands.pass_s(seconds * 0.22)
        assert webhooks.drain(5) == 1, f"retry {n} did not come"
    assert states() == ["dead"]
    hands.pass_s(1_000_000)
    assert webhooks.drain(5) == 0
    assert len({request.headers["webhook-id"] for request in sink.requests}) == 1
    assert len({request.headers["webhook-timestamp"] for request in sink.requests}) > 5
    attempts = list(WebhookAttempt.select().order_by(WebhookAttempt.no))
    assert [attempt.no for attempt in attempts] == list(range(1, 11))
    assert {(attempt.code, len(attempt.answer)) for attempt in attempts} == {(500, 4096)}
    (row,) = Webhook.select()
    assert (row.last_code, row.last_tries, row.status) == (500, 10, "active")


def test_retry_after_is_honoured(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    hook(who, sink.url)
    sink.script("/", Answer(503, headers={"Retry-After": "120"}))
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED)
    assert webhooks.drain(5) == 1
    hands.pass_s(110)
    assert webhooks.drain(5) == 0
    hands.pass_s(11)
    assert webhooks.drain(5) == 1
    assert states() == ["told"]


def test_429_pauses_the_endpoint_and_nothing_is_lost(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    hook(who, sink.url)
    sink.script("/", Answer(429, headers={"Retry-After": "30"}))
    numbers = [message(who)[0] for _ in range(2)]
    happen(who, numbers[0], EventKind.DELIVERED)
    assert webhooks.drain(5) == 1
    happen(who, numbers[1], EventKind.DELIVERED)
    assert webhooks.drain(5) == 0
    hands.pass_s(31)
    assert webhooks.drain(5) == 2
    assert states() == ["told", "told"]


def test_410_disables_the_webhook_and_keeps_the_rest_as_dead_letters(who: cast.Sender, sink: HttpSink) -> None:
    made = hook(who, sink.url)
    sink.always("/", 410)
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED, EventKind.DELIVERED)
    assert webhooks.drain(5) == 1
    assert Webhook.get_by_id(made.id).status == "disabled"
    assert states() == ["dead", "dead"]
    happen(who, number, EventKind.DELIVERED)
    assert len(states()) == 2


def test_redirects_are_not_followed(who: cast.Sender, sink: HttpSink) -> None:
    hook(who, f"{sink.url}/from")
    sink.redirect("/from", f"{sink.url}/to")
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED)
    assert webhooks.drain(5) == 1
    assert [request.path for request in sink.requests] == ["/from"]
    assert states() == ["live"]


def test_a_failing_event_holds_back_only_its_own_message(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    for event in ("delivered", "opened"):
        hook(who, f"{sink.url}/{event}", event)
    both = webhooks.add(caller=who.owner, domain_id=who.domain.id, event="clicked", url=f"{sink.url}/all")
    Webhook.update(kinds=webhook_words.mask(EventKind)).where(Webhook.id == both.id).execute()
    (first, first_uuid), (second, second_uuid) = message(who), message(who)
    webhooks.drain(5)  # their `accepted`
    sink.clear()
    sink.script("/all", 500)
    happen(who, first, EventKind.DELIVERED, EventKind.OPENED, EventKind.CLICKED)
    webhooks.drain(5)
    happen(who, second, EventKind.DELIVERED, EventKind.OPENED)
    happen(who, first, EventKind.COMPLAINED)
    webhooks.drain(5)
    seen = [(told(r)["MessageID"], told(r)["Event"]) for r in sink.wait_for(3, path="/all")]
    assert seen == [(first_uuid, "delivered"), (second_uuid, "delivered"), (second_uuid, "opened")]
    assert len(sink.wait_for(2, path="/delivered")) == 2
    hands.pass_s(6)
    webhooks.drain(5)
    seen = [(told(r)["MessageID"], told(r)["Event"]) for r in sink.wait_for(7, path="/all")]
    assert seen[3:] == [(first_uuid, word) for word in ("delivered", "opened", "clicked", "complained")]
    assert set(states()) == {"told"}


def test_a_crashed_worker_s_claims_come_back(who: cast.Sender, sink: HttpSink, hands: Hands) -> None:
    made = hook(who, sink.url)
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED)
    claim, token = webhook_claims.claim(made.id, None, 10, {})
    assert claim is not None
    assert token is not None
    assert webhooks.drain(5) == 0
    hands.pass_s(webhook_claims.LEASE_MS / 1000 + 3)
    assert webhooks.drain(5) == 1
    assert states() == ["told"]
    stale = [webhook_results.Done(claim.calls[0], told=False, due_ms=1)]
    webhook_results.finish(made.id, token, stale, webhook_results.Verdict(), release=True)
    assert states() == ["told"], "the claim of the dead worker was believed"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_unreachable_endpoint_is_paused_and_resumes(who: cast.Sender, hands: Hands) -> None:
    port = closed_port()
    hook(who, f"http://127.0.0.1:{port}/")
    numbers = [message(who)[0] for _ in range(5)]
    for number in numbers:
        happen(who, number, EventKind.DELIVERED)
    made = webhooks.drain(5)
    assert 1 <= made <= 2, "a dead endpoint is called once by each connection, not for every event"
    (row,) = Webhook.select()
    assert row.strikes >= 1
    assert row.last_code is None
    for _ in range(3):
        hands.pass_s(61)
        assert webhooks.drain(5) == 1
    assert states() == ["live"] * 5
    with HttpSink(port=port) as sink:
        hands.pass_s(4000)
        assert webhooks.drain(10) == 5
        assert len(sink.requests) == 5
    assert states() == ["told"] * 5


def test_dead_endpoints_cost_the_others_nothing(who: cast.Sender, sink: HttpSink) -> None:
    """Twenty endpoints that take the connection and say nothing, beside one that works."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as tarpit:
        for n in range(20):
            hook(who, f"http://127.0.0.1:{tarpit.getsockname()[1]}/{n}")
        number, _ = message(who)
        happen(who, number, EventKind.DELIVERED)
        stuck = threading.Thread(target=webhooks.drain, args=(4.0,))
        stuck.start()
        made = hook(who, sink.url, "opened")
        webhook_calls._own().answered.add(made.id)
        happen(who, number, EventKind.OPENED, EventKind.OPENED, EventKind.OPENED)
        drains = threading.Thread(target=webhooks.drain, args=(4.0,))
        drains.start()
        assert len(sink.wait_for(3, timeout=10)) == 3
        stuck.join()
        drains.join()
    # With the tarpit closed the waiting calls end at once and the runs write what became of them.
    until = time.monotonic() + 10
    while webhook_calls._own()._busy and time.monotonic() < until:
        time.sleep(0.01)
    assert not webhook_calls._own()._busy


def test_a_slow_answer_to_one_message_does_not_hold_another(who: cast.Sender, sink: HttpSink) -> None:
    hook(who, sink.url)
    sink.script("/", Answer(200, pause=2.0))
    (first, first_uuid), (second, second_uuid) = message(who), message(who)
    happen(who, first, EventKind.DELIVERED)
    drain = threading.Thread(target=webhooks.drain, args=(3.0,))
    drain.start()
    sink.wait_for(1)
    happen(who, second, EventKind.DELIVERED)
    sink.wait_for(2, timeout=1.5)
    drain.join()
    assert [told(r)["MessageID"] for r in sink.requests] == [first_uuid, second_uuid]
    assert states() == ["told", "told"]


def test_a_network_that_became_private_is_not_called(who: cast.Sender, sink: HttpSink, tmp_path: Path) -> None:
    hook(who, sink.url)
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED)
    use_settings(tmp_path, WEBHOOK_ALLOW="")
    assert webhooks.drain(5) == 1
    assert sink.requests == []
    (attempt,) = WebhookAttempt.select()
    assert attempt.code is None
    assert "public" in attempt.error


def test_no_private_address_is_saved_or_called(
    who: cast.Sender, sink: HttpSink, tmp_path: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the very functions that save and call: what slips past the one must not get past the other."""
    use_settings(tmp_path, WEBHOOK_ALLOW="")
    for host in NOWHERE:
        with pytest.raises(errors.PrivateUrl):
            webhooks.add(caller=who.owner, domain_id=who.domain.id, event="all", url=f"http://{host}:{sink.port}/")
    assert Webhook.select().count() == 0
    saved = webhooks.add(caller=who.owner, domain_id=who.domain.id, event="delivered", url="http://8.8.8.8/")
    for host in NOWHERE:
        with pytest.raises(errors.PrivateUrl):
            webhook_changes.update(caller=who.owner, webhook_id=saved.id, url=f"http://{host}/")
        Webhook.update(url=f"http://{host}:{sink.port}/", strikes=0, busy_until_ms=0).execute()
        Lane.update(paused_until_ms=0).execute()
        happen(who, message(who)[0], EventKind.DELIVERED)
        assert webhooks.drain(5) >= 1, host
        hands.pass_s(120)
    assert sink.requests == []
    attempts = list(WebhookAttempt.select())
    assert len(attempts) >= len(NOWHERE)
    assert all(attempt.code is None and "public" in attempt.error for attempt in attempts)


def test_a_name_that_turns_private_between_save_and_call_is_not_called(
    who: cast.Sender, sink: HttpSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_settings(tmp_path, WEBHOOK_ALLOW="")
    with DnsServer() as zone:
        monkeypatch.setattr(dns, "_used", dns.Resolver((config.Address("127.0.0.1", zone.port),), lifetime=1.0))
        zone.add("rebind.test", "A", "8.8.8.8")
        hook(who, f"http://rebind.test:{sink.port}/")
        zone.set("rebind.test", "A", "127.0.0.1")
        happen(who, message(who)[0], EventKind.DELIVERED)
        assert webhooks.drain(5) == 1
    assert sink.requests == []
    (attempt,) = WebhookAttempt.select()
    assert attempt.code is None and "public" in attempt.error


def test_a_thousand_events_of_many_messages_all_arrive_once_in_order(who: cast.Sender, sink: HttpSink) -> None:
    made = hook(who, sink.url)
    Webhook.update(kinds=webhook_words.mask([EventKind.DELIVERED, EventKind.OPENED, EventKind.CLICKED])).where(
        Webhook.id == made.id
    ).execute()
    found = [message(who) for _ in range(60)]
    for number, _ in found:
        happen(who, number, EventKind.DELIVERED, EventKind.OPENED, EventKind.CLICKED)
    assert webhooks.drain(30) == 180
    by_message: dict[str, list[str]] = {}
    for request in sink.requests:
        by_message.setdefault(told(request)["MessageID"], []).append(told(request)["Event"])
    assert set(by_message) == {uuid for _, uuid in found}
    assert {tuple(words) for words in by_message.values()} == {("delivered", "opened", "clicked")}
    assert set(states()) == {"told"}


def test_deleting_a_webhook_moves_what_waits_to_the_dead_letters(who: cast.Sender, sink: HttpSink) -> None:
    made = hook(who, sink.url)
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED)
    webhooks.delete(caller=who.owner, domain_id=who.domain.id, webhook_id=made.id)
    assert states() == ["dead"]
    assert webhooks.drain(5) == 0
    assert sink.requests == []


def test_rows_that_came_in_beside_a_deletion_are_buried(who: cast.Sender, sink: HttpSink) -> None:
    made = hook(who, sink.url)
    number, _ = message(who)
    happen(who, number, EventKind.DELIVERED)
    Webhook.update(deleted_ms=1).where(Webhook.id == made.id).execute()
    assert webhooks.drain(5) == 0
    assert states() == ["dead"]
    assert sink.requests == []
