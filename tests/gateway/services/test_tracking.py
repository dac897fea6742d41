"""Hits become events once each, with their verdicts, counters and webhooks."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

import models
from gateway import clock, ids
from gateway.mail.draft import Mailbox
from gateway.services import (
    domain_changes,
    event_buckets,
    gates,
    hit_spool,
    housekeeping,
    messages,
    rendering,
    senders,
    spool,
    statistics,
    tracking,
    tracking_links,
    webhooks,
)
from models import database as db
from models.vocabulary import DeliveryState, EventKind
from tests import cast

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
HTML = '<p><a href="https://shop.test/a?x=1&amp;y=2">a</a> <a href="https://shop.test/b">b</a></p>'


@pytest.fixture(autouse=True)
def no_hold(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hits are written down at once; what a burst is stays as it is."""
    monkeypatch.setattr(tracking, "HOLD_MS", 0)
    monkeypatch.setattr(tracking, "_SEAL_MS", 0)
    monkeypatch.setattr(tracking, "_TICK_S", 0.001)
    yield


def _delivered(who: cast.Sender, ago_ms: int = 60_000, **changed: Any) -> int:
    """A message that was delivered some time ago; the id of its delivery."""
    messages.accept(who.caller, cast.draft(html=HTML, **changed))
    row = models.Delivery.select().order_by(models.Delivery.id.desc()).first()
    models.Attempt.insert(
        delivery_id=row.id, no=1, transport="capture", outcome="delivered", started_ms=clock.now_ms() - ago_ms, ms=0
    ).execute()
    models.Delivery.update(state=DeliveryState.DELIVERED, due_ms=None, lane_id=None).where(
        models.Delivery.id == row.id
    ).execute()
    return int(row.id)


def _events() -> list[tuple[EventKind, dict[str, Any], str]]:
    rows = models.Event.select().where(models.Event.kind.in_([EventKind.OPENED, EventKind.CLICKED]))
    return [(EventKind(row.kind), orjson.loads(row.data), row.ip) for row in rows.order_by(models.Event.id)]


def _hit(delivery_id: int, url: str = "", **changed: str) -> None:
    assert tracking.note(delivery_id=delivery_id, url=url, **({"agent": BROWSER, "ip": "192.0.2.9"} | changed))


def test_a_hit_is_an_event_with_its_counters_and_webhooks(bells: list[str]) -> None:
    who = cast.sender()
    webhooks.add(caller=who.owner, domain_id=who.domain.id, event="click", url="http://127.0.0.1:9/")
    delivery = _delivered(who, tags=["spring"], metadata={"order": "1"})
    _hit(delivery)
    _hit(delivery, "https://shop.test/b")
    _hit(delivery, "https://shop.test/b", method="HEAD")
    assert "hits" in bells
    assert tracking.drain(2) == 3
    base = {
        "user_agent": BROWSER, "device": "PC", "device_kind": "desktop", "client": "Firefox",
        "metadata": {"order": "1"},
    }  # fmt: skip
    assert _events() == [
        (EventKind.OPENED, {"verdict": "human", **base}, "192.0.2.9"),
        (EventKind.CLICKED, {"verdict": "human", "url": "https://shop.test/b", **base}, "192.0.2.9"),
        (
            EventKind.CLICKED,
            {"verdict": "machine", "reasons": ["head_request"], "url": "https://shop.test/b", "repeat": True, **base},
            "192.0.2.9",
        ),
    ]
    assert models.WebhookDelivery.select().count() == 1  # a repeated hit is not told
    found = statistics.of_domain(caller=who.owner, domain_id=who.domain.id, days=statistics.period(None, None))
    assert (found.counts[EventKind.OPENED], found.counts[EventKind.CLICKED]) == (1, 2)
    assert found.tags["spring"][EventKind.CLICKED] == 2
    assert found.verdicts[EventKind.CLICKED] == {"human": 1, "machine": 1}
    assert tracking.drain(1) == 0
    assert not hit_spool.sealed()
    assert models.HitSpool.select().count() == 0


def test_a_person_after_a_machine_is_told_too() -> None:
    who = cast.sender()
    webhooks.add(caller=who.owner, domain_id=who.domain.id, event="open", url="http://127.0.0.1:9/")
    delivery = _delivered(who)
    for agent in ("Mozilla/5.0", "Mozilla/5.0", BROWSER, BROWSER):
        _hit(delivery, agent=agent)
        tracking.drain(1)
    assert [data["verdict"] for _, data, _ in _events()] == ["machine", "machine", "human", "human"]
    assert models.WebhookDelivery.select().count() == 2


