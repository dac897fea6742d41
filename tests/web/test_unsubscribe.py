"""The unsubscribe link over HTTP: who only looks changes nothing, who posts is believed at once."""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest
from flask.testing import FlaskClient

import models
from gateway.services import (
    expansions,
    link_tokens,
    lists,
    messages,
    subscribers,
    suppressions,
    unsubscribe_links,
    unsubscribes,
)
from gateway.services.link_tokens import Kind
from gateway.services.subscribers import New
from gateway.services.unsubscribe_links import Leaving
from models import database as db
from models.vocabulary import EventKind
from tests import cast
from web.unsubscribe_texts import DEFAULT, TEXTS, Texts


def _link() -> tuple[str, cast.Sender]:
    who = cast.sender()
    messages.accept(who.caller, cast.draft())
    row = models.Delivery.get()
    return f"/u/{unsubscribe_links.token(Leaving(row.id, who.domain.id, 0, row.rcpt))}", who


def _suppressed() -> list[tuple[str, str, str]]:
    return [(row.address, row.reason, row.rule) for row in models.Suppression.select()]


def _events() -> int:
    return int(models.Event.select().where(models.Event.kind == EventKind.UNSUBSCRIBED).count())


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"List-Unsubscribe": "One-Click"}},
        {"data": {"List-Unsubscribe": "One-Click"}, "content_type": "multipart/form-data"},
        {"data": b""},
        {"data": b"\xff{", "content_type": "application/json"},
        {"data": b"--x\r\nbroken", "content_type": "multipart/form-data; boundary=x"},
    ],
)
def test_one_click_acts_at_once_whatever_the_body(client: FlaskClient, body: dict[str, Any]) -> None:
    path, _ = _link()
    answer = client.post(path, **body)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert _suppressed() == [("jane@friends.test", "unsubscribe", "unsubscribe:link")]
    assert b'"one_click"' in models.Event.get(models.Event.kind == EventKind.UNSUBSCRIBED).data.encode()


def test_posting_twice_is_one_unsubscription(client: FlaskClient) -> None:
    path, _ = _link()
    assert [client.post(path).status_code for _ in range(2)] == [200, 200]
    assert (len(_suppressed()), _events()) == (1, 1)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_who_only_looks_changes_nothing(client: FlaskClient, method: str) -> None:
    path, _ = _link()
    answer = client.open(path, method=method, headers={"Sec-Purpose": "prefetch"})
    assert answer.status_code == 200
    assert (_suppressed(), _events()) == ([], 0)


def test_a_person_asks_decides_and_takes_it_back(client: FlaskClient) -> None:
    path, _ = _link()
    asked = client.get(path)
    assert "Unsubscribe?" in asked.text
    assert "j***@friends.test" in asked.text and "jane@" not in asked.text
    assert "shop.test" in asked.text
    assert "You are unsubscribed" in client.post(path, data={"action": "unsubscribe"}).text
    assert '"page"' in models.Event.get(models.Event.kind == EventKind.UNSUBSCRIBED).data
    assert "You are unsubscribed" in client.get(path).text
    assert "You get mail again" in client.post(path, data={"action": "resubscribe"}).text
    assert _suppressed() == []
    client.post(path)
    assert _events() == 2


def test_a_link_takes_back_only_what_a_link_did(client: FlaskClient) -> None:
    path, who = _link()
    db.in_transaction(
        lambda tx: suppressions.add(
            tx, account_id=who.owner.account_id, domain_id=0, address="Jane@friends.test", reason="unsubscribe"
        )
    )
    client.post(path)
    answer = client.post(path, data={"action": "resubscribe"})
    assert "still unsubscribed" in answer.text
    assert _suppressed() == [("jane@friends.test", "unsubscribe", "unsubscribe")]


