"""Where the start tags of links are in an HTML text, and what their attributes say, without building a tree.

A tree builder of HTML5 can be made to use gigabytes by a few kilobytes of mail.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from html.entities import html5
from typing import Any

from gateway import ids

try:
    import lolhtml
except ImportError:  # no wheel for this platform: the scanner below finds the same
    lolhtml = None  # type: ignore[assignment]

LINKS = ("a", "area")

_NAME = re.compile(r"<([a-zA-Z][^\s/>]*)")
_TAG = re.compile(r"</?[a-zA-Z]")  # what else begins with a bracket is a comment to browsers, `</é>` too
_END_NAME = re.compile(r"</([a-zA-Z][^\s/>]*)")
_ATTRIBUTE = re.compile(
    r"[\s/]*+(?:(?P<end>>)|(?P<name>[^\s/>][^\s/>=]*+)(?:\s*+=\s*+"
    r"(?:\"(?P<double>[^\"]*+)(?P<closed>\"?)|'(?P<single>[^']*+)(?P<closed2>'?)|(?P<bare>[^\s>]*+)))?+)"
)
_MARKUP = re.compile(r"<(?=[a-zA-Z/!?])")
_COMMENT_END = re.compile(r"--!?>")
_RAW = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "noscript")
}
_REFERENCE = re.compile(r"&(?:#(?:[0-9]{1,9}|[xX][0-9a-fA-F]{1,8});?|[A-Za-z][A-Za-z0-9]*(?:;|(?!=)))")


@dataclass(frozen=True, slots=True)
class Attribute:
    """The raw value stands at `start` to `end` of the text, without its quotes."""

    start: int
    end: int
    raw: str

    @property
    def value(self) -> str:
        return decoded(self.raw)


def links(text: str) -> list[dict[str, Attribute]]:
    """The attributes, by lower-case name, of each start tag of a link that has `href`, in their order."""
    try:
        places = _places(text) if lolhtml is not None else list(_scanned(text))
    except Exception:  # it refuses what it could read in two ways
        places = list(_scanned(text))
    found = (_attributes(text, place)[0] for place in places)
    return [attributes for attributes in found if "href" in attributes]


class _Marker:
    """Writes a marker before each element; every other byte passes as it is."""

    def __init__(self, marker: str) -> None:
        self._marker = marker

    def element(self, element: Any) -> None:
        element.before(self._marker, lolhtml.ContentType.HTML)


def _places(text: str) -> list[int]:
    marker = f"\ue000{ids.token(16)}\ue001"
    out: list[bytes] = []
    rewriter = lolhtml.HTMLRewriter(lambda chunk: out.append(bytes(chunk)))
    rewriter.on(", ".join(f"{name}[href]" for name in LINKS), _Marker(marker))
    rewriter.write(text.encode("utf-8"))
    rewriter.end()
    pieces = b"".join(out).decode("utf-8").split(marker)
    if "".join(pieces) != text:
        raise ValueError("the text did not come back as it was")
    places: list[int] = []
    at = 0
    for piece in pieces[:-1]:
        at += len(piece)
        places.append(at)
    return places


def body_start(text: str) -> int:
    """Where the content of the one `<body>` begins; -1 where there is none, or more than one."""
    ends = [token.end for token in tokens(text) if token.kind is Kind.START and token.name == "body"]
    return ends[0] if len(ends) == 1 else -1


def _scanned(text: str) -> Iterator[int]:
    """The same by the rules of the HTML standard (§13.2.5), as far as mail needs them."""
    for token in tokens(text):
        if token.kind is Kind.START and token.name in LINKS and "href" in token.attributes:
            yield token.start


class Kind(Enum):
    START = 1
    END = 2
    TEXT = 3
    COMMENT = 4  # and declarations
    RAW = 5  # what stands inside `style`, `script` and the like


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text from `start` to `end`; `name` in lower case, of the element around a RAW."""

    kind: Kind
    start: int
    end: int
    name: str = ""
    attributes: dict[str, Attribute] = field(default_factory=dict)


def tokens(text: str) -> Iterator[Token]:
    """The pieces of an HTML text in their order, in time that grows with its length; a broken end is left out."""
    at = 0
    while (found := _MARKUP.search(text, at)) is not None:
        start = found.start()
        if start > at:
            yield Token(Kind.TEXT, at, start)
        if text.startswith("<!--", start):
            if text.startswith((">", "->"), start + 4):
                at = text.index(">", start) + 1
                continue
            end = _COMMENT_END.search(text, start + 4)
            if end is None:
                return
            at = end.end()
            yield Token(Kind.COMMENT, start, at)
        elif not _TAG.match(text, start):
            at = text.find(">", start) + 1
            if not at:
                return
            yield Token(Kind.COMMENT, start, at)
        else:
            closing = text[start + 1] == "/"
            attributes, at = _attributes(text, start)
            if at < 0:
                return
            if closing:
                yield Token(Kind.END, start, at, _END_NAME.match(text, start)[1].lower())  # type: ignore[index]
                continue
            name = _NAME.match(text, start)[1].lower()  # type: ignore[index]
            yield Token(Kind.START, start, at, name, attributes)
            if name in _RAW:
                after = _RAW[name].search(text, at)
                if after is None:
                    return
                if after.start() > at:
                    yield Token(Kind.RAW, at, after.start(), name)
                at = after.start()
            elif name == "plaintext":
                return
    if at < len(text):
        yield Token(Kind.TEXT, at, len(text))


def _attributes(text: str, place: int) -> tuple[dict[str, Attribute], int]:
    """The attributes of the tag at `place`, the first of each name, and where the tag ends; -1: it does not."""
    attributes: dict[str, Attribute] = {}
    name = re.compile(r"</?[^\s/>]*").match(text, place)
    at = name.end() if name else place
    while (found := _ATTRIBUTE.match(text, at)) is not None:
        at = found.end()
        if found["end"]:
            return attributes, at
        for group, closed in (("double", "closed"), ("single", "closed2"), ("bare", None)):
            if found[group] is None:
                continue
            if closed is not None and not found[closed]:
                return {}, -1
            attribute = Attribute(found.start(group), found.end(group), found[group])
            attributes.setdefault(found["name"].lower(), attribute)
            break
        else:
            attributes.setdefault(found["name"].lower(), Attribute(at, at, ""))
    return {}, -1


def decoded(raw: str) -> str:
    """An attribute's value with its character references decoded as the HTML standard says (§13.2.5.73).

    A name without a semicolon before a letter, digit or `=` is none: `?a=1&copy=2` has no copyright sign.
    """
    return _REFERENCE.sub(_character, raw) if "&" in raw else raw


def _character(found: re.Match[str]) -> str:
    text = found[0]
    if text[1] == "#":
        return html.unescape(text)
    return html5.get(text[1:], text)
