"""What people wrote: who and what a mail says, its texts and its attachments, from bytes that anybody may have sent."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.utils import getaddresses
from urllib.parse import unquote_to_bytes

import lxml.etree
import lxml.html
from inscriptis.html_engine import Inscriptis
from inscriptis.model.config import ParserConfig

from gateway.mail import parse, transfer
from gateway.mail.draft import Mailbox
from gateway.mail.parse import Part

HTML_MOST = 512 * 1024
"""Characters of HTML that are turned into text: what quotes a whole thread is cut behind its first pages."""
TEXT_MOST = 256 * 1024
BOXES_MOST = 100

_ID = re.compile(r"<([^<>\s]{3,400})>")
_IDS_MOST = 50
_NAME_LENGTH = 255
_QUOTES = (
    "//blockquote[contains(@type, 'cite')]",
    "//*[contains(concat(' ', normalize-space(@class), ' '), ' gmail_quote ')]",
    "//*[contains(@class, 'yahoo_quoted') or contains(@class, 'moz-cite-prefix') or contains(@class, 'gmail_attr')]",
    "//*[@id='divRplyFwdMsg' or @id='appendonsend']",
    "//*[contains(@class, 'protonmail_quote') or contains(@class, 'zmail_extra')]",
)
"""How the large clients mark what they quote."""
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Enclosure:
    """One attachment; `index` counts from 0 and stays the same for the same bytes."""

    index: int
    filename: str
    content_type: str
    content: bytes
    content_id: str = ""
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail as it is read: `html` as it was sent, which nobody has made safe to show."""

    sender: Mailbox
    to: list[Mailbox]
    cc: list[Mailbox]
    reply_to: list[Mailbox]
    subject: str
    message_id: str  # without brackets
    in_reply_to: list[str]
    references: list[str]
    text: str
    html: str
    unquoted_html: str  # as text, without what the client marked as quoted; '' without HTML
    enclosures: list[Enclosure] = field(default_factory=list)


def read(raw: bytes) -> Letter:
    """The mail as one letter; never raises, and what cannot be read is empty."""
    top = parse.part(parse.line_ends(raw))
    text, html, enclosures = _parts(top)
    unquoted = ""
    if html:
        whole, unquoted = _texts_of(html)
        text = text or whole
    fields = top.fields
    boxes = {name: _boxes(parse.first(fields, name)) for name in ("from", "to", "cc", "reply-to")}
    return Letter(
        sender=boxes["from"][0] if boxes["from"] else Mailbox(""),
        to=boxes["to"],
        cc=boxes["cc"],
        reply_to=boxes["reply-to"],
        subject=_line(parse.decoded_words(parse.first(fields, "subject")[:4000]))[:998],
        message_id=next(iter(_ids(parse.first(fields, "message-id"))), ""),
        in_reply_to=_ids(parse.first(fields, "in-reply-to")),
        references=_ids(parse.first(fields, "references")),
        text=text[:TEXT_MOST],
        html=html,
        unquoted_html=unquoted[:TEXT_MOST],
        enclosures=enclosures,
    )


def _parts(top: Part) -> tuple[str, str, list[Enclosure]]:
    text = html = ""
    enclosures: list[Enclosure] = []
    for one in parse.leaves(top):
        where, parameters = _disposition(one)
        name = _filename(one, parameters)
        shown = where != "attachment" and not name
        if shown and one.kind == "text/plain":
            text = f"{text}\n{one.text()}" if text else one.text()
        elif shown and one.kind == "text/html":
            html = html or _clean(one.text())
        elif one.body.strip():
            index = len(enclosures)
            encoding = parse.first(one.fields, "content-transfer-encoding").strip().lower()
            content_id = next(iter(_ids(parse.first(one.fields, "content-id"))), "")
            enclosures.append(
                Enclosure(
                    index,
                    name or f"attachment-{index + 1}",
                    one.kind,
                    transfer.decode(one.body, encoding),
                    content_id,
                    where == "inline" and bool(content_id),
                )
            )
    return _clean(text), html, enclosures


def _disposition(one: Part) -> tuple[str, dict[str, str]]:
    value = parse.first(one.fields, "content-disposition")
    return value.partition(";")[0].strip().lower(), parse.media_type(value)[1]


def _filename(one: Part, parameters: dict[str, str]) -> str:
    """The name without any path; RFC 2231 first, then encoded words, which are common though forbidden there."""
    for found, name in ((parameters, "filename"), (one.parameters, "name")):
        pieces = [found[key] for key in (f"{name}*", f"{name}*0*", f"{name}*0") if key in found]
        if pieces:
            for number in range(1, 10):
                pieces += [found[key] for key in (f"{name}*{number}*", f"{name}*{number}") if key in found]
            charset, quote, rest = "".join(pieces).partition("'")
            text = rest.partition("'")[2] if quote else charset
            octets = unquote_to_bytes(text)
            try:
                text = octets.decode(charset if quote and charset else "utf-8")
            except (LookupError, ValueError):
                text = octets.decode("latin-1")
        else:
            text = parse.decoded_words(found.get(name, ""))
        text = _line(re.split(r"[/\\]", text)[-1]).strip(". ")
        if text:
            return text[:_NAME_LENGTH]
    return ""


def _boxes(value: str) -> list[Mailbox]:
    if not value:
        return []
    try:
        pairs = getaddresses([value[:8192]])
    except Exception:  # the library still breaks on some of what strangers write
        return []
    return [
        Mailbox(_line(address)[:320], _line(parse.decoded_words(name))[:_NAME_LENGTH])
        for name, address in pairs[:BOXES_MOST]
        if "@" in address
    ]


def _ids(value: str) -> list[str]:
    return _ID.findall(value[:16384])[-_IDS_MOST:]


def _line(text: str) -> str:
    return _clean(" ".join(text.split()))


def _clean(text: str) -> str:
    """Text that every database takes."""
    return _CONTROLS.sub("", text.encode("utf-8", "replace").decode("utf-8"))


def _texts_of(html: str) -> tuple[str, str]:
    """The HTML as text: all of it, and without what is quoted."""
    try:
        tree = lxml.html.fromstring(_CONTROLS.sub("", html[:HTML_MOST]).encode("utf-8"), parser=_parser())
    except (lxml.etree.LxmlError, ValueError):
        return "", ""
    whole = _rendered(tree)
    quoted = [node for path in _QUOTES for node in tree.xpath(path)]
    for node in quoted:
        if node.getparent() is not None:
            node.drop_tree()
    return whole, _rendered(tree) if quoted else whole


def _parser() -> lxml.html.HTMLParser:
    return lxml.html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, huge_tree=False)


def _rendered(tree: lxml.html.HtmlElement) -> str:
    text = Inscriptis(tree, ParserConfig()).get_text()
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
