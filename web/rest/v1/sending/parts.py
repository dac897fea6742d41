"""What a message says and carries: subject, bodies, headers, attachments, tags, metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from commands.sending import attachments as base64_of
from commands.sending.addresses import empty
from commands.sending.faults import encodable, line_fault
from commands.sending.fields import MOST_HEADERS, MOST_TAGS, SUBJECT_LENGTH, TAG_LENGTH
from gateway import errors
from gateway.mail import attachments as mail_attachments
from gateway.mail import headers as mail_headers
from gateway.mail.draft import Attachment
from web.rest.v1.sending.faults import REQUIRED, Faults

METADATA_MOST = 16_384
"""Bytes of a message's metadata as JSON: it comes back with every event."""

_LINE = 255
_DISPOSITIONS = {"": False, "attachment": False, "inline": True}


def subject(value: Any, templated: bool, faults: Faults) -> str:
    """One line; a template brings its own."""
    if value.__class__ is str and len(value) <= SUBJECT_LENGTH and value.isascii() and value.isprintable():
        found = value.strip()
        if found:
            return found
    if empty(value):
        if not templated:
            faults.add("subject", REQUIRED)
        return ""
    if not isinstance(value, str):
        faults.add("subject", "Should be a text.")
        return ""
    found = value.strip()
    fault = line_fault(found, SUBJECT_LENGTH)
    if fault is not None:
        faults.add("subject", fault[0].upper() + fault[1:])
    return found


def body(field: str, value: Any, size: int, faults: Faults, clean: set[str]) -> str | None:
    """One of the bodies; `clean` are those already looked at, for the messages of one request often share one."""
    if value is None or value == "":
        return None
    if value.__class__ is str and value in clean:
        return str(value)
    if not isinstance(value, str):
        faults.add(field, "Should be a text.")
    elif len(value) > size:
        faults.add(field, f"Should have at most {size} bytes.", too_large=True)
    elif "\0" in value or not encodable(value):
        faults.add(field, "Should be Unicode text without NUL.")
    else:
        clean.add(value)
        return value
    return None


def headers(value: Any, faults: Faults) -> list[tuple[str, str]]:
    """Custom headers from an object or a list of `{name, value}`; the names keep their spelling."""
    if empty(value):
        return []
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        pairs = [(item.get("name"), item.get("value")) for item in value]
    else:
        faults.add("headers", "Should be an object of names and texts.")
    if len(pairs) > MOST_HEADERS:
        faults.add("headers", f"Should have at most {MOST_HEADERS} entries.")
        return []
    found = []
    for name, content in pairs:
        if isinstance(content, int | float) and not isinstance(content, bool):
            content = str(content)
        try:
            found.append(mail_headers.check_custom(name, content))
        except errors.Invalid as error:
            faults.add("headers", error.message)
    return found


def tags(value: Any, faults: Faults) -> list[str]:
    if empty(value):
        return []
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        faults.add("tags", "Should be a list of texts.")
        return []
    found = [tag for tag in dict.fromkeys([item.strip() for item in items]) if tag]
    if len(found) > MOST_TAGS:
        faults.add("tags", f"Should have at most {MOST_TAGS} entries.")
    for tag in found[:MOST_TAGS]:
        fault = line_fault(tag, TAG_LENGTH)
        if fault is not None:
            faults.add("tags", f"A tag {fault}")
    return found


def metadata(value: Any, faults: Faults) -> dict[str, Any] | None:
    if empty(value):
        return None
    if not isinstance(value, dict):
        faults.add("metadata", "Should be an object.")
        return None
    try:
        size = len(orjson.dumps(value))
    except (TypeError, ValueError):  # a lone surrogate, a number beyond 64 bits
        faults.add("metadata", "Should be JSON of Unicode texts and numbers of at most 64 bits.")
        return None
    if size > METADATA_MOST:
        faults.add("metadata", f"Should have at most {METADATA_MOST} bytes as JSON.")
        return None
    return value


def variables(value: Any, faults: Faults) -> dict[str, Any]:
    if empty(value):
        return {}
    if not isinstance(value, dict):
        faults.add("variables", "Should be an object of names and values.")
        return {}
    return value


def attachments(value: Any, limit: int, faults: Faults) -> list[Attachment]:
    """The attachments; together they may have `limit` bytes once decoded."""
    if empty(value):
        return []
    items = [value] if isinstance(value, Mapping) else value
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        faults.add("attachments", "Should be a list of objects with filename and content.")
        return []
    if len(items) > base64_of.MOST:
        faults.add("attachments", f"Should have at most {base64_of.MOST} entries.")
        return []
    # Before anything is decoded: four characters of base64 are three bytes.
    sizes = [len(item["content"]) for item in items if isinstance(item.get("content"), str)]
    if sum(sizes) * 3 // 4 > limit * 11 // 10:
        faults.add("attachments", f"Should have at most {limit} bytes together.", too_large=True)
        return []
    found = []
    for at, item in enumerate(items):
        try:
            found.append(_attachment(item))
        except errors.Invalid as error:
            faults.add(f"attachments.{at}", error.message)
    if sum(len(part.content) for part in found) > limit:
        faults.add("attachments", f"Should have at most {limit} bytes together.", too_large=True)
    return found


def _attachment(item: Mapping[str, Any]) -> Attachment:
    disposition = _line(item, "disposition").strip().lower()
    if disposition not in _DISPOSITIONS:
        raise errors.Invalid("disposition should be attachment or inline.")
    content_id = _line(item, "content_id", "contentId")
    inline = _DISPOSITIONS[disposition] or (not disposition and bool(content_id))
    return mail_attachments.attachment(
        _line(item, "filename", "name"),
        _line(item, "content_type", "type"),
        base64_of.decoded(item.get("content")),
        inline=inline,
        content_id=content_id,
    )


def _line(item: Mapping[str, Any], *names: str) -> str:
    value = next((item[name] for name in names if item.get(name) is not None), "")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise errors.Invalid(f"{names[0]} should be a text.")
    fault = line_fault(value, _LINE)
    if fault is not None:
        raise errors.Invalid(f"{names[0]} {fault}")
    return value
