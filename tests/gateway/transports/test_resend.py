"""Resend: the conformance cases, its idempotency keys and its errors."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from gateway.mail.attachments import attachment
from gateway.mail.draft import Mailbox
from gateway.transports.outcome import Result
from tests.gateway.transports.provider_cases import ProviderCases, message
from tests.peers.provider_api import KEY, ProviderApi, ResendApi, said


class TestResend(ProviderCases):
    kind = "resend"
    api_class = ResendApi
    credentials: ClassVar[dict[str, Any]] = {"api_key": KEY}
    bad: ClassVar[dict[str, Any]] = {"api_key": "a-bad-key"}
    takes_mime = False
    limited = said(429, {"statusCode": 429, "name": "rate_limit_exceeded", "message": "Too many requests."})

    def test_one_sent_again_is_one_message(self, api: ProviderApi) -> None:
        first = self.send(self.build(api.url), message())
        again = self.send(self.build(api.url), message())
        assert first.reply == again.reply and again.taken
        assert len(api.taken) == 1
        assert 1 <= len(api.requests[0].headers["idempotency-key"]) <= 256

    def test_something_else_under_the_same_key_may_have_arrived(self, api: ProviderApi) -> None:
        self.send(self.build(api.url), message())
        outcome = self.send(self.build(api.url), message(subject="Another"))
        assert outcome.result is Result.IN_DOUBT and not outcome.ours_to_move

    def test_an_earlier_request_that_still_runs(self, api: ProviderApi) -> None:
        body = {"statusCode": 409, "name": "concurrent_idempotent_requests", "message": "Same key in progress"}
        api.script(api.path, said(409, body))
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.ours_to_move) == (Result.DEFERRED, False)

    @pytest.mark.parametrize(
        ("status", "name", "text", "category"),
        [
            (403, "validation_error", "The shop.test domain is not verified.", "ours"),
            (403, "invalid_api_key", "API key is invalid", "ours"),
            (400, "validation_error", "API key is invalid", "ours"),
            (429, "daily_quota_exceeded", "You have reached your daily email sending quota.", "policy"),
            (429, "monthly_quota_exceeded", "You have reached your monthly quota.", "policy"),
        ],
    )
    def test_errors_about_the_account(self, api: ProviderApi, status: int, name: str, text: str, category: str) -> None:
        api.script(api.path, said(status, {"statusCode": status, "name": name, "message": text}))
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.DEFERRED, category, True)

    @pytest.mark.parametrize(
        ("status", "name", "text"),
        [
            (451, "security_error", "The email payload contain invalid characters"),
            (422, "invalid_from_address", "Invalid `from` field."),
            (422, "missing_required_field", "Missing `subject` field."),
        ],
    )
    def test_what_it_never_takes_is_not_tried_again(self, api: ProviderApi, status: int, name: str, text: str) -> None:
        api.script(api.path, said(status, {"statusCode": status, "name": name, "message": text}))
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.BOUNCED, "ours", True)

    def test_a_sender_s_name_that_needs_quotes(self, api: ProviderApi) -> None:
        outcome = self.send(self.build(api.url), message(sender=Mailbox("hello@shop.test", "Shop, The")))
        self.is_unfit(outcome, "name has ,", api)

    def test_without_a_text_none_is_made_of_the_html(self, api: ProviderApi) -> None:
        assert self.send(self.build(api.url), message(text=None)).taken
        assert b'"text":""' in api.requests[0].body

    def test_an_attachment_that_would_be_shown_inline(self, api: ProviderApi) -> None:
        part = attachment("a.pdf", "application/pdf", b"x", content_id="a@shop.test")
        self.is_unfit(self.send(self.build(api.url), message(attachments=[part])), "not shown inline", api)

    def test_a_type_with_a_parameter(self, api: ProviderApi) -> None:
        part = attachment("a.csv", "text/csv; charset=utf-8", "ä;ö".encode())
        assert self.send(self.build(api.url), message(attachments=[part])).taken
        assert api.taken[0].attachments[0][1] == "text/csv; charset=utf-8"
