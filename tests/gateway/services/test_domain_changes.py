"""Changing and deleting sender domains: what acts at once, what stays."""

from __future__ import annotations

from typing import Any

import pytest

import models
from gateway import clock, errors
from gateway.services import (
    apis,
    domain_changes,
    domain_checks,
    domains,
    events,
    identity,
    lanes,
    messages,
    webhooks,
)
from models.vocabulary import DeliveryState, EventKind
from tests import cast

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def who(store: str) -> cast.Sender:
    return cast.sender()


def _update(who: cast.Sender, **changed: Any) -> models.SenderDomain:
    return domain_changes.update(caller=who.owner, domain_id=who.domain.id, **changed)


def test_switches_act_on_messages_accepted_afterwards(who: cast.Sender) -> None:
    messages.accept(who.caller, cast.draft())
    _update(who, link_tracking=False, open_tracking=False, unsubscribe_link=True, hosting_provider=" Ours ")
    messages.accept(who.caller, cast.draft())
    tracked = [(bool(row.track_links), bool(row.track_opens)) for row in models.Message.select().order_by("id")]
    assert tracked == [(True, True), (False, False)]
    row = models.SenderDomain.get()
    assert (row.hosting_provider, bool(row.unsubscribe_link), row.status) == ("Ours", True, "enabled")


@pytest.mark.parametrize("spelled", ["mail", "MAIL", "mail.shop.test", "mail.shop.test."])
def test_another_subdomain_sends_the_domain_back_to_pending(who: cast.Sender, spelled: str) -> None:
    changed = _update(who, subdomain=spelled)
    assert (changed.subdomain, changed.status, changed.enabled_name) == ("mail", "pending", None)
    assert domain_checks.verification_status(changed) == "Pending"
    assert domains.return_path_host(changed) == "mail.shop.test"
    with pytest.raises(errors.DomainNotActive):
        messages.accept(who.caller, cast.draft())


def test_the_same_subdomain_changes_nothing(who: cast.Sender) -> None:
    assert _update(who, subdomain=who.domain.subdomain).status == "enabled"
    messages.accept(who.caller, cast.draft())


def test_a_suspended_domain_stays_suspended(who: cast.Sender) -> None:
    models.SenderDomain.update(status="suspended", enabled_name=None).execute()
    assert _update(who, subdomain="mail").status == "suspended"
    domain_changes.delete(caller=who.owner, domain_id=who.domain.id)
    assert domains.add(caller=who.owner, name="shop.test").status == "suspended"


@pytest.mark.parametrize("subdomain", ["a.b", "-a", "a_b", "a" * 64, "ä", ".", "a b", "shop.test"])
def test_what_is_no_label_is_refused(who: cast.Sender, subdomain: str) -> None:
    with pytest.raises(errors.Invalid):
        _update(who, subdomain=subdomain, link_tracking=False)
    row = models.SenderDomain.get()
    assert (row.subdomain, bool(row.link_tracking), row.status) == (who.domain.subdomain, True, "enabled")


def test_a_deleted_domain_refuses_cancels_and_keeps_its_history(who: cast.Sender) -> None:
    key = apis.add(caller=who.owner, domain_id=who.domain.id, description="Shop")
    signing = domains.signing_key(who.domain)
    messages.accept(who.caller, cast.draft())
    messages.accept(who.caller, cast.draft(to="carl@friends.test", send_at_ms=clock.now_ms() + 3_600_000))
    held = lanes.claim(lanes.Rounds())
    assert domain_changes.delete(caller=who.owner, domain_id=who.domain.id) == 1
    states = {row.rcpt: row.state for row in models.Delivery.select()}
    assert states == {held[0].rcpt: DeliveryState.CLAIMED, "carl@friends.test": DeliveryState.CANCELED}
    event = models.Event.get(models.Event.kind == EventKind.CANCELED)
    assert event.rcpt == "carl@friends.test"
    assert "deleted" in event.data

    caller = identity.authenticate_sender(keys=[key.key])
    with pytest.raises(errors.DomainGone):
        messages.accept(caller, cast.draft())
    with pytest.raises(errors.NotFound):
        domains.find(caller=who.owner, domain_id=who.domain.id)
    with pytest.raises(errors.NotFound):
        domain_changes.delete(caller=who.owner, domain_id=who.domain.id)
    page = events.search(caller=who.owner, domain_id=who.domain.id)
    assert [row.kind for row in page.rows].count(EventKind.ACCEPTED) == 2
    with pytest.raises(errors.NotFound):  # its key reads nothing
        events.search(caller=caller, domain_id=who.domain.id)

    # Its name is free, and it comes back as it was.
    rival = cast.sender("rival", "shop.test")
    assert rival.domain.status == "enabled"
    back = domains.add(caller=who.owner, name="shop.test")
    assert (back.id, back.status) == (who.domain.id, "pending")
    assert domains.signing_key(back) == signing
    assert [item.key for item in apis.list_(caller=who.owner, domain_id=back.id)] == [key.key]


def test_a_new_signing_key_takes_the_old_ones_place(who: cast.Sender) -> None:
    before = domains.signing_key(who.domain)
    made = domain_changes.regenerate_signing_key(caller=who.owner, domain_id=who.domain.id)
    assert made != before
    assert domains.signing_key(domains.find(caller=who.owner, domain_id=who.domain.id)) == made
    assert made not in models.SenderDomain.get().signing_key


@pytest.mark.parametrize("act", [domain_changes.update, domain_changes.delete, domain_changes.regenerate_signing_key])
def test_a_strangers_domain_is_an_absent_one(who: cast.Sender, act: Any) -> None:
    stranger = cast.sender("stranger", "other.test")
    before = dict(models.SenderDomain.get_by_id(stranger.domain.id).__data__)
    for domain_id in (stranger.domain.id, 0, stranger.domain.id + 1000, 2**62):
        with pytest.raises(errors.NotFound):
            act(caller=who.owner, domain_id=domain_id)
    assert models.SenderDomain.get_by_id(stranger.domain.id).__data__ == before


def test_what_is_in_flight_is_still_told_to_webhooks(who: cast.Sender) -> None:
    webhooks.add(caller=who.owner, domain_id=who.domain.id, event="delivery", url="http://127.0.0.1:1/hook")
    domain_changes.delete(caller=who.owner, domain_id=who.domain.id)
    assert models.Webhook.get().deleted_ms is None
