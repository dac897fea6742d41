"""The transports of sending servers, built from their rows, built anew when those change."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from gateway import config
from gateway.services import captures, failover, routing_tables, sending_servers, tls_policies
from gateway.services.senders import Recent
from gateway.transports import base, registry
from models import database as db


class Gone(LookupError):
    """The server was deleted."""


@dataclass(frozen=True, slots=True, eq=False)
class ServerTransport:
    """A transport under the name of its server: `kind:number`. `connections` None: as many as the setting says."""

    name: str
    target: str  # among the limits; empty where each recipient domain is a destination of its own
    inner: base.Transport
    connections: int | None

    @property
    def single(self) -> bool:
        return bool(self.target)

    def group(self, domain: str) -> str:
        return self.target or self.inner.group(domain)

    def open(self) -> base.Connection:
        opened = self.inner.open()
        return failover.RelayConnection(opened) if self.name.startswith("smtp:") else opened


class Transports:
    """Of one process; safe between its threads."""

    def __init__(self) -> None:
        self._built: dict[int, tuple[int, ServerTransport]] = {}
        self._stamps: Recent[int, int | None] = Recent(_stamp, trust_ms=routing_tables.TRUST_MS)
        self._lock = threading.Lock()

    def get(self, server_id: int) -> ServerTransport:
        """The transport as the row is now, about; raises `Gone`."""
        stamp = self._stamps.get(server_id)
        if stamp is None:
            self._built.pop(server_id, None)
            raise Gone(server_id)
        found = self._built.get(server_id)
        if found is None or found[0] != stamp:
            with self._lock:
                found = self._built.get(server_id)
                if found is None or found[0] != stamp:
                    found = self._built[server_id] = (stamp, build(server_id))
        return found[1]


def build(server_id: int) -> ServerTransport:
    """A transport with the credentials of the row; raises `Gone`."""
    opened = sending_servers.opened(server_id)
    if opened is None:
        raise Gone(server_id)
    server, credentials = opened
    name = f"{server.kind}:{server_id}"
    inner = registry.build_server(
        server.kind, server.config, credentials, config.settings(), captures.store, name=name,
        reports=server.hands_over, policies=tls_policies,
    )  # fmt: skip
    target = "" if server.kind == "mx" else routing_tables.target_of(server_id)
    return ServerTransport(name, target, inner, server.config.get("connections"))


def _stamp(server_id: int) -> int | None:
    rows = db.rows("SELECT updated_ms FROM sending_server WHERE id = ? AND deleted_ms IS NULL", (server_id,))
    return int(rows[0][0]) if rows else None
