"""Every misbehaviour of a server in every phase has one right outcome, and the next message gets through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.transports.outcome import Result
from tests.gateway.transports.conftest import IMPATIENT, PATIENT, Sender
from tests.peers.certificate import Certificate
from tests.peers.smtp_sink import CLOSE, HANG, RESET, Act, SmtpSink

OPENING = ("banner", "ehlo")
PHASES = (*OPENING, "mail", "rcpt", "data", "end")


def _wrong_kind(phase: str) -> Act:
    return Act(b"250 2.0.0 what?\r\n") if phase == "data" else Act(b"354 what?\r\n")


BEHAVIOURS: dict[str, Callable[[str], Act]] = {
    "4xx": lambda _: Act(b"451 4.3.0 not now\r\n"),
    "5xx": lambda _: Act(b"554 5.7.1 no\r\n"),
    "421": lambda _: Act(b"421 4.3.2 going down\r\n", "close"),
    "421 and stays": lambda _: Act(b"421 4.3.2 going down\r\n"),
    "close": lambda _: CLOSE,
    "reset": lambda _: RESET,
    "hang": lambda _: HANG,
    "garbage": lambda _: Act(b"\x00\xff hello?\r\n"),
    "code out of range": lambda _: Act(b"999 hello\r\n"),
    "half a reply, close": lambda _: Act(b"25", "close"),
    "half a reply, hang": lambda _: Act(b"250-go", "hang"),
    "endless line": lambda _: Act(b"250 " + b"x" * 20_000),
    "endless lines": lambda _: Act(b"250-x\r\n" * 200),
    "wrong kind": _wrong_kind,
}


WHOLE_REPLIES = ("4xx", "5xx", "421", "421 and stays", "wrong kind")


def _expected(phase: str, behaviour: str) -> Result:
    if behaviour == "5xx" and phase not in OPENING:
        return Result.BOUNCED
    if phase == "end" and behaviour not in ("4xx", "421", "421 and stays"):
        return Result.IN_DOUBT
    return Result.DEFERRED


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "step by step"])
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("phase", PHASES)
def test_outcome_and_recovery(
    sinks: Callable[..., SmtpSink], through: Callable[..., Sender], phase: str, behaviour: str, pipelining: bool
) -> None:
    sink = sinks(extensions=("PIPELINING", "ENHANCEDSTATUSCODES") if pipelining else ())
    sender = through(sink, timeouts=IMPATIENT if "hang" in behaviour else PATIENT)
    sink.script(phase, BEHAVIOURS[behaviour](phase))

    outcome = sender.send()

    assert outcome.result is _expected(phase, behaviour)
    assert sender.announced == (1 if phase == "end" else 0)
    assert outcome.reply
    assert outcome.category
    assert outcome.remote == f"127.0.0.1[127.0.0.1]:{sink.port}"
    assert "connecting to" in outcome.dialogue
    assert b"Hello." not in outcome.dialogue.encode()
    assert (outcome.code is not None) == (behaviour in WHOLE_REPLIES)
    assert not sink.messages

    again = sender.send()

    assert again.result is Result.DELIVERED
    assert again.code == 250
    assert [t.rcpts for t in sink.messages] == [["john@example.net"]]
    assert sink.violations == []


OFFERS_TLS = Act(b"250-sink.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n")
ASIDE: dict[str, dict[str, Any]] = {
    "helo": {"phase": "helo", "ehlo": [Act(b"502 5.5.1 what?\r\n")]},
    "starttls": {"phase": "starttls", "tls": True},
    "ehlo under TLS": {"phase": "ehlo", "ehlo": [OFFERS_TLS], "tls": True},
    "auth": {"phase": "auth", "login": "jane:secret"},
}


def _expected_aside(phase: str, behaviour: str) -> Result:
    # Without TLS the server gets what one gets that never offered it.
    return Result.DELIVERED if phase == "starttls" and behaviour in ("4xx", "5xx") else Result.DEFERRED


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("phase", ASIDE)
def test_outcome_and_recovery_on_the_way_to_the_first_message(
    sinks: Callable[..., SmtpSink],
    through: Callable[..., Sender],
    certificate: Certificate,
    phase: str,
    behaviour: str,
) -> None:
    aside = ASIDE[phase]
    login = aside.get("login", "")
    sink = sinks(tls=certificate if aside.get("tls") else None, users=dict([login.split(":")]) if login else None)
    sender = through(sink, timeouts=IMPATIENT if "hang" in behaviour else PATIENT, login=login)
    sink.script("ehlo", *aside.get("ehlo", []))
    sink.script(aside["phase"], BEHAVIOURS[behaviour](phase))

    outcome = sender.send()

    assert outcome.result is _expected_aside(phase, behaviour)
    if outcome.result is Result.DEFERRED:
        assert sender.announced == 0
        assert outcome.reply
        assert outcome.category
        assert (outcome.code is not None) == (behaviour in WHOLE_REPLIES)
        assert not sink.messages
    assert outcome.remote == f"127.0.0.1[127.0.0.1]:{sink.port}"
    assert b"secret" not in outcome.dialogue.replace("(secret)", "").encode()

    again = sender.send()

    assert again.result is Result.DELIVERED
    assert sink.count == (2 if outcome.result is Result.DELIVERED else 1)
    assert sink.violations == []


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "step by step"])
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_transaction_that_cannot_be_reset_leads_to_a_new_connection(
    sinks: Callable[..., SmtpSink], through: Callable[..., Sender], behaviour: str, pipelining: bool
) -> None:
    sink = sinks(extensions=("PIPELINING",) if pipelining else ())
    sender = through(sink, timeouts=IMPATIENT if "hang" in behaviour else PATIENT)
    sink.script("rcpt", "550 5.1.1 no such user")
    sink.script("rset", BEHAVIOURS[behaviour]("rset"))
    assert sender.send().result is Result.BOUNCED

    assert sender.send().result is Result.DELIVERED

    assert (sink.count, sink.connections, sender.announced) == (1, 2, 1)
    assert sink.violations == []


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_goodbye_that_goes_wrong_changes_nothing(
    sinks: Callable[..., SmtpSink], through: Callable[..., Sender], behaviour: str
) -> None:
    sink = sinks()
    sender = through(sink, timeouts=IMPATIENT)
    sink.script("quit", BEHAVIOURS[behaviour]("quit"))
    assert sender.send().result is Result.DELIVERED
    sender.close()
    assert sender.send().result is Result.DELIVERED
    assert (sink.count, sink.connections) == (2, 2)


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("behaviour", ["close", "reset", "hang", "half a reply, close"])
def test_a_server_that_hangs_up_after_refusing_has_refused(
    sinks: Callable[..., SmtpSink], through: Callable[..., Sender], behaviour: str, pipelining: bool
) -> None:
    sink = sinks(extensions=("PIPELINING",) if pipelining else ())
    sender = through(sink, timeouts=IMPATIENT if "hang" in behaviour else PATIENT)
    sink.script("rcpt", "550 5.1.1 no such user")
    sink.script("data", BEHAVIOURS[behaviour]("data"))

    outcome = sender.send()

    assert (outcome.result, outcome.code, outcome.enhanced) == (Result.BOUNCED, 550, "5.1.1")
    assert sender.announced == 0


def test_a_reply_to_the_message_before_it_was_sent_is_not_believed(
    sink: SmtpSink, through: Callable[..., Sender]
) -> None:
    sink.script("data", Act(b"354 go on\r\n250 2.0.0 taken\r\n"))
    sender = through(sink)
    outcome = sender.send()
    assert (outcome.result, outcome.category) == (Result.DEFERRED, "protocol")
    assert sender.announced == 0


def test_replies_that_nobody_asked_for_end_the_connection(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sink.script("end", Act(b"250 2.0.0 taken\r\n250 2.0.0 and one more\r\n"))
    sender = through(sink)
    assert sender.send().result is Result.DELIVERED
    assert sender.send().result is Result.DELIVERED
    assert sink.connections == 2


def test_a_long_message_cut_in_the_middle_is_deferred(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    """Not one byte of the end of DATA has left, so nothing can have been taken."""
    sender = through(sink)
    sink.script("data", Act(b"354 go on\r\n", "reset"))
    outcome = sender.send(message=b"Subject: long\r\n\r\n" + (b"x" * 70 + b"\r\n") * 400_000)
    assert outcome.result is Result.DEFERRED
    assert outcome.category == "network"
    assert not sink.transactions


def test_a_server_that_stops_reading_defers(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sink.script("data", Act(b"354 go on\r\n", "hang"))
    sender = through(sink, timeouts=replace(IMPATIENT, block=0.2, slowest=10**9))
    outcome = sender.send(message=b"Subject: long\r\n\r\n" + (b"x" * 70 + b"\r\n") * 400_000)
    assert outcome.result is Result.DEFERRED
    assert "timed out" in outcome.reply


def test_what_the_journal_raises_is_passed_on_and_nothing_is_sent(
    sink: SmtpSink, through: Callable[..., Sender]
) -> None:
    sender = through(sink)

    def full() -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        sender.connection.send(mail_from="", rcpt="john@example.net", message=b"x\r\n", on_data=full)
    assert sender.send().result is Result.DELIVERED
    assert len(sink.transactions) == 1
    assert sink.connections == 2
