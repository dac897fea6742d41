"""What a refusal means: the table of reply texts and status codes, each with the reply that taught it."""

from __future__ import annotations

import re
from dataclasses import dataclass

RECIPIENT = "recipient"  # there is no such mailbox, or it is closed for good
MAILBOX_FULL = "mailbox_full"  # it exists and has no room
POLICY = "policy"  # a rule of the receiver: authentication, rate, greylisting, relaying
REPUTATION = "reputation"  # what the receiver thinks of our address or domain
CONTENT = "content"  # this very message: spam, virus, size, form
NETWORK = "network"  # the way there or the remote system
PROTOCOL = "protocol"  # the dialogue went wrong
OURS = "ours"  # our sender address, credentials or settings

SUPPRESSING = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
"""RFC 3463 codes that say the address will not work tomorrow either."""

RETRY_LIMIT = 24 * 3600

_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_ADDRESS = re.compile(r"[^\s<>@,;:()\"']{1,64}@[A-Za-z0-9.-]{1,253}")
_CONTINUATION = re.compile(r"[\r\n]+(?:\d{3}[- ])?(?:[245]\.\d{1,3}\.\d{1,3} +)?")


@dataclass(frozen=True, slots=True)
class Rule:
    """The first rule whose pattern occurs in the text decides; `seen` is a reply it was made for."""

    category: str
    pattern: re.Pattern[str]
    seen: str


def _rule(category: str, pattern: str, seen: str) -> Rule:
    return Rule(category, re.compile(pattern, re.IGNORECASE), seen)


