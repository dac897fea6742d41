"""What every way out looks like to the one who sends through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.transports.outcome import Outcome


class Connection(Protocol):
    """Serves one sender thread, message after message; opens and reopens what lies beneath by itself."""

    def send(
        self, *, mail_from: str, rcpt: str, message: bytes, on_data: Callable[[], None], tls_required: bool = False
    ) -> Outcome:
        """Hand one message to one recipient; every failure is an outcome.

        `mail_from` is empty for the null sender. `message` has CRLF lines and is signed already.
        `on_data` is called right before the first byte of the message leaves; where it was not called, nothing
        of it can have arrived. What it raises is passed on, and the message is not sent. It is called again
        where a server answered 421 to the whole message and another one is tried.
        `tls_required` defers the message where the next hop takes it only in the clear.
        """
        ...

    def close(self) -> None:
        """Say goodbye; never raises. The connection may be used again and then opens anew."""
        ...


class Transport(Protocol):
    """A way out; knows nothing of the database. Shared by all sender threads of a process."""

    @property
    def name(self) -> str:
        """What attempts are recorded under."""
        ...

    def group(self, domain: str) -> str:
        """Who takes the mail of a recipient domain, as one destination whatever its hosts: a name, '' for nobody.

        May ask DNS, so it can take seconds; raises nothing.
        """
        ...

    @property
    def single(self) -> bool:
        """Whether everything goes to one next hop, which was asked for and needs no careful beginning."""
        ...

    def open(self) -> Connection:
        """A connection for one thread; nothing is dialled before its first message."""
        ...
