"""Routing rules: which of an account's sending servers take which mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors, ids
from gateway.services import (
    audit,
    domains,
    references,
    routing_match,
    routing_tables,
    sending_servers,
    server_kinds,
    waiting_routes,
)
from gateway.services.identity import Caller
from gateway.services.sending_servers import PRIORITY_MOST, WEIGHT_MOST, must_be_account_wide
from models import database as db

PREFIX = "rul"
RULES_MOST = 500
"""Routing rules of one account."""

TARGETS_MOST = 50
"""Targets of one rule."""

_NAME_LENGTH = 100
_AUDITED = ("name", "priority", "enabled", "match", "targets", "domain_id")
_COLUMNS = (
    "r.id, r.uuid, r.domain_id, r.name, r.priority, r.enabled, r.`match`, r.targets, r.created_ms, r.updated_ms, d.name"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A server by its public id and name, or where these are empty every server of a kind.

    `kind` is the server's own, or that one; `weight` None: that of each server.
    """

    server: str
    server_name: str
    kind: str
    priority: int
    weight: int | None


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """A rule as its owner sees it; `domain` is the one whose mail alone it is for, else empty."""

    id: int
    uuid: UUID
    domain: str
    name: str
    priority: int
    enabled: bool
    match: dict[str, Any]
    targets: list[Target]
    created_ms: int
    updated_ms: int

    @property
    def public_id(self) -> str:
        return ids.public_id(PREFIX, self.uuid)


def create(
    *,
    caller: Caller,
    name: str,
    targets: Sequence[Mapping[str, Any]],
    match: Mapping[str, Any] | None = None,
    priority: int = 10,
    enabled: bool = True,
    domain: str | None = None,
) -> RoutingRule:
    """Make a rule. Each target has `server` (public id or name) or `provider` (a kind), and may have priority, weight.

    A target's `server` or `provider` is found under either word. Raises `Invalid`, `InvalidFields`, `NotFound` (the
    domain), `ServerLimitReached`, `NotAllowed`.
    """
    must_be_account_wide(caller)
    given = {"name": name, "priority": priority, "enabled": enabled, "match": match or {}, "targets": targets}
    values = _checked(caller, given | {"domain": domain})
    uuid, now = ids.new_uuid(), clock.now_ms()
    values |= {"uuid": uuid.bytes, "account_id": caller.account_id, "created_ms": now, "updated_ms": now}

    def work(tx: db.Transaction) -> int:
        _lock(tx, caller.account_id, values["targets"])
        count = tx.rows("SELECT COUNT(*) FROM routing_rule WHERE account_id = ?", (caller.account_id,))[0][0]
        if count >= RULES_MOST:
            raise errors.ServerLimitReached(f"An account has at most {RULES_MOST} routing rules.")
        names, marks = ", ".join(f"`{name}`" for name in values), ", ".join("?" * len(values))
        made = tx.execute(f"INSERT INTO routing_rule ({names}) VALUES ({marks})", (*values.values(),))
        told = {name: values[name] for name in _AUDITED if name in values}
        audit.record(tx, caller=caller, action="routing_rule.create", what=_object(uuid), after=told)
        return int(made.lastrowid)

    rule_id: int = db.in_transaction(work)
    _changed(caller.account_id)
    return _load("r.id = ?", (rule_id,))[0]


def list_(
    *,
    caller: Caller,
    after: tuple[int, int] | None = None,
    count: int = RULES_MOST,
    enabled: bool | None = None,
    domain_id: int | None = None,
) -> list[RoutingRule]:
    """The account's rules in the order in which they are asked, behind a priority and a row.

    A key of one domain sees those of no domain and its own. `domain_id`: only those for mail of that domain alone.
    """
    where, values = "r.account_id = ?", [caller.account_id]
    if after is not None:
        where, values = f"{where} AND (r.priority > ? OR (r.priority = ? AND r.id > ?))", [*values, after[0], *after]
    if enabled is not None:
        where, values = f"{where} AND r.enabled = ?", [*values, enabled]
    if domain_id is not None:
        where, values = f"{where} AND r.domain_id = ?", [*values, domain_id]
    if caller.domain_id is not None:
        own = [caller.domain_id, *caller.domain_ids]
        where = f"{where} AND (r.domain_id IS NULL OR r.domain_id IN ({','.join('?' * len(own))}))"
        values += own
    return _load(f"{where} ORDER BY r.priority, r.id LIMIT ?", (*values, count))


