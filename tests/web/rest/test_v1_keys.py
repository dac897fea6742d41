"""`/v1/keys`: scopes, domains, environments, rotation, use; and a key never makes a stronger one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient

import models
from gateway import clock, ids
from gateway.services import api_keys, apis, domains, identity, key_usage, keys, messages, senders
from models import database as db
from models.vocabulary import V1_SCOPES
from tests import cast
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.test_v1_send import GOOD, key_of, who
from web import rest
from web.rest.surface import Surface

__all__ = ["app", "cheap_passwords", "client", "who"]


class Keys:
    """Asks with a key of the account."""

    def __init__(self, client: FlaskClient, who: cast.Sender) -> None:
        self.client, self.who = client, who
        self.key = key_of(who)

    def ask(self, method: str, path: str, key: str = "", query: Any = None, **fields: Any) -> Any:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        body = {"json": fields} if method not in ("GET", "DELETE") else {}
        return self.client.open(path, method=method, headers=headers, query_string=query, **body)

    def made(self, key: str = "", **fields: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/v1/keys", key, **{"name": "worker"} | fields)
        assert answer.status_code == 201, answer.get_json()
        return dict(answer.get_json())

    def refused(self, status: int, code: str, key: str = "", **fields: Any) -> None:
        answer = self.ask("POST", "/v1/keys", key, **{"name": "worker"} | fields)
        assert (answer.status_code, answer.get_json()["code"]) == (status, code), answer.get_json()

    def sends(self, key: str, **changed: Any) -> int:
        return int(self.ask("POST", "/v1/send", key, **GOOD | changed).status_code)


@pytest.fixture
def asked(client: FlaskClient, who: cast.Sender) -> Keys:
    return Keys(client, who)


def test_a_key_is_shown_once_and_stored_as_a_hash(asked: Keys) -> None:
    made = asked.made(scopes=["send", "read:messages"], service="shop", domains=["shop.test"])
    text = made["key"]
    assert text.startswith("mio_live_") and made["prefix"] == text[: len(made["prefix"])]
    assert len(text) - len(made["prefix"]) >= 24
    assert (made["status"], made["environment"], made["domains"]) == ("active", "live", ["shop.test"])
    rows = " ".join(map(repr, db.rows("SELECT * FROM api_key")))
    assert text not in rows
    shown = asked.ask("GET", f"/v1/keys/{made['id']}").get_json()
    listed = asked.ask("GET", "/v1/keys").get_json()["data"]
    assert "key" not in shown and all("key" not in one for one in listed)
    assert {one["id"] for one in listed} >= {made["id"]}
    assert asked.sends(text) == 202
    assert asked.ask("GET", "/v1/keys", text).status_code == 403


def test_what_is_asked_for_has_to_be_right(asked: Keys) -> None:
    for fields, field in (
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": None}, "name"),
        ({"scopes": ["send", "fly"]}, "scopes"),
        ({"scopes": 5}, "scopes"),
        ({"environment": "moon"}, "environment"),
        ({"service": "x" * 65}, "service"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"strict": "perhaps"}, "strict"),
    ):
        answer = asked.ask("POST", "/v1/keys", **{"name": "worker"} | fields)
        assert answer.status_code == 400, fields
        assert answer.get_json()["errors"][0]["field"] == field
    asked.refused(404, "not_found", domains=["elsewhere.test"])
    assert models.ApiKey.select().count() == 1


def test_every_scope_of_an_operation_can_be_given(asked: Keys) -> None:
    list(rest.blueprints())
    (surface,) = (one for one in Surface.all if one.blueprint.name == "v1")
    wanted = {operation.permission for siblings in surface.table.values() for operation in siblings}
    assert wanted <= set(V1_SCOPES), wanted - set(V1_SCOPES)


def test_a_key_makes_none_that_may_do_more(asked: Keys) -> None:
    limited = asked.made(scopes=["write:keys", "read:keys", "send"])["key"]
    assert asked.made(limited, scopes=["send"])["scopes"] == ["send"]
    assert asked.made(limited)["scopes"] == ["read:keys", "send", "write:keys"]
    asked.refused(403, "not_allowed", limited, scopes=["read:messages"])
    asked.refused(403, "not_allowed", limited, scopes=["read"])
    reader = asked.made(scopes=["read", "write:keys"])["key"]
    assert asked.made(reader, scopes=["read:messages"])["scopes"] == ["read:messages"]
    asked.refused(403, "not_allowed", reader, scopes=["send"])
    domains.add(caller=asked.who.owner, name="second.test", trusted=True, dkim=cast.signing_keys())
    bound = asked.made(domains=["shop.test"])["key"]
    assert asked.made(bound)["domains"] == ["shop.test"]
    asked.refused(404, "not_found", bound, domains=["second.test"])
    test = asked.made(environment="test")["key"]
    assert asked.made(test)["environment"] == "test"
    asked.refused(403, "not_allowed", test, environment="live")


def test_nor_does_it_change_rotate_or_revoke_a_stronger_one(asked: Keys) -> None:
    strong = asked.made()
    limited = asked.made(scopes=["write:keys", "send"])["key"]
    test = asked.made(environment="test")["key"]
    for weak in (limited, test):
        for method, path, fields in (
            ("PATCH", f"/v1/keys/{strong['id']}", {"name": "mine"}),
            ("POST", f"/v1/keys/{strong['id']}/rotate", {}),
            ("DELETE", f"/v1/keys/{strong['id']}", {}),
        ):
            answer = asked.ask(method, path, weak, **fields)
            assert (answer.status_code, answer.get_json()["code"]) == (403, "not_allowed"), (method, weak)
    mine = asked.made(limited, scopes=["send"])
    assert asked.ask("PATCH", f"/v1/keys/{mine['id']}", limited, scopes=["read:messages"]).status_code == 403
    bound = asked.made(domains=["shop.test"])["key"]
    assert asked.ask("GET", f"/v1/keys/{strong['id']}", bound).status_code == 404
    listed = asked.ask("GET", "/v1/keys", bound).get_json()["data"]
    assert all(one["domains"] == ["shop.test"] for one in listed) and listed


def test_rotation_with_an_overlap(asked: Keys) -> None:
    old = asked.made(scopes=["send"], service="worker")
    answer = asked.ask("POST", f"/v1/keys/{old['id']}/rotate", overlap_hours=2)
    new = answer.get_json()
    assert answer.status_code == 201 and new["key"] != old["key"]
    assert (new["scopes"], new["service"], new["status"]) == (["send"], "worker", "active")
    assert (new["rotated"]["id"], new["rotated"]["status"]) == (old["id"], "rotating")
    assert asked.sends(old["key"]) == asked.sends(new["key"]) == 202
    again = asked.ask("POST", f"/v1/keys/{old['id']}/rotate")
    assert (again.status_code, again.get_json()["code"]) == (409, "key_ended")
    assert asked.ask("PATCH", f"/v1/keys/{old['id']}", expires_at=None).status_code == 409
    with time_machine.travel(clock.from_ms(clock.now_ms() + 2 * clock.HOUR_MS + 1000)):
        assert (asked.sends(old["key"]), asked.sends(new["key"])) == (401, 202)
        assert asked.ask("GET", f"/v1/keys/{old['id']}").get_json()["status"] == "expired"
    at_once = asked.ask("POST", f"/v1/keys/{new['id']}/rotate", overlap_hours=0).get_json()
    assert (asked.sends(new["key"]), asked.sends(at_once["key"])) == (401, 202)


def test_a_sender_key_that_was_rotated_is_listed_no_more_once_it_has_ended(asked: Keys) -> None:
    owner, domain = asked.who.owner, asked.who.domain
    old = apis.add(caller=owner, domain_id=domain.id, description="shop")
    public = ids.public_id("key", models.ApiKey.get_by_id(old.id).uuid)
    new = asked.ask("POST", f"/v1/keys/{public}/rotate", overlap_hours=1).get_json()
    assert [key.key for key in apis.list_(caller=owner, domain_id=domain.id)] == [old.key, new["key"]]
    with time_machine.travel(clock.from_ms(clock.now_ms() + clock.HOUR_MS + 1000)):
        assert [key.key for key in apis.list_(caller=owner, domain_id=domain.id)] == [new["key"]]
        assert asked.sends(old.key) == 401


def test_an_ended_key_stops_within_a_second_where_it_was_known(asked: Keys) -> None:
    """Another process has cached it and hears of nothing: its own clock ends it."""
    made = asked.made(scopes=["send"])
    now = clock.now_ms()
    with time_machine.travel(clock.from_ms(now)) as machine:
        assert asked.sends(made["key"]) == 202  # cached from here
        db.in_transaction(
            lambda tx: tx.execute("UPDATE api_key SET expires_ms = ? WHERE prefix = ?", (now + 300, made["prefix"]))
        )
        machine.move_to(clock.from_ms(now + 950))
        assert asked.sends(made["key"]) == 401


def test_revoking_and_expiring(asked: Keys) -> None:
    made = asked.made(expires_at=clock.now_ms() + 60_000)
    assert asked.ask("DELETE", f"/v1/keys/{made['id']}").status_code == 204
    assert asked.sends(made["key"]) == 401
    shown = asked.ask("GET", f"/v1/keys/{made['id']}").get_json()
    assert shown["status"] == "revoked" and shown["revoked_at"]
    assert asked.ask("DELETE", f"/v1/keys/{made['id']}").status_code == 204
    for method, path in (("PATCH", ""), ("POST", "/rotate")):
        answer = asked.ask(method, f"/v1/keys/{made['id']}{path}", name="x")
        assert (answer.status_code, answer.get_json()["code"]) == (409, "key_ended")
    assert asked.ask("GET", "/v1/keys", query={"status": "revoked"}).get_json()["data"][0]["id"] == made["id"]


def test_changes(asked: Keys) -> None:
    made = asked.made(scopes=["send"])
    later = clock.rfc3339(clock.now_ms() + 3_600_000)
    changed = asked.ask(
        "PATCH",
        f"/v1/keys/{made['id']}",
        name="other",
        scopes=["read:messages"],
        strict=True,
        expires_at=later,
        service="s",
    ).get_json()
    assert (changed["name"], changed["scopes"], changed["strict"]) == ("other", ["read:messages"], True)
    assert (changed["expires_at"], changed["service"]) == (later, "s")
    assert asked.sends(made["key"]) == 403
    assert asked.ask("PATCH", f"/v1/keys/{made['id']}", expires_at=None).get_json()["expires_at"] is None
    assert asked.ask("PATCH", f"/v1/keys/{made['id']}", scopes=["fly"]).status_code == 400


def test_a_key_of_several_domains(asked: Keys) -> None:
    owner = asked.who.owner
    for name in ("second.test", "third.test"):
        domains.add(caller=owner, name=name, trusted=True, dkim=cast.signing_keys())
    senders.forget()
    made = asked.made(domains=["shop.test", "second.test"])
    key = made["key"]
    assert sorted(made["domains"]) == ["second.test", "shop.test"]
    assert asked.sends(key) == asked.sends(key, **{"from": "a@second.test"}) == 202
    assert asked.sends(key, **{"from": "a@third.test"}) == 403
    third = messages.accept(_of(asked, "third.test"), cast.draft(domain="third.test")).message_id
    assert asked.ask("GET", f"/v1/messages/{third}", key).status_code == 404
    assert len(asked.ask("GET", "/v1/messages", key).get_json()["data"]) == 2
    named = [one["domain"] for one in asked.ask("GET", "/v1/sending-domains", key).get_json()["data"]]
    assert named == ["shop.test", "second.test"]
    # What does not know of several domains asks for one, and never stands for the account.
    unaware = asked.ask("POST", "/v1/sending-domains", key)
    assert unaware.status_code == 400
    stranger = asked.ask("POST", "/v1/sending-domains", key, domain="third.test")
    assert stranger.status_code == 404
    caller = identity.authenticate_key(key=key, surfaces=("mailersio",))
    assert (caller.domain_id, len(caller.domain_ids)) == (identity.SEVERAL_DOMAINS, 2)


def _of(asked: Keys, name: str) -> Any:
    found = domains.find_by_name(caller=asked.who.owner, name=name)
    return replace(asked.who.owner, domain_id=found.id)


def test_use_is_counted_by_day_without_a_write_for_each_request(asked: Keys) -> None:
    made = asked.made(scopes=["send"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_usage, "_write", lambda counts: None)  # what the writer does every few seconds
        for _ in range(3):
            asked.sends(made["key"])
        bulk = asked.ask("POST", "/v1/send/bulk", made["key"], messages=[GOOD, GOOD, GOOD | {"to": "x@"}])
    assert bulk.get_json()["accepted"] == 2
    number = models.ApiKey.get(models.ApiKey.prefix == made["prefix"]).id
    assert key_usage.days(key_ids=[number], since_day=0) == {number: []}
    key_usage.flush()
    key_usage.flush()
    shown = asked.ask("GET", f"/v1/keys/{made['id']}").get_json()
    assert shown["usage"] == {"days": api_keys.USAGE_DAYS, "calls": 4, "sends": 5}
    today = clock.rfc3339(clock.now_ms())[:10]
    assert shown["usage_by_day"] == [{"date": today, "calls": 4, "sends": 5}]
    assert shown["last_used_at"][:10] == today


def test_other_peoples_keys_are_absent(asked: Keys) -> None:
    stranger = key_of(cast.sender("stranger", "other.test"))
    made = asked.made()
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")):
        for id_ in (made["id"], "key_01KPZ3N8V4E0R2Y7T6W9Q5B1CD", "x"):
            answer = asked.ask(method, f"/v1/keys/{id_}{path}", stranger)
            assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")
    assert asked.sends(made["key"]) == 202
    assert len(asked.ask("GET", "/v1/keys", stranger).get_json()["data"]) == 1


def test_pages(asked: Keys) -> None:
    names = [asked.made(name=f"k{n}")["name"] for n in range(4)]
    first = asked.ask("GET", "/v1/keys", query={"limit": 3}).get_json()
    assert [one["name"] for one in first["data"]] == names[:0:-1] and first["has_more"]
    second = asked.ask("GET", "/v1/keys", query={"limit": 3, "cursor": first["next_cursor"]}).get_json()
    assert second["data"][0]["name"] == "k0" and not second["has_more"]


def test_keys_of_the_command_api_and_mailmark(asked: Keys) -> None:
    octeth = key_of(asked.who, surface="octeth", domain=True)
    assert asked.made(octeth)["surface"] == "mailersio"
    mailmark = key_of(asked.who, surface="mailmark", domain=True)
    assert asked.ask("GET", "/v1/keys", mailmark).status_code == 403
    with pytest.raises(Exception, match="permission"):
        db.in_transaction(
            lambda tx: keys.create_key(
                tx, account_id=asked.who.owner.account_id, surface="mailersio", scopes=["read:statistics"]
            )
        )
