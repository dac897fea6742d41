"""Questions to DNS and their answers, with negative answers and an unavailable DNS told apart."""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dns.exception
import dns.flags
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename

from gateway import clock, config

LIFETIME = 5.0
"""Seconds that one question may take over all servers and retries."""

_TRY = 2.0  # seconds for one server before the next is asked
_CACHE_TTL = 300  # seconds: nothing is believed for longer, whatever its TTL
_NEGATIVE_TTL = 30  # seconds: a record that somebody is just creating shows up soon
_CACHE_SIZE = 4096
_NO_SUCH = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_FAMILY})


class DnsUnavailable(Exception):
    """No usable answer (SERVFAIL, REFUSED, time-out): says nothing about the name; ask again later."""


@dataclass(frozen=True, slots=True, order=True)
class MxHost:
    preference: int
    host: str  # lower case, no final dot; empty is the null MX

    @property
    def null(self) -> bool:
        """RFC 7505: the domain says that it accepts no mail."""
        return not self.host


@dataclass(frozen=True, slots=True)
class Tlsa:
    """A TLSA record (RFC 6698 §2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """An answer; `authentic` says that the resolver validated it (AD, RFC 4035 §3.2.3), also that there is nothing."""

    values: tuple[Any, ...] = ()
    authentic: bool = False
    name: str = ""  # the one asked for, behind its aliases


class _Cache:
    """Answers until their TTL ends, the least recently used dropped first; safe between threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[tuple[str, str], tuple[int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str]) -> Any:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry[0] <= clock.now_ms():
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return entry[1]

    def put(self, key: tuple[str, str], value: Any, ttl: int) -> None:
        if ttl <= 0:
            return
        with self._lock:
            self._entries[key] = (clock.now_ms() + ttl * 1000, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)


