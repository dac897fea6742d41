"""The DNS records that a sender domain should have, and what in DNS fulfils each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.mail import dkim

TRACKING_LABEL = "track"
OWNERSHIP_LABEL = "_commandpost"

_TAG_SPACE = re.compile(r"\s+")
_SPF = re.compile(r"v=spf1(?:\s|$)", re.IGNORECASE)
_ALL = re.compile(r"[-+~?]?all", re.IGNORECASE)
_END_OF_SPF = re.compile(r"[-+~?]?all|redirect=.*", re.IGNORECASE)
_POLICIES = ("none", "quarantine", "reject")


class Purpose(StrEnum):
    OWNERSHIP = "ownership"  # the domain's owner asked for it
    DKIM = "dkim"
    RETURN_PATH = "return_path"  # where bounces come back to
    SPF = "spf"
    DMARC = "dmarc"
    TRACKING = "tracking"  # host of links and opens


@dataclass(frozen=True, slots=True)
class WantedRecord:
    """A record to be published; `host` is absolute, lower case, without the final dot."""

    purpose: Purpose
    host: str
    type: str  # TXT | CNAME
    value: str
    required: bool  # the domain sends nothing before it is there
    selector: str = ""  # of a DKIM record
    gateway: str = ""  # of an SPF record: the host to include
    content: str = ""  # of a DKIM record that is a CNAME: the key that is to be seen through it


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half of a DKIM key; `public` is the base64 text of `p=`."""

    selector: str
    algorithm: str  # rsa | ed25519
    public: str
    signs: bool = True

    @property
    def value(self) -> str:
        return dkim.dns_value(self.algorithm, self.public)


def wanted(
    *,
    domain: str,
    token: str,
    keys: Sequence[PublicKey],
    return_path: str,
    hostname: str,
    tracking: str = "",
    zone: str = "",
) -> list[WantedRecord]:
    """Every record that `domain` should have; `hostname` is the gateway's name, `return_path` the bounce host.

    `tracking` is the host of its links, where it has one of its own. With `zone`, in which the operator publishes
    keys, the records of DKIM are CNAMEs into it.

    Ownership and the RSA key that signs are required: every receiver checks RSA, few check Ed25519 (RFC 8463) yet.
    """
    return [
        WantedRecord(
            Purpose.OWNERSHIP, f"{OWNERSHIP_LABEL}.{domain}", "TXT", f"commandpost-verification={token}", True
        ),
        *(
            WantedRecord(
                Purpose.DKIM,
                f"{key.selector}._domainkey.{domain}",
                "CNAME" if zone else "TXT",
                f"{key.selector}.{zone}" if zone else key.value,
                key.algorithm == dkim.RSA and key.signs,
                key.selector,
                content=key.value,
            )
            for key in keys
        ),
        WantedRecord(Purpose.RETURN_PATH, return_path, "CNAME", hostname, False),
        WantedRecord(Purpose.SPF, domain, "TXT", f"v=spf1 include:{hostname} ~all", False, gateway=hostname),
        WantedRecord(Purpose.DMARC, f"_dmarc.{domain}", "TXT", "v=DMARC1; p=none", False),
        WantedRecord(Purpose.TRACKING, tracking or f"{TRACKING_LABEL}.{domain}", "CNAME", hostname, False),
    ]


def tags(text: str) -> dict[str, str]:
    """The `tag=value` list of RFC 6376 §3.2, names in lower case; {} when it is none or names a tag twice."""
    found: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if not equals or not name or name in found:
            return {}
        found[name] = value.strip()
    return found


def is_ownership(text: str, wanted_value: str) -> bool:
    """Whether the record carries the token; quotes that a DNS form kept are forgiven."""
    return text.strip().strip('"').strip().lower() == wanted_value.lower()


def is_dkim_key(text: str, wanted_value: str) -> bool:
    """Whether the record holds the wanted key, in whatever order, case and spacing (RFC 6376 §3.6.1)."""
    have, want = tags(text.strip().strip('"')), tags(wanted_value)
    return (
        have.get("v", "DKIM1") == "DKIM1"
        and have.get("k", "rsa").lower() == want["k"]
        and _TAG_SPACE.sub("", have.get("p", "")) == want["p"]
        and not {"*", "email"}.isdisjoint(have.get("s", "*").replace(" ", "").split(":"))
        and "sha256" in have.get("h", "sha256").replace(" ", "").split(":")
    )


def is_spf(text: str) -> bool:
    """Whether the TXT record is an SPF record at all (RFC 7208 §4.5)."""
    return _SPF.match(text.strip()) is not None


def spf_includes(text: str, hostname: str) -> bool:
    """Whether the SPF record passes what `hostname` sends, by an include or a redirect."""
    terms = [term.lower().rstrip(".") for term in text.split()[1:]]
    ends = next((at for at, term in enumerate(terms) if _ALL.fullmatch(term)), None)
    if ends is None and f"redirect={hostname}" in terms:
        return True  # RFC 7208 §6.1: with an `all` the redirect counts for nothing
    return any(term in terms[:ends] for term in (f"include:{hostname}", f"+include:{hostname}"))


def merged_spf(existing: Sequence[str], hostname: str) -> str:
    """The one SPF record that says what `existing` ones say and includes `hostname`.

    A domain with two SPF records has none (RFC 7208 §4.5), so they become one: terms in their order,
    each once, and the end (`all` or a redirect) of the first that has one.
    """
    terms: dict[str, None] = {}
    end = ""
    for record in existing:
        for term in record.split()[1:]:
            if _END_OF_SPF.fullmatch(term):
                end = end or term
            else:
                terms[term] = None
    if not any(spf_includes(record, hostname) for record in existing):
        terms[f"include:{hostname}"] = None
    return " ".join(["v=spf1", *terms, end or "~all"])


def is_dmarc_policy(text: str) -> bool:
    """Whether the TXT record is a DMARC record with a policy (RFC 9989: `v` first, `p` one of three)."""
    found = tags(text)
    first = text.partition(";")[0].replace(" ", "")
    return first == "v=DMARC1" and found.get("p", "").lower() in _POLICIES
