"""Inbound mail that is no event: GetInboundMail and DeleteInboundMail."""

from __future__ import annotations

from typing import Any

from commands.registry import command
from commands.schema import Id, Params, Text, Whole
from gateway import clock, errors
from gateway.services import inbound_mail
from gateway.services.identity import Caller
from gateway.services.inbound_mail import Kept

_EXAMPLE = {
    "InboundMailID": "7",
    "MessageID": "example-uuid",
    "Recipient": "jane@example.org",
    "Kind": "auto_reply",
    "Reason": "A machine answered for a person (RFC 3834).",
    "Refused": False,
    "EnvelopeSender": "",
    "EnvelopeRecipient": "b+example@bounces.example.com",
    "From": "Jane Doe <jane@example.org>",
    "Subject": "Out of office",
    "Size": 1234,
    "ReceivedAt": "2026-01-01 12:00:00",
}


class GetInboundMailParams(Params):
    InboundMailID = Id(required=False, doc="Return only this mail, with its content")
    MessageID = Text(required=False, max=255, doc="Only mail that answers this message")
    Kind = Text(
        required=False,
        choices=inbound_mail.KINDS,
        invalid=3,
        doc="auto_reply, letter (its writer was refused), complaint (it names no delivery) or unrecognised",
    )
    StartFrom = Whole(required=False, doc="How many mails to skip")
    RetrieveCount = Whole(required=False, low=1, high=100, clamp=True, doc="How many to return, at most 100")


class InboundMailParams(Params):
    InboundMailID = Id(missing=1, doc="The number of the mail")


@command(
    "EmailGateway.GetInboundMail",
    summary="List mail that came to return paths and is no event, such as absence notes, the newest first",
    params=GetInboundMailParams,
    errors={1: "Inbound mail not found", 2: "Message not found", 3: "Invalid Kind"},
    refusals={errors.InboundMailNotFound: 1, errors.NotFound: 2},
    permission="read:messages",
    answer={"InboundMail": [_EXAMPLE], "TotalRecords": 1},
)
def get_inbound_mail(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    message_id = params.get("MessageID", "")
    if "InboundMailID" in params:
        kept, content = inbound_mail.show(caller=caller, number=params["InboundMailID"], message_id=message_id)
        return {"InboundMail": [_shown(kept) | {"Content": content.decode("utf-8", "replace")}], "TotalRecords": 1}
    found, total = inbound_mail.list_(
        caller=caller,
        kind=params.get("Kind", ""),
        message_id=message_id,
        start=params.get("StartFrom", 0),
        count=params.get("RetrieveCount", inbound_mail.MOST_LISTED),
    )
    return {"InboundMail": [_shown(kept) for kept in found], "TotalRecords": total}


@command(
    "EmailGateway.DeleteInboundMail",
    summary="Delete an inbound mail that was kept",
    params=InboundMailParams,
    errors={1: "Missing required parameter: InboundMailID", 2: "Inbound mail not found"},
    refusals={errors.NotFound: 2},
    permission="write:messages",
)
def delete_inbound_mail(caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
    inbound_mail.delete(caller=caller, number=params["InboundMailID"])
    return {}


def _shown(kept: Kept) -> dict[str, Any]:
    return {
        "InboundMailID": str(kept.id),
        "MessageID": kept.message_id,
        "Recipient": kept.about,
        "Kind": kept.kind,
        "Reason": kept.why,
        "Refused": kept.refused,
        "EnvelopeSender": kept.mail_from,
        "EnvelopeRecipient": kept.rcpt,
        "From": kept.header_from,
        "Subject": kept.subject,
        "Size": kept.size,
        "ReceivedAt": clock.sql_text(kept.created_ms),
    }
