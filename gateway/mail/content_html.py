"""The HTML part of a message as spam filters and readers see it: one pass over its tags, no tree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.mail import content_links
from gateway.mail.content_findings import Finding, Notes, Place
from gateway.mail.start_tags import Attribute, Kind, Token, decoded, tokens

CLIPPED_AT = 102 * 1024
"""Bytes of HTML after which Gmail hides the rest."""

_PREHEADER = 200  # hidden characters at the start that are a preview text and no trick
_FEW_WORDS, _WORDS_A_LINK = 20, 8
_ACTIVE = frozenset("script form iframe object embed applet base".split())
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_OPTIONAL = frozenset("html head body p li td th tr tbody thead tfoot dt dd option colgroup".split())
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|(?<![-\w])opacity\s*:\s*0(?:\.0+)?(?![.\d])"
    r"|font-size\s*:\s*[01](?:px|pt)?(?![.\d\w])|max-height\s*:\s*0(?:px)?(?![.\d\w])",
    re.IGNORECASE,
)
_TINY = re.compile(r"font-size\s*:\s*([0-9]+(?:\.[0-9]+)?)px", re.IGNORECASE)
_COLOUR = re.compile(r"(?<![-\w])color\s*:\s*([#\w]+)", re.IGNORECASE)
_GROUND = re.compile(r"background(?:-color)?\s*:\s*([#\w]+)", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_LEAVING = re.compile(
    r"unsub|opt.?out|abmeld|abbestell|austrag|d[ée]s(?:in|a)(?:scri|bon)|darse de baja|cancelar|disiscri|cancella"
    r"|uitschrijv|afmeld|abonelik",
    re.IGNORECASE,
)
_DEEP = 256


_HIDES = Finding(
    "hidden_text", 12, f"More than {_PREHEADER} characters are hidden from the reader.",
    "Show them, or take them out; a preview text is short.", Place("html"),
)  # fmt: skip


_EMPTY_LINK = Finding(
    "link_empty", 2, "A link has nothing to click on.", "Give it words, or take it out.", Place("html")
)


@dataclass
class Seen:
    """What the pass has counted; `words` are those that a reader sees."""

    notes: Notes = field(default_factory=Notes)
    words: int = 0
    links: int = 0
    images: int = 0
    leaves: bool = False  # a link to unsubscribe
    text: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Link:
    start: int
    end: int
    href: str
    words: list[str] = field(default_factory=list)
    image: bool = False


def look(html: str) -> Seen:
    """Everything that is found in the HTML; time and memory grow with its length only."""
    seen = Seen()
    hidden: list[tuple[str, int]] = []  # elements that hide what is in them, with where they began
    unseen = 0
    open_tags: Counter[str] = Counter()
    link: _Link | None = None
    title = lang = False
    stray = 0
    told = False
    for token in tokens(html):
        if token.kind is Kind.TEXT:
            words = decoded(html[token.start : token.end])
            if hidden:
                unseen += len(words.strip())
                if unseen > _PREHEADER and not told:
                    told = True
                    seen.notes.add(_HIDES, html, hidden[0][1])
                continue
            seen.words += len(_WORD.findall(words))
            if len(seen.text) < 5000:
                seen.text.append(words)
            if link is not None:
                link.words.append(words)
        elif token.kind is Kind.START:
            lang = lang or (token.name == "html" and "lang" in token.attributes)
            title = title or token.name == "title"
            for finding in _of_tag(token):
                seen.notes.add(finding, html, token.start, token.end)
            if token.name == "img":
                seen.images += not _is_pixel(token.attributes)
                if link is not None:
                    link.image = True
            elif token.name == "a" and "href" in token.attributes:
                if link is not None:
                    _close(html, link, seen)
                link = _Link(token.start, token.end, token.attributes["href"].value)
            if token.name not in _VOID:
                open_tags[token.name] += 1
                if (hidden or _hides_itself(token.attributes)) and len(hidden) < _DEEP:
                    hidden.append((token.name, token.start))
        elif token.kind is Kind.END:
            if token.name == "a" and link is not None:
                _close(html, link, seen)
                link = None
            if hidden and hidden[-1][0] == token.name:
                hidden.pop()
            if open_tags[token.name] > 0:
                open_tags[token.name] -= 1
            elif token.name not in _VOID and token.name != "p":
                stray += 1
    if link is not None:
        _close(html, link, seen)
    for finding in _of_whole(html, seen, title=title, lang=lang, stray=stray, open_tags=open_tags):
        seen.notes.add(finding)
    return seen


def _of_tag(token: Token) -> Iterator[Finding]:
    where = Place("html")
    if token.name in _ACTIVE:
        yield Finding(
            "active_content", 15, f"<{token.name}> does nothing in mail and is a mark of fraud.",
            "Take it out and link to a page instead.", where,
        )  # fmt: skip
    if any(name.startswith("on") and len(name) > 4 for name in token.attributes):
        yield Finding("active_content", 15, "An element has an event handler.", "Take it out.", where)
    if token.name == "img" and not _is_pixel(token.attributes):
        if "alt" not in token.attributes:
            yield Finding(
                "image_alt", 1, "An image has no alternative text.",
                'Say with alt="…" what it shows; alt="" for decoration.', where,
            )  # fmt: skip
        if (source := token.attributes.get("src")) is not None and source.raw[:5].lower() == "data:":
            yield Finding(
                "image_data", 3, "An image stands in the HTML as a data: URL, which most readers do not show.",
                "Attach it inline, or link to it.", where,
            )  # fmt: skip
    style = token.attributes.get("style")
    if style is not None:
        tiny = _TINY.search(style.raw)
        if tiny is not None and 1 < float(tiny[1]) < 9:
            yield Finding("small_text", 1, f"Text of {tiny[1]} px is hard to read.", "Use 12 px or more.", where)
        colour, ground = _COLOUR.search(style.raw), _GROUND.search(style.raw)
        if colour is not None and ground is not None and colour[1].lower() == ground[1].lower():
            yield Finding(
                "hidden_text", 12, f"Text has the colour of its background ({colour[1]}).",
                "Show it, or take it out.", where,
            )  # fmt: skip


def _hides_itself(attributes: Mapping[str, Attribute]) -> bool:
    style = attributes.get("style")
    return "hidden" in attributes or (style is not None and _HIDING.search(style.raw) is not None)


def _is_pixel(attributes: Mapping[str, Attribute]) -> bool:
    return all(
        (found := attributes.get(name)) is not None and found.value in ("0", "1") for name in ("width", "height")
    )


def _close(html: str, link: _Link, seen: Seen) -> None:
    seen.links += 1
    words = "".join(link.words)
    if _LEAVING.search(words[:300]) or _LEAVING.search(link.href[:2000]):
        seen.leaves = True
    for finding in content_links.check(link.href, words[:500]):
        seen.notes.add(finding, html, link.start, link.end)
    if not words.strip() and not link.image:
        seen.notes.add(_EMPTY_LINK, html, link.start, link.end)


def _of_whole(
    html: str, seen: Seen, *, title: bool, lang: bool, stray: int, open_tags: Counter[str]
) -> Iterator[Finding]:
    whole = Place("html")
    size = len(html.encode("utf-8", "replace"))
    if size > CLIPPED_AT:
        yield Finding(
            "html_size", 8, f"The HTML has {size // 1024} kB; Gmail cuts off after {CLIPPED_AT // 1024}.",
            "Shorten it: the pixel and the way to unsubscribe are at its end.", whole,
        )  # fmt: skip
    if seen.images and seen.words < _FEW_WORDS:
        yield Finding(
            "image_only", 15, f"The mail is {seen.images} image(s) with {seen.words} words.",
            "Write what the images say: many readers block them, filters cannot read them.", whole,
        )  # fmt: skip
    if seen.links > 5 and seen.words < seen.links * _WORDS_A_LINK:
        yield Finding(
            "many_links", 5, f"There are {seen.links} links for {seen.words} words.", "Use fewer links.", whole
        )
    left = sum(n for name, n in open_tags.items() if name not in _OPTIONAL)
    if left + stray > 2:
        yield Finding(
            "broken_html", 4, f"{left} elements are not closed, {stray} are closed that were not open.",
            "Have the HTML checked by a validator.", whole,
        )  # fmt: skip
    if not lang:
        yield Finding("html_lang", 0.5, "The language is not said.", 'Write <html lang="en">.', whole)
    if not title:
        yield Finding("html_title", 0.5, "There is no <title>.", "Say in it what the mail is about.", whole)