class Resolver:
    """Asks the given servers, or the system's when there are none.

    Every method returns an empty list or None where the name or the record type does not exist and
    raises `DnsUnavailable` where DNS gave no usable answer. Names come back in lower case without
    the final dot.
    """

    def __init__(self, servers: tuple[config.Address, ...] = (), *, lifetime: float = LIFETIME) -> None:
        self.servers = servers
        self.lifetime = lifetime
        self._cache: _Cache | None = _Cache(_CACHE_SIZE)
        self._backend: dns.resolver.Resolver | None = None

    def uncached(self, lifetime: float | None = None) -> Resolver:
        """The same servers, always asked anew, in `lifetime` seconds a question at most."""
        twin = Resolver(self.servers, lifetime=lifetime or self.lifetime)
        twin._cache = None
        return twin

    def txt(self, name: str) -> list[str]:
        """The TXT records at `name`, the strings of each joined (RFC 7208 §3.3)."""
        return self._ask(name, "TXT", lambda record: b"".join(record.strings).decode("utf-8", "replace"))

    def cname(self, name: str) -> str | None:
        """The target of the CNAME at `name`."""
        return next(iter(self._ask(name, "CNAME", lambda record: _text(record.target))), None)

    def mx(self, name: str) -> list[MxHost]:
        """The MX records at `name`, best preference first; a null MX is one entry whose `null` is true."""
        return list(self.exchangers(name).values)

    def exchangers(self, name: str) -> Found:
        """`mx`, and whether the answer was validated."""
        found = self._find(name, "MX", lambda record: MxHost(record.preference, _text(record.exchange)))
        # RFC 7505 §3: beside real records a null MX means nothing.
        hosts = sorted(host for host in found.values if not host.null) or found.values[:1]
        return Found(tuple(hosts), found.authentic, found.name)

    def tlsa_bases(self, host: str) -> tuple[str, ...]:
        """The names under which TLSA records of `host` count, the first that has some decides (RFC 7672 §2.2.2).

        Empty where its addresses were not validated. An alias counts under its target, then under its own name.
        """
        for kind in ("A", "AAAA"):
            found = self._find(host, kind, lambda record: str(record.address))
            if found.values:
                break
        if found.authentic:
            return tuple(dict.fromkeys((found.name, host)))
        if found.name != host and self._find(host, "CNAME", lambda record: _text(record.target)).authentic:
            return (host,)  # the alias is validated, what it leads to is not
        return ()

    def tlsa(self, name: str) -> Found:
        """The TLSA records at `name`, such as `_25._tcp.mx.example.net`."""
        return self._find(
            name, "TLSA", lambda record: Tlsa(record.usage, record.selector, record.mtype, bytes(record.cert))
        )

    def addresses(self, host: str) -> list[str]:
        """IPv4, then IPv6 addresses of `host`; a literal address is its own answer."""
        try:
            return [str(ipaddress.ip_address(host.strip("[]")))]
        except ValueError:
            pass
        name = host.rstrip(".").lower()
        if name == "localhost" or name.endswith(".localhost"):
            return ["127.0.0.1", "::1"]  # RFC 6761 §6.3: never asked for
        if not self.servers:
            return self._system_addresses(name)
        v4 = self._ask(name, "A", lambda record: str(record.address))
        try:
            return v4 + self._ask(name, "AAAA", lambda record: str(record.address))
        except DnsUnavailable:
            if v4:
                return v4
            raise

    def ptr(self, ip: str) -> str | None:
        """The host name that the reverse zone gives for `ip`."""
        name = dns.reversename.from_address(ip).to_text()
        return next(iter(self._ask(name, "PTR", lambda record: _text(record.target))), None)

    def _ask(self, name: str, kind: str, read: Callable[[Any], Any]) -> list[Any]:
        return list(self._find(name, kind, read).values)

    def _find(self, name: str, kind: str, read: Callable[[Any], Any]) -> Found:
        key = (name.rstrip(".").lower(), kind)
        if self._cache is not None:
            known: Found | None = self._cache.get(key)
            if known is not None:
                return known
        found, ttl = self._query(key[0], kind, read)
        if self._cache is not None:
            self._cache.put(key, found, min(ttl, _CACHE_TTL))
        return found

    def _query(self, name: str, kind: str, read: Callable[[Any], Any]) -> tuple[Found, int]:
        try:
            absolute = dns.name.from_text(name + ".")
            answer = self._client().resolve(
                absolute, kind, search=False, lifetime=self.lifetime, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN as error:
            said = next(iter(error.responses().values()), None)  # type: ignore[no-untyped-call]
            return Found((), said is not None and bool(said.flags & dns.flags.AD), name), _NEGATIVE_TTL
        except (dns.resolver.NoNameservers, dns.exception.Timeout, dns.resolver.NoResolverConfiguration) as error:
            raise DnsUnavailable(f"{kind} {name}: {_reason(error)}") from error
        except (dns.exception.DNSException, UnicodeError):
            return Found(name=name), _NEGATIVE_TTL  # no name that DNS could hold: a label too long, empty or not IDNA
        except OSError as error:
            raise DnsUnavailable(f"{kind} {name}: {error}") from error
        authentic = bool(answer.response.flags & dns.flags.AD)
        if answer.rrset is None:
            return Found((), authentic, _text(answer.canonical_name)), _NEGATIVE_TTL
        values = tuple(read(record) for record in answer.rrset)
        return Found(values, authentic, _text(answer.canonical_name)), int(answer.rrset.ttl)

    def _client(self) -> dns.resolver.Resolver:
        if self._backend is None:
            client = dns.resolver.Resolver(configure=not self.servers)
            if self.servers:
                client.nameservers = [
                    dns.nameserver.Do53Nameserver(_literal(server.host), server.port) for server in self.servers
                ]
            client.timeout = _TRY
            # RFC 9715: answers up to this size survive every path without fragments; longer ones come by TCP.
            client.use_edns(0, 0, 1232)
            # RFC 6840 §5.7: asks a validating resolver to say so in its answers, without the signatures.
            client.set_flags(dns.flags.RD | dns.flags.AD)
            self._backend = client
        return self._backend

    def _system_addresses(self, name: str) -> list[str]:
        """As the system resolves, so that /etc/hosts counts; its own time-outs apply."""
        try:
            found = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
        except socket.gaierror as error:
            if error.errno in _NO_SUCH:
                return []
            raise DnsUnavailable(f"A {name}: {error.strerror}") from error
        except UnicodeError:
            return []
        unique = dict.fromkeys((family != socket.AF_INET, str(address[0])) for family, _, _, _, address in found)
        return [address for _, address in sorted(unique, key=lambda pair: pair[0])]


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _literal(host: str) -> str:
    """dnspython takes addresses of servers only."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        try:
            return str(socket.getaddrinfo(host, None, proto=socket.IPPROTO_UDP)[0][4][0])
        except OSError as error:
            raise DnsUnavailable(f"{config.PREFIX}DNS: {host}: {error}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "no answer in time"
    if isinstance(error, dns.resolver.NoResolverConfiguration):
        return "this system names no resolver"
    return "no server gave a usable answer"


_used: Resolver | None = None


def use(resolver: Resolver | None) -> None:
    """Answer `resolver()` with this one from now on; None goes back to the settings."""
    global _used
    _used = resolver


@functools.lru_cache(maxsize=8)
def _made(servers: tuple[config.Address, ...], pid: int) -> Resolver:
    return Resolver(servers)


def resolver() -> Resolver:
    """The resolver of the current settings; one of its own, cache and all, in every process."""
    return _used if _used is not None else _made(config.settings().dns, os.getpid())
