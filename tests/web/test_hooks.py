"""Hooks: calls of four providers, signed with keys made here, become events, states and suppressions, each once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import time_machine
from flask.testing import FlaskClient

import models
from gateway import clock
from gateway.mail import verp
from gateway.services import (
    doctor,
    email_events,
    erasures,
    event_rows,
    explanations,
    housekeeping,
    inbound,
    keys,
    messages,
    outcomes,
    provider_hooks,
    provider_reports,
    sending_servers,
    suppressions,
)  # fmt: skip
from gateway.services.outcomes import Done
from gateway.services.sending_servers import SendingServer
from gateway.transports.hooks import resend, sendgrid, sns
from gateway.transports.hooks.report import BadSignature, Call, Unreadable
from gateway.transports.outcome import Outcome, Result
from models import database as db
from models.vocabulary import DeliveryState, EventKind
from tests import cast
from tests.application import application
from tests.conftest import use_settings
from tests.peers.http_sink import HttpSink
from tests.peers.provider_calls import AGENT, Mailgun, Peer, Resend, Sendgrid, Sns


@dataclass
class World:
    """A message to jane that a provider has taken, and the client that the provider calls with."""

    sender: cast.Sender
    peer: Any
    server: SendingServer
    client: FlaskClient
    token: str
    delivery_id: int

    def post(self, call: tuple[dict[str, str], bytes], path: str = "") -> Any:
        path = path or f"/hooks/{self.peer.kind}/{self.server.public_id}"
        return self.client.post(path, headers=call[0], data=call[1])

    def tell(self, word: str, **more: Any) -> dict[str, Any]:
        answer = self.post(self.peer.call(word, more.pop("token", self.token), **more))
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    @property
    def delivery(self) -> models.Delivery:
        return models.Delivery.get_by_id(self.delivery_id)

    def events(self, *kinds: EventKind) -> list[models.Event]:
        rows = models.Event.select().order_by(models.Event.id)
        return [row for row in rows if (row.kind in kinds if kinds else row.kind != EventKind.ACCEPTED)]

    def explain(self) -> str:
        uuid = str(models.Message.get().uuid)
        return explanations.explain(caller=self.sender.caller, message_id=uuid).text


def hand_over(delivery_id: int, server: SendingServer, result: Result = Result.HANDED_OVER) -> None:
    """As the engine writes it once the provider took the message."""
    models.Delivery.update(state=DeliveryState.CLAIMED, fence=1).where(models.Delivery.id == delivery_id).execute()
    took = Outcome(result, None, "", "HTTP 200, id 0102", "", "api.provider.test[192.0.2.9]:443")
    outcomes.apply([Done(delivery_id, 1, took, f"{server.kind}:{server.id}", clock.now_ms() - 5000, 10)])


def world(peer: Peer, client: FlaskClient, who: cast.Sender | None = None, *, take: bool = True) -> World:
    who = who or cast.sender()
    server = sending_servers.create(
        caller=who.owner, name=peer.kind, kind=peer.kind, config=peer.config, credentials=peer.credentials, reports=True
    )
    messages.accept(who.caller, cast.draft(domain=who.domain.name, tags=["welcome"], metadata={"order": 17}))
    delivery = models.Delivery.select().order_by(models.Delivery.id.desc()).first()
    if take:
        hand_over(delivery.id, server)
    token = verp.token(verp.encode(delivery.id, "b.test"))
    return World(who, peer, server, client, token, delivery.id)


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    sns.forget()
    with HttpSink() as peer:
        yield peer


@pytest.fixture
def client(store: str, tmp_path: Any) -> FlaskClient:
    use_settings(tmp_path, DELIVERY_ALLOW="127.0.0.0/8")
    return application().test_client()


PEERS = ("ses", "mailgun", "sendgrid", "resend")


def peer_of(kind: str, sink: HttpSink) -> Peer:
    return {"ses": lambda: Sns(sink), "mailgun": Mailgun, "sendgrid": Sendgrid, "resend": Resend}[kind]()


@pytest.fixture
def told(request: pytest.FixtureRequest, client: FlaskClient, sink: HttpSink) -> World:
    """The same world with each provider in turn."""
    return world(peer_of(request.param, sink), client)


# What differs between databases is the same for all providers, so that one of them is enough on the second.
@pytest.mark.parametrize(
    ("store_url", "told"),
    [*(("sqlite", kind) for kind in PEERS), ("mariadb", "sendgrid")],
    indirect=True,
)
class TestEveryProvider:
    def test_what_was_taken_waits_for_its_report(self, told: World) -> None:
        assert (told.delivery.state, told.delivery.due_ms) == (DeliveryState.HANDED_OVER, None)
        assert told.events() == []
        assert "was handed over to api.provider.test[192.0.2.9]:443" in told.explain()
        assert "has not said yet" in told.explain()
        assert models.Attempt.get().outcome == "handed_over"
        assert models.HandedOver.get_by_id(told.delivery_id).transport == f"{told.peer.kind}:{told.server.id}"

    def test_delivered(self, told: World) -> None:
        assert told.tell("delivered") == {"status": "ok", "recorded": 1}
        assert told.delivery.state == DeliveryState.DELIVERED
        (event,) = told.events()
        data = orjson.loads(event.data)
        assert (event.kind, event.delivery_id, event.rcpt) == (
            EventKind.DELIVERED, told.delivery_id, "jane@friends.test"
        )  # fmt: skip
        assert data["transport"] == f"{told.peer.kind}:{told.server.id}" and data["metadata"] == {"order": 17}
        assert 0 < clock.now_ms() - event.at_ms < 60_000
        counted = {row.tag: row.n for row in models.Counter.select().where(models.Counter.kind == EventKind.DELIVERED)}
        assert counted == {"": 1, "welcome": 1}
        assert models.HandedOver.select().count() == 0
        assert "and delivered from there" in told.explain()

    def test_told_again_it_is_counted_once(self, told: World) -> None:
        call = told.peer.call("delivered", told.token, id="one-and-the-same")
        assert told.post(call).json == {"status": "ok", "recorded": 1}
        assert told.post(call).json == {"status": "ok", "repeated": 1}
        assert told.tell("delivered")["repeated"] == 1  # the same fact under another id
        assert len(told.events()) == 1
        assert models.Counter.get(models.Counter.kind == EventKind.DELIVERED, models.Counter.tag == "").n == 1

    def test_deferred_then_delivered(self, told: World) -> None:
        told.tell("deferred")
        assert told.delivery.state == DeliveryState.HANDED_OVER
        assert "was reported as put off" in told.explain()
        told.tell("delivered")
        assert [row.kind for row in told.events()] == [EventKind.DEFERRED, EventKind.DELIVERED]
        assert told.tell("deferred")["late"] == 1

    def test_bounced_for_good_suppresses(self, told: World) -> None:
        told.tell("bounced")
        assert told.delivery.state == DeliveryState.BOUNCED
        (event,) = told.events()
        data = orjson.loads(event.data)
        assert (event.kind, data["class"], data["category"]) == (EventKind.BOUNCED, "permanent", "recipient")
        assert (data["code"], data["enhanced"]) == (550, "5.1.1")
        (row,) = models.Suppression.select()
        assert (row.address, row.reason) == ("jane@friends.test", suppressions.BOUNCE)
        assert "was reported as undeliverable" in told.explain() and "user unknown" in told.explain()
        assert told.tell("bounced")["repeated"] == 1

    def test_a_bounce_about_us_suppresses_nobody(self, told: World) -> None:
        if told.peer.kind == "sendgrid":
            call = told.peer.signed(
                [
                    told.peer.event("bounced", told.token)
                    | {"status": "5.7.1", "reason": "550 5.7.1 spam", "type": "blocked"}
                ]
            )
            told.post(call)
        else:
            told.tell("bounced", reply="550 5.7.1 message rejected as spam", status="5.7.1")
        assert told.delivery.state == DeliveryState.BOUNCED
        assert models.Suppression.select().count() == 0

    def test_failed(self, told: World) -> None:
        told.tell("failed")
        assert told.delivery.state == DeliveryState.FAILED
        assert [row.kind for row in told.events()] == [EventKind.FAILED]
        assert models.Suppression.select().count() == 0

    def test_complained(self, told: World) -> None:
        told.tell("delivered")
        told.tell("complained")
        assert told.delivery.state == DeliveryState.DELIVERED
        assert models.Suppression.get().reason == suppressions.COMPLAINT
        assert told.tell("complained")["repeated"] == 1
        assert len(told.events(EventKind.COMPLAINED)) == 1

    def test_opens_and_clicks_have_a_verdict(self, told: World) -> None:
        told.tell("delivered")
        told.tell("opened")
        told.tell("clicked", url="https://shop.test/a?b=1")
        told.tell("opened", agent="Mozilla/5.0 (compatible; Barracuda scanner)")
        human, click, machine = told.events(EventKind.OPENED, EventKind.CLICKED)
        first, second, third = (orjson.loads(row.data) for row in (human, click, machine))
        assert (human.ip, first["verdict"], first["user_agent"]) == ("192.0.2.1", "human", AGENT)
        assert second["url"] == "https://shop.test/a?b=1" and second["provider"]
        assert (third["verdict"], third["reasons"]) == ("machine", ["scanner_agent"])

    def test_an_unknown_word_is_kept(self, told: World) -> None:
        assert told.tell("unknown") == {"status": "ok", "ignored": 1}
        row = models.ProviderEvent.get()
        assert (row.kind, row.what, row.delivery_id) == (None, "ignored", told.delivery_id)
        assert "eleported" in row.type and "eleported" in row.raw
        assert told.events() == []

    def test_the_raw_event_stands_beside_ours(self, told: World) -> None:
        told.tell("bounced")
        row = models.ProviderEvent.get()
        assert (row.server_id, row.account_id, row.delivery_id) == (
            told.server.id, told.sender.owner.account_id, told.delivery_id
        )  # fmt: skip
        assert (row.kind, row.what) == (EventKind.BOUNCED, "recorded") and "user unknown" in row.raw

    def test_a_big_raw_event_is_cut(self, told: World) -> None:
        told.tell("bounced", reply="550 5.1.1 user unknown " + "x" * 50_000)
        assert len(models.ProviderEvent.get().raw) == provider_reports.RAW_SIZE
        assert told.delivery.state == DeliveryState.BOUNCED

    def test_a_bad_signature_stores_nothing(self, told: World) -> None:
        answer = told.post(told.peer.forged(told.peer.call("delivered", told.token)))
        assert answer.status_code == 401 and answer.json["code"] == "not_authenticated"
        assert told.post(({}, b"{}")).status_code in (401, 422)
        assert told.post(({}, b"")).status_code in (401, 422)
        self.nothing(told)

    def test_another_s_key_is_not_believed(self, told: World, sink: HttpSink) -> None:
        other = peer_of(told.peer.kind, sink)
        if told.peer.kind == "ses":
            other.certificate_url = told.peer.certificate_url  # type: ignore[attr-defined]
        assert told.post(other.call("delivered", told.token)).status_code == 401
        self.nothing(told)

    def test_an_old_call_is_not_believed(self, told: World) -> None:
        assert told.post(told.peer.old("delivered", told.token)).status_code == 401
        self.nothing(told)

    def nothing(self, told: World) -> None:
        assert told.events() == [] and models.ProviderEvent.select().count() == 0
        assert told.delivery.state == DeliveryState.HANDED_OVER
        assert models.SendingServer.get_by_id(told.server.id).hook_seen_ms is None

    def test_a_token_that_is_none(self, told: World) -> None:
        for token in ("", "a" * 24, told.token[:-1] + ("a" if told.token[-1] != "a" else "b")):
            assert told.tell("bounced", token=token) == {"status": "ok", "unmatched": 1}
        assert told.delivery.state == DeliveryState.HANDED_OVER

    def test_a_stranger_s_server_reports_nothing_of_ours(
        self, told: World, sink: HttpSink, client: FlaskClient
    ) -> None:
        stranger = world(peer_of(told.peer.kind, sink), client, cast.sender("stranger", "else.test"))
        answer = stranger.post(stranger.peer.call("bounced", told.token))
        assert answer.json == {"status": "ok", "unmatched": 1}
        assert told.delivery.state == DeliveryState.HANDED_OVER and models.Suppression.select().count() == 0

    def test_absent_deleted_and_mistaken_servers_are_not_told_apart(self, told: World) -> None:
        call = told.peer.call("delivered", told.token)
        id_ = told.server.public_id
        other = "mailgun" if told.peer.kind != "mailgun" else "resend"
        paths = [
            f"/hooks/{told.peer.kind}/srv_0000000000000000000000000",
            f"/hooks/{other}/{id_}",
            f"/hooks/smtp/{id_}",
        ]
        answers = [told.post(call, path) for path in paths]
        sending_servers.delete(caller=told.sender.owner, server_id=id_)
        answers.append(told.post(call))
        assert [answer.status_code for answer in answers] == [404] * 4
        assert len({answer.json["message"] for answer in answers}) == 1
        assert told.events() == []

    def test_the_first_call_turns_handing_over_on(self, told: World) -> None:
        models.SendingServer.update(reports=False).execute()
        before = sending_servers.find(caller=told.sender.owner, server_id=told.server.public_id)
        told.tell("unknown")
        after = sending_servers.find(caller=told.sender.owner, server_id=told.server.public_id)
        assert (before.hands_over, after.hands_over) == (False, True)
        assert after.updated_ms > before.updated_ms
        told.tell("unknown")
        again = sending_servers.find(caller=told.sender.owner, server_id=told.server.public_id)
        assert (again.updated_ms, again.hook_seen_ms) == (after.updated_ms, after.hook_seen_ms)

    def test_a_report_that_is_quicker_than_our_own_note(self, told: World) -> None:
        """The provider tells of the delivery while its attempt is not written down yet."""
        messages.accept(told.sender.caller, cast.draft())
        delivery = models.Delivery.select().order_by(models.Delivery.id.desc()).first()
        models.Delivery.update(state=DeliveryState.CLAIMED, fence=1).where(models.Delivery.id == delivery.id).execute()
        told.tell("delivered", token=verp.token(verp.encode(delivery.id, "b.test")))
        assert models.Delivery.get_by_id(delivery.id).state == DeliveryState.DELIVERED
        took = Outcome(Result.HANDED_OVER, None, "", "HTTP 200, id 0103")
        done = Done(delivery.id, 1, took, f"{told.peer.kind}:{told.server.id}", clock.now_ms(), 10)
        for _ in range(2):  # once more, as a journal is replayed
            outcomes.apply([done])
        row = models.Delivery.get_by_id(delivery.id)
        assert (row.state, row.attempts) == (DeliveryState.DELIVERED, 1)
        assert models.Attempt.select().where(models.Attempt.delivery_id == delivery.id).count() == 1
        assert models.HandedOver.select().where(models.HandedOver.delivery_id == delivery.id).count() == 0

    def test_what_is_in_doubt_is_resolved(self, told: World) -> None:
        models.Delivery.update(
            state=DeliveryState.DEFERRED, due_ms=clock.now_ms() + 60_000, lane_id=models.Lane.get().id
        ).execute()
        told.tell("failed")
        assert told.delivery.state == DeliveryState.DEFERRED  # the queue goes on
        told.tell("delivered")
        assert (told.delivery.state, told.delivery.due_ms, told.delivery.lane_id) == (
            DeliveryState.DELIVERED,
            None,
            None,
        )

    def test_a_delivered_one_of_a_server_that_did_not_report(self, told: World) -> None:
        messages.accept(told.sender.caller, cast.draft())
        delivery = models.Delivery.select().order_by(models.Delivery.id.desc()).first()
        hand_over(delivery.id, told.server, Result.DELIVERED)
        token = verp.token(verp.encode(delivery.id, "b.test"))
        assert told.tell("delivered", token=token)["repeated"] == 1
        assert told.tell("bounced", token=token)["recorded"] == 1
        assert models.Delivery.get_by_id(delivery.id).state == DeliveryState.DELIVERED
        assert [row.kind for row in told.events()] == [EventKind.DELIVERED, EventKind.BOUNCED]

    def test_a_bounce_message_was_quicker(self, told: World) -> None:
        """It is an event and ends no delivery; the provider's word then ends it and is no second event."""
        report = (
            b"From: MAILER-DAEMON@mx.friends.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report;"
            b' report-type=delivery-status; boundary="b"\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\n'
            b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.friends.test\r\n\r\n"
            b"Final-Recipient: rfc822; jane@friends.test\r\nAction: failed\r\nStatus: 5.1.1\r\n--b--\r\n"
        )
        inbound.receive(recipient=verp.encode(told.delivery_id, "b.test"), mail_from="", content=report)
        assert told.delivery.state == DeliveryState.HANDED_OVER
        assert told.tell("bounced")["repeated"] == 1
        assert told.delivery.state == DeliveryState.BOUNCED and models.HandedOver.select().count() == 0
        assert [row.kind for row in told.events()] == [EventKind.BOUNCED]

    def test_strikes_are_forgotten_when_it_arrives(self, told: World) -> None:
        told.tell("delivered")
        models.Strike.create(
            account_id=told.sender.owner.account_id, address="jane@friends.test", day=1, kind="mailbox_full"
        )
        messages.accept(told.sender.caller, cast.draft())
        delivery = models.Delivery.select().order_by(models.Delivery.id.desc()).first()
        hand_over(delivery.id, told.server)
        assert models.Strike.select().count() == 1
        told.tell("delivered", token=verp.token(verp.encode(delivery.id, "b.test")))
        assert models.Strike.select().count() == 0

    def test_erasing_takes_the_raw_words(self, told: World) -> None:
        told.tell("bounced")
        told.tell("bounced", token="")
        assert all("friends.test" in row.raw for row in models.ProviderEvent.select())
        erasures.begin(caller=told.sender.owner, address="jane@friends.test")
        housekeeping.sweep(10)
        assert [row.raw for row in models.ProviderEvent.select()] == ["", ""]


