"""Direct delivery to the mail exchangers of the recipient's domain (RFC 5321 §5.1)."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator

from gateway import ids
from gateway.config import Networks
from gateway.dns.resolver import DnsUnavailable, MxHost, resolver
from gateway.transports.destination import NoRoute, Target, no_route
from gateway.transports.outcome import Outcome, Result
from gateway.transports.public_address import is_reachable
from gateway.transports.smtp_connection import SmtpConnection
from gateway.transports.smtp_options import Options, Timeouts, Tls
from gateway.transports.submittable import unsendable

_KEPT = 16
"""Connections to different exchangers that one sender thread keeps open."""

_TRIED = 10
"""Addresses tried for one message: beyond that a domain costs more time than it is worth."""

_LITERAL = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]+)\]", re.IGNORECASE)


class Direct:
    """Private and loopback addresses are reached only where `allow` has them."""

    name = "direct"

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
    ) -> None:
        self.port = port
        self.allow = allow
        self.options = Options(
            hostname=hostname,
            tls=tls,
            timeouts=timeouts or Timeouts(),
            max_messages=max_messages,
            max_idle=max_idle,
        )

    def open(self) -> DirectConnection:
        return DirectConnection(self)

    def exchangers(self, domain: str) -> tuple[MxHost, ...]:
        """Where mail for `domain` goes, best first; the domain itself without MX records. Raises `NoRoute`."""
        if literal := _LITERAL.fullmatch(domain):
            return (MxHost(0, _literal(literal[1])),)
        try:
            found = resolver().mx(domain)
        except DnsUnavailable as error:
            raise _unavailable(error) from None
        if not found:
            return (MxHost(0, domain.lower()),)
        if any(mx.null for mx in found):
            text = f"{domain} accepts no mail (null MX)"
            raise no_route(Result.BOUNCED, text, enhanced="5.1.10", category="recipient")
        ours = [mx.preference for mx in found if mx.host == self.options.hostname]
        if ours:
            # RFC 5321 §5.1: an exchanger as good as ourselves would hand the message back.
            found = [mx for mx in found if mx.preference < min(ours)]
            if not found:
                text = f"the best mail exchanger of {domain} is this host"
                raise no_route(Result.BOUNCED, text, enhanced="5.4.6", category="ours")
        return tuple(sorted(found))

    def targets(self, domain: str, exchangers: tuple[MxHost, ...]) -> Iterator[Target]:
        """The addresses in the order in which to try them; raises `NoRoute` when there is none."""
        return itertools.islice(self._targets(domain, exchangers), _TRIED)

    def _targets(self, domain: str, exchangers: tuple[MxHost, ...]) -> Iterator[Target]:
        unavailable: DnsUnavailable | None = None
        private = ""
        seen: set[str] = set()
        for _, equals in itertools.groupby(exchangers, key=lambda mx: mx.preference):
            for mx in ids.shuffled(list(equals)):
                try:
                    addresses = resolver().addresses(mx.host)
                except DnsUnavailable as error:
                    unavailable = error
                    continue
                for address in addresses:
                    if not is_reachable(address, self.allow):
                        private = private or f"{mx.host}[{address}]"
                    elif address not in seen:
                        seen.add(address)
                        yield Target(mx.host, address, self.port)
        if seen:
            return
        if unavailable is not None:
            raise _unavailable(unavailable)
        if private:
            text = f"{domain} leads to the private address {private}, outside COMMANDPOST_DELIVERY_ALLOW"
            raise no_route(Result.BOUNCED, text, enhanced="5.4.4", category="policy")
        if len(exchangers) == 1 and exchangers[0].host == domain.lower():
            text = f"{domain} has neither a mail exchanger nor an address"
            raise no_route(Result.BOUNCED, text, enhanced="5.1.2", category="recipient")
        text = f"no mail exchanger of {domain} has an address"
        raise no_route(Result.BOUNCED, text, enhanced="5.4.4", category="network")


class DirectConnection:
    """One thread's connections, one to each set of exchangers, so that domains with the same ones share it."""

    def __init__(self, direct: Direct) -> None:
        self._direct = direct
        self._kept: OrderedDict[tuple[MxHost, ...], SmtpConnection] = OrderedDict()

    def send(self, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None]) -> Outcome:
        impossible = unsendable(mail_from, rcpt, message)
        if impossible is not None:
            return impossible
        domain = rcpt.rpartition("@")[2]
        try:
            exchangers = self._direct.exchangers(domain)
        except NoRoute as nowhere:
            return nowhere.outcome
        for key in [key for key, kept in self._kept.items() if kept.expired]:
            self._kept.pop(key).close()
        connection = self._connection(domain, exchangers)
        try:
            return connection.send(mail_from=mail_from, rcpt=rcpt, message=message, on_data=on_data)
        finally:
            if not connection.is_open:
                self._kept.pop(exchangers, None)

    def close(self) -> None:
        while self._kept:
            self._kept.popitem()[1].close()

    def _connection(self, domain: str, exchangers: tuple[MxHost, ...]) -> SmtpConnection:
        connection = self._kept.get(exchangers)
        if connection is None:
            connection = SmtpConnection(lambda: self._direct.targets(domain, exchangers), self._direct.options)
            self._kept[exchangers] = connection
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)[1].close()
        self._kept.move_to_end(exchangers)
        return connection


def _unavailable(error: DnsUnavailable) -> NoRoute:
    return no_route(Result.DEFERRED, str(error), enhanced="4.4.3", category="network")


def _literal(text: str) -> str:
    """The address of `user@[address]`; what is none has no exchanger."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise no_route(Result.BOUNCED, f"[{text}] is no address", enhanced="5.1.2", category="recipient") from None
