"""MAIL, RCPT and DATA as they go over the wire, and what replies mean."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.transports.outcome import Result
from tests.gateway.transports.conftest import MESSAGE, Sender
from tests.peers.smtp_sink import Act, SmtpSink

EIGHT_BIT = "Subject: x\r\n\r\nGrüße\r\n".encode()


def _commands(sink: SmtpSink) -> list[str]:
    return [line for _, line in sink.commands]


def test_the_whole_envelope_goes_in_one_write(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    outcome = through(sink).send()
    assert outcome.result is Result.DELIVERED
    assert (outcome.code, outcome.enhanced, outcome.reply) == (250, "2.0.0", "2.0.0 taken")
    assert (outcome.category, outcome.tls, outcome.retry_after) == ("", "", None)
    taken = sink.messages[0]
    assert (taken.mail_from, taken.rcpts, taken.data) == ("jane@example.com", ["john@example.net"], MESSAGE)
    assert (taken.helo, taken.pipelined) == ("mx.gateway.test", True)
    assert _commands(sink) == [
        "EHLO mx.gateway.test",
        f"MAIL FROM:<jane@example.com> SIZE={len(MESSAGE)}",
        "RCPT TO:<john@example.net>",
        "DATA",
    ]
    assert sink.violations == []


def test_step_by_step_without_pipelining(sinks: Callable[..., SmtpSink], through: Callable[..., Sender]) -> None:
    sink = sinks(extensions=(), size=None)
    sender = through(sink)
    sink.refuse("nobody@example.net", "550 5.1.1 unknown")
    assert sender.send("nobody@example.net").result is Result.BOUNCED
    assert sender.send().result is Result.DELIVERED
    assert not sink.messages[0].pipelined
    # DATA is not said after a refusal, and the refused transaction is ended before the next.
    assert _commands(sink) == [
        "EHLO mx.gateway.test",
        "MAIL FROM:<jane@example.com>",
        "RCPT TO:<nobody@example.net>",
        "RSET",
        "MAIL FROM:<jane@example.com>",
        "RCPT TO:<john@example.net>",
        "DATA",
    ]
    assert sink.violations == []


def test_helo_where_ehlo_is_unknown(sinks: Callable[..., SmtpSink], through: Callable[..., Sender]) -> None:
    sink = sinks(extensions=())
    sink.always("ehlo", "502 5.5.1 what?")
    assert through(sink).send().result is Result.DELIVERED
    assert _commands(sink)[:2] == ["EHLO mx.gateway.test", "HELO mx.gateway.test"]


@pytest.mark.parametrize("gap", [0.0, 0.01])
def test_replies_in_pieces_of_any_size(sink: SmtpSink, through: Callable[..., Sender], gap: float) -> None:
    sender = through(sink)
    for phase, reply in (("mail", b"250-2.1.0 a\r\n250 2.1.0 b\r\n"), ("rcpt", b"250 ok\r\n"), ("data", b"354\r\n")):
        sink.script(phase, Act(reply, pause=gap))
    sink.script("end", Act(b"250-2.0.0 first\r\n250-2.0.0 second\r\n250 2.0.0 third\n"))
    outcome = sender.send()
    assert outcome.result is Result.DELIVERED
    assert outcome.reply == "2.0.0 first\n2.0.0 second\n2.0.0 third"


@pytest.mark.parametrize(
    ("phase", "reply", "result", "code", "enhanced"),
    [
        ("mail", "550 5.1.8 sender unknown", Result.BOUNCED, 550, "5.1.8"),
        ("mail", "451 try later", Result.DEFERRED, 451, ""),
        ("rcpt", "550 5.1.1 unknown", Result.BOUNCED, 550, "5.1.1"),
        ("rcpt", "452 4.2.2 full", Result.DEFERRED, 452, "4.2.2"),
        ("rcpt", "550-5.1.1 the user\n550 5.1.1 is unknown", Result.BOUNCED, 550, "5.1.1"),
        ("rcpt", "550 2.1.5 user unknown", Result.BOUNCED, 550, ""),
        ("data", "554 5.5.1 no", Result.BOUNCED, 554, "5.5.1"),
        ("end", "552 5.3.4 too big", Result.BOUNCED, 552, "5.3.4"),
        ("end", "450 4.7.1 greylisted", Result.DEFERRED, 450, "4.7.1"),
        # Of the session and not of the message.
        ("mail", "503 5.5.1 EHLO first", Result.DEFERRED, 503, "5.5.1"),
        ("mail", "530 5.7.0 STARTTLS first", Result.DEFERRED, 530, "5.7.0"),
    ],
)
@pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelined", "step by step"])
def test_refusals(
    sinks: Callable[..., SmtpSink],
    through: Callable[..., Sender],
    extensions: tuple[str, ...],
    phase: str,
    reply: str,
    result: Result,
    code: int,
    enhanced: str,
) -> None:
    sink = sinks(extensions=extensions)
    sender = through(sink)
    sink.script(phase, reply)
    outcome = sender.send()
    assert (outcome.result, outcome.code, outcome.enhanced) == (result, code, enhanced)
    assert outcome.category
    assert sender.send().result is Result.DELIVERED
    assert len(sink.messages) == 1
    assert sink.connections == (2 if code == 503 else 1)
    assert sink.violations == []


def test_categories_and_waiting_times_come_from_the_reply(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sender = through(sink)
    sink.script(
        "rcpt", "550 5.1.1 User unknown", "452 4.2.2 Mailbox is full", "450 4.2.0 Greylisted, try again in 300 seconds"
    )
    assert sender.send().category == "recipient"
    assert sender.send().category == "mailbox_full"
    greylisted = sender.send()
    assert (greylisted.category, greylisted.retry_after) == ("policy", 300)


def test_an_invitation_after_a_refused_recipient_gets_no_message(
    sink: SmtpSink, through: Callable[..., Sender]
) -> None:
    """RFC 2920 §3.1: DATA was sent already, so the server's 354 is answered with a lone dot."""
    sender = through(sink)
    sink.script("rcpt", Act(b"250 2.1.5 ok\r\n"), Act(b"550 5.1.1 unknown\r\n"))
    assert sender.send().result is Result.DELIVERED
    # The sink itself answers 554 to DATA without recipients; this one is made to answer 354.
    sink.always_354 = True
    outcome = sender.send("gone@example.net")
    assert (outcome.result, outcome.code) == (Result.BOUNCED, 550)
    assert sender.announced == 1
    assert sender.send().result is Result.DELIVERED
    assert [t.data for t in sink.transactions] == [MESSAGE, b"", MESSAGE]
    assert sink.transactions[1].rcpts == []
    assert sink.connections == 1
    assert sink.violations == []


