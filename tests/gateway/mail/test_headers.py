"""Header fields: what a customer may set, and that every value arrives and injects nothing."""

from __future__ import annotations

from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Invalid
from gateway.mail import headers
from gateway.mail import parse as mime
from tests.hostile_texts import TEXTS, texts


@pytest.mark.parametrize(
    "name",
    [
        *("From", "to", "CC", "Bcc", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "MIME-Version"),
        *("Return-Path", "Received", "DKIM-Signature", "Content-Type", "content-anything", "Resent-To", "ARC-Seal"),
        *("", "X Y", "X:Y", "X-é", "X\r\nBcc", "X\0", "X-" + "a" * 75, "X\u2028", ":", " "),
    ],
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(Invalid):
        headers.check_custom(name, "value")


@pytest.mark.parametrize(
    "value",
    ["", " ", "a\r\nBcc: x@example.net", "a\n", "\ra", "a\0", "a\u2028b", "a\x85", "\x1b[0m", "\ud800", "a" * 8193],
)
def test_values_that_are_refused(value: str) -> None:
    with pytest.raises(Invalid):
        headers.check_custom("X-Custom", value)


@pytest.mark.parametrize("value", ["<https://é.example>", "=?utf-8?q?x?=", "<https://a.example/" + "a" * 900 + ">"])
def test_structured_fields_take_no_encoded_words(value: str) -> None:
    assert headers.check_custom("X-Custom", value) == ("X-Custom", value)
    with pytest.raises(Invalid):
        headers.check_custom("List-Unsubscribe", value)


def test_accepted_headers_come_back_stripped() -> None:
    assert headers.check_custom(" X-Custom ", "\t a  b\tc ") == ("X-Custom", "a  b\tc")
    assert headers.check_custom("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
    assert headers.check_custom("X-Név".replace("é", "e"), "Ünïcode ✓")


@pytest.mark.parametrize("value", [None, 1, b"x", ["x"]])
def test_values_that_are_no_text_are_refused(value: object) -> None:
    with pytest.raises(Invalid):
        headers.check_custom("X-Custom", value)  # type: ignore[arg-type]


@given(texts, texts)
def test_what_check_custom_lets_pass_arrives(name: str, value: str) -> None:
    for try_name in (name, "X-Custom"):
        try:
            checked = headers.check_custom(try_name, value)
        except Invalid:
            continue
        _arrives(*checked)


@given(texts, st.sampled_from(["Subject", "X", "X-" + "n" * 74]))
def test_any_text_arrives_on_one_line(value: str, name: str) -> None:
    _arrives(name, value)


@pytest.mark.parametrize("value", TEXTS)
def test_the_corpus_arrives(value: str) -> None:
    _arrives("Subject", value)


def _arrives(name: str, value: str) -> None:
    field = headers.fold(name, value)
    lines = field.split(b"\r\n")
    assert lines[-1] == b"" and field.isascii() and not set(field.replace(b"\r\n", b"")) & set(b"\r\n\0")
    assert all(len(line) <= 998 for line in lines)
    assert all(line.strip() for line in lines[1:-1])
    for line in lines[:-1]:
        assert len(line) <= 78 or not line.removeprefix(f"{name}:".encode()).strip().count(b" ")
    message = message_from_bytes(field + b"X-End: end\r\n\r\n", policy=policy.default)
    assert message.keys() == [name, "X-End"]
    expected = headers.one_line(value)
    assert mime.decoded_words(mime.value(field)) == expected
    if name == "Subject":
        assert str(message[name]).strip() == expected.strip() or "=?" in expected


def test_long_plain_values_fold_at_spaces() -> None:
    field = headers.fold("Subject", "lorem ipsum " * 20)
    assert b"=?" not in field
    assert max(map(len, field.split(b"\r\n"))) <= 78


def test_long_lists_fold_between_words() -> None:
    field = headers.structured("References", " ".join(f"<{n}@example.com>" for n in range(50)))
    assert max(map(len, field.split(b"\r\n"))) <= 78
    with pytest.raises(Invalid):
        headers.structured("References", "é")


def test_encoded_words_never_split_a_character() -> None:
    for word in headers.encoded_words("日本語テキスト🎉" * 30):
        assert len(word) <= 75
        assert "\ufffd" not in mime.decoded_words(word)
