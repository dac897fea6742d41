"""What this process may still send over each server with quotas: messages counted ahead, a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway import clock
from gateway.services import server_usage
from gateway.services.routing_tables import Server
from gateway.services.server_usage import Grant

Full = tuple[int, int]
"""Until when, and the window of how many seconds."""

_AHEAD_MOST = 100


@dataclass(slots=True)
class _Server:
    limits: server_usage.Limits
    tokens: int = 0  # counted already and not sent yet
    grant: Grant = field(default_factory=lambda: Grant(0, {}, {}))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def full(self, now_ms: int) -> Full | None:
        found = self.grant.full
        return found if found is not None and found[0] > now_ms else None

    def holds(self, now_ms: int) -> bool:
        """Whether the tokens are of windows that are not over."""
        return all(now_ms < start + span * 1000 for span, start in self.grant.starts.items())


class Quotas:
    """Shared by the threads of a process. What was counted ahead and is not needed goes back within a second."""

    def __init__(self) -> None:
        self._servers: dict[int, _Server] = {}
        self._lock = threading.Lock()

    def full(self, server: Server) -> Full | None:
        """Whether the server is known to be full."""
        return self._of(server).full(clock.now_ms()) if server.limits else None

    def room(self, server: Server) -> tuple[int, Full]:
        """About how many messages a server with limits takes now, and until when those must do."""
        one, now = self._of(server), clock.now_ms()
        used = one.grant.used if one.holds(now) else {}
        left, span = min((limit - used.get(span, 0), span) for span, limit in server.limits)
        return max(0, left + one.tokens), (server_usage.start_ms(span, now) + span * 1000, span)

    def take(self, server: Server, wanted: int) -> Full | None:
        """Count one message before it is sent; where the server is full, until when.

        `wanted` is how many are about to follow. Raises `StoreUnavailable`.
        """
        if not server.limits:
            return None
        one = self._of(server)
        with one.lock:
            now = clock.now_ms()
            if one.tokens and not one.holds(now):
                self._release(server.id, one)
            if not one.tokens:
                known = one.full(now)
                if known is not None:
                    return known
                one.grant = server_usage.reserve(server.id, server.limits, max(1, min(wanted, _AHEAD_MOST)))
                if not one.grant.count:
                    return one.grant.full
                one.tokens = one.grant.count
            one.tokens -= 1
            return None

    def refund(self, server: Server) -> None:
        """The message was not sent after all."""
        if server.limits:
            one = self._of(server)
            with one.lock:
                one.tokens += 1

    def give_back(self, wanted: Callable[[int], bool] = lambda _: False) -> None:
        """Take back what was counted for servers for which nothing waits here; raises `StoreUnavailable`."""
        for server_id, one in list(self._servers.items()):
            if one.tokens and not wanted(server_id):
                with one.lock:
                    self._release(server_id, one)

    @staticmethod
    def _release(server_id: int, one: _Server) -> None:
        if one.tokens:
            server_usage.release(server_id, one.grant.starts, one.tokens)
            one.tokens = 0

    def _of(self, server: Server) -> _Server:
        found = self._servers.get(server.id)
        if found is None or found.limits != server.limits:
            with self._lock:
                old = self._servers.get(server.id)
                if old is None or old.limits != server.limits:
                    self._servers[server.id] = _Server(server.limits)
                found = self._servers[server.id]
        return found
