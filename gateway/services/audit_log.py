"""Reading the audit log: pages of what an account did, the newest first, and exports of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from gateway import clock, errors, ids
from gateway.services import audit_chain, audit_entries, audit_head
from gateway.services.audit_entries import COLUMNS, GENESIS, PREFIX, Entry
from gateway.services.audit_redaction import person
from gateway.services.identity import Caller
from models import database as db
from models.vocabulary import AuditKind

MOST = 200
RESULTS = ("ok", "refused", "failed")
KINDS = tuple(kind.word for kind in AuditKind)

_WINDOW = 2000
_LOOKED_MOST = 40_000
"""Entries that one page looks at: what matches less often comes with the next pages."""
_FRESH_S = 1.0
_DISORDER_MS = clock.DAY_MS
"""How much later than it happened an entry may have come into the chain, where the database was away."""
_NEAR_MS = 60_000
_BY_ACCOUNT = {
    "sqlite": ("", ""),
    "mysql": (" FORCE INDEX (auditentry_account_id_seq)", " FORCE INDEX (auditentry_account_id_kind_seq)"),
}
_BY_SEQ = {"sqlite": "", "mysql": " FORCE INDEX (auditentry_seq)"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What entries are asked for; `key` is an id or a prefix, `actor`, `action` and `object` also begin with a `*`
    at their end, `object` may be an address of a recipient. `workspace` is the account's slug: a caller reads only
    those of its own."""

    key: str = ""
    actor: str = ""
    action: str = ""
    object: str = ""
    kind: str = ""
    result: str = ""
    request_id: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    workspace: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """`entries` as they are shown; `next_seq` is where the next page begins, None at the end of the log."""

    entries: list[dict[str, Any]]
    next_seq: int | None


def list_(*, caller: Caller, wanted: Wanted, before: int | None = None, count: int = 50) -> Page:
    """Entries of the caller's account with places before `before`, the newest first.

    What waits on this host for its place is given it first. A page ends early where few entries match; then it has
    a next one all the same. Raises `NotAllowed` for a key of one domain, `Invalid`.
    """
    _check(caller, wanted)
    if before is None:
        audit_chain.run(_FRESH_S)
    return _page(caller.account_id, wanted, before, min(max(count, 1), MOST))


