"""Lists of subscribers, segments of them among them: made, renamed, counted and deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from gateway import clock, errors, ids
from gateway.services import audit, list_counts, list_uses
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import ListKind, SubscriberStatus

MOST_LISTED = 100
_NAME_LENGTH = 255
_COLUMNS = "id, uuid, kind, source_id, name, conditions, options, created_ms, updated_ms"
_BATCH = 500


@dataclass(frozen=True, slots=True)
class MailList:
    """A list, or a segment: those of the list `source_id` who fulfil `conditions` (JSON).

    `active` are those a message to the list goes to; a segment is not counted.
    """

    id: int
    uuid: UUID
    kind: ListKind
    source_id: int | None
    name: str
    conditions: str | None
    options: dict[str, Any]
    created_ms: int
    updated_ms: int
    active: int = 0
    unsubscribed: int = 0
    pending: int = 0

    @property
    def is_segment(self) -> bool:
        return self.kind is ListKind.SEGMENT


def add(*, caller: Caller, name: str, options: Mapping[str, Any] | None = None) -> MailList:
    """Raises `Invalid`. `options` are those of `confirmations.checked`."""
    return db.in_transaction(lambda tx: insert(tx, caller=caller, name=name, options=options))


def insert(
    tx: db.Transaction,
    *,
    caller: Caller,
    name: str,
    options: Mapping[str, Any] | None = None,
    source_id: int | None = None,
    conditions: str | None = None,
) -> MailList:
    """Make a list, or with a source a segment of it; raises `Invalid`."""
    name = _checked(name)
    now, uuid = clock.now_ms(), ids.new_uuid()
    kind = ListKind.LIST if source_id is None else ListKind.SEGMENT
    cursor = tx.execute(
        "INSERT INTO mail_list (uuid, account_id, kind, source_id, name, conditions, options, created_ms, updated_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            uuid.bytes, caller.account_id, int(kind), source_id, name, conditions,
            orjson.dumps(options).decode() if options else None, now, now,
        ),
    )  # fmt: skip
    told = {"name": name, "conditions": audit.print_of(conditions), "options": dict(options or {})}
    audit.record(tx, caller=caller, action=f"{kind.word}.create", what=f"{kind.word}:{cursor.lastrowid}", after=told)
    return MailList(int(cursor.lastrowid), uuid, kind, source_id, name, conditions, dict(options or {}), now, now)


def find(
    *,
    caller: Caller,
    list_id: int | None = None,
    uuid: UUID | None = None,
    kinds: Collection[ListKind] = (ListKind.LIST,),
) -> MailList:
    """By number, else by UUID; raises `NotFound`."""
    noun = "list" if ListKind.LIST in kinds else "segment"
    if list_id is None and uuid is None:
        raise errors.NotFound(what=noun)
    column, value = ("id", list_id) if list_id is not None else ("uuid", uuid.bytes if uuid is not None else b"")
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM mail_list WHERE {column} = ? AND account_id = ? AND deleted_ms IS NULL",
        (value, caller.account_id),
    )
    if not rows or rows[0][2] not in kinds:
        raise errors.NotFound(what=noun)
    return _counted(rows)[0]


def list_(*, caller: Caller, start: int = 0, count: int = MOST_LISTED) -> tuple[list[MailList], int]:
    """Some of the account's lists, the oldest first, and how many there are; segments are not among them."""
    where = f"account_id = ? AND deleted_ms IS NULL AND kind = {int(ListKind.LIST)}"
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM mail_list WHERE {where} ORDER BY id LIMIT ? OFFSET ?",
        (caller.account_id, min(count, MOST_LISTED), start),
    )
    total = db.rows(f"SELECT COUNT(*) FROM mail_list WHERE {where}", (caller.account_id,))[0][0]
    return _counted(rows), int(total)


