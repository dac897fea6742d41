"""Webhooks as their receivers verify them: with the standardwebhooks library of Node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.services import ledger, webhook_calls, webhook_changes, webhooks
from models.vocabulary import EventKind
from tests import cast
from tests.conftest import use_settings
from tests.gateway.services.webhook_world import happen, hook, message
from tests.peers.http_sink import HttpSink

SCRIPT = """
const { Webhook } = require('standardwebhooks');
const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const told = given.map(({ secret, body, headers }) => {
  try { return new Webhook(secret).verify(body, headers); } catch (error) { return String(error); }
});
console.log(JSON.stringify(told));
"""


def environment() -> dict[str, str]:
    """Where node looks for modules: NODE_PATH, and what is installed for everybody."""
    places = [os.environ.get("NODE_PATH", "")]
    if shutil.which("npm") is not None:
        done = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, timeout=60)
        places.append(done.stdout.strip())
    return {**os.environ, "NODE_PATH": os.pathsep.join(place for place in places if place)}


def why_not() -> str:
    if shutil.which("node") is None:
        return "node is not installed"
    found = subprocess.run(
        ["node", "-e", "require('standardwebhooks')"], env=environment(), capture_output=True, timeout=60
    )
    return "standardwebhooks is not installed for node (NODE_PATH or npm install --global)" if found.returncode else ""


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with HttpSink() as found:
        yield found


def test_javascript_verifies_what_we_sign(store: str, tmp_path: Path, sink: HttpSink) -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)
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
    given = [
        {"secret": secret, "body": request.body.decode(), "headers": request.headers}
        for request in sink.requests
        for secret in secrets[request.path]
    ]
    assert len(given) == 2 + 3 * 2
    given.append({**given[0], "body": given[0]["body"] + " "})
    told = json.loads(
        subprocess.run(
            ["node", "-e", SCRIPT], input=json.dumps(given), env=environment(), capture_output=True, text=True,
            timeout=60, check=True,
        ).stdout
    )  # fmt: skip
    assert told[:-1] == [json.loads(one["body"]) for one in given[:-1]]
    assert "No matching signature" in told[-1]
    assert uuid in json.dumps(told)
