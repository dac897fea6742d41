"""The suppression list by scope (account, domain, list): pushed, paged, found and taken off, as its owner sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway import clock, errors, ids
from gateway.services import audit, domains, lists, subscriber_moves, suppression_list, suppressions
from gateway.services.identity import Caller
from gateway.services.suppressions import Entry
from models import database as db

ACCOUNT, DOMAIN, LIST = "account", "domain", "list"
SCOPES = (ACCOUNT, DOMAIN, LIST)
MOST_AT_ONCE = suppression_list.MOST_AT_ONCE
_COLUMNS = "s.id, s.address, s.domain_id, s.reason, s.rule, s.detail, m.uuid, s.created_ms, s.expires_ms"
_JOIN = " LEFT JOIN message m ON m.id = s.message_id AND m.account_id = s.account_id"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked for: a word, the name or number of a domain, the id of a list; empty where nothing was said."""

    word: str = ""
    domain: str = ""
    list: str = ""


@dataclass(frozen=True, slots=True)
class New:
    """One to be suppressed; the email as it was sent. With a `fault` it is refused for that."""

    email: Any
    reason: str = suppressions.MANUAL
    scope: Scope = Scope()
    detail: str = ""
    expires_ms: int | None = None
    fault: errors.Invalid | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """One row; `domain` and `list` (its UUID) where it holds for one, `message` is the one whose fate led here."""

    id: int
    address: str
    scope: str
    reason: str
    rule: str
    detail: str
    message: UUID | None
    created_ms: int
    expires_ms: int | None
    domain: str = ""
    list: UUID | None = None


@dataclass(slots=True)
class Put:
    """What became of one of many: its row, whether that is news, or why there is none."""

    email: str
    row: Listed | None = None
    is_new: bool = False
    refusal: errors.GatewayError | None = None


def resolve(caller: Caller, scope: Scope) -> int:
    """The `domain_id` of rows of that scope; raises `Invalid`, `NotFound`, `NotAllowed` (beyond the key's domain).

    Without a word: the list or the domain that is named, else the key's domain, else the account.
    """
    word = scope.word or (LIST if scope.list else DOMAIN if scope.domain or caller.domain_id is not None else ACCOUNT)
    if word == ACCOUNT:
        if caller.domain_id is not None:
            text = "The key belongs to a domain: it cannot change what the whole account keeps to."
            raise errors.NotAllowed(text, field="scope")
        return suppressions.WHOLE_ACCOUNT
    if word == LIST:
        if not scope.list:
            raise errors.Invalid("A suppression of a list needs list_id.", field="list_id")
        try:
            return suppressions.list_scope(lists.find(caller=caller, uuid=ids.uuid_of("lst", scope.list)).id)
        except errors.NotFound as absent:
            raise errors.NotFound(absent.message, what="list", field="list_id") from None
    if scope.domain:
        try:
            return domains.find_by_name(caller=caller, name=scope.domain).id
        except errors.NotFound as absent:
            raise errors.NotFound(absent.message, what="domain", field="domain") from None
    own = domains.list_(caller=caller) if caller.domain_id is not None else []
    if len(own) != 1:
        raise errors.Invalid("A suppression of a domain needs its name as domain.", field="domain")
    return int(own[0].id)


def put(*, caller: Caller, new: Sequence[New]) -> list[Put]:
    """Put up to `MOST_AT_ONCE` on the list in one transaction; a result for each, in their order.

    What is wrong with one does not keep the others. Whoever is unsubscribed from a list is so on the list itself.
    Raises `TooManyAtOnce`.
    """
    if not 0 < len(new) <= MOST_AT_ONCE:
        raise errors.TooManyAtOnce(f"1 to {MOST_AT_ONCE} addresses are suppressed at once.", field="suppressions")
    results: list[Put] = []
    entries: list[tuple[int, Entry]] = []
    scopes: dict[Scope, int | errors.GatewayError] = {}
    for number, one in enumerate(new):
        result = Put(str(one.email)[:320] if isinstance(one.email, str) else "")
        results.append(result)
        try:
            entries.append((number, _entry(caller, one, scopes)))
        except errors.GatewayError as refusal:
            result.refusal = refusal
    if entries:
        fresh = db.in_transaction(lambda tx: _store(tx, caller, [entry for _, entry in entries]))
        rows = _rows_of(caller, [entry for _, entry in entries])
        for number, entry in entries:
            results[number].row = rows.get(entry.key)
            results[number].is_new = entry.key in fresh
            fresh.discard(entry.key)
    return results


