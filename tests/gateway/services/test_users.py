"""Accounts and their keys, as the command line makes them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway import clock, errors, ids
from gateway.services import identity, keys, users
from models.account import Account, Plan, Session
from models.api import ApiKey
from models.domain import SenderDomain

pytestmark = pytest.mark.usefixtures("store")


def test_add() -> None:
    made = users.add(email=" Jane@Example.COM ", password="long enough", name="Jane Doe")
    row = Account.get_by_id(made["id"])
    assert made == {"id": row.id, "email": "jane@example.com", "api_key": made["api_key"]}
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{8}){3}", made["api_key"])
    assert row.password_hash.startswith("$argon2id$") and row.slug == "jane-doe"
    assert Plan.get_by_id(row.plan_id).name == "Default"
    key = ApiKey.get()
    assert (key.domain_id, key.surface, keys.shown(key.uuid, key.sealed)) == (None, "octeth", made["api_key"])


def test_add_with_a_key_that_clients_hold_already() -> None:
    assert users.add(email="a@example.com", api_key="legacy-key-123")["api_key"] == "legacy-key-123"
    with pytest.raises(errors.KeyExists):
        users.add(email="b@example.com", api_key="legacy-key-123")
    assert Account.select().count() == 1


def test_same_address_in_any_case_and_same_name() -> None:
    users.add(email="a@example.com", name="Jane")
    users.add(email="b@example.com", name="Jane")
    with pytest.raises(errors.AccountExists):
        users.add(email="A@example.com")
    slugs = [row.slug for row in Account.select()]
    assert len(set(slugs)) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"email": "nonsense"},
        {"email": "a@b@c"},
        {"email": "a\r\n@example.com"},
        {"email": "a@example.com", "password": "short"},
        {"email": "a@example.com", "role": "king"},
        {"email": "a@example.com", "api_key": "short"},
        {"email": "a@example.com", "api_key": "with a space"},
        {"email": "a@example.com", "name": "x" * 201},
        {"email": "x" * 250 + "@example.com"},
    ],
)
def test_add_what_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(errors.Invalid):
        users.add(**options)
    assert Account.select().count() == 0


@pytest.mark.parametrize("email", ["a@mail.test", "a@gateway.internal"])
def test_addresses_of_private_networks(email: str) -> None:
    assert users.add(email=email)["email"] == email


def test_plans() -> None:
    account = users.add(email="a@example.com")
    assert users.set_plan(email="A@example.com", plan="growth") == "Growth"
    assert identity.for_account(account["id"]).plan.emails_month == 30_000
    assert users.set_plan(email="a@example.com", unlimited=True) == "Unlimited"
    assert identity.for_account(account["id"]).plan.requests is None
    with pytest.raises(errors.NotFound, match="Default, Unlimited"):
        users.set_plan(email="a@example.com", plan="Golden")
    with pytest.raises(errors.NotFound):
        users.set_plan(email="nobody@example.com", unlimited=True)


def test_new_password_ends_sessions() -> None:
    users.add(email="a@example.com", password="the first one")
    users.login(username="a@example.com", password="the first one", ip="127.0.0.1")
    assert Session.select().count() == 1
    users.set_password(email="a@example.com", password="the second one")
    assert Session.select().count() == 0
    with pytest.raises(errors.LoginFailed):
        users.login(username="a@example.com", password="the first one", ip="127.0.0.1")
    assert users.login(username="a@example.com", password="the second one", ip="127.0.0.1").plan == "Default"


def test_status() -> None:
    account = users.add(email="a@example.com", password="long enough")
    users.login(username="a@example.com", password="long enough", ip="127.0.0.1")
    users.set_status(email="a@example.com", status="disabled")
    assert Session.select().count() == 0
    assert identity.for_account(account["id"]).status == "disabled"
    with pytest.raises(errors.Invalid):
        users.set_status(email="a@example.com", status="asleep")


def test_a_weaker_hash_is_renewed_at_login(monkeypatch: pytest.MonkeyPatch) -> None:
    from argon2 import PasswordHasher

    with monkeypatch.context() as weaker:
        weaker.setattr(users, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        users.add(email="a@example.com", password="long enough")
    before = Account.get().password_hash
    users.login(username="a@example.com", password="long enough", ip="127.0.0.1")
    assert Account.get().password_hash != before
    assert users.login(username="a@example.com", password="long enough", ip="127.0.0.1")


@pytest.mark.parametrize(
    "surface, live, prefix",
    [
        ("mailersio", True, "mio_live_"),
        ("mailersio", False, "mio_test_"),
        ("mailmark", True, "dm_live_"),
        ("mailerlogic", True, "mlk_live_"),
        ("maillayer", True, "ml_live_"),
        ("maillayer", False, "ml_test_"),
    ],
)
def test_keys_of_other_surfaces_exist_only_as_hashes(surface: str, live: bool, prefix: str) -> None:
    users.add(email="a@example.com")
    made = users.add_key(email="a@example.com", surface=surface, live=live, scopes=("send", "read:events", "send"))
    row = ApiKey.get_by_id(made["id"])
    assert made["key"].startswith(prefix) and made["surface"] == surface
    assert (
        made["prefix"] == row.prefix and made["key"].startswith(row.prefix) and len(row.prefix) < len(made["key"]) / 2
    )
    assert row.sealed is None and made["key"] not in str(row.__data__)
    assert (row.scopes, row.live) == ('["read:events", "send"]', live)


def test_imported_key() -> None:
    users.add(email="a@example.com")
    made = users.add_key(email="a@example.com", surface="mailersio", value="mio_live_imported")
    assert (made["key"], made["prefix"]) == ("mio_live_imported", "mio_live_im")


def test_key_of_a_domain() -> None:
    owner = users.add(email="a@example.com")
    users.add(email="b@example.com")
    domain = SenderDomain.create(
        uuid=ids.new_uuid(), account_id=owner["id"], name="xn--bcher-kva.example", status="enabled", subdomain="mail",
        ownership_token="t", signing_key="s", created_ms=clock.now_ms(),
    )  # fmt: skip
    for name in ("xn--bcher-kva.example", "Bücher.example", "XN--BCHER-KVA.example."):
        made = users.add_key(email="a@example.com", domain=name)
        assert identity.authenticate_sender(keys=[made["key"]]).domain_id == domain.id
    with pytest.raises(errors.NotFound):
        users.add_key(email="b@example.com", domain="xn--bcher-kva.example")


def test_keys_that_cannot_be() -> None:
    users.add(email="a@example.com")
    with pytest.raises(errors.Invalid):
        users.add_key(email="a@example.com", surface="nobody")
    with pytest.raises(errors.NotFound):
        users.add_key(email="b@example.com")
