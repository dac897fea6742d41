"""Rewriting changes the links it should and not one byte besides."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail import rewrite
from tests.gateway.mail.test_start_tags import BITS

BASE = "https://track.test/t/c/"


def _links(text: str, **options: object) -> list[str]:
    chosen: dict[str, object] = {"links": True, "opens": False, "own": "https://track.test/t/"} | options
    compiled = rewrite.compile(text, **chosen)  # type: ignore[arg-type]
    return [gap.target for gap in compiled.gaps] if compiled else []


@settings(max_examples=400, deadline=None)
@given(st.lists(BITS | st.text(max_size=5), max_size=14).map("".join), st.booleans())
def test_undoing_it_gives_the_original(text: str, opens: bool) -> None:
    text = text.encode("utf-8", "replace").decode()
    compiled = rewrite.compile(text, links=True, opens=opens)
    if compiled is None:
        return
    numbers = iter(range(1000))
    filled = compiled.fill(lambda _: f"{BASE}{next(numbers):04d}", lambda: "https://track.test/t/o/pixel")
    links = [gap for gap in compiled.gaps if gap.target]
    for number, gap in enumerate(links):
        assert filled.count(f"{BASE}{number:04d}") == 1
        filled = filled.replace(f"{BASE}{number:04d}", gap.raw)
    filled = filled.replace(rewrite._image("https://track.test/t/o/pixel"), "")
    assert filled == text


@pytest.mark.parametrize(
    "href",
    [
        "mailto:a@b.test", "tel:+1", "#top", "cid:logo", "data:text/html,x", "javascript:alert(1)", "/relative", "",
        "https://a.test/{{id}}", "https://a.test/%unsubscribe_url%", "*|UNSUB|*", "%unsubscribe_url%", "ftp://a.test",
        "https://track.test/t/c/xyz", "https:///nohost", "http://[broken", "https://a.test/" + "x" * 2000,
        "https:\\\\a.test", "[[link]]",
    ],
)  # fmt: skip
def test_what_stays_as_it_is(href: str) -> None:
    assert _links(f'<a href="{href}">x</a>') == []


@pytest.mark.parametrize("attribute", [
    'data-commandpost-track="off"', "data-commandpost-track=false", 'disable-tracking="true"', "disable-tracking",
    'clicktracking="off"', "data-pm-no-track", "DATA-TRACK='no'",
])  # fmt: skip
def test_a_link_may_opt_out(attribute: str) -> None:
    assert _links(f'<a {attribute} href="https://a.test/">x</a>') == []
    assert _links('<a data-commandpost-track="on" disable-tracking=false href="https://a.test/">x</a>') == [
        "https://a.test/"
    ]


def test_targets_are_what_a_browser_would_ask_for() -> None:
    text = "<a href='  HTTPS://A.test/\n?a=1&amp;b=ü '>x</a><AREA HREF=http://b.test/x>"
    assert _links(text) == ["HTTPS://A.test/?a=1&b=ü", "http://b.test/x"]


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("<p>x</p></body></html>", "</body></html>"),
        ("<p>x</p>", ""),
        ("<p>x</p></BODY >\n", "</BODY >\n"),
        ("<p>x</p><!-- </body> -->", ""),
    ],
)
def test_the_pixel_stands_at_the_end_of_the_body(text: str, before: str) -> None:
    compiled = rewrite.compile(text, links=True, opens=True)
    assert compiled is not None
    filled = compiled.fill(lambda _: "", lambda: "https://t.test/p.gif")
    image, rest = filled.removeprefix(text.removesuffix(before)), before
    assert image.startswith('<img src="https://t.test/p.gif"')
    assert image.endswith(">" + rest)


def test_nothing_to_change_is_none() -> None:
    assert rewrite.compile("<p>no link</p>", links=True, opens=False) is None
    assert rewrite.compile('<a href="https://a.test">x</a>', links=False, opens=False) is None