def _entry(caller: Caller, one: New, scopes: dict[Scope, int | errors.GatewayError]) -> Entry:
    address = suppression_list.checked(one.email) if isinstance(one.email, str) else ""
    if not address:
        raise errors.InvalidAddress(field="email")
    if one.fault is not None:
        raise one.fault
    if one.reason not in suppressions.REASONS:
        raise errors.UnknownReason(f"The reason should be one of {', '.join(suppressions.REASONS)}.", field="reason")
    if one.expires_ms is not None and one.expires_ms <= clock.now_ms():
        raise errors.Invalid("The expiry should lie ahead.", field="expires_at")
    if one.scope not in scopes:
        try:
            scopes[one.scope] = resolve(caller, one.scope)
        except errors.GatewayError as refusal:
            scopes[one.scope] = refusal
    scope = scopes[one.scope]
    if isinstance(scope, errors.GatewayError):
        raise scope
    left = scope < 0 and one.reason == suppressions.UNSUBSCRIBE
    rule = subscriber_moves.UNSUBSCRIBE_RULE if left else suppression_list.MANUAL_RULE
    detail = one.detail[: suppressions.DETAIL_LENGTH]
    return Entry(address, one.reason, scope, detail=detail, expires_ms=one.expires_ms, rule=rule)


def _store(tx: db.Transaction, caller: Caller, entries: Sequence[Entry]) -> set[tuple[str, int, str]]:
    """The keys of those that are news."""
    account_id = caller.account_id
    now = clock.now_ms()
    fresh: set[tuple[str, int, str]] = set()
    left: dict[int, list[str]] = {}
    for start in range(0, len(entries), suppressions.BATCH):
        some = entries[start : start + suppressions.BATCH]
        marks = ",".join("?" * len(some))
        there = {
            (address, domain_id, reason)
            for address, domain_id, reason in tx.rows(
                "SELECT address, domain_id, reason FROM suppression WHERE account_id = ?"
                f" AND address IN ({marks}) AND (expires_ms IS NULL OR expires_ms > ?)",
                (account_id, *(entry.address for entry in some), now),
            )
        }
        fresh |= {entry.key for entry in some} - there
        suppressions.put(tx, account_id=account_id, entries=some)
    for entry in entries:
        if entry.domain_id < 0 and entry.reason == suppressions.UNSUBSCRIBE:
            left.setdefault(-entry.domain_id, []).append(entry.address)
    for list_id, found in left.items():
        subscriber_moves.unsubscribe_addresses(
            tx, account_id=account_id, list_id=list_id, found=list(dict.fromkeys(found))
        )
    reasons = sorted({entry.reason for entry in entries})
    told = {"reasons": reasons, "domain_ids": sorted({entry.domain_id for entry in entries}), "new": len(fresh)}
    what = audit.person(account_id, entries[0].address) if len(entries) == 1 else "suppressions"
    audit.record(tx, caller=caller, action="suppression.create", what=what, after=told | {"entries": len(entries)})
    return fresh


def _rows_of(caller: Caller, entries: Sequence[Entry]) -> dict[tuple[str, int, str], Listed]:
    found: dict[tuple[str, int, str], Listed] = {}
    for start in range(0, len(entries), suppressions.BATCH):
        some = list(dict.fromkeys(entry.address for entry in entries[start : start + suppressions.BATCH]))
        rows = db.rows(
            f"SELECT {_COLUMNS} FROM suppression s{_JOIN} WHERE s.account_id = ?"
            f" AND s.address IN ({','.join('?' * len(some))})",
            (caller.account_id, *some),
        )
        for row, shown in zip(rows, _listed(caller, rows), strict=True):
            found[(row[1], row[2], row[3])] = shown
    return found


