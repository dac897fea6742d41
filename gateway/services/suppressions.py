"""Recipients that must not be written to: put on the list, taken off it, looked up before a message goes out.

These functions work inside the transaction of whoever accepts, delivers or takes a report; rows of domain 0
hold for the whole account. An unsubscription from a domain is a row too, with its own reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import idna

from gateway import clock, errors
from models import database as db

BOUNCE, COMPLAINT, UNSUBSCRIBE, MANUAL = "bounce", "complaint", "unsubscribe", "manual"
REASONS = (BOUNCE, COMPLAINT, UNSUBSCRIBE, MANUAL)
WHOLE_ACCOUNT = 0
"""The `domain_id` of a suppression that every domain of the account keeps to."""

_BATCH = 500
_ADDRESS_LENGTH = 320  # characters of the column: 64 + @ + 255 (RFC 5321 §4.5.3.1)
_DETAIL_LENGTH = 4096

# The other index starts with domain_id and would read a whole domain's list; the optimiser must not choose.
_FIND = (
    "SELECT address, domain_id, reason, detail, message_id, created_ms, expires_ms FROM suppression {index}"
    " WHERE account_id = ? AND address IN ({marks}) AND domain_id IN (0, ?) AND (expires_ms IS NULL OR expires_ms > ?)"
)
_INDEX = "suppression_account_id_address_domain_id_reason"
_USE_INDEX = {"sqlite": f"INDEXED BY {_INDEX}", "mysql": f"FORCE INDEX ({_INDEX})"}

_INSERT = (
    "INSERT INTO suppression (account_id, domain_id, address, reason, detail, message_id, created_ms, expires_ms)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ON_CONFLICT = {
    "sqlite": (
        " ON CONFLICT (account_id, address, domain_id, reason) DO UPDATE SET detail = excluded.detail,"
        " message_id = excluded.message_id, created_ms = excluded.created_ms, expires_ms = excluded.expires_ms"
    ),
    "mysql": (
        " ON DUPLICATE KEY UPDATE detail = VALUES(detail), message_id = VALUES(message_id),"
        " created_ms = VALUES(created_ms), expires_ms = VALUES(expires_ms)"
    ),
}


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Why an address must not be written to. `domain_id` 0: by any domain of the account."""

    address: str
    domain_id: int
    reason: str
    detail: str
    message_id: int | None
    created_ms: int
    expires_ms: int | None


def normalise(address: str) -> str:
    """The spelling that the list keeps: lower-case, the domain as A-labels (RFC 5891) where it is one.

    The local part is folded too (RFC 5321 §2.4 lets it matter): no one writes `Jane@` to get round
    the wish of `jane@`.
    """
    address = address.strip().lower()
    if address.isascii():
        return address
    local, at, domain = address.rpartition("@")
    try:
        return local + at + idna.encode(domain, uts46=True).decode("ascii")
    except UnicodeError:  # IDNAError among others
        return address


def add(
    tx: db.Transaction,
    *,
    account_id: int,
    domain_id: int,
    address: str,
    reason: str,
    detail: str = "",
    message_id: int | None = None,
    expires_ms: int | None = None,
) -> bool:
    """Put an address on the list and say whether that is news; `expires_ms` None: until it is removed.

    A second report for the same reason keeps the first one's date and cause, and only ever makes it last
    longer. Raises `Invalid` for an unknown reason and for what cannot be an address.
    """
    address = normalise(address)
    if reason not in REASONS:
        raise errors.Invalid(f"The reason should be one of {', '.join(REASONS)}.", field="reason")
    if not address or len(address) > _ADDRESS_LENGTH:
        raise errors.Invalid(f"An address has 1 to {_ADDRESS_LENGTH} characters.", field="address")
    now = clock.now_ms()
    known = tx.rows(
        "SELECT id, expires_ms FROM suppression WHERE account_id = ? AND address = ? AND domain_id = ? AND reason = ?",
        (account_id, address, domain_id, reason),
    )
    if known and (known[0][1] is None or known[0][1] > now):
        row_id, until = known[0]
        if until is not None and (expires_ms is None or expires_ms > until):
            tx.execute("UPDATE suppression SET expires_ms = ? WHERE id = ?", (expires_ms, row_id))
        return False
    # Two reports may arrive at once: the second insert then renews the first.
    tx.execute(
        _INSERT + _ON_CONFLICT[tx.dialect],
        (account_id, domain_id, address, reason, detail[:_DETAIL_LENGTH], message_id, now, expires_ms),
    )
    return True


def remove(tx: db.Transaction, *, account_id: int, domain_id: int, address: str, reason: str | None = None) -> int:
    """Take an address off the list of one domain (0: of the account), for one reason or all; how many rows went."""
    sql = "DELETE FROM suppression WHERE account_id = ? AND address = ? AND domain_id = ?"
    params: list[object] = [account_id, normalise(address), domain_id]
    if reason is not None:
        sql += " AND reason = ?"
        params.append(reason)
    return int(tx.execute(sql, params).rowcount)


def check(
    tx: db.Transaction | None, *, account_id: int, domain_id: int, addresses: Sequence[str]
) -> dict[str, Suppressed]:
    """Which of the addresses must not be written to by this domain now, and why.

    The keys are spelled as they were asked for. Of several rows for one address the one that lasts longest
    answers, then the oldest. `tx` None reads outside a transaction. One query per 500 addresses.
    """
    spellings: dict[str, list[str]] = {}
    for address in dict.fromkeys(addresses):
        spellings.setdefault(normalise(address), []).append(address)
    found: dict[str, Suppressed] = {}
    for row in _find(tx, account_id, domain_id, list(spellings)):
        best = found.get(row.address)
        if best is None or _rank(row) < _rank(best):
            found[row.address] = row
    return {spelling: row for address, row in found.items() for spelling in spellings[address]}


def _find(tx: db.Transaction | None, account_id: int, domain_id: int, addresses: list[str]) -> Iterator[Suppressed]:
    read = db.rows if tx is None else tx.rows
    index = _USE_INDEX[db.dialect() if tx is None else tx.dialect]
    now = clock.now_ms()
    for start in range(0, len(addresses), _BATCH):
        batch = addresses[start : start + _BATCH]
        sql = _FIND.format(index=index, marks=",".join("?" * len(batch)))
        for row in read(sql, (account_id, *batch, domain_id, now)):
            yield Suppressed(*row)


def _rank(row: Suppressed) -> tuple[bool, int, int]:
    return row.expires_ms is not None, -(row.expires_ms or 0), row.created_ms
