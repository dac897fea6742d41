"""Mailgun: the conformance cases, and its own errors."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from gateway.transports.outcome import Result
from tests.gateway.transports.provider_cases import ProviderCases, message
from tests.peers.http_sink import Answer
from tests.peers.provider_api import KEY, MailgunApi, ProviderApi, said


class TestMailgun(ProviderCases):
    kind = "mailgun"
    api_class = MailgunApi
    config: ClassVar[dict[str, Any]] = {"domain": "shop.test"}
    credentials: ClassVar[dict[str, Any]] = {"api_key": KEY}
    bad: ClassVar[dict[str, Any]] = {"api_key": "a-bad-key"}
    takes_mime = True
    limited = said(429, {"message": "Too many requests"})

    def check_signature(self, raw: bytes, signed: bytes, content: bytes) -> None:
        assert raw == signed

    @pytest.mark.parametrize(
        "answer",
        [
            said(404, {"message": "Domain not found: shop.test"}),
            said(403, {"message": "Domain shop.test is not allowed to send: the account is disabled"}),
            said(400, {"message": "The domain is unverified and requires DNS configuration; not verified"}),
            Answer(402, b"Request failed"),
            Answer(200, b"Mailgun Magnificent API"),
        ],
    )
    def test_errors_about_the_account(self, api: ProviderApi, answer: Answer) -> None:
        api.script(api.path, answer)
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.DEFERRED, "ours", True)

    def test_each_region_has_an_endpoint(self) -> None:
        assert self.build("").endpoint == "https://api.mailgun.net"
        assert self.build("", region="eu").endpoint == "https://api.eu.mailgun.net"
        with pytest.raises(ValueError, match=r"^region: should be us or eu"):
            self.build("", region="mars")

    def test_the_domain_is_needed(self) -> None:
        with pytest.raises(ValueError, match=r"^domain: should be the sending domain"):
            self.build("", domain="a/b")
