"""What a user agent says of its device and its program, by ua-parser and a few rules of mail clients on top."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import ua_parser

DESKTOP, MOBILE, TABLET = "desktop", "mobile", "tablet"
_LENGTH = 64
_IN_APP = "Mobile Safari UI/WKWebView"
_CLIENTS = {
    "GmailImageProxy": "Gmail",
    "YahooMailProxy": "Yahoo Mail",
    "MacOutlook": "Outlook for Mac",
    "Outlook-iOS": "Outlook for iOS",
    "WindowsLiveMail": "Windows Live Mail",
}
"""Families of ua-parser by the name of the program as people know it."""

_OWN = (
    (re.compile(r"SamsungEmail/", re.IGNORECASE), "Samsung Email"),
    (re.compile(r"Outlook-Android/", re.IGNORECASE), "Outlook for Android"),
)
_PROXIES = frozenset({"GmailImageProxy", "YahooMailProxy"})
_DESKTOPS = re.compile(r"Windows(?! Phone)|Mac OS X|Linux|Ubuntu|Fedora|Debian|Chrome OS|FreeBSD|OpenBSD|Solaris")


@dataclass(frozen=True, slots=True)
class Agent:
    """Each '' where the agent does not tell: `kind` is desktop, mobile or tablet, `client` a mail client or browser."""

    device: str = ""
    kind: str = ""
    client: str = ""


@functools.lru_cache(maxsize=4096)
def read(text: str, *, is_open: bool) -> Agent:
    """What an open or a click tells. A proxy tells of the mail client behind it and of nothing else."""
    if not text.strip():
        return Agent()
    found = ua_parser.parse(text.encode("utf-8", "replace").decode("utf-8"))
    family = found.user_agent.family if found.user_agent else ""
    client = next((name for pattern, name in _OWN if pattern.search(text)), _CLIENTS.get(family, family))
    if family == _IN_APP:
        # Apple Mail shows messages in it, other apps the pages that are clicked.
        client = "Apple Mail" if is_open else "in-app browser"
    device = found.device.family if found.device else ""
    if family in _PROXIES or device == "Spider":
        return Agent(client=client[:_LENGTH])
    system = found.os.family if found.os else ""
    kind = _kind(text, system, device)
    return Agent((device or ("PC" if kind == DESKTOP else ""))[:_LENGTH], kind, client[:_LENGTH])


def _kind(text: str, system: str, device: str) -> str:
    if system == "iOS":
        return TABLET if "iPad" in text or device.startswith("iPad") else MOBILE
    if system == "Android":
        # Tablets leave the word out, as browsers on Android have done from the beginning.
        return MOBILE if "mobile" in text.lower() or device.startswith("Generic Smart") else TABLET
    if system.startswith("Windows Phone"):
        return MOBILE
    return DESKTOP if _DESKTOPS.match(system) else ""