RULES: tuple[Rule, ...] = (
    # Reputation before all else: blocklists are named in replies with any code, even 5.1.1.
    _rule(
        REPUTATION,
        r"spamhaus|spamcop|barracuda ?(central|reputation)|sorbs|uceprotect|"
        r"surbl|uribl|\bdnsbl\b|\b(dns_?)?rbl\b|proofpoint\.com/dnsbl|abusix|\bhl:rep\b|"
        r"(client host|host|ip) \S+ (is )?blocked using",
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
    ),
    _rule(
        REPUTATION,
        r"block ?list|blacklist|black listed|deny ?list|on our block list|banned send(ing ip|er)|"
        r"is blocked by|\[ts0[0-9]\]",
        "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Your network is on our block list (S3150).",
    ),
    _rule(
        REPUTATION,
        r"(low|bad|poor|very low) (sender |sending )?(domain |ip )?reputation|reputation of the (sending|sender)|"
        r"due to (the )?(very low )?reputation|reputation score|sender ?score|"
        r"reputation is (too |very )?(poor|bad|low)",
        "550-5.7.1 Our system has detected that this message is likely suspicious due to the very low reputation of the"
        " sending domain.",
    ),
    _rule(
        REPUTATION,
        r"\[tss0[0-9]\]|temporarily deferred due to (unexpected volume or )?user complaints|user complaints",
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
    ),
    _rule(
        REPUTATION,
        r"(unsolicited mail|spam|abuse) ((originating|coming|received) )?from your (ip|network|server|host)|"
        r"spam (reports|complaints)|\bip\b.{0,40} (found|listed|listing) (in|on|by|at)\b|"
        r"unusual rate of unsolicited mail|your (ip|server|host|network) (address )?(has been|was|is) "
        r"(temporarily )?(blocked|rejected|banned)",
        "421-4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address.",
    ),
    # Authentication and rates.
    _rule(
        POLICY,
        r"\bdmarc\b|\bspf\b|\bdkim\b|unauthenticated (email|mail|message)|not (pass )?authenticat|"
        r"authentication checks|(required|does not meet the) .{0,20}authentication",
        "550-5.7.26 Unauthenticated email from example.com is not accepted due to domain's DMARC policy.",
    ),
    _rule(
        POLICY,
        r"gr[ae]y-?list|postgrey",
        "450 4.2.0 <jane@example.com>: Recipient address rejected: Greylisted, see http://postgrey.example/",
    ),
    _rule(
        POLICY,
        r"rate limit|ratelimit|too many (messages|connections|recipients|emails|mails|concurrent|requests|sessions)|"
        r"throttl|receiving mail (at a rate|too quickly)|exceeded .{0,30}(rate|limit on (messages|connections))|"
        r"sending (too (fast|quickly|much)|limit)|unusual rate|hourly limit|daily .{0,20}limit|message rate|"
        r"(submission|sending) rate|thread limit|frequency limited|slow down|too many (invalid|bad|unknown) recipients|"
        r"excessive volume",
        "450-4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages.",
    ),
    _rule(
        POLICY,
        r"rela(y|ying) (access )?(is )?(denied|not permitted|not allowed|prohibited)|unable to relay|"
        r"not permitted to relay|relay not permitted|we do not relay",
        "554 5.7.1 <jane@example.com>: Relay access denied",
    ),
    _rule(
        POLICY,
        r"reverse (dns|lookup|hostname)|\bptr\b|rdns|cannot find your (reverse )?hostname|helo command rejected|"
        r"starttls (is )?required|must issue a starttls|tls (is )?required|encryption (is )?required",
        "550-5.7.25 The IP address sending this message does not have a PTR record setup.",
    ),
    _rule(
        POLICY,
        r"administrative(ly)? prohibit|blocked senders|security polic(y|ies)|(rejected|refused|reject|accepted) "
        r"(by|due to|for) (local )?policy|helo rejected|not in my list of allowed|isn't in my list of allowed",
        "554 Transaction failed Reject due to policy restrictions.",
    ),
    _rule(
        OURS,
        r"your account (has been |is )(temporarily )?(suspended|disabled|blocked|locked)|verified sender identity|"
        r"(is )?not allowed to send\b(?! to)|permissions? to send as|not authenticated to send|"
        r"required for sender address",
        "550 5.7.1 Your account has been suspended for sending spam-like mail",
    ),
    # The message itself.
    _rule(
        CONTENT,
        r"virus|malware|potential security issue|phishing|infected|executable (file|attachment)|dangerous attachment|"
        r"(prohibited|forbidden|illegal|blocked) attachment|"
        r"attachment .{0,40}(blocked|not (allowed|accepted|permitted))",
        "552-5.7.0 This message was blocked because its content presents a potential security issue: virus.",
    ),
    _rule(
        CONTENT,
        r"message (is |was |file )?(too (big|large)|size exceeds|exceeds .{0,30}size)|(maximum|fixed) (message )?size|"
        r"(?<!mailbox )size limit|larger than the (current )?(system|server) limit|exceeded .{0,20}message size",
        "552 5.3.4 Message size exceeds fixed limit",
    ),
    _rule(
        CONTENT,
        r"\bspam(my|assassin)?\b|\bjunk\b|\bunsolicited\b|\bbulk mail\b|\bucea?\b|content (was |is )?(rejected|denied|"
        r"blocked|filter)|message filtered|\bdt:spm\b|"
        r"message (content )?(rejected|blocked|refused) (as|due to|because of) .{0,30}content",
        "554 5.7.1 This message has been rejected as spam",
    ),
    # The mailbox.
    _rule(
        MAILBOX_FULL,
        r"over ?quota|quota (is )?(exceed|full)|exceed(s|ed|ing)? .{0,40}(quota|storage)|mailbox (is |has |size )?"
        r"(full|limit|exceed)|out of (storage|quota)|(inbox|storage|mail ?folder|account) (is )?full|"
        r"insufficient mailbox ?(space|storage)|no space left(?! on dev)|storage (allocation|limit)|quotaexceeded|"
        r"not enough (storage|space)|space (is )?not enough|mailbox size limit",
        "452-4.2.2 The email account that you tried to reach is over quota.",
    ),
    # Our own sender address or credentials, before the recipient: both say "address rejected".
    _rule(
        OURS,
        r"sender (address |domain |verify )?(rejected|failed|denied|not (found|exist|verified|allowed))|"
        r"(domain of sender|sender domain|sender's domain) .{0,40}(not (exist|resolve|found)|invalid)|"
        r"(invalid|bad|unknown) sender|verification failed for <|from address .{0,30}not (verified|allowed)|"
        r"email address is not verified|not authorized to send (as|from|on behalf)|sendasdenied",
        "550 5.1.8 <jane@example.com>: Sender address rejected: Domain not found",
    ),
    _rule(
        OURS,
        r"authentication (is )?required|authentication (credentials|failed|unsuccessful)|"
        r"(username|user name|login).{0,20}password.{0,20}(incorrect|not accepted|invalid)|must authenticate|"
        r"(account|subscription) .{0,30}(suspended for sending|billing|past due)",
        "535 5.7.8 Error: authentication failed",
    ),
    _rule(
        NETWORK,
        r"dns (domain|query|error|failure|lookup)|resources temporarily (not available|unavailable)",
        "550 5.4.310 DNS domain example.com does not exist",
    ),
    _rule(
        RECIPIENT,
        r"(user|recipient|mailbox|address|account|addressee|inbox|alias)( name)?( is| was)? "
        r"(unknown|not known|invalid|not found|not valid|disabled|inactive|deactivated|suspended|closed|terminated)|"
        r"(unknown|invalid|no such|nonexistent|non-existent) (local )?(user|recipient|mailbox|address|account|"
        r"person|alias|e-?mail|addressee)|unknown or illegal alias|unknown in (virtual|local|relay)",
        "550 5.1.1 <jane@example.com>: Recipient address rejected: User unknown in virtual mailbox table",
    ),
    _rule(
        RECIPIENT,
        r"(does not|doesn't|did not|not) exist|(does not|doesn't) have an? .{0,30}(account|mailbox)|"
        r"no (mailbox|user|account|address) (here|by that name|found|with that name)|"
        r"(user|recipient|account) has moved|"
        r"no longer (available|exists?|in use|active|accepts|valid|with)|not our customer|"
        r"(mailbox|account|user|recipient) (is )?(currently )?(unavailable|not available|blocked|locked)|"
        r"mailbox unavailable|unrouteable address|unroutable address",
        "550-5.1.1 The email account that you tried to reach does not exist. Please try double-checking the address.",
    ),
    _rule(
        RECIPIENT,
        r"recipnotfound|recipient not found|not a valid (user|recipient|mailbox|address)|"
        r"(account|mailbox|user) .{0,40}(has been |is )(disabled|deactivated|suspended|discontinued)|"
        r"is not a (known|valid) .{0,20}(user|recipient|mailbox)|recipient address rejected: access denied|"
        r"couldn't be found|invalid mailbox|undeliverable address|delivery not allowed to non-local|dd .{0,60} no user",
        "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)",
    ),
    _rule(
        NETWORK,
        r"timed? ?out|connection (refused|reset|lost|closed|dropped)|no route to host|network is unreachable|"
        r"(host|domain|name) .{0,40}not found|nxdomain|servfail|name service error|no (mx|mail exchanger)|"
        r"too many hops|hop count|mail loop|loops back|lost connection|bad dns|lookup failure",
        "451 4.3.0 <jane@example.com>: Temporary lookup failure; connect to mx.example.com[192.0.2.1]:25:"
        " Connection timed out",
    ),
)

