"""Sending servers: the relays and providers that an account has connected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors, ids, vault
from gateway import config as config_
from gateway.services import audit, captures, routing_tables, server_kinds, server_usage, waiting_routes
from gateway.services.identity import Caller
from gateway.services.server_usage import SPAN_WORDS
from gateway.transports import registry
from models import database as db

PREFIX = "srv"
ACTIVE, PAUSED = "active", "paused"
STATUSES = (ACTIVE, PAUSED)
QUOTAS = tuple(f"per_{word}" for word in SPAN_WORDS.values())
"""Names of the quotas, the shortest span first."""

SERVERS_MOST = 200
"""Sending servers of one account."""

QUOTA_MOST = 2_000_000_000
PRIORITY_MOST = WEIGHT_MOST = 1_000_000
_NAME_LENGTH = 100
_SEEN_STEP_MS = 60_000
_AUDITED = frozenset({"name", "kind", "config", "status", "priority", "weight", "reports", *QUOTAS})
_COLUMNS = (
    "id, uuid, account_id, name, kind, config, credentials, status, priority, weight, per_second, per_minute,"
    " per_hour, per_day, reports, hook_seen_ms, created_ms, updated_ms"
)


@dataclass(frozen=True, slots=True)
class SendingServer:
    """A server as its owner sees it; of its credentials only the names of those that are set."""

    id: int
    uuid: UUID
    account_id: int
    name: str
    kind: str
    config: dict[str, Any]
    secrets: list[str]
    status: str
    priority: int
    weight: int
    quotas: dict[str, int | None]
    reports: bool
    hook_seen_ms: int | None
    created_ms: int
    updated_ms: int

    @property
    def hands_over(self) -> bool:
        """Whether its provider reports, so that what it took is not delivered until it says so."""
        return self.reports or self.hook_seen_ms is not None

    @property
    def public_id(self) -> str:
        return ids.public_id(PREFIX, self.uuid)


def create(
    *,
    caller: Caller,
    name: str,
    kind: str,
    config: Mapping[str, Any] | None = None,
    credentials: Mapping[str, Any] | None = None,
    status: str = ACTIVE,
    priority: int = 10,
    weight: int = 100,
    quotas: Mapping[str, int | None] | None = None,
    reports: bool = False,
) -> SendingServer:
    """Connect a server. Raises `Invalid` and `InvalidFields`, `ServerExists`, `ServerLimitReached`, `NotAllowed`.

    Nothing is dialled: `server_checks.check` does that.
    """
    must_be_account_wide(caller)
    word = server_kinds.kind_of(kind)
    if word is None:
        known = ", ".join(server_kinds.KINDS)
        raise errors.Invalid(f"provider should be one of {known}, amazon-ses.", field="provider")
    faults: list[dict[str, str]] = []
    values = _checked(
        {"name": name, "status": status, "priority": priority, "weight": weight, "reports": reports},
        quotas or {},
        faults,
    )
    options = server_kinds.read_config(word, config or {}, faults)
    secrets = server_kinds.read_credentials(word, credentials or {}, faults)
    _try(word, options, secrets, faults)
    values["config"] = orjson.dumps(options).decode()
    uuid, now = ids.new_uuid(), clock.now_ms()
    values |= {
        "uuid": uuid.bytes, "account_id": caller.account_id, "kind": word, "credentials": _sealed(secrets, uuid),
        "created_ms": now, "updated_ms": now,
    }  # fmt: skip

    def work(tx: db.Transaction) -> int:
        taken = _lock_names(tx, caller.account_id)
        if len(taken) >= SERVERS_MOST:
            raise errors.ServerLimitReached(f"An account has at most {SERVERS_MOST} sending servers.")
        if values["name"].casefold() in taken:
            raise errors.ServerExists
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        made = tx.execute(f"INSERT INTO sending_server ({names}) VALUES ({marks})", (*values.values(),))
        told = {name: values[name] for name in values if name in _AUDITED} | {"credentials": sorted(secrets)}
        audit.record(tx, caller=caller, action="sending_server.create", what=_object(uuid), after=told)
        return int(made.lastrowid)

    server_id: int = db.in_transaction(work)
    _changed(caller.account_id)
    return _load("id = ?", (server_id,))[0]


def list_(
    *, caller: Caller, after: int | None = None, count: int = SERVERS_MOST, kind: str = "", status: str = ""
) -> list[SendingServer]:
    """The account's servers, of one kind or status where it is given, the oldest first, behind the row `after`."""
    where = "account_id = ? AND deleted_ms IS NULL AND id > ?"
    values: list[int | str] = [caller.account_id, after or 0]
    for column, wanted in (("kind", kind), ("status", status)):
        if wanted:
            where, values = f"{where} AND {column} = ?", [*values, wanted]
    return _load(f"{where} ORDER BY id LIMIT ?", (*values, count))


