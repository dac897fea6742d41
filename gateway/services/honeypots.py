"""Who followed the link that no reader sees: kept for a day, so that their other hits are known for a machine's."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway import clock, vault
from gateway.services import scratchpad
from models import database as db

KEPT_MS = clock.DAY_MS
_BATCH = 300
_INSERT = {"sqlite": "INSERT OR IGNORE", "mysql": "INSERT IGNORE"}


def visitor(ip: str, agent: str) -> str:
    """A name for whoever has that address and agent, from which neither can be told."""
    return vault.sign("visitor", f"{ip}\0{agent}".encode("utf-8", "replace"), 12).hex()


def remember(hits: Sequence[tuple[int, str, int]]) -> None:
    """Keep (delivery, visitor, time); safe to repeat. Raises `StoreUnavailable`."""
    for start in range(0, len(hits), _BATCH):
        some = hits[start : start + _BATCH]
        marks = ", ".join(["(?, ?, ?)"] * len(some))
        scratchpad.write(
            f"{_INSERT[db.dialect()]} INTO honeypot_hit (delivery_id, visitor, at_ms) VALUES {marks}",
            [value for hit in some for value in hit],
        )


def caught(delivery_ids: Collection[int]) -> dict[int, list[tuple[str, int]]]:
    """(visitor, time) of each by delivery; raises `StoreUnavailable`."""
    found: dict[int, list[tuple[str, int]]] = {}
    wanted = sorted(delivery_ids)
    for start in range(0, len(wanted), _BATCH):
        some = wanted[start : start + _BATCH]
        marks = ", ".join("?" * len(some))
        sql = f"SELECT delivery_id, visitor, at_ms FROM honeypot_hit WHERE delivery_id IN ({marks})"
        for delivery_id, who, at_ms in scratchpad.rows(sql, some):
            found.setdefault(delivery_id, []).append((who, at_ms))
    return found
