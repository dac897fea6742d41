"""Complaints in the abuse reporting format (RFC 5965, 6650)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.mail import dsn, verp
from gateway.mail import parse as mime

_KIND = "message/feedback-report"
_SEARCHED = 64 * 1024
_OUTLOOK = re.compile(r"complaint about message from \S", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Complaint:
    """`feedback_type` is abuse, fraud, virus, not-spam, other …; what a provider redacted is ''."""

    feedback_type: str
    user_agent: str = ""
    mail_from: str = ""
    recipients: tuple[str, ...] = ()
    source_ip: str = ""
    reported_domain: str = ""
    arrival: str = ""
    message_id: str = ""  # of the message complained about, without brackets
    feedback_id: str = ""
    delivery_id: int | None = None


def parse(raw: bytes) -> Complaint | None:
    """What a feedback report says, None for any other message; never raises."""
    top = mime.read(raw)
    leaves = mime.leaves(top)
    report = next((leaf for leaf in leaves if leaf.kind == _KIND), None)
    if report is None:
        return _from_outlook(top, leaves)
    fields, _ = mime.split(report.content().lstrip(b"\r\n"))
    feedback_type = mime.first(fields, "feedback-type").strip().lower()
    if not feedback_type:
        return None
    quoted = next((leaf for leaf in leaves if leaf.kind in dsn.ORIGINAL_KINDS), None)
    about, _ = mime.split(quoted.content().lstrip(b"\r\n")) if quoted else ([], b"")
    message_id, delivery_id = dsn.original(top, leaves)
    mail_from = mime.first(fields, "original-mail-from").strip("<> ")
    recipients = [mime.value(line).strip("<> ") for name, line in fields if name == b"original-rcpt-to"]
    # Microsoft redacts the report and leaves the recipient in the quoted message.
    recipients = recipients or [mime.first(about, "x-hmxmroriginalrecipient").strip("<> ")]
    named = verp.decode(mail_from)
    if named is None and delivery_id is None:
        # Some providers keep the return path in a Received or an X- field only.
        delivery_id = verp.find("\n".join(mime.value(line) for _, line in (*fields, *about))[:_SEARCHED])
    return Complaint(
        feedback_type=feedback_type,
        user_agent=mime.first(fields, "user-agent"),
        mail_from=mail_from,
        recipients=tuple(one for one in recipients if "@" in one)[: mime.PARTS_MAX],
        source_ip=mime.first(fields, "source-ip"),
        reported_domain=mime.first(fields, "reported-domain").lower(),
        arrival=mime.first(fields, "arrival-date") or mime.first(fields, "received-date"),
        message_id=message_id,
        feedback_id=mime.first(about, "feedback-id"),
        delivery_id=named if named is not None else delivery_id,
    )


def _from_outlook(top: mime.Part, leaves: list[mime.Part]) -> Complaint | None:
    """A complaint of Outlook.com's junk mail reporting, which attaches the message and says no more."""
    if not _OUTLOOK.match(mime.first(top.fields, "subject")[:998]):
        return None
    quoted = next((leaf for leaf in leaves if leaf.kind in dsn.ORIGINAL_KINDS), None)
    about, _ = mime.split(quoted.content().lstrip(b"\r\n")) if quoted else ([], b"")
    recipient = mime.first(about, "x-hmxmroriginalrecipient").strip("<> ")
    if not recipient:
        return None
    message_id, delivery_id = dsn.original(top, leaves)
    if delivery_id is None:
        delivery_id = verp.find("\n".join(mime.value(line) for _, line in about)[:_SEARCHED])
    return Complaint(
        feedback_type="abuse",
        user_agent="JMRP",
        recipients=(recipient,) if "@" in recipient else (),
        message_id=message_id,
        feedback_id=mime.first(about, "feedback-id"),
        delivery_id=delivery_id,
    )
