"""Submitted messages: what was wrong is mended, everything else stays byte for byte."""

from __future__ import annotations

import base64
import quopri
from email import message_from_bytes, policy
from email.message import EmailMessage, Message

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.mail import submitted

GOOD = (
    b"Received: from x\r\n\tby y; date\r\n"
    b"From: Jane <jane@example.com>\r\n"
    b"To: john@example.net\r\n"
    b"Subject:  odd   spacing kept \r\n"
    b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
    b"Message-ID: <1@example.com>\r\n"
    b"\r\n"
    b"Hello \t\r\n.\r\n\xc3\xa9\r\n"
)


def mended(raw: bytes) -> bytes:
    return submitted.normalise_raw(raw, message_id="new@example.com", date_ms=1_700_000_000_000)


def test_a_good_message_stays_as_it_is() -> None:
    assert mended(GOOD) == GOOD


def test_line_ends_and_nuls() -> None:
    assert mended(GOOD.replace(b"\r\n", b"\n")) == GOOD
    assert mended(GOOD.replace(b"\r\n", b"\r")) == GOOD
    assert mended(GOOD.replace(b"Hello", b"He\0l\0lo")) == GOOD
    assert mended(b"From: a@example.com\n\nx\n.\r\ny\r.\rz").endswith(b"\r\n\r\nx\r\n.\r\ny\r\n.\r\nz")


def test_what_is_missing_is_added_and_what_is_secret_dropped() -> None:
    raw = mended(
        b"Return-Path: <x@example.com>\nBcc: a@example.net,\n b@example.net\nFrom: a@example.com\n"
        b"resent-bcc : c@example.net\nBCC:\n\nBcc: in the body\n"
    )
    assert raw == (
        b"From: a@example.com\r\n"
        b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
        b"Message-ID: <new@example.com>\r\n"
        b"\r\n"
        b"Bcc: in the body\r\n"
    )


def test_a_new_message_id_is_at_the_domain_of_from() -> None:
    message = message_from_bytes(submitted.normalise_raw(b"From: Jane <jane@mail.example.com>\n\n"))
    assert str(message["Message-ID"]).endswith("@mail.example.com>") and message["Date"]


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"", b""),
        (b"\r\nbody", b"body"),
        (b"From: a@example.com\nhello without a blank line\n", b"hello without a blank line\r\n"),
        (b"From jane Tue Nov 14\nFrom: a@example.com\n\nbody", b"body"),
        (b"just text", b"just text"),
        (b" continued\nFrom: x@example.com\n\nbody", b" continued\r\nFrom: x@example.com\r\n\r\nbody"),
    ],
)
def test_where_the_body_begins(raw: bytes, body: bytes) -> None:
    assert mended(raw).partition(b"\r\n\r\n")[2] == body


def test_raw_characters_in_the_header_are_encoded() -> None:
    raw = mended(
        'From: Jürgen <j@example.com>\nTo: "Ä, Ö" <a@example.net>,\n b@example.net\nSubject: Grüße\n'
        "X-Odd: \x7fé\nCc: jörg@example.net\n\n".encode()
    )
    assert raw.replace("jörg".encode(), b"").isascii()
    message = message_from_bytes(raw, policy=policy.default)
    assert message["From"].addresses[0].display_name == "Jürgen" and message["Subject"] == "Grüße"
    assert [one.display_name for one in message["To"].addresses] == ["Ä, Ö", ""]
    latin = mended(b"From: J\xfcrgen <j@example.com>\n\n")
    assert message_from_bytes(latin, policy=policy.default)["From"].addresses[0].display_name == "Jürgen"


def test_space_before_a_colon_goes() -> None:
    assert mended(b"From : a@example.com\n\n").startswith(b"From: a@example.com\r\n")


LONG = "lange Zeile mit Umlaut ü " * 100


@pytest.mark.parametrize("encoding", ["", "Content-Transfer-Encoding: 8bit\n", "content-transfer-encoding: 7BIT\n"])
def test_a_long_line_becomes_quoted_printable(encoding: str) -> None:
    raw = mended(f"From: a@example.com\nContent-Type: text/plain; charset=utf-8\n{encoding}\na\n{LONG}\nb".encode())
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    message = message_from_bytes(raw, policy=policy.default)
    assert message["Content-Transfer-Encoding"] == "quoted-printable"
    assert message.get_content().replace("\r\n", "\n").rstrip("\n") == f"a\n{LONG}\nb"


