"""Links of an HTML content as spam filters see them: where they say they lead, and where they do."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.mail.content_findings import Finding, Place

SHORTENERS = frozenset(
    (
        "adf.ly amzn.to bit.do bit.ly bitly.com buff.ly cutt.ly dlvr.it fb.me goo.gl is.gd j.mp lnkd.in ow.ly rb.gy"
        " rebrand.ly s.id shorturl.at shrtco.de snip.ly t.co t.ly tiny.cc tinyurl.com trib.al u.to v.gd x.co zpr.io"
    ).split()
)
"""Hosts that hide where a link leads; filters distrust them, some refuse them."""

_LOOKS_LIKE_URL = re.compile(
    r"\s*(?:https?://)?((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24})(?:[/:?#]\S*)?\s*\Z", re.IGNORECASE
)
_EMPTY_WORDS = frozenset("click here|here|more|read more|link|this link|hier|mehr|ici|aquí|qui".split("|"))
_SCHEMES = ("http", "https", "mailto", "tel", "sms", "")
_PLACEHOLDER = re.compile(r"\{\{|\{%|%[a-z_]+%|\[\[", re.IGNORECASE)
_SECOND_LEVEL = frozenset("ac co com edu gov net org ne or go".split())


def owner(host: str) -> str:
    """The part of a host name that somebody registered, as far as its last labels tell."""
    labels = host.lower().rstrip(".").split(".")
    deep = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3:] if deep else labels[-2:])


def host_of(href: str) -> str:
    """The host that an http or https link leads to, '' where it has none."""
    try:
        parts = urlsplit(href.strip())
        return (parts.hostname or "") if parts.scheme.lower() in ("http", "https") else ""
    except ValueError:
        return ""


def check(href: str, words: str) -> Iterator[Finding]:
    """What speaks against a link that shows `words`."""
    where = Place("html")
    if _PLACEHOLDER.search(href):
        return
    scheme = href.strip().partition(":")[0].lower() if re.match(r"\s*[a-z][a-z0-9+.-]*:", href, re.IGNORECASE) else ""
    if scheme not in _SCHEMES:
        yield Finding(
            "link_scheme", 15, f"A link with the scheme {scheme[:20]}: does nothing in mail, or is blocked.",
            "Link to an https page.", where,
        )  # fmt: skip
        return
    host = host_of(href)
    if not host:
        return
    if scheme == "http":
        yield Finding("link_not_https", 2, "A link goes over plain http.", "Use https.", where)
    if owner(host) in SHORTENERS or host in SHORTENERS:
        yield Finding(
            "url_shortener", 10, f"A link hides its target behind {host}.",
            "Link to the page itself; clicks are counted without a shortener.", where,
        )  # fmt: skip
    if _is_address(host):
        yield Finding("link_to_address", 12, f"A link leads to the bare address {host}.", "Link to a name.", where)
    if "@" in href.partition("//")[2].partition("/")[0]:
        yield Finding("link_with_user", 12, "A link has a user name before its host.", "Take it out.", where)
    if "xn--" in host or not host.isascii():
        yield Finding(
            "link_idn", 3, f"A link leads to the internationalised name {host}.",
            "Make sure that it cannot be taken for another one.", where,
        )  # fmt: skip
    shown = _LOOKS_LIKE_URL.match(words)
    if shown is not None and "@" not in words and owner(shown[1]) != owner(host):
        yield Finding(
            "link_mismatch", 15, f"A link shows {shown[1]} and leads to {host}.",
            "Show words, or the host that it leads to.", where,
        )  # fmt: skip
    if words.strip().lower() in _EMPTY_WORDS:
        yield Finding(
            "link_words", 1, f"The words of a link say nothing of its target: {words.strip()!r}.",
            "Say where it leads: screen readers read links out of their context.", where,
        )  # fmt: skip


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.isdigit() or host.lower().startswith("0x")
    return True
