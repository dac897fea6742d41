"""Recipients that must not be written to: put on the list, taken off it, looked up before a message goes out.

These functions work inside the transaction of whoever accepts, delivers or takes a report; rows of domain 0
hold for the whole account, those below 0 for one list. An unsubscription is a row too, with its own reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import idna

from gateway import clock, errors
from gateway.services import simulated
from gateway.services.suppression_undo import undo as undo
from models import database as db

BOUNCE, COMPLAINT, UNSUBSCRIBE, MANUAL = "bounce", "complaint", "unsubscribe", "manual"
REASONS = (BOUNCE, COMPLAINT, UNSUBSCRIBE, MANUAL)
WHOLE_ACCOUNT = 0
"""The `domain_id` of a suppression that every domain of the account keeps to."""

BATCH = 500
_ADDRESS_LENGTH = 320  # characters of the column: 64 + @ + 255 (RFC 5321 §4.5.3.1)
DETAIL_LENGTH, RULE_LENGTH, MX_LENGTH = 4096, 64, 255

# The other index starts with domain_id and would read a whole domain's list; the optimiser must not choose.
_FIND = (
    "SELECT address, domain_id, reason, detail, message_id, created_ms, expires_ms, rule FROM suppression {index}"
    " WHERE account_id = ? AND address IN ({marks}) AND domain_id IN (0, ?, ?)"
    " AND (expires_ms IS NULL OR expires_ms > ?)"
)
_INDEX = "suppression_account_id_address_domain_id_reason"
_USE_INDEX = {"sqlite": f"INDEXED BY {_INDEX}", "mysql": f"FORCE INDEX ({_INDEX})"}

LIST_SCOPE = "list_id = ? AND id > ? AND id <= ?"
LIST_INDEX = {"sqlite": "INDEXED BY subscriber_list_id_id", "mysql": "FORCE INDEX (subscriber_list_id_id)"}
# From the subscribers to the suppressions, never the other way: a list's part is short, a suppression list is not.
_FIND_ON_LIST = {
    name: (
        f"SELECT {'STRAIGHT_JOIN ' if name == 'mysql' else ''}s.id, s.email, x.address, x.domain_id, x.reason,"
        f" x.detail, x.message_id, x.created_ms, x.expires_ms, x.rule FROM subscriber s {LIST_INDEX[name]}"
        f" {'JOIN' if name == 'mysql' else 'CROSS JOIN'} suppression x {_USE_INDEX[name]}"
        " ON x.account_id = ? AND x.address = s.address AND x.domain_id IN (0, ?, ?)"
        " AND (x.expires_ms IS NULL OR x.expires_ms > ?) WHERE s.list_id = ? AND s.id > ? AND s.id <= ?"
    )
    for name in ("sqlite", "mysql")
}

_COLUMNS = (
    "account_id", "domain_id", "address", "reason", "detail", "message_id", "created_ms", "expires_ms", "rule", "mx",
    "listed_ms",
)  # fmt: skip
_RENEWED = _COLUMNS[4:]
_ON_CONFLICT = {
    "sqlite": " ON CONFLICT (account_id, address, domain_id, reason) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _RENEWED),
    "mysql": " ON DUPLICATE KEY UPDATE " + ", ".join(f"{name} = VALUES({name})" for name in _RENEWED),
}


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Why an address must not be written to. `domain_id` 0: by any domain of the account, below 0: as one of a list."""

    address: str
    domain_id: int
    reason: str
    detail: str
    message_id: int | None
    created_ms: int
    expires_ms: int | None
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to stand on the list: `rule` and `mx` say which rule and which refusing host put it there."""

    address: str  # normalised
    reason: str
    domain_id: int = WHOLE_ACCOUNT
    detail: str = ""
    message_id: int | None = None
    expires_ms: int | None = None
    rule: str = ""
    mx: str = ""
    created_ms: int | None = None  # None: now

    @property
    def key(self) -> tuple[str, int, str]:
        return self.address, self.domain_id, self.reason


def list_scope(list_id: int) -> int:
    """The `domain_id` of what holds for the mail of one list alone; 0, the whole account, for no list."""
    return -list_id


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
    rule: str = "",
    mx: str = "",
) -> bool:
    """Put an address on the list and say whether that is news; `expires_ms` None: until it is removed.

    A second report for the same reason keeps the first one's date and cause, and only ever makes it last
    longer. Raises `Invalid` for an unknown reason and for what cannot be an address.
    """
    address = normalise(address)
    if reason not in REASONS:
        raise errors.UnknownReason(f"The reason should be one of {', '.join(REASONS)}.", field="reason")
    if not address or len(address) > _ADDRESS_LENGTH:
        raise errors.Invalid(f"An address has 1 to {_ADDRESS_LENGTH} characters.", field="address")
    entry = Entry(address, reason, domain_id, detail, message_id, expires_ms, rule or reason, mx.lower())
    return put(tx, account_id=account_id, entries=[entry]) == 1


def put(tx: db.Transaction, *, account_id: int, entries: Sequence[Entry]) -> int:
    """Put checked entries on the list, at most 500; how many are news. For the rest what `add` says holds.

    One that another rule makes last longer belongs to that rule from then on: undoing the first must not
    take off what the second would have put there.
    """
    now = clock.now_ms()
    found = {
        (address, domain_id, reason): (row_id, until, rule)
        for row_id, address, domain_id, reason, until, rule in tx.rows(
            "SELECT id, address, domain_id, reason, expires_ms, rule FROM suppression WHERE account_id = ?"
            f" AND address IN ({','.join('?' * len(entries))})",
            (account_id, *(entry.address for entry in entries)),
        )
    }
    fresh: dict[tuple[str, int, str], Entry] = {}
    for entry in entries:
        row_id, until, rule = found.get(entry.key, (0, 0, ""))
        if until is None or until > now:
            if until is not None and (entry.expires_ms is None or entry.expires_ms > until):
                if rule == entry.rule:
                    tx.execute("UPDATE suppression SET expires_ms = ? WHERE id = ?", (entry.expires_ms, row_id))
                else:
                    _insert(tx, account_id, [entry], now)
        elif entry.key not in fresh:
            fresh[entry.key] = entry
    if fresh:
        _insert(tx, account_id, list(fresh.values()), now)
    return len(fresh)


def _insert(tx: db.Transaction, account_id: int, entries: Sequence[Entry], now: int) -> None:
    """Two reports may arrive at once: the second insert then renews the first."""
    listed = _listed_ms(tx, account_id, now)
    marks = ",".join(["(" + ",".join("?" * len(_COLUMNS)) + ")"] * len(entries))
    tx.execute(
        f"INSERT INTO suppression ({', '.join(_COLUMNS)}) VALUES {marks}{_ON_CONFLICT[tx.dialect]}",
        [
            value
            for at, entry in enumerate(entries)
            for value in (
                account_id,
                entry.domain_id,
                entry.address,
                entry.reason,
                entry.detail[:DETAIL_LENGTH],
                entry.message_id,
                now if entry.created_ms is None else entry.created_ms,
                entry.expires_ms,
                entry.rule[:RULE_LENGTH],
                entry.mx[:MX_LENGTH],
                listed + at,
            )
        ],
    )


def _listed_ms(tx: db.Transaction, account_id: int, now: int) -> int:
    """From here on times are free: now, or behind the last one of the account; so that they are a safe cursor."""
    if tx.dialect == "mysql":  # one at a time for an account; SQLite has one writer anyway
        tx.rows("SELECT id FROM account WHERE id = ? FOR UPDATE", (account_id,))
    last = tx.rows("SELECT MAX(listed_ms) FROM suppression WHERE account_id = ?", (account_id,))[0][0]
    return max(now, int(last or 0) + 1)


def remove(tx: db.Transaction, *, account_id: int, domain_id: int, address: str, reason: str | None = None) -> int:
    """Take an address off the list of one domain (0: of the account), for one reason or all; how many rows went."""
    sql = "DELETE FROM suppression WHERE account_id = ? AND address = ? AND domain_id = ?"
    params: list[object] = [account_id, normalise(address), domain_id]
    if reason is not None:
        sql += " AND reason = ?"
        params.append(reason)
    return int(tx.execute(sql, params).rowcount)


def check(
    tx: db.Transaction | None, *, account_id: int, domain_id: int, addresses: Sequence[str], list_id: int = 0
) -> dict[str, Suppressed]:
    """Which of the addresses must not be written to by this domain now (with what goes to that list), and why.

    The keys are spelled as they were asked for. Of several rows for one address the one that lasts longest
    answers, then the oldest. `tx` None reads outside a transaction. One query per 500 addresses.
    """
    spelled = [normalise(address) for address in addresses]
    found: dict[str, Suppressed] = {}
    for row in _find(tx, account_id, (domain_id, list_scope(list_id)), list(dict.fromkeys(spelled))):
        best = found.get(row.address)
        if best is None or _rank(row) < _rank(best):
            found[row.address] = row
    for address in simulated.suppressed(spelled):
        found.setdefault(address, Suppressed(address, WHOLE_ACCOUNT, MANUAL, "simulated", None, 0, None, "simulator"))
    if not found:
        return {}
    return {address: found[own] for address, own in zip(addresses, spelled, strict=True) if own in found}


def check_list(
    tx: db.Transaction, *, account_id: int, domain_id: int, scope: tuple[int, int, int]
) -> list[tuple[int, str, Suppressed]]:
    """Id and address of each on a list who must not be written to by this domain now with its mail, and why, by id.

    `scope` is the list and the ids of its subscribers: behind the second up to the third. One query, whatever
    its length.
    """
    sql = _FIND_ON_LIST[tx.dialect]
    best: dict[int, tuple[str, Suppressed]] = {}
    for id_, email, *row in tx.rows(sql, (account_id, domain_id, list_scope(scope[0]), clock.now_ms(), *scope)):
        found = Suppressed(*row)
        if id_ not in best or _rank(found) < _rank(best[id_][1]):
            best[id_] = (email, found)
    return [(id_, *best[id_]) for id_ in sorted(best)]


def _find(
    tx: db.Transaction | None, account_id: int, scopes: tuple[int, int], addresses: list[str]
) -> Iterator[Suppressed]:
    read = db.rows if tx is None else tx.rows
    index = _USE_INDEX[db.dialect() if tx is None else tx.dialect]
    now = clock.now_ms()
    for start in range(0, len(addresses), BATCH):
        batch = addresses[start : start + BATCH]
        sql = _FIND.format(index=index, marks=",".join("?" * len(batch)))
        for row in read(sql, (account_id, *batch, *scopes, now)):
            yield Suppressed(*row)


def _rank(row: Suppressed) -> tuple[bool, int, int]:
    return row.expires_ms is not None, -(row.expires_ms or 0), row.created_ms
