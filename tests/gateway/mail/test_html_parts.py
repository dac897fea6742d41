"""The bodies of submitted mail change, everything around them keeps its bytes."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest

from gateway.mail import html_parts

HTML = '<p>Grüße <a href="https://a.test/?a=1&amp;b=2">x</a></p>\r\n'


def _message(cte: str) -> bytes:
    message = EmailMessage(policy=email.policy.SMTP)
    message["Subject"] = "Test"
    message.set_content("plain text with https://a.test/\n")
    message.add_alternative(HTML, subtype="html", cte=cte)
    message.add_attachment(b"<a href='https://no.test'>", maintype="text", subtype="html", filename="a.html")
    return message.as_bytes()


@pytest.mark.parametrize("cte", ["quoted-printable", "base64", "8bit"])
def test_only_the_html_part_changes(cte: str) -> None:
    raw = _message(cte)
    split = html_parts.split(raw)
    assert [part.kind for part in split.parts] == [html_parts.PLAIN, html_parts.HTML]
    plain = split.parts[0].text
    assert (plain, split.parts[1].text) == ("plain text with https://a.test/\r\n", HTML)
    assert split.joined([plain, HTML]) == raw
    part = split.parts[1]
    made = split.joined([plain, HTML.replace("https://a.test", "https://" + "t" * 1200)])
    assert made.startswith(raw[: part.start])
    assert made.endswith(raw[part.end :])
    assert max(map(len, made.split(b"\r\n"))) <= 998
    parsed = email.message_from_bytes(made, policy=email.policy.default)
    body = parsed.get_body(("html",))
    assert body is not None
    assert body.get_content() == HTML.replace("https://a.test", "https://" + "t" * 1200)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/signed; boundary=b", "--b\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n--b--\r\n"),
        ("multipart/encrypted; boundary=b", "--b\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n--b--\r\n"),
        ("message/rfc822", "Content-Type: text/html\r\n\r\n<p>x</p>\r\n"),
        ("text/html; charset=utf-16", "<p>x</p>\r\n"),
        ("text/html; charset=nonsense", "<p>x</p>\r\n"),
        ("text/html\r\nContent-Transfer-Encoding: x-uuencode", "<p>x</p>\r\n"),
        ("text/html\r\nContent-Disposition: attachment", "<p>x</p>\r\n"),
        ("text/plain; charset=nonsense", "x\r\n"),
        ("text/calendar", "x\r\n"),
    ],
)
def test_what_is_left_alone(content_type: str, body: str) -> None:
    raw = f"Subject: x\r\nContent-Type: {content_type}\r\n\r\n{body}".encode()
    assert html_parts.split(raw).parts == ()


def test_a_plain_letter_says_what_its_character_set_lacks_in_another_way() -> None:
    raw = b"Subject: x\r\n\r\nHello\r\n"
    split = html_parts.split(raw)
    assert split.joined(["Hello %s\r\n" % ("y" * 20)]) == b"Subject: x\r\n\r\nHello " + b"y" * 20 + b"\r\n"
    assert split.joined(["Zo\xeb\r\n"]) == b"Subject: x\r\n\r\nZo?\r\n"


def test_a_letter_that_is_html_alone() -> None:
    raw = b"Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>\xfc</p>\r\n"
    split = html_parts.split(raw)
    assert split.joined(["<p>\xfc</p>\r\n<img>"]) == raw + b"<img>"
