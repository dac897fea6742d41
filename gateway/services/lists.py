"""Lists of subscribers: made, renamed, counted and deleted."""

from __future__ import annotations

from dataclasses import dataclass

from gateway import clock, errors, ids
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import SubscriberStatus

MOST_LISTED = 100
_NAME_LENGTH = 255
_COLUMNS = "id, name, created_ms, updated_ms"
_BATCH = 500

# The optimiser must not choose: from the suppressions on it would read all of them, however few are on the list.
_REACHED = (
    "SELECT s.email, s.fields FROM subscriber s {subscribers} LEFT JOIN suppression x {suppressions}"
    " ON x.account_id = ? AND x.address = s.address AND x.domain_id IN (0, ?)"
    " AND (x.expires_ms IS NULL OR x.expires_ms > ?)"
    " WHERE s.list_id = ? AND s.status = ? AND s.account_id = ? AND x.id IS NULL LIMIT 1"
)
REACHED = {
    "sqlite": _REACHED.format(
        subscribers="INDEXED BY subscriber_list_id_status_id",
        suppressions="INDEXED BY suppression_account_id_address_domain_id_reason",
    ),
    "mysql": _REACHED.format(
        subscribers="FORCE INDEX (subscriber_list_id_status_id)",
        suppressions="FORCE INDEX (suppression_account_id_address_domain_id_reason)",
    ),
}


@dataclass(frozen=True, slots=True)
class MailList:
    """`active` are those a message to the list goes to."""

    id: int
    name: str
    created_ms: int
    updated_ms: int
    active: int = 0
    unsubscribed: int = 0


@dataclass(frozen=True, slots=True)
class Reached:
    """A subscriber who is written to; `fields` is a JSON object."""

    email: str
    fields: str


def add(*, caller: Caller, name: str) -> MailList:
    """Raises `Invalid`."""
    name = _checked(name)
    now = clock.now_ms()

    def work(tx: db.Transaction) -> int:
        cursor = tx.execute(
            "INSERT INTO mail_list (uuid, account_id, name, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?)",
            (ids.new_uuid().bytes, caller.account_id, name, now, now),
        )
        return int(cursor.lastrowid)

    return MailList(db.in_transaction(work), name, now, now)


def find(*, caller: Caller, list_id: int) -> MailList:
    """Raises `NotFound`."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM mail_list WHERE id = ? AND account_id = ? AND deleted_ms IS NULL",
        (list_id, caller.account_id),
    )
    if not rows:
        raise errors.NotFound(what="list")
    return _counted(rows)[0]


def list_(*, caller: Caller, start: int = 0, count: int = MOST_LISTED) -> tuple[list[MailList], int]:
    """Some of the account's lists, the oldest first, and how many there are."""
    where = "account_id = ? AND deleted_ms IS NULL"
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM mail_list WHERE {where} ORDER BY id LIMIT ? OFFSET ?",
        (caller.account_id, min(count, MOST_LISTED), start),
    )
    total = db.rows(f"SELECT COUNT(*) FROM mail_list WHERE {where}", (caller.account_id,))[0][0]
    return _counted(rows), int(total)


def update(*, caller: Caller, list_id: int, name: str) -> MailList:
    """Give a list another name; raises `NotFound`, `Invalid`."""
    find(caller=caller, list_id=list_id)
    name = _checked(name)
    db.in_transaction(
        lambda tx: tx.execute(
            "UPDATE mail_list SET name = ?, updated_ms = ? WHERE id = ? AND account_id = ? AND deleted_ms IS NULL",
            (name, clock.now_ms(), list_id, caller.account_id),
        )
    )
    return find(caller=caller, list_id=list_id)


def delete(*, caller: Caller, list_id: int) -> None:
    """Raises `NotFound`. A message that was accepted for the list still goes to all of it."""
    gone = db.in_transaction(
        lambda tx: (
            tx.execute(
                "UPDATE mail_list SET deleted_ms = ? WHERE id = ? AND account_id = ? AND deleted_ms IS NULL",
                (clock.now_ms(), list_id, caller.account_id),
            ).rowcount
        )
    )
    if not gone:
        raise errors.NotFound(what="list")


