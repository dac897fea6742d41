"""What DNS should say of a sender domain, part by part, with points and the exact records to publish."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from gateway import config
from gateway.dns import blocklists, dmarc, records, spf
from gateway.dns.resolver import DnsUnavailable, Resolver, resolver
from gateway.transports import mta_sts

_log = logging.getLogger("commandpost.health")

PASS, WARN, FAIL, UNKNOWN = "pass", "warn", "fail", "unknown"
LIFETIME_S = 3.0
"""Seconds of one question."""
PATIENCE_S = 15.0
"""Seconds that all questions of one check may take together."""
_NO_ANSWER = "DNS gave no usable answer; ask again later."
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: the domain, its DKIM keys as (selector, wanted value), and whether it has mailboxes."""

    name: str
    keys: Sequence[tuple[str, str]]
    receives: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A record to publish."""

    host: str
    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One part: `points` of `most`; an unknown one counts for nothing in the score."""

    part: str
    status: str
    points: int
    most: int
    detail: str
    records: list[Record] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


_Said = tuple[str, str, list[Record], dict[str, Any]]
"""Status, detail, records to publish, facts."""
_Check = Callable[[Subject, Resolver], _Said]


def check(subject: Subject, *, only: str = "", patience: float = PATIENCE_S) -> list[Finding]:
    """Ask everything at once, or one part alone; what DNS does not answer in time is unknown, never wrong."""
    parts = [part for part in PARTS if only in ("", part[0])]
    dns = resolver().uncached(LIFETIME_S)

    def one(part: tuple[str, int, _Check]) -> Finding:
        name, most, ask = part
        try:
            status, detail, wanted, facts = ask(subject, dns)
        except DnsUnavailable:
            status, detail, wanted, facts = UNKNOWN, _NO_ANSWER, [], {}
        except Exception:  # what strangers publish must not keep the other parts, nor the other domains
            _log.exception("health_check_failed", extra={"domain": subject.name, "part": name})
            status, detail, wanted, facts = UNKNOWN, "It could not be checked.", [], {}
        points = most if status == PASS else round(most * _HALF) if status == WARN else 0
        return Finding(name, status, points, most, detail, wanted, facts)

    # Not as a context: a zone that answers slowly on purpose must not hold up whoever asked.
    pool = ThreadPoolExecutor(max_workers=len(parts), thread_name_prefix="health")
    asked = [pool.submit(one, part) for part in parts]
    wait(asked, timeout=patience)
    pool.shutdown(wait=False, cancel_futures=True)
    return [
        future.result() if future.done() else Finding(name, UNKNOWN, 0, most, _NO_ANSWER)
        for future, (name, most, _) in zip(asked, parts, strict=True)
    ]


def score(findings: Sequence[Finding]) -> int | None:
    """Points of 100 over the parts that are known; None where none is."""
    known = [one for one in findings if one.status != UNKNOWN]
    most = sum(one.most for one in known)
    return round(100 * sum(one.points for one in known) / most) if most else None


def _spf(subject: Subject, dns: Resolver) -> _Said:
    """The domain's own record: receivers check that of the return path, and people, tools and forwarders this one."""
    settings = config.settings()
    sources = [source.address for source in settings.source_addresses]
    found = spf.walk(subject.name, dns=dns, addresses=sources)
    wanted = Record(subject.name, "TXT", records.merged_spf(found.records, settings.hostname))
    facts = {
        "record": found.records[0] if found.records else None, "lookups": found.lookups,
        "maxLookups": spf.LOOKUPS_MOST, "voidLookups": found.voids, "maxVoidLookups": spf.VOIDS_MOST,
        "passing": sorted(found.passing),
    }  # fmt: skip
    if not found.records:
        return FAIL, "There is no SPF record.", [wanted], facts
    if len(found.records) > 1:
        return FAIL, f"{found.faults[0]}. Publish this one in place of all of them.", [wanted], facts
    if found.faults:
        return FAIL, f"The record is an error to receivers: {'; '.join(found.faults)}.", [], facts
    includes = records.spf_includes(found.records[0], settings.hostname)
    missing = [address for address in sources if address not in found.passing]
    if not includes and (missing or not sources):
        return FAIL, f"The record does not include {settings.hostname}.", [wanted], facts
    if missing:
        return WARN, f"It does not pass {', '.join(missing)}, which mail leaves from.", [], facts
    if found.ends in ("", "+all", "?all"):
        return WARN, f"It ends with {found.ends or 'nothing'}: anybody passes, or nobody is told.", [wanted], facts
    return PASS, f"Valid, with {found.lookups} of {spf.LOOKUPS_MOST} lookups.", [], facts


