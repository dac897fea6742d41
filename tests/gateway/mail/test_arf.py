"""Complaints: feedback reports of providers, complete and redacted."""

from __future__ import annotations

import pytest

from gateway import config
from gateway.mail import arf, verp


def complaint(fields: str, original: str) -> bytes:
    return f"""\
From: <feedback@example.net>
To: fbl@example.com
Subject: FW: Hello
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b1"

--b1
Content-Type: text/plain; charset="US-ASCII"

This is an email abuse report.

--b1
Content-Type: message/feedback-report

{fields}
--b1
Content-Type: message/rfc822
Content-Disposition: inline

{original}
--b1--
""".encode()


def test_a_complete_report(settings: config.Settings) -> None:
    path = verp.encode(99, "bounce.example.com")
    raw = complaint(
        f"Feedback-Type: Abuse\nUser-Agent: SomeGenerator/1.0\nVersion: 1\nOriginal-Mail-From: <{path}>\n"
        "Original-Rcpt-To: <john@example.net>\nOriginal-Rcpt-To: ann@example.net\nSource-IP: 192.0.2.1\n"
        "Reported-Domain: Example.com\nArrival-Date: Thu, 8 Mar 2005 14:00:00 EDT\n",
        "From: jane@example.com\nMessage-ID: <8@example.com>\nFeedback-ID: a:b:c:d\nSubject: Hello\n\nbody\n",
    )
    assert arf.parse(raw) == arf.Complaint(
        feedback_type="abuse",
        user_agent="SomeGenerator/1.0",
        mail_from=path,
        recipients=("john@example.net", "ann@example.net"),
        source_ip="192.0.2.1",
        reported_domain="example.com",
        arrival="Thu, 8 Mar 2005 14:00:00 EDT",
        message_id="8@example.com",
        feedback_id="a:b:c:d",
        delivery_id=99,
    )


def test_a_redacted_report_is_traced_by_what_it_quotes(settings: config.Settings) -> None:
    path = verp.encode(5, "bounce.example.com")
    found = arf.parse(
        complaint(
            "Feedback-Type: abuse\nVersion: 0.1\nOriginal-Rcpt-To: redacted\n",
            f"Return-Path: <{path}>\nX-HmXmrOriginalRecipient: <john@example.net>\nMessage-ID: <9@example.com>\n\n",
        )
    )
    assert found and found.delivery_id == 5 and found.message_id == "9@example.com"


def test_the_recipient_left_in_the_quoted_message(settings: config.Settings) -> None:
    found = arf.parse(complaint("Feedback-Type: abuse\n", "X-HmXmrOriginalRecipient: <john@example.net>\n\n"))
    assert found and found.recipients == ("john@example.net",) and found.delivery_id is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"From: a@example.net\nSubject: this is spam\n\nFeedback-Type: abuse\n",
        complaint("User-Agent: nobody/1\n", "Subject: x\n\n"),
    ],
)
def test_what_is_no_complaint(settings: config.Settings, raw: bytes) -> None:
    assert arf.parse(raw) is None
