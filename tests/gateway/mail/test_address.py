"""Addresses: what is accepted, what it becomes, and how a mailbox is printed."""

from __future__ import annotations

import contextlib
from email import message_from_bytes, policy

import email_validator
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Invalid
from gateway.mail import address, headers
from gateway.mail import parse as mime
from gateway.mail.draft import Mailbox
from tests.hostile_texts import TEXTS, texts


@pytest.mark.parametrize(
    ("given_", "normal"),
    [
        ("jane@example.com", "jane@example.com"),
        (" Jane.Doe+tag@Example.COM ", "Jane.Doe+tag@example.com"),
        ("Info@EXAMPLE.com", "info@example.com"),
        ("jörg@münchen.example", "jörg@xn--mnchen-3ya.example"),
        ("jane@XN--MNCHEN-3YA.example", "jane@xn--mnchen-3ya.example"),
        ("a@gateway.test", "a@gateway.test"),
        ("a@printer.local", "a@printer.local"),
        ("a@b.invalid", "a@b.invalid"),
        ("o'brien@example.com", "o'brien@example.com"),
        ("a@1.example", "a@1.example"),
    ],
)
def test_accepted_addresses_are_normalised(given_: str, normal: str) -> None:
    assert address.check(given_) == normal
    assert address.check(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jane",
        "@example.com",
        "jane@",
        "jane@localhost",
        "jane@example.com\n",
        "jane@example.com\r\nBcc: x@example.net",
        "jane\0@example.com",
        "ja ne@example.com",
        "jane@exa mple.com",
        "jane@@example.com",
        "jane@example..com",
        ".jane@example.com",
        "jane.@example.com",
        "ja..ne@example.com",
        "jane@-example.com",
        "jane@example-.com",
        "jane@ab--cd.example",
        "jane@example.com.",
        "jane@example.9",
        "jane@[127.0.0.1]",
        '"jane doe"@example.com',
        "Jane <jane@example.com>",
        "<jane@example.com>",
        "jane@example.com,john@example.com",
        "jane@exam_ple.com",
        "a" * 65 + "@example.com",
        "jane@" + "a" * 64 + ".com",
        "jane@" + "a." * 130 + "com",
        "jane\u2028@example.com",
        "jane\ud800@example.com",
        "jane@xn--a.example",
        "jane＠example.com",
    ],
)
def test_refused_addresses(text: str) -> None:
    with pytest.raises(Invalid):
        address.check(text)


