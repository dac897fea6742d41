"""Delivery through one relay that takes all mail."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from gateway.config import Networks
from gateway.dns.resolver import DnsUnavailable, resolver
from gateway.transports.destination import Target, no_route
from gateway.transports.outcome import Outcome, Result
from gateway.transports.public_address import is_reachable
from gateway.transports.smtp_connection import SmtpConnection, check
from gateway.transports.smtp_options import Options, Timeouts, Tls


class Smarthost:
    """`smtp://[user:password@]host[:port]`, STARTTLS where offered, or `smtps://…` with TLS from the first byte.

    Ports default to 25 and 465. User and password may be percent-encoded. `allow` None reaches any address;
    networks restrict it to public addresses and those.
    """

    single = True

    def __init__(
        self,
        url: str,
        *,
        hostname: str,
        tls: Tls = "opportunistic",
        allow: Networks | None = None,
        timeouts: Timeouts | None = None,
        max_messages: int = 1000,
        max_idle: float = 30,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("should be smtp://[user:password@]host:port")
        self.host = parts.hostname
        self.port = parts.port or (465 if parts.scheme == "smtps" else 25)
        self._allow = allow
        self.options = Options(
            hostname=hostname,
            tls="implicit" if parts.scheme == "smtps" else tls,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            timeouts=timeouts or Timeouts(),
            max_messages=max_messages,
            max_idle=max_idle,
        )

    @property
    def name(self) -> str:
        """`smtp://host:port`, never with the login; at most 64 characters."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "smtps" if self.options.tls == "implicit" else "smtp"
        return f"{scheme}://{host}:{self.port}"[:64]

    def group(self, domain: str) -> str:
        return self.host

    def open(self) -> SmtpConnection:
        return SmtpConnection(self._targets, self.options)

    def check(self) -> Outcome:
        """Connect and log in; DELIVERED: it would take a message. Nothing is sent."""
        return check(self._targets, self.options)

    def _targets(self) -> Iterator[Target]:
        try:
            addresses = resolver().addresses(self.host)
        except DnsUnavailable as error:
            raise no_route(Result.DEFERRED, str(error), enhanced="4.4.3", category="network") from None
        if not addresses:
            # Somebody mistyped a setting: no reason to bounce what is in the queue.
            raise no_route(Result.DEFERRED, f"{self.host} has no address", enhanced="4.4.4", category="ours")
        reachable = [a for a in addresses if self._allow is None or is_reachable(a, self._allow)]
        if not reachable:
            text = f"{self.host} leads to the private address {addresses[0]}, outside COMMANDPOST_DELIVERY_ALLOW"
            raise no_route(Result.DEFERRED, text, enhanced="4.7.1", category="ours")
        yield from (Target(self.host, address, self.port) for address in reachable)
