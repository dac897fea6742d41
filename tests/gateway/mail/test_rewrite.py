"""Rewriting changes the links it should and not one byte besides."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail import rewrite
from tests.gateway.mail.test_start_tags import BITS

BASE = "https://track.test/t/c/"
_TRAP = "https://track.test/t/h/hidden"


def _links(text: str, **options: object) -> list[str]:
    chosen: dict[str, object] = {"links": True, "opens": False, "own": "https://track.test/t/"} | options
    compiled = rewrite.compile(text, **chosen)  # type: ignore[arg-type]
    return [gap.target for gap in compiled.gaps] if compiled else []


@settings(max_examples=400, deadline=None)
@given(st.lists(BITS | st.text(max_size=5), max_size=14).map("".join), st.booleans(), st.booleans())
def test_undoing_it_gives_the_original(text: str, opens: bool, trap: bool) -> None:
    text = text.encode("utf-8", "replace").decode()
    compiled = rewrite.compile(text, links=True, opens=opens, trap=trap)
    if compiled is None:
        return
    numbers = iter(range(1000))
    filled = compiled.fill(
        lambda _: f"{BASE}{next(numbers):04d}", lambda: "https://track.test/t/o/pixel", lambda: _TRAP
    )
    links = [gap for gap in compiled.gaps if gap.target]
    for number, gap in enumerate(links):
        assert filled.count(f"{BASE}{number:04d}") == 1
        filled = filled.replace(f"{BASE}{number:04d}", gap.raw)
    filled = filled.replace(rewrite._image("https://track.test/t/o/pixel"), "").replace(rewrite._hidden(_TRAP), "")
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
    filled = compiled.fill(lambda _: "", lambda: "https://t.test/p.gif", str)
    image, rest = filled.removeprefix(text.removesuffix(before)), before
    assert image.startswith('<img src="https://t.test/p.gif"')
    assert image.endswith(">" + rest)


def test_nothing_to_change_is_none() -> None:
    assert rewrite.compile("<p>no link</p>", links=True, opens=False) is None
    assert rewrite.compile('<a href="https://a.test">x</a>', links=False, opens=False) is None


class TestHiddenLink:
    LINK = '<a href="https://a.test/">x</a>'

    @pytest.mark.parametrize(
        "start", ["<html><body>", "<BODY class='x>y' >", "<html><head><style>p{color:red}</style></head><body>"]
    )
    def test_it_stands_before_everything_and_shows_nothing(self, start: str) -> None:
        text = f"{start}<p>{self.LINK}</p></body></html>"
        compiled = rewrite.compile(text, links=True, opens=False, trap=True)
        assert compiled is not None
        filled = compiled.fill(lambda target: target, str, lambda: _TRAP)
        hidden = rewrite._hidden(_TRAP)
        assert filled == start + hidden + text[len(start) :]
        for harmless in ('tabindex="-1"', 'aria-hidden="true"', "display:none!important", "mso-hide:all", "></a>"):
            assert harmless in hidden

    @pytest.mark.parametrize(
        "text",
        [
            f"<p>{LINK}</p>",  # no body that it could stand in
            f"<!-- <body> --><p>{LINK}</p>",
            f"<body><body>{LINK}",
            "<body><p>no link</p></body>",
            f"<style>p:first-child{{margin:0}}</style><body>{LINK}</body>",
            f"<style>a:not(.x) {{}}</style><body>{LINK}</body>",
            f"<style>body > :nth-child(2){{}}</style><body>{LINK}</body>",
            f"<style>a + p{{margin:0}}</style><body>{LINK}</body>",
            "<style media=screen>td:empty{display:none}",
        ],
    )
    def test_where_it_might_show_there_is_none(self, text: str) -> None:
        with_trap = rewrite.compile(text, links=True, opens=True, trap=True)
        assert with_trap == rewrite.compile(text, links=True, opens=True)


class TestPlainText:
    @pytest.mark.parametrize(
        ("text", "urls"),
        [
            ("See https://a.test/x?a=1&b=2.", ["https://a.test/x?a=1&b=2"]),
            (
                '(https://a.test/x), <https://b.test/y> and "http://c.test"!',
                ["https://a.test/x", "https://b.test/y", "http://c.test"],
            ),
            (
                "https://en.test/wiki/Foo_(bar) [https://a.test/z]",
                ["https://en.test/wiki/Foo_(bar)", "https://a.test/z"],
            ),
            ("HTTPS://A.TEST/ü\r\nhttps://a.test/next", ["HTTPS://A.TEST/ü", "https://a.test/next"]),
            ("mailto:a@b.test www.a.test ftp://a.test xhttps://a.test", []),
            ("https://a.test/{{id}} %unsubscribe_url% https://track.test/t/c/abc", []),
            ("https://" + "a" * 3000 + ".test https:// https://[broken", []),
        ],
    )
    def test_where_its_links_are(self, text: str, urls: list[str]) -> None:
        compiled = rewrite.compile_plain(text, own="https://track.test/t/")
        assert ([gap.target for gap in compiled.gaps] if compiled else []) == urls

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.sampled_from(["https://a.test/", "http://", " ", "(", ")", ".", "\r\n", "<", ">", "ü", "x"])).map(
            "".join
        )
    )
    def test_undoing_it_gives_the_original(self, text: str) -> None:
        compiled = rewrite.compile_plain(text)
        if compiled is not None:
            numbers = iter(range(1000))
            filled = compiled.fill(lambda _: f"{BASE}{next(numbers):04d}", str, str)
            for number, gap in enumerate(compiled.gaps):
                filled = filled.replace(f"{BASE}{number:04d}", gap.raw)
            assert filled == text
