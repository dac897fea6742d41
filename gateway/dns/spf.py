"""SPF as a receiver evaluates it (RFC 7208): what a record costs in DNS questions, and whether addresses pass it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.dns import records
from gateway.dns.resolver import Resolver

LOOKUPS_MOST, VOIDS_MOST = 10, 2
"""RFC 7208 §4.6.4: beyond these the record is a permanent error and nothing passes."""
_WALKED_MOST = 30  # questions after which counting on tells nothing new
_NAMES_MOST = 10  # addresses of an `mx` (§4.6.4)
_TERM = re.compile(r"([-+~?]?)([a-z][a-z0-9-]*)(?::([^/\s]+))?(?:/(\d{1,3}))?(?://(\d{1,3}))?\Z", re.IGNORECASE)
_IP = re.compile(r"[-+~?]?ip[46]:", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(\S*)\Z", re.IGNORECASE)
_ASKING = ("include", "a", "mx", "ptr", "exists")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(slots=True)
class Walk:
    """What reading a domain's record found; `faults` make it a permanent error, `passing` are addresses that pass."""

    records: list[str] = field(default_factory=list)
    lookups: int = 0
    voids: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    passing: set[str] = field(default_factory=set)
    ends: str = ""  # how the record of the domain itself ends: -all, ~all …

    @property
    def valid(self) -> bool:
        return bool(self.records) and not self.faults

    @property
    def too_dear(self) -> bool:
        return self.lookups > LOOKUPS_MOST or self.voids > VOIDS_MOST


def walk(domain: str, *, dns: Resolver, addresses: Sequence[str] = ()) -> Walk:
    """Read the record of `domain` and all that it includes, to the end; raises `DnsUnavailable`.

    Macros are counted and not expanded: what they match depends on each message.
    """
    found = Walk()
    sources = [ipaddress.ip_address(text) for text in addresses]
    found.records = [text for text in dns.txt(domain) if records.is_spf(text)]
    if not found.records:
        return found
    if len(found.records) > 1:
        found.faults.append(f"{domain} has {len(found.records)} SPF records; receivers take that for none (§4.5)")
        return found
    passed = _read(found, found.records[0], domain, sources, dns, (domain,))
    found.passing = {str(address) for address in passed}
    if found.lookups > LOOKUPS_MOST:
        found.faults.append(f"it needs {found.lookups} DNS lookups of at most {LOOKUPS_MOST} (§4.6.4)")
    if found.voids > VOIDS_MOST:
        found.faults.append(f"{found.voids} of its lookups find nothing, of at most {VOIDS_MOST} (§4.6.4)")
    return found


def _read(
    found: Walk, text: str, domain: str, sources: Sequence[Address], dns: Resolver, path: tuple[str, ...]
) -> set[Address]:
    """The addresses that pass; the first term that matches decides about each (§4.6.2)."""
    left, passed = set(sources), set()
    redirect = ""
    top = len(path) == 1
    ended = False
    for term in text.split()[1:]:
        modifier = _MODIFIER.match(term)
        if modifier:
            if modifier[1].lower() == "redirect":
                redirect = modifier[2].lower().rstrip(".")
            continue
        if _IP.match(term):
            matching = _in_network(found, term, left)
            if term[0] not in "-~?":
                passed |= matching
            left -= matching
            continue
        read = _TERM.match(term)
        if read is None:
            found.faults.append(f"{term} in the record of {domain} cannot be read")
            continue
        sign, name, value = read[1] or "+", read[2].lower(), (read[3] or "").lower().rstrip(".")
        if name == "all":
            ended = True
            if top:
                found.ends = f"{sign}all"
            if sign == "+":
                passed |= left
            break
        matching = _matching(found, name, value, read, domain, left, dns, path)
        if sign == "+":
            passed |= matching
        left -= matching
    if redirect and not ended:
        found.lookups += 1
        passed |= _include(found, redirect, left, dns, path, "redirect")
        if top:
            found.ends = f"redirect={redirect}"
    return passed


def _matching(
    found: Walk,
    name: str,
    value: str,
    read: re.Match[str],
    domain: str,
    left: set[Address],
    dns: Resolver,
    path: tuple[str, ...],
) -> set[Address]:
    if name not in _ASKING:
        found.faults.append(f"{name} in the record of {domain} is no mechanism")
        return set()
    found.lookups += 1
    if found.lookups > _WALKED_MOST or "%" in value:
        return set()
    if name == "include":
        return _include(found, value, left, dns, path, "include")
    if name == "ptr":
        found.notes.append("ptr is slow and deprecated (§5.5)")
        return set()
    host = value or domain
    if name == "exists":
        there = dns.addresses(host)
        found.voids += not there
        return set(left) if there else set()
    hosts = [host]
    if name == "mx":
        hosts = [mx.host for mx in dns.mx(host) if not mx.null][:_NAMES_MOST]
        found.voids += not hosts
    networks = []
    for one in hosts:
        told = dns.addresses(one)
        found.voids += name == "a" and not told
        networks += [_network(text, read[4], read[5]) for text in told]
    return {address for address in left if any(address in network for network in networks)}


def _include(
    found: Walk, name: str, left: set[Address], dns: Resolver, path: tuple[str, ...], how: str
) -> set[Address]:
    if name in path:
        found.faults.append(f"{name} includes itself")
        return set()
    texts = [text for text in dns.txt(name) if records.is_spf(text)] if name else []
    if len(texts) != 1:
        found.voids += not texts
        found.faults.append(f"{how} of {name or 'nothing'}: it has no one SPF record (§5.2)")
        return set()
    return _read(found, texts[0], name, sorted(left, key=str), dns, (*path, name))


def _in_network(found: Walk, term: str, left: set[Address]) -> set[Address]:
    text = term.partition(":")[2]
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        found.faults.append(f"{term} names no network")
        return set()
    return {address for address in left if address.version == network.version and address in network}


def _network(text: str, four: str | None, six: str | None) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    address = ipaddress.ip_address(text)
    bits = (four or "32") if address.version == 4 else (six or "128")
    return ipaddress.ip_network(f"{text}/{min(int(bits), address.max_prefixlen)}", strict=False)
