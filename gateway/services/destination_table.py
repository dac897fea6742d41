"""The destinations that a process writes to, each with its share of what limits and manners allow."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from gateway.dns import mx_groups
from gateway.mail import reply_rules
from gateway.services import server_health, shaping
from gateway.services.breaker import Minute
from gateway.services.destinations import Destination
from gateway.services.rerouting import State
from gateway.services.routing_tables import is_server
from gateway.services.shaping import Limit

FORGET_S = 900.0
"""A destination that was not written to for so long is begun with carefully again."""


class DestinationTable:
    """By group of mail exchangers, and recipient domain where that has limits of its own.

    Not safe between threads by itself.
    """

    def __init__(self, *, connections: int, processes: int) -> None:
        self._connections, self._processes = connections, processes
        self._most: dict[str, int | None] = {}  # by server: the connections that its owner allows
        self._limits: dict[tuple[str, str], list[Limit]] = {}
        self._obeyed: Sequence[Limit] = ()
        self.known: dict[tuple[str, str], Destination] = {}

    def find(self, group: str, domain: str, *, single: bool) -> Destination:
        """That of a recipient domain; made when it is new."""
        own = domain if (shaping.DOMAIN, domain) in self._limits else ""
        found = self.known.get((group, own))
        if found is None:
            cap = self._cap(group, single=single)
            health = server_health.Health() if is_server(group) else None
            found = Destination(group, own, single, cap, self._processes, used_s=time.monotonic(), health=health)
            found.obey(self._limits_of(found))
            self.known[(group, own)] = found
        return found

    def allow(self, group: str, most: int | None, *, single: bool) -> None:
        """The owner of a server allows so many connections; None: as many as the setting says."""
        if self._most.get(group) != most:
            self._most[group] = most
            for place in self.known.values():
                if place.group == group:
                    place.share(self._processes, self._cap(group, single=single))
                    place.obey(self._limits_of(place))

    def _cap(self, group: str, *, single: bool) -> int:
        """The connections of this process: its share of the destination's, but never none; all those of a relay."""
        if not single:
            return max(1, mx_groups.manners(group).connections // self._processes)
        most = self._most.get(group)
        return self._connections if most is None else max(1, min(self._connections, most // self._processes))

    def _limits_of(self, place: Destination) -> list[Limit]:
        scope = shaping.SERVER if place.health is not None else shaping.MX
        mine = self._limits.get((scope, place.group), []) if place.group else []
        return [*mine, *(self._limits.get((shaping.DOMAIN, place.domain), []) if place.domain else [])]

    def server_state(self, target: str) -> State:
        """What is known of a sending server, by its name among the limits."""
        place = self.known.get((target, ""))
        pauses = [one for one in self._limits.get((shaping.SERVER, target), ()) if one.kind == reply_rules.PAUSE]
        pause = max(pauses, key=lambda one: one.ends_ms or 1 << 62, default=None)
        if place is None:
            return State(pause)
        return State(pause, place.probing, place.waiting + (len(place.running) if place.probing else 0))

    # --- what changes for all of them ----------------------------------------------------------

    def obeys(self, limits: Sequence[Limit]) -> bool:
        """Whether these hold already."""
        return limits == self._obeyed

    def obey(self, limits: Sequence[Limit]) -> bool:
        """These hold from now on; returns whether a domain belongs elsewhere than before."""
        self._obeyed = limits
        before = self._limited_domains()
        self._limits = {}
        for limit in limits:
            self._limits.setdefault((limit.scope, limit.target), []).append(limit)
        for place in self.known.values():
            place.obey(self._limits_of(place))
        return before != self._limited_domains()

    def _limited_domains(self) -> set[str]:
        return {target for scope, target in self._limits if scope == shaping.DOMAIN}

    def share(self, processes: int) -> None:
        """So many processes deliver now, on all hosts: what is meant for all of them is shared out anew."""
        if processes == self._processes:
            return
        self._processes = processes
        for place in self.known.values():
            place.share(processes, self._cap(place.group, single=place.single))
            place.obey(self._limits_of(place))

    def forget_unused(self, now_s: float) -> None:
        for key, place in list(self.known.items()):
            if not (place.waiting or place.running or place.called) and now_s - place.used_s > FORGET_S:
                del self.known[key]

    # --- what all processes saw ----------------------------------------------------------------

    def take_seen(self) -> tuple[dict[tuple[str, int], tuple[int, int]], set[str]]:
        """(target, minute) → messages taken and refused since the last call; the targets that ask for all of it."""
        seen: dict[tuple[str, int], tuple[int, int]] = {}
        asking: set[str] = set()
        for place in self.known.values():
            for minute, (taken, refused) in place.take_seen().items():
                before = seen.get((place.group, minute), (0, 0))
                seen[(place.group, minute)] = (before[0] + taken, before[1] + refused)
            if place.asks:
                asking.add(place.group)
                place.asks = False
        return seen, asking

    def tell(self, pasts: Mapping[str, Sequence[Minute]]) -> None:
        """What all processes saw of these targets."""
        for place in self.known.values():
            minutes = pasts.get(place.group)
            if minutes is not None:
                place.breaker.share(minutes)
