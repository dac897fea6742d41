"""`/v1/webhooks` with Mailmark keys: from a mail that comes to the call that tells it."""

from __future__ import annotations

import base64
import hashlib
import hmac

import orjson
from flask.testing import FlaskClient

from gateway.services import arrivals, mailboxes, webhook_calls
from gateway.services.mailbox_mail import Place
from tests import cast
from tests.peers.http_sink import HttpSink
from tests.web.rest.mailmark_world import Api, key

LETTER = b"From: jane@friends.test\r\nTo: hello@shop.test\r\nSubject: Hi\r\n\r\nHello.\r\n"


def test_add_hear_delete(client: FlaskClient) -> None:
    sender, stranger = cast.sender(), cast.sender("stranger", "other.test")
    api, theirs = Api(client, key(sender)), Api(client, key(stranger))
    second = cast.domains.add(caller=sender.owner, name="second.test", trusted=True, dkim=cast.signing_keys())
    with HttpSink() as sink:
        made = api("POST", "/webhooks", {"url": sink.url})
        assert made.status_code == 201
        hook = made.get_json()
        assert hook["events"] == ["message.received", "message.replied"]
        (listed,) = api.get("/webhooks")
        assert (listed["id"], "secret" in listed) == (hook["id"], False)
        assert theirs.get("/webhooks") == []
        assert theirs("DELETE", f"/webhooks/{hook['id']}").status_code == 404
        for domain_id in (sender.domain.id, second.id):
            caller = cast.replace(sender.caller, domain_id=domain_id)
            box = mailboxes.add(caller=caller, address="hello")
            place = Place(box.id, box.account_id, box.domain_id, box.address)
            arrivals.receive(places=[place], mail_from="jane@friends.test", content=LETTER)
        webhook_calls.drain(2)
        (request,) = sink.requests  # that of the other domain is none of this key's
    body = orjson.loads(request.body)
    assert (body["type"], body["data"]["mailbox"], body["data"]["message"]["text"]) == (
        "message.received", "hello@shop.test", "Hello.\n",
    )  # fmt: skip
    headers = {name.lower(): value for name, value in request.headers.items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    secret = base64.b64decode(hook["secret"].removeprefix("whsec_"))
    mac = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"
    assert api("DELETE", f"/webhooks/{hook['id']}").status_code == 200
    assert api.get("/webhooks") == []
    assert (
        api("POST", "/webhooks", {"url": "https://hooks.example.com", "events": "message.nothing"}).status_code == 400
    )
    assert api("POST", "/webhooks", {"url": "http://10.0.0.1/"}).status_code == 400
