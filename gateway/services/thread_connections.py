"""The connections that one sender thread keeps open between messages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from gateway.transports import base

Kept = dict[str, tuple[base.Transport, base.Connection]]
"""The connections of one thread, by the names of their transports."""


def of(connections: Kept, transport: base.Transport) -> base.Connection:
    """The thread's connection; another one where the transport was built anew, as when a server was changed."""
    name = transport.name
    made, connection = connections.get(name, (None, None))
    if connection is None or made is not transport:
        if connection is not None:
            connection.close()
        connection = transport.open()
        connections[name] = (transport, connection)
    return connection


class Noting:
    """Calls `on_data`, and knows whether it was called: whether the message may have left."""

    def __init__(self, on_data: Callable[[], None]) -> None:
        self._on_data = on_data
        self.called = False

    def __call__(self) -> None:
        self._on_data()
        self.called = True


def close_all(connections: Kept) -> None:
    for _, connection in connections.values():
        with contextlib.suppress(Exception):
            connection.close()
    connections.clear()
