"""What a reply says about how its host wants to be written to: the rules, each with the reply that taught it."""

from __future__ import annotations

import re
from dataclasses import dataclass

PAUSE, RATE, CONNECTIONS = "pause", "rate", "connections"
"""Nothing is sent; at most so many messages a minute; at most so many connections."""

_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit of `seconds`; `value` is messages a minute for RATE, and for CONNECTIONS 0: half of those now."""

    name: str
    pattern: re.Pattern[str]
    kind: str
    value: int
    seconds: int
    seen: str


def _rule(name: str, pattern: str, kind: str, value: int, seconds: int, seen: str) -> Rule:
    return Rule(name, re.compile(pattern, re.IGNORECASE), kind, value, seconds, seen)


RULES: tuple[Rule, ...] = (
    _rule(
        "yahoo.tss04",
        r"\[TSS0[45]\]",
        PAUSE,
        0,
        2 * _HOUR,
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
    ),
    _rule(
        "yahoo.ts03",
        r"\[TSS?0[1-39]\]",
        PAUSE,
        0,
        4 * _HOUR,
        "553 5.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred",
    ),
    _rule(
        "microsoft.block_list",
        r"\((S3150|S3140|S3114|S1115|S844)\)|\bS3150\b|\bS3140\b",
        PAUSE,
        0,
        4 * _HOUR,
        "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Your network is on our block list (S3150).",
    ),
    _rule(
        "microsoft.rate_limited",
        r"\((S775|S774|RP-00[1-3])\)|has been temporarily rate limited due to IP reputation|\bAS\(?8(43|44)\)?",
        RATE,
        10,
        30 * _MINUTE,
        "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. (S775)",
    ),
    _rule(
        "microsoft.throttled",
        r"4\.7\.500\b.{0,40}server busy|4\.3\.2 .{0,40}(STOREDRV|concurrent connections)",
        CONNECTIONS,
        0,
        30 * _MINUTE,
        "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (AS77713)",
    ),
    _rule(
        "google.unusual_rate",
        r"unusual rate of|[45]\.7\.28\b",
        RATE,
        10,
        30 * _MINUTE,
        "421-4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address.",
    ),
    _rule(
        "google.receiving_rate",
        r"our system has detected that this message is suspicious.{0,80}try again later|"
        r"sending (messages )?too (fast|quickly)|temporarily rate limited",
        RATE,
        30,
        15 * _MINUTE,
        "421 4.7.0 IP not in whitelist for RCPT domain, temporarily rate limited, closing connection.",
    ),
    _rule(
        "apple.too_many",
        r"\[(CS01|HM08)\]",
        RATE,
        10,
        30 * _MINUTE,
        "450 4.7.0 [CS01] Message rejected due to local policy. Please visit the postmaster page",
    ),
    _rule(
        "connections",
        r"too many (concurrent |simultaneous )?(\w+ )?(connections|sessions|threads)|"
        r"(connection|session|thread) limit (exceeded|reached)|(concurrent|simultaneous) connections? (limit|exceeded)|"
        r"concurrency limit",
        CONNECTIONS,
        0,
        30 * _MINUTE,
        "421 4.7.0 mx.example.com Error: too many connections from 192.0.2.1",
    ),
    _rule(
        "rate",
        r"(message|sending|hourly|mail|ip) rate (limit )?(exceeded|reached)|rate ?limit(ed| exceeded| reached)|"
        r"receiving mail (at a rate|too quickly) from|too many (messages|mails|emails) (from|in|per|sent)|"
        r"\bthrottl(ed|ing)\b|slow down",
        RATE,
        60,
        15 * _MINUTE,
        "450 4.7.1 Error: too many messages from 192.0.2.1 in 60 seconds, slow down",
    ),
)
"""The first that fits decides: those of a receiver before those that every server may mean."""

_LINES = re.compile(r"[\r\n]+(?:\d{3}[- ])?(?:[245]\.\d{1,3}\.\d{1,3} +)?")
_ABOUT_ONE = re.compile(r"^4\.2\.[12]$")


def find(code: int | None, enhanced: str, text: str) -> Rule | None:
    """The rule that a refusal falls under; None for those that say nothing about the host.

    Replies about one mailbox (`4.2.1 The user you are trying to contact is receiving mail at a rate …`) limit
    nobody else. Without a reply code it was no remote that spoke.
    """
    if code is None or code < 400 or _ABOUT_ONE.match(enhanced):
        return None
    whole = f"{enhanced} {_LINES.sub(' ', text[:4096])}"
    return next((rule for rule in RULES if rule.pattern.search(whole)), None)
