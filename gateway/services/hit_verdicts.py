"""Whether an open or a click was a person's: a table of signals over the evidence of one hit.

A rule of the first seconds after sending is not among them: scanners click most often after them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

HUMAN, MACHINE, UNKNOWN = "human", "machine", "unknown"

BURST_MS = 2000
BURST_LINKS = 3
"""So many distinct links of one delivery within `BURST_MS` nobody follows by hand."""

TRAP_MS = 5000
"""So near to a hit of the hidden link every hit of the delivery is that scanner's."""

_SCANNERS = re.compile(
    r"barracuda|proofpoint|mimecast|symantec|messagelabs|fireeye|trendmicro|sophos|forcepoint|websense|cloudmark"
    r"|bitdefender|kaspersky|eset|avast|googlebot|bingbot|bingpreview|slackbot|twitterbot|facebookexternalhit"
    r"|linkedinbot|whatsapp|telegrambot|skypeuripreview|discordbot|headlesschrome|phantomjs|puppeteer|playwright"
    r"|selenium|curl/|wget/|python-|python/|go-http-client|okhttp|java/|libwww|httpclient|axios|node-fetch|scrapy"
    r"|\bbot\b|crawler|spider|urlscan|virustotal|safelinks|link ?check|preview",
    re.IGNORECASE,
)
_GOOGLE = re.compile(r"GoogleImageProxy", re.IGNORECASE)
_YAHOO = re.compile(r"YahooMailProxy", re.IGNORECASE)
_APPLE_NET = ipaddress.ip_network("17.0.0.0/8")  # assigned to Apple as a whole


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a hit. `delivered_ms` is the remote's 250: None while there was none."""

    at_ms: int
    is_open: bool
    method: str = "GET"
    purpose: str = ""  # Sec-Purpose, Purpose or X-Purpose
    agent: str = ""
    ip: str = ""
    delivered_ms: int | None = None
    in_flight: bool = False  # the outcome of its attempt may not be written yet
    burst: bool = False
    trapped: bool = False  # whoever it was followed the link that no reader sees


@dataclass(frozen=True, slots=True)
class Verdict:
    """`word` is human, machine or unknown; `reasons` the signals behind it, none for human."""

    word: str
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Signal:
    reason: str
    verdict: str
    holds: Callable[[Evidence], bool]


SIGNALS = (
    Signal("head_request", MACHINE, lambda hit: hit.method == "HEAD"),
    Signal("prefetch", MACHINE, lambda hit: bool(re.search(r"prefetch|preview|prerender", hit.purpose, re.IGNORECASE))),
    Signal("before_delivery", MACHINE, lambda hit: _is_early(hit)),
    Signal("burst", MACHINE, lambda hit: hit.burst),
    Signal("honeypot", MACHINE, lambda hit: hit.trapped),
    Signal("scanner_agent", MACHINE, lambda hit: bool(_SCANNERS.search(hit.agent))),
    # Mail Privacy Protection loads the images of every message, read or not, and says no more than this.
    Signal("apple_proxy", MACHINE, lambda hit: hit.is_open and _is_apple(hit)),
    # These load when somebody reads, and now and then on their own: who it was is not to be seen.
    Signal("google_proxy", UNKNOWN, lambda hit: hit.is_open and bool(_GOOGLE.search(hit.agent))),
    Signal("yahoo_proxy", UNKNOWN, lambda hit: hit.is_open and bool(_YAHOO.search(hit.agent))),
    Signal("no_user_agent", UNKNOWN, lambda hit: not hit.agent.strip()),
    Signal("no_outcome_yet", UNKNOWN, lambda hit: hit.delivered_ms is None and hit.in_flight),
)
"""Machine wins over unknown, unknown over human, which is what is left."""


def judge(hit: Evidence) -> Verdict:
    """The verdict with every signal that speaks for it."""
    found = [signal for signal in SIGNALS if signal.holds(hit)]
    for word in (MACHINE, UNKNOWN):
        reasons = [signal.reason for signal in found if signal.verdict == word]
        if reasons:
            return Verdict(word, reasons)
    return Verdict(HUMAN, [])


def is_burst(at_ms: int, clicks: Iterable[tuple[int, str]]) -> bool:
    """Whether a click at `at_ms` is one of `BURST_LINKS` distinct links within `BURST_MS`.

    `clicks` are the time and the URL of every click of the delivery, this one among them.
    """
    near = sorted((ms, url) for ms, url in clicks if abs(ms - at_ms) <= BURST_MS)
    for start, _ in near:
        if start > at_ms or start + BURST_MS < at_ms:
            continue
        if len({url for ms, url in near if start <= ms <= start + BURST_MS}) >= BURST_LINKS:
            return True
    return False


def is_trapped(at_ms: int, visitor: str, caught: Iterable[tuple[str, int]]) -> bool:
    """Whether a hit belongs to somebody who followed the hidden link: the same visitor, or anybody close to it.

    `caught` are visitors and times; scanners come from many addresses at once.
    """
    return any(who == visitor or abs(at_ms - ms) <= TRAP_MS for who, ms in caught)


def _is_early(hit: Evidence) -> bool:
    if hit.delivered_ms is None:
        return not hit.in_flight
    return hit.at_ms < hit.delivered_ms


def _is_apple(hit: Evidence) -> bool:
    if hit.agent.strip() == "Mozilla/5.0":
        return True
    try:
        return ipaddress.ip_address(hit.ip) in _APPLE_NET
    except ValueError:
        return False