def test_three_links_at_once_are_a_machine_even_across_files() -> None:
    delivery = _delivered(cast.sender())
    _hit(delivery, "https://shop.test/a")
    hit_spool.seal()
    _hit(delivery, "https://shop.test/b")
    hit_spool.seal()
    _hit(delivery, "https://shop.test/c")
    tracking.drain(2)
    assert [(data["verdict"], data["reasons"]) for _, data, _ in _events()] == [("machine", ["burst"])] * 3


def test_a_hit_before_the_remote_took_it_is_a_machine() -> None:
    _hit(_delivered(cast.sender(), ago_ms=-60_000))
    tracking.drain(1)
    assert _events()[0][1]["reasons"] == ["before_delivery"]


def test_privacy_keeps_the_verdict_alone() -> None:
    who = cast.sender()
    domain_changes.update(caller=who.owner, domain_id=who.domain.id, tracking_privacy=True)
    _hit(_delivered(who), agent="curl/8")
    tracking.drain(1)
    assert _events() == [(EventKind.OPENED, {"verdict": "machine", "reasons": ["scanner_agent"]}, "")]


SCANNER = {"agent": BROWSER, "ip": "198.51.100.7"}


def _trap(delivery_id: int, **changed: str) -> None:
    assert tracking.note(delivery_id=delivery_id, trap=True, **(SCANNER | changed))


def test_whoever_follows_the_hidden_link_is_a_machine_before_and_after() -> None:
    delivery = _delivered(cast.sender())
    other = _delivered(cast.sender("other", "other.test"), domain="other.test")
    _hit(delivery, "https://shop.test/a", **SCANNER)
    hit_spool.seal()
    _trap(delivery)
    tracking.drain(1)
    assert [(data["verdict"], data["reasons"]) for _, data, _ in _events()] == [("machine", ["honeypot"])]
    # Later too, as long as it is the same visitor; nobody else, and no other message.
    models.HoneypotHit.update(at_ms=models.HoneypotHit.at_ms - 60_000).execute()
    _hit(delivery, "https://shop.test/b", **SCANNER)
    _hit(delivery, "https://shop.test/b")
    _hit(delivery, "https://shop.test/b", agent=BROWSER, ip="198.51.100.8")
    _hit(other, "https://shop.test/b", **SCANNER)
    tracking.drain(1)
    assert [data["verdict"] for _, data, _ in _events()][1:] == ["machine", "human", "human", "human"]


def test_near_the_hidden_link_every_visitor_is_that_scanner() -> None:
    delivery = _delivered(cast.sender())
    _trap(delivery, ip="203.0.113.1")
    _hit(delivery, "https://shop.test/a", ip="203.0.113.2")
    tracking.drain(1)
    assert [data["reasons"] for _, data, _ in _events()] == [["honeypot"]]


def test_the_hidden_link_itself_is_no_event_and_is_forgotten() -> None:
    delivery = _delivered(cast.sender())
    for _ in range(3):
        _trap(delivery)
    assert tracking.drain(1) == 0
    assert _events() == []
    (row,) = models.HoneypotHit.select()
    assert SCANNER["ip"] not in row.visitor
    models.HoneypotHit.update(at_ms=1).execute()
    housekeeping.sweep(5)
    assert models.HoneypotHit.select().count() == 0


def test_devices_and_clients_are_counted() -> None:
    who = cast.sender()
    delivery = _delivered(who)
    phone = (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
    )
    for agent in (phone, BROWSER, phone):
        _hit(delivery, agent=agent)
    tracking.drain(1)
    days = statistics.period(None, None)

    def counted(field: str) -> list[tuple[str, int]]:
        found, partial = event_buckets.buckets(caller=who.owner, domain_id=who.domain.id, field=field, days=days)
        assert not partial
        return found

    assert counted("client") == [("Apple Mail", 2), ("Firefox", 1)]
    assert counted("deviceKind") == [("mobile", 2), ("desktop", 1)]
    assert counted("device") == [("iPhone", 2), ("PC", 1)]


def test_hits_of_one_delivery_are_bounded() -> None:
    delivery = _delivered(cast.sender())
    for _ in range(tracking.HITS_MOST + 5):
        _hit(delivery)
    tracking.drain(2)
    found = _events()
    assert len(found) == tracking.HITS_MOST
    assert [index for index, (_, data, _) in enumerate(found) if data.get("last_kept")] == [tracking.HITS_MOST - 1]


