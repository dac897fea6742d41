"""Where a connection may go: addresses, and those that are not ours to reach."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from gateway.config import Networks
from gateway.transports.outcome import Outcome, Result

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """One address to connect to; `host` is the name it was found under."""

    host: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}[{self.address}]:{self.port}"

    @property
    def public(self) -> bool:
        return is_public(self.address)


class NoRoute(Exception):
    """There is nowhere to connect to; the outcome says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reply)
        self.outcome = outcome


def no_route(result: Result, text: str, *, enhanced: str, category: str, code: int | None = None) -> NoRoute:
    return NoRoute(Outcome(result, code, enhanced, text, category))


def is_public(address: str) -> bool:
    """False for loopback, private, link-local, multicast and reserved addresses, also inside IPv6 forms of IPv4."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def may_reach(address: str, allow: Networks) -> bool:
    """Public, or in one of the networks that the operator allows."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return is_public(address) or any((mapped or ip) in network for network in allow)