def page(
    *,
    caller: Caller,
    count: int,
    before: int | None = None,
    scope: Scope = Scope(),
    email: str = "",
    reason: str = "",
    since_ms: int | None = None,
) -> list[Listed]:
    """What holds now, the latest first, of rows below a number. A key of a domain sees what its domain keeps to.

    Raises `NotFound`, `Invalid`.
    """
    where, params = "s.account_id = ? AND (s.expires_ms IS NULL OR s.expires_ms > ?)", [
        caller.account_id, clock.now_ms(),
    ]  # fmt: skip
    conditions: list[tuple[str, list[Any]]] = [_seen(caller)]
    if scope.list or scope.domain:
        conditions.append(("s.domain_id = ?", [resolve(caller, scope)]))
    elif scope.word:
        conditions.append(
            ({ACCOUNT: "s.domain_id = 0", DOMAIN: "s.domain_id > 0", LIST: "s.domain_id < 0"}[scope.word], [])
        )
    if email:
        conditions.append(("s.address = ?", [suppressions.normalise(email)]))
    if reason:
        conditions.append(("s.reason = ?", [reason]))
    if since_ms is not None:
        conditions.append(("s.created_ms >= ?", [since_ms]))
    if before is not None:
        conditions.append(("s.id < ?", [before]))
    for condition, values in conditions:
        if condition:
            where += f" AND {condition}"
            params += values
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM suppression s{_JOIN} WHERE {where} ORDER BY s.id DESC LIMIT ?", [*params, count]
    )
    return _listed(caller, rows)


def _seen(caller: Caller) -> tuple[str, list[Any]]:
    if caller.domain_id is None:
        return "", []
    own = [caller.domain_id, *caller.domain_ids]
    return f"(s.domain_id <= 0 OR s.domain_id IN ({','.join('?' * len(own))}))", list(own)


def find(*, caller: Caller, suppression_id: int) -> Listed:
    """Raises `EntryNotFound`."""
    seen, values = _seen(caller)
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM suppression s{_JOIN} WHERE s.id = ? AND s.account_id = ?"
        f"{' AND ' + seen if seen else ''}",
        [suppression_id, caller.account_id, *values],
    )
    if not rows:
        raise errors.EntryNotFound(what="suppression")
    return _listed(caller, rows)[0]


def delete(*, caller: Caller, suppression_id: int) -> Listed:
    """Take one row off; raises `EntryNotFound`, and `NotAllowed` for a key of a domain where it is the account's."""
    found = find(caller=caller, suppression_id=suppression_id)
    if found.scope == ACCOUNT:
        resolve(caller, Scope(ACCOUNT))

    def work(tx: db.Transaction) -> bool:
        sql = "DELETE FROM suppression WHERE id = ? AND account_id = ?"
        gone = bool(tx.execute(sql, (suppression_id, caller.account_id)).rowcount)
        if gone:
            _audit_end(tx, caller, found.address, {"scope": found.scope, "reason": found.reason, "entries": 1})
        return gone

    if not db.in_transaction(work):
        raise errors.EntryNotFound(what="suppression")
    return found


def delete_address(*, caller: Caller, email: str, scope: Scope, reason: str | None = None) -> int:
    """Take an address off in one scope, for one reason or all; how many rows.

    Raises `EntryNotFound` and what `resolve` raises.
    """
    domain_id = resolve(caller, scope)

    def work(tx: db.Transaction) -> int:
        gone = suppressions.remove(tx, account_id=caller.account_id, domain_id=domain_id, address=email, reason=reason)
        if gone:
            _audit_end(tx, caller, email, {"domain_id": domain_id or None, "reason": reason, "entries": gone})
        return gone

    gone = db.in_transaction(work)
    if not gone:
        raise errors.EntryNotFound(what="address")
    return gone


def _audit_end(tx: db.Transaction, caller: Caller, address: str, told: dict[str, Any]) -> None:
    what = audit.person(caller.account_id, address)
    audit.record(tx, caller=caller, action="suppression.delete", what=what, before=told)


def _listed(caller: Caller, rows: Sequence[tuple[Any, ...]]) -> list[Listed]:
    list_ids = {-row[2] for row in rows if row[2] < 0}
    uuids = lists.uuids(caller=caller, list_ids=list_ids)
    domain_ids = sorted({row[2] for row in rows if row[2] > 0})
    names: dict[int, str] = {}
    if domain_ids:
        names = dict(
            db.rows(
                "SELECT id, name FROM sender_domain WHERE account_id = ?"
                f" AND id IN ({','.join('?' * len(domain_ids))})",
                (caller.account_id, *domain_ids),
            )
        )
    return [
        Listed(
            id_, address, ACCOUNT if not domain_id else DOMAIN if domain_id > 0 else LIST, reason, rule, detail,
            UUID(bytes=bytes(message)) if message else None, created_ms, expires_ms,
            domain=names.get(domain_id, ""), list=uuids.get(-domain_id),
        )
        for id_, address, domain_id, reason, rule, detail, message, created_ms, expires_ms in rows
    ]  # fmt: skip
