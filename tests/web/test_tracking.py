"""Tracking links over HTTP: where they lead, what they say, and that the database is not asked."""

from __future__ import annotations

import random
import string

import pytest
from flask.testing import FlaskClient

from gateway.services import hit_spool, link_tokens, tracking
from gateway.services.link_tokens import Kind
from models import database as db
from web.tracking import PIXEL

URL = "https://shop.test/a?x[]=1&y=|z&q=%20ü#top"


def _noted() -> list[tracking.Hit | None]:
    return [tracking.Hit.parse(line) for line in hit_spool.written(10)]


def test_a_click_leads_to_its_target_while_the_database_is_away(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise db.StoreUnavailable("away")

    monkeypatch.setattr(db, "rows", away)
    monkeypatch.setattr(db, "in_transaction", away)
    token = link_tokens.encode(Kind.CLICK, 7, URL.encode())
    answer = client.get(f"/t/c/{token}", headers={"User-Agent": "A", "Host": "track.anybody.test"})
    assert answer.status_code == 302
    assert answer.headers["Location"] == "https://shop.test/a?x[]=1&y=|z&q=%20%C3%BC#top"
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    head = client.head(f"/t/c/{token}", headers={"Sec-Purpose": "prefetch"})
    assert (head.status_code, head.headers["Location"]) == (302, answer.headers["Location"])
    hits = _noted()
    assert next((hit.delivery_id, hit.url, hit.method, hit.agent, hit.ip) for hit in hits if hit) == (
        7, URL, "GET", "A", "127.0.0.1",
    )  # fmt: skip
    assert [(hit.method, hit.purpose) for hit in hits if hit][1] == ("HEAD", "prefetch")


def test_the_pixel(client: FlaskClient) -> None:
    answer = client.get(f"/t/o/{link_tokens.encode(Kind.OPEN, 9)}.gif")
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/gif", PIXEL)
    assert len(PIXEL) == 43
    assert "no-store" in answer.headers["Cache-Control"]
    assert [hit.delivery_id for hit in _noted() if hit] == [9]


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_ten_thousand_altered_links_redirect_nobody(client: FlaskClient) -> None:
    """Through the door, where a path is decoded before anybody looks at it."""
    chance = random.Random(7)
    token = link_tokens.encode(Kind.CLICK, 7, b"https://shop.test/path?item=1")
    alphabet = string.ascii_letters + string.digits + "-_=.%/+~ \u00fc"
    seen: set[int] = set()
    tried = 0
    while tried < 10_000:
        letters = list(token)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            place = chance.randrange(len(letters))
            letters[place : place + chance.choice((0, 1, 1, 1, 2))] = chance.choice(alphabet)
        altered = "".join(letters)
        if altered == token:
            continue
        tried += 1
        answer = client.get(f"/t/c/{altered}")
        seen.add(answer.status_code)
        assert "Location" not in answer.headers, altered
    assert seen == {404}, seen
    assert _noted() == []
    assert client.get(f"/t/c/{token}").status_code == 302


def test_the_hidden_link_does_no_harm(client: FlaskClient) -> None:
    answer = client.get(f"/t/h/{link_tokens.encode(Kind.TRAP, 9)}", headers={"User-Agent": "A"})
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert "There is nothing here" in answer.text and "Location" not in answer.headers
    assert "no-store" in answer.headers["Cache-Control"]
    assert [(hit.delivery_id, hit.trap, hit.url) for hit in _noted() if hit] == [(9, True, "")]
    assert client.get(f"/t/h/{link_tokens.encode(Kind.CLICK, 9, b'https://a.test/')}").status_code == 404


@pytest.mark.parametrize("path", ["/t/c/{}x", "/t/c/", "/t/o/{}x.gif", "/t/o/{}", "/t/c/x", "/t/c/{}%0d%0a"])
def test_what_is_not_ours_leads_nowhere(client: FlaskClient, path: str) -> None:
    token = link_tokens.encode(Kind.CLICK, 7, b"https://shop.test/")
    answer = client.get(path.format(token))
    assert answer.status_code == 404
    assert "Location" not in answer.headers
    assert _noted() == []
