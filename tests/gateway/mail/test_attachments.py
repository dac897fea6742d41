"""Attachments: names, types and content ids are clean before anything is stored."""

from __future__ import annotations

from email import message_from_bytes, policy

import pytest

from gateway.errors import Invalid
from gateway.mail import attachments
from gateway.mail.draft import Attachment


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("a\r\nContent-Type: text/html\r\n\r\n", "a Content-Type: text_html"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("Größe ✓.pdf", "Größe ✓.pdf"),
        ("", "attachment"),
        ("\0", "attachment"),
    ],
)
def test_filenames(given: str, clean: str) -> None:
    assert attachments.attachment(given, "a/b", b"").filename == clean


@pytest.mark.parametrize(
    ("given", "kind", "parameters"),
    [
        ("image/PNG", "image/png", []),
        ("text/calendar; method=REQUEST; charset=UTF-8", "text/calendar", ["method=REQUEST", "charset=UTF-8"]),
        ('text/csv; header="a b"; name="x.csv"', "text/csv", ['header="a b"']),
        ("", "application/octet-stream", []),
        ("message/rfc822", "application/octet-stream", []),
        ("multipart/mixed; boundary=x", "application/octet-stream", []),
        ("text/plain\r\nBcc: x", "application/octet-stream", []),
        ("png", "application/octet-stream", []),
    ],
)
def test_types(given: str, kind: str, parameters: list[str]) -> None:
    assert attachments.clean_type(given) == (kind, parameters)


@pytest.mark.parametrize(
    ("filename", "content_type", "content_id"),
    [
        ("a" * 256, "a/b", ""),
        ("a", "png", ""),
        ("a", "a/b\r\nX: y", ""),
        ("a", "a/b", "has space"),
        ("a", "a/b", "a\r\nb"),
        ("a", "a/b", "a>b"),
        ("a", "a/b", "é"),
        ("a", "a/b", "a" * 251),
    ],
)
def test_refusals(filename: str, content_type: str, content_id: str) -> None:
    with pytest.raises(Invalid):
        attachments.attachment(filename, content_type, b"", content_id=content_id)


def test_a_checked_attachment() -> None:
    made = attachments.attachment("a.png", "image/png", b"x", inline=True, content_id="<logo@x>")
    assert made == Attachment("a.png", "image/png", b"x", True, "logo@x")
    assert attachments.attachment("a.ics", "text/calendar; method=REQUEST", b"").content_type == (
        "text/calendar; method=REQUEST"
    )


@pytest.mark.parametrize(
    "name", ["a.pdf", 'q"uo\\te.pdf', "é" * 200 + ".pdf", "a" * 250, "日本 語.pdf", "100%.txt", "a'b.txt"]
)
def test_any_name_comes_back(name: str) -> None:
    field = attachments.fields(Attachment(name, "application/pdf", b""))
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))
    message = message_from_bytes(field + b"\r\n", policy=policy.default)
    assert message.get_filename() == attachments.clean_filename(name)
