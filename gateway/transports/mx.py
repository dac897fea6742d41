"""Direct delivery to the mail exchangers of the recipient's domain (RFC 5321 §5.1)."""

from __future__ import annotations

import ipaddress
import itertools
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from gateway import ids
from gateway.config import Networks, Source
from gateway.dns import mx_groups, names
from gateway.dns.resolver import DnsUnavailable, MxHost, resolver
from gateway.transports import dane
from gateway.transports.destination import NoRoute, Skipped, Target, no_route
from gateway.transports.mta_sts import MtaSts, Policy
from gateway.transports.outcome import Outcome, Result
from gateway.transports.public_address import is_reachable
from gateway.transports.reach import Reach
from gateway.transports.smtp_connection import SmtpConnection, check
from gateway.transports.smtp_options import Options, Timeouts, Tls
from gateway.transports.submittable import unsendable
from gateway.transports.tls import OPPORTUNISTIC, Guard

_KEPT = 16
"""Connections to different exchangers that one sender thread keeps open."""

_TRIED = 10
"""Addresses tried for one message: beyond that a domain costs more time than it is worth."""

_LITERAL = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]+)\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach a domain; domains with equal ways share connections."""

    exchangers: tuple[MxHost, ...]
    authentic: bool = False  # DNS proved them, so TLSA records count
    policy: tuple[str, tuple[str, ...]] = ("", ())  # mode and patterns of MTA-STS
    sources: tuple[Source, ...] = ()  # at most one of each family


class Direct:
    """Private and loopback addresses are reached only where `allow` has them.

    `dane` is whether TLSA records count, `sts` where MTA-STS policies come from, `sources` the addresses of
    this host to leave from: a domain gets the same one of each family every time.
    """

    name = "direct"
    single = False

    def __init__(
        self,
        *,
        hostname: str,
        port: int = 25,
        allow: Networks = (),
        tls: Tls = "opportunistic",
        timeouts: Timeouts | None = None,
        max_messages: int = 100,
        max_idle: float = 10,
        dane: bool = False,
        sts: MtaSts | None = None,
        sources: tuple[Source, ...] = (),
    ) -> None:
        self.port = port
        self.allow = allow
        self.dane = dane
        self.sts = sts
        self.reach = Reach()
        self.options = Options(
            hostname=hostname,
            tls=tls,
            timeouts=timeouts or Timeouts(),
            max_messages=max_messages,
            max_idle=max_idle,
        )
        self._ours = {hostname, *(source.hostname for source in sources if source.hostname)}
        families = ([s for s in sources if ":" not in s.address], [s for s in sources if ":" in s.address])
        self._sources = tuple(tuple(family) for family in families if family)

    def open(self) -> DirectConnection:
        return DirectConnection(self)

    def check(self, domain: str) -> Outcome:
        """Whether an exchanger of `domain` answers; nothing is sent."""
        try:
            way = self.way(domain)
        except NoRoute as nowhere:
            return nowhere.outcome
        return check(lambda: self.targets(domain, way), self.options)

    def exchangers(self, domain: str) -> tuple[MxHost, ...]:
        """Where mail for `domain` goes, best first; the domain itself without MX records. Raises `NoRoute`."""
        return self._exchangers(domain)[0]

    def group(self, domain: str) -> str:
        """The group of the exchangers; that of the domain's own name where they cannot be had now."""
        try:
            domain = names.a_labels(domain)
            return mx_groups.group_of(self._exchangers(domain)[0][0].host)
        except (NoRoute, UnicodeError):
            return mx_groups.group_of(domain)

    def way(self, domain: str) -> Way:
        """Exchangers, TLS policy and source addresses for `domain`; raises `NoRoute`."""
        try:
            domain = names.a_labels(domain)
        except UnicodeError:
            text = f"{domain} is no domain name"
            raise no_route(Result.BOUNCED, text, enhanced="5.1.2", category="recipient") from None
        exchangers, authentic = self._exchangers(domain)
        policy = self.sts.policy(domain) if self.sts is not None and not domain.startswith("[") else None
        share = zlib.crc32(domain.encode())
        return Way(
            exchangers,
            authentic and self.dane,
            (policy.mode, policy.mx) if policy is not None else ("", ()),
            tuple(family[share % len(family)] for family in self._sources),
        )

    def _exchangers(self, domain: str) -> tuple[tuple[MxHost, ...], bool]:
        if literal := _LITERAL.fullmatch(domain):
            return (MxHost(0, _literal(literal[1])),), False
        try:
            answer = resolver().exchangers(domain)
        except DnsUnavailable as error:
            raise _unavailable(error) from None
        found = list(answer.values)
        if not found:
            return (MxHost(0, domain.lower()),), answer.authentic
        if any(mx.null for mx in found):
            text = f"{domain} accepts no mail (null MX)"
            raise no_route(Result.BOUNCED, text, enhanced="5.1.10", category="recipient")
        ours = [mx.preference for mx in found if mx.host in self._ours]
        if ours:
            # RFC 5321 §5.1: an exchanger as good as ourselves would hand the message back.
            found = [mx for mx in found if mx.preference < min(ours)]
            if not found:
                text = f"the best mail exchanger of {domain} is this host"
                raise no_route(Result.BOUNCED, text, enhanced="5.4.6", category="ours")
        return tuple(sorted(found)), answer.authentic

    def targets(self, domain: str, way: Way) -> Iterator[Target | Skipped]:
        """The addresses in the order in which to try them; raises `NoRoute` when there is none."""
        tried = 0
        for target in self._targets(domain, way):
            yield target
            tried += isinstance(target, Target)
            if tried >= _TRIED:
                return

    def _targets(self, domain: str, way: Way) -> Iterator[Target | Skipped]:
        unavailable: DnsUnavailable | None = None
        private = unfit = silent = ""
        seen: set[str] = set()
        tried = False
        for _, equals in itertools.groupby(way.exchangers, key=lambda mx: mx.preference):
            for mx in ids.shuffled(list(equals)):
                try:
                    addresses = resolver().addresses(mx.host)
                    guard = self.guard(mx.host, way) if addresses else OPPORTUNISTIC
                except DnsUnavailable as error:
                    unavailable = error
                    yield Skipped(mx.host, str(error))
                    continue
                if guard is None:
                    unfit = unfit or mx.host
                    yield Skipped(mx.host, "it is not in the MTA-STS policy")
                    continue
                for address in self.reach.ordered(addresses):
                    if not is_reachable(address, self.allow):
                        private = private or f"{mx.host}[{address}]"
                    elif address not in seen:
                        seen.add(address)
                        if why := self.reach.dead(address):
                            silent = silent or why
                            yield Skipped(f"{mx.host}[{address}]", f"a moment ago: {why}")
                        else:
                            yield Target(mx.host, address, self.port, guard, _source(way.sources, address))
                            tried = True
        if tried:
            return
        if silent:
            raise no_route(Result.DEFERRED, f"a moment ago: {silent}", enhanced="4.4.1", category="network")
        if unavailable is not None:
            raise _unavailable(unavailable)
        if unfit:
            text = f"MTA-STS of {domain} names none of its mail exchangers, such as {unfit}"
            raise no_route(Result.DEFERRED, text, enhanced="4.7.5", category="policy")
        if private:
            text = f"{domain} leads to the private address {private}, outside COMMANDPOST_DELIVERY_ALLOW"
            raise no_route(Result.BOUNCED, text, enhanced="5.4.4", category="policy")
        if len(way.exchangers) == 1 and way.exchangers[0].host == domain.lower():
            text = f"{domain} has neither a mail exchanger nor an address"
            raise no_route(Result.BOUNCED, text, enhanced="5.1.2", category="recipient")
        text = f"no mail exchanger of {domain} has an address"
        raise no_route(Result.BOUNCED, text, enhanced="5.4.4", category="network")

    def guard(self, host: str, way: Way) -> Guard | None:
        """What TLS owes at an exchanger; None where its domain's policy leaves the exchanger out.

        DANE goes before MTA-STS (RFC 8461 §2). Raises `DnsUnavailable`: an exchanger whose TLSA records
        cannot be had is not used (RFC 7672 §2.1.1).
        """
        if way.authentic:
            bases = resolver().tlsa_bases(host)
            for base in bases:
                found = resolver().tlsa(f"_{self.port}._tcp.{base}")
                if found.authentic and found.values:
                    # Where none can be used, TLS is owed and nothing can be proved (RFC 7672 §2.2).
                    return Guard(
                        "dane", True, tlsa=dane.usable(found.values), names=tuple(dict.fromkeys((base, *bases)))
                    )
        mode, patterns = way.policy
        if not mode:
            return OPPORTUNISTIC
        fits = Policy("", mode, patterns, 0, 0).covers(host)
        if mode == "testing":
            return Guard(testing="passes" if fits else "it is not in the MTA-STS policy")
        return Guard("mta-sts", required=True, verified=True) if fits else None