def find(*, caller: Caller, server_id: str) -> SendingServer:
    """By public id or UUID; raises `NotFound`."""
    uuid = ids.uuid_of(PREFIX, server_id)
    found = [] if uuid is None else _load(
        "uuid = ? AND account_id = ? AND deleted_ms IS NULL", (uuid.bytes, caller.account_id)
    )  # fmt: skip
    if not found:
        raise errors.NotFound("There is no such sending server.", what="sending server")
    return found[0]


def named(*, caller: Caller, text: str) -> SendingServer:
    """By public id, UUID or name in any case; raises `NotFound`."""
    wanted = text.strip().casefold()
    for one in list_(caller=caller):
        if one.name.casefold() == wanted:
            return one
    return find(caller=caller, server_id=text.strip())


def update(*, caller: Caller, server_id: str, changes: Mapping[str, Any]) -> SendingServer:
    """Change what `changes` names: name, status, priority, weight, reports, config, credentials, quotas.

    `config` replaces all options; credentials and quotas change one by one, None takes one back. Secrets that would go
    to another host from now on have to be given again. What waits for the server is looked at again at once. Raises
    `NotFound`, `Invalid`, `InvalidFields`, `ServerExists`, `NotAllowed`.
    """
    must_be_account_wide(caller)
    server = find(caller=caller, server_id=server_id)
    faults: list[dict[str, str]] = []
    values = _checked(changes, changes.get("quotas") or {}, faults)
    options = server.config
    if changes.get("config") is not None:
        options = server_kinds.read_config(server.kind, changes["config"], faults)
        values["config"] = orjson.dumps(options).decode()
    secrets = changes.get("credentials") or {}
    found = opened(server.id)
    known = found[1] if found is not None else {}
    faults += server_kinds.withheld(server.config, options, known, secrets)
    whole = server_kinds.read_credentials(server.kind, secrets, faults, known)
    _try(server.kind, options, whole, faults)

    def work(tx: db.Transaction) -> None:
        taken = _lock_names(tx, caller.account_id)
        if "name" in values and taken.get(values["name"].casefold(), server.id) != server.id:
            raise errors.ServerExists
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        rows = tx.rows(
            f"SELECT credentials, updated_ms FROM sending_server WHERE id = ? AND deleted_ms IS NULL{lock}",
            (server.id,),
        )
        if not rows:
            raise errors.NotFound("There is no such sending server.", what="sending server")
        new = dict(values)
        if secrets:
            latest = _opened(rows[0][0], server.uuid)
            new["credentials"] = _sealed(server_kinds.read_credentials(server.kind, secrets, [], latest), server.uuid)
        # Transports are built anew when this number changes, so that it never stands still.
        new["updated_ms"] = max(clock.now_ms(), rows[0][1] + 1)
        sets = ", ".join(f"{name} = ?" for name in new)
        tx.execute(f"UPDATE sending_server SET {sets} WHERE id = ?", (*new.values(), server.id))
        before = {name: value for name, value in _columns(server).items() if name in new}
        after = {name: new[name] for name in before}
        if secrets:
            before["credentials"], after["credentials"] = server.secrets, {"changed": sorted(secrets)}
        audit.record(
            tx, caller=caller, action="sending_server.update", what=_object(server.uuid), before=before, after=after
        )

    db.in_transaction(work)
    _changed(caller.account_id)
    return _load("id = ?", (server.id,))[0]


