"""A rendered message as the fields of an API that knows no MIME: taken apart exactly, or refused."""

from __future__ import annotations

import base64
import codecs
import re
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import AddressHeader, HeaderRegistry
from typing import Any, NoReturn

from gateway.mail import parse, transfer
from gateway.mail.draft import Attachment, Mailbox
from gateway.mail.parse import Part

REMADE = frozenset(
    {"date", "mime-version", "received", "return-path", "dkim-signature", "x-received", "received-spf"}
    | {"authentication-results", "delivered-to"}
)
"""Fields that whoever builds the message writes anew: trace, and signatures that hold for other bytes only."""

_READERS = ("from", "to", "cc", "reply-to")
_MULTIPARTS = frozenset({"multipart/mixed", "multipart/alternative", "multipart/related"})
_BODY_FIELDS = frozenset({"content-type", "content-transfer-encoding", "content-disposition", "content-id"})
_PART_FIELDS = _BODY_FIELDS | {"x-attachment-id"}
_ENCODINGS = frozenset({"", "7bit", "8bit", "binary", "quoted-printable", "base64"})
_TYPE_WORDS = frozenset({"charset", "name"})
_DEPTH = 4
_ADDRESS_SIZE = 16_384  # characters of a field with addresses: reading one takes time that grows with its square
_CHARSETS = frozenset({"utf-8", "us-ascii", "ascii", "iso8859-1", "iso8859-15", "cp1252"})

_WORDS = re.compile(r"=\?[^?\s]{1,60}\?[bBqQ]\?[^?\s]*\?=(?:\s+=\?[^?\s]{1,60}\?[bBqQ]\?[^?\s]*\?=)+")
_registry = HeaderRegistry()