def _dkim(subject: Subject, dns: Resolver) -> _Said:
    told: list[dict[str, Any]] = []
    missing: list[Record] = []
    for selector, value in subject.keys:
        host = f"{selector}._domainkey.{subject.name}"
        texts = dns.txt(host)
        good = any(records.is_dkim_key(text, value) for text in texts)
        told.append({"selector": selector, "status": PASS if good else FAIL, "found": texts[:1]})
        if not good:
            missing.append(Record(host, "TXT", value))
    facts = {"selectors": told}
    if not told:
        return FAIL, "The domain has no DKIM key that signs.", [], facts
    if not missing:
        return PASS, f"The records of {len(told)} selectors are there.", [], facts
    status = FAIL if len(missing) == len(told) else WARN
    return status, f"The records of {len(missing)} of {len(told)} selectors are missing or differ.", missing, facts


def _dmarc(subject: Subject, dns: Resolver) -> _Said:
    found = dmarc.walk(subject.name, dns.txt)
    policy = dmarc.applying(subject.name, found)
    host = f"_dmarc.{subject.name}"
    facts: dict[str, Any] = {"organisationalDomain": dmarc.organisational(subject.name, found), "policy": None}
    if policy is None:
        texts = [text for text in dns.txt(host) if "DMARC" in text.upper()]
        detail = "There is no DMARC record." if not texts else "There is no one DMARC record that can be read."
        return FAIL, detail, [Record(host, "TXT", "v=DMARC1; p=none")], facts
    asks = policy.asks(subject.name)
    facts |= {"policy": asks, "foundAt": f"_dmarc.{policy.domain}", "reports": policy.tags.get("rua")}
    if asks not in ("none", "quarantine", "reject"):
        return FAIL, f"Its policy {asks} is none.", [Record(host, "TXT", "v=DMARC1; p=none")], facts
    if asks == "none":
        tags = {"v": "DMARC1", "p": "quarantine"} | {
            name: value for name, value in policy.tags.items() if name not in ("v", "p")
        }
        stricter = "; ".join(f"{name}={value}" for name, value in tags.items())
        return WARN, "It asks receivers to do nothing about forged mail.", [Record(host, "TXT", stricter)], facts
    return PASS, f"It asks for {asks}.", [], facts


def _mx(subject: Subject, dns: Resolver) -> _Said:
    hostname = config.settings().hostname
    hosts = dns.mx(subject.name)
    facts = {"exchangers": [host.host for host in hosts if not host.null]}
    ours = [Record(subject.name, "MX", f"10 {hostname}")]
    if any(host.null for host in hosts) or not hosts:
        detail = "The domain takes no mail: replies to it and reports about it are lost."
        return (FAIL if subject.receives else WARN), detail, ours, facts
    dead = [host.host for host in hosts if not dns.addresses(host.host)]
    if dead:
        return FAIL, f"{', '.join(dead)} has no address.", [], facts
    if subject.receives and hostname not in facts["exchangers"]:
        return FAIL, f"Mail to its mailboxes does not come to {hostname}.", ours, facts
    return PASS, f"{len(hosts)} exchangers.", [], facts


def _ptr(subject: Subject, dns: Resolver) -> _Said:
    settings = config.settings()
    if not settings.source_addresses:
        return UNKNOWN, "Where mail leaves from is not known: the operator names it in SOURCE_ADDRESSES.", [], {}
    wrong: list[Record] = []
    told = []
    for source in settings.source_addresses:
        name = dns.ptr(source.address)
        back = name is not None and source.address in dns.addresses(name)
        wanted = source.hostname or settings.hostname
        told.append({"address": source.address, "name": name, "confirmed": back, "ehlo": wanted})
        if not back or name != wanted:
            wrong.append(Record(source.address, "PTR", wanted))
    facts = {"sources": told}
    if not wrong:
        return PASS, "Every source address has a name that leads back to it.", [], facts
    broken = [one for one in told if not one["confirmed"]]
    detail = "The names of source addresses do not lead back to them, or are not what they say in EHLO."
    return (FAIL if broken else WARN), detail, wrong, facts


