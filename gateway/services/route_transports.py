"""The way out of each route: the transports of this process, built as they are needed."""

from __future__ import annotations

import threading

from gateway import config
from gateway.services import captures, lanes, routes, server_transports, simulations, tls_policies
from gateway.transports import base, registry


class RouteTransports:
    """Safe between the threads of the process."""

    def __init__(self, settings: config.Settings) -> None:
        self._settings = settings
        self._built: dict[str, base.Transport] = {}
        self._lock = threading.Lock()
        self._servers = server_transports.Transports()

    def get(self, route: str) -> base.Transport:
        """Raises `server_transports.Gone`, and what building a transport raises."""
        way = routes.parse(route)
        if way is not None:
            return self._servers.get(way.server_id)
        spec = "capture" if route == lanes.ROUTE_TEST else self._settings.delivery
        with self._lock:
            found = self._built.get(spec)
            if found is None:
                built = registry.build(spec, self._settings, captures.store, policies=tls_policies)
                found = self._built[spec] = simulations.wrapped(built)
            return found
