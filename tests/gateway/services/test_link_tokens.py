"""Tokens of links: made by us, for one purpose, as they stand."""

from __future__ import annotations

import random
import string

import pytest

from gateway import config
from gateway.services import link_tokens, tracking_links
from gateway.services.link_tokens import Kind
from tests.conftest import use_settings


@pytest.mark.usefixtures("settings")
class TestTokens:
    @pytest.mark.parametrize("delivery_id", [0, 1, 255, 256, 2**40, 2**63 - 1])
    def test_they_come_back(self, delivery_id: int) -> None:
        token = link_tokens.encode(Kind.CLICK, delivery_id, b"https://a.test/?x=\xc3\xbc")
        found = link_tokens.decode(Kind.CLICK, token)
        assert found is not None
        assert (found.kind, found.delivery_id, found.payload) == (
            Kind.CLICK,
            delivery_id,
            b"https://a.test/?x=\xc3\xbc",
        )

    def test_one_kind_is_none_of_another(self) -> None:
        token = link_tokens.encode(Kind.OPEN, 7)
        assert link_tokens.decode(Kind.CLICK, token) is None
        assert link_tokens.decode(Kind.UNSUBSCRIBE, token) is None

    def test_ten_thousand_altered_ones_lead_nowhere(self) -> None:
        chance = random.Random(5)
        token = link_tokens.encode(Kind.CLICK, 123456, b"https://shop.test/path?item=1")
        alphabet = string.ascii_letters + string.digits + "-_=.%/+ \u00fc"
        tried = 0
        while tried < 10_000:
            letters = list(token)
            for _ in range(chance.choice((1, 1, 1, 2, 5))):
                place = chance.randrange(len(letters))
                action = chance.random()
                if action < 0.7:
                    letters[place] = chance.choice(alphabet)
                elif action < 0.85:
                    del letters[place]
                else:
                    letters.insert(place, chance.choice(alphabet))
            altered = "".join(letters)
            if altered == token:
                continue
            tried += 1
            assert tracking_links.click(altered) is None
            assert tracking_links.opened(altered) is None

    @pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://a.test", "//a.test", "https://a.test/\r\nX: y", ""])
    def test_even_ours_leads_only_to_the_web(self, url: str) -> None:
        assert tracking_links.click(link_tokens.encode(Kind.CLICK, 1, url.encode())) is None

    def test_a_secret_that_rotates(self, settings: config.Settings) -> None:
        token = link_tokens.encode(Kind.OPEN, 7)
        use_settings(settings.data, SECRET="a-new-secret,a-secret-for-tests")
        assert tracking_links.opened(token) == 7
        assert link_tokens.encode(Kind.OPEN, 7) != token
        use_settings(settings.data, SECRET="a-new-secret")
        assert tracking_links.opened(token) is None
