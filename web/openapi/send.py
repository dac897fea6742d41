"""The schema of a send: every field of `POST /api/v1/email`."""

from __future__ import annotations

from commands.sending import attachments, fields
from gateway.services.retention import MOST_DAYS
from web.openapi.shapes import Schema

SEND_EXAMPLE = {
    "Subject": "Hello World",
    "ContentType": "html",
    "HtmlContent": "<p>Hello, World!</p>",
    "From": {"email": "sender@example.com", "name": "John Doe"},
    "To": [{"email": "recipient@example.com", "name": "Jane Doe"}],
}

_TEXT: Schema = {"type": "string"}
_ID: Schema = {"type": ["integer", "string"]}
_FLAG: Schema = {"enum": [True, False, 1, 0, "1", "0", "true", "false"]}
_PERSON: Schema = {
    "type": "object",
    "properties": {"email": {"type": "string", "format": "email"}, "name": {"type": "string", "maxLength": 255}},
    "required": ["email"],
}
_PEOPLE: Schema = {"type": "array", "items": {"oneOf": [_PERSON, _TEXT]}}
_ONE_OR_MORE: Schema = {"oneOf": [_PEOPLE, _PERSON, _TEXT]}
_ATTACHMENT: Schema = {
    "type": "object",
    "properties": {
        "Content": {"type": "string", "contentEncoding": "base64"},
        "Filename": _TEXT,
        "Type": _TEXT,
        "Disposition": {"enum": ["attachment", "inline"]},
        "ContentId": _ID,
    },
    "required": ["Content", "Filename"],
}


def _told(schema: Schema, text: str) -> Schema:
    return schema | {"description": text}


SEND: Schema = {
    "type": "object",
    "properties": {
        "SenderAPIKey": _told(_TEXT, "The sender key, where no Authorization header has it"),
        "Subject": _told({"type": "string", "maxLength": fields.SUBJECT_LENGTH}, "Obligatory without a template"),
        "ContentType": _told({"enum": ["html", "plain", "text", "text/html", "text/plain"]}, "What the body is"),
        "HtmlContent": _told(_TEXT, "Obligatory where ContentType is html; with PlainContent the mail has both"),
        "PlainContent": _told(_TEXT, "Obligatory where ContentType is plain"),
        "From": _told({"oneOf": [_PERSON, _TEXT]}, "An address of the key's domain, or of a subdomain of it"),
        "To": _told(_ONE_OR_MORE, "Recipients; obligatory without TargetListID"),
        "CC": _told(_ONE_OR_MORE, "Recipients of a copy"),
        "BCC": _told(_PEOPLE, "Recipients of a copy that no header names"),
        "ReplyTo": _told(_PEOPLE, "Where replies go"),
        "Attachments": _told(
            {"type": "array", "items": _ATTACHMENT, "maxItems": attachments.MOST}, "Files, their content in base64"
        ),
        "Headers": _told(
            {"type": "object", "additionalProperties": _TEXT, "maxProperties": fields.MOST_HEADERS}, "Custom headers"
        ),
        "Tags": _told(
            {
                "type": "array",
                "items": {"type": "string", "maxLength": fields.TAG_LENGTH},
                "maxItems": fields.MOST_TAGS,
            },
            "What statistics are kept by",
        ),
        "TrackLinks": _told(_FLAG, "Whether clicks are tracked; the domain's option otherwise"),
        "TrackOpens": _told(_FLAG, "Whether opens are tracked; the domain's option otherwise"),
        "SendAt": _told(_ID, "When: Unix seconds or `YYYY-MM-DD HH:MM:SS` in UTC; the past means now"),
        "TemplateID": _told(_ID, "The template that gives subject and bodies"),
        "TargetListID": _told(_ID, "The list whose subscribers receive it"),
        "ListID": _told(_ID, "Comes back in events, like the three that follow"),
        "SubscriberID": _ID,
        "JourneyID": _ID,
        "ActionID": _ID,
        "Stream": _told(
            {"type": "string", "enum": ["transactional", "bulk", "broadcast"]},
            "What it goes with: bulk waits behind transactional mail; a send to a list is bulk where it is absent",
        ),
        "Retention": _told(
            {
                "type": "object",
                "additionalProperties": False,
                "minProperties": 1,
                "properties": {
                    "Body": {"type": "integer", "minimum": 0, "maximum": MOST_DAYS},
                    "Metadata": {"type": "integer", "minimum": 1, "maximum": MOST_DAYS},
                },
            },
            "Days that the body and the rest of this message are kept; as the account says otherwise",
        ),
        "DryRun": _told(_FLAG, "With true nothing is sent, stored or counted; the answer tells what would happen"),
    },
    "required": ["From"],
}
