"""STARTTLS, implicit TLS, logging in, and what of it is told."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.transports import smtp_client, tls
from gateway.transports.outcome import Result
from tests.gateway.transports.conftest import IMPATIENT, PATIENT, Sender, wait_until_dead
from tests.peers.certificate import Authority, Certificate
from tests.peers.smtp_sink import CLOSE, HANG, RESET, Act, SmtpSink

Sinks = Callable[..., SmtpSink]
Through = Callable[..., Sender]


def test_starttls_where_offered_with_the_certificate_noted(
    sinks: Sinks, through: Through, certificate: Certificate
) -> None:
    sink = sinks(tls=certificate)
    sender = through(sink)
    outcome = sender.send()
    assert (outcome.result, outcome.tls) == (Result.DELIVERED, "TLSv1.3")
    assert sink.messages[0].tls == "TLSv1.3"
    assert "of CN=mx.example.net, issued by CN=mx.example.net" in outcome.dialogue
    assert "not verified: it is self-signed" in outcome.dialogue
    assert outcome.verdicts[1] == {
        "gate": "tls",
        "policy": "opportunistic",
        "result": "TLSv1.3, certificate not verified: it is self-signed",
        "certificate": "CN=mx.example.net, issued by CN=mx.example.net",
    }
    # What was learned in the clear is asked again.
    assert [line for _, line in sink.commands][:3] == ["EHLO mx.gateway.test", "STARTTLS", "EHLO mx.gateway.test"]
    assert sender.send().tls == "TLSv1.3"
    assert sink.connections == 1
    assert sink.violations == []


@pytest.mark.parametrize(
    ("names", "days", "judgement"),
    [
        (("127.0.0.1.test",), 30, "no known authority vouches for it as mx.example.net"),
        (("mx.example.net",), -1, "it is not valid now"),
        (("mx.example.net",), 30, ""),
        (("*.example.net",), 30, ""),
    ],
)
def test_what_an_opportunistic_certificate_is_worth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], days: int, judgement: str
) -> None:
    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.trust))
    monkeypatch.setattr(tls, "verifying_context", lambda: trusting)
    assert tls.judge(authority.issue(*names, days=days).der, "mx.example.net") == judgement
    assert tls.judge([], "mx.example.net") == tls.judge([b"x"], "mx.example.net") == "no readable certificate"
    stranger = Authority(tmp_path, "Stranger").issue("mx.example.net")
    assert tls.judge(stranger.der, "mx.example.net").startswith("no known authority")


def test_implicit_tls(sinks: Sinks, through: Through, certificate: Certificate) -> None:
    sink = sinks(tls=certificate, implicit_tls=True)
    outcome = through(sink).send()
    assert (outcome.result, outcome.tls) == (Result.DELIVERED, "TLSv1.3")
    assert "STARTTLS" not in outcome.dialogue


def test_implicit_tls_to_a_server_without_it_never_goes_on_in_the_clear(sink: SmtpSink, through: Through) -> None:
    sink.implicit_tls = True
    sender = through(sink, timeouts=IMPATIENT)
    sink.implicit_tls = False
    outcome = sender.send()
    assert outcome.result is Result.DEFERRED
    assert sink.messages == []


@pytest.mark.parametrize("behaviour", [Act(b"220 go\r\nhello"), CLOSE, RESET], ids=["no handshake", "close", "reset"])
def test_a_failed_handshake_never_leads_to_clear_text_where_tls_is_required(
    sinks: Sinks, through: Through, certificate: Certificate, behaviour: Act
) -> None:
    sink = sinks(tls=certificate)
    sink.always("starttls", behaviour)
    required = through(sink, tls="required").send()
    assert required.result is Result.DEFERRED
    assert sink.messages == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_a_server_with_old_tls_gets_clear_text_unless_tls_is_required(
    sinks: Sinks, through: Through, certificate: Certificate
) -> None:
    sink = sinks(tls=certificate, tls_newest=ssl.TLSVersion.TLSv1_1)
    outcome = through(sink).send()
    assert (outcome.result, outcome.tls) == (Result.DELIVERED, "")
    assert "TLS failed" in outcome.dialogue
    assert outcome.verdicts[1]["result"].startswith("clear text, for TLS failed")
    assert sink.messages[0].tls == ""
    assert sink.connections == 2
    required = through(sink, tls="required").send()
    assert (required.result, required.category) == (Result.DEFERRED, "network")
    assert "TLS failed" in required.reply
    asked = through(sink).send(tls_required=True)
    assert (asked.result, asked.category, asked.verdicts[1]["policy"]) == (Result.DEFERRED, "network", "required")
    assert through(sink, tls="off").send(tls_required=True).result is Result.DEFERRED
    assert len(sink.messages) == 1


def test_a_handshake_that_hangs_ends(sinks: Sinks, through: Through, certificate: Certificate) -> None:
    sink = sinks(tls=certificate)
    sink.script("starttls", Act(b"220 go\r\n", "hang"))
    outcome = through(sink, timeouts=IMPATIENT).send()
    assert (outcome.result, outcome.tls) == (Result.DELIVERED, "")
    assert "timed out" in outcome.dialogue


def test_a_refused_starttls(sinks: Sinks, through: Through, certificate: Certificate) -> None:
    sink = sinks(tls=certificate)
    sink.always("starttls", "454 4.7.0 not now")
    outcome = through(sink).send()
    assert (outcome.result, outcome.tls) == (Result.DELIVERED, "")
    outcome = through(sink, tls="required").send()
    assert (outcome.result, outcome.code) == (Result.DEFERRED, 454)


def test_tls_required_and_not_offered(sink: SmtpSink, through: Through) -> None:
    outcome = through(sink, tls="required").send()
    assert (outcome.result, outcome.code, outcome.category) == (Result.DEFERRED, None, "policy")
    assert sink.messages == []


def test_replies_slipped_in_before_tls_are_not_believed(
    sinks: Sinks, through: Through, certificate: Certificate
) -> None:
    sink = sinks(tls=certificate)
    sink.script("starttls", Act(b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"))
    outcome = through(sink).send()
    assert (outcome.result, outcome.category) == (Result.DEFERRED, "protocol")


@pytest.mark.parametrize("behaviour", [CLOSE, RESET, HANG], ids=["close", "reset", "hang"])
def test_in_doubt_and_recovery_under_tls(
    sinks: Sinks, through: Through, certificate: Certificate, behaviour: Act
) -> None:
    sink = sinks(tls=certificate)
    sender = through(sink, timeouts=IMPATIENT if behaviour is HANG else PATIENT)
    sink.script("end", behaviour)
    assert sender.send().result is Result.IN_DOUBT
    assert sender.send().result is Result.DELIVERED


def test_an_idle_tls_connection_that_died_is_reopened(sinks: Sinks, through: Through, certificate: Certificate) -> None:
    sink = sinks(tls=certificate)
    sender = through(sink)
    assert sender.send().result is Result.DELIVERED
    sink.drop()
    wait_until_dead(sink)
    assert sender.send().result is Result.DELIVERED
    assert sink.connections == 2


def test_a_long_message_under_tls(sinks: Sinks, through: Through, certificate: Certificate) -> None:
    sink = sinks(tls=certificate)
    message = b"Subject: long\r\n\r\n" + b".x" * 30 + b"\r\n" + (b".y" * 30 + b"\r\n") * 50_000
    assert through(sink).send(message=message).result is Result.DELIVERED
    assert sink.messages[0].data == message


# -- logging in


@pytest.mark.parametrize("mechanisms", ["PLAIN LOGIN", "PLAIN", "LOGIN", "CRAM-MD5 LOGIN"])
def test_login(sinks: Sinks, through: Through, certificate: Certificate, mechanisms: str) -> None:
    sink = sinks(tls=certificate, users={"jane": "p@ss:wörd"}, auth=mechanisms)
    outcome = through(sink, login="jane:p%40ss%3Aw%C3%B6rd").send()
    assert outcome.result is Result.DELIVERED
    assert (sink.messages[0].user, sink.messages[0].tls) == ("jane", "TLSv1.3")
    for secret in ("p@ss", base64.b64encode(b"\0jane\0p@ss:w\xc3\xb6rd").decode(), base64.b64encode(b"jane").decode()):
        assert secret not in outcome.dialogue
    assert "(secret)" in outcome.dialogue


def test_a_refused_login_defers_and_is_ours(sinks: Sinks, through: Through) -> None:
    sink = sinks(users={"jane": "right"})
    outcome = through(sink, login="jane:wrong").send()
    assert (outcome.result, outcome.code, outcome.category) == (Result.DEFERRED, 535, "ours")
    assert sink.messages == []


@pytest.mark.parametrize("options", [{}, {"users": {"jane": "right"}, "auth": "CRAM-MD5"}])
def test_a_server_without_a_mechanism_of_ours(sinks: Sinks, through: Through, options: dict[str, object]) -> None:
    outcome = through(sinks(**options), login="jane:right").send()
    assert (outcome.result, outcome.code, outcome.category) == (Result.DEFERRED, None, "ours")
    assert "AUTH" in outcome.reply


def test_the_password_is_not_sent_in_the_clear_over_the_internet(
    sinks: Sinks, through: Through, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sinks(users={"jane": "right"})
    assert through(sink, login="jane:right").send().result is Result.DELIVERED
    monkeypatch.setattr(smtp_client, "is_public", lambda address: address == "127.0.0.1")
    outcome = through(sink, login="jane:right").send()
    assert (outcome.result, outcome.category) == (Result.DEFERRED, "ours")
    assert len(sink.messages) == 1
    assert sum(line.startswith("AUTH") for _, line in sink.commands) == 1


@pytest.mark.parametrize("behaviour", [CLOSE, RESET, HANG, Act(b"334 \r\n334 \r\n334 \r\n")])
def test_a_login_that_goes_wrong_defers(sinks: Sinks, through: Through, behaviour: Act) -> None:
    sink = sinks(users={"jane": "right"})
    sender = through(sink, login="jane:right", timeouts=IMPATIENT if behaviour is HANG else PATIENT)
    sink.script("auth", behaviour)
    assert sender.send().result is Result.DEFERRED
    assert sender.send().result is Result.DELIVERED


def test_the_login_is_not_shown_where_options_are_printed() -> None:
    options = smtp_client.Options(hostname="mx.gateway.test", user="jane", password="p@ss")
    assert "p@ss" not in repr(options)
