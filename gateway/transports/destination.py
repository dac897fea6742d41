"""Where a connection may go: addresses, and those that are not ours to reach."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.config import Source
from gateway.transports.outcome import Outcome, Result
from gateway.transports.public_address import is_reachable
from gateway.transports.tls import OPPORTUNISTIC, Guard


@dataclass(frozen=True, slots=True)
class Target:
    """One address to connect to; `host` is the name it was found under."""

    host: str
    address: str
    port: int
    guard: Guard = field(default=OPPORTUNISTIC, compare=False)
    source: Source | None = None  # None: the system chooses

    def __str__(self) -> str:
        return f"{self.host}[{self.address}]:{self.port}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """An exchanger that is not tried, and why."""

    host: str
    why: str


class NoRoute(Exception):
    """There is nowhere to connect to; the outcome says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reply)
        self.outcome = outcome


def no_route(result: Result, text: str, *, enhanced: str, category: str) -> NoRoute:
    return NoRoute(Outcome(result, None, enhanced, text, category))


def is_public(address: str) -> bool:
    return is_reachable(address, ())
