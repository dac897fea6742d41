"""Reading strangers' messages: right where they are right, bounded and calm where they are not."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.mail import arf, autoreply, dsn, parse, submitted


def test_leaves_in_order() -> None:
    message = EmailMessage()
    message["Subject"] = "x"
    message.set_content("plain é\n")
    message.add_alternative("<p>html</p>\n", subtype="html")
    message.add_attachment("a,b\n", subtype="csv", filename="x.csv")
    top = parse.read(message.as_bytes())
    assert parse.first(top.fields, "Subject") == "x" and parse.first(top.fields, "absent") == ""
    leaves = parse.leaves(top)
    assert [leaf.kind for leaf in leaves] == ["text/plain", "text/html", "text/csv"]
    assert [leaf.text() for leaf in leaves] == ["plain é\n", "<p>html</p>\n", "a,b\n"]


def test_media_type() -> None:
    kind, parameters = parse.media_type('Multipart/REPORT; report-type=delivery-status;\r\n boundary="a\\"b;c"; X = y')
    assert kind == "multipart/report"
    assert parameters == {"report-type": "delivery-status", "boundary": 'a"b;c', "x": "y"}
    assert parse.media_type("nonsense") == ("text/plain", {})


def test_decoded_words() -> None:
    assert parse.decoded_words("a =?utf-8?q?b=C3=A9?= =?UTF-8?B?w6k=?= c") == "a béé c"
    assert parse.decoded_words("=?iso-8859-1*de?Q?=E9_?=") == "é "
    assert parse.decoded_words("=?nonsense?q?x?=") == "x"
    assert parse.decoded_words("no words?=") == "no words?="


def test_unknown_and_wrong_charsets_are_read_as_latin_1() -> None:
    for charset in ("nonsense", "utf-8", "punycode", "base64", "x\0y"):
        raw = f"Content-Type: text/plain; charset={charset}\r\n\r\n".encode() + b"\xe9t\xe9"
        assert parse.read(raw).text() == "été"


def _nested(depth: int) -> bytes:
    head = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
    return b"".join([head % (level, level) for level in range(depth)]) + b"\r\nend"


BOMBS = [
    _nested(30_000),
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000,
    b"Content-Type: text/plain" + b";a=b" * 250_000 + b"\r\n\r\n",
    b'Content-Type: text/plain; a="' + b"\\" * 1_000_000 + b"\r\n\r\n",
    b"X: y\r\n" * 170_000,
    b"X: y\r\n" + b" folded\r\n" * 110_000,
    b"From: mailer-daemon\r\nSubject: failure notice " + b"=?utf-8?q?" * 100_000 + b"\r\n\r\n" + b"550 " * 100_000,
    b"From: mailer-daemon\r\nSubject: failure notice\r\n\r\n" + b"a@" * 500_000,
    b"From: mailer-daemon\r\nSubject: failure notice\r\n\r\n" + b"\r\n" * 500_000,
    b"From: mailer-daemon\r\nSubject: failure notice\r\n\r\n" + b"1.1." * 250_000,
    b"X-Failed-Recipients: " + b"a@b," * 250_000 + b"\r\n\r\n550 no such user",
    b"Content-Type: text/plain; charset=punycode\r\nX-Failed-Recipients: a@b.c\r\n\r\n" + b"a-" + b"z9" * 500_000,
    b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    + b"Final-Recipient: rfc822; a@b\r\nAction: failed\r\n\r\n" * 20_000,
    b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    + b"\r\n \r\n" * 200_000,
]
"""Each is a megabyte that costs a naive reader minutes, or its stack."""


@pytest.mark.parametrize("number", range(len(BOMBS)))
def test_bombs_are_bounded(settings: config.Settings, number: int) -> None:
    """A reader that is quadratic in its input runs into the time limit of the suite."""
    bomb = BOMBS[number]
    assert len(parse.leaves(parse.read(bomb))) <= parse.PARTS_MAX
    report = dsn.parse(bomb)
    assert report is None or len(report.recipients) <= parse.PARTS_MAX
    arf.parse(bomb)
    autoreply.is_auto_reply(bomb)
    submitted.normalise_raw(bomb)


_pieces = [
    *(b"Content-Type: multipart/report; boundary=b", b"Content-Type: message/delivery-status", b"--b", b"--b--"),
    *(b"Content-Type: message/feedback-report", b"Content-Type: message/rfc822", b"Feedback-Type: abuse", b"\r\n"),
    *(b"Final-Recipient: rfc822; a@b", b"Status: 5.1.1", b"Action: failed", b"\r\n\r\n", b"\n", b"\0", b"\xff", b";"),
    *(b"From: mailer-daemon@x", b"Subject: failure notice", b"550 5.1.1 no such user", b"Auto-Submitted: ", b" "),
    *(b"Content-Transfer-Encoding: base64", b"X-Failed-Recipients: a@b", b"Diagnostic-Code: smtp;", b"=?utf-8?b?=?="),
]


@given(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(_pieces), max_size=30).map(b"\r\n".join)))
def test_garbage_never_raises(raw: bytes) -> None:
    for leaf in parse.leaves(parse.read(raw)):
        leaf.text()
    dsn.parse(raw)
    arf.parse(raw)
    autoreply.is_auto_reply(raw)
