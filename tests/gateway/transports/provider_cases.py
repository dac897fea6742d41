"""What every provider's transport has to do; its test inherits these cases and adds its own words."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from gateway import config
from gateway.mail import compose, dkim, verp
from gateway.mail.attachments import attachment
from gateway.mail.draft import Mailbox
from gateway.transports import registry
from gateway.transports.outcome import Outcome, Result
from gateway.transports.provider import Provider
from tests import cast
from tests.conftest import use_settings
from tests.peers.http_sink import Answer, HttpSink
from tests.peers.provider_api import ProviderApi

HTML = '<p>Zoë, look: <img src="cid:logo@shop.test"></p>\n'
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def message(**changed: Any) -> bytes:
    """A rendered message to Jane, signed by its domain."""
    html, text = changed.pop("html", "<p>Hello</p>\n"), changed.pop("text", "Hello\n")
    fields: dict[str, Any] = {
        "body": compose.build_body(html, text, changed.pop("attachments", ())),
        "message_id": "0192f0c1@shop.test",
        "date_ms": 1_700_000_000_000,
        "sender": Mailbox("hello@shop.test", "The Shop"),
        "to": [Mailbox("jane@friends.test", "Jane Doe")],
        "subject": "Your order",
    }
    return compose.render(**(fields | changed))


class ProviderCases:
    kind: ClassVar[str]
    api_class: ClassVar[type[ProviderApi]]
    config: ClassVar[dict[str, Any]] = {}
    credentials: ClassVar[dict[str, Any]] = {}
    bad: ClassVar[dict[str, Any]] = {}
    """Credentials that are refused."""
    takes_mime: ClassVar[bool]
    limited: ClassVar[Answer]
    """How it says that there were too many requests."""

    @pytest.fixture(autouse=True)
    def _settings(self, tmp_path: Any) -> Iterator[None]:
        use_settings(tmp_path, DELIVERY_ALLOW="127.0.0.0/8")
        yield
        config.use(None)

    @pytest.fixture
    def api(self) -> Iterator[ProviderApi]:
        with self.api_class() as api:
            yield api  # type: ignore[misc]

    def build(self, endpoint: str, *, credentials: dict[str, Any] | None = None, **more: Any) -> Provider:
        reports = more.pop("reports", False)
        return registry.build_provider(
            self.kind,
            {**self.config, "endpoint": endpoint, **more},
            credentials or self.credentials,
            config.settings(),
            name=f"{self.kind}:7",
            reports=reports,
        )

    def send(self, provider: Provider, content: bytes, **changed: Any) -> Outcome:
        words: dict[str, Any] = {
            "mail_from": verp.encode(7_001, "bounce.shop.test"),
            "rcpt": "jane@friends.test",
            "message": content,
            "on_data": lambda: None,
        }
        connection = provider.open()
        try:
            return connection.send(**(words | changed))
        finally:
            connection.close()

    # --- what is taken -------------------------------------------------------------------------

    def test_accepted_with_the_provider_s_id(self, api: ProviderApi) -> None:
        called: list[int] = []
        outcome = self.send(self.build(api.url), message(), on_data=lambda: called.append(len(api.requests)))
        assert outcome.result is Result.DELIVERED and outcome.taken and not outcome.ours_to_move
        assert "id id-1" in outcome.reply and outcome.remote == f"127.0.0.1[127.0.0.1]:{api.port}"
        assert called == [0]
        taken = api.taken[0]
        assert taken.rcpt == ["jane@friends.test"] and taken.sender == "The Shop <hello@shop.test>"
        assert taken.subject == "Your order" and taken.to == [("Jane Doe", "jane@friends.test")]
        assert (taken.text, taken.html) == ("Hello\n", "<p>Hello</p>\n")

    def test_one_that_reports_has_it_handed_over(self, api: ProviderApi) -> None:
        assert self.send(self.build(api.url, reports=True), message()).result is Result.HANDED_OVER

    def test_the_reference_comes_back_as_the_delivery(self, api: ProviderApi) -> None:
        self.send(self.build(api.url), message())
        assert verp.decode_token(api.taken[0].reference) == 7_001

    def test_one_connection_serves_many_messages(self, api: ProviderApi) -> None:
        connection = self.build(api.url).open()
        for number in range(3):
            outcome = connection.send(
                mail_from=verp.encode(number + 1, "b.test"),
                rcpt="jane@friends.test",
                message=message(),
                on_data=lambda: None,
            )
            assert outcome.taken
        assert len(api.taken) == 3
        connection.close()

    def test_subject_and_names_beyond_ascii(self, api: ProviderApi) -> None:
        subject = "Überraschung: 花 und Größe " * 5
        name = "Zoë die Größte deren Name nicht auf eine Zeile paßt mit Кириллица und mehr"
        content = message(
            subject=subject, sender=Mailbox("hello@shop.test", name), to=[Mailbox("jane@friends.test", "Jané")],
            text="Grüße\n", html="<p>Grüße – 花</p>\n",
        )  # fmt: skip
        assert self.send(self.build(api.url), content).taken
        taken = api.taken[0]
        assert (taken.subject, taken.sender) == (subject.strip(), f"{name} <hello@shop.test>")
        assert taken.to == [("Jané", "jane@friends.test")]
        assert (taken.text, taken.html) == ("Grüße\n", "<p>Grüße – 花</p>\n")

    @pytest.mark.parametrize("name", ['Doe, Jane; the "First"', "Zoë, née Doe", "J. Doe Inc."])
    def test_names_with_commas_quotes_and_dots(self, api: ProviderApi, name: str) -> None:
        content = message(
            to=[Mailbox("jane@friends.test", name)],
            sender=Mailbox("hello@shop.test", "Shop Inc."),
            reply_to=[Mailbox("desk@shop.test", name)],
        )
        assert self.send(self.build(api.url), content).taken
        taken = api.taken[0]
        assert (taken.to, taken.sender.replace('"', "")) == (
            [(name, "jane@friends.test")], "Shop Inc. <hello@shop.test>"
        )  # fmt: skip
        assert taken.reply_to[0].replace("\\", "").replace('"', "") == f"{name} <desk@shop.test>".replace('"', "")

    def test_attachments_and_inline_images(self, api: ProviderApi) -> None:
        parts = [
            attachment("logo.png", "image/png", PNG, inline=True, content_id="logo@shop.test"),
            attachment("Übersicht für Zoë.pdf", "application/pdf", b"%PDF\x00\xff"),
        ]
        assert self.send(self.build(api.url), message(html=HTML, attachments=parts)).taken
        taken = api.taken[0]
        assert taken.html == HTML
        assert sorted(taken.attachments) == sorted(
            [
                ("logo.png", "image/png", PNG, "logo@shop.test"),
                ("Übersicht für Zoë.pdf", "application/pdf", b"%PDF\x00\xff", ""),
            ]
        )

    def test_custom_fields_and_reply_to(self, api: ProviderApi) -> None:
        link = "<https://shop.test/u/1>"
        content = message(
            headers=[("X-Order", "17"), ("List-Unsubscribe", link)], reply_to=[Mailbox("desk@shop.test", "Desk")]
        )
        assert self.send(self.build(api.url), content).taken
        taken = api.taken[0]
        assert taken.headers["X-Order"] == "17" and taken.headers["List-Unsubscribe"] == link
        assert taken.reply_to == ["Desk <desk@shop.test>"]

    def test_a_signed_message(self, api: ProviderApi) -> None:
        content = message()
        keys = [dkim.load(f"s-{name}", name, private) for name, private in cast.signing_keys()]
        signed = dkim.sign(content, "shop.test", keys, now_s=1_700_000_000) + content
        assert self.send(self.build(api.url), signed).taken
        self.check_signature(api.taken[0].raw, signed, content)

    def check_signature(self, raw: bytes, signed: bytes, content: bytes) -> None:
        assert raw == b""  # it was built anew over there

    def test_a_big_message(self, api: ProviderApi) -> None:
        data = bytes(range(256)) * 4 * 4096  # 4 MB
        outcome = self.send(self.build(api.url), message(attachments=[attachment("a.bin", "", data)]))
        assert outcome.taken and api.taken[0].attachments[0][2] == data

    # --- whom it goes to -----------------------------------------------------------------------

    def test_others_in_to_get_nothing(self, api: ProviderApi) -> None:
        shown = [Mailbox("jane@friends.test"), Mailbox("joe@friends.test")]
        outcome = self.send(self.build(api.url), message(to=shown, cc=[Mailbox("ann@friends.test")]))
        if self.takes_mime:
            assert outcome.taken and api.taken[0].rcpt == ["jane@friends.test"]
            assert [address for _, address in api.taken[0].to] == ["jane@friends.test", "joe@friends.test"]
        else:
            self.is_unfit(outcome, "show others", api)

    def test_a_blind_copy(self, api: ProviderApi) -> None:
        outcome = self.send(self.build(api.url), message(), rcpt="blind@friends.test")
        if self.takes_mime:
            assert outcome.taken and api.taken[0].rcpt == ["blind@friends.test"]
            assert api.taken[0].to == [("Jane Doe", "jane@friends.test")]
        else:
            self.is_unfit(outcome, "show others", api)

    def test_a_message_that_shows_nobody(self, api: ProviderApi) -> None:
        assert self.send(self.build(api.url), message(to=[])).taken
        assert api.taken[0].rcpt == ["jane@friends.test"]

    def test_an_internationalised_domain(self, api: ProviderApi) -> None:
        outcome = self.send(
            self.build(api.url), message(to=[Mailbox("jane@xn--bcher-kva.test")]), rcpt="jane@bücher.test"
        )
        assert outcome.taken and api.taken[0].rcpt == ["jane@xn--bcher-kva.test"]

    # --- what cannot be expressed ----------------------------------------------------------------

    def is_unfit(self, outcome: Outcome, words: str, api: ProviderApi) -> None:
        assert (outcome.result, outcome.category) == (Result.BOUNCED, "ours")
        assert outcome.ours_to_move and words in outcome.reply
        assert api.requests == []

    def test_the_null_sender(self, api: ProviderApi) -> None:
        self.is_unfit(self.send(self.build(api.url), message(), mail_from=""), "envelope sender", api)

    def test_a_recipient_with_a_local_part_beyond_ascii(self, api: ProviderApi) -> None:
        self.is_unfit(self.send(self.build(api.url), message(), rcpt="zoë@friends.test"), "not ASCII", api)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\n\r\nhi\r\n--x--\r\n", "multipart/report"),
            (b"Content-Type: application/pdf\r\n\r\nhi\r\n", "application/pdf"),
            (b"X-Twice: 1\r\nX-Twice: 2\r\n\r\nhi\r\n", "X-Twice twice"),
            (b"Sender: other@shop.test\r\n\r\nhi\r\n", "sender"),
            (b"Content-Type: text/plain; charset=koi8-r\r\n\r\nhi\r\n", "koi8-r"),
            (b"Content-Type: text/plain; format=flowed\r\n\r\nhi\r\n", "format"),
            (
                b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhi\r\n--x\r\nContent-Type:"
                b" message/rfc822\r\n\r\nSubject: x\r\n\r\n\r\n--x--\r\n",
                "message/rfc822",
            ),
            (
                b"Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\n\r\nhi\r\n--x\r\nContent-Type:"
                b" text/calendar\r\n\r\nBEGIN:VCALENDAR\r\n--x--\r\n",
                "text/calendar",
            ),
            (
                b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x--\r\n",
                "second body",
            ),
        ],
    )
    def test_what_the_api_has_no_words_for(self, api: ProviderApi, content: bytes, words: str) -> None:
        head = b"From: hello@shop.test\r\nTo: jane@friends.test\r\nSubject: x\r\n"
        outcome = self.send(self.build(api.url), head + content)
        if self.takes_mime:
            assert outcome.taken and api.taken[0].raw == head + content
        else:
            self.is_unfit(outcome, words, api)

    # --- what is refused -------------------------------------------------------------------------

    def test_the_recipient_is_refused(self, api: ProviderApi) -> None:
        api.refused.add("jane@friends.test")
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.BOUNCED, "recipient", False)

    def test_a_bad_key(self, api: ProviderApi) -> None:
        outcome = self.send(self.build(api.url, credentials=self.bad), message())
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.DEFERRED, "ours", True)
        assert not any(secret in outcome.dialogue + outcome.reply for secret in self.bad.values())

    def test_too_many_requests(self, api: ProviderApi) -> None:
        said = self.limited
        api.script(api.path, Answer(said.status, said.body, said.headers | {"Retry-After": "17"}))
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.DEFERRED, "policy", True)
        assert outcome.retry_after == 17

    @pytest.mark.parametrize("status", [500, 502, 503])
    def test_a_fault_over_there(self, api: ProviderApi, status: int) -> None:
        api.script(api.path, Answer(status, b"<html>oops</html>"))
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.DEFERRED, "network", True)

    def test_too_large_over_there(self, api: ProviderApi) -> None:
        api.script(api.path, Answer(413, b"{}"))
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.BOUNCED, "content", True)

    def test_an_answer_that_is_none_of_the_api_s(self, api: ProviderApi) -> None:
        api.script(api.path, Answer(200, b"<html>Welcome to the hotel</html>"))
        outcome = self.send(self.build(api.url), message())
        assert outcome.result is Result.IN_DOUBT and not outcome.ours_to_move

    def test_redirects_are_not_followed(self, api: ProviderApi) -> None:
        with HttpSink() as other:
            api.script(api.path, Answer(307, headers={"Location": f"{other.url}/elsewhere"}))
            outcome = self.send(self.build(api.url), message())
            assert (outcome.result, outcome.category) == (Result.DEFERRED, "ours")
            assert other.requests == []

    # --- the way there ---------------------------------------------------------------------------

    def test_connection_refused(self) -> None:
        with HttpSink() as sink:
            url = sink.url
        called: list[int] = []
        outcome = self.send(self.build(url), message(), on_data=lambda: called.append(1))
        assert (outcome.result, outcome.category, outcome.ours_to_move) == (Result.DEFERRED, "network", True)
        assert called == []

    @pytest.mark.parametrize("end", ["close", "reset"])
    def test_the_connection_is_lost_after_the_body(self, api: ProviderApi, end: str) -> None:
        api.script(api.path, Answer(end=end))
        outcome = self.send(self.build(api.url), message())
        assert outcome.result is Result.IN_DOUBT and not outcome.ours_to_move

    def test_no_answer_after_the_body(self, api: ProviderApi) -> None:
        api.script(api.path, Answer(end="hang"))
        started = time.monotonic()
        outcome = self.send(self.build(api.url, timeout=1), message())
        assert outcome.result is Result.IN_DOUBT and outcome.category == "network"
        assert time.monotonic() - started < 10

    def test_what_the_journal_raises_is_passed_on_and_nothing_leaves(self, api: ProviderApi) -> None:
        def full() -> None:
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            self.send(self.build(api.url), message(), on_data=full)
        assert api.requests == [] and api.taken == []

    def test_a_private_endpoint_needs_leave(self, api: ProviderApi, tmp_path: Any) -> None:
        use_settings(tmp_path)
        outcome = self.send(self.build(api.url), message())
        assert (outcome.result, outcome.category) == (Result.DEFERRED, "ours")
        assert "COMMANDPOST_DELIVERY_ALLOW" in outcome.reply and api.requests == []

    def test_a_domain_that_requires_tls(self, api: ProviderApi) -> None:
        outcome = self.send(self.build(api.url), message(), tls_required=True)
        assert (outcome.result, outcome.category) == (Result.DEFERRED, "ours") and api.requests == []

    # --- credentials -----------------------------------------------------------------------------

    def test_good_credentials_are_proved_without_a_message(self, api: ProviderApi) -> None:
        check = self.build(api.url).check()
        assert check.ok, check.detail
        assert api.taken == []

    def test_bad_credentials_are_told(self, api: ProviderApi) -> None:
        check = self.build(api.url, credentials=self.bad).check()
        assert not check.ok and ("401" in check.detail or "403" in check.detail)

    def test_an_api_that_is_away_proves_nothing(self) -> None:
        with HttpSink() as sink:
            url = sink.url
        check = self.build(url).check()
        assert not check.ok and "not reached" in check.detail

    # --- configuration ---------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "changed", [{"endpoint": "ftp://x"}, {"endpoint": 7}, {"timeout": 0}, {"timeout": "1"}, {"bogus": "x"}]
    )
    def test_a_bad_field_is_named(self, changed: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=rf"^{next(iter(changed))}: "):
            registry.build_provider(self.kind, self.config | changed, self.credentials, config.settings())

    def test_missing_credentials_are_named(self) -> None:
        for name in self.credentials:
            left = {key: value for key, value in self.credentials.items() if key != name}
            with pytest.raises(ValueError, match=rf"^{name}: "):
                registry.build_provider(self.kind, self.config, left, config.settings())

    def test_the_name_without_one_is_kind_and_host(self) -> None:
        made = registry.build_provider(self.kind, self.config, self.credentials, config.settings())
        assert made.name.startswith(f"{self.kind}:") and len(made.name) <= 64
        assert made.endpoint.startswith("https://") and made.group("friends.test") == made.name