class DirectConnection:
    """One thread's connections, one to each way, so that domains with the same exchangers share it."""

    def __init__(self, direct: Direct) -> None:
        self._direct = direct
        self._kept: OrderedDict[Way, SmtpConnection] = OrderedDict()

    def send(
        self, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None], tls_required: bool = False
    ) -> Outcome:
        impossible = unsendable(mail_from, rcpt, message)
        if impossible is not None:
            return impossible
        domain = rcpt.rpartition("@")[2]
        try:
            way = self._direct.way(domain)
        except NoRoute as nowhere:
            return nowhere.outcome
        for key in [key for key, kept in self._kept.items() if kept.expired]:
            self._kept.pop(key).close()
        connection = self._connection(domain, way)
        try:
            return connection.send(
                mail_from=mail_from, rcpt=rcpt, message=message, on_data=on_data, tls_required=tls_required
            )
        finally:
            if not connection.is_open:
                self._kept.pop(way, None)

    def close(self) -> None:
        while self._kept:
            self._kept.popitem()[1].close()

    def _connection(self, domain: str, way: Way) -> SmtpConnection:
        connection = self._kept.get(way)
        if connection is None:
            direct = self._direct
            most = mx_groups.manners(mx_groups.group_of(way.exchangers[0].host)).messages
            options = replace(direct.options, max_messages=min(most, direct.options.max_messages))
            connection = SmtpConnection(lambda: direct.targets(domain, way), options, direct.reach)
            self._kept[way] = connection
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)[1].close()
        self._kept.move_to_end(way)
        return connection


def _source(sources: tuple[Source, ...], address: str) -> Source | None:
    """The one of the address's family; where none is named, the system chooses."""
    return next((source for source in sources if (":" in source.address) == (":" in address)), None)


def _unavailable(error: DnsUnavailable) -> NoRoute:
    return no_route(Result.DEFERRED, str(error), enhanced="4.4.3", category="network")


def _literal(text: str) -> str:
    """The address of `user@[address]`; what is none has no exchanger."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise no_route(Result.BOUNCED, f"[{text}] is no address", enhanced="5.1.2", category="recipient") from None
