"""Double opt-in from the request to the page: a mail that asks, a link that confirms, and nobody written to before."""

from __future__ import annotations

import email
import email.policy
import re
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from flask.testing import FlaskClient

import models
from gateway import clock, errors, jobs
from gateway.services import (
    automation_work,
    confirmations,
    expansions,
    lanes,
    list_imports,
    messages,
    rendering,
    subscribers,
)
from models import database as db
from models.vocabulary import NoticeKind
from tests import cast
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.audience_world import Api, api
from web.confirm_texts import TEXTS, Texts

__all__ = ["app", "cheap_passwords", "client"]

JANE = "jane@friends.test"


@pytest.fixture
def call(client: FlaskClient) -> Api:
    return api(client, cast.sender())


@pytest.fixture
def news(call: Api) -> str:
    made = call(
        "POST", "/lists", {"name": "News & <more>", "double_opt_in": True, "confirm_from": "Shop <hi@shop.test>"}
    )
    assert (made["double_opt_in"], made["confirm_from"]) == (True, "Shop <hi@shop.test>")
    return str(made["id"])


def put(call: Api, news: str, address: str = JANE, **more: Any) -> dict[str, Any]:
    return dict(call("POST", f"/lists/{news}/subscribers", {"email": address, **more}))


def mails() -> list[Any]:
    """What the engine has accepted, as it would leave."""
    found = []
    for row in models.Delivery.select().order_by(models.Delivery.id):
        stored = rendering.load([row.message_id])[row.message_id]
        raw = stored.composed(row.id, row.rcpt, row.merge)
        found.append(email.message_from_bytes(raw, policy=email.policy.default))
    return found


def link(mail: Any) -> str:
    body = mail.get_body(("plain",)).get_content()
    found = re.search(r"https?://\S+/confirm/\S+", body)
    assert found, body
    return urlsplit(found[0]).path


def asked(call: Api, news: str) -> str:
    put(call, news)
    assert confirmations.drain(5) == 1
    return link(mails()[-1])


def test_who_is_added_is_asked_and_written_to_once_they_confirmed(call: Api, news: str, bells: list[str]) -> None:
    made = put(call, news, first_name="Jane")
    assert (call.status, made["status"], jobs.CONFIRM in bells) == (201, "pending", True)
    assert call("GET", f"/lists/{news}")["subscribers"] == {"active": 0, "unsubscribed": 0, "pending": 1}
    assert confirmations.drain(5) == 1
    assert confirmations.drain(5) == 0
    (mail,) = mails()
    assert (mail["To"], mail["From"]) == (JANE, "Shop <hi@shop.test>")
    assert mail["Subject"] == "Please confirm your subscription to News & <more>"
    html = mail.get_body(("html",)).get_content()
    assert "News &amp; &lt;more&gt;" in html
    assert link(mail) in html
    number = models.MailList.get().id
    with pytest.raises(errors.ListUnusable):
        messages.accept(call.who.caller, cast.draft(to=[], list_id=number))
    page = call.client.get(link(mail))
    assert (page.status_code, page.mimetype) == (200, "text/html")
    text = page.get_data(as_text=True)
    assert "News &amp; &lt;more&gt;" in text
    assert '<form method="post">' in text
    assert JANE not in text
    for header in ("Content-Security-Policy", "Referrer-Policy", "X-Robots-Tag"):
        assert header in page.headers
    assert put(call, news)["status"] == "pending"  # looking changed nothing
    assert call.client.post(link(mail)).status_code == 200
    assert call("GET", f"/lists/{news}/subscribers/{JANE}")["status"] == "active"
    assert "confirmed" in call.client.get(link(mail)).get_data(as_text=True)
    assert call.client.post(link(mail)).status_code == 200
    told = models.Notice.select().where(models.Notice.kind == NoticeKind.SUBSCRIBER_CONFIRMED.value)
    assert [orjson.loads(row.data)["email"] for row in told] == [JANE]
    messages.accept(call.who.caller, cast.draft(to=[], list_id=number))
    assert expansions.drain(5) == 1


def test_nobody_but_they_can_confirm(call: Api, news: str) -> None:
    put(call, news, status="active")
    path = f"/lists/{news}/subscribers/{JANE}"
    assert call("GET", path)["status"] == "pending"
    assert call("PATCH", path, {"status": "active"})["code"] == "not_confirmed"
    assert call.status == 409
    call("POST", f"/lists/{news}/imports", {"csv": f"email,status\n{JANE},active\njoe@x.test,active\nzoe@x.test,\n"})
    list_imports.drain(5)
    assert call("GET", f"/lists/{news}")["subscribers"] == {"active": 0, "unsubscribed": 0, "pending": 3}
    assert confirmations.drain(5) == 3


