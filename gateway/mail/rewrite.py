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
_OFF = ("off", "false", "no", "0")

OPT_OUT: dict[str, Callable[[str], bool]] = {
    "data-commandpost-track": lambda value: value in _OFF,
    "data-track": lambda value: value in _OFF,
    "clicktracking": lambda value: value in _OFF,
    "disable-tracking": lambda value: value not in _OFF,
    "data-pm-no-track": lambda value: value not in _OFF,
}
"""Attributes that keep a link as it is, ours first, then those of mail that was written for others."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Where something is filled in: a link's target and the raw text in its place, or the pixel (no target)."""

    target: str
    raw: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """`pieces` of the text, one more than `gaps` between them."""

    pieces: tuple[str, ...]
    gaps: tuple[Gap, ...]

    def fill(self, link: Callable[[str], str], pixel: Callable[[], str]) -> str:
        """The text with `link(target)` in place of each target and `pixel()` as the address of the pixel.

        Both give URLs without quotes, spaces, `<`, `>` and `&`.
        """
        out = [self.pieces[0]]
        for gap, piece in zip(self.gaps, self.pieces[1:], strict=True):
            out += (link(gap.target) if gap.target else _image(pixel()), piece)
        return "".join(out)


def compile(text: str, *, links: bool, opens: bool, own: str = "") -> Compiled | None:
    """Where `text` is to be changed; None where nowhere. Links below the URL `own` are left as they are."""
    gaps: list[tuple[int, int, Gap]] = []
    if links and "href" in text.lower():
        for attributes in start_tags.links(text):
            href = attributes["href"]
            target = target_of(href.value)
            if target and not (own and target.startswith(own)) and not _is_kept(attributes):
                gaps.append((href.start, href.end, Gap(target, href.raw)))
    if opens:
        place = body_end(text)
        gaps.append((place, place, Gap("", "")))
        gaps.sort(key=lambda gap: gap[:2])
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


def _image(url: str) -> str:
    return f'<img src="{url}" alt="" width="1" height="1" border="0" style="height:1px;width:1px;border:0">'