def delete(*, caller: Caller, server_id: str) -> None:
    """Disconnect a server and forget its credentials.

    What waits for it goes over what is left. Raises `NotFound`, `NotAllowed`, and `ServerInUse` while a rule names it.
    """
    must_be_account_wide(caller)
    server = find(caller=caller, server_id=server_id)

    def work(tx: db.Transaction) -> None:
        _lock_names(tx, caller.account_id)
        naming = [
            name
            for name, targets in tx.rows(
                "SELECT name, targets FROM routing_rule WHERE account_id = ? ORDER BY id", (caller.account_id,)
            )
            if any(target.get("server") == server.id for target in orjson.loads(targets))
        ]
        if naming:
            raise errors.ServerInUse(f"Routing rules name this server: {', '.join(naming[:5])}.", rules=naming)
        changed = tx.execute(
            "UPDATE sending_server SET deleted_ms = ?, credentials = NULL WHERE id = ? AND deleted_ms IS NULL",
            (clock.now_ms(), server.id),
        )
        if not changed.rowcount:
            raise errors.NotFound("There is no such sending server.", what="sending server")
        tx.execute("DELETE FROM server_usage WHERE server_id = ?", (server.id,))
        audit.record(
            tx, caller=caller, action="sending_server.delete", what=_object(server.uuid), before=_columns(server)
        )

    db.in_transaction(work)
    _changed(caller.account_id)


def opened(server_id: int) -> tuple[SendingServer, dict[str, str]] | None:
    """A server with its credentials, for those who send over it; None once it is deleted."""
    rows = db.rows(f"SELECT {_COLUMNS} FROM sending_server WHERE id = ? AND deleted_ms IS NULL", (server_id,))
    if not rows:
        return None
    server = _read(rows[0])
    return server, _opened(rows[0][6], server.uuid)


def of_hook(kind: str, server_id: str) -> tuple[SendingServer, dict[str, str]] | None:
    """The server whose provider calls the hook of that public id, with its credentials; None for any other."""
    uuid = ids.uuid_of(PREFIX, server_id)
    if uuid is None:
        return None
    where = "uuid = ? AND kind = ? AND deleted_ms IS NULL"
    rows = db.rows(f"SELECT {_COLUMNS} FROM sending_server WHERE {where}", (uuid.bytes, kind))
    return (_read(rows[0]), _opened(rows[0][6], uuid)) if rows else None


def saw_hook(tx: db.Transaction, server: SendingServer) -> None:
    """A call of its provider was believed: from the first one on what it takes is handed over."""
    now = clock.now_ms()
    if server.hook_seen_ms is None:
        # Transports are built anew when that number changes.
        tx.execute(
            "UPDATE sending_server SET hook_seen_ms = ?, updated_ms = CASE WHEN updated_ms >= ? THEN updated_ms + 1"
            " ELSE ? END WHERE id = ?",
            (now, now, now, server.id),
        )
    elif now - server.hook_seen_ms >= _SEEN_STEP_MS:
        tx.execute("UPDATE sending_server SET hook_seen_ms = ? WHERE id = ?", (now, server.id))


def used(*, caller: Caller, servers: list[SendingServer]) -> dict[int, dict[str, int | None]]:
    """How many messages each was given in the current second, minute, hour and day, by the names of the quotas.

    None where there is no quota: nothing is counted for it.
    """
    counts = server_usage.current([one.id for one in servers])
    return {
        one.id: {
            name: None if one.quotas[name] is None else counts.get((one.id, span), 0)
            for span, name in ((span, f"per_{word}") for span, word in SPAN_WORDS.items())
        }
        for one in servers
    }


def must_be_account_wide(caller: Caller) -> None:
    """Servers and rules concern all domains of an account: a key of one domain only reads them."""
    if caller.domain_id is not None:
        raise errors.NotAllowed("A key of one domain cannot change sending servers or routing rules.")


def _object(uuid: UUID) -> str:
    return f"sending_server:{ids.public_id(PREFIX, uuid)}"


