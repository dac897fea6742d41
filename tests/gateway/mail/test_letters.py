"""Letters as any mail client may write them, and as hostile ones do."""

from __future__ import annotations

from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail import letters


def test_a_letter_with_both_bodies_and_an_attachment() -> None:
    message = EmailMessage()
    message["From"] = "Jane Döe <Jane@friends.test>"
    message["To"] = "hello@shop.test, Bob <bob@friends.test>"
    message["Cc"] = "carl@friends.test"
    message["Subject"] = "Re: Größe\t42"
    message["Message-ID"] = "<own@friends.test>"
    message["In-Reply-To"] = "<one@shop.test>"
    message["References"] = "<zero@shop.test> <one@shop.test>"
    message.set_content("Yes please!\n")
    message.add_alternative("<p>Yes <b>please</b>!</p>", subtype="html")
    message.add_attachment(b"\x00\x01\r\n\n\xff", maintype="application", subtype="pdf", filename="größe.pdf")
    letter = letters.read(message.as_bytes())
    assert (letter.sender.email, letter.sender.name) == ("Jane@friends.test", "Jane Döe")
    assert [box.email for box in letter.to] == ["hello@shop.test", "bob@friends.test"]
    assert [box.email for box in letter.cc] == ["carl@friends.test"]
    assert letter.subject == "Re: Größe 42"
    assert letter.message_id == "own@friends.test"
    assert (letter.in_reply_to, letter.references) == (["one@shop.test"], ["zero@shop.test", "one@shop.test"])
    assert letter.text == "Yes please!\n"
    assert letter.html == "<p>Yes <b>please</b>!</p>\n"
    (enclosure,) = letter.enclosures
    assert (enclosure.filename, enclosure.content_type) == ("größe.pdf", "application/pdf")
    assert enclosure.content == b"\x00\x01\r\n\n\xff"  # not one line end is mended in it


def test_html_alone_is_told_as_text_and_what_the_client_marks_as_quoted_is_known() -> None:
    html = (
        "<style>p {color: red}</style><p>Fine with me.</p>"
        '<div class="gmail_quote"><div class="gmail_attr">On Monday Shop wrote:</div>'
        "<blockquote>Shall we?</blockquote></div>"
    )
    letter = letters.read(b"Content-Type: text/html; charset=utf-8\r\n\r\n" + html.encode())
    assert "Fine with me." in letter.text
    assert "Shall we?" in letter.text
    assert "color" not in letter.text
    assert letter.unquoted_html.strip() == "Fine with me."


def test_names_of_attachments_are_no_paths() -> None:
    for field, name in (
        (b'attachment; filename="../../etc/passwd"', "passwd"),
        (b'attachment; filename="C:\\\\temp\\\\a.exe"', "a.exe"),
        (b"attachment; filename*=utf-8''%E2%82%AC%20rates.txt", "€ rates.txt"),
        (b'attachment; filename*0="lo"; filename*1="ng.txt"', "long.txt"),
        (b'attachment; filename="=?utf-8?B?4oKsLnR4dA==?="', "€.txt"),
        (b'attachment; filename=".."', "attachment-1"),
    ):
        raw = (
            b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: application/octet-stream\r\n'
            b"Content-Disposition: " + field + b"\r\n\r\nx\r\n--b--\r\n"
        )
        assert [one.filename for one in letters.read(raw).enclosures] == [name]


def test_bombs_are_only_long() -> None:
    for html in (b"<div>" * 50_000, b"<table><tr><td>" * 20_000, b"<b" * 100_000, b"&#" * 100_000):
        letter = letters.read(b"Content-Type: text/html\r\n\r\n" + html)
        assert len(letter.text) <= letters.TEXT_MOST
    assert letters.read(b"").text == ""


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"", b"From: ", b"Content-Type: text/html\r\n\r\n", b"References: <"]))
def test_nothing_that_is_sent_raises(rest: bytes, start: bytes) -> None:
    letter = letters.read(start + rest)
    letter.text.encode()
    letter.subject.encode()
