"""Which addresses a customer's URL may lead to: public unicast ones, whatever they are wrapped in."""

from __future__ import annotations

import functools
import ipaddress
import socket

from gateway.config import Networks

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

# The registries' special blocks (RFC 6890 and its successors) that Python 3.11 does not all know as private.
_CLOSED_V4 = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_OPEN_V6 = ipaddress.IPv6Network("2000::/3")  # RFC 4291: the only block of global unicast in use
_CLOSED_V6 = tuple(
    ipaddress.IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")
)
_NAT64 = tuple(ipaddress.IPv6Network(block) for block in ("64:ff9b::/96", "64:ff9b:1::/48"))
_COMPATIBLE = ipaddress.IPv6Network("::/96")


@functools.lru_cache(maxsize=4096)
def literal(host: str) -> str | None:
    """The address that `host` spells, in any form that the C library takes (`127.1`, `0x7f000001`), else None."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except (OSError, UnicodeError):
        return None


@functools.lru_cache(maxsize=4096)
def is_reachable(address: str, allow: Networks) -> bool:
    """Whether `address` is public, or in one of the networks that the operator allows.

    Addresses that carry an IPv4 address (mapped, compatible, 6to4, NAT64, Teredo, ISATAP) are judged by
    every address in them: a relay would take the packet there.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id is not None:
        return False
    if any(ip in network for network in allow):
        return True
    carried = _carried(ip)
    if carried:
        return all(is_reachable(str(inner), allow) for inner in carried)
    return _is_public(ip)


def _is_public(ip: _Ip) -> bool:
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in block for block in _CLOSED_V4)
    return ip in _OPEN_V6 and not any(ip in block for block in _CLOSED_V6)


def _carried(ip: _Ip) -> list[ipaddress.IPv4Address]:
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    if ip == ipaddress.IPv6Address("::1"):
        return [ipaddress.IPv4Address("127.0.0.1")]  # so that allowing 127.0.0.0/8 allows `localhost`
    if ip.ipv4_mapped is not None:
        return [ip.ipv4_mapped]
    if ip.sixtofour is not None:
        return [ip.sixtofour]
    if ip.teredo is not None:
        return list(ip.teredo)
    low = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if any(ip in network for network in _NAT64) or ip in _COMPATIBLE:
        return [low]
    if (int(ip) >> 32) & 0xFDFFFFFF == 0x00005EFE:  # RFC 5214 §6.1: ::[02]00:5efe:a.b.c.d
        return [low] if ip in _OPEN_V6 else [ipaddress.IPv4Address("0.0.0.0")]  # noqa: S104 - never reachable
    return []
