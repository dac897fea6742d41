"""What an address tells by itself: a role, a free or throw-away provider, a domain that was probably mistyped."""

from __future__ import annotations

import functools

from disposable_email_domains import blocklist
from rapidfuzz.distance import DamerauLevenshtein

ROLES = frozenset(
    (
        "abuse accounting accounts admin administrator all billing bookings careers contact customerservice"
        " enquiries everyone feedback finance helpdesk hello help hostmaster hr info inquiries invoices it jobs"
        " legal list mail mailer-daemon marketing media news newsletter no-reply noc noreply office orders"
        " postmaster press privacy root sales security service shop spam staff support sysadmin team tech"
        " undisclosed-recipients unsubscribe usenet users webmaster welcome www"
    ).split()
)
"""Local parts that stand for a function and not for a person (RFC 2142 and custom)."""

FREE = frozenset(
    (
        "126.com 163.com aim.com alice.it aol.com arcor.de att.net bellsouth.net bigpond.com bluewin.ch"
        " bol.com.br bt.com btinternet.com btopenworld.com charter.net comcast.net cox.net daum.net duck.com"
        " earthlink.net fastmail.com fastmail.fm free.fr freenet.de gmail.com gmx.at gmx.ch gmx.com gmx.de gmx.net"
        " googlemail.com hanmail.net hey.com hotmail.be hotmail.co.uk hotmail.com hotmail.de hotmail.es hotmail.fr"
        " hotmail.it hotmail.nl hushmail.com icloud.com inbox.ru juno.com laposte.net libero.it list.ru live.co.uk"
        " live.com live.de live.fr live.it live.nl mac.com mail.com mail.ru me.com msn.com naver.com netzero.net"
        " ntlworld.com o2.pl online.de optonline.net orange.fr outlook.com outlook.de outlook.es outlook.fr pm.me"
        " proton.me protonmail.ch protonmail.com qq.com rambler.ru rediffmail.com rocketmail.com rogers.com"
        " sbcglobal.net seznam.cz sfr.fr shaw.ca sina.com sky.com t-online.de talktalk.net telenet.be tiscali.it"
        " tuta.com tutanota.com tutanota.de ukr.net uol.com.br verizon.net virgilio.it virgin.net virginmedia.com"
        " wanadoo.fr web.de wp.pl xs4all.nl yahoo.ca yahoo.co.in yahoo.co.jp yahoo.co.uk yahoo.com yahoo.com.au"
        " yahoo.com.br yahoo.de yahoo.es yahoo.fr yahoo.in yahoo.it yandex.com yandex.ru ymail.com zoho.com"
    ).split()
)
"""Providers where anybody has a mailbox."""

_POPULAR = tuple(
    (
        "gmail.com googlemail.com yahoo.com hotmail.com outlook.com icloud.com aol.com live.com msn.com me.com"
        " mac.com comcast.net verizon.net att.net sbcglobal.net bellsouth.net cox.net charter.net ymail.com"
        " protonmail.com proton.me gmx.de gmx.net gmx.com web.de t-online.de freenet.de hotmail.co.uk yahoo.co.uk"
        " btinternet.com virginmedia.com sky.com orange.fr wanadoo.fr free.fr laposte.net sfr.fr hotmail.fr"
        " yahoo.fr libero.it virgilio.it hotmail.it yahoo.it hotmail.es yahoo.es outlook.fr outlook.es outlook.de"
        " mail.ru yandex.ru rambler.ru seznam.cz wp.pl o2.pl fastmail.com zoho.com"
    ).split()
)
_NEAR_TLDS = {
    "con": "com", "cmo": "com", "ocm": "com", "comm": "com", "vom": "com", "xom": "com", "cpm": "com", "clm": "com",
    "om": "com", "coom": "com", "nte": "net", "ner": "net", "nett": "net", "met": "net", "ogr": "org", "orgg": "org",
    "rog": "org", "fe": "de", "ed": "de",
}  # fmt: skip
"""Endings that are hardly ever meant; those among them that exist are taken only where the rest is a known name."""
_EXISTING = frozenset({"om", "met", "ed", "fe"})
_SHORT = 8
"""Domains of fewer characters differ by one letter without being a mistake of each other."""


def local_part(address: str) -> str:
    """Without its label, in lower case."""
    return address.rpartition("@")[0].partition("+")[0].lower()


def is_role(address: str) -> bool:
    return local_part(address) in ROLES


def is_free(domain: str) -> bool:
    return domain.lower() in FREE


def is_disposable(domain: str) -> bool:
    """Whether it, or a domain above it, gives out mailboxes to be thrown away."""
    labels = domain.lower().split(".")
    return any(".".join(labels[at:]) in blocklist for at in range(len(labels) - 1))


@functools.lru_cache(maxsize=8192)
def suggestion(domain: str) -> str:
    """The well-known domain that was probably meant, '' where nothing speaks for a mistake."""
    domain = domain.lower()
    if domain in FREE or domain in _POPULAR:
        return ""
    name, _, ending = domain.rpartition(".")
    meant = _NEAR_TLDS.get(ending)
    if meant is not None and (f"{name}.{meant}" in _POPULAR or ending not in _EXISTING):
        return f"{name}.{meant}"
    best = min(_POPULAR, key=lambda popular: (DamerauLevenshtein.distance(domain, popular), popular))
    distance = DamerauLevenshtein.distance(domain, best)
    allowed = 0 if len(domain) < _SHORT else 1 if len(domain) < 11 else 2
    return best if 0 < distance <= allowed and domain[0] == best[0] else ""
