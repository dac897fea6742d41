"""Addresses and whole domains that no rule suppresses by itself; what people decide still holds for them."""

from __future__ import annotations

from dataclasses import dataclass

from gateway import clock, errors
from gateway.mail import address as addresses
from gateway.services import audit, suppression_scope, suppressions
from gateway.services.identity import Caller
from models import database as db

MOST_LISTED = 100
_NOTE_LENGTH = 255
_SELECT = (
    "SELECT a.address, a.domain_id, COALESCE(d.name, ''), a.note, a.created_ms, a.id FROM allowed a"
    " LEFT JOIN sender_domain d ON d.id = a.domain_id"
)
_ON_CONFLICT = {
    "sqlite": " ON CONFLICT (account_id, address, domain_id) DO UPDATE SET note = excluded.note",
    "mysql": " ON DUPLICATE KEY UPDATE note = VALUES(note)",
}


@dataclass(frozen=True, slots=True)
class Allowed:
    """`address` is one, or `@` and a domain; `domain_id` 0: for every domain of the account."""

    address: str
    domain_id: int
    domain: str
    note: str
    created_ms: int
    id: int


def allows(tx: db.Transaction, *, account_id: int, domain_id: int, address: str) -> bool:
    """Whether bounces and complaints leave this normalised address where it is."""
    return bool(
        tx.rows(
            "SELECT 1 FROM allowed WHERE account_id = ? AND address IN (?, ?) AND domain_id IN (0, ?) LIMIT 1",
            (account_id, address, "@" + address.rpartition("@")[2], domain_id),
        )
    )


def add(*, caller: Caller, address: str, domain_id: int | None = None, note: str = "") -> int:
    """Allow an address, or with `@example.com` all of that very domain; returns how many rows that lifted.

    What rules suppressed before is lifted in the same scope; what people did (by hand, by import, by
    unsubscribing) stays. Raises `InvalidAddress` and `NotFound` (the domain).
    """
    scope = suppression_scope.written(caller, domain_id)
    entry = _entry(address)

    def work(tx: db.Transaction) -> None:
        tx.execute(
            "INSERT INTO allowed (account_id, domain_id, address, note, created_ms) VALUES (?, ?, ?, ?, ?)"
            + _ON_CONFLICT[tx.dialect],
            (caller.account_id, scope, entry, note[:_NOTE_LENGTH], clock.now_ms()),
        )
        _record(tx, caller, "allowed.create", entry, scope)

    db.in_transaction(work)
    return suppressions.undo(
        account_id=caller.account_id, domain_id=scope or None, addresses=entry, by=f"{caller.email}: allowed"
    )


def remove(*, caller: Caller, address: str, domain_id: int | None = None) -> None:
    """Raises `InvalidAddress`, `NotFound`."""
    scope = suppression_scope.written(caller, domain_id)
    entry = _entry(address)
    sql = "DELETE FROM allowed WHERE account_id = ? AND domain_id = ? AND address = ?"

    def work(tx: db.Transaction) -> bool:
        gone = tx.execute(sql, (caller.account_id, scope, entry)).rowcount
        if gone:
            _record(tx, caller, "allowed.delete", entry, scope)
        return bool(gone)

    if not db.in_transaction(work):
        raise errors.EntryNotFound(what="address")


def _record(tx: db.Transaction, caller: Caller, action: str, entry: str, scope: int) -> None:
    what = f"allowed:{entry}" if entry.startswith("@") else audit.person(caller.account_id, entry)
    gone, told = action.endswith("delete"), {"domain_id": scope or None}
    before, after = (told, None) if gone else (None, told)
    audit.record(tx, caller=caller, action=action, what=what, before=before, after=after)


def list_(
    *, caller: Caller, domain_id: int | None = None, start: int = 0, count: int = MOST_LISTED
) -> tuple[list[Allowed], int]:
    """Some of the allow-list, the oldest first, and how many there are; raises `NotFound`."""
    where, params = suppression_scope.read(caller, domain_id)
    rows = db.rows(
        f"{_SELECT} WHERE {where.format('a')} ORDER BY a.id LIMIT ? OFFSET ?",
        [*params, min(count, MOST_LISTED), start],
    )
    total = db.rows(f"SELECT COUNT(*) FROM allowed a WHERE {where.format('a')}", params)[0][0]
    return [Allowed(*row) for row in rows], int(total)


def page(*, caller: Caller, count: int, after: int | None = None) -> list[Allowed]:
    """The allow-list as far as the caller sees it, the oldest first, behind a number."""
    where, params = suppression_scope.read(caller, None)
    rows = db.rows(
        f"{_SELECT} WHERE {where.format('a')} AND a.id > ? ORDER BY a.id LIMIT ?", [*params, after or 0, count]
    )
    return [Allowed(*row) for row in rows]


def find(*, caller: Caller, address: str, domain_id: int | None = None) -> Allowed:
    """Raises `InvalidAddress`, `NotFound` (the domain), `EntryNotFound`."""
    scope = suppression_scope.written(caller, domain_id)
    rows = db.rows(
        f"{_SELECT} WHERE a.account_id = ? AND a.domain_id = ? AND a.address = ?",
        (caller.account_id, scope, _entry(address)),
    )
    if not rows:
        raise errors.EntryNotFound(what="address")
    return Allowed(*rows[0])


def _entry(text: str) -> str:
    """The spelling that the list keeps; raises `InvalidAddress`."""
    text = text.strip()
    try:
        if text.startswith("@"):
            return "@" + addresses.check_domain(text[1:])
        return suppressions.normalise(addresses.check(text))
    except errors.Invalid:
        raise errors.InvalidAddress(
            "This is neither an email address nor @ and a domain.", field="EmailAddress"
        ) from None
