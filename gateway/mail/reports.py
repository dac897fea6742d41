"""Reports about a message as receivers write them: a bounce (RFC 3464) and a complaint (RFC 5965)."""

from __future__ import annotations

from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.parser import BytesHeaderParser

_HEAD_LIMIT = 64 * 1024


def bounce(*, reporter: str, return_path: str, rcpt: str, message: bytes, status: str, reply: str) -> bytes:
    """A delivery status notification to `return_path`: `rcpt` failed for good with `status` (RFC 3463) and `reply`."""
    report = _report("delivery-status", reporter, return_path, "Undelivered mail returned to sender")
    report.attach(_text(f"The message could not be delivered to {rcpt}.\n\n{reply}\n"))
    facts = Message()
    facts.set_type("message/delivery-status")
    about, recipient = Message(), Message()
    del about["MIME-Version"]
    about["Reporting-MTA"] = f"dns; {reporter}"
    recipient["Final-Recipient"] = f"rfc822; {rcpt}"
    recipient["Action"] = "failed"
    recipient["Status"] = status
    recipient["Diagnostic-Code"] = f"smtp; {reply}"
    facts.set_payload([about, recipient])
    report.attach(facts)
    report.attach(_headers(message))
    return report.as_bytes()


def complaint(*, reporter: str, return_path: str, rcpt: str, message: bytes) -> bytes:
    """A feedback report of type `abuse`: `rcpt` called the message spam."""
    report = _report("feedback-report", reporter, return_path, "Complaint about a message")
    report.attach(_text("This is an abuse report for a message that the recipient marked as spam.\n"))
    facts = Message()
    facts.set_type("message/feedback-report")
    facts.set_payload(
        "Feedback-Type: abuse\nUser-Agent: Simulator/1\nVersion: 1\n"
        f"Original-Mail-From: <{return_path}>\nOriginal-Rcpt-To: <{rcpt}>\n"
    )
    report.attach(facts)
    report.attach(_headers(message))
    return report.as_bytes()


def _report(kind: str, reporter: str, return_path: str, subject: str) -> MIMEMultipart:
    report: MIMEMultipart = MIMEMultipart("report")
    report.set_param("report-type", kind)
    report["From"] = f"postmaster@{reporter}"
    report["To"] = return_path
    report["Subject"] = subject
    report["Auto-Submitted"] = "auto-replied"
    return report


def _text(words: str) -> Message:
    part = Message()
    part.set_type("text/plain")
    part.set_payload(words, "us-ascii" if words.isascii() else "utf-8")
    return part


def _headers(message: bytes) -> Message:
    """The header of the message, as reports return it (RFC 6522 §4)."""
    head = message[:_HEAD_LIMIT].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    part = Message()
    part.set_type("text/rfc822-headers")
    part.set_payload(BytesHeaderParser().parsebytes(head).as_string())
    return part
