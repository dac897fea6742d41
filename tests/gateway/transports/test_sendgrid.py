"""SendGrid: the conformance cases, its forbidden fields and its errors."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from gateway.mail.attachments import attachment
from gateway.transports.outcome import Result
from tests.gateway.transports.provider_cases import ProviderCases, message
from tests.peers.provider_api import KEY, ProviderApi, SendgridApi, said


def _error(status: int, where: str | None, text: str) -> object:
    return said(status, {"errors": [{"message": text, "field": where, "help": None}]})


class TestSendgrid(ProviderCases):
    kind = "sendgrid"
    api_class = SendgridApi
    credentials: ClassVar[dict[str, Any]] = {"api_key": KEY}
    bad: ClassVar[dict[str, Any]] = {"api_key": "a-bad-key"}
    takes_mime = False
    limited = said(429, {"errors": [{"message": "too many requests", "field": None}]})

    def test_forbidden_fields_are_refused(self, api: ProviderApi) -> None:
        outcome = self.send(self.build(api.url), message(headers=[("X-SG-EID", "7")]))
        self.is_unfit(outcome, "X-SG-EID", api)

    def test_a_type_with_a_parameter_is_refused(self, api: ProviderApi) -> None:
        part = attachment("a.csv", "text/csv; charset=utf-8", "ä;ö".encode())
        self.is_unfit(self.send(self.build(api.url), message(attachments=[part])), "text/csv; charset=utf-8", api)

    def test_a_message_without_a_subject(self, api: ProviderApi) -> None:
        self.is_unfit(self.send(self.build(api.url), message(subject="")), "without a subject", api)

    def test_several_reply_to(self, api: ProviderApi) -> None:
        content = message().replace(b"Subject:", b"Reply-To: a@shop.test, B <b@shop.test>\r\nSubject:")
        assert self.send(self.build(api.url), content).taken
        assert api.taken[0].reply_to == ["a@shop.test", "B <b@shop.test>"]

    @pytest.mark.parametrize(
        ("status", "where", "text", "category"),
        [
            (403, "from", "The from address does not match a verified Sender Identity.", "ours"),
            (401, None, "Maximum credits exceeded", "policy"),
            (403, None, "access forbidden", "ours"),
        ],
    )
    def test_errors_about_the_account(
        self, api: ProviderApi, status: int, where: str | None, text: str, category: str
    ) -> None:
        api.script(api.path, _error(status, where, text))  # type: ignore[arg-type]
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.DEFERRED, category, True)
        assert text in outcome.reply

    def test_a_request_that_it_does_not_understand(self, api: ProviderApi) -> None:
        api.script(api.path, _error(400, "content", "is wrong"))  # type: ignore[arg-type]
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.BOUNCED, "ours", True)

    def test_a_key_that_may_not_send(self, api: ProviderApi) -> None:
        api.script("/v3/scopes", said(200, {"scopes": ["alerts.read"]}))
        check = self.build(api.url).check()
        assert not check.ok and "mail.send" in check.detail

    def test_each_region_has_an_endpoint(self) -> None:
        assert self.build("").endpoint == "https://api.sendgrid.com"
        assert self.build("", region="eu").endpoint == "https://api.eu.sendgrid.com"
