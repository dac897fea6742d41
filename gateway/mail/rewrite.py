"""HTML whose links lead over the tracking host: compiled once, filled in for each delivery."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.mail import start_tags
from gateway.mail.start_tags import Attribute

URL_MOST = 2000
"""Bytes of a target; a longer link stays as it is, because the one in its place could be too long for a server."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{%|%\}|\[\[|\]\]|\*\||\|\*|\$\{|<%|%>|%[A-Za-z]+_[A-Za-z_]+%|%recipient")
_EDGES = "".join(map(chr, range(33)))
_GONE = str.maketrans("", "", "\t\r\n")  # what browsers take out of a URL (WHATWG URL §4.4)
_HTTP = re.compile(r"https?://", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
_PLAIN_URL = re.compile(r"\bhttps?://[^\s<>\"\x00-\x1f\x7f]+", re.IGNORECASE)
_CLOSING = {")": "(", "]": "[", "}": "{"}
_STYLE = re.compile(r"<style\b[^>]*>(.*?)(?:</style|\Z)", re.IGNORECASE | re.DOTALL)
_COUNTING = re.compile(r":(?:first|last|only|nth|empty|has|not)\b|[+~](?![^{]*\})", re.IGNORECASE)
_OFF = ("off", "false", "no", "0")

OPT_OUT: dict[str, Callable[[str], bool]] = {
    "data-commandpost-track": lambda value: value in _OFF,
    "data-track": lambda value: value in _OFF,
    "clicktracking": lambda value: value in _OFF,
    "disable-tracking": lambda value: value not in _OFF,
    "data-pm-no-track": lambda value: value not in _OFF,
}
"""Attributes that keep a link as it is, ours first, then those of mail that was written for others."""


LINK, PIXEL, TRAP = "link", "pixel", "trap"
"""What is filled in: a link of ours for one of theirs, the picture that tells of opens, a link that nobody sees."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Where something is filled in; of a link its target and the raw text in its place."""

    target: str
    raw: str
    what: str = LINK


@dataclass(frozen=True, slots=True)
class Compiled:
    """`pieces` of the text, one more than `gaps` between them."""

    pieces: tuple[str, ...]
    gaps: tuple[Gap, ...]

    def fill(self, link: Callable[[str], str], pixel: Callable[[], str], trap: Callable[[], str]) -> str:
        """The text with `link(target)` in place of each target, `pixel()` and `trap()` as the addresses of these.

        All give URLs without quotes, spaces, `<`, `>` and `&`.
        """
        makers: dict[str, Callable[[Gap], str]] = {
            LINK: lambda gap: link(gap.target),
            PIXEL: lambda _: _image(pixel()),
            TRAP: lambda _: _hidden(trap()),
        }
        out = [self.pieces[0]]
        for gap, piece in zip(self.gaps, self.pieces[1:], strict=True):
            out += (makers[gap.what](gap), piece)
        return "".join(out)


def compile(text: str, *, links: bool, opens: bool, own: str = "", trap: bool = False) -> Compiled | None:
    """Where `text` is to be changed; None where nowhere. Links below the URL `own` are left as they are.

    `trap` puts a link that nobody sees before all others, where there are any and it changes nothing else.
    """
    gaps: list[tuple[int, int, Gap]] = []
    if links and "href" in text.lower():
        for attributes in start_tags.links(text):
            href = attributes["href"]
            target = target_of(href.value)
            if target and not (own and target.startswith(own)) and not _is_kept(attributes):
                gaps.append((href.start, href.end, Gap(target, href.raw)))
    if trap and gaps:
        place = _hiding_place(text)
        if place >= 0:
            gaps.append((place, place, Gap("", "", TRAP)))
    if opens:
        place = body_end(text)
        gaps.append((place, place, Gap("", "", PIXEL)))
    return _compiled(text, sorted(gaps, key=lambda gap: gap[:2]))


def compile_plain(text: str, *, own: str = "") -> Compiled | None:
    """The same for the links of a plain text."""
    gaps: list[tuple[int, int, Gap]] = []
    for found in _PLAIN_URL.finditer(text):
        raw = _without_what_follows(found[0])
        if is_target(raw) and not _PLACEHOLDER.search(raw) and not (own and raw.startswith(own)):
            gaps.append((found.start(), found.start() + len(raw), Gap(raw, raw)))
    return _compiled(text, gaps)


def _compiled(text: str, gaps: list[tuple[int, int, Gap]]) -> Compiled | None:
    if not gaps:
        return None
    starts = [0, *(end for _, end, _ in gaps)]
    ends = [*(start for start, _, _ in gaps), len(text)]
    pieces = tuple(text[start:end] for start, end in zip(starts, ends, strict=True))
    return Compiled(pieces, tuple(gap for _, _, gap in gaps))


def target_of(value: str) -> str:
    """The URL of an `href` as a browser reads it; '' where it is none that can be followed over us."""
    url = value.strip(_EDGES).translate(_GONE)
    if not is_target(url) or _PLACEHOLDER.search(url):
        return ""
    return url


def is_target(url: str) -> bool:
    """Whether a link may lead there: http or https, with a host, of bounded length, without control characters."""
    if not _HTTP.match(url) or _CONTROL.search(url) or len(url.encode("utf-8", "replace")) > URL_MOST:
        return False
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _is_kept(attributes: dict[str, Attribute]) -> bool:
    return any(name in attributes and said(attributes[name].value.strip().lower()) for name, said in OPT_OUT.items())


def body_end(text: str) -> int:
    """Before the last `</body>`, or at the end where that one is inside something else."""
    places = [(found.start(), found.end()) for found in _BODY_END.finditer(text)]
    if not places or "-->" in text[places[-1][1] :] or "</script" in text[places[-1][1] :].lower():
        return len(text)
    return places[-1][0]


def _without_what_follows(url: str) -> str:
    """A sentence goes on behind a URL: its punctuation, and brackets that were opened before it, are none of it."""
    while url:
        if url[-1] in ".,;:!?'*_" or (url[-1] in _CLOSING and url.count(url[-1]) > url.count(_CLOSING[url[-1]])):
            url = url[:-1]
        else:
            break
    return url


def _hiding_place(text: str) -> int:
    """Right behind `<body>`; -1 where a style sheet may count or neighbour elements, so that one more would show."""
    if any(_COUNTING.search(style) for style in _STYLE.findall(text)):
        return -1
    return start_tags.body_start(text)


def _hidden(url: str) -> str:
    return (
        f'<a href="{url}" tabindex="-1" aria-hidden="true" rel="nofollow"'
        ' style="display:none!important;mso-hide:all"></a>'
    )


def _image(url: str) -> str:
    return f'<img src="{url}" alt="" width="1" height="1" border="0" style="height:1px;width:1px;border:0">'
