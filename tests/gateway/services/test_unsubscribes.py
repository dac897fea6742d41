"""Unsubscribe links in mail, and what follows from one: nothing more goes out, and everybody concerned is told."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import orjson
import pytest

import models
from gateway import clock, ids
from gateway.mail import dkim
from gateway.mail.draft import Mailbox
from gateway.services import (
    deliveries,
    domain_changes,
    expansions,
    gates,
    link_tokens,
    lists,
    messages,
    rendering,
    senders,
    statistics,
    subscribers,
    suppressions,
    templates,
    unsubscribe_links,
    unsubscribes,
    webhooks,
)
from gateway.services.link_tokens import Kind
from gateway.services.subscribers import New
from gateway.services.unsubscribe_links import Leaving
from models.vocabulary import DeliveryState, EventKind, Stream, SubscriberStatus
from tests import cast
from tests.conftest import use_settings

pytestmark = pytest.mark.usefixtures("store")

BASE = "https://mail.shop.test"
LINK = re.compile(r"https://mail\.shop\.test/u/([\w-]+)")


@pytest.fixture(autouse=True)
def public(store: str, tmp_path: Path) -> Iterator[None]:
    use_settings(tmp_path, PUBLIC_URL=BASE, DELIVERY="capture")
    yield
    deliveries.close()


def _stored() -> rendering.Stored:
    (stored,) = rendering.load([models.Message.select().order_by(models.Message.id.desc()).first().id]).values()
    return stored


def _read(message: bytes) -> EmailMessage:
    return email.message_from_bytes(message, policy=email.policy.default)


def _body(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    return str(found.get_content())


def _switched_on(who: cast.Sender) -> None:
    domain_changes.update(caller=who.owner, domain_id=who.domain.id, unsubscribe_link=True)
    senders.forget()


def _to_list(who: cast.Sender, size: int = 2, **changed: Any) -> lists.MailList:
    made = lists.add(caller=who.owner, name="News")
    new = [New(f"reader{n}@friends.test", {}) for n in range(size)]
    subscribers.add_many(caller=who.owner, list_id=made.id, new=new)
    messages.accept(who.caller, cast.draft(to=[], list_id=made.id, **changed))
    expansions.drain(5)
    return made


def _leaving(row: models.Delivery, list_id: int = 0) -> Leaving:
    return Leaving(row.id, row.domain_id, list_id, row.rcpt)


def test_a_token_says_who_leaves_what() -> None:
    leaving = Leaving(77, 3, 12, "Zoë@friends.test")
    made = unsubscribe_links.token(leaving)
    assert unsubscribe_links.read(made) == leaving
    assert unsubscribe_links.read(made[:-1]) is None
    assert unsubscribe_links.read(link_tokens.encode(Kind.CLICK, 77, b"x")) is None
    assert link_tokens.decode(Kind.OPEN, made) is None


class TestHeaders:
    def test_mail_to_a_list_says_how_to_leave_it(self) -> None:
        who = cast.sender()
        made = _to_list(who)
        for row in models.Delivery.select():
            signed = _stored().rendered(row.id, row.rcpt, row.merge)
            message = _read(signed)
            (token,) = LINK.findall(message["List-Unsubscribe"])
            mail = unsubscribe_links.address(row.id, "bounce.shop.test")
            assert message["List-Unsubscribe"].replace(" ", "") == (
                f"<{BASE}/u/{token}>,<mailto:{mail}?subject=unsubscribe>"
            )
            assert unsubscribe_links.read_address(mail) == row.id
            assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
            assert message["List-Id"] == f"<list-{made.id}.shop.test>"
            assert unsubscribe_links.read(token) == Leaving(row.id, who.domain.id, made.id, row.rcpt)
            for signature in message.get_all("DKIM-Signature", []):
                named = re.sub(r"\s", "", re.search(r"h=([^;]+);", signature)[1]).split(":")  # type: ignore[index]
                # one more than there are, so that nobody can add another
                assert (named.count("list-unsubscribe"), named.count("list-unsubscribe-post")) == (2, 2)

    def test_transactional_mail_has_none_until_the_domain_wants_it(self) -> None:
        who = cast.sender()
        messages.accept(who.caller, cast.draft(track_links=False, track_opens=False))
        stored = _stored()
        assert not stored.individual
        assert b"List-" not in stored.composed(1, "jane@friends.test", None)
        _switched_on(who)
        stored = _stored()
        assert stored.individual
        message = _read(stored.composed(1, "jane@friends.test", None))
        assert message["List-Unsubscribe-Post"] and LINK.search(message["List-Unsubscribe"])
        assert message["List-Id"] is None

    def test_the_customers_own_stay_alone(self) -> None:
        who = cast.sender()
        own = [("List-Unsubscribe", "<https://shop.test/bye>"), ("List-ID", "<news.shop.test>")]
        _to_list(who, headers=own)
        message = _read(_stored().composed(1, "reader0@friends.test", "{}"))
        assert message.get_all("List-Unsubscribe") == ["<https://shop.test/bye>"]
        assert message.get_all("List-Id") == ["<news.shop.test>"]
        assert message["List-Unsubscribe-Post"] is None

    def test_one_click_is_promised_over_https_alone(self, tmp_path: Path) -> None:
        use_settings(tmp_path, PUBLIC_URL="http://mail.shop.test")
        _to_list(cast.sender())
        message = _read(_stored().composed(1, "reader0@friends.test", "{}"))
        assert "http://mail.shop.test/u/" in message["List-Unsubscribe"]
        assert message["List-Unsubscribe-Post"] is None

    def test_the_longest_address_makes_a_field_that_can_travel(self) -> None:
        who = cast.sender()
        _switched_on(who)
        rcpt = f"{'l' * 64}@{'.'.join(['d' * 61] * 4)}.test"
        messages.accept(who.caller, cast.draft())
        made = _stored().composed(2**62, rcpt, None)
        assert max(map(len, made.split(b"\r\n"))) <= 998
        (token,) = LINK.findall(_read(made)["List-Unsubscribe"])
        found = unsubscribe_links.read(token)
        assert found is not None and found.rcpt == rcpt


class TestBodies:
    @pytest.mark.parametrize("place", ["%unsubscribe_url%", "{{unsubscribe_url}}", "%7B%7Bunsubscribe_url%7D%7D"])
    def test_each_place_gets_the_deliverys_link(self, place: str) -> None:
        who = cast.sender()
        _switched_on(who)
        html = f'<p><a href="{place}">x</a> <a href="https://shop.test/a">a</a></p>'
        messages.accept(who.caller, cast.draft(html=html, text=f"Bye: {place}\n", cc=[Mailbox("carl@friends.test")]))
        stored = _stored()
        for row in models.Delivery.select():
            message = _read(stored.composed(row.id, row.rcpt, None))
            for kind in ("html", "plain"):
                (token,) = LINK.findall(_body(message, kind))  # one: no footer where there is a place
                assert unsubscribe_links.read(token) == _leaving(row)
            assert "/t/c/" in _body(message, "html")

    def test_a_place_is_filled_where_the_switch_is_off_too(self) -> None:
        who = cast.sender()
        messages.accept(
            who.caller, cast.draft(html=None, text="%unsubscribe_url%", track_links=False, track_opens=False)
        )
        stored = _stored()
        assert stored.individual
        message = _read(stored.composed(1, "jane@friends.test", None))
        assert LINK.match(str(message.get_content()))
        assert message["List-Unsubscribe"] is None

    def test_templates_and_lists_have_it_as_a_variable(self) -> None:
        who = cast.sender()
        made = templates.add(
            caller=who.owner, name="t", subject="x", html='<a href="{{ unsubscribe_url }}">bye</a>', text="{{name}}"
        )
        parts: dict[str, Any] = {"subject": "", "html": None, "text": None, "template_id": made.id}
        messages.accept(who.caller, cast.draft(**parts, variables={"name": "Zoë"}))
        message = _read(_stored().composed(1, "jane@friends.test", None))
        assert unsubscribe_links.read(LINK.findall(_body(message, "html"))[0]) == Leaving(
            1, who.domain.id, 0, "jane@friends.test"
        )
        found = _to_list(who, **parts)
        message = _read(_stored().composed(9, "reader0@friends.test", "{}"))
        assert unsubscribe_links.read(LINK.findall(_body(message, "html"))[0]) == Leaving(
            9, who.domain.id, found.id, "reader0@friends.test"
        )

    def test_a_footer_where_nothing_else_says_it(self) -> None:
        who = cast.sender()
        _switched_on(who)
        messages.accept(who.caller, cast.draft(html="<html><body><p>x</p></body></html>", text="x\n"))
        message = _read(_stored().composed(5, "jane@friends.test", None))
        html, text = _body(message, "html"), _body(message, "plain")
        for body in (html, text):
            (token,) = LINK.findall(body)
            assert unsubscribe_links.read(token) == Leaving(5, who.domain.id, 0, "jane@friends.test")
        assert html.index("</p>") < html.index("/u/") < html.index("</body>")
        assert ">Unsubscribe</a>" in html
        assert text.splitlines()[:3] == ["x", "", "To stop these messages, unsubscribe here:"]

    def test_submitted_mail(self) -> None:
        who = cast.sender()
        made = EmailMessage(policy=email.policy.SMTP)
        made["From"], made["To"], made["Subject"] = "hello@shop.test", "jane@friends.test", "x"
        made.set_content("Grüße\n", cte="base64")
        made.add_alternative("<p>Grüße</p>\n", subtype="html", cte="quoted-printable")
        made.add_attachment("%unsubscribe_url%", filename="a.txt")

        def stored(raw: bytes) -> rendering.Stored:
            return rendering.Stored(
                1, ids.new_uuid(), who.domain.id, "x", {}, clock.now_ms(), True, gates.KIND_MIME, raw
            )

        off = stored(made.as_bytes())
        assert not off.individual
        assert off.composed(7, "jane@friends.test", None) == made.as_bytes()
        _switched_on(who)
        on = stored(made.as_bytes())
        assert on.individual
        message = _read(on.composed(7, "jane@friends.test", None))
        assert LINK.search(message["List-Unsubscribe"])
        for kind in ("html", "plain"):
            (token,) = LINK.findall(_body(message, kind))
            assert unsubscribe_links.read(token) == Leaving(7, who.domain.id, 0, "jane@friends.test")
        assert [part.get_content() for part in message.iter_attachments()] == ["%unsubscribe_url%\r\n"]
        own = stored(b"List-Unsubscribe: <https://shop.test/bye>\r\n" + made.as_bytes())
        message = _read(own.composed(7, "jane@friends.test", None))
        assert message.get_all("List-Unsubscribe") == ["<https://shop.test/bye>"]


class TestLeaving:
    def test_it_is_told_once_and_everywhere(self) -> None:
        who = cast.sender()
        webhooks.add(caller=who.owner, domain_id=who.domain.id, event="unsubscribe", url="http://127.0.0.1:9/")
        messages.accept(who.caller, cast.draft(to="Jane@friends.test", tags=["spring"], metadata={"order": "1"}))
        row = models.Delivery.get()
        news = [unsubscribes.unsubscribe(leaving=_leaving(row), method="one_click", ip="192.0.2.9") for _ in "ab"]
        assert news == [True, False]
        event = models.Event.get(models.Event.kind == EventKind.UNSUBSCRIBED)
        assert orjson.loads(event.data) == {"method": "one_click", "metadata": {"order": "1"}}
        assert (event.message_id, event.delivery_id, event.ip) == (row.message_id, row.id, "192.0.2.9")
        found = models.Suppression.get()
        assert (found.address, found.domain_id, found.reason, found.message_id, found.expires_ms) == (
            "jane@friends.test", who.domain.id, suppressions.UNSUBSCRIBE, row.message_id, None,
        )  # fmt: skip
        assert models.WebhookDelivery.select().count() == 1
        counted = statistics.of_domain(caller=who.owner, domain_id=who.domain.id, days=statistics.period(None, None))
        assert counted.counts[EventKind.UNSUBSCRIBED] == 1
        assert counted.tags["spring"][EventKind.UNSUBSCRIBED] == 1

    def test_what_waits_in_the_queue_does_not_go_out(self) -> None:
        who = cast.sender()
        for rcpt in ("jane", "jane", "carl"):
            messages.accept(who.caller, cast.draft(to=f"{rcpt}@friends.test"))
        first = models.Delivery.select().order_by(models.Delivery.id).first()
        unsubscribes.unsubscribe(leaving=_leaving(first), method="one_click")
        while deliveries.drain(0.1):
            pass
        assert deliveries.engine().wait_idle(60)
        deliveries.close()
        states = [row.state for row in models.Delivery.select().order_by(models.Delivery.id)]
        assert states == [DeliveryState.SUPPRESSED, DeliveryState.SUPPRESSED, DeliveryState.DELIVERED]
        assert [row.rcpt for row in models.CapturedMail.select()] == ["carl@friends.test"]

    def test_who_left_one_list_gets_nothing_of_it_that_waits_and_all_the_rest(self) -> None:
        who = cast.sender()
        made = _to_list(who, 1)
        messages.accept(who.caller, cast.draft(to="reader0@friends.test"))
        messages.accept(who.caller, cast.draft(to=[], list_id=made.id))
        expansions.drain(5)
        first = models.Delivery.select().order_by(models.Delivery.id).first()
        unsubscribes.unsubscribe(leaving=_leaving(first, made.id), method="page", list_only=True)
        while deliveries.drain(0.1):
            pass
        assert deliveries.engine().wait_idle(60)
        deliveries.close()
        states = [row.state for row in models.Delivery.select().order_by(models.Delivery.id)]
        assert states == [DeliveryState.SUPPRESSED, DeliveryState.DELIVERED, DeliveryState.SUPPRESSED]

    def test_it_holds_for_the_domain_alone(self) -> None:
        who = cast.sender()
        messages.accept(who.caller, cast.draft())
        unsubscribes.unsubscribe(leaving=_leaving(models.Delivery.get()), method="page")
        check: dict[str, Any] = {"account_id": who.owner.account_id, "addresses": ["jane@friends.test"]}
        assert suppressions.check(None, domain_id=who.domain.id, **check)
        assert not suppressions.check(None, domain_id=who.domain.id + 1, **check)

    def test_who_leaves_a_list_is_off_it_and_may_come_back(self) -> None:
        who = cast.sender()
        made = _to_list(who)
        assert models.Message.get().stream == Stream.BULK
        row = models.Delivery.get(models.Delivery.rcpt == "reader1@friends.test")
        leaving = _leaving(row, made.id)

        def statuses() -> list[int]:
            return [one.status for one in models.Subscriber.select().order_by(models.Subscriber.id)]

        assert unsubscribes.unsubscribe(leaving=leaving, method="one_click")
        assert statuses() == [SubscriberStatus.ACTIVE, SubscriberStatus.UNSUBSCRIBED]
        assert orjson.loads(models.Event.get(models.Event.kind == EventKind.UNSUBSCRIBED).data)["list"] == made.id
        assert unsubscribes.state(leaving) == unsubscribes.State("shop.test", "News", True, True)
        assert unsubscribes.resubscribe(leaving=leaving)
        assert not unsubscribes.resubscribe(leaving=leaving)
        assert statuses() == [SubscriberStatus.ACTIVE] * 2
        assert unsubscribes.state(leaving) == unsubscribes.State("shop.test", "News", False)

    def test_who_leaves_one_list_keeps_the_other_mail(self) -> None:
        who = cast.sender()
        made = _to_list(who)
        other = lists.add(caller=who.owner, name="Offers")
        subscribers.add_many(caller=who.owner, list_id=other.id, new=[New("reader1@friends.test", {})])
        row = models.Delivery.get(models.Delivery.rcpt == "reader1@friends.test")
        leaving = _leaving(row, made.id)
        news = [unsubscribes.unsubscribe(leaving=leaving, method="page", list_only=True) for _ in "ab"]
        assert news == [True, False]
        data = orjson.loads(models.Event.get(models.Event.kind == EventKind.UNSUBSCRIBED).data)
        assert (data["list"], data["scope"], data["method"]) == (made.id, "list", "page")
        assert unsubscribes.state(leaving) == unsubscribes.State("shop.test", "News", False, True)
        assert unsubscribes.state(_leaving(row, other.id)) == unsubscribes.State("shop.test", "Offers", False, False)
        check: dict[str, Any] = {"account_id": who.owner.account_id, "addresses": ["reader1@friends.test"]}
        assert not suppressions.check(None, domain_id=who.domain.id, **check)
        # Then everything, and back again.
        assert unsubscribes.unsubscribe(leaving=leaving, method="page")
        assert suppressions.check(None, domain_id=who.domain.id, **check)
        assert unsubscribes.resubscribe(leaving=leaving)
        assert unsubscribes.state(leaving) == unsubscribes.State("shop.test", "News", False, False)
        assert models.Suppression.select().count() == 0

    def test_without_a_list_there_is_nothing_but_everything(self) -> None:
        who = cast.sender()
        messages.accept(who.caller, cast.draft())
        leaving = _leaving(models.Delivery.get())
        assert unsubscribes.unsubscribe(leaving=leaving, method="page", list_only=True)
        assert unsubscribes.state(leaving).ended
        strangers = _to_list(cast.sender("other", "other.test"), sender=Mailbox("hello@other.test"))
        other = Leaving(leaving.delivery_id, who.domain.id, strangers.id, "carl@friends.test")
        assert unsubscribes.unsubscribe(leaving=other, method="page", list_only=True)
        assert unsubscribes.state(other) == unsubscribes.State("shop.test", "", True, False)

    def test_a_link_outlives_its_message(self) -> None:
        who = cast.sender()
        leaving = Leaving(4711, who.domain.id, 0, "jane@friends.test")
        assert unsubscribes.unsubscribe(leaving=leaving, method="one_click")
        assert models.Suppression.get().message_id is None
        assert models.Event.select().where(models.Event.kind == EventKind.UNSUBSCRIBED).count() == 0
        assert not unsubscribes.unsubscribe(leaving=Leaving(1, 999_999, 0, "jane@friends.test"), method="page")

    def test_other_accounts_lists_are_out_of_reach(self) -> None:
        made = _to_list(cast.sender("other", "other.test"), sender=Mailbox("hello@other.test"))
        who = cast.sender()
        unsubscribes.unsubscribe(leaving=Leaving(1, who.domain.id, made.id, "reader0@friends.test"), method="page")
        assert {one.status for one in models.Subscriber.select()} == {SubscriberStatus.ACTIVE}


def test_the_fields_are_among_the_signed() -> None:
    assert {b"list-unsubscribe", b"list-unsubscribe-post"} <= set(dkim.SIGNED)