def test_long_lines_of_other_encodings() -> None:
    data = bytes(range(256)) * 20
    raw = mended(b"Content-Type: a/b\nContent-Transfer-Encoding: BASE64\n\n" + base64.b64encode(data))
    assert message_from_bytes(raw).get_payload(decode=True) == data
    assert all(len(line) <= 76 for line in raw.split(b"\r\n"))
    raw = mended(b"Content-Transfer-Encoding: quoted-printable\n\n" + b"a=3Db" * 400)
    assert quopri.decodestring(raw.partition(b"\r\n\r\n")[2]) == b"a=b" * 400
    assert raw.count(b"Content-Transfer-Encoding") == 1


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.replace(b"\r\n", b"\n")


def test_only_the_part_with_long_lines_is_touched() -> None:
    original = EmailMessage(policy=policy.SMTP)
    original["From"] = "a@example.com"
    original.set_content("short\n")
    original.add_alternative(f"<p>{LONG}</p>\n", subtype="html", cte="8bit")
    original.add_attachment(b"\0\1\2" * 500, maintype="application", subtype="b", filename="x.bin")
    raw = mended(original.as_bytes(policy=policy.SMTP.clone(max_line_length=None)))
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    before = [part for part in original.walk() if not part.is_multipart()]
    after = [part for part in message_from_bytes(raw, policy=policy.default).walk() if not part.is_multipart()]
    assert list(map(_content, after)) == list(map(_content, before))
    assert [part["Content-Transfer-Encoding"] for part in after] == ["7bit", "quoted-printable", "base64"]


def test_long_lines_in_an_enclosed_message() -> None:
    raw = mended(
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"p" * 1500 + b"\n--b\nContent-Type: message/rfc822\n\n"
        b"Subject: inner\nContent-Type: text/plain\n\n" + b"y" * 2000 + b"\n--b--\n" + b"e" * 1500
    )
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    *_, inner = message_from_bytes(raw, policy=policy.default).walk()
    assert inner["Subject"] == "inner" and _content(inner).strip() == b"y" * 2000


def test_long_header_lines_are_folded() -> None:
    raw = mended(b"X-Words: " + b"word " * 500 + b"\nX-Token: " + b"t" * 3000 + b"\n\n")
    assert all(len(line) <= 998 and line.strip() for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n"))
    message = message_from_bytes(raw)
    assert "".join(str(message["X-Words"]).split()) == "word" * 500
    assert "".join(str(message["X-Token"]).split()) == "t" * 3000


@given(
    st.one_of(
        st.binary(max_size=400),
        st.lists(
            st.sampled_from(
                [
                    b"Content-Type: multipart/mixed; boundary=b",
                    b"--b",
                    b"--b--",
                    b"Content-Transfer-Encoding: base64",
                    b"From: a@b.c",
                    b"Bcc: x",
                    b"\r\n",
                    b"\n",
                    b"\r",
                    b"\0",
                    b" ",
                    b"\t",
                    b":",
                    b"a" * 1100,
                    b"\xff\xc3",
                ]
            ),
            max_size=20,
        ).map(b"".join),
    )
)
@example(b"From: a@b.cContent-Type: multipart/mixed; boundary=b" + b"a" * 1100 + b"\xff\xc3")
def test_whatever_comes_in_travels_afterwards(raw: bytes) -> None:
    once = mended(raw)
    pairs = once.count(b"\r\n")
    assert once.count(b"\r") == pairs == once.count(b"\n") and b"\0" not in once
    assert all(len(line) <= 998 for line in once.split(b"\r\n"))
    assert mended(once) == once
    head = once.partition(b"\r\n\r\n")[0].lower()
    assert not head.startswith((b"bcc", b"return-path")) and b"\nbcc" not in head
    assert head.count(b"\nmessage-id:") + head.startswith(b"message-id:") >= 1
