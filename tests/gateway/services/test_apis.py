from __future__ import annotations

import re

import pytest

from gateway import clock, errors
from gateway.services import apis, identity, keys
from models import database as db
from models.api import ApiKey
from models.domain import SenderDomain
from tests import cast

pytestmark = pytest.mark.usefixtures("store")


def test_a_key_sends_for_its_domain_and_keeps_its_defaults() -> None:
    who = cast.sender()
    made = apis.add(
        caller=who.owner, domain_id=who.domain.id, description="Shop", defaults={"ListID": "7", "JourneyID": "j"}
    )
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{8}){3}", made.key)
    caller = identity.authenticate_sender(keys=[made.key])
    assert (caller.account_id, caller.domain_id) == (who.owner.account_id, who.domain.id)
    assert caller.defaults == {"ListID": "7", "JourneyID": "j"}


def test_listed_in_clear_the_oldest_first_without_revoked_ones() -> None:
    who = cast.sender()
    made = [apis.add(caller=who.owner, domain_id=who.domain.id, description=f"key {n}") for n in range(3)]
    keys.revoke(account_id=who.owner.account_id, key_id=made[1].id)
    assert apis.list_(caller=who.owner, domain_id=who.domain.id) == [made[0], made[2]]


def test_a_key_is_stored_sealed_and_hashed() -> None:
    who = cast.sender()
    made = apis.add(caller=who.owner, domain_id=who.domain.id, description="Shop")
    row = ApiKey.get_by_id(made.id)
    assert made.key not in f"{row.sealed} {row.fingerprint} {row.prefix}"


def test_last_use_is_shown() -> None:
    who = cast.sender()
    made = apis.add(caller=who.owner, domain_id=who.domain.id, description="Shop")
    assert apis.list_(caller=who.owner, domain_id=who.domain.id)[0].used_ms is None
    before = clock.now_ms()
    identity.authenticate_sender(keys=[made.key])
    used = apis.list_(caller=who.owner, domain_id=who.domain.id)[0].used_ms
    assert used is not None
    assert before <= used <= clock.now_ms()


def test_domains_keep_their_keys_apart() -> None:
    who = cast.sender()
    other = cast.sender("other", "other.test")
    apis.add(caller=who.owner, domain_id=who.domain.id, description="Shop")
    assert apis.list_(caller=other.owner, domain_id=other.domain.id) == []
    for ask in (apis.list_, lambda **kw: apis.add(**kw, description="x")):
        for domain_id in (who.domain.id, 0, other.domain.id + 1000):
            with pytest.raises(errors.NotFound):
                ask(caller=other.owner, domain_id=domain_id)
    assert ApiKey.select().where(ApiKey.account_id == other.owner.account_id).count() == 0


def test_a_deleted_domain_has_no_keys_to_show() -> None:
    who = cast.sender()
    apis.add(caller=who.owner, domain_id=who.domain.id, description="Shop")
    SenderDomain.update(deleted_ms=clock.now_ms()).where(SenderDomain.id == who.domain.id).execute()
    with pytest.raises(errors.NotFound):
        apis.list_(caller=who.owner, domain_id=who.domain.id)


def test_a_deleted_key_stops_at_once() -> None:
    who = cast.sender()
    made = apis.add(caller=who.owner, domain_id=who.domain.id, description="Shop")
    identity.authenticate_sender(keys=[made.key])
    apis.delete(caller=who.owner, key_id=made.id)
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate_sender(keys=[made.key])
    with pytest.raises(errors.NotFound):
        apis.delete(caller=who.owner, key_id=made.id)


def test_a_key_is_replaced_with_all_it_may_do() -> None:
    who = cast.sender()
    made = apis.add(caller=who.owner, domain_id=who.domain.id, description="Shop", defaults={"ListID": "7"})
    later = clock.now_ms() + 3_600_000
    ApiKey.update(scopes='["send"]', live=False, strict=True, expires_ms=later).where(ApiKey.id == made.id).execute()
    identity.forget()
    identity.authenticate_sender(keys=[made.key])
    new = apis.replace(caller=who.owner, key_id=made.id)
    assert new.key != made.key
    assert (new.description, new.permissions, new.defaults, new.domain_id) == (
        "Shop",
        "send",
        {"ListID": "7"},
        who.domain.id,
    )
    row = ApiKey.get_by_id(new.id)
    assert (bool(row.live), bool(row.strict), row.expires_ms) == (False, True, later)
    assert identity.authenticate_sender(keys=[new.key]).key_id == new.id
    with pytest.raises(errors.NotAuthenticated):
        identity.authenticate_sender(keys=[made.key])
    assert [item.id for item in apis.list_(caller=who.owner, domain_id=who.domain.id)] == [new.id]


def test_a_failed_replacement_leaves_the_old_key(monkeypatch: pytest.MonkeyPatch) -> None:
    who = cast.sender()
    made = apis.add(caller=who.owner, domain_id=who.domain.id, description="Shop")
    monkeypatch.setattr(apis, "_revoke", lambda tx, row: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        apis.replace(caller=who.owner, key_id=made.id)
    assert identity.authenticate_sender(keys=[made.key]).key_id == made.id
    assert ApiKey.select().where(ApiKey.domain_id == who.domain.id).count() == 1


def test_only_own_sender_keys_can_be_taken_away() -> None:
    who = cast.sender()
    stranger = cast.sender("stranger", "other.test")
    theirs = apis.add(caller=stranger.owner, domain_id=stranger.domain.id, description="x")
    account, _ = db.in_transaction(lambda tx: keys.create_key(tx, account_id=who.owner.account_id))
    for key_id in (theirs.id, account.id, 0, theirs.id + 1000, 2**62):
        for act in (apis.delete, apis.replace):
            with pytest.raises(errors.NotFound):
                act(caller=who.owner, key_id=key_id)
    assert ApiKey.select().where(ApiKey.revoked_ms.is_null(False)).count() == 0
    assert ApiKey.select().count() == 2