def _blocklists(subject: Subject, dns: Resolver) -> _Said:
    settings = config.settings()
    asked = [
        blocklists.of_address(source.address, zone, resolver=dns)
        for zone in settings.dnsbl_zones
        for source in settings.source_addresses
    ] + [blocklists.of_domain(subject.name, zone, resolver=dns) for zone in settings.dnsbl_domain_zones]
    facts = {
        "listings": [
            {"zone": one.zone, "what": one.what, "listed": one.listed, "reason": one.reason or None} for one in asked
        ]
    }
    if not asked:
        return UNKNOWN, "No blocklist is asked: the operator names zones in DNSBL_ZONES and DNSBL_DOMAIN_ZONES.", [], {}
    listed = [one for one in asked if one.listed]
    if listed:
        return FAIL, "; ".join(f"{one.what} is on {one.zone}" for one in listed) + ".", [], facts
    if all(one.listed is None for one in asked):
        return UNKNOWN, "No list gave a usable answer.", [], facts
    return PASS, f"On none of {len(asked)} lists.", [], facts


def _mta_sts(subject: Subject, dns: Resolver) -> _Said:
    host = f"_mta-sts.{subject.name}"
    texts = [text for text in dns.txt(host) if text.replace(" ", "").lower().startswith("v=stsv1")]
    if not texts:
        return WARN, "Senders may be talked out of TLS.", [Record(host, "TXT", "v=STSv1; id=1")], {"record": None}
    facts: dict[str, Any] = {"record": texts[0], "mode": None}
    try:
        policy = mta_sts.fetch(subject.name, allow=config.settings().webhook_allow)
    except mta_sts.BadPolicy as error:
        return FAIL, f"There is a record and no policy at https://mta-sts.{subject.name}: {error}.", [], facts
    facts["mode"] = policy.mode
    uncovered = [mx.host for mx in dns.mx(subject.name) if not mx.null and not policy.covers(mx.host)]
    if uncovered:
        return FAIL, f"The policy does not name {', '.join(uncovered)}.", [], facts
    return (PASS if policy.mode == "enforce" else WARN), f"Its mode is {policy.mode}.", [], facts


def _tls_rpt(subject: Subject, dns: Resolver) -> _Said:
    host = f"_smtp._tls.{subject.name}"
    found = [records.tags(text) for text in dns.txt(host)]
    good = [tags for tags in found if tags.get("v") == "TLSRPTv1" and tags.get("rua")]
    if len(good) == 1:
        return PASS, f"Reports go to {good[0]['rua']}.", [], {"rua": good[0]["rua"]}
    wanted = [Record(host, "TXT", f"v=TLSRPTv1; rua=mailto:postmaster@{subject.name}")]
    return WARN, "Nobody is told when TLS to the domain fails.", wanted, {"rua": None}


def _bimi(subject: Subject, dns: Resolver) -> _Said:
    host = f"default._bimi.{subject.name}"
    found = [tags for text in dns.txt(host) if (tags := records.tags(text)).get("v", "").upper() == "BIMI1"]
    if len(found) != 1 or "l" not in found[0]:
        wanted = [Record(host, "TXT", f"v=BIMI1; l=https://{subject.name}/logo.svg")]
        return WARN, "Receivers that show logos have none to show.", wanted, {"logo": None}
    facts = {"logo": found[0]["l"], "certificate": found[0].get("a") or None}
    policy = dmarc.applying(subject.name, dmarc.walk(subject.name, dns.txt))
    if policy is None or policy.asks(subject.name) == "none":
        return WARN, "The logo counts only once DMARC asks for quarantine or reject.", [], facts
    if found[0]["l"] and not found[0]["l"].startswith("https://"):
        return FAIL, "The logo's address should be https.", [], facts
    return PASS, "There is a logo.", [], facts


PARTS: tuple[tuple[str, int, _Check], ...] = (
    ("spf", 20, _spf),
    ("dkim", 25, _dkim),
    ("dmarc", 20, _dmarc),
    ("mx", 7, _mx),
    ("ptr", 8, _ptr),
    ("blocklists", 12, _blocklists),
    ("mta_sts", 3, _mta_sts),
    ("tls_rpt", 2, _tls_rpt),
    ("bimi", 3, _bimi),
)
"""The parts of a score of 100, with what each is worth."""
