"""Amazon SES: the conformance cases, its signature against the vendor's own, its errors, and another's server."""

from __future__ import annotations

import email
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from gateway import config
from gateway.transports.outcome import Result
from tests.conftest import use_settings
from tests.gateway.transports.provider_cases import ProviderCases, message
from tests.peers.provider_api import KEY, SECRET, ProviderApi, SesApi, said

KEYS = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}


def _error(status: int, word: str, text: str) -> Any:
    return said(status, {"message": text}, x_amzn_ErrorType=f"{word}:http://internal.amazon.com/coral/")


class TestSes(ProviderCases):
    kind = "ses"
    api_class = SesApi
    config: ClassVar[dict[str, Any]] = {"region": "eu-west-1", "configuration_set": "all"}
    credentials: ClassVar[dict[str, Any]] = {"access_key_id": KEY, "secret_access_key": SECRET}
    bad: ClassVar[dict[str, Any]] = {"access_key_id": KEY, "secret_access_key": "a-bad-secret"}
    takes_mime = True
    limited = _error(429, "TooManyRequestsException", "Maximum sending rate exceeded.")

    def check_signature(self, raw: bytes, signed: bytes, content: bytes) -> None:
        assert raw == content and raw != signed

    def test_eight_bit_parts_are_encoded(self, api: ProviderApi) -> None:
        head = b"From: hello@shop.test\r\nTo: jane@friends.test\r\nSubject: x\r\n"
        content = (
            "Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: 8bit\r\n\r\nÜber allem\r\n"
            "--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße = 花\r\n"
            "--x\r\nContent-Type: application/x-own; name=a.bin\r\n\r\nrohe Bytes: ÿ\r\n"
            "--x\r\nContent-Type: text/plain\r\n\r\nplain\r\n--x--\r\n"
        ).encode()
        assert self.send(self.build(api.url), head + content).taken
        taken = api.taken[0]
        assert "plain" in (taken.text or "") and taken.attachments == [
            ("a.bin", "application/x-own", "rohe Bytes: ÿ".encode(), "")
        ]
        parts = list(email.message_from_bytes(taken.raw).walk())
        assert parts[1].get_payload(decode=True) == "Grüße = 花".encode()
        assert [part["Content-Transfer-Encoding"] for part in parts] == ["7bit", "quoted-printable", "base64", None]

    def test_eight_bit_fields_and_signed_parts_are_refused(self, api: ProviderApi) -> None:
        for content in (
            "X-Any: ü\r\n\r\nhi",
            "Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\nü\r\n--x--\r\n",
        ):
            outcome = self.send(self.build(api.url), b"From: hello@shop.test\r\n" + content.encode())
            assert (outcome.result, outcome.ours_to_move) == (Result.BOUNCED, True)
        assert api.requests == []

    def test_the_configuration_set_is_named(self, api: ProviderApi) -> None:
        self.send(self.build(api.url), message())
        assert b'"ConfigurationSetName":"all"' in api.requests[0].body

    def test_a_temporary_key_is_signed_with_its_token(self, api: ProviderApi) -> None:
        self.send(self.build(api.url, credentials=self.credentials | {"session_token": "once+more/="}), message())
        assert api.taken and api.requests[0].headers["x-amz-security-token"] == "once+more/="
        assert "x-amz-security-token" in api.requests[0].headers["authorization"]

    @pytest.mark.parametrize(
        ("word", "text", "category"),
        [
            ("MessageRejected", "Email address is not verified. The following identities failed the check", "ours"),
            ("MailFromDomainNotVerifiedException", "", "ours"),
            ("AccountSuspendedException", "", "ours"),
            ("SendingPausedException", "", "ours"),
            ("NotFoundException", "Configuration set <all> does not exist.", "ours"),
            ("LimitExceededException", "Daily message quota exceeded.", "policy"),
            ("ThrottlingException", "Maximum sending rate exceeded.", "policy"),
        ],
    )
    def test_errors_about_the_account(self, api: ProviderApi, word: str, text: str, category: str) -> None:
        api.script(api.path, _error(400, word, text))
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.DEFERRED, category, True)
        assert word in outcome.reply

    def test_a_sandbox_and_a_switch_are_told(self, api: ProviderApi) -> None:
        path = "/v2/email/account"
        api.script(path, said(200, {"SendingEnabled": True, "ProductionAccessEnabled": False}))
        assert "sandbox" in self.build(api.url).check().detail
        api.script(path, _error(403, "AccessDeniedException", "not authorized to perform: ses:GetAccount"))
        assert "ses:GetAccount" in self.build(api.url).check().detail
        api.script(path, said(200, {"SendingEnabled": False}))
        assert not self.build(api.url).check().ok

    def test_the_endpoint_follows_the_region(self) -> None:
        assert self.build("").endpoint == "https://email.eu-west-1.amazonaws.com"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Amazon's API as others understood it; verified for one address."""
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    client = boto3.client("sesv2", region_name="eu-west-1", endpoint_url=url, **KEYS)
    client.create_email_identity(EmailIdentity="hello@shop.test")
    yield url
    server.shutdown()
    server.server_close()


class TestMoto:
    """It knows no wrong key and refuses nobody: the strict server above does."""

    ses = TestSes()

    @pytest.fixture(autouse=True)
    def _settings(self, tmp_path: Path) -> Iterator[None]:
        use_settings(tmp_path, DELIVERY_ALLOW="127.0.0.0/8")
        yield
        config.use(None)

    def test_it_takes_a_message(self, moto: str) -> None:
        outcome = self.ses.send(self.ses.build(moto, configuration_set=""), message(subject="Zoë"))
        assert outcome.result is Result.DELIVERED, outcome.reply
        client = boto3.client("ses", region_name="eu-west-1", endpoint_url=moto, **KEYS)
        assert client.get_send_quota()["SentLast24Hours"] >= 1

    def test_an_identity_that_is_not_verified(self, moto: str) -> None:
        content = message().replace(b"hello@shop.test", b"other@else.test")
        outcome = self.ses.send(self.ses.build(moto, configuration_set=""), content)
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.DEFERRED, "ours", True)
        assert "MessageRejected" in outcome.reply