def find(*, caller: Caller, rule_id: str) -> RoutingRule:
    """By public id or UUID; raises `NotFound`."""
    uuid = ids.uuid_of(PREFIX, rule_id)
    found = [] if uuid is None else _load("r.uuid = ? AND r.account_id = ?", (uuid.bytes, caller.account_id))
    if not found or (caller.domain_id is not None and found[0] not in list_(caller=caller)):
        raise errors.NotFound("There is no such routing rule.", what="routing rule")
    return found[0]


def update(*, caller: Caller, rule_id: str, changes: Mapping[str, Any]) -> RoutingRule:
    """Change what `changes` names, as in `create`; `match` and `targets` replace what was there.

    `domain` None: the rule is for every domain. What waits for its servers is looked at again at once. Raises as
    `create`, and `NotFound`.
    """
    must_be_account_wide(caller)
    rule = find(caller=caller, rule_id=rule_id)
    values = _checked(caller, changes)

    def work(tx: db.Transaction) -> None:
        _lock(tx, caller.account_id, values.get("targets", "[]"))
        known = dict(zip(_AUDITED, _row(rule.id, tx), strict=True))
        new = {**values, "updated_ms": max(clock.now_ms(), rule.updated_ms + 1)}
        sets = ", ".join(f"`{name}` = ?" for name in new)
        tx.execute(f"UPDATE routing_rule SET {sets} WHERE id = ?", (*new.values(), rule.id))
        before = {name: value for name, value in known.items() if name in values}
        audit.record(
            tx, caller=caller, action="routing_rule.update", what=_object(rule.uuid), before=before,
            after={name: values[name] for name in before},
        )  # fmt: skip

    db.in_transaction(work)
    _changed(caller.account_id)
    return _load("r.id = ?", (rule.id,))[0]


def delete(*, caller: Caller, rule_id: str) -> None:
    """What waits by this rule goes over any server of the account. Raises `NotFound`, `NotAllowed`."""
    must_be_account_wide(caller)
    rule = find(caller=caller, rule_id=rule_id)

    def work(tx: db.Transaction) -> None:
        before = dict(zip(_AUDITED, _row(rule.id, tx), strict=True))
        tx.execute("DELETE FROM routing_rule WHERE id = ?", (rule.id,))
        audit.record(tx, caller=caller, action="routing_rule.delete", what=_object(rule.uuid), before=before)

    db.in_transaction(work)
    _changed(caller.account_id)


def _object(uuid: UUID) -> str:
    return f"routing_rule:{ids.public_id(PREFIX, uuid)}"


def _row(rule_id: int, tx: db.Transaction) -> tuple[Any, ...]:
    """The audited columns; raises `NotFound`."""
    names = ", ".join(f"`{name}`" for name in _AUDITED)
    found = tx.rows(f"SELECT {names} FROM routing_rule WHERE id = ?", (rule_id,))
    if not found:
        raise errors.NotFound("There is no such routing rule.", what="routing rule")
    return found[0]


