"""Events by the thousand to endpoints that answer 200, 500, 410, 429 or nothing; COMMANDPOST_TEST_LONG: ten times."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import standardwebhooks

from gateway import clock
from gateway.services import ledger, webhook_calls, webhooks
from models import database as db
from models.vocabulary import EventKind
from models.webhook import Webhook
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.webhook_world import Hands, happen, hook, message
from tests.peers import javascript
from tests.peers.http_sink import Answer, HttpSink, Request

pytestmark = pytest.mark.usefixtures("store")

EVENTS = 2000 if os.environ.get("COMMANDPOST_TEST_LONG") else 200
"""Of each endpoint; there are five."""
_OF_A_MESSAGE = (EventKind.DELIVERED, EventKind.OPENED, EventKind.CLICKED, EventKind.UNSUBSCRIBED)


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


def by_state(webhook_id: int) -> dict[str, int]:
    return dict(
        db.rows("SELECT state, COUNT(*) FROM webhook_delivery WHERE webhook_id = ? GROUP BY state", (webhook_id,))
    )


Verify = Callable[[list[tuple[str, Request]]], None]


def by_python(told: list[tuple[str, Request]]) -> None:
    """By the library, which believes times within five minutes of its own clock: the test's runs ahead."""
    for secret, request in told:
        signer = standardwebhooks.Webhook(secret)
        signer._Webhook__verify_timestamp = lambda text: clock.from_ms(int(text) * 1000)
        signer.verify(request.body, request.headers)


def by_javascript(told: list[tuple[str, Request]]) -> None:
    given = [
        (secret, request.body, request.headers, int(request.headers["webhook-timestamp"]) * 1000)
        for secret, request in told
    ]
    assert javascript.verify(given) == [json.loads(request.body) for _, request in told]


@pytest.fixture(params=[by_python, by_javascript])
def verify(request: pytest.FixtureRequest, store_url: str) -> Verify:
    """Who receives the calls; that a signature holds does not hang on the database."""
    if request.param is by_javascript:
        if javascript.why_not():
            pytest.skip(javascript.why_not())
        if not store_url.startswith("sqlite"):
            pytest.skip("JavaScript verifies what came from the embedded database")
    found: Verify = request.param
    return found


def test_every_event_reaches_the_endpoints_that_live(
    who: cast.Sender, sink: HttpSink, monkeypatch: pytest.MonkeyPatch, verify: Verify
) -> None:
    hands = Hands()
    monkeypatch.setattr(clock, "now_ms", hands.now_ms)
    made = {name: hook(who, f"{sink.url}/{name}", "all") for name in ("ok", "flaky", "busy", "gone", "mute")}
    sink.script("/flaky", *[500] * (EVENTS // 4))
    sink.script("/busy", *[Answer(429, headers={"Retry-After": "7"})] * 5)
    sink.always("/gone", 410)
    sink.always("/mute", Answer(end="hang"))
    for _ in range(EVENTS // len(_OF_A_MESSAGE)):
        happen(who, message(who)[0], *_OF_A_MESSAGE)

    started = time.monotonic()
    ok_after = None
    until = started + 60 + EVENTS / 10
    live = [made[name].id for name in ("ok", "flaky", "busy")]
    while time.monotonic() < until:
        webhooks.drain(2)
        if ok_after is None and by_state(made["ok"].id) == {"told": EVENTS}:
            ok_after = hands.ahead_ms
        if all(by_state(id_) == {"told": EVENTS} for id_ in live):
            break
        hands.pass_s(30)
    assert [by_state(id_) for id_ in live] == [{"told": EVENTS}] * 3
    assert ok_after is not None
    mute = sum(request.path == "/mute" for request in sink.requests)
    assert mute <= 40, "an endpoint that says nothing is not asked for every event"
    sink.close()  # what still waits for an answer ends now
    while webhook_calls._own()._busy and time.monotonic() < until + 30:
        time.sleep(0.02)

    seen: dict[str, dict[str, list[bytes]]] = {}
    for request in list(sink.requests):
        seen.setdefault(request.path[1:], {}).setdefault(request.headers["webhook-id"], []).append(request.body)
    assert len(seen["ok"]) == EVENTS
    assert {len(bodies) for bodies in seen["ok"].values()} == {1}, "told once each"
    for name in ("flaky", "busy"):
        assert len(seen[name]) == EVENTS, "a retry keeps its id"
    assert Counter(len(bodies) for bodies in seen["busy"].values())[1] >= EVENTS - 10
    assert Webhook.get_by_id(made["gone"].id).status == "disabled"
    assert by_state(made["gone"].id) == {"dead": EVENTS}
    assert by_state(made["mute"].id) == {"live": EVENTS}
    verify([(made[request.path[1:]].secret, request) for request in sink.requests])
