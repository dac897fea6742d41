"""What belongs to domains, counted."""

from __future__ import annotations

import pytest

import models
from gateway import clock
from gateway.services import apis, domain_counts, messages, smtps, webhooks
from models.vocabulary import EventKind
from tests import cast

pytestmark = pytest.mark.usefixtures("store")


def test_each_domain_has_its_own() -> None:
    who = cast.sender()
    other = cast.sender("other", "other.test")
    for sender in (who, who, other):
        apis.add(caller=sender.owner, domain_id=sender.domain.id, description="x")
        smtps.add(caller=sender.owner, domain_id=sender.domain.id)
        webhooks.add(caller=sender.owner, domain_id=sender.domain.id, event="bounce", url="http://127.0.0.1:1/x")
        messages.accept(sender.caller, cast.draft(domain=sender.domain.name, tags=["one", "two"]))
    apis.delete(caller=who.owner, key_id=apis.list_(caller=who.owner, domain_id=who.domain.id)[0].id)
    hook = webhooks.list_(caller=who.owner, domain_id=who.domain.id)[0]
    webhooks.delete(caller=who.owner, domain_id=who.domain.id, webhook_id=hook.id)
    today = clock.day_number(clock.now_ms())
    for day, n in ((today - 27, 5), (today - 28, 70)):
        models.Counter.create(domain_id=who.domain.id, day=day, kind=EventKind.OPENED, tag="", n=n)
    found = domain_counts.counts(caller=who.owner, domain_ids=[who.domain.id])
    assert found == {
        who.domain.id: domain_counts.Counts(1, 2, 1, {EventKind.ACCEPTED: 2, EventKind.OPENED: 5}),
    }
    assert domain_counts.counts(caller=who.owner, domain_ids=[]) == {}