def audience(tx: db.Transaction, *, account_id: int, list_id: int) -> tuple[int, int]:
    """How many a message to the list goes to now, and the id of the last; (0, 0) for no list of the account.

    The list is held until the transaction ends, so that nobody is added to it half way.
    """
    lock = " LOCK IN SHARE MODE" if tx.dialect == "mysql" else ""
    sql = f"SELECT id FROM mail_list WHERE id = ? AND account_id = ? AND deleted_ms IS NULL{lock}"
    if not tx.rows(sql, (list_id, account_id)):
        return 0, 0
    count, last = tx.rows(
        "SELECT COUNT(*), MAX(id) FROM subscriber WHERE list_id = ? AND status = ?",
        (list_id, int(SubscriberStatus.ACTIVE)),
    )[0]
    return int(count), int(last or 0)


def has_audience(*, caller: Caller, list_id: int) -> bool:
    """Whether a message may go to the list: it is the account's and somebody is active on it."""
    return bool(
        db.rows(
            "SELECT l.id FROM mail_list l WHERE l.id = ? AND l.account_id = ? AND l.deleted_ms IS NULL"
            " AND EXISTS (SELECT 1 FROM subscriber s WHERE s.list_id = l.id AND s.status = ?)",
            (list_id, caller.account_id, int(SubscriberStatus.ACTIVE)),
        )
    )


def first_reached(*, account_id: int, domain_id: int, list_id: int) -> Reached | None:
    """Some active subscriber who is not suppressed for the domain, None where there is none.

    Stops at the first: only a list of which nearly everybody is suppressed is read far.
    """
    found = db.rows(
        REACHED[db.dialect()],
        (account_id, domain_id, clock.now_ms(), list_id, int(SubscriberStatus.ACTIVE), account_id),
    )
    return Reached(*found[0]) if found else None


def active(*, account_id: int, list_id: int, most: int) -> list[str]:
    """Up to `most` addresses that a message to the list goes to, in the order in which they joined it."""
    return [
        email
        for (email,) in db.rows(
            "SELECT s.email FROM subscriber s JOIN mail_list l ON l.id = s.list_id"
            " WHERE s.list_id = ? AND l.account_id = ? AND l.deleted_ms IS NULL AND s.status = ? ORDER BY s.id LIMIT ?",
            (list_id, account_id, int(SubscriberStatus.ACTIVE), most),
        )
    ]


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
    return gone, bool(lists) and gone > 0


def _collect_from(tx: db.Transaction, list_id: int) -> int:
    lock = " FOR UPDATE" if tx.dialect == "mysql" else ""
    found = tx.rows(f"SELECT deleted_ms FROM mail_list WHERE id = ?{lock}", (list_id,))
    # A message may have been accepted since this list was picked.
    if not found or tx.rows("SELECT 1 FROM expansion WHERE list_id = ? AND done_ms IS NULL LIMIT 1", (list_id,)):
        return 0
    where, params = (
        ("", [list_id]) if found[0][0] is not None else (" AND status = ?", [list_id, int(SubscriberStatus.REMOVED)])
    )
    rows = tx.rows(f"SELECT id FROM subscriber WHERE list_id = ?{where} LIMIT {_BATCH}", params)
    if rows:
        marks = ",".join("?" * len(rows))
        tx.execute(f"DELETE FROM subscriber WHERE id IN ({marks})", [row[0] for row in rows])
    return len(rows)


def _collect_lists(tx: db.Transaction) -> int:
    rows = tx.rows(
        "SELECT id FROM mail_list l WHERE deleted_ms IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM subscriber s WHERE s.list_id = l.id)"
        f" AND NOT EXISTS (SELECT 1 FROM expansion e WHERE e.list_id = l.id AND e.done_ms IS NULL) LIMIT {_BATCH}"
    )
    if rows:
        tx.execute(f"DELETE FROM mail_list WHERE id IN ({','.join('?' * len(rows))})", [row[0] for row in rows])
    return len(rows)


def _checked(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _NAME_LENGTH:
        raise errors.Invalid(f"A list's name has 1 to {_NAME_LENGTH} characters.", field="ListName")
    return name


def _counted(rows: list[tuple[int, str, int, int]]) -> list[MailList]:
    if not rows:
        return []
    counts = {
        (list_id, status): int(n)
        for list_id, status, n in db.rows(
            "SELECT list_id, status, COUNT(*) FROM subscriber"
            f" WHERE list_id IN ({','.join('?' * len(rows))}) GROUP BY list_id, status",
            [row[0] for row in rows],
        )
    }
    return [
        MailList(
            *row,
            active=counts.get((row[0], SubscriberStatus.ACTIVE), 0),
            unsubscribed=counts.get((row[0], SubscriberStatus.UNSUBSCRIBED), 0),
        )
        for row in rows
    ]
