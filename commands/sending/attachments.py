"""The attachments of a send, decoded from base64."""

from __future__ import annotations

import binascii
import re
from typing import Any

from commands.sending.addresses import empty
from commands.sending.faults import Faults, line_fault
from gateway import errors
from gateway.mail import attachments
from gateway.mail.draft import Attachment

MOST = 250
"""Attachments of one message; their sizes count against the size of the message."""

_SPACE = re.compile(r"\s+")
_DISPOSITIONS = {"": False, "attachment": False, "inline": True}
_LINE = 255


def read(value: Any, limit: int, faults: Faults) -> list[Attachment]:
    """The attachments; together they may have `limit` bytes once decoded."""
    if empty(value):
        return []
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list):
        faults.other("Attachments should be a list of objects with Content, Filename and Type.")
        return []
    if len(items) > MOST:
        faults.other(f"A message has at most {MOST} attachments.")
        return []
    # Before anything is decoded: four characters of base64 are three bytes.
    sizes = [len(item["content"]) for item in items if isinstance(item, dict) and isinstance(item.get("content"), str)]
    if sum(sizes) * 3 // 4 > limit * 11 // 10:
        faults.other(f"The attachments have more than {limit} bytes.", 413)
        return []
    found = []
    for number, item in enumerate(items):
        try:
            found.append(_one(item))
        except errors.Invalid as error:
            faults.other(f"Attachments[{number}]: {error.message}")
    if sum(len(part.content) for part in found) > limit:
        faults.other(f"The attachments have more than {limit} bytes.", 413)
    return found


def _one(item: Any) -> Attachment:
    if not isinstance(item, dict):
        raise errors.Invalid("An attachment should be an object with Content, Filename and Type.")
    disposition = _line(item, "Disposition").strip().lower()
    if disposition not in _DISPOSITIONS:
        raise errors.Invalid("Disposition should be attachment or inline.")
    content_id = item.get("contentid")
    if isinstance(content_id, int) and not isinstance(content_id, bool):
        item = item | {"contentid": str(content_id)}
    return attachments.attachment(
        _line(item, "Filename"),
        _line(item, "Type"),
        decoded(item.get("content")),
        inline=_DISPOSITIONS[disposition],
        content_id=_line(item, "ContentId"),
    )


def _line(item: dict[str, Any], name: str) -> str:
    value = item.get(name.lower())
    if value is None:
        return ""
    if not isinstance(value, str):
        raise errors.Invalid(f"{name} should be text.")
    fault = line_fault(value, _LINE)
    if fault is not None:
        raise errors.Invalid(f"{name} {fault}")
    return value


def decoded(content: Any) -> bytes:
    """The bytes of base64 (RFC 4648 §4) with or without line breaks and padding."""
    if not isinstance(content, str):
        raise errors.Invalid("Content should be base64 text.")
    # RFC 2045 breaks lines every 76 characters; most clients do not.
    text = _SPACE.sub("", content) if any(mark in content for mark in "\n\r \t") else content
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except (binascii.Error, ValueError):
        raise errors.Invalid("Content is not base64.") from None