@pytest.mark.parametrize("value", [None, 5, b"jane@example.com", ["jane@example.com"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(Invalid):
        address.check(value)  # type: ignore[arg-type]


_ALPHABET = "abzAZ09-_.+@!#'%/= \"\\<>()[],:;é\n\0\u2028XxNn"


@given(
    st.one_of(
        st.emails(),
        st.text(_ALPHABET, max_size=40),
        st.from_regex(r"[a-zA-Z0-9.!#_+-]{1,66}@([a-zA-Z0-9-]{1,65}\.){1,4}[a-zA-Z0-9-]{1,65}", fullmatch=True),
        st.from_regex(r"[a-z.]{1,5}@[xn-]{1,4}--[a-z0-9-]{1,8}\.[a-z0-9-]{1,4}", fullmatch=True),
    )
)
def test_the_fast_path_agrees_with_email_validator(text: str) -> None:
    try:
        valid = email_validator.validate_email(text.strip(" "), strict=True, check_deliverability=False)
        expected = f"{valid.local_part}@{valid.ascii_domain.lower()}"
    except (email_validator.EmailNotValidError, UnicodeError):
        expected = None
    try:
        found: str | None = address.check(text)
    except Invalid:
        found = None
    assert found == expected


def test_check_domain() -> None:
    assert address.check_domain("Münch.Example.") == "xn--mnch-0ra.example"
    with pytest.raises(Invalid):
        address.check_domain("a b")


@pytest.mark.parametrize(
    ("domain", "parent", "inside"),
    [
        ("example.com", "example.com", True),
        ("Mail.Example.com", "example.COM", True),
        ("evilexample.com", "example.com", False),
        ("example.com", "mail.example.com", False),
        ("example.com.evil.test", "example.com", False),
        ("example.com", "", False),
    ],
)
def test_same_or_subdomain(domain: str, parent: str, inside: bool) -> None:
    assert address.same_or_subdomain(domain, parent) is inside


def test_parse_list() -> None:
    found = address.parse_list(
        'jane@example.com, "Doe, Jane" <jd@example.com>\nJohn Doe <john@example.com>;a@b.test\r\n'
    )
    assert found == [
        Mailbox("jane@example.com"),
        Mailbox("jd@example.com", "Doe, Jane"),
        Mailbox("john@example.com", "John Doe"),
        Mailbox("a@b.test"),
    ]
    assert address.parse_list(" , ;\n") == []
    for text in ("jane@example.com john@example.com", "nobody", '"open <a@b.test>, c@d.test', "a <b <c@d.test>>"):
        with pytest.raises(Invalid):
            address.parse_list(text)


@given(texts)
def test_parse_list_only_raises_invalid(text: str) -> None:
    with contextlib.suppress(Invalid):
        address.parse_list(text)


@given(st.lists(texts, min_size=1, max_size=4))
def test_names_arrive_and_inject_nothing(names: list[str]) -> None:
    boxes = [Mailbox(f"u{i}@example.com", name) for i, name in enumerate(names)]
    field = headers.listed("To", map(address.format_mailbox, boxes))
    assert field.isascii() and field.endswith(b"\r\n")
    assert all(line and len(line) <= 78 for line in field.split(b"\r\n")[:-1])
    message = message_from_bytes(field + b"Subject: end\r\n\r\n", policy=policy.default)
    assert message.keys() == ["To", "Subject"]
    assert [one.addr_spec for one in message["To"].addresses] == [box.email for box in boxes]
    for one, box in zip(message["To"].addresses, boxes, strict=True):
        # The standard library makes runs of spaces one, and keeps the one between adjacent encoded words.
        expected = headers.one_line(box.name)
        assert "".join(one.display_name.split()) == "".join(expected.split())
        if len(expected.encode()) <= 36:
            assert one.display_name.split() == expected.split()
        printed = address.format_mailbox(box)
        if "=?" in printed:
            assert mime.decoded_words(printed) == f"{expected} <{box.email}>"


@pytest.mark.parametrize("name", TEXTS)
def test_a_printed_mailbox_is_one_line(name: str) -> None:
    printed = address.format_mailbox(Mailbox("jane@example.com", name))
    assert not set(printed) & set("\r\n\0") and printed.isascii()
    assert printed == "jane@example.com" or printed.endswith(" <jane@example.com>")


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("Jane Doe", "Jane Doe <a@example.com>"),
        ("Doe, Jane", '"Doe, Jane" <a@example.com>'),
        ('J "D" \\', '"J \\"D\\" \\\\" <a@example.com>'),
        ("Zoë", "=?utf-8?b?Wm/Dqw==?= <a@example.com>"),
        ("", "a@example.com"),
    ],
)
def test_how_names_are_printed(name: str, printed: str) -> None:
    assert address.format_mailbox(Mailbox("a@example.com", name)) == printed


_PARTS = st.sampled_from(
    ["Jane", " ", "  ", "<", ">", "@", ".", '"', ",", "(", "é", "\t", "a", "friends.test", "X-", "--"]
)


@given(st.lists(_PARTS, max_size=12).map("".join) | st.builds("{} <{}@{}>".format, texts, texts, texts))
def test_the_usual_mailbox_is_the_parsed_one(text: str) -> None:
    usual = address.usual_mailbox(text)
    assert usual is None or usual == address.parse_mailbox(text)


def test_what_is_usual() -> None:
    assert address.usual_mailbox("Jane Doe <jane@Friends.test>") == Mailbox("jane@friends.test", "Jane Doe")
    assert address.usual_mailbox("<INFO@friends.test>") == Mailbox("info@friends.test")
    for text in (
        '"Doe, J" <j@x.test>',
        "jane@friends.test",
        "J\u00f6rg <j@x.test>",
        "J <j@x>",
        "J <j@x.test",
        "a, b <c@d.test>",
    ):
        assert address.usual_mailbox(text) is None