def test_while_the_database_is_away_nothing_is_promised(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = _link()

    def away(*_: object, **__: object) -> None:
        raise db.StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(db, "rows", away)
        patched.setattr(db, "in_transaction", away)
        answer = client.post(path)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert "not unsubscribed yet" in answer.text
        assert "Unsubscribe?" in client.get(path).text
    assert _suppressed() == []
    with monkeypatch.context() as patched:
        patched.setattr(unsubscribes, "state", away)
        answer = client.post(path)  # stored, though it cannot be read again
        assert (answer.status_code, len(_suppressed())) == (200, 1)


@pytest.mark.parametrize("kind", [Kind.CLICK, Kind.OPEN])
def test_tokens_of_other_links_do_nothing(client: FlaskClient, kind: Kind) -> None:
    path, _ = _link()
    assert client.post(f"/u/{link_tokens.encode(kind, 1)}").status_code == 404
    assert client.post(path[:-1]).status_code == 404
    assert client.get(path + "A").status_code == 404
    assert _suppressed() == []


class _Outline(HTMLParser):
    """Tags that are open must be closed, in their order; text of elements by name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data


def test_the_page_is_plain_accessible_and_private(client: FlaskClient) -> None:
    path, _ = _link()
    answers = [client.get(path), client.post(path), client.get("/u/x")]
    for answer in answers:
        page = _Outline(answer.text)
        assert page.open == []
        tags = [tag for tag, _ in page.attributes]
        assert ("html", {"lang": "en"}) in page.attributes
        assert (tags.count("h1"), tags.count("main"), tags.count("title")) == (1, 1, 1)
        assert page.texts["title"] == page.texts["h1"]
        assert not {"script", "img", "link", "iframe"} & set(tags)
        assert tags.count("button") == tags.count("form")
        assert all(page.texts["button"].strip() for tag in tags if tag == "button")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "noindex" in answer.headers["X-Robots-Tag"]
        assert "no-store" in answer.headers["Cache-Control"]


def test_names_are_escaped(client: FlaskClient) -> None:
    _, who = _link()
    leaving = Leaving(1, who.domain.id, 0, '"<b>x"@friends.test')
    assert "<b>x" not in client.get(f"/u/{unsubscribe_links.token(leaving)}").text
    made = models.MailList.create(
        uuid=b"1" * 16, account_id=who.owner.account_id, name="<script>", created_ms=1, updated_ms=1
    )
    page = client.get(f"/u/{unsubscribe_links.token(Leaving(1, who.domain.id, made.id, 'j@friends.test'))}").text
    assert "&lt;script&gt;" in page and "<script" not in page


def _list_link(name: str = "News & <more>") -> tuple[str, cast.Sender]:
    who = cast.sender()
    made = lists.add(caller=who.owner, name=name)
    subscribers.add_many(caller=who.owner, list_id=made.id, new=[New("jane@friends.test", {})])
    messages.accept(who.caller, cast.draft(to=[], list_id=made.id))
    expansions.drain(5)
    row = models.Delivery.get()
    return f"/u/{unsubscribe_links.token(Leaving(row.id, who.domain.id, made.id, row.rcpt))}", who


def _buttons(text: str) -> dict[str, str]:
    """What each button does → what it says."""
    return dict(re.findall(r'<button type="submit" name="action" value="(\w+)">(.*?)</button>', text))


def test_of_a_list_there_is_a_choice(client: FlaskClient) -> None:
    path, who = _list_link()
    asked = client.get(path)
    assert _buttons(asked.text) == {
        "list": "This list only: <strong>News &amp; &lt;more&gt;</strong>",
        "unsubscribe": "All mail from <strong>shop.test</strong>",
    }
    left = client.post(path, data={"action": "list"})
    assert "You are off this list" in left.text and "<title>You are off this list</title>" in left.text
    assert _buttons(left.text).keys() == {"resubscribe", "unsubscribe"}
    assert not suppressions.check(
        None, account_id=who.owner.account_id, domain_id=who.domain.id, addresses=["jane@friends.test"]
    )
    assert "You are off this list" in client.get(path).text
    assert "You get mail again" in client.post(path, data={"action": "resubscribe"}).text
    assert _suppressed() == []
    client.post(path, data={"action": "list"})
    assert "You are unsubscribed" in client.post(path, data={"action": "unsubscribe"}).text
    assert suppressions.check(
        None, account_id=who.owner.account_id, domain_id=who.domain.id, addresses=["jane@friends.test"]
    )
    assert "You get mail again" in client.post(path, data={"action": "resubscribe"}).text
    assert _suppressed() == []


def test_one_click_means_everything_of_a_list_too(client: FlaskClient) -> None:
    path, who = _list_link()
    assert "You are unsubscribed" in client.post(path, data={"List-Unsubscribe": "One-Click"}).text
    assert [row.domain_id for row in models.Suppression.select()] == [who.domain.id]


def test_every_language_has_every_text_with_its_places() -> None:
    assert set(TEXTS) == {"en", "de", "fr", "es", "it", "pt", "nl", "tr"}
    for language, texts in TEXTS.items():
        for name in Texts._fields:
            said, english = getattr(texts, name), getattr(TEXTS[DEFAULT], name)
            assert said.strip() == said and said, (language, name)
            assert sorted(re.findall(r"{(\w+)}", said)) == sorted(re.findall(r"{(\w+)}", english)), (language, name)
            assert language == DEFAULT or said != english, (language, name)
            # What one of them leaves out, another may not promise.
            assert said.endswith(".") == english.endswith("."), (language, name)


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("pt-BR", "pt"),
        ("ja, fr;q=0.5", "fr"),
        ("ja", "en"),
        ("", "en"),
        ("*", "en"),
        ("en;q=0, tr", "tr"),
        ("no such; q=; header,,", "en"),
    ],
)
def test_the_page_speaks_the_readers_language(client: FlaskClient, asked: str, language: str) -> None:
    path, _ = _link()
    answer = client.get(path, headers={"Accept-Language": asked} if asked else {})
    assert f'<html lang="{language}">' in answer.text
    assert f"<h1>{escape(TEXTS[language].ask_title)}</h1>" in answer.text
    assert answer.headers["Content-Language"] == language
    assert "Accept-Language" in answer.headers["Vary"]


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_each_page_of_each_language_is_whole(client: FlaskClient, language: str) -> None:
    path, _ = _list_link()
    headers = {"Accept-Language": language}
    pages = [client.get(path, headers=headers), client.get("/u/x", headers=headers)]
    pages += [
        client.post(path, data={"action": action}, headers=headers) for action in ("list", "unsubscribe", "resubscribe")
    ]
    texts = TEXTS[language]
    titles = [texts.ask_title, texts.broken_title, texts.off_list_title, texts.ended_title, texts.back_title]
    for page, title in zip(pages, titles, strict=True):
        found = _Outline(page.text)
        assert found.open == [] and found.texts["h1"] == title
        assert "{" not in page.text.partition("</style>")[2]
