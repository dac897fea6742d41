"""Groups of mail exchangers: which hosts are one destination, and how it wants to be written to."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from gateway.dns import names

GOOGLE, MICROSOFT, MICROSOFT365, YAHOO, APPLE = "google", "microsoft", "microsoft365", "yahoo", "apple"


@dataclass(frozen=True, slots=True)
class Manners:
    """The most connections of an installation at one time, and messages on each."""

    connections: int
    messages: int


DEFAULT = Manners(10, 100)

MANNERS = {
    GOOGLE: Manners(5, 50),
    MICROSOFT: Manners(5, 50),
    MICROSOFT365: Manners(5, 50),
    YAHOO: Manners(10, 20),
    APPLE: Manners(5, 50),
}
"""How the large receivers want it; Yahoo names no number of connections but counts messages on each."""

# The longest name that a host ends with decides.
_ENDINGS = {
    "google.com": GOOGLE,
    "googlemail.com": GOOGLE,
    "psmtp.com": GOOGLE,
    "olc.protection.outlook.com": MICROSOFT,
    "hotmail.com": MICROSOFT,
    "mail.protection.outlook.com": MICROSOFT365,
    "mail.eo.outlook.com": MICROSOFT365,
    "mx.microsoft": MICROSOFT365,
    "yahoodns.net": YAHOO,
    "yahoo.com": YAHOO,
    "aol.com": YAHOO,
    "icloud.com": APPLE,
    "apple.com": APPLE,
    "ppe-hosted.com": "proofpoint",
    "pphosted.com": "proofpoint",
    "mimecast.com": "mimecast",
    "mimecast.co.za": "mimecast",
    "messagelabs.com": "messagelabs",
    "iphmx.com": "ironport",
    "gmx.net": "united-internet",
    "web.de": "united-internet",
    "1and1.com": "united-internet",
    "ionos.com": "united-internet",
    "kundenserver.de": "united-internet",
}


@functools.lru_cache(maxsize=8192)
def group_of(host: str) -> str:
    """The group of a mail exchanger's host: a receiver of the table, else the domain that was registered.

    An address is a group of its own.
    """
    name = host.strip("[]").rstrip(".").lower()
    if ":" in name or name.replace(".", "").isdigit():
        return name
    labels = name.split(".")
    for start in range(len(labels)):
        known = _ENDINGS.get(".".join(labels[start:]))
        if known is not None:
            return known
    return names.registrable(name)


def manners(group: str) -> Manners:
    return MANNERS.get(group, DEFAULT)
