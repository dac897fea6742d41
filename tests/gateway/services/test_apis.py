from __future__ import annotations

import re

import pytest

from gateway import clock, errors
from gateway.services import apis, identity, keys
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
