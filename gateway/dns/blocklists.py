"""Blocklists that are asked through DNS (RFC 5782): whether an address or a domain stands on one."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import dns.reversename

from gateway.dns.resolver import DnsUnavailable, Resolver

_ERRORS = ipaddress.ip_network("127.255.255.0/24")
"""What large lists answer in place of a refusal: the resolver is not allowed to ask."""
_LISTED = ipaddress.ip_network("127.0.0.0/8")


@dataclass(frozen=True, slots=True)
class Listing:
    """What one list says: `listed` None where it gave no usable answer; `reason` is its TXT record."""

    zone: str
    what: str
    listed: bool | None
    reason: str = ""


def of_address(address: str, zone: str, *, resolver: Resolver) -> Listing:
    """RFC 5782 §2.1 and §2.4: the address backwards, in front of the zone."""
    turned = dns.reversename.from_address(address).to_text().lower()
    name = turned.removesuffix(".").removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
    return _ask(f"{name}.{zone}", address, zone, resolver)


def of_domain(domain: str, zone: str, *, resolver: Resolver) -> Listing:
    """RFC 5782 §3.1."""
    return _ask(f"{domain}.{zone}", domain, zone, resolver)


def _ask(name: str, what: str, zone: str, resolver: Resolver) -> Listing:
    try:
        answers = [ipaddress.ip_address(text) for text in resolver.addresses(name)]
        codes = [answer for answer in answers if answer.version == 4 and answer in _LISTED]
        if any(code in _ERRORS for code in codes):
            return Listing(zone, what, None, "the list does not answer this resolver")
        if not codes:
            return Listing(zone, what, False)
        reason = next(iter(resolver.txt(name)), "")
    except DnsUnavailable:
        return Listing(zone, what, None, "DNS gave no usable answer")
    return Listing(zone, what, True, reason[:255])