def page(
    *,
    caller: Caller,
    count: int,
    after: int | None = None,
    kind: ListKind | None = None,
    name: str = "",
    source_id: int | None = None,
) -> list[MailList]:
    """Lists and segments whose name has `name` in it, in any case, the oldest first, behind the number `after`.

    `source_id`: only segments of that list.
    """
    where, params = "account_id = ? AND deleted_ms IS NULL AND id > ?", [caller.account_id, after or 0]
    if kind is not None:
        where += " AND kind = ?"
        params.append(int(kind))
    if source_id is not None:
        where += " AND source_id = ?"
        params.append(source_id)
    limit = "" if name else f" LIMIT {count}"
    rows = db.rows(f"SELECT {_COLUMNS} FROM mail_list WHERE {where} ORDER BY id{limit}", params)
    # Folded here: the two databases do not agree on what the same letters are.
    return _counted([row for row in rows if name.casefold() in str(row[4]).casefold()][:count])


def uuids(*, caller: Caller, list_ids: Collection[int]) -> dict[int, UUID]:
    """The UUIDs of the account's lists by number, deleted ones too."""
    if not list_ids:
        return {}
    rows = db.rows(
        f"SELECT id, uuid FROM mail_list WHERE account_id = ? AND id IN ({','.join('?' * len(list_ids))})",
        (caller.account_id, *list_ids),
    )
    return {int(list_id): UUID(bytes=bytes(uuid)) for list_id, uuid in rows}


def update(*, caller: Caller, list_id: int, name: str) -> MailList:
    """Give a list another name; raises `NotFound`, `Invalid`."""
    return change(caller=caller, one=find(caller=caller, list_id=list_id), name=name)


def change(
    *,
    caller: Caller,
    one: MailList,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    conditions: str | None = None,
) -> MailList:
    """Change what is given of a list or segment that `find` gave; raises `NotFound`, `Invalid`."""
    values: dict[str, Any] = {"updated_ms": clock.now_ms()}
    if name is not None:
        values["name"] = _checked(name)
    if options is not None:
        values["options"] = orjson.dumps(options).decode() if options else None
    if conditions is not None:
        values["conditions"] = conditions
    sets = ", ".join(f"{column} = ?" for column in values)
    before = {"name": one.name, "conditions": audit.print_of(one.conditions), "options": one.options}
    given = {"name": values.get("name"), "conditions": audit.print_of(conditions), "options": options}
    after = before | {side: value for side, value in given.items() if value is not None}

    def work(tx: db.Transaction) -> None:
        found = tx.execute(
            f"UPDATE mail_list SET {sets} WHERE id = ? AND account_id = ? AND deleted_ms IS NULL",
            (*values.values(), one.id, caller.account_id),
        ).rowcount
        word = one.kind.word
        if found:
            what = f"{word}:{one.id}"
            audit.record(tx, caller=caller, action=f"{word}.update", what=what, before=before, after=after)

    db.in_transaction(work)
    return find(caller=caller, list_id=one.id, kinds=(one.kind,))


def delete(*, caller: Caller, list_id: int, kinds: Collection[ListKind] = (ListKind.LIST,)) -> None:
    """A list's segments go with it; a message that was accepted for it still goes to all of it.

    Raises `NotFound`, and `ListInUse` while a scheduled campaign or an automation needs it or one of its segments.
    """
    one = find(caller=caller, list_id=list_id, kinds=kinds)

    def work(tx: db.Transaction) -> int:
        own = "account_id = ? AND (id = ? OR source_id = ?) AND deleted_ms IS NULL"
        values = (caller.account_id, list_id, list_id)
        lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
        found = [row_id for (row_id,) in tx.rows(f"SELECT id FROM mail_list WHERE {own}{lock}", values)]
        if found:
            list_uses.must_be_free(tx, caller=caller, list_ids=found)
        gone = tx.execute(f"UPDATE mail_list SET deleted_ms = ? WHERE {own}", (clock.now_ms(), *values)).rowcount
        if gone:
            word, before = one.kind.word, {"name": one.name, "segments": int(gone) - 1}
            audit.record(tx, caller=caller, action=f"{word}.delete", what=f"{word}:{list_id}", before=before)
        return int(gone)

    if not db.in_transaction(work):
        raise errors.NotFound(what="list")


