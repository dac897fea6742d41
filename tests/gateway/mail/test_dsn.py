"""Delivery reports of several kinds of servers, standard and not."""

from __future__ import annotations

import pytest

from gateway import config
from gateway.mail import dsn, verp


def report(status: str, *, original: str = "Message-ID: <1@example.com>\nSubject: x\n", to: str = "b@b.test") -> bytes:
    return f"""\
From: Mail Delivery System <MAILER-DAEMON@mx.example.net>
To: {to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"

This is a MIME-encapsulated message.

--=_b
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--=_b
Content-Type: message/delivery-status

{status}
--=_b
Content-Type: text/rfc822-headers

{original}
--=_b--
""".encode()


POSTFIX = """\
Reporting-MTA: dns; mx.example.net
X-Postfix-Queue-ID: 4ABC
Arrival-Date: Tue, 14 Nov 2023 22:13:20 +0000

Final-Recipient: rfc822; john@example.net
Original-Recipient: rfc822;John@Example.net
Action: failed
Status: 5.1.1
Remote-MTA: dns; mail.example.net
Diagnostic-Code: smtp; 550 5.1.1 <john@example.net>: Recipient address
    rejected: User unknown in virtual mailbox table
"""


def test_a_report_of_postfix(settings: config.Settings) -> None:
    found = dsn.parse(report(POSTFIX))
    assert found == dsn.Report(
        (
            dsn.RecipientStatus(
                recipient="john@example.net",
                action="failed",
                status="5.1.1",
                code=550,
                diagnostic="550 5.1.1 <john@example.net>: Recipient address    rejected:"
                " User unknown in virtual mailbox table",
                remote_mta="mail.example.net",
                original_recipient="John@Example.net",
            ),
        ),
        reporting_mta="mx.example.net",
        message_id="1@example.com",
    )


def test_line_ends_do_not_matter(settings: config.Settings) -> None:
    raw = report(POSTFIX)
    assert dsn.parse(raw.replace(b"\n", b"\r\n")) == dsn.parse(raw) == dsn.parse(raw.replace(b"\n", b"\r"))


def test_several_recipients_each_with_its_action(settings: config.Settings) -> None:
    status = "Reporting-MTA: dns; a\n" + "".join(
        f"\nFinal-Recipient: RFC822; <u{i}@example.net>\nAction: {action}\nStatus: {code}\n"
        for i, (action, code) in enumerate(
            [("Failed", "5.2.2 (mailbox full)"), ("delayed", "4.4.1"), ("delivered", "2.0.0"), ("nonsense", "5.0.0")]
        )
    )
    found = dsn.parse(report(status))
    assert found and found.standard
    assert [(one.recipient, one.action, one.status) for one in found.recipients] == [
        ("u0@example.net", "failed", "5.2.2"),
        ("u1@example.net", "delayed", "4.4.1"),
        ("u2@example.net", "delivered", "2.0.0"),
        ("u3@example.net", "failed", "5.0.0"),
    ]


def test_a_vague_status_gives_way_to_the_remotes_own_code(settings: config.Settings) -> None:
    status = (
        "\n\nFinal-Recipient: rfc822; a@b.test\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 5.1.1 no\n"
    )
    found = dsn.parse(report("Reporting-MTA: dns; a" + status))
    assert found and found.recipients[0].status == "5.1.1" and found.recipients[0].code == 550


def test_one_group_without_the_blank_line(settings: config.Settings) -> None:
    found = dsn.parse(
        report("Reporting-MTA: dns; a\nFinal-Recipient: rfc822; a@b.test\nAction: failed\nStatus: 5.1.1\n")
    )
    assert found and found.recipients[0].recipient == "a@b.test" and found.reporting_mta == "a"


def test_the_delivery_is_found_by_its_return_path(settings: config.Settings) -> None:
    path = verp.encode(77, "bounce.example.com")
    for raw in (
        report(POSTFIX, to=f"<{path}>"),
        report(POSTFIX, original=f"Return-Path: <{path.upper()}>\nMessage-ID: <1@example.com>\n"),
    ):
        found = dsn.parse(raw)
        assert found and found.delivery_id == 77
    forged = path.replace("b+", "b+a", 1)
    found = dsn.parse(report(POSTFIX, to=forged))
    assert found and found.delivery_id is None


def test_a_cut_off_report(settings: config.Settings) -> None:
    raw = report(POSTFIX)
    found = dsn.parse(raw[: raw.index(b"--=_b\nContent-Type: text/rfc822")])
    assert found and found.recipients[0].status == "5.1.1" and found.message_id == ""


QMAIL = b"""\
From: MAILER-DAEMON@mx.example.net
To: b+x@b.test
Subject: failure notice

Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.

<john@example.net>:
192.0.2.1 does not like recipient.
Remote host said: 550 5.1.1 No such mailbox
Giving up on 192.0.2.1.

--- Below this line is a copy of the message.

Subject: 452 4.2.2 trap
"""

EXIM = b"""\
X-Failed-Recipients: john@example.net
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.example.net>
To: b+x@b.test
Subject: Mail delivery failed: returning message to sender

A message that you sent could not be delivered to one or more of its recipients.

  john@example.net
    host mx.example.net [192.0.2.1]
    SMTP error from remote mail server after RCPT TO:<john@example.net>:
    550 Mailbox quota exceeded
"""

DELAY = b"""\
From: Mail Delivery Subsystem <mailer-daemon@example.net>
Subject: Delivery Status Notification (Delay)

Delivery to the following recipient has been delayed:

     john@example.net

The error that the other server returned was:
451 4.4.2 connection timed out
"""


@pytest.mark.parametrize(
    ("raw", "action", "status", "code"),
    [(QMAIL, "failed", "5.1.1", 550), (EXIM, "failed", "", 550), (DELAY, "delayed", "4.4.2", 451)],
)
def test_bounces_in_prose(settings: config.Settings, raw: bytes, action: str, status: str, code: int) -> None:
    found = dsn.parse(raw)
    assert found and not found.standard
    assert [(one.recipient, one.action, one.status, one.code) for one in found.recipients] == [
        ("john@example.net", action, status, code)
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"From: jane@example.com\nSubject: Re: hello\n\n550 5.1.1 no such user, haha\n",
        b"From: jane@example.com\nSubject: failure notice\n\nour fridge broke: 550 Euro\n",
        b"From: postmaster@example.net\nSubject: Monthly letter\n\nmailbox full of news\n",
        b"From: mailer-daemon@example.net\nSubject: failure notice\n\n\n",
        report("Reporting-MTA: dns; a\n", to="x").replace(b"Undelivered Mail Returned to Sender", b"Hello"),
    ],
)
def test_what_is_no_report(settings: config.Settings, raw: bytes) -> None:
    assert dsn.parse(raw) is None


@pytest.mark.parametrize(
    ("charset", "word"),
    [("utf-7", "+2AA-"), ("unicode_escape", "\\ud800"), ("raw_unicode_escape", "\\udfff"), ("utf-16-le", "\ud800")],
)
def test_charsets_that_can_spell_lone_surrogates(charset: str, word: str) -> None:
    raw = (
        b"From: MAILER-DAEMON@mx.test\r\nSubject: Undelivered mail\r\nContent-Type: text/plain; charset="
        + charset.encode()
        + b"\r\n\r\n<jane@friends.test>: 550 5.1.1 user "
        + word.encode("utf-8", "surrogatepass")
        + b" unknown\r\n"
    )
    report = dsn.parse(raw)
    if report is not None:
        for one in report.recipients:
            one.diagnostic.encode()
