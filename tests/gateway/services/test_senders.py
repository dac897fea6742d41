"""Which domain of an account sends for a From address."""

from __future__ import annotations

import pytest

from gateway.services import domains, senders
from tests import cast


@pytest.mark.usefixtures("store")
def test_the_nearest_domain_of_the_account() -> None:
    owner, stranger = cast.sender(), cast.sender("stranger", "other.test")
    deep = domains.add(caller=owner.owner, name="mail.shop.test", trusted=True, dkim=cast.signing_keys())
    senders.forget()

    def of(domain: str, account_id: int = owner.owner.account_id) -> int | None:
        return senders.of_address(account_id=account_id, domain=domain)

    assert of("shop.test") == of("a.shop.test") == owner.domain.id
    assert of("mail.shop.test") == of("x.y.mail.shop.test") == deep.id
    assert of("other.test") is None
    assert of("test") is None
    assert of("") is None
    assert of("myshop.test") is None
    assert of("shop.test", stranger.owner.account_id) is None