def test_a_crash_between_commit_and_removal_counts_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = _delivered(cast.sender())
    for _ in range(3):
        _hit(delivery)

    class Killed(BaseException):
        pass

    def die(self: spool.Sealed) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(spool.Sealed, "remove", die)
        with pytest.raises(Killed):
            tracking.drain(1)
    assert (len(_events()), len(hit_spool.sealed())) == (3, 1)
    assert tracking.drain(1) == 0
    assert (len(_events()), len(hit_spool.sealed())) == (3, 0)


def test_while_the_database_is_away_hits_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = _delivered(cast.sender())

    def away(*_: Any) -> Any:
        raise db.StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(tracking.db, "in_transaction", away)
        _hit(delivery)
        with pytest.raises(db.StoreUnavailable):
            tracking.drain(1)
        _hit(delivery)
    assert tracking.drain(2) == 2


def test_what_cannot_be_read_or_belongs_to_nobody_is_passed_over() -> None:
    delivery = _delivered(cast.sender())
    hit_spool.append(b"{half a li")
    hit_spool.append(b"[1,2,3,4,5,6,7]")
    hit_spool.append(b"[1]")
    hit_spool.append(tracking.Hit(10**12, clock.now_ms()).dump())
    _hit(delivery)
    assert tracking.drain(1) == 1


def test_a_late_hit_is_told_as_of_now_and_says_when_it_was() -> None:
    delivery = _delivered(cast.sender(), ago_ms=10_000_000)
    then = clock.now_ms() - 7_200_000
    hit_spool.append(tracking.Hit(delivery, then, agent=BROWSER).dump())
    tracking.drain(1)
    event = models.Event.get(models.Event.kind == EventKind.OPENED)
    assert event.at_ms > then + 7_000_000
    assert orjson.loads(event.data)["hit_ms"] == then


