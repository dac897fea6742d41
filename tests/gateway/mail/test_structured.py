"""Messages taken apart: what the composer made comes out as it went in, and what cannot be told is refused."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import compose, structured
from gateway.mail.attachments import attachment
from gateway.mail.draft import Attachment, Mailbox
from gateway.mail.structured import Unsupported, take_apart

_WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=60)
_TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\0"), max_size=300)
_NAMES = _WORDS.map(str.strip).filter(bool).filter(lambda name: "  " not in name)
_BOXES = st.builds(Mailbox, st.sampled_from(["a@shop.test", "jane.doe+x@xn--bcher-kva.test"]), _NAMES | st.just(""))
_PARTS = st.builds(
    lambda name, content, inline, number: attachment(
        name, "application/octet-stream", content, inline=inline, content_id=f"{number}@shop.test" if inline else ""
    ),
    _NAMES, st.binary(max_size=50), st.booleans(), st.integers(0, 99),
)  # fmt: skip
_FIELDS = st.text(string.ascii_letters + string.digits + " <>:/.-_=", min_size=1, max_size=200)


def _folded(text: str) -> str:
    return " ".join(text.split())


@given(
    sender=_BOXES, to=st.lists(_BOXES, max_size=3), cc=st.lists(_BOXES, max_size=2),
    reply_to=st.lists(_BOXES, max_size=2), subject=_NAMES, html=_TEXTS,
    text=_TEXTS | st.none(), parts=st.lists(_PARTS, max_size=3), value=_FIELDS,
)  # fmt: skip
def test_what_was_composed_comes_out(
    sender: Mailbox, to: list[Mailbox], cc: list[Mailbox], reply_to: list[Mailbox], subject: str, html: str,
    text: str | None, parts: list[Attachment], value: str,
) -> None:  # fmt: skip
    message = compose.render(
        body=compose.build_body(html, text, parts), message_id="1@shop.test", date_ms=0, sender=sender, to=to, cc=cc,
        reply_to=reply_to, subject=subject, headers=[("X-Any", value.strip() or "x")],
    )  # fmt: skip
    found = take_apart(message)
    assert [found.sender, *found.to, *found.cc, *found.reply_to] == [sender, *to, *cc, *reply_to]
    assert found.subject == subject
    whole = not parts and text is None
    assert (found.html or "").removesuffix("\n" if whole and not html.endswith("\n") else "") == html
    assert found.text == text
    assert sorted(map(repr, found.attachments)) == sorted(map(repr, parts))
    assert _folded(dict(found.headers)["X-Any"]) == _folded(value.strip() or "x")


HEAD = b"From: a@shop.test\r\nTo: jane@friends.test\r\nSubject: Hello\r\n"


def _multi(kind: str, *parts: bytes) -> bytes:
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts)
    return f"Content-Type: multipart/{kind}; boundary=x\r\n\r\n".encode() + body + b"--x--\r\n"


TEXT, HTML = b"Content-Type: text/plain\r\n\r\nhi", b"Content-Type: text/html\r\n\r\n<p>hi</p>"
PNG = b"Content-Type: image/png; name=l.png\r\nContent-ID: <l@x>\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC"


class TestForeign:
    """Messages that others composed."""

    def test_an_image_related_to_html(self) -> None:
        found = take_apart(HEAD + _multi("related", HTML, PNG))
        assert found.html == "<p>hi</p>"
        assert found.attachments == [Attachment("l.png", "image/png", b"\x00\x01\x02", True, "l@x")]

    def test_related_around_alternatives(self) -> None:
        inner = _multi("alternative", TEXT, HTML).replace(b"=x", b"=y").replace(b"--x", b"--y")
        found = take_apart(HEAD + _multi("related", inner, PNG))
        assert (found.text, found.html, len(found.attachments)) == ("hi", "<p>hi</p>", 1)

    def test_a_text_that_says_it_is_inline(self) -> None:
        found = take_apart(HEAD + _multi("mixed", b"Content-Disposition: inline\r\n" + TEXT))
        assert (found.text, found.attachments) == ("hi", [])

    def test_a_text_that_is_attached(self) -> None:
        part = b"Content-Disposition: attachment; filename*=utf-8''%C3%BC.txt\r\n" + TEXT
        assert take_apart(HEAD + _multi("mixed", TEXT, part)).attachments[0].filename == "ü.txt"

    def test_trace_and_signatures_are_left_to_whoever_builds_it(self) -> None:
        trace = (
            b"DKIM-Signature: v=1; b=x;\r\n y\r\nReceived: from a\r\n by b\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\n"
        )
        found = take_apart(trace + HEAD + b"MIME-Version: 1.0\r\nX-Mine: 1\r\n" + TEXT)
        assert found.headers == [("X-Mine", "1")]

    def test_the_charset_of_an_attached_text_is_told(self) -> None:
        part = "Content-Type: text/csv; charset=utf-8\r\nContent-Disposition: attachment; filename=a.csv\r\n\r\nä;ö"
        assert take_apart(HEAD + _multi("mixed", TEXT, part.encode())).attachments[0].content_type == (
            "text/csv; charset=utf-8"
        )

    @pytest.mark.parametrize(
        ("message", "what"),
        [
            (b"To: jane@friends.test\r\n\r\nhi", "From"),
            (b"From: a@shop.test, b@shop.test\r\n\r\nhi", "not one mailbox"),
            (b"From: a@shop.test\r\nFrom: b@shop.test\r\n\r\nhi", "twice"),
            (b"From: a@shop.test\r\nTo: Friends: jane@x.test, joe@x.test;\r\n\r\nhi", "group"),
            (b"From: a@shop.test\r\nTo: jane\r\n\r\nhi", "cannot be read"),
            (b"From: a@shop.test\r\nTo: " + b"jane@x.test, " * 2000 + b"a@x.test\r\n\r\nhi", "characters"),
            (HEAD + b"Resent-From: x@y.test\r\n" + TEXT, "resent-from"),
            (HEAD + "X-Zoë: ë\r\n".encode()[:2] + "Any: ë\r\n".encode() + TEXT, "not ASCII"),
            (HEAD + b"Content-Description: x\r\n" + TEXT, "content-description"),
            (HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n\xff\xfe", "not in its charset"),
            (HEAD + b"Content-Type: text/plain; charset=utf-7\r\n\r\n+AGE-", "utf-7"),
            (HEAD.replace(b"Hello", b"=?koi8-r?B?8Q==?=") + TEXT, "koi8-r"),
            (HEAD + b"Content-Transfer-Encoding: uuencode\r\n\r\nhi", "uuencode"),
            (HEAD + _multi("alternative", HTML, TEXT), "better than HTML"),
            (HEAD + _multi("alternative", TEXT, HTML, b"Content-Type: text/x-amp-html\r\n\r\n<p>"), "x-amp-html"),
            (HEAD + _multi("mixed", TEXT, HTML, TEXT), "second body"),
            (HEAD + _multi("mixed", TEXT, _multi("mixed", TEXT)), "second body"),
            (HEAD + _multi("signed", TEXT, TEXT), "multipart/signed"),
            (HEAD + _multi("mixed", *[PNG] * 60), "more than 50 parts"),
            (HEAD + _multi("mixed"), "without parts"),
            (HEAD + _multi("mixed", PNG.replace(b"; name=l.png", b"")), "without a name"),
            (HEAD + _multi("related", TEXT, PNG), "no HTML"),
            (HEAD + _multi("mixed", TEXT, b"Content-Disposition: form-data\r\n" + PNG), "form-data"),
            (HEAD + _multi("mixed", PNG), "without a text"),
            (HEAD + b"Content-Type: multipart/mixed\r\n\r\nhi", "multipart/mixed"),
        ],
    )
    def test_what_cannot_be_told_is_refused(self, message: bytes, what: str) -> None:
        with pytest.raises(Unsupported) as caught:
            take_apart(message)
        assert what in caught.value.what

    @given(
        st.binary(max_size=400)
        | st.lists(st.sampled_from([HEAD, TEXT, HTML, PNG, b"--x", b"\r\n", b"=?"])).map(b"".join)
    )
    def test_hostile_bytes_are_taken_apart_or_refused(self, raw: bytes) -> None:
        with contextlib.suppress(Unsupported):
            assert isinstance(take_apart(HEAD + raw), structured.Structured)

    def test_depth_ends(self) -> None:
        message = TEXT
        for level in range(12):
            message = _multi("mixed", message).replace(b"=x;", b"=x").replace(b"x", f"b{level}".encode())
        with pytest.raises(Unsupported):
            take_apart(HEAD + message)
