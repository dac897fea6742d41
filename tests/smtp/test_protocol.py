"""What every client is held to: ends of data, line ends, pipelining, limits, and a clean stop."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import threading
import time
from collections.abc import Callable

import pytest

import models
from gateway.services import contents, messages
from tests.smtp.conftest import Customer, Running

HEADER = b"From: hello@shop.test\r\nTo: jane@friends.test\r\nSubject: s\r\n\r\n"
SMUGGLED = (
    b"MAIL FROM:<hello@shop.test>\r\nRCPT TO:<victim@friends.test>\r\nDATA\r\n"
    b"From: hello@shop.test\r\nTo: victim@friends.test\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\n"
)

ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\n\n.\r\n",
    b"\r\n.\x00\r\n",
    b"\r\n\x00.\r\n",
    b"\r\n..\r\n",
    b"\r\n. \r\n",
    b"\r\n.\n\r\n",
    b"\r\n\r.\r\n",
]
"""Ends of data that some server once took for one; only CRLF.CRLF is."""


class Wire:
    """A client that sends exactly what it is told."""

    def __init__(self, client: smtplib.SMTP) -> None:
        assert client.sock is not None
        self.sock = client.sock
        self.file = client.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reply(self) -> str:
        """One whole reply; '' when the connection has ended."""
        text = ""
        while line := self.file.readline().decode():
            text += line
            if line[3:4] != "-":
                break
        return text

    def replies(self, count: int) -> list[str]:
        return [self.reply()[:3] for _ in range(count)]


def wire(customer: Customer, part: Running) -> Wire:
    return Wire(customer.log_in(part))


def bodies() -> list[bytes]:
    found = contents.load([message.content_id for message in models.Message.select()])
    return [body for _, body in found.values()]


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_only_crlf_dot_crlf_ends_the_data(part: Running, customer: Customer, end: bytes) -> None:
    client = wire(customer, part)
    client.send(b"MAIL FROM:<hello@shop.test>\r\nRCPT TO:<jane@friends.test>\r\nDATA\r\n")
    assert client.replies(3) == ["250", "250", "354"]
    client.send(HEADER + b"before" + end + SMUGGLED)
    answer = client.reply()
    client.send(b"NOOP\r\n")
    # One answer for all that was sent as data: what followed the false end was data, too.
    assert client.reply().startswith("250 2.0.0")
    assert [row.rcpt for row in models.Delivery.select()] == ["jane@friends.test"] * answer.startswith("250")
    for body in bodies():
        assert b"MAIL FROM:<hello@shop.test>" in body
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", body)


@pytest.mark.parametrize("chunks", [1, 2, 3, 7])
def test_the_end_may_come_in_pieces_with_the_next_message_behind_it(
    part: Running, customer: Customer, chunks: int
) -> None:
    one = b"MAIL FROM:<hello@shop.test>\r\nRCPT TO:<jane@friends.test>\r\nDATA\r\n" + HEADER + b"one\r\n..\r\n.\r\n"
    client = wire(customer, part)
    data = one * 3 + b"QUIT\r\n"
    if chunks == 1:
        client.send(data)
    else:
        for start in range(0, len(data), chunks):
            client.send(data[start : start + chunks])
    assert client.replies(13) == ["250", "250", "354", "250"] * 3 + ["221"]
    assert models.Message.select().count() == 3
    assert all(body.endswith(b"\r\n\r\none\r\n.\r\n") for body in bodies())


def test_an_empty_message_ends_at_once(part: Running, customer: Customer) -> None:
    client = wire(customer, part)
    client.send(b"MAIL FROM:<>\r\nRCPT TO:<jane@friends.test>\r\nDATA\r\n.\r\nNOOP\r\n")
    assert client.replies(5) == ["250", "250", "354", "550", "250"]


def test_a_body_with_bare_line_feeds_gets_proper_ones(part: Running, customer: Customer) -> None:
    client = wire(customer, part)
    client.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<jane@friends.test>\r\nDATA\r\n")
    client.send(HEADER + b"one\ntwo\n\n.three\r\n.\r\n")
    assert client.replies(4) == ["250", "250", "354", "250"]
    (body,) = bodies()
    assert body.endswith(b"\r\n\r\none\r\ntwo\r\n\r\n.three\r\n")


def test_long_lines_are_mended(part: Running, customer: Customer) -> None:
    client = wire(customer, part)
    client.send(
        b"MAIL FROM:<a@b.test>\r\nRCPT TO:<jane@friends.test>\r\nDATA\r\n" + HEADER + b"x" * 5000 + b"\r\n.\r\n"
    )
    assert client.replies(4) == ["250", "250", "354", "250"]
    (body,) = bodies()
    assert max(map(len, body.split(b"\r\n"))) <= 998


def test_what_was_sent_before_half_closing_is_answered(part: Running, customer: Customer) -> None:
    client = wire(customer, part)
    client.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<jane@friends.test>\r\nDATA\r\n" + HEADER + b"x\r\n.\r\nQUIT\r\n")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.replies(5) == ["250", "250", "354", "250", "221"]


def test_a_client_that_vanishes_during_data_leaves_nothing(part: Running, customer: Customer) -> None:
    client = wire(customer, part)
    client.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<jane@friends.test>\r\nDATA\r\n" + HEADER + b"half")
    assert client.replies(3) == ["250", "250", "354"]
    client.sock.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: not part.server.doors[0].connections)
    assert not models.Message.select().count()


def test_every_reply_has_an_enhanced_code(part: Running, customer: Customer) -> None:
    client = wire(customer, part)
    lines = [
        b"NOOP", b"RSET", b"VRFY jane", b"EXPN list", b"HELP", b"BOGUS", b"", b"MAIL", b"MAIL FROM:<a@b.test> FOO=1",
        b"RCPT TO:<jane@friends.test>", b"DATA", b"MAIL FROM:<a@b.test> AUTH=<>", b"MAIL FROM:<a@b.test>",
        b"RCPT TO:<x>", b"DATA", b"AUTH PLAIN", b"STARTTLS", b"\xff\xfe", b"X" * 1500, b"QUIT",
    ]  # fmt: skip
    for line in lines:
        client.send(line + b"\r\n")
        answer = client.reply()
        assert re.match(r"[245]\d\d [245]\.\d\.\d{1,2} \S", answer), (line, answer)
        assert answer[0] == answer[4]


def test_a_command_said_too_often_ends_the_connection(part: Running) -> None:
    with part.client() as client, pytest.raises(smtplib.SMTPServerDisconnected):
        for number in range(30):
            code = client.docmd("VRFY", "jane")[0]
            assert code == (252 if number < 20 else 421)


def test_connections_are_counted(start: Callable[..., Running]) -> None:
    part = start(SMTP_CONNECTIONS="4")
    clients = [part.client(), part.client()]
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        part.client()
    assert refused.value.smtp_code == 421
    clients.pop().quit()
    wait_for(lambda: len(part.server.doors[0].connections) == 1)
    clients.append(part.client())
    assert clients[-1].noop()[0] == 250
    part.client("inbound").quit()
    for client in clients:
        client.quit()


def test_a_stop_lets_the_message_being_taken_in_finish(
    part: Running, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, go_on = threading.Event(), threading.Event()
    accept = messages.accept

    def slow(*given: object) -> object:
        arrived.set()
        assert go_on.wait(10)
        return accept(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(messages, "accept", slow)
    idle, busy = part.client(), wire(customer, part)
    busy.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<jane@friends.test>\r\nDATA\r\n" + HEADER + b"x\r\n.\r\n")
    assert busy.replies(3) == ["250", "250", "354"]
    assert arrived.wait(10)
    part.begin_stop()
    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        assert idle.getreply()[0] == 421
    with pytest.raises(OSError, match="refused"):
        part.client()
    go_on.set()
    assert busy.replies(3) == ["250", "421", ""]
    assert models.Message.select().count() == 1


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
