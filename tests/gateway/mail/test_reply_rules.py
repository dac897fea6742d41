"""Rules that read limits out of replies."""

from __future__ import annotations

import pytest

from gateway.mail import classify, reply_rules


@pytest.mark.parametrize("rule", reply_rules.RULES, ids=[rule.name for rule in reply_rules.RULES])
def test_each_rule_knows_the_reply_that_taught_it(rule: reply_rules.Rule) -> None:
    found = reply_rules.find(int(rule.seen[:3]), classify.enhanced_code(rule.seen), rule.seen)
    assert found is rule
    assert rule.seconds > 0
    assert (rule.kind == reply_rules.RATE) == bool(rule.value)


@pytest.mark.parametrize(
    ("code", "text", "name"),
    [
        (421, "4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", "yahoo.tss04"),
        (421, "4.7.28 [192.0.2.1] Our system has detected an unusual\n421-4.7.28 rate of mail", "google.unusual_rate"),
        (451, "4.7.650 The mail server has been temporarily rate limited (S775)", "microsoft.rate_limited"),
        (421, "Too many concurrent SMTP connections", "connections"),
        (421, "4.7.1 too many sessions from your address", "connections"),
        (450, "4.7.1 Error: rate limit exceeded, slow down", "rate"),
    ],
)
def test_what_is_read_out_of_replies(code: int, text: str, name: str) -> None:
    found = reply_rules.find(code, classify.enhanced_code(text), text)
    assert found is not None and found.name == name


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (250, "2.0.0 ok, too many connections"),
        (None, "too many connections"),
        (550, "5.1.1 no such user"),
        (450, "4.2.0 Greylisted, try again in 5 minutes"),
        (421, "4.3.2 Service shutting down, try again later"),
        (450, "4.2.1 The user you are trying to contact is receiving mail at a rate that prevents more, slow down"),
    ],
)
def test_what_says_nothing_about_the_host_limits_nothing(code: int | None, text: str) -> None:
    assert reply_rules.find(code, classify.enhanced_code(text), text) is None