class TestShown:
    def test_the_hook_s_address_and_the_raw_events(self, client: FlaskClient) -> None:
        told = world(Mailgun(), client)
        told.tell("delivered")
        told.tell("unknown")
        shown = {}
        for who in (told.sender, cast.sender("stranger", "else.test")):
            key = db.in_transaction(
                lambda tx, who=who: keys.create_key(tx, account_id=who.owner.account_id, surface="mailersio")[1]
            )
            headers = {"Authorization": f"Bearer {key}"}
            path = f"/v1/messages/{models.Message.get().uuid}/provider-events"
            shown[who.domain.name] = client.get(path, headers=headers)
            servers = client.get("/v1/sending-servers", headers=headers).json["data"]
            assert [one["hook_url"] for one in servers] == (
                [provider_hooks.url(told.server)] if who is told.sender else []
            )
        assert provider_hooks.url(told.server).endswith(f"/hooks/mailgun/{told.server.public_id}")
        first, second = shown["shop.test"].json["data"]
        assert (first["type"], first["event"], first["became"]) == ("delivered", "delivered", "recorded")
        assert first["raw"]["event-data"]["recipient"] == first["recipient"] == "jane@friends.test"
        assert (second["event"], second["became"]) == (None, "ignored")
        assert shown["else.test"].status_code == 404