def test_a_template_of_the_list_asks_and_one_that_is_gone_does_not_keep_the_question(call: Api, news: str) -> None:
    told = call("PATCH", f"/lists/{news}", {"confirm_template_id": "tpl_none"})
    assert call.status == 404
    assert told["errors"][0]["field"] == "confirm_template_id"
    plain = call("POST", "/templates", {"name": "Plain", "subject": "S", "text": "T"})["id"]
    told = call("PATCH", f"/lists/{news}", {"confirm_template_id": plain})
    assert (call.status, told["errors"][0]["field"]) == (400, "confirm_template_id")
    text = "{{ first_name }}, {{ list }}: {{ confirm_url }}"
    ask = call("POST", "/templates", {"name": "Ask", "subject": "{{ list }}?", "text": text})["id"]
    changed = call("PATCH", f"/lists/{news}", {"confirm_template_id": ask, "confirm_hours": 2})
    assert (changed["confirm_template_id"], changed["confirm_hours"]) == (ask, 2)
    put(call, news, first_name="Jane")
    confirmations.drain(5)
    assert mails()[0]["Subject"] == "News & <more>?"
    assert mails()[0].get_content().startswith("Jane, News & <more>: http")
    call("DELETE", f"/templates/{ask}")
    put(call, news, "joe@friends.test")
    assert confirmations.drain(5) == 1
    assert mails()[1]["Subject"].startswith("Please confirm")
    assert call("GET", f"/lists/{news}")["confirm_template_id"] is None