VAGUE: tuple[Rule, ...] = (
    _rule(
        NETWORK,
        r"try (again )?later|temporary|temporarily|service (is )?(unavailable|not available)|"
        r"system (is )?(busy|resources)",
        "451 Temporary local problem - please try later",
    ),
)
"""Words that only count where no enhanced code says more."""

CODES: dict[str, str] = {
    # RFC 3463 and the IANA registry, without the class.
    "1.0": RECIPIENT,
    "1.1": RECIPIENT,
    "1.2": RECIPIENT,
    "1.3": RECIPIENT,
    "1.4": RECIPIENT,
    "1.6": RECIPIENT,
    "1.9": NETWORK,
    "1.10": RECIPIENT,
    "2.0": RECIPIENT,
    "2.1": RECIPIENT,
    "2.2": MAILBOX_FULL,
    "2.3": CONTENT,
    "2.4": RECIPIENT,
    "3.3": PROTOCOL,
    "3.4": CONTENT,
    "5.3": POLICY,
    "7.8": OURS,
    "7.14": OURS,
}
_SENDER = frozenset({"1.7", "1.8"})
"""They say that the refused address is the sender's, which the words alone often leave open."""
SUBJECTS: dict[str, str] = {"3": NETWORK, "4": NETWORK, "5": PROTOCOL, "6": CONTENT, "7": POLICY}

