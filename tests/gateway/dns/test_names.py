from __future__ import annotations

import pytest

from gateway import errors
from gateway.dns import names
from gateway.dns.names import sender_name

LONGEST = ".".join(["a" * 49] * 5 + ["com"])  # 253 characters


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("example.com", "example.com"),
        ("  Mail.Example.COM. ", "mail.example.com"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("bücher。example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("faß.de", "xn--fa-hia.de"),
        ("example.co.uk", "example.co.uk"),
        ("someone.github.io", "someone.github.io"),
        ("r3---sn.example.com", "r3---sn.example.com"),
        ("a" * 63 + ".example.com", "a" * 63 + ".example.com"),
        (LONGEST, LONGEST),
    ],
)
def test_kept_as_lower_case_a_labels(text: str, name: str) -> None:
    assert sender_name(text) == name
    assert sender_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "com",
        "co.uk",
        "github.io",
        "localhost",
        "xn--p1ai",
        "192.0.2.1",
        "[192.0.2.1]",
        "2001:db8::1",
        "example.123",
        "a..example.com",
        ".example.com",
        "example.com..",
        "-a.example.com",
        "a-.example.com",
        "a b.example.com",
        "under_score.example.com",
        "*.example.com",
        "jane@example.com",
        "https://example.com",
        "example.com/path",
        "example.com:25",
        "xn--zzzzzz.example",
        "exam\x00ple.com",
        "example.com\r\nX: y",
        "\ud800.example",
        "a" * 64 + ".example.com",
        LONGEST.replace("com", "info"),
        "ü" * 60 + ".example",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(errors.InvalidDomainName):
        sender_name(text)


@pytest.mark.parametrize(
    ("domain", "wanted"),
    [
        ("Example.NET", "example.net"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("r3---a.example", "r3---a.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
    ],
)
def test_any_domain_as_a_labels(domain: str, wanted: str) -> None:
    assert names.a_labels(domain) == wanted


def test_what_idna_does_not_allow_is_no_domain() -> None:
    with pytest.raises(UnicodeError):
        names.a_labels("bü\u2024cher.example")
