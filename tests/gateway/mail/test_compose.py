"""The composer: what is sent arrives, in lines that travel, with nothing that was not asked for."""

from __future__ import annotations

from collections.abc import Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage, Message

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail import attachments, compose, headers
from gateway.mail.draft import Attachment, Mailbox
from tests.hostile_texts import TEXTS, texts

SENDER = Mailbox("jane@example.com", "Jane Doe")

bodies = st.one_of(
    texts,
    st.sampled_from(
        ["x" * 998, "x" * 999, "From me\nFrom you\n", ".\n..\n", "a \nb\t\n", "=3D\n=\n", "é" * 500 + "\n", "\n\n"]
    ),
    st.text(st.sampled_from("a =\r\n\té.-F"), max_size=300),
)


def render(
    html: str | None, text: str | None, parts: Sequence[Attachment] = (), *, subject: str = "Hello"
) -> tuple[bytes, EmailMessage]:
    raw = compose.render(
        body=compose.build_body(html, text, parts),
        message_id="0199@example.com",
        date_ms=1_700_000_000_123,
        sender=SENDER,
        to=[Mailbox("john@example.net")],
        subject=subject,
    )
    return raw, message_from_bytes(raw, policy=policy.default)


def travels(raw: bytes) -> None:
    lines = raw.split(b"\r\n")
    assert raw.isascii() and b"\0" not in raw
    assert all(len(line) <= 998 and b"\r" not in line and b"\n" not in line for line in lines)


def text_of(part: Message) -> str:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode("utf-8").replace("\r\n", "\n")


def sent(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\r\n", "\n")


@given(bodies)
def test_a_text_arrives(text: str) -> None:
    raw, message = render(None, text)
    travels(raw)
    assert message.get_content_type() == "text/plain" and not message.defects
    arrived, expected = text_of(message), sent(text)
    assert arrived == expected or (arrived == expected + "\n" and not expected.endswith("\n"))


@given(bodies, bodies, st.binary(max_size=300))
@settings(max_examples=60)
def test_both_bodies_and_files_arrive(html: str, text: str, content: bytes) -> None:
    image = Attachment("logo.png", "image/png", content, inline=True, content_id="logo@example")
    file = Attachment("data.bin", "application/octet-stream", content)
    raw, message = render(html, text, [image, file])
    travels(raw)
    mixed = list(message.iter_parts())
    assert [part.get_content_type() for part in mixed] == ["multipart/alternative", "application/octet-stream"]
    plain, related = mixed[0].iter_parts()
    shown, logo = related.iter_parts()
    assert related.get_content_type() == "multipart/related" and related.get_param("type") == "text/html"
    assert shown.get_content_type() == "text/html"
    assert text_of(plain) == sent(text) and text_of(shown) == sent(html)
    assert logo["Content-ID"] == "<logo@example>" and logo.get_content_disposition() == "inline"
    assert logo.get_payload(decode=True) == content == mixed[1].get_payload(decode=True)
    assert mixed[1].get_filename() == "data.bin"


@pytest.mark.parametrize(
    ("html", "text", "files", "kinds"),
    [
        (None, None, 0, ["text/plain"]),
        (None, "a", 0, ["text/plain"]),
        ("a", None, 0, ["text/html"]),
        ("a", "", 0, ["multipart/alternative", "text/plain", "text/html"]),
        ("a", "b", 0, ["multipart/alternative", "text/plain", "text/html"]),
        ("a", None, 1, ["multipart/mixed", "text/html", "image/png"]),
        (None, None, 1, ["multipart/mixed", "text/plain", "image/png"]),
    ],
)
def test_the_structure(html: str | None, text: str | None, files: int, kinds: list[str]) -> None:
    _, message = render(html, text, [Attachment("a.png", "image/png", b"x")] * files)
    assert [part.get_content_type() for part in message.walk()] == kinds


def test_an_inline_file_without_html_is_beside_the_text() -> None:
    image = Attachment("logo.png", "image/png", b"x", inline=True, content_id="logo")
    _, message = render(None, "text", [image])
    assert [part.get_content_type() for part in message.walk()] == ["multipart/mixed", "text/plain", "image/png"]


def test_two_equal_attachments_are_two() -> None:
    same = Attachment("logo.png", "image/png", b"x", inline=True, content_id="logo")
    _, message = render("<img>", None, [same, same, Attachment("a", "a/b", b"x")])
    assert [part.get_content_type() for part in message.walk()].count("image/png") == 2


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("a\nFrom b", "quoted-printable"),
        ("naïve words with one accent", "quoted-printable"),
        ("日本語", "base64"),
        ("bare\rreturn", "base64"),
        ("nul\0", "base64"),
    ],
)
def test_the_encoding_is_the_plainest_that_works(text: str, encoding: str) -> None:
    raw, message = render(None, text)
    assert message["Content-Transfer-Encoding"] == encoding
    assert b"\r\nFrom " not in raw


