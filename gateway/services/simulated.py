"""Which addresses are the simulator's: their fates teach nothing about real recipients."""

from __future__ import annotations

from collections.abc import Iterable

from gateway import config
from gateway.transports.simulator import SUPPRESSED, fate_of


def is_simulated(address: str) -> bool:
    return fate_of(address, config.settings().simulator_domain) is not None


def suppressed(addresses: Iterable[str]) -> list[str]:
    """Those of the lower-case addresses that count as suppressed for everybody."""
    domain = config.settings().simulator_domain
    host = f"@{domain}"
    return [one for one in addresses if domain and one.endswith(host) and fate_of(one, domain) == SUPPRESSED]
