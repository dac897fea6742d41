"""The fields of a message as the description shows them; `reader` checks them by hand, because it reads thousands."""

from __future__ import annotations

from typing import Any

from commands.sending import attachments
from commands.sending.fields import MOST_HEADERS, MOST_TAGS, SUBJECT_LENGTH, TAG_LENGTH
from gateway.mail.draft import STREAMS
from web.rest import fields
from web.rest.v1.sending.reader import TYPES

_TEXT: dict[str, Any] = {"type": "string"}
_TIME: dict[str, Any] = {"type": ["string", "integer"], "examples": ["2026-04-19T10:24:11Z"]}
_FLAG: dict[str, Any] = {"type": "boolean"}
_PERSON: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "examples": ["Jane Doe <jane@example.org>"]},
        {
            "type": "object",
            "properties": {"email": {"type": "string", "format": "email"}, "name": {"type": "string"}},
            "required": ["email"],
        },
    ]
}
_PEOPLE: dict[str, Any] = {"anyOf": [*_PERSON["anyOf"], {"type": "array", "items": _PERSON}]}
_ATTACHMENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "filename": _TEXT,
        "name": _TEXT | {"description": "As filename"},
        "content": {"type": "string", "contentEncoding": "base64"},
        "content_type": _TEXT,
        "type": _TEXT | {"description": "As content_type"},
        "disposition": {"enum": ["attachment", "inline"]},
        "content_id": _TEXT,
        "contentId": _TEXT | {"description": "As content_id"},
    },
    "required": ["filename", "content"],
}
ROUTING: dict[str, Any] = {
    "type": "object",
    "properties": {"purpose": _TEXT, "server": _TEXT, "provider": _TEXT | {"description": "As server"}},
}

_TAGS: dict[str, Any] = {"type": "array", "items": {"type": "string", "maxLength": TAG_LENGTH}, "maxItems": MOST_TAGS}

SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "from": (_PERSON, "The sender, at a verified domain of the key"),
    "to": (_PEOPLE, "Recipients: an address, a text of several with commas or line breaks between them, or a list"),
    "cc": (_PEOPLE, "Recipients of a copy"),
    "bcc": (_PEOPLE, "Recipients of a copy that no header names"),
    "reply_to": (_PEOPLE, "Where answers go"),
    "replyTo": (_PEOPLE, "As reply_to"),
    "subject": ({"type": "string", "maxLength": SUBJECT_LENGTH}, "Obligatory without a template"),
    "html": (_TEXT, "HTML body; html, text or template is obligatory"),
    "text": (_TEXT, "Plain text body"),
    "headers": (
        {"type": "object", "additionalProperties": _TEXT, "maxProperties": MOST_HEADERS},
        "Custom header fields",
    ),
    "attachments": ({"type": "array", "items": _ATTACHMENT, "maxItems": attachments.MOST}, "Files, in base64"),
    "tags": (_TAGS, "What statistics are kept by"),
    "metadata": ({"type": "object"}, "Comes back with the message and its events"),
    "routing": (ROUTING, "The purpose that routing rules match, and the sending server asked for"),
    "template": ({"type": ["string", "integer"]}, "The id or name of the template that gives subject and bodies"),
    "template_id": ({"type": ["string", "integer"]}, "As template"),
    "variables": ({"type": "object"}, "Values for the template, or for placeholders in subject and bodies"),
    "scheduled_at": (_TIME, "When: RFC 3339, or unix time in seconds or milliseconds; the past means now"),
    "scheduledAt": ({"type": ["string", "integer"]}, "When, in unix milliseconds"),
    "type": ({"enum": list(TYPES)}, "A campaign is one message for each recipient"),
    "stream": ({"enum": [*STREAMS, "marketing"]}, "What it goes with: bulk waits behind transactional mail"),
    "track_opens": (_FLAG, "Whether opens are tracked; the domain's option otherwise"),
    "track_links": (_FLAG, "Whether clicks are tracked; the domain's option otherwise"),
    "track_clicks": (_FLAG, "As track_links"),
    "dry_run": (_FLAG, "Tell what would happen; nothing is sent, stored or counted"),
    "idempotency_key": (_TEXT, "As the Idempotency-Key header"),
}


def anything(name: str) -> fields.Anything:
    """The field of that name, read as it is."""
    shape, text = SHAPES[name]
    return fields.Anything(shape=shape, closed=True, doc=text)


OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {name: shape | {"description": text} for name, (shape, text) in SHAPES.items()},
}
"""A whole message as JSON Schema."""

Message: type[fields.Params] = type("Message", (fields.Params,), {name: anything(name) for name in SHAPES})
"""The parameters of a send."""