def test_a_link_that_is_too_old_confirms_nothing(call: Api, news: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = asked(call, news)
    now = clock.now_ms()
    monkeypatch.setattr(clock, "now_ms", lambda: now + 169 * clock.HOUR_MS)
    for answer in (call.client.get(path), call.client.post(path)):
        assert answer.status_code == 410
        assert "too old" in answer.get_data(as_text=True)
    assert (
        subscribers.find(caller=call.who.owner, list_id=models.MailList.get().id, email=JANE).status.name == "PENDING"
    )


@pytest.mark.parametrize("change", ["removed", "unsubscribed", "moved", "deleted"])
def test_a_link_of_somebody_who_is_not_asked_any_more(call: Api, news: str, change: str) -> None:
    path, one = asked(call, news), f"/lists/{news}/subscribers/{JANE}"
    if change == "removed":
        call("DELETE", one)
    elif change == "unsubscribed":
        call("DELETE", one, mode="unsubscribe")
    elif change == "moved":
        call("PATCH", one, {"email": "other@friends.test"})
    else:
        call("DELETE", f"/lists/{news}")
    before = db.rows("SELECT status, address FROM subscriber")
    for answer in (call.client.get(path), call.client.post(path)):
        assert answer.status_code == 410
    assert db.rows("SELECT status, address FROM subscriber") == before


@pytest.mark.parametrize("token", ["x", "", "A" * 4000, "%00", "../confirm"])
def test_what_is_no_link_of_ours(client: FlaskClient, app: object, token: str) -> None:
    assert client.get(f"/confirm/{token}").status_code == 404
    assert client.post(f"/confirm/{token}").status_code in (404, 405)


def test_a_link_to_unsubscribe_confirms_nothing(call: Api, news: str) -> None:
    path = asked(call, news)
    assert call.client.get(path.replace("/confirm/", "/u/")).status_code == 404


def test_asking_once_more_is_limited(call: Api, news: str, monkeypatch: pytest.MonkeyPatch) -> None:
    again = f"/lists/{news}/subscribers/{JANE}/resend-confirmation"
    put(call, news)
    assert call("POST", again)["status"] == "pending"  # the first has not gone yet
    assert call.status == 202
    assert confirmations.drain(5) == 1
    told = call("POST", again)
    assert (call.status, told["code"]) == (429, "rate_limited")
    now, step = clock.now_ms(), confirmations.RESEND_AFTER_MS + 1000
    for turn in range(1, confirmations.MAILS_A_DAY):
        monkeypatch.setattr(clock, "now_ms", lambda turn=turn: now + turn * step)
        call("POST", again)
        assert call.status == 202
        assert confirmations.drain(5) == 1
    monkeypatch.setattr(clock, "now_ms", lambda: now + 10 * step)
    call("POST", again)
    assert call.status == 429
    monkeypatch.setattr(clock, "now_ms", lambda: now + 10 * step + clock.DAY_MS)
    call("POST", again)
    assert (call.status, confirmations.drain(5), len(mails())) == (202, 1, confirmations.MAILS_A_DAY + 1)
    call.client.post(link(mails()[-1]))
    assert call("POST", again)["code"] == "not_pending"


def test_who_was_unsubscribed_is_asked_anew_only_if_somebody_says_so(call: Api, news: str) -> None:
    call.client.post(asked(call, news))
    call("DELETE", f"/lists/{news}/subscribers/{JANE}", mode="unsubscribe")
    assert put(call, news, fields={"a": 1})["status"] == "unsubscribed"
    assert confirmations.drain(5) == 0
    assert put(call, news, status="active")["status"] == "pending"
    assert models.Suppression.select().count() == 1
    models.Confirmation.update(due_ms=1).execute()
    assert confirmations.drain(5) == 1
    call.client.post(link(mails()[-1]))
    assert call("GET", f"/lists/{news}/subscribers/{JANE}")["status"] == "active"
    assert models.Suppression.select().count() == 0


def test_a_worker_that_died_sends_nothing_twice(call: Api, news: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(call, news)
    settle = confirmations._settle

    def dies(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(confirmations, "_settle", dies)
    with pytest.raises(KeyboardInterrupt):
        confirmations.drain(5)
    monkeypatch.setattr(confirmations, "_settle", settle)
    assert confirmations.drain(5) == 0  # the lease of the dead
    models.Confirmation.update(due_ms=1).execute()
    assert confirmations.drain(5) == 1
    assert (len(mails()), models.Confirmation.get().sent) == (1, 1)


def test_what_cannot_go_now_goes_later(call: Api, news: str) -> None:
    put(call, news)
    models.SenderDomain.update(status="disabled").execute()
    assert confirmations.drain(5) == 0
    row = models.Confirmation.get()
    assert (row.sent, bool(row.cause)) == (0, True)
    assert row.due_ms > clock.now_ms()
    models.SenderDomain.update(status="enabled").execute()
    models.Confirmation.update(due_ms=1).execute()
    assert confirmations.drain(5) == 1


def test_who_is_suppressed_is_not_asked(call: Api, news: str) -> None:
    call("POST", "/suppressions", {"email": JANE})
    put(call, news)
    assert confirmations.drain(5) == 0
    assert (models.Confirmation.get().due_ms, len(mails())) == (None, 0)


def test_the_page_speaks_eight_languages(call: Api, news: str) -> None:
    path = asked(call, news)
    marks = {name: set(re.findall(r"\{(\w+)\}", getattr(TEXTS["en"], name))) for name in Texts._fields}
    for language, texts in TEXTS.items():
        answer = call.client.get(path, headers={"Accept-Language": language})
        assert answer.headers["Content-Language"] == language
        assert texts.confirm in answer.get_data(as_text=True)
        for name in Texts._fields:
            assert set(re.findall(r"\{(\w+)\}", getattr(texts, name))) == marks[name], (language, name)


def sent_live() -> list[bool]:
    """Whether each question is in earnest, in the message and in the way its delivery takes."""
    rows = db.rows(
        "SELECT m.live, l.route FROM message m JOIN delivery d ON d.message_id = m.id JOIN lane l ON l.id = d.lane_id"
        " ORDER BY m.id"
    )
    assert all((route == lanes.ROUTE_TEST) is not bool(made) for made, route in rows)
    return [bool(made) for made, _ in rows]


def test_a_test_key_asks_by_a_test_only(call: Api, news: str) -> None:
    tester = api(call.client, call.who, live=False)
    assert put(tester, news)["status"] == "pending"
    tester("POST", f"/lists/{news}/imports", {"csv": "email\njoe@friends.test\n"})
    list_imports.drain(5)
    assert confirmations.drain(5) == 2
    assert sent_live() == [False, False]
    tester("POST", f"/lists/{news}/subscribers/{JANE}/resend-confirmation")
    assert tester.status == 429
    models.Confirmation.update(sent_ms=1).execute()
    tester("POST", f"/lists/{news}/subscribers/{JANE}/resend-confirmation")
    assert (tester.status, confirmations.drain(5), sent_live()) == (202, 1, [False] * 3)


@pytest.mark.parametrize("asked_before", [True, False])
def test_who_was_asked_by_a_test_is_asked_for_real_by_a_live_key(call: Api, news: str, asked_before: bool) -> None:
    tester = api(call.client, call.who, live=False)
    put(tester, news)
    if asked_before:
        assert confirmations.drain(5) == 1
        models.Confirmation.update(sent_ms=1).execute()
    assert put(call, news)["status"] == "pending"
    assert confirmations.drain(5) == 1
    assert sent_live()[-1] is True
    told = tester("POST", f"/lists/{news}/subscribers/{JANE}/resend-confirmation")
    assert (tester.status, told["code"]) == (403, "not_allowed")
    assert models.Confirmation.get().live


def test_a_test_that_was_confirmed_starts_no_live_automation(call: Api, news: str) -> None:
    trigger = {"type": "event", "event": "subscriber.added", "list_id": news}
    call("POST", "/automations", {"name": "A", "trigger": trigger, "actions": [{"type": "notice", "name": "here"}]})
    assert call.status == 201
    tester = api(call.client, call.who, live=False)
    put(tester, news)
    put(call, news, "joe@friends.test")
    assert confirmations.drain(5) == 2
    for mail in mails():
        assert call.client.post(link(mail)).status_code == 200
    automation_work.drain(5)
    assert [row.email for row in models.AutomationRun.select()] == ["joe@friends.test"]
