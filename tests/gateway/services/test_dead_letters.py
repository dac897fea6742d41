"""The dead letters of a whole account: of every webhook, of nobody else, in pages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway import clock, errors, ids
from gateway.services import webhook_log, webhooks
from models.vocabulary import EventKind
from models.webhook import Webhook, WebhookDelivery
from tests import cast
from tests.gateway.services.webhook_world import happen, hook, message

pytestmark = pytest.mark.usefixtures("store")
URL = "https://hooks.example.com/"


def _dead(webhook_id: int, message_id: int = 0, event_id: int = 0, state: str = "dead", created_ms: int = 1000) -> int:
    row = WebhookDelivery.create(
        uuid=ids.new_uuid(), webhook_id=webhook_id, message_id=message_id, event_id=event_id, state=state,
        created_ms=created_ms, attempts=10, last_code=500, last_error="the endpoint answered 500",
    )  # fmt: skip
    return int(row.id)


def test_those_of_every_webhook_the_newest_first() -> None:
    who = cast.sender()
    one = hook(who, f"{URL}one")
    whole = webhooks.add(caller=who.owner, event="all", url=f"{URL}whole", surface="native")
    gone = hook(who, f"{URL}gone")
    made = [_dead(one.id), _dead(whole.id), _dead(one.id), _dead(gone.id)]
    _dead(one.id, state="told")
    webhooks.delete(caller=who.owner, webhook_id=gone.id)
    found = webhook_log.dead_letters(caller=who.owner)
    assert [letter.told.id for letter in found] == made[::-1]
    assert [(letter.url, letter.status) for letter in found] == [
        (f"{URL}gone", "deleted"), (f"{URL}one", "active"), (f"{URL}whole", "active"), (f"{URL}one", "active"),
    ]  # fmt: skip
    assert {(letter.told.state, letter.told.attempts, letter.told.last_code) for letter in found} == {("dead", 10, 500)}


def test_what_they_were_about_is_told() -> None:
    who = cast.sender()
    message_id, uuid = message(who)
    happen(who, message_id, EventKind.BOUNCED)
    made = hook(who, URL)
    event_id = int(webhook_log.db.rows("SELECT MAX(id) FROM event")[0][0])
    _dead(made.id, message_id, event_id)
    (letter,) = webhook_log.dead_letters(caller=who.owner)
    assert (letter.told.type, letter.told.message_id) == ("message.bounced", uuid)


def test_pages_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_log, "_CHUNK", 2)
    who = cast.sender()
    hooks = [hook(who, f"{URL}{number}") for number in range(5)]
    made = [_dead(hooks[number % 5].id, created_ms=1000 + number) for number in range(23)]
    seen: list[int] = []
    before = None
    while page := webhook_log.dead_letters(caller=who.owner, before=before, count=5):
        seen += [letter.told.id for letter in page]
        before = seen[-1]
    assert seen == made[::-1]
    some = webhook_log.dead_letters(caller=who.owner, from_ms=1005, to_ms=1007)
    assert [letter.told.id for letter in some] == made[7:4:-1]


def test_others_and_other_domains_are_out_of_reach() -> None:
    who, other = cast.sender(), cast.sender("other", "other.test")
    _dead(hook(who, URL).id)
    _dead(webhooks.add(caller=who.owner, event="all", url=URL, surface="native").id)
    assert webhook_log.dead_letters(caller=other.owner) == []
    with pytest.raises(errors.NotFound):
        webhook_log.dead_letters(caller=other.owner, domain_id=who.domain.id)
    # The key of a domain has what its own webhooks missed, and not what the account's did.
    assert len(webhook_log.dead_letters(caller=who.owner)) == 2
    assert len(webhook_log.dead_letters(caller=replace(who.owner, domain_id=who.domain.id))) == 1
    assert len(webhook_log.dead_letters(caller=who.owner, domain_id=who.domain.id)) == 1


def test_a_disabled_one_says_so() -> None:
    who = cast.sender()
    made = hook(who, URL)
    _dead(made.id, created_ms=clock.now_ms())
    Webhook.update(status="disabled").where(Webhook.id == made.id).execute()
    assert [letter.status for letter in webhook_log.dead_letters(caller=who.owner)] == ["disabled"]