def _checked(caller: Caller, given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns behind what is given."""
    faults: list[dict[str, str]] = []
    values: dict[str, Any] = {}
    if given.get("name") is not None:
        name = " ".join(str(given["name"]).split())
        if not 0 < len(name) <= _NAME_LENGTH or not name.isprintable():
            faults.append({"field": "name", "message": f"name should have 1 to {_NAME_LENGTH} characters"})
        values["name"] = name
    if given.get("priority") is not None:
        values["priority"] = _number(given["priority"], "priority", PRIORITY_MOST, faults)
    if given.get("enabled") is not None:
        values["enabled"] = bool(given["enabled"])
    if given.get("match") is not None:
        lists = _lists(caller, given["match"], faults)
        values["match"] = orjson.dumps(routing_match.read({**given["match"], **lists}, faults).dump()).decode()
    if given.get("targets") is not None:
        values["targets"] = orjson.dumps(_targets(caller, given["targets"], faults)).decode()
    if "domain" in given:
        name = given["domain"]
        values["domain_id"] = domains.find_by_name(caller=caller, name=name).id if name else None
    if faults:
        raise errors.InvalidFields(faults[0]["message"] + ".", fields=faults)
    return values


def _lists(caller: Caller, match: Mapping[str, Any], faults: list[dict[str, str]]) -> dict[str, Any]:
    """The numbers of the lists that a match names by public id; foreign ones are absent."""
    key = next((key for key in ("list", "lists", "list_id") if match.get(key) is not None), "")
    if not key:
        return {}
    found: list[Any] = []
    for one in match[key] if isinstance(match[key], list) else [match[key]]:
        rows = [
            row
            for column, value in references.keys(one, ("lst",))
            for row in db.rows(
                f"SELECT id FROM mail_list WHERE {column} = ? AND account_id = ?", (value, caller.account_id)
            )
        ]
        if not rows:
            faults.append({"field": "match.list", "message": f"there is no list {str(one)[:64]}"})
            continue
        found.append(rows[0][0])
    return {key: found or None}


def _targets(caller: Caller, given: Any, faults: list[dict[str, str]]) -> list[dict[str, Any]]:
    if not isinstance(given, Sequence) or isinstance(given, str) or not 0 < len(given) <= TARGETS_MOST:
        faults.append({"field": "servers", "message": f"servers should be a list of 1 to {TARGETS_MOST} servers"})
        return []
    found: list[dict[str, Any]] = []
    for at, one in enumerate(given):
        target = one if isinstance(one, Mapping) else {"server": one}
        word = target.get("server") or target.get("provider") or target.get("id")
        field = f"servers.{at}"
        if not isinstance(word, str):
            faults.append({"field": field, "message": "each of servers should name a server or a provider"})
            continue
        made = _whose(caller, word)
        if made is None:
            faults.append({"field": field, "message": f"there is no sending server {word[:100]!r}"})
            continue
        priority = target.get("priority")
        made["priority"] = 10 if priority is None else _number(priority, f"{field}.priority", PRIORITY_MOST, faults)
        if target.get("weight") is not None:
            made["weight"] = _number(target["weight"], f"{field}.weight", WEIGHT_MOST, faults)
        if any((made.get("server"), made.get("kind")) == (old.get("server"), old.get("kind")) for old in found):
            faults.append({"field": field, "message": f"{word[:100]} is named twice"})
        found.append(made)
    return found


def _whose(caller: Caller, word: str) -> dict[str, Any] | None:
    """A target by the name or id of a server, else by the word for a kind, of which there need be none yet."""
    try:
        return {"server": sending_servers.named(caller=caller, text=word).id}
    except errors.NotFound:
        kind = server_kinds.kind_of(word)
        return {"kind": kind} if kind is not None else None


def _number(value: Any, field: str, most: int, faults: list[dict[str, str]]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        faults.append({"field": field, "message": f"{field} should be a number from 0 to {most}"})
        return 0
    return value


def _lock(tx: db.Transaction, account_id: int, targets: str) -> None:
    """Hold the account's servers still, and see that those of the targets are there: one may be going just now."""
    if tx.dialect == "mysql":
        tx.rows("SELECT id FROM account WHERE id = ? FOR UPDATE", (account_id,))
    named = [one["server"] for one in orjson.loads(targets) if "server" in one]
    if named:
        marks = ",".join("?" * len(named))
        sql = f"SELECT COUNT(*) FROM sending_server WHERE id IN ({marks}) AND account_id = ? AND deleted_ms IS NULL"
        if tx.rows(sql, (*named, account_id))[0][0] < len(set(named)):
            raise errors.Invalid("A sending server of this rule was deleted just now.", field="servers")


def _changed(account_id: int) -> None:
    routing_tables.forget()
    waiting_routes.let_go(account_id)


def _load(where: str, values: Sequence[Any]) -> list[RoutingRule]:
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM routing_rule r LEFT JOIN sender_domain d ON d.id = r.domain_id WHERE {where}", values
    )
    stored = [orjson.loads(row[7]) for row in rows]
    wanted = sorted({one["server"] for targets in stored for one in targets if "server" in one})
    servers: dict[int, tuple[str, str, str]] = {}
    if wanted:
        for row_id, uuid, name, kind in db.rows(
            f"SELECT id, uuid, name, kind FROM sending_server WHERE id IN ({','.join('?' * len(wanted))})", wanted
        ):
            servers[row_id] = (ids.public_id(sending_servers.PREFIX, UUID(bytes=bytes(uuid))), name, kind)
    return [
        RoutingRule(
            id=row[0], uuid=UUID(bytes=bytes(row[1])), domain=row[10] or "", name=row[3], priority=row[4],
            enabled=bool(row[5]), match=orjson.loads(row[6]),
            targets=[
                Target(server, name, kind or one.get("kind", ""), one["priority"], one.get("weight"))
                for one in targets
                for server, name, kind in (servers.get(one.get("server", 0), ("", "", "")),)
            ],
            created_ms=row[8], updated_ms=row[9],
        )
        for row, targets in zip(rows, stored, strict=True)
    ]  # fmt: skip