def test_an_invitation_after_a_refused_sender_ends_the_connection(
    sink: SmtpSink, through: Callable[..., Sender]
) -> None:
    """The recipient may have been taken: an empty message must not reach them."""
    sink.script("mail", "550 5.7.1 not you")
    sink.always_354 = True
    sender = through(sink)
    assert sender.send().result is Result.BOUNCED
    assert sender.send().result is Result.DELIVERED
    assert [t.data for t in sink.transactions] == [MESSAGE]
    assert sink.connections == 2


def test_the_null_sender(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    assert through(sink).send(mail_from="").result is Result.DELIVERED
    assert sink.messages[0].mail_from == ""


def test_a_message_over_the_offered_size_is_not_begun(
    sinks: Callable[..., SmtpSink], through: Callable[..., Sender]
) -> None:
    sink = sinks(size=len(MESSAGE))
    sender = through(sink)
    outcome = sender.send(message=MESSAGE + b".\r\n")
    assert (outcome.result, outcome.enhanced, outcome.category) == (Result.BOUNCED, "5.3.4", "content")
    assert sender.send().result is Result.DELIVERED
    assert _commands(sink)[1].startswith("MAIL FROM:<jane@example.com> SIZE=")
    assert len(_commands(sink)) == 4


def test_a_size_of_zero_is_no_limit(sinks: Callable[..., SmtpSink], through: Callable[..., Sender]) -> None:
    assert through(sinks(size=0)).send().result is Result.DELIVERED


def test_smtputf8_only_where_an_address_needs_it(sink: SmtpSink, through: Callable[..., Sender]) -> None:
    sender = through(sink)
    assert sender.send(message=EIGHT_BIT).result is Result.DELIVERED
    assert sink.messages[0].mail_parameters == f"SIZE={len(EIGHT_BIT)} BODY=8BITMIME"
    assert sink.messages[0].data == EIGHT_BIT
    assert sender.send("jürgen@example.net").result is Result.DELIVERED
    assert sink.messages[1].mail_parameters == f"SIZE={len(MESSAGE)} SMTPUTF8"
    assert sink.messages[1].rcpts == ["jürgen@example.net"]
    assert sink.violations == []


def test_a_domain_in_a_labels_needs_no_smtputf8(sinks: Callable[..., SmtpSink], through: Callable[..., Sender]) -> None:
    sink = sinks()
    sender = through(sink)
    assert sender.send("john@bücher.example", mail_from="jane@straße.example").result is Result.DELIVERED
    taken = sink.messages[0]
    assert (taken.mail_from, taken.rcpts) == ("jane@xn--strae-oqa.example", ["john@xn--bcher-kva.example"])
    assert "SMTPUTF8" not in taken.mail_parameters
    assert sender.send("jürgen@bücher.example").result is Result.DELIVERED
    assert sink.messages[1].rcpts == ["jürgen@bücher.example"]
    assert "SMTPUTF8" in sink.messages[1].mail_parameters


def test_8_bit_headers_ask_for_smtputf8_where_it_is_offered(
    sinks: Callable[..., SmtpSink], through: Callable[..., Sender]
) -> None:
    message = "Subject: Grüße\r\n\r\nx\r\n".encode()
    full, plain = sinks(), sinks(extensions=("8BITMIME",))
    assert through(full).send(message=message).result is Result.DELIVERED
    assert full.messages[0].mail_parameters == f"SIZE={len(message)} BODY=8BITMIME SMTPUTF8"
    assert through(plain).send(message=message).result is Result.DELIVERED
    assert plain.messages[0].mail_parameters == f"SIZE={len(message)} BODY=8BITMIME"
    assert full.messages[0].data == plain.messages[0].data == message


def test_what_the_server_cannot_take_is_bounced_without_asking(
    sinks: Callable[..., SmtpSink], through: Callable[..., Sender]
) -> None:
    sink = sinks(extensions=("PIPELINING",))
    sender = through(sink)
    outcome = sender.send("jürgen@example.net")
    assert (outcome.result, outcome.enhanced) == (Result.BOUNCED, "5.6.7")
    outcome = sender.send(message=EIGHT_BIT)
    assert (outcome.result, outcome.enhanced) == (Result.BOUNCED, "5.6.3")
    assert _commands(sink) == ["EHLO mx.gateway.test"]
    assert sender.send().result is Result.DELIVERED


@pytest.mark.parametrize(
    "message",
    [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"a\r\n.\n", b"\n.\r\n", b"a\r\r\n", b"a\r\n\r"],
)
def test_bare_bytes_are_refused_before_dialling(sink: SmtpSink, through: Callable[..., Sender], message: bytes) -> None:
    sender = through(sink)
    outcome = sender.send(message=message)
    assert (outcome.result, outcome.enhanced, outcome.category) == (Result.BOUNCED, "5.6.0", "ours")
    assert sink.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "john@example.net>\r\nRCPT TO:<eve@example.net",
        "john@example.net> SIZE=1 <",
        "john doe@example.net",
        "john@",
        "@example.net",
        "john",
        "jo\0hn@example.net",
        '"john\r\n"@example.net',
        "a" * 600 + "@example.net",
    ],
)
def test_addresses_cannot_carry_commands(sink: SmtpSink, through: Callable[..., Sender], address: str) -> None:
    sender = through(sink)
    assert sender.send(address).enhanced == "5.1.3"
    assert sender.send(mail_from=address).enhanced == "5.1.7"
    assert sink.connections == 0


@pytest.mark.parametrize("address", ['"john doe"@example.net', "john+tag@example.net", "john@[192.0.2.1]", "o'x@e.net"])
def test_unusual_addresses_are_carried(sink: SmtpSink, through: Callable[..., Sender], address: str) -> None:
    assert through(sink).send(address).result is Result.DELIVERED
    assert sink.messages[0].rcpts == [address]
