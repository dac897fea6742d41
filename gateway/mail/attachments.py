"""The parts that go beside the text: clean names, types and content ids."""

from __future__ import annotations

import re
from urllib.parse import quote

from gateway.errors import Invalid
from gateway.mail import headers
from gateway.mail.draft import Attachment

FILENAME_SIZE = 255
OCTETS = "application/octet-stream"

_WORD = r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]{1,127}"
_TYPE = re.compile(rf"({_WORD}/{_WORD})((?:\s*;\s*{_WORD}=(?:{_WORD}|\"[ !#-\[\]-~]{{0,127}}\"))*)\s*;?\s*\Z")
_PARAMETER = re.compile(rf";\s*({_WORD})=({_WORD}|\"[^\"]*\")")
_CONTENT_ID = re.compile(r"[!-;=?-~]{1,250}\Z")
_OVERRIDES = re.compile("[\u202a-\u202e\u2066-\u2069]")
_UNFIT = re.compile(r"[/\\\"<>]")
"""Receivers read a path, or take quotes and brackets around a name away; Windows forbids them all."""
_PLAIN_NAME = re.compile(r"[ !#-\[\]-~]{1,60}\Z")


def attachment(
    filename: str, content_type: str, content: bytes, *, inline: bool = False, content_id: str = ""
) -> Attachment:
    """A checked attachment; raises `Invalid` for a name, type or content id that no message can carry as it is."""
    if len(filename) > FILENAME_SIZE:
        raise Invalid(f"A filename has at most {FILENAME_SIZE} characters.", field="Filename")
    if content_type.strip() and not _TYPE.match(content_type.strip()):
        raise Invalid("A content type reads like text/csv or text/csv; charset=utf-8.", field="Type")
    content_id = content_id.strip().removeprefix("<").removesuffix(">")
    if content_id and not _CONTENT_ID.match(content_id):
        raise Invalid("A content id has 1 to 250 printable ASCII characters without spaces.", field="ContentId")
    kind, parameters = clean_type(content_type)
    return Attachment(clean_filename(filename), "; ".join([kind, *parameters]), content, inline, content_id)


def clean_filename(filename: str) -> str:
    """One line without path separators, quotes, brackets and the direction overrides that disguise an extension."""
    name = _UNFIT.sub("_", _OVERRIDES.sub("", headers.one_line(filename))).replace("\t", " ")
    return name.strip() or "attachment"


def clean_type(content_type: str) -> tuple[str, list[str]]:
    """The lower-case media type and its parameters as `name=value`.

    What cannot be read is octets, and so are message/* and multipart/*: those must not be encoded
    (RFC 2045 §6.4), and would not arrive byte for byte.
    """
    found = _TYPE.match(content_type.strip())
    if not found or not content_type.isascii():
        return OCTETS, []
    kind = found[1].lower()
    if kind.startswith(("message/", "multipart/")):
        return OCTETS, []
    pairs = _PARAMETER.findall(found[2])
    return kind, [f"{name.lower()}={value}" for name, value in pairs if name.lower() not in ("name", "boundary")]


def fields(part: Attachment) -> bytes:
    """The content header of the part, base64 being its encoding (RFC 2045, 2183, 2231, 2392)."""
    kind, parameters = clean_type(part.content_type)
    lines = ["Content-Type: " + ";\r\n ".join([kind, *parameters]), "Content-Transfer-Encoding: base64"]
    if part.content_id:
        lines.append(f"Content-ID: <{_safe_id(part.content_id)}>")
    disposition = "inline" if part.inline else "attachment"
    lines.append(";\r\n ".join([f"Content-Disposition: {disposition}", *_filename(clean_filename(part.filename))]))
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def _safe_id(content_id: str) -> str:
    content_id = content_id.removeprefix("<").removesuffix(">")
    return content_id if _CONTENT_ID.match(content_id) else quote(content_id[:60].encode("utf-8", "replace"), safe="@")


def _filename(name: str) -> list[str]:
    """The filename parameter, in RFC 2231 form and pieces where it is long or not plain ASCII."""
    if _PLAIN_NAME.match(name) and "=?" not in name:
        return [f'filename="{name}"']
    encoded = [quote(character.encode("utf-8", "replace"), safe="!#$&+-.^_`{|}~") for character in name]
    pieces = [""]
    for octets in encoded:
        if len(pieces[-1]) + len(octets) > 48:
            pieces.append("")
        pieces[-1] += octets
    if len(pieces) == 1:
        return [f"filename*=utf-8''{pieces[0]}"]
    first, *rest = pieces
    return [f"filename*0*=utf-8''{first}", *(f"filename*{i}*={piece}" for i, piece in enumerate(rest, 1))]
