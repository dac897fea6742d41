"""The tenant matrix of the audience below `/v1`: a stranger's ids are answered like absent ones, and nothing moves."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient

from gateway import clock, ids
from gateway.services import lists, segments, subscribers, templates
from gateway.services.scoped_suppressions import New, Scope, put
from tests import cast
from tests.web.conftest import app, cheap_passwords, client
from tests.web.rest.audience_world import Api, api
from tests.web.test_tenants import _fingerprint
from web import rest
from web.rest.surface import Surface

__all__ = ["app", "cheap_passwords", "client"]

NOUNS = ("lists", "segments", "templates", "suppressions")
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/lists/<list_id>/subscribers"): {"email": "jane@friends.test"},
    ("POST", "/templates/<template_id>/render"): {"variables": {}},
    ("PATCH", "/lists/<list_id>"): {"name": "Taken"},
    ("PATCH", "/segments/<segment_id>"): {"name": "Taken"},
    ("PATCH", "/templates/<template_id>"): {"name": "Taken"},
    ("PATCH", "/lists/<list_id>/subscribers/<subscriber_id>"): {"status": "unsubscribed"},
    ("POST", "/lists/<list_id>/imports"): {"csv": "email\njane@friends.test\n"},
}
NAMED: dict[tuple[str, str], dict[str, str]] = {
    ("POST", "/segments"): {"name": "S", "list_id": "{list_id}", "conditions": {}},  # type: ignore[dict-item]
    ("POST", "/segments/preview"): {"list_id": "{list_id}", "conditions": {}},  # type: ignore[dict-item]
    ("POST", "/templates"): {"id": "{template_id}", "name": "Taken"},
    ("POST", "/suppressions"): {"email": "jane@friends.test", "list_id": "{list_id}"},
    ("POST", "/lists"): {"name": "L", "confirm_template_id": "{template_id}"},
}
"""Ids in a body."""


def _operations() -> list[tuple[str, str]]:
    list(rest.blueprints())  # declares them
    found = []
    for surface in Surface.all:
        if surface.blueprint.url_prefix == "/v1":
            for (method, path), siblings in surface.table.items():
                if path.split("/")[1] in NOUNS and "mailersio" in siblings[0].dialects | siblings[-1].dialects:
                    found.append((method, path))
    return sorted(found)


WITH_IDS = [one for one in _operations() if ("<" in one[1] and "<email>" not in one[1]) or one in NAMED]


class Tenant:
    """An account with one of everything."""

    def __init__(self, client: FlaskClient, name: str) -> None:
        self.who = cast.sender(name, f"{name}.test")
        owner = self.who.owner
        self.call = api(client, self.who)
        news = lists.add(caller=owner, name="News")
        jane = subscribers.add(caller=owner, list_id=news.id, email="secret@friends.test")
        segment = segments.add(caller=owner, name="All", list_id=news.id, conditions={})
        template = templates.add(caller=owner, name="Hello", subject="Hi", html=None, text="{{ confirm_url }}")
        (row,) = put(caller=owner, new=[New("secret@friends.test", scope=Scope("account"))])
        assert row.row is not None
        self.ids = {
            "list_id": ids.public_id("lst", news.uuid),
            "segment_id": ids.public_id("seg", segment.uuid),
            "subscriber_id": ids.numbered("sub", jane.created_ms, jane.id),
            "template_id": ids.public_id("tpl", template.uuid),
            "suppression_id": ids.numbered("sup", row.row.created_ms, row.row.id),
        }
        imported = self.call("POST", f"/lists/{self.ids['list_id']}/imports", {"csv": "email\nsecret@friends.test\n"})
        self.ids["import_id"] = imported["id"]


def _absent(found: dict[str, str]) -> dict[str, str]:
    now = clock.now_ms()
    prefixes = {name: value.partition("_")[0] for name, value in found.items()}
    return {
        name: ids.numbered(prefix, now, 987_654_321)
        if prefix in ("sub", "sup")
        else ids.public_id(prefix, ids.new_uuid())
        for name, prefix in prefixes.items()
    }


def _ask(call: Api, method: str, path: str, named: dict[str, str]) -> tuple[int, str]:
    body = BODIES.get((method, path), NAMED.get((method, path)))
    if isinstance(body, dict):
        body = {k: named[v[1:-1]] if isinstance(v, str) and v.startswith("{") else v for k, v in body.items()}
    for name, value in named.items():
        path = path.replace(f"<{name}>", value)
    text = repr(call(method, path, body if body is not None or method == "GET" else {}))
    return call.status, re.sub(r"'request_id': '[^']+'", "", text)


def test_a_foreign_id_is_answered_like_an_absent_one(client: FlaskClient) -> None:
    """All operations in one: making two accounts takes longer than asking."""
    owner, stranger = Tenant(client, "owner"), Tenant(client, "stranger")
    absent_ids = _absent(owner.ids)
    before = _fingerprint()
    for method, path in WITH_IDS:
        mixes = [(owner.ids, absent_ids)]
        wanted = [name for name in owner.ids if f"<{name}>" in path]
        if len(wanted) > 1:  # the stranger's own but for one
            mixes += [
                (stranger.ids | {name: owner.ids[name]}, stranger.ids | {name: absent_ids[name]}) for name in wanted
            ]
        for foreign, absent in mixes:
            seen = _ask(stranger.call, method, path, foreign), _ask(stranger.call, method, path, absent)
            assert seen[0] == seen[1], (method, path)
            assert seen[0][0] == 404, (method, path, seen[0])
            assert "secret" not in seen[0][1]
    assert _fingerprint() == before


def test_own_ids_are_found(client: FlaskClient) -> None:
    """The matrix would prove nothing if its requests were bad anyway."""
    owner = Tenant(client, "owner")
    for method, path in sorted(WITH_IDS, key=lambda one: (one[0] == "DELETE", -len(one[1]))):
        status, text = _ask(owner.call, method, path, owner.ids)
        assert status < 300 or (status == 409 and "not_pending" in text), (method, path, text)