def collect() -> tuple[int, bool]:
    """Delete removed subscribers and deleted lists that no message still has to go through.

    Up to a batch of rows; returns how many went and whether there may be more.
    """
    lists = [
        list_id
        for (list_id,) in db.rows(
            "SELECT DISTINCT s.list_id FROM subscriber s JOIN mail_list l ON l.id = s.list_id"
            " WHERE (s.status = ? OR l.deleted_ms IS NOT NULL)"
            " AND NOT EXISTS (SELECT 1 FROM expansion e WHERE e.list_id = l.id AND e.done_ms IS NULL) LIMIT 10",
            (int(SubscriberStatus.REMOVED),),
        )
    ]
    gone = sum(db.in_transaction(lambda tx, one=one: _collect_from(tx, one)) for one in lists)  # type: ignore[misc]
    if not lists:
        gone += db.in_transaction(_collect_lists)
    return gone, gone > 0


def _collect_from(tx: db.Transaction, list_id: int) -> int:
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    found = tx.rows(f"SELECT deleted_ms FROM mail_list WHERE id = ?{lock}", (list_id,))
    # A message may have been accepted since this list was picked.
    if not found or tx.rows("SELECT 1 FROM expansion WHERE list_id = ? AND done_ms IS NULL LIMIT 1", (list_id,)):
        return 0
    where, params = (
        ("", [list_id]) if found[0][0] is not None else (" AND status = ?", [list_id, int(SubscriberStatus.REMOVED)])
    )
    rows = tx.rows(f"SELECT id, status FROM subscriber WHERE list_id = ?{where} LIMIT {_BATCH}", params)
    if rows:
        marks = ",".join("?" * len(rows))
        tx.execute(f"DELETE FROM subscriber WHERE id IN ({marks})", [row[0] for row in rows])
        tx.execute(f"DELETE FROM confirmation WHERE subscriber_id IN ({marks})", [row[0] for row in rows])
        list_counts.change(tx, list_id, {status: -n for status, n in Counter(row[1] for row in rows).items()})
    return len(rows)


def _collect_lists(tx: db.Transaction) -> int:
    rows = tx.rows(
        "SELECT id FROM mail_list l WHERE deleted_ms IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM subscriber s WHERE s.list_id = l.id)"
        f" AND NOT EXISTS (SELECT 1 FROM expansion e WHERE e.list_id = l.id AND e.done_ms IS NULL) LIMIT {_BATCH}"
    )
    for (list_id,) in rows:  # what held for the mail to it alone goes first, however much that is
        kept = tx.rows(f"SELECT id FROM suppression WHERE domain_id = ? LIMIT {_BATCH}", (-list_id,))
        if kept:
            tx.execute(f"DELETE FROM suppression WHERE id IN ({','.join('?' * len(kept))})", [row[0] for row in kept])
            return len(kept)
    if rows:
        marks = ",".join("?" * len(rows))
        tx.execute(f"DELETE FROM list_count WHERE list_id IN ({marks})", [row[0] for row in rows])
        tx.execute(f"DELETE FROM mail_list WHERE id IN ({marks})", [row[0] for row in rows])
    return len(rows)


def _checked(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _NAME_LENGTH:
        raise errors.Invalid(f"A list's name has 1 to {_NAME_LENGTH} characters.", field="ListName")
    return name


def _counted(rows: Sequence[tuple[Any, ...]]) -> list[MailList]:
    counts = list_counts.of([row[0] for row in rows])
    return [
        MailList(
            list_id, UUID(bytes=bytes(uuid)), ListKind(kind), source_id, name, conditions,
            orjson.loads(options or "{}"), created_ms, updated_ms,
            active=counts[list_id].get(SubscriberStatus.ACTIVE, 0),
            unsubscribed=counts[list_id].get(SubscriberStatus.UNSUBSCRIBED, 0),
            pending=counts[list_id].get(SubscriberStatus.PENDING, 0),
        )
        for list_id, uuid, kind, source_id, name, conditions, options, created_ms, updated_ms in rows
    ]  # fmt: skip
