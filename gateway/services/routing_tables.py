"""What the hot paths know of an account's sending servers and routing rules, read at most once a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, ids
from gateway.services import routing_match, server_usage, shaping
from gateway.services.routing_match import Match
from gateway.services.senders import Recent
from gateway.services.server_usage import SPAN_WORDS
from gateway.services.shaping import Limit
from models import database as db

TRUST_MS = 250
"""How long what was read is believed: without servers by everybody, with them by the engine."""

_CHECKED_MS = 3  # of a bulk request not every message asks anew


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is not deleted; `stamp` changes with every change of the row."""

    id: int
    public_id: str
    name: str
    kind: str
    active: bool
    priority: int
    weight: int
    limits: server_usage.Limits
    stamp: int


@dataclass(frozen=True, slots=True)
class Target:
    """A server, or every server of a kind; `weight` None: that of the server."""

    server_id: int | None
    kind: str
    priority: int
    weight: int | None


@dataclass(frozen=True, slots=True)
class Rule:
    id: int
    public_id: str
    name: str
    priority: int
    domain_id: int | None
    match: Match
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """All of one account; `rules` are the enabled ones in the order in which they are asked.

    `full` has for each server that was full when this was read until when and which window; `broken` the limit that
    pauses it.
    """

    servers: dict[int, Server]
    rules: tuple[Rule, ...]
    full: dict[int, tuple[int, int]] = field(default_factory=dict)
    broken: dict[int, Limit] = field(default_factory=dict)
    stamp: tuple[int | None, ...] = ()  # differs after every change of a server or rule


def of(account_id: int) -> Table | None:
    """None for an account without sending servers: there is nothing to choose."""
    return _tables.get(account_id)


def committed(account_id: int) -> Table | None:
    """As `of`, but knows every change of the account's servers and rules that another process has committed.

    It costs accounts with servers one small read. The first server of an account is seen after `TRUST_MS`.
    """
    table = _tables.get(account_id)
    if table is None:
        return None
    now = clock.now_ms()
    if not 0 <= now - _checked.get(account_id, 0) < _CHECKED_MS:
        if table.stamp != _stamp(account_id):
            table = fresh(account_id)
        _checked[account_id] = now
    return table


def fresh(account_id: int) -> Table | None:
    """As `of`, read just now."""
    return _tables.reload(account_id)


def forget() -> None:
    _tables.forget()
    _checked.clear()


def target_of(server_id: int) -> str:
    """The name of a server among the limits: no host is called so."""
    return f"srv:{server_id}"


def is_server(target: str) -> bool:
    return target.startswith("srv:")


def parse_targets(stored: str) -> tuple[Target, ...]:
    return tuple(
        Target(one.get("server"), one.get("kind", ""), one["priority"], one.get("weight"))
        for one in orjson.loads(stored)
    )


def _stamp(account_id: int) -> tuple[int | None, ...]:
    return db.rows(
        "SELECT (SELECT COUNT(*) FROM sending_server WHERE account_id = ? AND deleted_ms IS NULL),"
        " (SELECT MAX(updated_ms) FROM sending_server WHERE account_id = ? AND deleted_ms IS NULL),"
        " (SELECT COUNT(*) FROM routing_rule WHERE account_id = ?),"
        " (SELECT MAX(updated_ms) FROM routing_rule WHERE account_id = ?)",
        (account_id,) * 4,
    )[0]


def _load(account_id: int) -> Table | None:
    # Before the rest: what changes meanwhile is read once more.
    stamp = _stamp(account_id)
    if not stamp[0]:
        return None
    rows = db.rows(
        "SELECT id, uuid, name, kind, status, priority, weight, per_second, per_minute, per_hour, per_day, updated_ms"
        " FROM sending_server WHERE account_id = ? AND deleted_ms IS NULL ORDER BY id",
        (account_id,),
    )
    if not rows:
        return None
    servers = {row[0]: _server(row) for row in rows}
    rules = tuple(
        _rule(row)
        for row in db.rows(
            "SELECT id, uuid, name, priority, domain_id, `match`, targets FROM routing_rule"
            " WHERE account_id = ? AND enabled = 1 ORDER BY priority, id",
            (account_id,),
        )
    )
    return Table(servers, rules, _full(servers), _broken(servers), stamp)


def _server(row: tuple[Any, ...]) -> Server:
    limits = tuple((span, limit) for span, limit in zip(SPAN_WORDS, row[7:11], strict=True) if limit is not None)
    public_id = ids.public_id("srv", UUID(bytes=bytes(row[1])))
    return Server(row[0], public_id, row[2], row[3], row[4] == "active", row[5], row[6], limits, row[11])


def _rule(row: tuple[Any, ...]) -> Rule:
    match = routing_match.load(orjson.loads(row[5]))
    public_id = ids.public_id("rul", UUID(bytes=bytes(row[1])))
    return Rule(row[0], public_id, row[2], row[3], row[4], match, parse_targets(row[6]))


def _full(servers: dict[int, Server]) -> dict[int, tuple[int, int]]:
    now = clock.now_ms()
    counts = server_usage.current([one.id for one in servers.values() if one.limits])
    found: dict[int, tuple[int, int]] = {}
    for server in servers.values():
        for span, limit in server.limits:
            if counts.get((server.id, span), 0) >= limit:
                until = server_usage.start_ms(span, now) + span * 1000
                found[server.id] = max(found.get(server.id, (0, 0)), (until, span))
    return found


def _broken(servers: dict[int, Server]) -> dict[int, Limit]:
    by_target = {target_of(server_id): server_id for server_id in servers}
    return {by_target[limit.target]: limit for limit in shaping.server_pauses() if limit.target in by_target}


_checked: dict[int, int] = {}
_tables: Recent[int, Table | None] = Recent(_load, trust_ms=TRUST_MS)
