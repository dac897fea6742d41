"""Webhooks as their receivers verify them: with the standardwebhooks library of Node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.services import ledger, webhook_calls, webhook_changes, webhooks
from models.vocabulary import EventKind
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.webhook_world import happen, hook, message
from tests.peers import javascript
from tests.peers.http_sink import HttpSink


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with HttpSink() as found:
        yield found


def test_javascript_verifies_what_we_sign(store: str, tmp_path: Path, sink: HttpSink) -> None:
    if javascript.why_not():
        pytest.skip(javascript.why_not())
    use_settings(tmp_path)
    ledger.forget_words()
    webhook_calls.forget()
    who = cast.sender()
    made = [
        hook(who, f"{sink.url}/octeth", "all"),
        webhooks.add(caller=who.owner, event="all", url=f"{sink.url}/native", surface="native"),
    ]
    fresh = webhook_changes.rotate_secret(caller=who.owner, webhook_id=made[1].id)
    number, uuid = message(who, subject="Grüße ☃ \u2028")
    happen(who, number, EventKind.DELIVERED, EventKind.OPENED)
    webhooks.drain(5)
    secrets = {"/octeth": [made[0].secret], "/native": [made[1].secret, fresh.secret]}
    given: list[tuple[str, bytes, dict[str, str], int | None]] = [
        (secret, request.body, request.headers, None) for request in sink.requests for secret in secrets[request.path]
    ]
    assert len(given) == 2 + 3 * 2
    first = given[0]
    given.append((first[0], first[1] + b" ", first[2], None))
    told = javascript.verify(given)
    assert told[:-1] == [json.loads(body) for _, body, *_ in given[:-1]]
    assert "No matching signature" in told[-1]
    assert uuid in json.dumps(told)
