"""Links are found where a browser would see them, by the library and by the scanner alike."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.mail import start_tags

BITS = st.sampled_from([
    '<a href="http://x.y/">', "<", ">", '"', "'", "<!--", "-->", "--!>", "<script>", "</script>", "<a ", "href=", "=",
    "http://z.q", "/", " ", "\n", "<title>", "</title>", "é", '<b title="', "<area href=x>", "<!", "<?", "</", "</a>",
    "<style", "\0", "&amp;", "<p>", "<plaintext>", "<A HREF = 'http://u.v' >",
])  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(BITS, max_size=14).map("".join))
@example('</é><a href="http://x.y/"></ſ>')
def test_the_scanner_finds_what_the_library_finds(text: str) -> None:
    assert start_tags.lolhtml is not None
    assert list(start_tags._scanned(text)) == start_tags._places(text)


@pytest.mark.parametrize(
    "text",
    [
        '<!--[if mso]><a href="https://no.test">x</a><![endif]-->',
        "<script>document.write('<a href=\"https://no.test\">')</script>",
        "<style><a href='https://no.test'></style>",
        "<textarea><a href='https://no.test'></textarea>",
        '<a name="top">no link</a>',
        '<a href="https://no.test',
        "a < b href=https://no.test",
    ],
)
@pytest.mark.parametrize("library", [True, False])
def test_what_is_no_link(text: str, library: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not library:
        monkeypatch.setattr(start_tags, "lolhtml", None)
    assert start_tags.links(text) == []


def test_a_revealed_conditional_is_seen() -> None:
    text = '<!--[if !mso]><!--><a href="https://a.test/">x</a><!--<![endif]-->'
    assert [found["href"].value for found in start_tags.links(text)] == ["https://a.test/"]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("?a=1&amp;b=2", "?a=1&b=2"),
        ("?a=1&copy=2&section=3", "?a=1&copy=2&section=3"),
        ("?a&#61;1&#x26;b", "?a=1&b"),
        ("?a=1&lt;", "?a=1<"),
        ("?a=1&lt", "?a=1<"),
        ("?x=&unknown;", "?x=&unknown;"),
    ],
)
def test_attributes_are_decoded_as_browsers_do(raw: str, value: str) -> None:
    assert start_tags.decoded(raw) == value
