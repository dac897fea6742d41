"""8-bit parts become ASCII with the same content; what may not be touched is refused."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.sevenbit import sevenbit
from gateway.mail.structured import Unsupported

HEAD = b"From: a@shop.test\r\nSubject: x\r\n"


def _contents(message: bytes) -> list[tuple[str, bytes]]:
    """Type and decoded content of every part that has one, by the standard library."""
    found = []
    for part in email.message_from_bytes(message, policy=email.policy.SMTP).walk():
        if not part.is_multipart():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            found.append((part.get_content_type(), content.replace(b"\r\n", b"\n").rstrip(b"\n")))
    return found


def test_ascii_stays_as_it_is() -> None:
    message = HEAD + b"Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\nhi\r\n--x--\r\n"
    assert sevenbit(message) is message


@given(st.text(st.characters(exclude_characters="\r\0", exclude_categories=("Cs",)), max_size=2000))
def test_a_text_says_the_same(text: str) -> None:
    body = ("Grüße\n" + text + "\nEnde").replace("\n", "\r\n").encode()
    made = sevenbit(HEAD + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + body)
    assert made.isascii() and max(map(len, made.split(b"\r\n"))) <= 78
    assert _contents(made) == [("text/plain", body.replace(b"\r\n", b"\n").rstrip(b"\n"))]


def test_parts_inside_parts_and_messages_inside_messages() -> None:
    inner = "Subject: inner\r\nContent-Transfer-Encoding: 8bit\r\n\r\nÄußeres\r\n".encode()
    message = (
        HEAD
        + b"Content-Transfer-Encoding: 8bit\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n"
        + "Vorspann ü\r\n--a\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n".encode()
        + b"--b\r\n\r\nplain\r\n--b\r\n"
        + "Content-Type: text/html; charset=utf-8\r\n\r\n<p>ü</p>\r\n--b--\r\n".encode()
        + b"--a\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: binary\r\n\r\n\xff\xfe%PDF\r\n"
        + b"--a\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + inner + b"\r\n--a--\r\n"
    )  # fmt: skip
    made = sevenbit(message)
    assert made.isascii()
    assert _contents(made) == [
        ("text/plain", b"plain"), ("text/html", "<p>ü</p>".encode()), ("application/pdf", b"\xff\xfe%PDF"),
        ("text/plain", "Äußeres".encode()),
    ]  # fmt: skip
    assert b"8bit" not in made and b"binary" not in made


@pytest.mark.parametrize(
    "message",
    [
        HEAD + "X-Any: ü\r\n\r\nhi".encode(),
        HEAD + "Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\nü\r\n--x--\r\n".encode(),
        HEAD + "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nü".encode(),
        HEAD + "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nX-Any: ü\r\n\r\nhi\r\n--x--\r\n".encode(),
    ],
)
def test_what_may_not_be_touched(message: bytes) -> None:
    with pytest.raises(Unsupported):
        sevenbit(message)