class TestUnsubscribe:
    @pytest.mark.parametrize("kind", ["ses", "mailgun", "sendgrid"])
    def test_it_suppresses_for_the_domain_once(self, kind: str, client: FlaskClient, sink: HttpSink) -> None:
        told = world(peer_of(kind, sink), client)
        told.tell("unsubscribed")
        told.tell("unsubscribed")
        row = models.Suppression.get()
        assert (row.reason, row.rule, row.domain_id) == (
            suppressions.UNSUBSCRIBE, provider_reports.UNSUBSCRIBE_RULE, told.sender.domain.id
        )  # fmt: skip
        (event,) = told.events(EventKind.UNSUBSCRIBED)
        assert orjson.loads(event.data)["method"] == "provider"


class TestSns:
    @pytest.mark.parametrize("version", ["1", "2"])
    def test_both_signature_versions(self, client: FlaskClient, sink: HttpSink, version: str) -> None:
        told = world(Sns(sink, version), client)
        told.tell("delivered")
        told.tell("opened")
        paths = Counter(request.path for request in sink.requests)
        assert list(paths.values()) == [1]  # the certificate is kept

    def test_a_subscription_is_confirmed(self, client: FlaskClient, sink: HttpSink) -> None:
        told = world(Sns(sink), client)
        fields = {
            "Type": "SubscriptionConfirmation", "Message": "You have chosen to subscribe", "Token": "t",
            "SubscribeURL": f"{sink.url}/?Action=ConfirmSubscription&Token=t",
        }  # fmt: skip
        assert told.post(told.peer.signed(fields)).status_code == 200
        assert [request.path for request in sink.requests][-1] == "/?Action=ConfirmSubscription&Token=t"
        assert models.SendingServer.get_by_id(told.server.id).hook_seen_ms is not None

    def test_a_subscription_that_cannot_be_confirmed_is_asked_for_again(
        self, client: FlaskClient, sink: HttpSink
    ) -> None:
        told = world(Sns(sink), client)
        sink.always("/", 500)
        fields = {
            "Type": "SubscriptionConfirmation", "Message": "x", "Token": "t", "SubscribeURL": f"{sink.url}/?Action=c",
        }  # fmt: skip
        answer = told.post(told.peer.signed(fields))
        assert answer.status_code == 503 and answer.headers["Retry-After"]

    def test_a_subscription_elsewhere_is_not_followed(self, client: FlaskClient, sink: HttpSink) -> None:
        told = world(Sns(sink), client)
        with HttpSink() as other:
            fields = {"Type": "SubscriptionConfirmation", "Message": "x", "Token": "t", "SubscribeURL": f"{other.url}/"}
            assert told.post(told.peer.signed(fields)).status_code == 422
            assert other.requests == []

    def test_another_topic_is_not_believed(self, client: FlaskClient, sink: HttpSink) -> None:
        told = world(Sns(sink), client)
        call = told.peer.signed({"Type": "Notification", "Message": "{}", "TopicArn": told.peer.topic + "2"})
        assert told.post(call).status_code == 401
        assert sink.requests == []  # nothing is fetched for it

    def test_a_certificate_from_elsewhere_is_not_fetched(self, client: FlaskClient, sink: HttpSink) -> None:
        told = world(Sns(sink), client)
        with HttpSink() as other:
            url = f"{other.url}/SimpleNotificationService-1.pem"
            call = told.peer.signed({"Type": "Notification", "Message": "{}", "SigningCertURL": url})
            assert told.post(call).status_code == 401
            assert other.requests == []

    def test_a_certificate_that_does_not_come_is_asked_for_again(self, client: FlaskClient, sink: HttpSink) -> None:
        told = world(Sns(sink), client)
        sink.always(told.peer.certificate_url.removeprefix(sink.url), 500)
        assert told.post(told.peer.call("delivered", told.token)).status_code == 503
        assert models.ProviderEvent.select().count() == 0

    @pytest.mark.parametrize(
        ("url", "good"),
        [
            ("https://sns.eu-west-1.amazonaws.com/x.pem", True),
            ("https://sns.eu-west-1.amazonaws.com:443/x.pem", True),
            ("http://sns.eu-west-1.amazonaws.com/x.pem", False),
            ("https://sns.us-east-1.amazonaws.com/x.pem", False),
            ("https://sns.eu-west-1.amazonaws.com:8443/x.pem", False),
            ("https://sns.eu-west-1.amazonaws.com.evil.test/x.pem", False),
            ("https://evil.test/sns.eu-west-1.amazonaws.com/x.pem", False),
            ("https://sns.eu-west-1.amazonaws.com@evil.test/x.pem", False),
            ("https://u@sns.eu-west-1.amazonaws.com/x.pem", False),
            ("https://bucket.s3.amazonaws.com/x.pem", False),
            ("", False),
        ],
    )
    def test_whose_certificates_are_believed(self, url: str, good: bool) -> None:
        assert sns.is_of_sns(url, Sns.topic, "") is good

    def test_without_a_topic_nobody_is_believed(self, client: FlaskClient, sink: HttpSink) -> None:
        peer = Sns(sink)
        del peer.config["topic_arn"]
        told = world(peer, client)
        assert told.post(peer.call("delivered", told.token)).status_code == 401

    def test_the_greeting_of_a_new_destination_is_kept(self, client: FlaskClient, sink: HttpSink) -> None:
        told = world(Sns(sink), client)
        call = told.peer.signed({"Type": "Notification", "Subject": "Hello", "Message": "Successfully validated"})
        assert told.post(call).json == {"status": "ok", "ignored": 1}