def export(*, caller: Caller | None, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Every matching entry of the account, the oldest first; without a caller of all accounts (for the operator)."""
    if caller is not None:
        _check(caller, wanted)
    audit_chain.run(_FRESH_S)
    account_id = caller.account_id if caller is not None else None
    where, values = _where(wanted, account_id)
    if account_id is not None:
        where, values = f"account_id = ?{where}", [account_id, *values]
        index = _BY_ACCOUNT[db.dialect()][0]
    else:
        where, index = f"seq IS NOT NULL{where}", _BY_SEQ[db.dialect()]
    after = _seq_at(wanted.since_ms - _DISORDER_MS) - 1 if wanted.since_ms is not None else 0
    upto = _seq_at(wanted.until_ms + _DISORDER_MS) if wanted.until_ms is not None else 2**62
    return _exported(f"{index} WHERE seq > ? AND seq <= ? AND {where}", values, after, upto)


def _exported(source: str, values: list[Any], after: int, upto: int) -> Iterator[dict[str, Any]]:
    while True:
        rows = db.rows(f"SELECT {COLUMNS} FROM audit_entry{source} ORDER BY seq LIMIT ?", (after, upto, *values, 500))
        yield from _shown([Entry.of(row) for row in rows])
        if len(rows) < 500:
            return
        after = rows[-1][1]


def find(*, caller: Caller, entry_id: str) -> dict[str, Any]:
    """One entry of the caller's account; raises `NotFound`."""
    _check(caller, Wanted())
    uuid = ids.uuid_of(PREFIX, entry_id)
    rows: list[tuple[Any, ...]] = []
    if uuid is not None:
        # The id says when the entry was made, so that few are looked at: more only where it came in late.
        made_ms = uuid.int >> 80
        for near_ms in (_NEAR_MS, _DISORDER_MS):
            low, high = _seq_at(made_ms - near_ms), _seq_at(made_ms + near_ms)
            rows = rows or db.rows(
                f"SELECT {COLUMNS} FROM audit_entry{_BY_ACCOUNT[db.dialect()][0]}"
                " WHERE account_id = ? AND seq >= ? AND seq <= ? AND uuid = ?",
                (caller.account_id, low, high, uuid.bytes),
            )
    if not rows:
        raise errors.NotFound("There is no such entry of the audit log.", what="entry")
    return _shown([Entry.of(rows[0])])[0]


def _check(caller: Caller, wanted: Wanted) -> None:
    if caller.domain_id is not None:
        raise errors.NotAllowed("The audit log is of the whole account; a key of one domain does not read it.")
    for name, value, choices in (("kind", wanted.kind, KINDS), ("result", wanted.result, RESULTS)):
        if value and value not in choices:
            raise errors.Invalid(f"{name} should be one of " + ", ".join(choices), field=name)
    if wanted.workspace and [(wanted.workspace,)] != db.rows(
        "SELECT slug FROM account WHERE id = ?", (caller.account_id,)
    ):
        raise errors.NotFound("There is no such workspace.", what="workspace")


def _page(account_id: int, wanted: Wanted, before: int | None, count: int) -> Page:
    where, values = _where(replace(wanted, kind=""), account_id)
    window = _WINDOW if where else count + 1
    index = _BY_ACCOUNT[db.dialect()][bool(wanted.kind)]
    kind = f" AND kind = {AuditKind[wanted.kind.upper()].value}" if wanted.kind else ""
    at = 2**62 if before is None else before
    if wanted.until_ms is not None:
        at = min(at, _seq_at(wanted.until_ms + _DISORDER_MS) + 1)
    floor = _seq_at(wanted.since_ms - _DISORDER_MS) if wanted.since_ms is not None else 0
    straight, primary = ("STRAIGHT_JOIN ", " FORCE INDEX (PRIMARY)") if db.dialect() == "mysql" else ("", "")
    found: list[Entry] = []
    looked = 0
    while True:
        # A window by the index, and only then the conditions: what rarely matches must not be searched without an end.
        rows = db.rows(
            f"SELECT {straight}{COLUMNS} FROM (SELECT id AS i FROM audit_entry{index} WHERE account_id = ?{kind}"
            f" AND seq < ? AND seq >= ? ORDER BY seq DESC LIMIT {window}) AS some"
            f" JOIN audit_entry{primary} ON id = i WHERE 1 = 1{where} ORDER BY seq DESC LIMIT ?",
            (account_id, at, floor, *values, count + 1 - len(found)),
        )
        found += map(Entry.of, rows)
        if len(found) > count:
            return Page(_shown(found[:count]), found[count - 1].seq)
        edge = db.rows(
            f"SELECT seq FROM audit_entry{index} WHERE account_id = ?{kind} AND seq < ? AND seq >= ?"
            f" ORDER BY seq DESC LIMIT 1 OFFSET {window - 1}",
            (account_id, at, floor),
        )
        looked += window
        if not edge:
            return Page(_shown(found), None)
        at = edge[0][0]
        if looked >= _LOOKED_MOST:
            return Page(_shown(found), at)


def _where(wanted: Wanted, account_id: int | None) -> tuple[str, list[Any]]:
    """Conditions, each after an AND."""
    parts: list[str] = []
    values: list[Any] = []
    what = wanted.object
    if "@" in what and account_id is not None:
        what = person(account_id, what)
    for column, value in (("actor", wanted.actor), ("action", wanted.action), ("object", what)):
        if value.endswith("*"):
            parts.append(f"{column} LIKE ? ESCAPE '!'")
            values.append(value[:-1].replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%")
        elif value:
            parts.append(f"{column} = ?")
            values.append(value)
    if wanted.key:
        by_id = wanted.key.isascii() and wanted.key.isdigit() and len(wanted.key) < 10
        parts.append("key_id = ?" if by_id else "key_prefix = ?")
        values.append(int(wanted.key) if by_id else wanted.key)
    for column, value in (("result", wanted.result), ("request_id", wanted.request_id)):
        if value:
            parts.append(f"{column} = ?")
            values.append(value)
    if wanted.kind:
        parts.append("kind = ?")
        values.append(AuditKind[wanted.kind.upper()].value)
    for sign, ms in ((">=", wanted.since_ms), ("<=", wanted.until_ms)):
        if ms is not None:
            parts.append(f"at_ms {sign} ?")
            values.append(ms)
    return "".join(f" AND {part}" for part in parts), values


def _seq_at(at_ms: int) -> int:
    """A place at which the log is past that time, by halving: times follow the places, but for `_DISORDER_MS`."""
    sql = f"SELECT seq, at_ms FROM audit_entry{_BY_SEQ[db.dialect()]} WHERE seq >= ? ORDER BY seq LIMIT 1"
    head = audit_head.read()
    if head is None:
        return 0
    low, high = head.first_seq, head.last_seq + 1
    while high - low > 1:
        middle = (low + high) // 2
        found = db.rows(sql, (middle,))
        if not found or found[0][1] >= at_ms:
            high = middle
        else:
            low = middle
    return high


def _shown(entries: list[Entry]) -> list[dict[str, Any]]:
    """With hash and signature; what an entry that is not whole says is shown, but not signed."""
    before = _hashes([entry.seq - 1 for entry in entries if entry.seq is not None])
    told = []
    for entry in entries:
        previous = before.get((entry.seq or 0) - 1, "")
        whole = audit_entries.is_sealed(entry) and audit_entries.digest(entry, previous) == entry.hash
        signature = audit_head.sign(entry.hash.encode()) if whole else None
        told.append(audit_entries.shown(entry, previous) | {"hash": entry.hash, "signature": signature})
    return told


def _hashes(seqs: list[int]) -> dict[int, str]:
    found = {0: GENESIS}
    if seqs:
        marks = ", ".join("?" * len(seqs))
        found |= dict(db.rows(f"SELECT seq, hash FROM audit_entry WHERE seq IN ({marks})", seqs))
    head = audit_head.read()
    if head is not None:
        found[head.first_seq] = head.first_hash
    return found


def head(*, caller: Caller | None = None) -> dict[str, Any]:
    """The signed end of the log, for whoever keeps it elsewhere and compares later; raises `NotAllowed`."""
    if caller is not None:
        _check(caller, Wanted())
    audit_chain.run(_FRESH_S)
    found = audit_head.read() or audit_head.Head()
    return {
        "sequence": found.last_seq,
        "hash": found.last_hash,
        "first_sequence": found.first_seq + 1,
        "first_previous_hash": found.first_hash,
        "signed_at": audit_entries.moment(found.at_ms),
        "signature": found.signature,
        "public_key": audit_head.public_key(),
    }
