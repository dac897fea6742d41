"""Credentials of every kind, and how soon a revoked one stops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine

from gateway import clock, errors, ids, vault
from gateway.services import identity, keys, users
from models import database as db
from models.account import Plan, Session
from models.api import ApiKey, KeyUse
from tests.conftest import use_settings


@pytest.fixture(autouse=True)
def frozen(store: str) -> Iterator[Any]:
    """An empty store at a moment that moves only by hand."""
    identity.forget()
    with time_machine.travel(clock.now(), tick=False) as traveller:
        yield traveller


def make(email: str = "owner@example.com", **options: Any) -> dict[str, Any]:
    return users.add(email=email, **options)


def new_key(account: dict[str, Any], **options: Any) -> tuple[ApiKey, str]:
    return db.in_transaction(lambda tx: keys.create_key(tx, account_id=account["id"], **options))


def session_of(account: dict[str, Any], *, lasts_ms: int = 1000_000) -> str:
    token, now = ids.session_token(), clock.now_ms()
    Session.create(
        token_hash=vault.fingerprint(token), account_id=account["id"], created_ms=now, expires_ms=now + lasts_ms
    )
    return token


def test_account_key() -> None:
    account = make(role="operator")
    caller = identity.authenticate(api_key=account["api_key"])
    assert (caller.account_id, caller.email, caller.is_operator) == (account["id"], "owner@example.com", True)
    assert (caller.domain_id, caller.surface, caller.live, caller.scopes) == (None, "octeth", True, frozenset())
    assert (caller.plan.name, caller.plan.requests, caller.plan.max_domains) == ("Default", 100, None)


def test_session() -> None:
    account = make()
    assert identity.authenticate(session_id=session_of(account)).account_id == account["id"]


@pytest.mark.parametrize(
    "given", [{}, {"api_key": ""}, {"api_key": "x"}, {"session_id": "é" * 32}, {"api_key": "k" * 5000}]
)
def test_nothing_valid(given: dict[str, Any]) -> None:
    make()
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate(**given)


def test_sender_keys_and_account_keys_do_not_stand_for_each_other() -> None:
    account = make()
    _, text = new_key(account, domain_id=7)
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate(api_key=text)
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate_sender(keys=[account["api_key"]])


def test_keys_of_other_surfaces_do_not_open_this_one() -> None:
    account = make()
    _, account_key = new_key(account, surface="mailersio", scopes=["send"])
    _, domain_key = new_key(account, surface="mailmark", domain_id=7)
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate(api_key=account_key)
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate_sender(keys=[domain_key])
    assert identity.authenticate_sender(keys=[domain_key], surfaces=("mailmark",)).domain_id == 7


def test_sender_key() -> None:
    account = make()
    row, text = new_key(account, domain_id=7, defaults={"ListID": "l1", "ActionID": ""}, live=False, strict=True)
    caller = identity.authenticate_sender(keys=["wrong", text])
    assert (caller.key_id, caller.domain_id, caller.live, caller.strict) == (row.id, 7, False, True)
    assert caller.defaults == {"ListID": "l1"}


def test_two_keys_of_one_domain_or_of_two() -> None:
    account = make()
    (_, one), (_, same), (_, other) = (new_key(account, domain_id=n) for n in (7, 7, 8))
    assert identity.authenticate_sender(keys=[one, same]).domain_id == 7
    assert identity.authenticate_sender(keys=[one, one]).domain_id == 7
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate_sender(keys=[one, other])


def test_sender_of_a_disabled_account_is_left_to_the_service() -> None:
    account = make()
    _, text = new_key(account, domain_id=7)
    users.set_status(email=account["email"], status="disabled")
    assert identity.authenticate_sender(keys=[text]).status == "disabled"
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate(api_key=account["api_key"])


def test_operator_credentials() -> None:
    owner, operator = make(), make("root@example.com", role="operator")
    session = session_of(owner)
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate(admin_api_key=owner["api_key"])
    assert identity.authenticate(session_id=session, admin_api_key=operator["api_key"]).is_operator
    assert identity.authenticate(session_id=session, admin_api_key="wrong").account_id == owner["id"]


def test_disabled_session_beside_a_valid_key() -> None:
    gone, owner = make("gone@example.com"), make()
    session = session_of(gone)
    users.set_status(email=gone["email"], status="disabled")
    Session.create(
        token_hash=vault.fingerprint("t"), account_id=gone["id"], created_ms=0, expires_ms=clock.now_ms() + 9999
    )
    assert identity.authenticate(session_id="t", api_key=owner["api_key"]).account_id == owner["id"]
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate(session_id=session)


def test_revoked_elsewhere_stops_within_a_second(frozen: Any) -> None:
    account = make()
    key = account["api_key"]
    identity.authenticate(api_key=key)
    ApiKey.update(revoked_ms=clock.now_ms()).execute()
    assert identity.authenticate(api_key=key).account_id == account["id"]  # from the cache
    frozen.shift(1)
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate(api_key=key)


def test_revoked_through_the_service() -> None:
    owner, stranger = make(), make("stranger@example.com")
    row, text = new_key(owner, domain_id=7)
    for account_id, key_id in ((stranger["id"], row.id), (owner["id"], 0)):
        with pytest.raises(errors.NotFound):
            keys.revoke(account_id=account_id, key_id=key_id)
    assert identity.authenticate_sender(keys=[text])
    keys.revoke(account_id=owner["id"], key_id=row.id)
    identity.forget()
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate_sender(keys=[text])
    with pytest.raises(errors.NotFound):
        keys.revoke(account_id=owner["id"], key_id=row.id)


def test_expiry_is_sharper_than_the_cache(frozen: Any) -> None:
    account = make()
    token = session_of(account, lasts_ms=500)
    row, text = new_key(account)
    ApiKey.update(expires_ms=clock.now_ms() + 500).where(ApiKey.id == row.id).execute()
    identity.forget()
    assert identity.authenticate(session_id=token) and identity.authenticate(api_key=text)
    frozen.shift(0.6)
    for given in ({"session_id": token}, {"api_key": text}):
        with pytest.raises(errors.NotAuthenticated):
            identity.authenticate(**given)


def test_a_clock_that_goes_back_does_not_keep_keys_alive(frozen: Any) -> None:
    account = make()
    identity.authenticate(api_key=account["api_key"])
    ApiKey.update(revoked_ms=clock.now_ms()).execute()
    frozen.shift(-3600)
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate(api_key=account["api_key"])


def test_a_key_works_while_the_secret_rotates(store: str, tmp_path: Any) -> None:
    account = make()
    use_settings(tmp_path, SECRET="a-newer-secret,a-secret-for-tests")
    identity.forget()
    assert identity.authenticate(api_key=account["api_key"]).account_id == account["id"]
    with pytest.raises(errors.KeyExists):
        new_key(account, value=account["api_key"])


def test_use_is_noted_at_most_once_a_minute(frozen: Any) -> None:
    account = make()
    first = clock.now_ms()
    identity.authenticate(api_key=account["api_key"])
    frozen.shift(30)
    identity.authenticate(api_key=account["api_key"])
    assert KeyUse.get().used_ms == first
    frozen.shift(31)
    identity.authenticate(api_key=account["api_key"])
    assert KeyUse.get().used_ms == clock.now_ms()


def test_a_lost_note_fails_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    account = make()

    def away(*args: Any) -> None:
        raise db.StoreUnavailable("gone")

    monkeypatch.setattr("gateway.services.scratchpad.write", away)
    assert identity.authenticate(api_key=account["api_key"]).account_id == account["id"]


def test_for_account() -> None:
    account = make()
    caller = identity.for_account(account["id"])
    assert (caller.email, caller.key_id) == ("owner@example.com", None)
    with pytest.raises(errors.NotFound):
        identity.for_account(0)


def test_plan_of_the_caller() -> None:
    account = make(plan="free")
    plan = Plan.get(Plan.name == "Free")
    caller = identity.for_account(account["id"])
    assert (caller.plan.emails_month, caller.plan.max_domains) == (plan.emails_month, plan.max_domains) == (300, 1)
