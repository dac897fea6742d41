"""The printed requests of the Mailmark API, with host, key and ids changed and nothing else; its client's pattern."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

import models
from gateway import clock
from gateway.services import keys, mailboxes, sender_groups, sequences, warmups
from models import database as db
from tests.contract import curl
from tests.contract.conftest import World

PRINTED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("mailmark.json").read_text())
ANSWERS: dict[tuple[str, str], set[str]] = {
    ("GET", "/v1/mailboxes"): {"address", "fullAddress", "displayName"},
    ("POST", "/v1/mailboxes"): {"address", "fullAddress", "displayName"},
    ("DELETE", "/v1/mailboxes/hello"): {"address", "deleted"},
    ("GET", "/v1/sender-groups"): {"id", "name", "mailboxes", "emails"},
    ("POST", "/v1/sender-groups"): {"id", "name", "mailboxes", "emails"},
    ("PATCH", "/v1/sender-groups/GROUP_ID"): {"id", "name", "mailboxes", "emails"},
    ("DELETE", "/v1/sender-groups/GROUP_ID"): {"id", "deleted"},
    ("POST", "/v1/send"): {"error", "message", "code", "request_id", "errors"},
    ("GET", "/v1/sequences"): {"id", "status", "stepCount", "stats"},
    ("POST", "/v1/sequences"): {"id", "status", "stepCount", "stats"},
    ("POST", "/v1/sequences/:sequenceId/enroll"): {"enrolled", "skipped", "enrollmentIds"},
    ("PATCH", "/v1/sequences/:sequenceId"): {"id", "status"},
    ("DELETE", "/v1/sequences/:sequenceId"): {"id", "status", "cancelledEnrollments"},
    ("GET", "/v1/domain-health"): {"domain", "score", "spf", "dkim", "dmarc", "mx", "blacklist"},
    ("GET", "/v1/warmup"): {"mailbox", "healthScore", "inboxRate", "dailyLimit", "today"},
    ("GET", "/v1/bounces"): {"sent", "delivered", "bounced", "failed", "opened", "clicked", "replied"},
    ("GET", "/v1/suppressions"): {"domain", "total", "hasMore", "items"},
    ("GET", "/v1/campaign-stats"): {"openRate", "clickRate", "replyRate", "bounceRate"},
}
"""The names that an answer, or each entry of a list, has at least."""

ANALYTICS = ("domain-health", "warmup", "bounces", "suppressions", "campaign-stats")


@pytest.fixture
def values(world: World) -> dict[str, str]:
    """A key of the domain, and a group and a sequence of it."""
    mailboxes.add(caller=world.caller(), address="hello")
    return {"key": key(world)} | furnish(world)


def furnish(world: World) -> dict[str, str]:
    """What the printed requests name beside the mailbox."""
    caller = world.caller()
    warmups.add(caller=caller, address="hello")
    steps = [{"type": "send_email", "subject": "x", "html": "y"}]
    return {
        "group": sender_groups.add(caller=caller, name="Friends").public_id,
        "sequence": sequences.add(caller=caller, name="Hello", from_="hello@example.com", steps=steps).public_id,
    }


def key(world: World, *, org_wide: bool = False) -> str:
    made = db.in_transaction(
        lambda tx: keys.create_key(
            tx, account_id=world.owner.account_id, domain_id=None if org_wide else world.domain.id, surface="mailmark"
        )
    )
    return made[1]


def ask(world: World, printed: dict[str, Any], values: dict[str, str]) -> requests.Response:
    line = "\n".join(printed["curl"])
    for old, new in printed["replace"]:
        assert old in line, old
        line = line.replace(old, re.sub(r"\{([a-z]+)\}", lambda found: values[found[1]], new))
    request = curl.read(line)
    return world.ask(request.method, request.path, request.headers, request.body)


def test_every_printed_request_runs(world: World) -> None:
    """In one world: the mailbox is made first and deleted last."""
    values = {"key": key(world)}
    (made,) = [one for one in PRINTED if (one["method"], one["path"]) == ("POST", "/v1/mailboxes")]
    rest = [one for one in PRINTED if one is not made]
    rest.sort(key=lambda one: (one["method"] == "DELETE", "mailboxes" in one["path"]))
    for printed in [made, *rest]:
        answer = ask(world, printed, values)
        assert answer.status_code == printed["status"], (printed["curl"], answer.text)
        found = answer.json()
        wanted = ANSWERS[printed["method"], printed["path"]]
        for one in found if isinstance(found, list) else [found]:
            assert wanted <= one.keys(), printed["curl"]
        if printed is made:
            values |= furnish(world)
    assert len(PRINTED) == 19


def test_an_org_wide_key_reads_analytics_and_gets_403_elsewhere(world: World, values: dict[str, str]) -> None:
    values = values | {"key": key(world, org_wide=True)}
    for printed in PRINTED:
        answer = ask(world, printed, values)
        if printed["path"].rpartition("/")[2] in ANALYTICS:
            assert answer.status_code == 200, answer.text
            assert isinstance(answer.json(), list)
        else:
            assert answer.status_code == 403, answer.text
            assert "error" in answer.json()


def test_a_bad_key_is_refused_as_printed(world: World, values: dict[str, str]) -> None:
    for printed in PRINTED:
        answer = ask(world, printed, values | {"key": "dm_live_revoked"})
        assert (answer.status_code, answer.json()["error"]) == (401, "Invalid or revoked API key")


class Mailmark:
    """A client made as the published one is used: of a key, with another base URL."""

    def __init__(self, api_key: str, base_url: str) -> None:
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {api_key}"
        self._base_url = base_url

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._session.request(method, self._base_url + path, json=body, timeout=20)
        answer.raise_for_status()
        return answer.json()

    def list_mailboxes(self) -> Any:
        return self._call("GET", "/v1/mailboxes")

    def send(self, **fields: Any) -> Any:
        return self._call("POST", "/v1/send", fields)


def test_the_published_example_runs(world: World, values: dict[str, str]) -> None:
    client = Mailmark(values["key"], world.url)
    before = models.Message.select().count()
    assert [one["fullAddress"] for one in client.list_mailboxes()] == ["hello@example.com"]
    sender = {"from": "hello@example.com"}
    result = client.send(**sender, to=["user@example.com"], subject="Hello!", html="<p>Sent via Mailmark.</p>")
    assert (result["status"], result["blocked"]) == ("queued", [])
    campaign = client.send(
        **sender, to=["a@example.com", "b@example.com"], subject="Big announcement", html="<h1>Hello!</h1>",
        type="campaign",
    )  # fmt: skip
    assert (len(campaign["messageIds"]), campaign["batchId"][:4]) == (2, "bat_")
    scheduled = client.send(
        **sender, to=["user@example.com"], subject="Reminder", html="<p>This is scheduled.</p>",
        scheduledAt=clock.now_ms() + 60 * 60 * 1000,
    )  # fmt: skip
    assert scheduled["status"] == "scheduled"
    assert models.Message.select().count() - before == 4
