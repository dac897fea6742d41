"""Which addresses are the simulator's: their fates teach nothing about real recipients."""

from __future__ import annotations

from gateway import config
from gateway.transports.simulator import SUPPRESSED, fate_of


def is_simulated(address: str) -> bool:
    return fate_of(address, config.settings().simulator_domain) is not None


def is_suppressed(address: str) -> bool:
    """Whether it is the one that counts as suppressed for everybody."""
    return fate_of(address, config.settings().simulator_domain) == SUPPRESSED
