"""Refusals: real replies of real servers, and what they must mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import classify

REPLIES = """
recipient|550-5.1.1 The email account that you tried to reach does not exist. Please try 550 5.1.1 double-checking
recipient|550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup
recipient|550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).
recipient|554 delivery error: dd This user doesn't have a yahoo.com account (jane@yahoo.com) [0] - mta1.mail.example
recipient|552 1 Requested mail action aborted, mailbox not found
recipient|550 5.2.1 The email account that you tried to reach is disabled. Learn more
recipient|550 #5.1.0 Address rejected.
recipient|550 5.1.1 <x@icloud.com>: user does not exist
recipient|550 No Such User Here
recipient|550 Unrouteable address
recipient|550 5.1.1 x@aol.com recipient rejected
recipient|553 5.3.0 <x@y>... No such user
recipient|550 RCPT TO:<x@y> User unknown
recipient|550 5.7.1 Recipient not found
recipient|550-No such recipient here
recipient|550 5.1.6 Recipient no longer on server
recipient|550 5.1.2 Host or domain name not valid
recipient|550 Mailbox is inactive
mailbox_full|552-5.2.2 The email account that you tried to reach is over quota and inactive.
mailbox_full|554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException
mailbox_full|452 4.2.2 <x@icloud.com>: user is over quota
mailbox_full|552 5.2.2 Quota exceeded (mailbox for user is full)
mailbox_full|452 4.1.1 <x> mailbox full
policy|550-5.7.26 Unauthenticated email from example.com is not accepted due to domain's DMARC policy.
policy|550 5.7.515 Access denied, sending domain EXAMPLE.COM does not meet the required authentication level.
policy|550 5.7.9 This mail has been blocked because the sender is unauthenticated
policy|451 4.7.1 Greylisting in action, please come back in 5 minutes
policy|451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.
policy|421 4.3.2 Too many connections from your host
policy|550 5.7.1 Unable to relay for x@y
policy|554 5.7.1 Access denied
policy|421 4.7.0 Try again later, closing connection
policy|450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]
reputation|550 5.7.1 [192.0.2.1] Messages from this IP rejected due to poor reputation
reputation|550 5.7.606 Access denied, banned sending IP [192.0.2.1].
reputation|553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list
reputation|554 5.7.1 Service unavailable; Client host [1.2.3.4] blocked using Barracuda Reputation
reputation|421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints
reputation|550 5.7.1 This message is likely unsolicited mail due to the low reputation of the sending IP
reputation|554 IP=192.0.2.1 - A problem occurred. Your IP address has been blocked
content|550 5.7.1 This message looks like spam
content|554 5.7.1 Spam message rejected
content|552 5.3.4 Error: message file too big
content|552 5.2.3 Message exceeds maximum size
content|550 High probability of spam
content|554 5.6.0 Invalid message content
network|None|Connection timed out
network|451 4.3.0 Temporary lookup failure
network|421 4.3.2 Service not available, closing transmission channel
network|451 4.4.2 Bad connection
network|554 5.4.14 Hop count exceeded - possible mail loop ATTR34
network|451 Temporary local problem - please try later
network|452 4.3.1 Insufficient system storage
network|554 5.4.4 Host not found
protocol|503 5.5.1 Bad sequence of commands
protocol|500 unrecognized command
ours|530 5.7.0 Authentication required
ours|535-5.7.8 Username and Password not accepted. Learn more
ours|550 5.1.7 Invalid address format sender
ours|554 Message rejected: Email address is not verified. The following identities failed the check
ours|550 Sender verify failed
ours|501 5.1.8 Domain of sender address does not resolve: Sender address rejected: Domain not found
|250 weird
|450 hm
"""


def _read(line: str) -> tuple[str, int | None, str]:
    category, _, text = line.partition("|")
    if text.startswith("None|"):
        return category, None, text[5:]
    return category, int(text[:3]), text


@pytest.mark.parametrize("line", REPLIES.strip().splitlines())
def test_real_replies(line: str) -> None:
    expected, code, text = _read(line)
    assert classify.category(code, classify.enhanced_code(text), text) == expected
    assert classify.category(code, "", text) == expected


@pytest.mark.parametrize("rule", classify.RULES + classify.VAGUE, ids=lambda rule: rule.seen[:40])
def test_each_rule_is_reached_by_the_reply_it_was_made_for(rule: classify.Rule) -> None:
    first = next(one for one in classify.RULES + classify.VAGUE if one.pattern.search(rule.seen))
    assert first is rule
    assert classify.category(int(rule.seen[:3]), classify.enhanced_code(rule.seen), rule.seen) == rule.category


@pytest.mark.parametrize(
    ("code", "enhanced", "expected"),
    [
        (550, "5.1.1", "recipient"),
        (550, "5.1.10", "recipient"),
        (550, "5.2.2", "mailbox_full"),
        (450, "4.2.2", "mailbox_full"),
        (550, "5.4.4", "network"),
        (550, "5.7.1", "policy"),
        (550, "5.7.8", "ours"),
        (501, "5.1.8", "ours"),
        (554, "5.6.0", "content"),
        (503, "5.5.1", "protocol"),
        (421, "", "network"),
        (535, "", "ours"),
        (551, "", "recipient"),
        (550, "", ""),
        (None, "", "network"),
    ],
)
def test_codes_decide_where_words_do_not(code: int | None, enhanced: str, expected: str) -> None:
    assert classify.category(code, enhanced, "no") == expected


def test_lines_of_a_reply_are_read_as_one_text() -> None:
    text = "550-5.1.1 The email account that you tried\r\n550-5.1.1 to reach does not\r\n550 5.1.1 exist."
    assert classify.category(550, "5.1.1", text) == "recipient"


@pytest.mark.parametrize("enhanced", ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", ""])
def test_dead_addresses_are_suppressed(enhanced: str) -> None:
    assert classify.suppresses("recipient", enhanced)


@pytest.mark.parametrize(
    ("category", "enhanced"),
    [
        ("recipient", "5.7.1"),
        ("recipient", "5.4.1"),
        ("recipient", "5.1.0"),
        ("recipient", "4.1.1"),
        ("policy", "5.1.1"),
        ("reputation", "5.1.1"),
        ("mailbox_full", "5.2.2"),
        ("content", ""),
        ("network", ""),
        ("ours", "5.1.8"),
        ("", "5.1.1"),
        ("", ""),
    ],
)
def test_nobody_else_is_suppressed(category: str, enhanced: str) -> None:
    assert not classify.suppresses(category, enhanced)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("450 4.7.1 Greylisted, please try again in 300 seconds", 300),
        ("451 Greylisted for 5 minutes", 300),
        ("451 please retry in 1 hour", 3600),
        ("450 Greylisting, please come back in 00:04:12", 252),
        ("450 Greylisted, please try again in 00:04:12", 252),
        ("421 Too many messages, wait 60s", 60),
        ("451 Please try again after 10 min", 600),
        ("452 Try again in\r\n452 90 seconds", 90),
        ("451 come back in an hour", 3600),
        ("451 wait for 2 hours before trying again", 7200),
        ("451 again in 999999 hours", 86400),
        ("451 retry after 0 seconds", None),
        ("451 please try again in 1 day", 86400),
        ("450 4.7.1 try again within 90 seconds", 90),
        ("451 try again later", None),
        ("550 5.1.1 no such user", None),
        ("451 timed out after 30 seconds", None),
    ],
)
def test_the_wait_that_a_reply_asks_for(text: str, seconds: int | None) -> None:
    assert classify.retry_after(text) == seconds


@given(st.none() | st.integers(200, 599), st.text(max_size=20), st.text(max_size=500))
def test_nothing_raises(code: int | None, enhanced: str, text: str) -> None:
    assert isinstance(classify.category(code, enhanced, text), str)
    found = classify.retry_after(text)
    assert found is None or 0 < found <= 86400
