"""Mail over the APIs of four providers, from acceptance to the provider's own word, with failover between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import models
from gateway.mail import verp
from gateway.mail.draft import Mailbox
from gateway.services import (
    deliveries,
    expansions,
    explanations,
    lists,
    messages,
    provider_hooks,
    sending_servers,
    server_checks,
    subscribers,
    webhooks,
)
from gateway.services.sending_servers import SendingServer
from gateway.transports.hooks import sns
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.conftest import use_settings
from tests.peers.http_sink import Answer, HttpSink
from tests.peers.provider_api import KEY, SECRET, MailgunApi, ProviderApi, ResendApi, SendgridApi, SesApi
from tests.peers.provider_calls import Mailgun, Peer, Resend, Sendgrid, Sns

APIS: dict[str, type[ProviderApi]] = {
    "ses": SesApi, "mailgun": MailgunApi, "sendgrid": SendgridApi, "resend": ResendApi
}  # fmt: skip


class World:
    """A sender whose servers are providers: each an API that takes messages and a caller of our hook."""

    def __init__(self, who: cast.Sender, sns_sink: HttpSink) -> None:
        self.who = who
        self.apis: dict[str, ProviderApi] = {}
        self.peers: dict[str, Peer] = {}
        self.servers: dict[str, SendingServer] = {}
        self._sns = sns_sink

    def connect(self, kind: str, *, key: str = KEY, **more: Any) -> ProviderApi:
        api = self.apis[kind] = APIS[kind]()
        makers: dict[str, Any] = {
            "ses": lambda: Sns(self._sns), "mailgun": Mailgun, "sendgrid": Sendgrid, "resend": Resend
        }  # fmt: skip
        peer = self.peers[kind] = makers[kind]()
        secrets = {"access_key_id": key, "secret_access_key": SECRET} if kind == "ses" else {"api_key": key}
        self.servers[kind] = sending_servers.create(
            caller=self.who.owner, name=kind, kind=kind, config=peer.config | {"endpoint": api.url, "timeout": 5},
            credentials=peer.credentials | secrets, **more,
        )  # fmt: skip
        return api

    def send(self, **changed: Any) -> str:
        return messages.accept(self.who.caller, cast.draft(**changed)).message_id

    def tell(self, kind: str, word: str) -> None:
        headers, body = self.peers[kind].call(word, self.apis[kind].taken[-1].reference)
        server = self.servers[kind]
        provider_hooks.receive(kind=kind, server_id=server.public_id, headers=headers, body=body)

    def text(self, message_id: str) -> str:
        return explanations.explain(caller=self.who.owner, message_id=message_id).text


@pytest.fixture
def world(store: str, tmp_path: Path) -> Iterator[World]:
    use_settings(tmp_path, DELIVERY="capture", DELIVERY_ALLOW="127.0.0.0/8", DELIVER_CONNECTIONS="2")
    sns.forget()
    with HttpSink() as sink:
        made = World(cast.sender(), sink)
        yield made
        for api in made.apis.values():
            api.close()
    deliveries.close()


def _drain() -> None:
    while deliveries.drain(0.1):
        assert deliveries.engine().wait_idle(20)
    deliveries.close()


def _attempts() -> list[tuple[str, str]]:
    rows = models.Attempt.select().order_by(models.Attempt.id)
    return [(row.transport.partition(":")[0], row.outcome) for row in rows]


def _events() -> list[EventKind]:
    return [EventKind(row.kind) for row in models.Event.select().order_by(models.Event.id)]


@pytest.mark.parametrize("kind", APIS)
def test_from_acceptance_to_the_provider_s_word(world: World, kind: str) -> None:
    api = world.connect(kind, reports=True)
    webhooks.add(
        caller=world.who.owner, domain_id=world.who.domain.id, event="delivered", url="https://hooks.example.com/"
    )
    message_id = world.send(subject="Grüße", tags=["welcome"])
    _drain()
    (taken,) = api.taken
    assert taken.rcpt == ["jane@friends.test"] and taken.subject == "Grüße"
    (delivery,) = models.Delivery.select()
    assert verp.decode_token(taken.reference) == delivery.id
    assert delivery.state == DeliveryState.HANDED_OVER
    assert _attempts() == [(kind, "handed_over")] and _events() == [EventKind.ACCEPTED]
    assert models.WebhookDelivery.select().count() == 0
    assert f" over {kind} " in world.text(message_id)
    assert "has not said yet what became of it" in world.text(message_id)

    world.tell(kind, "delivered")
    assert models.Delivery.get().state == DeliveryState.DELIVERED
    assert _events() == [EventKind.ACCEPTED, EventKind.DELIVERED]
    assert models.WebhookDelivery.select().count() == 1
    assert "and delivered from there" in world.text(message_id)


def test_one_that_does_not_report_has_delivered_what_it_took_until_it_does(world: World) -> None:
    world.connect("mailgun")
    first = world.send()
    _drain()
    assert models.Delivery.get().state == DeliveryState.DELIVERED
    assert _events() == [EventKind.ACCEPTED, EventKind.DELIVERED] and "arrived" in world.text(first)
    world.tell("mailgun", "delivered")  # its events come home, so that the next one waits for them
    assert _events() == [EventKind.ACCEPTED, EventKind.DELIVERED]
    world.send()
    _drain()
    assert [row.state for row in models.Delivery.select().order_by(models.Delivery.id)] == [
        DeliveryState.DELIVERED, DeliveryState.HANDED_OVER
    ]  # fmt: skip


def test_a_bad_key_moves_the_message_on(world: World) -> None:
    bad = world.connect("sendgrid", key="a-bad-key", priority=1)
    good = world.connect("resend", priority=2)
    world.send()
    _drain()
    assert (len(bad.taken), len(good.taken)) == (0, 1)
    assert _attempts() == [("sendgrid", "deferred"), ("resend", "delivered")]


def test_what_one_has_no_words_for_another_has(world: World) -> None:
    json_only = world.connect("sendgrid", priority=1)
    mime = world.connect("ses", priority=2)
    world.send(to=[Mailbox("jane@friends.test"), Mailbox("joe@friends.test")])
    _drain()
    assert json_only.requests == [] and len(mime.taken) == 2
    assert sorted(one.rcpt[0] for one in mime.taken) == ["jane@friends.test", "joe@friends.test"]
    assert all([address for _, address in one.to] == ["jane@friends.test", "joe@friends.test"] for one in mime.taken)


def test_without_another_it_bounces_and_suppresses_nobody(world: World) -> None:
    world.connect("sendgrid")
    message_id = world.send(to=[Mailbox("jane@friends.test"), Mailbox("joe@friends.test")])
    _drain()
    assert {row.state for row in models.Delivery.select()} == {DeliveryState.BOUNCED}
    assert models.Suppression.select().count() == 0
    fates = explanations.explain(caller=world.who.owner, message_id=message_id).fates
    assert all("show others in To or Cc" in fate.reason for fate in fates)


def test_messages_without_words_do_not_make_a_server_look_ill(world: World) -> None:
    api = world.connect("sendgrid")
    for _ in range(6):
        world.send(to=[Mailbox("jane@friends.test"), Mailbox("joe@friends.test")])
    _drain()
    world.send()
    _drain()
    assert len(api.taken) == 1 and models.Limit.select().count() == 0


def test_what_is_in_doubt_stays_with_its_provider(world: World) -> None:
    """Resend knows the idempotency key, so that the second request is the same message."""
    api = world.connect("resend", priority=1)
    other = world.connect("mailgun", priority=2)
    answer = api.answer

    def lost(request: Any) -> Answer:
        answer(request)
        return Answer(end="close")

    api.answer = lost  # type: ignore[method-assign]
    world.send()
    _drain()
    assert _attempts() == [("resend", "in_doubt")] and len(api.taken) == 1
    api.answer = answer  # type: ignore[method-assign]
    models.Delivery.update(due_ms=0).execute()
    _drain()
    assert _attempts() == [("resend", "in_doubt"), ("resend", "delivered")]
    assert (len(api.taken), len(other.taken)) == (1, 0)


@pytest.mark.parametrize("kind", APIS)
def test_a_server_is_tried_without_a_message(world: World, kind: str) -> None:
    api = world.connect(kind)
    found = server_checks.check(caller=world.who.owner, server_id=world.servers[kind].public_id)
    assert found.ok, found.detail
    assert api.taken == []


def test_a_list_goes_out_over_json(world: World) -> None:
    """Each subscriber gets a message of their own, so that nothing has to be hidden."""
    api = world.connect("resend")
    made = lists.add(caller=world.who.owner, name="Friends")
    for name in ("ann", "ben", "zoe"):
        subscribers.add(caller=world.who.owner, list_id=made.id, email=f"{name}@friends.test")
    messages.accept(world.who.caller, cast.draft(to=[], list_id=made.id))
    while expansions.drain(5):
        pass
    _drain()
    assert sorted(one.rcpt[0] for one in api.taken) == ["ann@friends.test", "ben@friends.test", "zoe@friends.test"]
    assert all("List-Unsubscribe" in one.headers for one in api.taken)
    assert orjson.loads(api.requests[0].body)["text"]