@given(texts)
def test_a_subject_arrives_and_injects_nothing(subject: str) -> None:
    raw, message = render("<p>x", "x", subject=subject)
    travels(raw)
    assert message.keys() == [
        *("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"),
    ]
    assert (
        headers.one_line(subject).isascii() is False
        or "=?" in subject
        or str(message["Subject"]) == headers.one_line(subject)
    )


@given(texts, texts, texts)
def test_filenames_types_and_ids_inject_nothing(filename: str, content_type: str, content_id: str) -> None:
    part = Attachment(filename, content_type, b"content", inline=True, content_id=content_id)
    raw, message = render("<img>", None, [part, Attachment(filename, content_type, b"content")])
    travels(raw)
    *_, last = message.walk()
    assert last.keys() == ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"]
    assert last.get_payload(decode=True) == b"content"
    assert last.get_filename() == attachments.clean_filename(filename)


def test_the_whole_header() -> None:
    raw = compose.render(
        body=compose.build_body(None, "Hello"),
        message_id="0199@example.com",
        date_ms=1_700_000_000_123,
        sender=SENDER,
        reply_to=[Mailbox("reply@example.com", "Doe, Jane")],
        to=[Mailbox("john@example.net", "John"), Mailbox("ann@example.net")],
        cc=[Mailbox("cc@example.net")],
        subject="Hello World",
        headers=[("X-Custom", "ünï"), ("List-Unsubscribe", "<https://example.com/u>")],
    )
    assert raw == (
        b"From: Jane Doe <jane@example.com>\r\n"
        b"To: John <john@example.net>, ann@example.net\r\n"
        b"Cc: cc@example.net\r\n"
        b'Reply-To: "Doe, Jane" <reply@example.com>\r\n'
        b"Subject: Hello World\r\n"
        b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
        b"Message-ID: <0199@example.com>\r\n"
        b"X-Custom: =?utf-8?b?w7xuw68=?=\r\n"
        b"List-Unsubscribe: <https://example.com/u>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n"
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\nHello\r\n"
    )


def test_only_hidden_recipients() -> None:
    raw = compose.render(
        body=compose.build_body(None, ""), message_id="1@example.com", date_ms=0, sender=SENDER, subject=""
    )
    assert b"\r\nTo: undisclosed-recipients:;\r\n" in raw and b"Bcc" not in raw


def test_the_same_content_gives_the_same_bytes() -> None:
    parts = [Attachment("a.bin", "a/b", b"x")]
    assert compose.build_body("<p>", "t", parts) == compose.build_body("<p>", "t", parts)
    assert compose.build_body("<p>", "t", parts) != compose.build_body("<p>", "u", parts)


def test_a_boundary_never_occurs_inside() -> None:
    """A text that holds the boundary made for it gets another one: here the text is a whole body of ours."""
    inner = compose.build_body("<p>", "t")
    text = inner.content.decode()
    outer = compose.build_body("<p>", text)
    boundary = message_from_bytes(outer.headers + b"\r\n" + outer.content).get_boundary()
    assert boundary and boundary not in text
    _, message = render("<p>", text)
    plain, _ = message.iter_parts()
    assert text_of(plain) == sent(text)


def test_smtputf8_is_needed_only_for_such_addresses() -> None:
    def made(recipient: str) -> bytes:
        return compose.render(
            body=compose.build_body(None, "é"),
            message_id="1@example.com",
            date_ms=0,
            sender=SENDER,
            to=[Mailbox(recipient, "Jörg")],
            subject="é",
        )

    assert not compose.needs_smtputf8(made("jorg@example.com"))
    raw = made("jörg@example.com")
    assert compose.needs_smtputf8(raw) and "<jörg@example.com>".encode() in raw


@pytest.mark.parametrize("text", TEXTS)
def test_the_corpus_as_every_text_at_once(text: str) -> None:
    raw, message = render(text, text, [Attachment(text, text, b"x")], subject=text)
    travels(raw)
    assert [part.get_content_type() for part in message.walk()][:2] == ["multipart/mixed", "multipart/alternative"]
