"""A long queue cleared by the command: the answer first, the end of everything behind it."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import Any

import pytest
import requests

from models.vocabulary import DeliveryState
from tests.cli.installation import wait_for
from tests.installation import Installation
from tests.journeys.conftest import Start

pytestmark = pytest.mark.journey

WAITING = 6_000


def _rows(installation: Installation, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(installation.data / "commandpost.db", timeout=20)) as store:
        return store.execute(sql).fetchall()


def _command(installation: Installation, key: str, name: str, **params: object) -> dict[str, Any]:
    body = {"APIKey": key, "Command": f"EmailGateway.{name}", **params}
    answer = requests.post(f"{installation.url}/api.php", json=body, timeout=60).json()
    assert answer["Success"] is True, answer
    return dict(answer)


def _send(installation: Installation, key: str, **fields: object) -> None:
    letter = {
        "From": {"email": "news@shop.test", "name": "The Shop"},
        "Subject": "News",
        "ContentType": "html",
        "HtmlContent": "<p>News</p>",
    }
    answer = requests.post(
        f"{installation.url}/api/v1/email",
        headers={"Authorization": f"Bearer {key}"},
        json=letter | fields,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text


def test_the_worker_ends_what_the_request_did_not(start: Start) -> None:
    installation = start()
    user = installation.cli("user", "add", "--email", "jane@people.test", "--password", "a long password")
    installation.cli("plan", "set", "--user", "jane@people.test", "--unlimited")
    domain = installation.cli("domain", "add", "shop.test", "--user", "jane@people.test", "--trusted")
    key = installation.cli("key", "add", "--user", "jane@people.test", "--domain", "shop.test")["key"]
    account = user["api_key"]
    news = _command(installation, account, "AddList", ListName="News")["NewListID"]
    for first in range(0, WAITING, 1000):
        people = [{"EmailAddress": f"reader{n}@friends.test"} for n in range(first, first + 1000)]
        _command(installation, account, "AddSubscribers", ListID=news, Subscribers=people)
    _send(installation, key, TargetListID=news, SendAt=int(time.time()) + 86_400)
    made = "SELECT COUNT(*) FROM delivery"
    wait_for(lambda: _rows(installation, made) == [(WAITING,)], "the deliveries", seconds=60)
    cleared = _command(installation, account, "ClearDomainQueue", DomainID=domain["id"])
    assert cleared["ClearedDeliveries"] == WAITING
    _send(installation, key, To=[{"email": "after@friends.test", "name": "A"}])
    failed, delivered = int(DeliveryState.FAILED), int(DeliveryState.DELIVERED)
    states = f"SELECT state, COUNT(*) FROM delivery GROUP BY state ORDER BY state = {failed}"
    wait_for(
        lambda: _rows(installation, states) == [(delivered, 1), (failed, WAITING)], "the end of the queue", seconds=60
    )
    wait_for(lambda: _rows(installation, "SELECT COUNT(*) FROM clearance") == [(0,)], "the end", seconds=60)
    assert _rows(installation, "SELECT rcpt FROM captured_mail") == [("after@friends.test",)]