def _columns(server: SendingServer) -> dict[str, Any]:
    """What an audit entry tells of a server, by column."""
    return {
        "name": server.name, "kind": server.kind, "config": orjson.dumps(server.config).decode(),
        "status": server.status, "priority": server.priority, "weight": server.weight, "reports": server.reports,
        **server.quotas,
    }  # fmt: skip


def _checked(
    given: Mapping[str, Any], quotas: Mapping[str, int | None], faults: list[dict[str, str]]
) -> dict[str, Any]:
    """The columns behind what is given."""
    values: dict[str, Any] = {}

    def number(field: str, value: Any, low: int, high: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            faults.append({"field": field, "message": f"{field} should be a number from {low} to {high}"})
        else:
            values[field] = value

    if given.get("name") is not None:
        name = " ".join(str(given["name"]).split())
        if not 0 < len(name) <= _NAME_LENGTH or not name.isprintable():
            faults.append({"field": "name", "message": f"name should have 1 to {_NAME_LENGTH} characters"})
        values["name"] = name
    if given.get("status") is not None:
        if given["status"] not in STATUSES:
            faults.append({"field": "status", "message": "status should be active or paused"})
        values["status"] = given["status"]
    if given.get("priority") is not None:
        number("priority", given["priority"], 0, PRIORITY_MOST)
    if given.get("weight") is not None:
        number("weight", given["weight"], 0, WEIGHT_MOST)
    if given.get("reports") is not None:
        values["reports"] = bool(given["reports"])
    for name, limit in quotas.items():
        if name not in QUOTAS:
            faults.append({"field": f"quotas.{name[:50]}", "message": "quotas are " + ", ".join(QUOTAS)})
        elif limit is None:
            values[name] = None
        else:
            number(name, limit, 1, QUOTA_MOST)
    return values


def _try(kind: str, options: Mapping[str, Any], secrets: Mapping[str, str], faults: list[dict[str, str]]) -> None:
    """Refuse what is wrong so far, or what the transport itself finds wrong with options and credentials."""
    if not faults:
        try:
            registry.build_server(kind, options, secrets, config_.settings(), captures.store)
        except ValueError as error:
            faults.append(server_kinds.fault_of(kind, error))
    if faults:
        raise errors.InvalidFields(faults[0]["message"] + ".", fields=faults)


def _lock_names(tx: db.Transaction, account_id: int) -> dict[str, int]:
    """Names in use, with their rows; nobody else changes servers or rules of the account meanwhile."""
    if tx.dialect == "mysql":
        tx.rows("SELECT id FROM account WHERE id = ? FOR UPDATE", (account_id,))
    rows = tx.rows("SELECT name, id FROM sending_server WHERE account_id = ? AND deleted_ms IS NULL", (account_id,))
    return {name.casefold(): row_id for name, row_id in rows}


def _changed(account_id: int) -> None:
    routing_tables.forget()
    waiting_routes.let_go(account_id)


def _sealed(secrets: Mapping[str, str], uuid: UUID) -> str | None:
    return vault.seal(orjson.dumps(secrets).decode(), f"sending_server:{uuid.hex}") if secrets else None


def _opened(sealed: str | None, uuid: UUID) -> dict[str, str]:
    return dict(orjson.loads(vault.unseal(sealed, f"sending_server:{uuid.hex}"))) if sealed else {}


def _load(where: str, values: tuple[Any, ...]) -> list[SendingServer]:
    return [_read(row) for row in db.rows(f"SELECT {_COLUMNS} FROM sending_server WHERE {where}", values)]


def _read(row: tuple[Any, ...]) -> SendingServer:
    uuid = UUID(bytes=bytes(row[1]))
    return SendingServer(
        id=row[0], uuid=uuid, account_id=row[2], name=row[3], kind=row[4], config=orjson.loads(row[5]),
        secrets=sorted(_opened(row[6], uuid)), status=row[7], priority=row[8], weight=row[9],
        quotas=dict(zip(QUOTAS, row[10:14], strict=True)), reports=bool(row[14]), hook_seen_ms=row[15],
        created_ms=row[16], updated_ms=row[17],
    )  # fmt: skip