_CREDENTIALS = frozenset({530, 534, 535, 538})
"""RFC 4954 §6: these are about our login whatever the enhanced code."""

REPLIES: dict[int, str] = {
    # RFC 5321 §4.2.3, for replies that say nothing else.
    421: NETWORK,
    451: NETWORK,
    452: NETWORK,
    455: PROTOCOL,
    500: PROTOCOL,
    501: PROTOCOL,
    502: PROTOCOL,
    503: PROTOCOL,
    504: PROTOCOL,
    530: OURS,
    534: OURS,
    535: OURS,
    538: OURS,
    551: RECIPIENT,
    552: MAILBOX_FULL,
    555: PROTOCOL,
    556: RECIPIENT,
}


def category(code: int | None, enhanced: str, text: str) -> str:
    """The category of a refusal, '' when nothing is known; `code` None means that no reply came.

    The words decide before the enhanced code and that before the reply code: servers word their
    replies with more care than they number them. But a code of the recipient classes is not read as trouble
    on the way: `5.1.2 Domain not found` is about the address. Addresses in the text prove nothing.
    """
    text = _ADDRESS.sub("@", _CONTINUATION.sub(" ", text[:4096]))
    _, _, detail = (enhanced or enhanced_code(text)).partition(".")
    if detail in _SENDER:
        return OURS
    by_code = CODES.get(detail) or SUBJECTS.get(detail.partition(".")[0])
    for rule in RULES if by_code else RULES + VAGUE:
        if rule.pattern.search(text):
            return RECIPIENT if rule.category == NETWORK and by_code == RECIPIENT else rule.category
    if code in _CREDENTIALS:
        return OURS
    if by_code:
        # 421 closes the channel (RFC 5321 §3.8): it cannot be about one recipient.
        return NETWORK if code == 421 and by_code == RECIPIENT else by_code
    if code is None:
        return NETWORK
    return REPLIES.get(code, "")


def enhanced_code(text: str) -> str:
    """The first RFC 3463 code in a reply, '' without one."""
    found = _ENHANCED.search(text[:4096])
    return found[0] if found else ""


def suppresses(category: str, enhanced: str) -> bool:
    """Whether a bounce says that the address itself is dead, so that it must not be written to again.

    Without an enhanced code the category must have come from unmistakable words; with one it must be
    of the recipient classes, because 5.7.x and x.4.x are about us or the way there.
    """
    return category == RECIPIENT and (not enhanced or enhanced in SUPPRESSING)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = r"(\d{1,6}|an?|one)\s*(s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?|days?)\b"
_RETRY = re.compile(
    rf"(?:(?:again|retry|resend|back|resume)\b.{{0,40}}?\b(?:in|after|within)|wait(?: for)?|retry-after:?|"
    rf"gr[ae]y-?list(?:ed|ing)?.{{0,40}}?\b(?:for|in|after)|deferred for|delayed? (?:for|by)|come back in)"
    rf"\s+(?:at least |about |approximately |another |~)?{_SPAN}",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"(?:again|retry|wait|back|gr[ae]y-?list).{0,40}?\b(?:in|for|after)\s+(\d{1,2}):(\d\d):(\d\d)\b", re.IGNORECASE
)


def retry_after(text: str) -> int | None:
    """The seconds that a reply asks us to wait, from 1 to a day; None when it names no time."""
    text = _CONTINUATION.sub(" ", text[:4096])
    found = _RETRY.search(text)
    if found:
        number = int(found[1]) if found[1].isdigit() else 1
        seconds = number * _UNITS[found[2][0].lower()]
    else:
        clock = _CLOCK.search(text)
        if not clock:
            return None
        seconds = int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3])
    return min(seconds, RETRY_LIMIT) if seconds > 0 else None
