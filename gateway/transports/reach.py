"""What this process knows of addresses that did not answer, so that a dead one costs its time-out once."""

from __future__ import annotations

import errno
import threading
from collections import OrderedDict
from collections.abc import Sequence

from gateway import clock

DEAD_MS = 45_000
"""How long an address that timed out is left alone: less than the first wait of a retry."""

DOUBT_MS = 600_000
"""How long it, and a family of addresses that led nowhere, comes after all others."""

_STRIKES = 3  # addresses of one family that time out in a row before the family is doubted
_MOST = 4096
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETDOWN})


class Reach:
    """Shared by the threads of a process."""

    def __init__(self) -> None:
        self._dead: OrderedDict[str, tuple[int, str]] = OrderedDict()  # since when, and what was said
        self._doubted: dict[bool, int] = {}  # by whether it is IPv6: since when
        self._strikes: dict[bool, set[str]] = {False: set(), True: set()}
        self._lock = threading.Lock()

    def failed(self, address: str, why: str, *, timed_out: bool, errno_: int | None = None) -> None:
        """No connection came about; one that was refused costs nothing and is not remembered."""
        v6, now = ":" in address, clock.now_ms()
        with self._lock:
            if errno_ in _NO_WAY:
                self._doubted[v6] = now
            if not timed_out:
                return
            self._dead[address] = (now, why)
            self._dead.move_to_end(address)
            while len(self._dead) > _MOST:
                self._dead.popitem(last=False)
            self._strikes[v6].add(address)
            if len(self._strikes[v6]) >= _STRIKES:
                self._doubted[v6] = now

    def answered(self, address: str) -> None:
        v6 = ":" in address
        if not (self._dead or self._doubted or self._strikes[v6]):
            return
        with self._lock:
            self._dead.pop(address, None)
            self._doubted.pop(v6, None)
            self._strikes[v6].clear()

    def dead(self, address: str) -> str:
        """What was said when the address timed out, while that is too fresh to try again; else empty."""
        since, why = self._dead.get(address, (0, ""))
        return why if since and 0 <= clock.now_ms() - since < DEAD_MS else ""

    def ordered(self, addresses: Sequence[str]) -> list[str]:
        """The given order, but doubted families last, and addresses that timed out lately last of all."""
        if not (self._dead or self._doubted):
            return list(addresses)
        now = clock.now_ms()

        def doubt(address: str) -> tuple[bool, bool]:
            since = self._dead.get(address, (0, ""))[0]
            family = self._doubted.get(":" in address, 0)
            return bool(since) and now - since < DOUBT_MS, bool(family) and now - family < DOUBT_MS

        return sorted(addresses, key=doubt)