class TestRendering:
    TEXT = "Your order: https://shop.test/o/1.\n"
    PAGE = f"<html><body>{HTML}</body></html>"

    def _options(self, who: cast.Sender, **options: bool) -> None:
        domain_changes.update(caller=who.owner, domain_id=who.domain.id, **options)  # type: ignore[arg-type]
        senders.forget()

    def _one(self, who: cast.Sender, **changed: Any) -> tuple[rendering.Stored, bytes]:
        messages.accept(who.caller, cast.draft(html=self.PAGE, text=self.TEXT, **changed))
        message = models.Message.select().order_by(models.Message.id.desc()).first()
        (stored,) = rendering.load([message.id]).values()
        made = stored.composed(5, "jane@friends.test", None)
        return stored, made.replace(b"=\r\n", b"").replace(b"=3D", b"=")

    def test_plain_text_is_tracked_where_the_domain_wants_it(self) -> None:
        who = cast.sender()
        _, made = self._one(who)
        assert self.TEXT.strip().encode() in made
        self._options(who, text_link_tracking=True)
        stored, made = self._one(who)
        (token,) = re.findall(rb"Your order: http://127\.0\.0\.1:8080/t/c/([\w-]+)\.\r\n", made)
        assert tracking_links.click(token.decode()) == tracking_links.Target(5, "https://shop.test/o/1")
        assert stored.individual
        _, made = self._one(who, track_links=False)
        assert self.TEXT.strip().encode() in made
        # A message with nothing but text is one for each recipient then.
        messages.accept(who.caller, cast.draft(html=None, text=self.TEXT, track_opens=False))
        (stored,) = rendering.load([models.Message.select().order_by(models.Message.id.desc()).first().id]).values()
        assert stored.individual

    def test_the_hidden_link_is_there_where_the_domain_wants_it(self) -> None:
        who = cast.sender()
        assert b"/t/h/" not in self._one(who)[1]
        self._options(who, honeypot_link=True)
        _, made = self._one(who)
        (token,) = re.findall(rb"<body><a href=\"http://127\.0\.0\.1:8080/t/h/([\w-]+)\" tabindex", made)
        assert tracking_links.trapped(token.decode()) == 5
        assert tracking_links.opened(token.decode()) is None
        assert b"/t/h/" not in self._one(who, track_links=False)[1]

    def _stored(self, **changed: Any) -> tuple[rendering.Stored, list[Any]]:
        who = cast.sender()
        messages.accept(who.caller, cast.draft(html=HTML, cc=[Mailbox("carl@friends.test")], **changed))
        (stored,) = rendering.load([models.Message.get().id]).values()
        return stored, list(models.Delivery.select().order_by(models.Delivery.id))

    def test_each_delivery_has_links_of_its_own(self) -> None:
        stored, rows = self._stored()
        assert stored.individual
        for row in rows:
            message = stored.composed(row.id, row.rcpt, None).replace(b"=\r\n", b"").replace(b"=3D", b"=")
            tokens = re.findall(rb"http://127\.0\.0\.1:8080/t/c/([\w-]+)", message)
            targets = [tracking_links.click(token.decode()) for token in tokens]
            assert [(target.delivery_id, target.url) for target in targets if target] == [
                (row.id, "https://shop.test/a?x=1&y=2"),
                (row.id, "https://shop.test/b"),
            ]
            (pixel,) = re.findall(rb"/t/o/([\w-]+)\.gif", message)
            assert tracking_links.opened(pixel.decode()) == row.id
            assert b"Thank you" in message  # the text part as it was

    def test_untracked_messages_are_rendered_once_for_all(self) -> None:
        stored, rows = self._stored(track_links=False, track_opens=False)
        assert not stored.individual
        one, other = (stored.rendered(row.id, row.rcpt, None) for row in rows)
        assert one is other
        assert b"/t/" not in one

    def test_a_message_without_html_is_rendered_once_for_all(self) -> None:
        who = cast.sender()
        messages.accept(who.caller, cast.draft(html=None))
        (stored,) = rendering.load([models.Message.get().id]).values()
        assert not stored.individual

    def test_links_lead_over_the_domains_own_host(self) -> None:
        who = cast.sender()
        domain_changes.update(caller=who.owner, domain_id=who.domain.id, tracking_host="Track.Shop.test")
        messages.accept(who.caller, cast.draft(html=HTML))
        (stored,) = rendering.load([models.Message.get().id]).values()
        assert b"http://track.shop.test/t/c/" in stored.composed(1, "jane@friends.test", None)

    def test_submitted_mail_is_tracked_in_its_html_alone(self) -> None:
        raw = (
            b"From: hello@shop.test\r\nTo: jane@friends.test\r\nSubject: x\r\nDate: Sat, 21 Nov 2026 05:00:00 +0000\r\n"
            b"Message-ID: <1@shop.test>\r\nMIME-Version: 1.0\r\n"
            b'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
            b"--b\r\nContent-Type: text/plain\r\n\r\nhttps://shop.test/a\r\n"
            b"--b\r\nContent-Type: text/html\r\n\r\n<a href='https://shop.test/a'>a</a>\r\n--b--\r\n"
        )
        who = cast.sender()
        stored = rendering.Stored(
            1, ids.new_uuid(), who.domain.id, "x", {}, clock.now_ms(), True, gates.KIND_MIME, raw, True, True
        )
        assert stored.individual
        made = stored.composed(77, "jane@friends.test", None)
        start = raw.index(b"https://shop.test/a'")
        assert made.startswith(raw[:start])
        assert made.endswith(b"\r\n--b--\r\n")
        (token,) = re.findall(rb"href='http://127\.0\.0\.1:8080/t/c/([\w-]+)'>a</a>", made)
        assert tracking_links.click(token.decode()) == tracking_links.Target(77, "https://shop.test/a")
        assert made.count(b"/t/o/") == 1
        signed = raw.replace(b"multipart/alternative", b"multipart/signed")
        stored = rendering.Stored(
            1, ids.new_uuid(), who.domain.id, "x", {}, clock.now_ms(), True, gates.KIND_MIME, signed, True, True
        )
        assert not stored.individual
        assert stored.composed(77, "jane@friends.test", None) == signed


def test_a_reader_that_was_overtaken_leaves_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = _delivered(cast.sender())
    _hit(delivery)
    file = hit_spool.seal()
    assert file is not None
    models.HitSpool.create(name=file.name, done=7, at_ms=clock.now_ms())
    monkeypatch.setattr(tracking, "_done", lambda name: 0)
    assert tracking._flush(file, []) == 0
    assert hit_spool.sealed() == [file]
    assert _events() == []


def test_what_no_worker_of_the_host_drains_the_web_part_does(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = _delivered(cast.sender())
    _hit(delivery)
    monkeypatch.setattr(spool, "_NEGLECTED_S", 0.1)
    stop = hit_spool.look_after(tracking.drain)
    try:
        end = time.monotonic() + 20
        while not _events() or hit_spool.waiting():
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        stop.set()
    for thread in threading.enumerate():
        if thread.name == "hits":
            thread.join(10)
    assert len(_events()) == 1
