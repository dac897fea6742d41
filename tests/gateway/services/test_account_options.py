"""Account options: switched one by one, and believed by the next caller."""

from __future__ import annotations

import json

import pytest

from gateway import errors
from gateway.services import account_options, identity
from models.account import Account
from tests import cast

pytestmark = pytest.mark.usefixtures("store")


def test_each_is_switched_alone_and_what_else_is_kept_stays() -> None:
    owner, other = cast.account(), cast.account("stranger")
    Account.update(options='{"kept": 1}').where(Account.id == owner.account_id).execute()
    off = dict.fromkeys(account_options.OPTIONS, False)
    assert account_options.change(email=owner.email, changed={}) == off
    changed = account_options.change(email=owner.email.upper(), changed={"numeric_ids": True})
    assert changed == off | {"numeric_ids": True}
    account_options.change(email=owner.email, changed={"strict_names": True, "numeric_ids": False})
    wanted = {"kept": 1, "numeric_ids": False, "strict_names": True}
    assert json.loads(Account.get_by_id(owner.account_id).options) == wanted
    assert identity.for_account(owner.account_id).options == wanted
    assert identity.for_account(other.account_id).options == {}


def test_an_unknown_option_and_an_unknown_account_change_nothing() -> None:
    owner = cast.account()
    with pytest.raises(errors.Invalid, match=", ".join(account_options.OPTIONS)):
        account_options.change(email=owner.email, changed={"numeric_ids": True, "loud": True})
    with pytest.raises(errors.NotFound):
        account_options.change(email="nobody@people.test", changed={"numeric_ids": True})
    assert Account.get_by_id(owner.account_id).options == "{}"