class Unsupported(Exception):
    """What the message has and the provider has no words for."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(slots=True)
class Structured:
    """`headers` are the custom ones, as they stand, unfolded; texts have LF line ends."""

    sender: Mailbox
    subject: str
    to: list[Mailbox] = field(default_factory=list)
    cc: list[Mailbox] = field(default_factory=list)
    reply_to: list[Mailbox] = field(default_factory=list)
    html: str | None = None
    text: str | None = None
    attachments: list[Attachment] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)


def unsupported(what: str) -> NoReturn:
    """The one way to say that a message cannot be expressed; raises `Unsupported`."""
    raise Unsupported(what)


def take_apart(message: bytes) -> Structured:
    """The fields of a message with CRLF line ends; raises `Unsupported` for what they do not say completely."""
    fields, _ = parse.split(message)
    single: dict[str, str] = {}
    custom: list[tuple[str, str]] = []
    for name_bytes, line in fields:
        name = name_bytes.decode("ascii")
        if name in REMADE or name.startswith("content-"):
            continue
        value = parse.value(line)
        if name in _READERS or name == "subject":
            if name in single:
                unsupported(f"the field {name} twice")
            single[name] = value
            continue
        if name == "sender" or name.startswith("resent-"):
            unsupported(f"the field {name}")
        if not line.isascii():
            unsupported(f"the field {name}, which is not ASCII")
        custom.append((line.partition(b":")[0].strip().decode("ascii"), value))
    boxes = {name: _mailboxes(name, single[name]) for name in _READERS if name in single}
    if len(boxes.get("from", ())) != 1:
        unsupported("a From that is not one mailbox")
    found = Structured(
        boxes["from"][0],
        _decoded(single.get("subject", "")),
        boxes.get("to", []),
        boxes.get("cc", []),
        boxes.get("reply-to", []),
        headers=custom,
    )
    _read(parse.part(message), found, top=True)
    if found.text is None and found.html is None:
        unsupported("a message without a text")
    return found


def _mailboxes(name: str, value: str) -> list[Mailbox]:
    """The mailboxes of a field; of groups only the empty one, which shows nobody, can be told in a list."""
    if len(value) > _ADDRESS_SIZE:
        unsupported(f"a {name} of {len(value)} characters")
    # The library leaves the white space between encoded words in (RFC 2047 §6.2 takes it out): one long word has none.
    value = _WORDS.sub(lambda run: _one_word(_decoded(run[0])), value)
    try:
        header: Any = _registry(name, value)
        groups = list(header.groups)
        defects = header.defects
    except (MessageError, ValueError, IndexError, AttributeError):  # the library's parser has holes
        unsupported(f"a {name} that cannot be read")
    if not isinstance(header, AddressHeader) or defects:
        unsupported(f"a {name} that cannot be read")
    boxes: list[Mailbox] = []
    for group in groups:
        if group.display_name is not None and group.addresses:
            unsupported(f"a group in {name}")
        for address in group.addresses:
            if not address.username or not address.domain:
                unsupported(f"a {name} that cannot be read")
            boxes.append(Mailbox(address.addr_spec, address.display_name))
    return boxes


def _one_word(text: str) -> str:
    return f"=?utf-8?b?{base64.b64encode(text.encode()).decode('ascii')}?="


def _decoded(value: str) -> str:
    """An unstructured value with its encoded words decoded; raises `Unsupported` where a charset is not known."""
    if "=?" not in value:
        return value
    for charset in re.findall(r"=\?([^?*]+)(?:\*[^?]*)?\?[bBqQ]\?", value):
        _charset(charset)
    return parse.decoded_words(value)


def _charset(name: str) -> str:
    """The codec of a charset; only such in which no two ways lead to one text."""
    try:
        known = codecs.lookup(name).name
    except LookupError:
        unsupported(f"the charset {name[:40]}")
    if known not in _CHARSETS:
        unsupported(f"the charset {name[:40]}")
    return known


def _read(part: Part, found: Structured, *, top: bool = False, depth: int = 0, related: bool = False) -> None:
    """One part of mixed, alternative or related, texts before what is attached to them."""
    for name, _ in part.fields:
        word = name.decode("ascii")
        if (word not in _PART_FIELDS) if not top else (word.startswith("content-") and word not in _BODY_FIELDS):
            unsupported(f"the field {word} of a part")
    if part.kind.startswith("multipart/"):
        _read_multipart(part, found, depth)
        return
    disposition, parameters = _disposition(part)
    is_text = part.kind in ("text/plain", "text/html")
    if is_text and disposition == "" and not parameters and "name" not in part.parameters and not related:
        _read_text(part, found)
    elif top:
        unsupported(f"a whole message of the type {part.kind}")
    else:
        found.attachments.append(_attachment(part, disposition, parameters, related=related))


def _read_multipart(part: Part, found: Structured, depth: int) -> None:
    boundary = part.parameters.get("boundary", "")
    if part.kind not in _MULTIPARTS or not boundary:
        unsupported(f"parts of the type {part.kind}")
    if depth >= _DEPTH:
        unsupported("parts inside each other that deep")
    if part.body.count(b"\n--" + boundary.encode("utf-8", "replace")) > parse.PARTS_MAX:
        unsupported(f"more than {parse.PARTS_MAX} parts")
    children = [parse.part(piece) for piece in parse.pieces(part.body, boundary)]
    if not children:
        unsupported("a multipart without parts")
    before = (found.text, found.html)
    for index, child in enumerate(children):
        if part.kind == "multipart/alternative":
            if child.kind not in ("text/plain", "text/html", "multipart/related") or _disposition(child)[0]:
                unsupported(f"an alternative of the type {child.kind}")
            if found.html is not None:
                unsupported("an alternative that is better than HTML")
        elif index and (child.kind.startswith("multipart/")):
            unsupported("a second body")
        _read(child, found, depth=depth + 1, related=part.kind == "multipart/related" and index > 0)
    if part.kind == "multipart/related" and (found.html is None or found.html is before[1]):
        unsupported("parts related to no HTML")


def _read_text(part: Part, found: Structured) -> None:
    html = part.kind == "text/html"
    extra = set(part.parameters) - {"charset"}
    if extra:
        unsupported(f"the parameter {min(extra)} of {part.kind}")
    if (found.html if html else found.text) is not None or (not html and found.html is not None):
        unsupported("a second body")
    try:
        text = _content(part).decode(_charset(part.parameters.get("charset") or "us-ascii"))
    except UnicodeDecodeError:
        unsupported("a text that is not in its charset")
    text = text.replace("\r\n", "\n")
    if html:
        found.html = text
    else:
        found.text = text


def _attachment(part: Part, disposition: str, parameters: dict[str, str], *, related: bool) -> Attachment:
    if part.kind.startswith("message/"):
        unsupported(f"a part of the type {part.kind}")
    content = _content(part)
    extra = set(part.parameters) - _TYPE_WORDS
    if extra:
        unsupported(f"the parameter {min(extra)} of {part.kind}")
    charset = "" if content.isascii() else part.parameters.get("charset", "")
    filename = parameters.get("filename") or _decoded(part.parameters.get("name", ""))
    if not filename:
        unsupported("an attachment without a name")
    content_id = parse.first(part.fields, "content-id").strip().removeprefix("<").removesuffix(">")
    inline = disposition == "inline" or (related and disposition == "" and bool(content_id))
    if inline and not content_id:
        unsupported("a part that is shown inline without a Content-ID")
    content_type = f"{part.kind}; charset={charset}" if charset else part.kind
    return Attachment(filename, content_type, content, inline, content_id)


def _disposition(part: Part) -> tuple[str, dict[str, str]]:
    """`''`, `inline` or `attachment`, and its parameters with RFC 2231 resolved."""
    value = parse.first(part.fields, "content-disposition")
    if not value:
        return "", {}
    header: Any = _registry("content-disposition", value)
    try:
        word, parameters = str(header.content_disposition or ""), dict(header.params)
    except (MessageError, ValueError, IndexError, AttributeError):
        unsupported("a Content-Disposition that cannot be read")
    if word not in ("inline", "attachment"):
        unsupported(f"the disposition {word[:40]}")
    if word == "inline" and part.kind in ("text/plain", "text/html") and not parameters:
        return "", {}
    return word, {"filename": _decoded(parameters["filename"])} if parameters.get("filename") else {}


def _content(part: Part) -> bytes:
    encoding = parse.first(part.fields, "content-transfer-encoding").strip().lower()
    if encoding not in _ENCODINGS:
        unsupported(f"the transfer encoding {encoding[:40]}")
    return transfer.decode(part.body, encoding)
