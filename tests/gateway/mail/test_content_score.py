"""Scoring of content: each rule at its place, good mail left in peace, bombs without harm."""

from __future__ import annotations

import resource
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import content_links, content_score
from gateway.mail.content_score import Content

GOOD = """<html lang="en"><head><title>Your order</title></head><body>
<div style="display:none">Your order 7 is on its way</div>
<p>Dear Zoë, thank you for your order. We have sent it today, and it should be with you on Thursday.
You can <a href="https://shop.test/orders/7">follow the parcel</a> or <a href="https://shop.test/help">ask us</a>.</p>
<p><img src="https://shop.test/logo.png" alt="The Shop" width="80" height="20"></p>
<p><a href="https://shop.test/u">Unsubscribe</a></p></body></html>"""


def _rules(**content: object) -> dict[str, float]:
    found = content_score.score(Content(**({"subject": "Your order", "text": "Hello there."} | content)))  # type: ignore[arg-type]
    return {finding.rule: finding.points for finding in found.findings}


def test_good_mail_is_left_in_peace() -> None:
    found = content_score.score(Content("Your order 7 is on its way", GOOD, "Thank you, it is on its way.", bulk=True))
    assert (found.score, found.grade, found.findings) == (100, "good", [])


@pytest.mark.parametrize(
    ("html", "rule"),
    [
        ('<a href="https://evil.test/x">https://bank.test/login</a>', "link_mismatch"),
        ('<a href="https://bit.ly/x">offer</a>', "url_shortener"),
        ('<a href="http://shop.test/">shop</a>', "link_not_https"),
        ('<a href="https://192.0.2.1/">shop</a>', "link_to_address"),
        ('<a href="https://bank.test@evil.test/">shop</a>', "link_with_user"),
        ('<a href="https://xn--80ak6aa92e.test/">shop</a>', "link_idn"),
        ('<a href="javascript:alert(1)">shop</a>', "link_scheme"),
        ('<a href="https://shop.test/">Click here</a>', "link_words"),
        ('<a href="https://shop.test/"></a>', "link_empty"),
        ("<script>x()</script>", "active_content"),
        ('<p onclick="x()">a</p>', "active_content"),
        ('<img src="https://shop.test/a.png">', "image_alt"),
        ('<img alt="" src="data:image/png;base64,AAAA">', "image_data"),
        ('<img alt="x" src="https://shop.test/a.png">', "image_only"),
        ('<p style="font-size:6px">terms</p>', "small_text"),
        ('<p style="color:#fff;background:#FFF">casual words</p>', "hidden_text"),
        (f'<div style="display: none"><b>{"word " * 80}</b></div>', "hidden_text"),
        ("<div><div><div><span>x", "broken_html"),
        (f"<p>{'x' * 110_000}</p>", "html_size"),
        ('<a href="https://shop.test/">a</a>' * 9, "many_links"),
        ("<p>x</p>", "html_lang"),
        ("<p>x</p>", "html_title"),
    ],
)
def test_html(html: str, rule: str) -> None:
    assert rule in _rules(html=html)
    assert rule not in _rules(html=GOOD)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ({"subject": ""}, "subject_empty"),
        ({"subject": "BUY THIS TODAY"}, "subject_capitals"),
        ({"subject": "Now!!!"}, "subject_shouting"),
        ({"subject": "x" * 90}, "subject_long"),
        ({"subject": "Re: your account"}, "subject_reply"),
        ({"subject": "You have won a car"}, "subject_phrase"),
        ({"text": "This is risk-free for you"}, "spam_phrase"),
        ({"text": "Today only!!!"}, "shouting"),
        ({"text": "EVERYTHING IN HERE IS WRITTEN IN CAPITALS, " * 3}, "capitals"),
        ({"text": "", "html": GOOD}, "no_text_part"),
        ({"text": ""}, "empty"),
        ({"bulk": True}, "no_unsubscribe"),
        ({"attachments": ["invoice.pdf.exe"]}, "attachment_kind"),
        ({"size": 20 * 1024 * 1024}, "message_size"),
    ],
)
def test_the_rest(content: dict[str, object], rule: str) -> None:
    assert rule in _rules(**content)
    assert rule not in _rules(html=GOOD, has_unsubscribe=True)


def test_a_finding_tells_its_place_and_what_mends_it() -> None:
    html = GOOD.replace("https://shop.test/help", "https://bit.ly/x")
    (finding,) = content_score.score(Content("Your order", html, "x", bulk=True)).findings
    assert (finding.rule, finding.place.part, finding.place.line) == ("url_shortener", "html", 4)
    assert "bit.ly" in finding.place.snippet
    assert finding.fix


def test_many_of_one_kind_cost_no_more_than_three() -> None:
    one, many = (_rules(html=GOOD + '<a href="https://bit.ly/x">an offer</a>' * n)["url_shortener"] for n in (1, 50))
    assert (one, many) == (10, 30)


@pytest.mark.parametrize(
    ("host", "owner"),
    [("a.b.shop.test", "shop.test"), ("x.shop.co.uk", "shop.co.uk"), ("shop.de", "shop.de"), ("test", "test")],
)
def test_owner_of_a_host(host: str, owner: str) -> None:
    assert content_links.owner(host) == owner


BOMBS = {
    "nested": "<div>" * 400_000,
    "nested_hidden": '<div style="display:none">' * 80_000 + "x" * 1000,
    "attribute": f'<p title="{"x" * 2_000_000}">a</p>',
    "attributes": f"<p {' '.join(f'a{n}=1' for n in range(200_000))}>a</p>",
    "open_attribute": '<a href="' + "x" * 2_000_000,
    "open_tags": "<a " * 600_000,
    "lone_brackets": "<" * 2_000_000,
    "comments": "<!--" * 500_000,
    "comment_ends": "<!-- -->" * 250_000,
    "links": '<a href="https://bit.ly/x">https://bank.test</a>' * 40_000,
    "unclosed_links": '<a href="https://shop.test/">' * 70_000,
    "entities": "&amp;" * 400_000,
    "entity": "&#" + "9" * 2_000_000,
    "styles": '<p style="' + "color:#fff;" * 180_000 + '">a</p>',
    "style_digits": '<p style="font-size:' + "9" * 2_000_000 + '">a</p>',
    "spaces": "<p" + " " * 2_000_000 + ">",
    "raw": "<style>" * 280_000,
    "ends": "</div>" * 330_000,
    "words": "free money!!! " * 140_000,
    "letters": "a" * 2_000_000,
    "hosts": '<a href="https://' + "a." * 900_000 + 'test/">' + "a." * 100_000 + "</a>",
    "unicode": "\u202e\U0001f4a3" * 900_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_do_no_harm(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    found = content_score.score(Content("x", BOMBS[name], BOMBS[name]))
    # Far above what it takes, far below what trouble would take.
    assert time.process_time() - started < 8
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 512 * 1024
    assert 0 <= found.score <= 100


@given(st.text(alphabet=st.sampled_from("<>/a =\"'-!?&#;:x \n\0é") | st.characters(), max_size=300))
def test_anything_is_scored(text: str) -> None:
    found = content_score.score(Content(text, text, text, bulk=True))
    assert 0 <= found.score <= 100