class TestMailgun:
    def test_a_token_is_good_for_one_call(self, client: FlaskClient) -> None:
        """The signature does not cover the event, so whoever saw one call could tell anything with it."""
        told = world(Mailgun(), client)
        headers, body = told.peer.call("opened", told.token)
        assert told.post((headers, body)).status_code == 200
        found = json.loads(body)
        found["event-data"] = json.loads(told.peer.call("bounced", told.token)[1])["event-data"]
        assert told.post((headers, json.dumps(found).encode())).status_code == 401
        assert told.post((headers, body)).json == {"status": "ok", "repeated": 1}
        assert told.events(EventKind.BOUNCED) == []

    @pytest.mark.parametrize(("code", "suppressed"), [(605, 1), (606, 0), (607, 0)])
    def test_its_own_suppressions(self, client: FlaskClient, code: int, suppressed: int) -> None:
        told = world(Mailgun(), client)
        headers, body = told.peer.call("bounced", told.token)
        found = json.loads(body)
        found["event-data"]["delivery-status"] = {"code": code, "message": "", "description": "Not delivering"}
        told.post((headers, json.dumps(found).encode()))
        assert told.delivery.state == DeliveryState.BOUNCED
        assert models.Suppression.select().count() == suppressed


class TestSendgrid:
    def test_a_batch_is_one_transaction(self, client: FlaskClient) -> None:
        told = world(Sendgrid(), client)
        event = told.peer.event
        words = ("delivered", "opened", "clicked", "unknown", "complained")
        call = told.peer.signed([*(event(word, told.token) for word in words), event("delivered", told.token)])
        assert told.post(call).json == {"status": "ok", "recorded": 4, "ignored": 1, "repeated": 1}
        assert [row.kind for row in told.events()] == [
            EventKind.DELIVERED, EventKind.COMPLAINED, EventKind.OPENED, EventKind.CLICKED
        ]  # fmt: skip

    def test_a_batch_that_breaks_off_leaves_nothing(self, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
        told = world(Sendgrid(), client)

        def away(*_: object) -> None:
            raise db.StoreUnavailable("the disk is full")

        call = told.peer.signed([told.peer.event(word, told.token) for word in ("delivered", "complained")])
        with monkeypatch.context() as patch:
            patch.setattr(provider_reports.ledger, "record", away)
            assert told.post(call).status_code == 503
        assert models.ProviderEvent.select().count() == 0 and told.delivery.state == DeliveryState.HANDED_OVER
        assert told.post(call).json == {"status": "ok", "recorded": 2}

    def test_calls_at_once_are_counted_once(self, client: FlaskClient) -> None:
        """The same call, and others with the same events in another order, from eight connections."""
        told = world(Sendgrid(), client)
        events = [told.peer.event(word, told.token) for word in ("delivered", "opened", "clicked", "complained")]
        calls = [told.peer.signed(events), told.peer.signed(events[::-1])] * 4

        def post(call: Any) -> Counter[str]:
            answer = client.application.test_client().post(
                f"/hooks/sendgrid/{told.server.public_id}", headers=call[0], data=call[1]
            )
            db.close()
            assert answer.status_code == 200, answer.text
            return Counter({name: n for name, n in answer.json.items() if name != "status"})

        with ThreadPoolExecutor(8) as pool:
            done = sum(pool.map(post, calls), Counter())
        assert done == {"recorded": 4, "repeated": 28}
        assert Counter(row.kind for row in told.events()) == {
            EventKind.DELIVERED: 1, EventKind.OPENED: 1, EventKind.CLICKED: 1, EventKind.COMPLAINED: 1
        }  # fmt: skip

    def test_a_thousand_events_in_a_call(self, client: FlaskClient) -> None:
        told = world(Sendgrid(), client)
        call = told.peer.signed([told.peer.event("opened", told.token) for _ in range(1000)])
        assert told.post(call).json["recorded"] == 1000
        assert len(told.events(EventKind.OPENED)) == 50  # those that are kept of one delivery

    def test_what_it_holds_for_a_machine(self, client: FlaskClient) -> None:
        told = world(Sendgrid(), client)
        told.tell("opened", machine=True)
        data = orjson.loads(told.events(EventKind.OPENED)[0].data)
        assert (data["verdict"], data["reasons"]) == ("machine", ["provider"])

    def test_a_dropped_message_to_a_dead_address(self, client: FlaskClient) -> None:
        told = world(Sendgrid(), client)
        event = told.peer.event("failed", told.token) | {"reason": "Bounced Address"}
        told.post(told.peer.signed([event]))
        assert told.delivery.state == DeliveryState.BOUNCED and models.Suppression.select().count() == 1

    @pytest.mark.parametrize(
        "reason", ["Invalid SMTPAPI header", "Spam Reporting Address", "Recipient List over Package Quota"]
    )
    def test_other_reasons_to_drop_one_suppress_nobody(self, client: FlaskClient, reason: str) -> None:
        told = world(Sendgrid(), client)
        told.post(told.peer.signed([told.peer.event("failed", told.token) | {"reason": reason}]))
        assert told.delivery.state == DeliveryState.FAILED and models.Suppression.select().count() == 0

    def test_a_block_is_told_as_transient(self, client: FlaskClient) -> None:
        told = world(Sendgrid(), client)
        event = told.peer.event("bounced", told.token) | {
            "type": "blocked",
            "status": "5.7.1",
            "reason": "550 5.7.1 spam",
        }
        told.post(told.peer.signed([event]))
        row = told.events()[0]
        assert email_events.bounce_type(event_rows.load([row.id])[row.id]) == ("Transient", "ContentRejected")

    def test_one_whose_time_ran_out(self, client: FlaskClient) -> None:
        told = world(Sendgrid(), client)
        event = told.peer.event("bounced", told.token) | {
            "type": "expired",
            "reason": "unable to get mx info",
            "status": "",
        }
        told.post(told.peer.signed([event]))
        assert told.delivery.state == DeliveryState.FAILED

    def test_the_vendor_s_own_sample_is_believed(self) -> None:
        """Key, time and signature with which its libraries are tested; its body is no list."""
        key = (
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEDr2LjtURuePQzplybdC+u4CwrqDqBaWjcMMsTbhdbcwHBcepxo7yAQGhHPTnlvFYPAZ"
            "FceEu/1FwCM/QmGUhA=="
        )
        signature = "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH2j/0="
        body = b'{"category":"example_payload","event":"test_event","message_id":"message_id"}'
        call = Call({sendgrid.SIGNATURE: signature, sendgrid.TIMESTAMP: "1588788367"}, body)
        with time_machine.travel(1588788400, tick=False), pytest.raises(Unreadable):
            sendgrid.read(call, {}, {"verification_key": key}, None)  # type: ignore[arg-type]
        with pytest.raises(BadSignature):  # today it is too old
            sendgrid.read(call, {}, {"verification_key": key}, None)  # type: ignore[arg-type]

    def test_a_signature_beyond_ascii_is_no_signature(self, client: FlaskClient) -> None:
        told = world(Sendgrid(), client)
        headers, body = told.peer.call("delivered", told.token)
        strange = {name: value for name, value in headers.items() if name.lower() != sendgrid.SIGNATURE}
        assert told.post((strange | {sendgrid.SIGNATURE: "\xe9"}, body)).status_code == 401
        assert told.events() == []

    def test_too_much_at_once(self, client: FlaskClient) -> None:
        told = world(Sendgrid(), client)
        assert told.post(({}, b"x" * (provider_hooks.SIZE + 1))).status_code == 413

    def test_without_a_key_nobody_is_believed(self, client: FlaskClient) -> None:
        peer = Sendgrid()
        for key in ("", "not a key"):
            call = peer.call("delivered", "x")
            with pytest.raises(BadSignature):
                sendgrid.read(
                    Call({k.lower(): v for k, v in call[0].items()}, call[1]), {}, {"verification_key": key}, None
                )  # type: ignore[arg-type]


class TestResend:
    def test_the_specification_s_own_sample_is_believed(self) -> None:
        headers = {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        }  # fmt: skip
        secret = {"signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
        call = Call(headers, b'{"test": 2432232314}')
        with time_machine.travel(1614265400, tick=False):
            batch = resend.read(call, {}, secret, None)  # type: ignore[arg-type]
            assert [report.kind for report in batch.reports] == [None]
            forged = Call(headers, b'{"test": 2432232315}')
            with pytest.raises(BadSignature):
                resend.read(forged, {}, secret, None)  # type: ignore[arg-type]

    def test_the_remote_s_own_words_go_before_the_provider_s(self, client: FlaskClient) -> None:
        told = world(Resend(), client)
        headers, body = told.peer.call(
            "bounced", told.token, reply="it bounced", codes=["smtp; 550 5.1.1 no such user"]
        )
        told.post((headers, body))
        data = orjson.loads(told.events()[0].data)
        assert (data["enhanced"], data["category"]) == ("5.1.1", "recipient")


class TestDoctor:
    def test_it_tells_of_a_provider_that_keeps_silent(self, client: FlaskClient) -> None:
        told = world(Mailgun(), client)
        found = {one.name: one for one in doctor.examine()}["handed over"]
        assert found.ok and "1 wait" in found.detail
        assert "commandpost_handed_over_deliveries 1.0" in client.get("/metrics").text
        models.HandedOver.update(at_ms=clock.now_ms() - 5 * clock.DAY_MS).execute()
        found = {one.name: one for one in doctor.examine()}["handed over"]
        assert not found.ok and f"mailgun:{told.server.id}" in found.detail

    def test_raw_events_go_after_their_days(self, client: FlaskClient) -> None:
        told = world(Mailgun(), client)
        told.tell("delivered")
        models.ProviderEvent.update(created_ms=clock.now_ms() - 40 * clock.DAY_MS).execute()
        models.HookNonce.update(created_ms=clock.now_ms() - 40 * clock.DAY_MS).execute()
        models.HandedOver.create(delivery_id=99, transport="mailgun:1", at_ms=clock.now_ms() - 40 * clock.DAY_MS)
        housekeeping.sweep(10)
        assert models.HandedOver.select().count() == 0
        assert (models.ProviderEvent.select().count(), models.HookNonce.select().count()) == (0, 0)
        assert len(told.events()) == 1
