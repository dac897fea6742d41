"""`POST /api/v1/emails`: one message, answered with 202 once it is on disk."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import marshmallow as ma

from commands.sending.faults import line_fault
from commands.sending.fields import FURTHEST_DAYS, MOST_TAGS, SUBJECT_LENGTH, TAG_LENGTH
from gateway import clock, config, errors, ids
from gateway.mail import address
from gateway.mail.draft import Draft, Mailbox
from gateway.services import messages, senders
from gateway.services.identity import Caller
from web.rest import fields, idempotent
from web.rest.emails.operation import operation
from web.rest.surface import Answer

ENDPOINT = "POST /api/v1/emails"
_BODY_MOST = 25 * 1024 * 1024
EXAMPLE = {
    "id": "665f1a2b3c4d5e6f7a8b9c0d",
    "status": "queued",
    "from": "hello@example.com",
    "to": "jane@example.org",
    "subject": "Order Confirmed",
    "createdAt": "2025-01-15T10:30:00.000Z",
}


class People(ma.fields.Field[list[Mailbox]]):
    """One address or a list of them, each also as `Jane Doe <jane@example.org>`."""

    def __init__(self, *, doc: str = "", **options: Any) -> None:
        super().__init__(metadata={"description": doc} if doc else {}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Mailbox]:
        found = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) and len(one) <= 10_000 for one in found) or len(found) > 1000:
            raise ma.ValidationError("Should be an email address or a list of them.")
        try:
            return [box for one in found for box in address.parse_list(one)]
        except errors.Invalid as error:
            raise ma.ValidationError(error.message) from None

    def describe(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class _Send(fields.Params):
    sender = People(required=True, data_key="from", doc="The sender, at a verified domain of the account")
    to = People(required=True, doc="The recipients; one address, or a list of at most 50")
    subject = fields.Text(max=SUBJECT_LENGTH, min=1, required=True)
    html = fields.Text(max=_BODY_MOST, load_default=None, allow_none=True, doc="HTML content; html or text is required")
    text = fields.Text(max=_BODY_MOST, load_default=None, allow_none=True, doc="Plain text content")
    reply_to = People(data_key="replyTo", load_default=list, doc="Where answers go")
    cc = People(load_default=list)
    bcc = People(load_default=list)
    tags = fields.Words(max=TAG_LENGTH, most=MOST_TAGS, load_default=list)
    scheduled_at = fields.Moment(data_key="scheduledAt", load_default=None, doc="When it is to leave")

    @ma.validates_schema(skip_on_field_errors=True)
    def _whole(self, data: dict[str, Any], **_: Any) -> None:
        if not data["html"] and not data["text"]:
            raise ma.ValidationError("Either 'html' or 'text' is required.", "html")
        if len(data["sender"]) != 1:
            raise ma.ValidationError("Should be one email address.", "from")
        if not data["to"]:
            raise ma.ValidationError(fields.required("to"), "to")
        fault = line_fault(data["subject"].strip(), SUBJECT_LENGTH)
        if fault is not None:
            raise ma.ValidationError(f"Subject {fault}", "subject")
        if data["scheduled_at"] and data["scheduled_at"] > clock.now_ms() + FURTHEST_DAYS * clock.DAY_MS:
            raise ma.ValidationError(f"Should be at most {FURTHEST_DAYS} days ahead.", "scheduledAt")


@operation(
    "POST",
    "/emails",
    permission="send",
    summary="Send an email",
    params=_Send,
    answer=EXAMPLE,
    status=202,
)
def send_email(caller: Caller, params: dict[str, Any]) -> Answer:
    """The key is of the account: the From address says which of its domains sends."""
    _check_counts(caller, params)
    draft = Draft(
        sender=params["sender"][0],
        subject=params["subject"].strip(),
        html=params["html"] or None,
        text=params["text"] or None,
        to=params["to"],
        cc=params["cc"],
        bcc=params["bcc"],
        reply_to=params["reply_to"],
        tags=params["tags"],
        send_at_ms=params["scheduled_at"],
    )
    idempotent.mark(draft, ENDPOINT)
    accepted = messages.accept(senders.for_address(caller, draft.sender), draft)
    uuid = UUID(accepted.message_id)
    body = {
        "id": ids.short_id(uuid),
        "status": "scheduled" if (draft.send_at_ms or 0) > clock.now_ms() else "queued",
        "from": draft.sender.email,
        "to": draft.to[0].email if len(draft.to) == 1 else [box.email for box in draft.to],
        "subject": draft.subject,
        "createdAt": clock.rfc3339_ms(ids.time_of(uuid)),
    }
    return Answer(body, headers={"Idempotent-Replayed": "true"} if accepted.replayed else {})


def _check_counts(caller: Caller, params: dict[str, Any]) -> None:
    settings = config.settings()
    for name, own, general in (
        ("to", caller.plan.max_to, settings.max_to),
        ("cc", caller.plan.max_cc, settings.max_cc),
        ("bcc", caller.plan.max_bcc, settings.max_bcc),
        ("reply_to", caller.plan.max_reply_to, settings.max_reply_to),
    ):
        most = general if own is None else own
        if len(params[name]) > most:
            raise errors.Invalid(f"At most {most} addresses are allowed.", field="replyTo" if "_" in name else name)
