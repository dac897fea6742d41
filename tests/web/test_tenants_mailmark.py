"""The tenant matrix of Mailmark keys: every operation that only they have, with a stranger's ids and with absent ones.

A new operation is in it by being declared; one with an id that is not known here fails the test.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from gateway import ids
from gateway.services import (
    arrivals,
    domain_hooks,
    enrolments,
    identity,
    keys,
    mailbox_mail,
    mailboxes,
    sender_groups,
    sequences,
    warmups,
)
from gateway.services.mailbox_mail import Place
from tests import cast
from tests.web.rest.mailmark_world import Api, key
from tests.web.test_tenants import _fingerprint
from web.rest.surface import Operation
from web.rest.v1.operation import SURFACE

STEPS = [{"type": "send_email", "subject": "x", "html": "y"}]
BODIES: dict[str, Any] = {
    "/mailboxes": {"address": "fresh"},
    "/sender-groups": {"name": "x", "mailboxes": "{address}"},
    "/sender-groups/<group_id>": {"addEmails": "new@friends.test"},
    "/sequences": {"name": "x", "from": "{address}", "steps": STEPS},
    "/sequences/<sequence_id>": {"status": "paused"},
    "/sequences/<sequence_id>/enroll": {"contacts": [{"email": "new@friends.test"}]},
    "/webhooks": {"url": "https://hooks.example.com/new"},
    "/warmup": {"mailbox": "{address}"},
    "/send": {"from": "{address}", "to": "new@friends.test", "subject": "x", "text": "y"},
}


def _operations() -> list[Operation]:
    return [one for siblings in SURFACE.table.values() for one in siblings if one.dialects == {"mailmark"}]


class Tenant:
    """A domain with one of everything that Mailmark keys have."""

    def __init__(self, name: str) -> None:
        self.sender = cast.sender(name, f"{name}.test")
        caller = self.sender.caller
        self.key = key(self.sender)
        box = mailboxes.add(caller=caller, address=f"{name}s")
        letter = b"From: jane@friends.test\r\nSubject: Secret of " + name.encode() + b"\r\n\r\nx\r\n"
        place = Place(box.id, box.account_id, box.domain_id, box.address)
        arrivals.receive(places=[place], mail_from="jane@friends.test", content=letter)
        (mail,) = mailbox_mail.list_(account_id=box.account_id, mailbox_id=box.id)
        group = sender_groups.add(caller=caller, name=f"Group of {name}", emails=[f"{name}@friends.test"])
        warmups.add(caller=caller, address=box.address)
        sequence = sequences.add(caller=caller, name=f"Sequence of {name}", from_=box.address, steps=STEPS)
        enrolments.enrol(caller=caller, sequence_id=sequence.public_id, contacts=[{"email": f"{name}@friends.test"}])
        hook = domain_hooks.add(caller=caller, events=["message.received"], url="https://hooks.example.com/r")
        self.ids = {
            "address": box.address,
            "message_id": mail.public_id,
            "index": "0",
            "group_id": group.public_id,
            "sequence_id": sequence.public_id,
            "webhook_id": ids.public_id("whk", UUID(hook.uuid)),
        }


ABSENT = {
    "address": "absent@absent.test",
    "message_id": "inb_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "index": "7",
    "group_id": "grp_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "sequence_id": "seq_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "webhook_id": "whk_01KH8N3QZJ6W2M4YV0T9R5X7BC",
}


@pytest.fixture
def owner(client: FlaskClient) -> Tenant:
    return Tenant("owner")


@pytest.fixture
def stranger(client: FlaskClient) -> Tenant:
    return Tenant("stranger")


def _ask(api: Api, one: Operation, ids: dict[str, str]) -> tuple[int, str]:
    names = set(re.findall(r"<(\w+)>", one.path))
    assert names <= ids.keys(), f"{one.method} {one.path}: teach the matrix about {names - ids.keys()}"
    path = re.sub(r"<(\w+)>", lambda found: ids[found[1]], one.path)
    body = BODIES.get(one.path) if one.method in ("POST", "PATCH") else None
    if body is not None:
        body = {name: ids["address"] if value == "{address}" else value for name, value in body.items()}
    answer = api(one.method, path, body)
    text = re.sub(r'"request_id":"[^"]+"', "", answer.get_data(as_text=True))
    for value in ids.values():
        text = text.replace(value, "#") if len(value) > 1 else text
    return answer.status_code, text


def test_a_strangers_ids_are_absent_ones(client: FlaskClient, owner: Tenant, stranger: Tenant) -> None:
    api = Api(client, stranger.key)
    found = _operations()
    assert len(found) > 20
    for one in found:
        if one.method == "POST" and one.path in ("/mailboxes", "/webhooks"):
            continue  # it names nothing of anybody's
        before = _fingerprint()
        mixed = [owner.ids, ABSENT]
        if "<address>" in one.path and "<message_id>" in one.path:  # the own mailbox, somebody else's mail in it
            mixed += [owner.ids | {"address": stranger.ids["address"]}, ABSENT | {"address": stranger.ids["address"]}]
        told = [_ask(api, one, ids) for ids in mixed]
        for theirs, nobodys in zip(told[::2], told[1::2], strict=True):
            assert theirs == nobodys, one.path
            assert "owner" not in theirs[1].lower(), one.path
        if "<" in one.path or one.method == "POST":
            assert all(status >= 400 for status, _ in told), one.path
            assert _fingerprint() == before, one.path


def test_own_ids_are_found(client: FlaskClient, owner: Tenant) -> None:
    """The matrix would prove nothing if its requests were bad anyway."""
    last = {"DELETE": 1, "GET": -1}  # and the mailbox after all that belongs to it
    order = lambda one: (last.get(one.method, 0), one.path == "/mailboxes/<address>")  # noqa: E731
    for one in sorted(_operations(), key=order):
        status, text = _ask(Api(client, owner.key), one, owner.ids)
        # The mail has no attachment, and the mailbox is warmed up already.
        wanted = {"/warmup": (200, 409)}.get(one.path, (404,) if one.path.endswith("<index>") else (200, 201))
        assert status in wanted, (one.method, one.path, text)


def test_an_org_wide_key_gets_403_wherever_it_may_not_read(client: FlaskClient, owner: Tenant) -> None:
    before = _fingerprint()
    api = Api(client, key(owner.sender, org_wide=True))
    own = _fingerprint()
    for siblings in SURFACE.table.values():
        for one in siblings:
            if "mailmark" not in one.dialects or one.org_wide:
                continue
            ids = dict.fromkeys(re.findall(r"<(\w+)>", one.path), "x") | owner.ids
            assert _ask(api, one, ids)[0] == 403, (one.method, one.path)
    assert _fingerprint() == own != before


def test_a_revoked_key_is_401_everywhere(client: FlaskClient, owner: Tenant) -> None:
    row = identity.authenticate_key(key=owner.key, surfaces={"mailmark"})
    keys.revoke(account_id=row.account_id, key_id=row.key_id or 0)
    identity.forget()
    before = _fingerprint()
    for one in _operations():
        assert _ask(Api(client, owner.key), one, owner.ids)[0] == 401, one.path
    assert _fingerprint() == before
