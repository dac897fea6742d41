"""`/v1/mailboxes/{address}/messages`: the mail that came to a mailbox."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flask import Response

from gateway import errors
from gateway.services import mailbox_mail, mailboxes
from gateway.services.identity import Caller
from gateway.services.mailbox_mail import Full, Received
from web.rest import fields, paging
from web.rest.v1.operation import operation

_ROW = {
    "id": "inb_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "mailbox": "hello@example.com",
    "kind": "reply",
    "from": {"email": "jane@example.org", "name": "Jane Doe"},
    "subject": "Re: Hello!",
    "preview": "Yes, please.",
    "attachments": 1,
    "size": 2_048,
    "inReplyTo": "msg_01KH8N3QZJ6W2M4YV0T9R5X7BC",
    "receivedAt": 1_790_000_000_000,
}
_FULL = _ROW | {
    "to": [{"email": "hello@example.com", "name": ""}],
    "cc": [],
    "replyTo": [],
    "messageId": "abc@example.org",
    "foundBy": "in_reply_to",
    "replyText": "Yes, please.",
    "signature": "Jane",
    "quotedText": "> Would you like some?",
    "text": "Yes, please.",
    "html": "",
    "attachments": [{"index": 0, "filename": "order.pdf", "contentType": "application/pdf", "size": 1_024}],
}


class _List(fields.Listing):
    kind = fields.Text(choices=("all", *mailbox_mail.KINDS), load_default="all", doc="Only mail of that kind")


@operation(
    "GET",
    "/mailboxes/<address>/messages",
    permission="read:mailboxes",
    summary="List the mail in a mailbox, the newest first",
    params=_List,
    answer={"data": [_ROW], "has_more": False, "next_cursor": None},
    dialects=("mailmark",),
)
def list_mailbox_messages(caller: Caller, params: dict[str, Any], address: str) -> dict[str, Any]:
    """A page of them."""
    mailbox = mailboxes.find(caller=caller, address=address)
    rows = mailbox_mail.list_(
        account_id=caller.account_id,
        mailbox_id=mailbox.id,
        kind="" if params["kind"] == "all" else params["kind"],
        before=paging.last_id(params["cursor"]),
        count=params["limit"] + 1,
    )
    return paging.page(rows, params["limit"], lambda row: paging.cursor(row.id), _row)


@operation(
    "GET",
    "/mailboxes/<address>/messages/<message_id>",
    permission="read:mailboxes",
    summary="Show one mail: its texts, the new words of a reply, its attachments",
    answer=_FULL,
    dialects=("mailmark",),
)
def show_mailbox_message(caller: Caller, params: dict[str, Any], address: str, message_id: str) -> dict[str, Any]:
    """`html` is as it was sent: show it in a sandbox only."""
    mailbox = mailboxes.find(caller=caller, address=address)
    return _full(mailbox_mail.show(account_id=caller.account_id, mailbox_id=mailbox.id, public_id=message_id))


@operation(
    "GET",
    "/mailboxes/<address>/messages/<message_id>/raw",
    permission="read:mailboxes",
    summary="The mail as it came",
    answer={},
    dialects=("mailmark",),
)
def show_raw_mailbox_message(caller: Caller, params: dict[str, Any], address: str, message_id: str) -> Response:
    """`message/rfc822`."""
    mailbox = mailboxes.find(caller=caller, address=address)
    found = mailbox_mail.find(account_id=caller.account_id, mailbox_id=mailbox.id, public_id=message_id)
    return _download(mailbox_mail.raw(found), "message/rfc822", f"{found.public_id}.eml")


@operation(
    "GET",
    "/mailboxes/<address>/messages/<message_id>/attachments/<index>",
    permission="read:mailboxes",
    summary="One attachment of a mail",
    answer={},
    dialects=("mailmark",),
)
def show_mailbox_attachment(
    caller: Caller, params: dict[str, Any], address: str, message_id: str, index: str
) -> Response:
    """Its bytes, to be saved and not to be shown."""
    mailbox = mailboxes.find(caller=caller, address=address)
    if not (index.isascii() and index.isdigit() and len(index) < 6):
        raise errors.InboundMailNotFound("There is no such attachment.")
    found = mailbox_mail.enclosure(
        account_id=caller.account_id, mailbox_id=mailbox.id, public_id=message_id, index=int(index)
    )
    return _download(found.content, found.content_type, found.filename)


@operation(
    "DELETE",
    "/mailboxes/<address>/messages/<message_id>",
    permission="write:mailboxes",
    summary="Delete one mail",
    answer={"id": _ROW["id"], "deleted": True},
    dialects=("mailmark",),
)
def delete_mailbox_message(caller: Caller, params: dict[str, Any], address: str, message_id: str) -> dict[str, Any]:
    """Its room is free at once."""
    mailbox = mailboxes.find(caller=caller, address=address)
    mailbox_mail.delete(account_id=caller.account_id, mailbox_id=mailbox.id, public_id=message_id)
    return {"id": message_id, "deleted": True}


def _row(one: Received) -> dict[str, Any]:
    return {
        "id": one.public_id,
        "mailbox": one.rcpt,
        "kind": one.kind,
        "from": {"email": one.header_from, "name": one.from_name},
        "subject": one.subject,
        "preview": one.preview,
        "attachments": one.attachments,
        "size": one.size,
        "inReplyTo": one.answers or None,
        "receivedAt": one.created_ms,
    }


def _full(full: Full) -> dict[str, Any]:
    letter = full.letter

    def boxes(found: Any) -> list[dict[str, str]]:
        return [{"email": box.email, "name": box.name} for box in found]

    return _row(full.received) | {
        "to": boxes(letter.to),
        "cc": boxes(letter.cc),
        "replyTo": boxes(letter.reply_to),
        "messageId": letter.message_id,
        "foundBy": full.received.found_by or None,
        "answersRecipient": full.received.answers_rcpt or None,
        "replyText": full.reply.text,
        "signature": full.reply.signature,
        "quotedText": full.reply.quoted,
        "text": letter.text,
        "html": letter.html,
        "attachments": [
            {
                "index": one.index,
                "filename": one.filename,
                "contentType": one.content_type,
                "size": len(one.content),
                "contentId": one.content_id or None,
                "inline": one.inline,
            }
            for one in letter.enclosures
        ],
    }


def _download(content: bytes, content_type: str, filename: str) -> Response:
    """Never shown by a browser: whoever wrote it chose its type."""
    return Response(
        content,
        mimetype=content_type,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename)}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        },
    )
