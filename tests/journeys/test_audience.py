"""A list with double opt-in from its file to the sink: asked, confirmed, written to, and found by what they clicked."""

from __future__ import annotations

import email
import email.policy
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.cli.installation import wait_for
from tests.installation import Installation
from tests.journeys.conftest import Start
from tests.peers.smtp_sink import SmtpSink

pytestmark = pytest.mark.journey

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NAMES = ("jane", "joe", "zoe")


class Api:
    """Calls of `/v1` with one key."""

    def __init__(self, installation: Installation, key: str) -> None:
        self._base, self._key = f"{installation.url}/v1", key

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(
            method, self._base + path, json=body, headers={"Authorization": f"Bearer {self._key}"}, timeout=30
        )
        assert answer.ok, (method, path, answer.text)
        return answer.json()


def _html(data: bytes) -> str:
    part = email.message_from_bytes(data, policy=email.policy.default).get_body(("html",))
    assert part is not None
    return str(part.get_content())


def _follow(installation: Installation, html: str, path: str, method: str) -> None:
    found = re.search(rf'href="([^"]*{path}[^"]*)"', html)
    assert found, html
    link = installation.url + urlsplit(found[1]).path
    answer = requests.request(method, link, headers={"User-Agent": BROWSER}, allow_redirects=False, timeout=30)
    assert answer.status_code in (200, 302, 303), answer.text


def _campaign(call: Api, name: str, **target: str) -> None:
    body = {"name": name, "from": "news@shop.test", "subject": name, "track_clicks": True, **target}
    made = call("POST", "/campaigns", body | {"html": '<p>Hi {{ city }} <a href="https://example.com/">more</a></p>'})
    call("POST", f"/campaigns/{made['id']}/launch")


@pytest.mark.parametrize("stores", ["sqlite-embedded"], indirect=True)
def test_asked_confirmed_written_to_and_found(start: Start, stores: dict[str, str], sink: SmtpSink) -> None:
    installation = start(DELIVERY=sink.url, **stores)
    user = "owner@people.test"
    installation.cli("user", "add", "--email", user, "--password", "a long password")
    installation.cli("plan", "set", "--user", user, "--unlimited")
    installation.cli("domain", "add", "shop.test", "--user", user, "--trusted")
    call = Api(installation, installation.cli("key", "add", "--user", user, "--surface", "mailersio")["key"])
    news = call("POST", "/lists", {"name": "News", "double_opt_in": True, "confirm_from": "news@shop.test"})["id"]
    rows = "".join(f"{name}@friends.test,Rome\n" for name in NAMES)
    made = call("POST", f"/lists/{news}/imports", {"csv": f"email,city\n{rows}nobody,\n"})
    asked = sink.wait_for(len(NAMES), timeout=30)
    assert {one.rcpts[0] for one in asked} == {f"{name}@friends.test" for name in NAMES}
    done = call("GET", f"/lists/{news}/imports/{made['id']}")
    assert (done["state"], done["added"], done["failed"]) == ("done", 3, 1)
    for one in asked:
        if not one.rcpts[0].startswith("zoe"):
            _follow(installation, _html(one.data), "/confirm/", "POST")
    assert call("GET", f"/lists/{news}")["subscribers"] == {"active": 2, "unsubscribed": 0, "pending": 1}

    _campaign(call, "First", list_id=news)
    written = sink.wait_for(len(NAMES) + 2, timeout=30)[len(NAMES) :]
    assert {one.rcpts[0] for one in written} == {"jane@friends.test", "joe@friends.test"}
    mine = next(one for one in written if one.rcpts[0].startswith("jane"))
    assert "Hi Rome" in _html(mine.data)
    _follow(installation, _html(mine.data), "/t/c/", "GET")
    clicked = {"behaviour": "clicked", "within_days": 1}
    segment = call("POST", "/segments", {"name": "Clicked", "list_id": news, "conditions": clicked})["id"]
    wait_for(lambda: call("GET", f"/segments/{segment}/preview")["count"] == 1, "the click", seconds=40)

    _campaign(call, "Second", segment_id=segment)
    *_, last = sink.wait_for(len(NAMES) + 3, timeout=30)
    assert last.rcpts == ["jane@friends.test"]
    call("DELETE", f"/lists/{news}/subscribers/jane@friends.test?mode=unsubscribe")
    (row,) = call("GET", "/suppressions?scope=list")["data"]
    assert (row["email"], row["list_id"]) == ("jane@friends.test", news)
